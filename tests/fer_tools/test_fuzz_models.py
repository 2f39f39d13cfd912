"""Fuzz tests of models of others, in a child process, for HDF5 and TensorFlow are C; see `fuzzing`."""

import ast
import io
import json
import math
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import fuzzing
import h5py
import keras2
import networks
import numpy as np
import pytest
from fuzzing import COUNTS, DAMAGE, FUZZ, INPUTS, KEEP, MEMORY, SECONDS, damaged, edited, unbounded
from hypothesis import given, settings
from hypothesis import strategies as st

from fer_tools import paths

pytestmark = pytest.mark.filterwarnings("ignore")
sandbox, summary = fuzzing.sandbox, fuzzing.summary

CPU = 14  # seconds for one input: with the imports of the command, 20
GIGABYTES = 2.0
EACH = 100  # inputs a process, for Keras forgets nothing

CHILD = f"""
import faulthandler, resource, sys, time
import numpy as np
from fer_lib.files import UsageError
from fer_tools import predict_files
from fer_tools.model_files import inspection, limits, loading

def predict(path):
    with limits.bounded(path):
        predictor, _ = predict_files.choose(path, ["neutral", "happy", "surprise"])
    predictor(np.zeros((1, 48, 48), np.uint8))

def most():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])

def main():
    action = {{"inspect": inspection.inspect, "load": loading.load, "predict": predict}}[sys.argv[1]]
    action(sys.argv[2])  # imports what it needs before the memory is bounded
    pages = int(open("/proc/self/statm").read().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + {2 * MEMORY},) * 2)
    print("ready", flush=True)
    for line in sys.stdin:
        faulthandler.dump_traceback_later({SECONDS}, exit=True)
        open("/proc/self/clear_refs", "w").write("5")  # forget the peak of memory
        clock = time.process_time()
        try:
            action(line.rstrip("\\n"))
            said = "answered"
        except UsageError as error:
            said = "refused" if "\\n" not in str(error) else f"two lines: {{error}}"
        except BaseException as error:
            said = f"{{type(error).__name__}}: {{error}}"
        faulthandler.cancel_dump_traceback_later()
        seconds, memory = time.process_time() - clock, most() / 2**20
        if seconds > {CPU} or memory > {GIGABYTES}:
            said = f"{{said}} after {{seconds:.1f}} s of CPU, with {{memory:.2f}} GB"
        print(repr(said), flush=True)

main()
"""


