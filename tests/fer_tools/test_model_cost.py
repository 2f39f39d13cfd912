"""What a model file costs whoever opens it: counted before it is computed, refused in a line if it is much.

Numbers come from elsewhere: sizes and multiply-adds of known networks from their papers, time and memory from
the operating system.
"""

import json
import os
import re
import resource
import subprocess
import sys
import time
from pathlib import Path

import h5py
import networks
import numpy as np
import pytest
from networks import GLOBAL, SOFTMAX, chain, graph, layer, write
from PIL import Image

from fer_lib.files import UsageError
from fer_tools import paths, predict_files
from fer_tools.model_files import cost, loading, reasons

PADDING = ("ZeroPadding2D", {"padding": 4000})


@pytest.fixture(scope="module")
def face(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("face") / "face.png"
    Image.fromarray(np.arange(48 * 48, dtype=np.uint8).reshape(48, 48)).save(path)
    return path


def predicted(model: Path, face: Path, folder: Path) -> tuple[int, str, float, float]:
    """Return exit code, what was said, seconds of CPU and GB of memory of `fer predict` in a process."""
    program = (
        "import os, resource, subprocess, sys; done = subprocess.run(sys.argv[1:]); "
        "u = resource.getrusage(resource.RUSAGE_CHILDREN); "
        "print('USED', u.ru_utime + u.ru_stime, u.ru_maxrss / 2**20); sys.exit(done.returncode)"
    )
    command = [sys.executable, "-m", "fer_tools", "predict", "--model", str(model), "--classes", "a,b,c"]
    environment = os.environ | {"PYTHONPATH": str(paths.ROOT), "TMPDIR": str(folder)}
    done = subprocess.run(
        [sys.executable, "-c", program, *command, str(face)],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
        timeout=300,
    )
    seconds, memory = re.search(r"USED (\S+) (\S+)", done.stdout).groups()
    return done.returncode, done.stderr, float(seconds), float(memory)


def refusal(path: Path) -> str:
    with pytest.raises(UsageError) as caught:
        loading.load(path)
    said = str(caught.value)
    assert said.startswith(f"{path}: ") and "\n" not in said and len(said) < 500 + len(str(path))
    for developer in ("deserialized", "Please ensure", "get_config", "Arguments received", "config="):
        assert developer not in said
    return said


def built_for(side: int) -> dict:
    config = chain(("RandomPhotograph", {}), GLOBAL, SOFTMAX)
    config["config"]["layers"][1]["build_config"] = {"input_shape": [None, side, side, 1]}
    return config


def shared(kind: str, times: int, **own) -> dict:
    """Give a network that calls one layer so often."""
    layers = [layer(kind, "r", **own), layer("GlobalAveragePooling2D", "g"), layer("Dense", "d", units=3)]
    calls = {
        "r": [("in", 0)] + [("r", i) for i in range(times - 1)],
        "g": [("r", times - 1)],
        "d": [("g", 0)],
    }
    return graph(layers, calls, "d")


def tower(height: int) -> dict:
    """Give a network that doubles its maps so often, without a weight."""
    layers = [layer("Concatenate", f"c{i}", axis=-1) for i in range(height)]
    calls = {f"c{i}": [[(f"c{i - 1}" if i else "in", 0)] * 2] for i in range(height)}
    layers += [layer("GlobalMaxPooling2D", "g"), layer("Cropping2D", "x")]
    return graph(layers[:-1], calls | {"g": [(f"c{height - 1}", 0)]}, "g")


def doubling(depth: int) -> dict:
    """Give a network that calls a network twice that calls a network twice ..."""
    inner = chain(("ReLU", {}), name="n0")
    for i in range(depth):
        outer = graph([inner | {"name": "a"}], {"a": [("in", 0), ("a", 1)]}, "a")
        outer["config"] |= {"output_layers": [["a", 2, 0]], "name": f"n{i + 1}"}
        inner = outer
    return inner


def resized(side: int, *layers: tuple[str, dict]) -> dict:
    return chain(("Resizing", {"height": side, "width": side}), *layers, GLOBAL, SOFTMAX)


def of_type(kind: str, numbers: str) -> dict:
    config = chain(("Conv2D", {"filters": 2, "kernel_size": 3}), GLOBAL, SOFTMAX)
    config["config"]["layers"][0 if kind == "InputLayer" else 1]["config"]["dtype"] = numbers
    return config


def conv(**own) -> tuple[str, dict]:
    return "Conv2D", {"filters": 1, "kernel_size": 3, "padding": "same"} | own


TOO_MUCH = {
    "three paddings": (chain(*[PADDING] * 3, GLOBAL, SOFTMAX), "8,048 x 8,048"),
    "twelve paddings": (chain(*[PADDING] * 12, GLOBAL, SOFTMAX), "8,048 x 8,048"),
    "one padding often": (shared("ZeroPadding2D", 100, padding=500), "MB of maps"),
    "mean of a large map": (
        chain(*[PADDING] * 2, ("Normalization", {"axis": [1, 2], "mean": 0.1, "variance": 1.0})),
        "values an image",
    ),
    "tower of concatenations": (tower(30), "MB of maps"),
    "large ours": (resized(1000, ("RandomPhotograph", {})), "'m1' (RandomPhotograph): maps of shape"),
    "ours built for others": (built_for(60_000), "'m2' (Dense)"),
    "strong ours": (
        chain(("RandomPhotograph", {"strength": 2 * 10**9}), GLOBAL, SOFTMAX),
        "'m0' (RandomPhotograph): strength is 2000000000",
    ),
    "many of ours": (chain(*[("RandomPhotograph", {})] * 50, GLOBAL, SOFTMAX), "layers of fer_lib"),
    "large kernel": (resized(2000, conv(kernel_size=501)), "million steps"),
    "large depthwise kernel": (
        resized(1000, ("DepthwiseConv2D", {"kernel_size": 201, "padding": "same"})),
        "million steps",
    ),
    "endless depthwise kernel": (
        chain(("DepthwiseConv2D", {"kernel_size": 15, "dtype": "mixed_bfloat16"}), GLOBAL, SOFTMAX),
        "does not end",
    ),
    "large window": (
        resized(1000, ("MaxPooling2D", {"pool_size": 401, "strides": 1, "padding": "same"})),
        "million steps",
    ),
    "groups": (
        chain(conv(filters=64), *[conv(filters=64, groups=32)] * 200, GLOBAL, SOFTMAX),
        "million steps",
    ),
    "products": (chain(("Reshape", {"target_shape": [2**25, 2**25, 2**25]}), GLOBAL, SOFTMAX), "absurdly"),
    "many layers": (chain(*[("ReLU", {})] * 800, GLOBAL, SOFTMAX), "more than 500 layers"),
    "many calls": (shared("ReLU", 5000), "calls of layers"),
    "calls of calls": (doubling(11), "calls of layers"),
    "no weights": (chain(("Flatten", {}), ("Dense", {"units": 2000}), SOFTMAX), "of which the file holds"),
    "a string": (of_type("InputLayer", "string"), "'m_in' (InputLayer) computes with 'string'"),
    "complex": (of_type("Conv2D", "complex64"), "'m0' (Conv2D) computes with 'complex64'"),
    "any size": (chain(GLOBAL, SOFTMAX, side=None), "no fixed size"),
}


@pytest.mark.parametrize("name", TOO_MUCH)
def test_what_would_take_all_memory_or_time_is_refused_at_once(tmp_path, name):
    config, said = TOO_MUCH[name]
    path = write(tmp_path / "a.keras", config)
    loading.load(paths.ROOT / "results" / "reference" / "model.keras")  # whatever is imported at first
    memory, clock = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    assert said in refusal(path)
    assert time.process_time() - clock < 8
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 500 * 2**10


@pytest.mark.parametrize("name", ["three paddings", "mean of a large map", "large window", "a string"])
def test_the_command_refuses_it_within_the_bounds(tmp_path, face, name):
    code, said, seconds, memory = predicted(write(tmp_path / "a.keras", TOO_MUCH[name][0]), face, tmp_path)
    assert code == 2 and len(said.splitlines()) == 1 and said.startswith("fer: ")
    assert seconds < 20 and memory < 2
    assert [path.name for path in tmp_path.iterdir()] == ["a.keras"]


@pytest.mark.slow
def test_four_hundred_layers_are_opened_within_the_bounds(tmp_path, face):
    config = chain(*[conv(filters=2)] * 400, GLOBAL, SOFTMAX)
    path = networks.held(tmp_path / "a.keras", config)
    code, said, seconds, memory = predicted(path, face, tmp_path)
    print(f"400 layers: {seconds:.1f} s CPU, {memory:.2f} GB")
    assert code == 0 and seconds < 20 and memory < 2, said
    assert all("does not say" in line for line in said.splitlines())


def test_a_long_chain_takes_time_in_proportion_and_means_what_keras_reads(tmp_path):
    import keras

    seconds = {}
    for layers in (30, 120):
        path = networks.held(tmp_path / "a.keras", chain(*[conv(filters=2)] * layers, GLOBAL, SOFTMAX))
        loading.load(path)
        clock = time.process_time()
        loaded = loading.load(path)
        seconds[layers] = time.process_time() - clock
    assert seconds[120] < 9 * seconds[30]  # it was 16 times, and more
    plain = keras.saving.load_model(path, compile=False)
    assert all(map(np.array_equal, plain.get_weights(), loaded.get_weights()))
    assert json.dumps(plain.get_config()) == json.dumps(loaded.get_config())


def test_a_process_that_a_network_takes_over_ends_with_a_line(tmp_path):
    program = """
import sys, threading, numpy as np
from fer_tools.model_files import limits
limits.MOST_SECONDS, limits.MOST_MEMORY = 1.0, 100_000_000
with limits.bounded("x.keras"):
    if sys.argv[1] == "time":
        while True: pass
    threading.Event().wait(len(np.ones(10**8).tobytes()))
"""
    for what, said in (("time", "s of processor time"), ("memory", "GB of memory")):
        done = subprocess.run(
            [sys.executable, "-c", program, what],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(paths.ROOT), "TMPDIR": str(tmp_path)},
            check=False,
            timeout=60,
        )
        assert done.returncode == 2 and said in done.stderr and done.stderr.startswith("fer: x.keras: ")


@pytest.mark.parametrize(
    ("name", "side", "multiply_adds"),
    [  # from their papers (He 2015; Sandler 2018), at 224x224 pixels
        ("ResNet50", 224, 3.8e9),
        ("MobileNetV2", 224, 0.3e9),
    ],
)
def test_known_networks_cost_what_their_papers_say_and_are_within_the_limits(name, side, multiply_adds):
    import keras

    network = getattr(keras.applications, name)(weights=None, input_shape=(side, side, 3), classes=7)
    found = cost.checked(network, 10**9)
    assert multiply_adds <= found.work < 6 * multiply_adds
    assert 20 * 2**20 < found.memory < cost.MOST_BYTES / 2


@pytest.mark.parametrize(
    ("layers", "said"),
    [
        ([("Conv2D", {"filters": 2, "kernel_size": 3, "nonsense": 1})], "layer 'm0' (Conv2D): "),
        ([("Conv2D", {"filters": 2, "kernel_size": 99})], "layer 'm0' (Conv2D): Computed output size"),
        ([("ReLU", {}), ("Reshape", {"target_shape": [7, 7]})], "layer 'm1' (Reshape): The total size"),
        ([("Dropout", {"rate": 7})], "layer 'm0' (Dropout): "),
        ([("Activation", {})], "layer 'm0' (Activation): "),
        ([("Activation", {"activation": "nonsense"})], "layer 'm0' (Activation): "),
        ([("Dense", {"units": "three"})], "layer 'm0' (Dense): "),
        ([], "layer 'm1' (Dense): the file has weights of 0 layers 'dense', the network has 1"),
    ],
)
def test_what_keras_does_not_like_is_said_of_the_layer(tmp_path, layers, said):
    assert said in refusal(write(tmp_path / "a.keras", chain(*layers, GLOBAL, SOFTMAX)))