class Child:
    """Answers whether a model file is opened; started again after a crash."""

    def __init__(self, action: str, honest: Path, folder: Path) -> None:
        self.arguments = [sys.executable, "-c", CHILD, action, str(honest)]
        self.folder = folder
        self.process: subprocess.Popen | None = None
        self.asked = 0

    def ask(self, path: Path) -> str:
        self.asked += 1
        if self.asked % EACH == 0:
            self.end()
        if self.process is None or self.process.poll() is not None:
            self.process = subprocess.Popen(
                self.arguments,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=open(self.folder / "stderr", "ab"),
                text=True,
                cwd=self.folder,
                env=os.environ | {"PYTHONPATH": str(paths.ROOT), "TMPDIR": str(self.folder / "tmp")},
            )
            while (line := self.process.stdout.readline()) != "ready\n":
                assert line, (self.folder / "stderr").read_text()
        self.process.stdin.write(f"{path}\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line and self.process.wait() == 2:  # as the command ends
            last = (self.folder / "stderr").read_text().splitlines()[-1]
            return "ended" if last.startswith(f"fer: {path}: ") else f"ended with {last}"
        if not line:
            return f"crashed with {self.process.wait()}: {(self.folder / 'stderr').read_text()[-2000:]}"
        return ast.literal_eval(line)

    def end(self) -> None:
        if self.process is not None:
            self.process.stdin.close()
            self.process.wait()


@pytest.fixture(scope="module", params=["inspect", "load"])
def child(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Child]:
    """Start the process that looks at models, or loads them."""
    folder = tmp_path_factory.mktemp(request.param)
    (folder / "tmp").mkdir()
    started = Child(request.param, paths.ROOT / "results" / "reference" / "model.keras", folder)
    yield started
    started.end()


def _archive(members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def honest() -> tuple[list[dict[str, bytes]], list[bytes]]:
    """Return real models: members of archives, of the reference run and of Keras 2, and HDF5 of Keras 2."""
    archives = []
    for path in (paths.ROOT / "results" / "reference" / "model.keras", keras2.NESTED["keras"]):
        with zipfile.ZipFile(path) as archive:
            archives.append({name: archive.read(name) for name in archive.namelist()})
    return archives, [path.read_bytes() for path in (keras2.REFERENCES / "keras2.h5", keras2.NESTED["h5"])]


def _with_configuration(old: bytes, draw: st.DrawFn) -> bytes:
    """Return an HDF5 file with another configuration, or other lists of names."""
    buffer = io.BytesIO(old)
    with h5py.File(buffer, "r+") as file:
        place, key = draw(st.sampled_from([("/", "model_config"), ("model_weights", "layer_names")]))
        value = file[place].attrs[key]
        if key == "model_config":
            file.attrs[key] = json.dumps(draw(edited(json.loads(value)))).encode("utf-8", "surrogatepass")
        else:
            names = [str(name).encode() for name in value]
            some = st.sampled_from([*names, b"", b"..", b"/", b"model_weights", b"dense"])
            file[place].attrs[key] = np.array(draw(st.lists(some, max_size=5)), "S30")
    return buffer.getvalue()


@st.composite
def altered_model(draw: st.DrawFn, honest: tuple) -> bytes:
    """Return a model file, some of it changed: bytes, configuration, weights, members."""
    members, old = (draw(st.sampled_from(each)) for each in honest)
    what = draw(
        st.sampled_from(["bytes", "config", "config", "weights", "metadata", "members", "old", "said"])
    )
    damage, keep = draw(DAMAGE), draw(KEEP)
    if what == "old":
        return damaged(old, damage, keep)
    if what == "said":
        return _with_configuration(old, draw)
    if what == "config":
        config = json.dumps(draw(edited(json.loads(members["config.json"]))))
        return _archive(members | {"config.json": config.encode("utf-8", "surrogatepass")})
    if what == "metadata":
        return _archive(
            members | {"metadata.json": json.dumps(draw(edited({"keras_version": "3.15.1"}))).encode()}
        )
    if what == "weights":
        return _archive(members | {"model.weights.h5": damaged(members["model.weights.h5"], damage, keep)})
    if what == "members":
        names = st.text(
            st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=8
        )  # zipfile ends names there
        foreign = draw(st.dictionaries(names, st.binary(max_size=8), max_size=2))
        return _archive(members | foreign, draw(st.sampled_from([zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA])))
    return damaged(_archive(members), damage, keep)


def test_models(sandbox: Path, child: Child, honest: tuple):
    action = child.arguments[3]
    unbounded()  # the child has its own bound

    @settings(FUZZ, max_examples=INPUTS if action == "inspect" else max(5, INPUTS // 10))
    @given(altered_model(honest))
    def each(content: bytes):
        path = sandbox / "a.keras"
        path.write_bytes(content)
        said = child.ask(path)
        assert said in ("answered", "refused"), said
        COUNTS[f"models, {action}", said] += 1

    each()
    assert not list((child.folder / "tmp").iterdir()) and path_names(child.folder) == {"tmp", "stderr"}


# -- whole networks, with the weights that belong to them ---------------------------------------------------

SIZE = st.sampled_from([1, 1, 2, 2, 3, 3, 5, 8, 15, 31, 64, 200, 501, 1000, 4000, 60_000, 2**31])
FEW = st.sampled_from([1, 1, 2, 3, 4, 8, 64, 500])
NUMBER = st.sampled_from([0.5, 0.0, 1.0, -1.0, 4.0, 1e-30, 1e30, float("nan"), float("inf"), 2e9])
TYPE = st.sampled_from(
    ["float32"] * 30
    + ["float16", "mixed_float16", "bfloat16", "mixed_bfloat16", "float64", "string", "complex64", "int8"]
)
SAME = st.sampled_from(["same", "same", "valid"])
WITHOUT = {  # class of layer without weights: what its configuration may be
    "ZeroPadding2D": st.fixed_dictionaries({"padding": SIZE}),
    "Cropping2D": st.fixed_dictionaries({"cropping": FEW}),
    "Resizing": st.fixed_dictionaries(
        {"height": SIZE, "width": SIZE, "interpolation": st.sampled_from(["bilinear", "nearest", "lanczos5"])}
    ),
    "CenterCrop": st.fixed_dictionaries({"height": SIZE, "width": SIZE}),
    "RandomCrop": st.fixed_dictionaries({"height": SIZE, "width": SIZE}),
    "MaxPooling2D": st.fixed_dictionaries({"pool_size": SIZE, "strides": FEW, "padding": SAME}),
    "AveragePooling2D": st.fixed_dictionaries({"pool_size": SIZE, "strides": FEW, "padding": SAME}),
    "Permute": st.fixed_dictionaries({"dims": st.permutations([1, 2, 3])}),
    "Reshape": st.fixed_dictionaries({"target_shape": st.lists(SIZE | st.just(-1), max_size=4)}),
    "Rescaling": st.fixed_dictionaries({"scale": NUMBER, "offset": NUMBER}),
    "Normalization": st.fixed_dictionaries(
        {"axis": st.sampled_from([-1, [1, 2], [1, 2, 3], None]), "mean": NUMBER, "variance": NUMBER}
    ),
    "Activation": st.fixed_dictionaries(
        {"activation": st.sampled_from(["relu", "gelu", "mish", "softmax", "sparsemax", "nonsense", "glu"])}
    ),
    "Softmax": st.fixed_dictionaries({"axis": st.sampled_from([-1, 1, [1, 2], 7])}),
    "GaussianNoise": st.fixed_dictionaries({"stddev": NUMBER}),
    "RandomRotation": st.fixed_dictionaries({"factor": NUMBER}),
    "RandomPhotograph": st.fixed_dictionaries({}, optional={"strength": NUMBER, "seed": SIZE}),
}
KERNELS = {  # class of layer with a kernel: what its configuration may be besides
    "Conv2D": st.fixed_dictionaries(
        {"filters": FEW, "kernel_size": SIZE, "padding": SAME},
        optional={"strides": FEW, "dilation_rate": FEW, "groups": FEW},
    ),
    "DepthwiseConv2D": st.fixed_dictionaries(
        {"kernel_size": SIZE, "padding": SAME}, optional={"depth_multiplier": FEW}
    ),
}


@st.composite
def whole_network(draw: st.DrawFn) -> bytes:
    """Return a model file of a network that nobody trained, with weights for its kernels if they are few."""
    layers, weights, channels, counts = [], {}, 1, {}
    for i in range(draw(st.integers(0, 8))):
        kind = draw(st.sampled_from(sorted(WITHOUT | KERNELS)))
        own = dict(draw((WITHOUT | KERNELS)[kind]))
        if kind in KERNELS:
            name = {"Conv2D": "conv2d", "DepthwiseConv2D": "depthwise_conv2d"}[kind]
            counts[name] = counts.get(name, -1) + 1
            place = name + (f"_{counts[name]}" if counts[name] else "")
            made = own.get("filters") or channels * own.get("depth_multiplier", 1)
            kernel = (own["kernel_size"],) * 2 + (channels // own.get("groups", 1), made)
            weights[place] = [kernel if kind == "Conv2D" else (*kernel[:3], made // channels), (made,)]
            channels = made
        layers.append(networks.layer(kind, f"l{i}", dtype=draw(TYPE), **own))
    config = networks.chain(side=draw(st.sampled_from([48, 48, 48, 8, 300, 2000, 60_000, None])))
    for time in range(draw(st.sampled_from([1, 1, 1, 1, 1, 40]))):
        for entry in layers:
            name = f"{entry['name']}_{time}"
            config["config"]["layers"].append(
                entry | {"config": entry["config"] | {"name": name}, "name": name}
            )
    tail = [networks.layer("GlobalAveragePooling2D", "g"), networks.layer("Dense", "d", units=3)]
    tail[1]["config"]["activation"] = draw(st.sampled_from(["softmax", "softmax", "softmax", "linear"]))
    config["config"]["layers"] += tail
    weights["dense"] = [(channels, 3), (3,)]
    if layers and draw(st.booleans()):
        built = draw(st.lists(SIZE | st.none(), max_size=4))
        draw(st.sampled_from(layers))["build_config"] = {"input_shape": [None, *built]}
    if draw(st.integers(0, 3)) == 0:
        config["config"]["layers"][1:-2] = [
            _nested(config["config"]["layers"][1:-2], draw(st.integers(1, 12)))
        ]
    shapes = [shape for each in weights.values() for shape in each]
    if sum(math.prod(shape) for shape in shapes) > 500_000:
        weights = {}
    return _archive(
        {
            "config.json": json.dumps(config).encode(),
            "metadata.json": b'{"keras_version": "3.15.1"}',
            "model.weights.h5": _weights(weights),
        }
    )


def _nested(layers: list[dict], deep: int) -> dict:
    """Return a network of a network of ... layers."""
    for i in range(deep):
        model = networks.chain(name=f"n{i}")
        model["config"]["layers"] = layers
        layers = [model]
    return layers[0]


def _weights(shapes: dict[str, list[tuple[int, ...]]]) -> bytes:
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        for place, each in shapes.items():
            for i, shape in enumerate(each):
                if 0 < math.prod(shape) <= 1 << 25:  # more no file of ten megabytes has
                    file[f"layers/{place}/vars/{i}"] = np.full(shape, 0.01, np.float32)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def predicting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Child]:
    """Start the process that opens models and asks them."""
    folder = tmp_path_factory.mktemp("predict")
    (folder / "tmp").mkdir()
    started = Child("predict", paths.ROOT / "results" / "reference" / "model.keras", folder)
    yield started
    started.end()


def test_networks(sandbox: Path, predicting: Child, honest: tuple):
    unbounded()

    @settings(FUZZ, max_examples=max(20, INPUTS // 10))
    @given(whole_network() | altered_model(honest))
    def each(content: bytes):
        path = sandbox / "a.keras"
        path.write_bytes(content)
        said = predicting.ask(path)
        assert said in ("answered", "refused", "ended"), said
        COUNTS["models, predict", said] += 1

    each()
    # Of a process that was ended, the next removes what is temporary.
    assert all(name.startswith("fer-lab-") for name in path_names(predicting.folder / "tmp"))


def path_names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}