def test_a_reason_is_that_of_the_first_error():
    def failing():
        try:
            raise KeyError("units")
        except KeyError as error:
            raise TypeError(f"could not be deserialized properly\n\nconfig={{}}: {error}") from error

    with pytest.raises(TypeError) as caught:
        failing()
    assert reasons.of(caught.value) == "no entry 'units'"


def names_of_one_array(file):
    file["w"] = np.ones(100_000, np.float32)
    file.attrs["weight_names"] = np.array([b"w"] * 4000)


def one_long_name(file):
    texts = h5py.special_dtype(vlen=bytes)
    file.attrs.create("layer_names", np.array([b"x" * 40_000] + [b"y"] * 3000, object), dtype=texts)


def large_chunk(file):
    file.create_dataset("w", (10,), "f4", maxshape=(None,), chunks=(2**26,))


def packed(file):
    file.create_dataset("w", data=np.zeros(1000, np.float32), chunks=(1000,), compression="gzip")


def wide_numbers(file):
    file["w"] = np.ones(10, np.longdouble)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (names_of_one_array, "400,000,000 weights"),
        (one_long_name, "too long names"),
        (large_chunk, "packed within HDF5"),
        (packed, "packed within HDF5"),
        (wide_numbers, "not an array of numbers"),
        (lambda file: file.attrs.update(x=np.zeros(7000, "S8")), "names of layers"),
    ],
)
def test_hdf5_that_makes_much_of_little_is_refused(tmp_path, change, said):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        change(file)
    model = write(tmp_path / "a.keras", chain(GLOBAL, SOFTMAX), path.read_bytes())
    assert said in refusal(model)


def test_a_fifo_a_device_and_a_file_with_a_hole_are_refused(tmp_path):
    os.mkfifo(tmp_path / "fifo.keras")
    with open(tmp_path / "hole.keras", "wb") as file:
        file.truncate(3 << 30)
    (tmp_path / "link.keras").symlink_to("/dev/zero")
    for name in ("fifo", "hole", "link"):
        refusal(tmp_path / f"{name}.keras")


def test_a_batch_of_fixed_size_is_any_batch(tmp_path):
    config = chain(conv(), GLOBAL, SOFTMAX)
    config["config"]["layers"][0]["config"]["batch_shape"][0] = 32
    path = networks.held(tmp_path / "a.keras", config)
    assert loading.load(path).input_shape == (None, 48, 48, 1)


def test_faces_at_once_are_as_many_as_fit(tmp_path):
    shipped, _ = predict_files.choose()
    assert shipped.part == 256
    path = networks.held(tmp_path / "a.keras", resized(600, conv(filters=16), ("ReLU", {})))
    large, _ = predict_files.choose(str(path), ["a", "b", "c"])
    assert 1 <= large.part * 3 * 4 * 600 * 600 * 16 <= 2**31
