"""Somebody else's model file: read where it is one, refused in one line where it is anything else."""

import io
import json
import math
import os
import re
import shutil
import struct
import tracemalloc
import warnings
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest

from fer_lib import models
from fer_lib.files import UsageError
from fer_tools import paths
from fer_tools.model_files import inspection, loading

KERAS_2 = paths.ROOT / "tests" / "references" / "keras2.h5"
KERAS_2_SAYS = [0.3344603180885315, 0.3394700586795807, 0.32606956362724304]
DENSE = {"module": "keras.layers", "class_name": "Dense", "config": {"units": 3}, "registered_name": None}


def weights(change=lambda file: None) -> bytes:
    """Give an HDF5 file of one array, changed."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file["layers/dense/vars/0"] = np.ones((2, 3), np.float32)
        change(file)
    return buffer.getvalue()


def write(path: Path, *layers: dict, change: dict | None = None, method: int = zipfile.ZIP_STORED) -> Path:
    """Write a `.keras` file of layers, some of whose members are replaced (None: left out)."""
    config = {"class_name": "Sequential", "module": "keras", "config": {"layers": list(layers)}}
    members = {
        "config.json": json.dumps(config),
        "metadata.json": '{"keras_version": "3.15.1"}',
        "model.weights.h5": weights(),
    } | (change or {})
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w", method) as archive:
        warnings.simplefilter("ignore")
        for name, data in members.items():
            if data is not None:
                archive.writestr(name, data)
    return path


def refused(path: Path) -> str:
    with pytest.raises(UsageError) as caught:
        inspection.inspect(path)
    said = str(caught.value)
    assert said.startswith(f"{path}: ") and "\n" not in said and len(said) < 600 + len(str(path))
    return said.removeprefix(f"{path}: ")


@pytest.fixture(scope="module", params=models.names())
def network(request):
    """Give each of the networks."""
    return models.build(request.param, classes=3)


@pytest.mark.parametrize("compiled", [False, True])
def test_own_networks_are_read_from_both_formats_to_the_same_weights(network, compiled, tmp_path):
    from fer_lib import layers

    network = layers.as_keras(network)
    if compiled:
        network.compile("adam", "categorical_crossentropy")
    network.save(tmp_path / "model.keras")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network.save(tmp_path / "old.h5")
    os.rename(tmp_path / "old.h5", tmp_path / "old.keras")  # as TensorFlow 2.12 named it
    assert inspection.inspect(tmp_path / "model.keras") == "keras 3 zip"
    assert inspection.inspect(tmp_path / "old.keras") == "hdf5"
    images = np.random.default_rng(0).uniform(0, 255, (2, *network.input_shape[1:])).astype(np.float32)
    expected = network.predict(images, verbose=0)
    for name in ("model.keras", "old.keras"):
        loaded = loading.load(tmp_path / name)
        assert np.array_equal(loaded.predict(images, verbose=0), expected)
        assert all(map(np.array_equal, loaded.get_weights(), network.get_weights()))


def test_what_keras_2_wrote_is_read(tmp_path):
    """A real file: tf_keras 2.21, save_format="h5", as TensorFlow up to 2.12 did under the name `.keras`.

    It has the random layers whose `rng_type` Keras 3 does not know; 16x16 pixels, 483 parameters.
    """
    path = tmp_path / "mit Lücke.keras"
    shutil.copy(KERAS_2, path)
    assert inspection.inspect(path) == "hdf5"
    images = np.arange(16 * 16, dtype=np.float32).reshape(1, 16, 16, 1) % 256
    network = loading.load(path)
    assert network.count_params() == 483
    np.testing.assert_allclose(network.predict(images, verbose=0)[0], KERAS_2_SAYS, atol=1e-6)
    assert path.read_bytes() == KERAS_2.read_bytes()


def built_for_a_huge_input() -> dict:
    return {"layers": [{**DENSE, "build_config": {"input_shape": [None, 10**11]}}]}


def tower_of_concatenations() -> dict:
    """Give a network that doubles the width forty times, and then wants a weight for each."""

    def after(name: str, width: int) -> dict:
        own = {"shape": [None, width], "dtype": "float32", "keras_history": [name, 0, 0]}
        return {"class_name": "__keras_tensor__", "config": own}

    def layer(kind: str, name: str, config: dict, calls: list) -> dict:
        own = {"class_name": kind, "module": "keras.layers", "config": {"name": name} | config}
        return own | {"registered_name": None, "name": name, "inbound_nodes": calls}

    layers = [layer("InputLayer", "0", {"batch_shape": [None, 64]}, [])]
    for i in range(40):
        twice = [after(str(i), 64 * 2**i)] * 2
        layers.append(layer("Concatenate", str(i + 1), {"axis": -1}, [{"args": [twice], "kwargs": {}}]))
    last = [{"args": [after("40", 64 * 2**40)], "kwargs": {}}]
    layers.append(layer("Dense", "dense", {"units": 3}, last))
    return {"layers": layers, "input_layers": [["0", 0, 0]], "output_layers": [["dense", 0, 0]]}


@pytest.mark.parametrize("hidden", [built_for_a_huge_input, tower_of_concatenations])
def test_sizes_that_inspect_does_not_see_are_refused_before_memory_is_taken(tmp_path, hidden):
    sequential = {"class_name": "Sequential", "module": "keras"}
    functional = {"class_name": "Functional", "module": "keras.src.models.functional"}
    config = sequential if hidden is built_for_a_huge_input else functional
    config |= {"config": {"name": "m"} | hidden(), "registered_name": config["class_name"]}
    path = write(tmp_path / "a.keras", change={"config.json": json.dumps(config)})
    assert inspection.inspect(path) == "keras 3 zip"
    with pytest.raises(UsageError) as caught:
        loading.load(path)
    said = str(caught.value)
    assert said.startswith(f"{path}: ") and "\n" not in said and "deserialize" not in said
    # A hundred thousand million weights fit into no memory: had Keras tried, this is what it would say.
    assert not re.search("OOM|allocat|memory|exhausted", said, re.IGNORECASE), said
    from keras.src.backend.common import global_state

    assert not global_state.get_global_attribute("uninitialized_variables")  # nor will it try later


def test_a_small_model_of_known_layers_passes(tmp_path):
    assert (
        inspection.inspect(write(tmp_path / "a.keras", DENSE, method=zipfile.ZIP_DEFLATED)) == "keras 3 zip"
    )


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        ({"class_name": "Lambda", "config": {"function": {"class_name": "__lambda__"}}}, "'Lambda'"),
        ({"class_name": "__lambda__", "config": {"value": "gAAA"}}, "__lambda__"),
        ({"class_name": "TFSMLayer", "config": {"filepath": "/etc"}}, "TFSMLayer"),
        ({"class_name": "TorchModuleWrapper", "config": {}}, "TorchModuleWrapper"),
        ({"class_name": "StringLookup", "config": {"vocabulary": "/etc/passwd"}}, "StringLookup"),
        ({"module": "keras.utils", "class_name": "get_file", "config": {}}, "get_file"),
        ({"module": "os", "class_name": "Dense", "config": {}}, "Dense"),
        ({"module": "builtins", "class_name": "eval", "config": "1"}, "eval"),
        ({"module": "fer_lib.layers", "class_name": "system", "registered_name": "x>system"}, "system"),
        ({**DENSE, "registered_name": "evil>Dense"}, "Dense"),
        ({"class_name": "fer_lib>a.b", "config": {}}, "fer_lib>a.b"),
        ({"module": "os", "class_name": "fer_lib>system", "config": {}}, "system"),
        (
            {"module": "os", "class_name": "system", "registered_name": "fer_lib>system", "config": {}},
            "system",
        ),
        (
            {"class_name": "LocalContrast", "registered_name": "fer_lib>LocalContrast", "config": {}},
            "'LocalContrast' is not among those allowed here; make the network of layers that Keras has",
        ),
        ({**DENSE, "class_name": ["Dense"]}, "Dense"),
        ({**DENSE, "config": {"kernel_initializer": {"class_name": "Lambda"}}}, "Lambda"),
        ({**DENSE, "config": {"units": 10**12}}, "units 1,000,000,000,000"),
        ({**DENSE, "config": {"units": -5}}, "units -5"),
        ({**DENSE, "config": {"units": 1e300}}, "units"),
        ({**DENSE, "config": {"units": math.inf}}, "infinity"),
        ({**DENSE, "config": {"units": math.nan}}, "NaN"),
        ({"class_name": "InputLayer", "config": {"batch_shape": [None, 10**6, 10**6, 1]}}, "absurdly large"),
        ({"class_name": "InputLayer", "config": {"batch_shape": [None, {}]}}, "of shape"),
        ({"class_name": "Conv2D", "config": {"filters": 4096, "kernel_size": [999, 999]}}, "absurdly large"),
        ({"class_name": "ZeroPadding2D", "config": {"padding": [[0, 10**6], [0, 0]]}}, "absurdly large"),
        ({"class_name": "Resizing", "config": {"height": 10**5, "width": 10**5}}, "absurdly large"),
        ({"class_name": "Dense" * 10_000, "config": {}}, "DenseDense"),
        ({"class_name": "a\nb", "config": {}}, "not among those allowed"),
    ],
)
def test_layers_and_sizes_that_no_network_for_faces_has_are_refused(tmp_path, layer, said):
    assert said in refused(write(tmp_path / "a.keras", DENSE, layer))


def test_many_large_layers_are_refused_though_each_is_allowed(tmp_path):
    large = {**DENSE, "config": {"units": 8000}}
    assert "absurdly large" in refused(write(tmp_path / "a.keras", *[large] * 4))


@pytest.mark.parametrize(
    "name", ["../model.weights.h5", "/etc/cron.d/x", "assets/words.txt", "config.json\n", "é" * 500]
)
def test_foreign_members_are_refused(tmp_path, name):
    assert "Keras writes config.json" in refused(write(tmp_path / "a.keras", DENSE, change={name: "x"}))


@pytest.mark.parametrize("name", sorted(inspection.MEMBERS))
def test_missing_members_are_refused(tmp_path, name):
    assert "missing or twice" in refused(write(tmp_path / "a.keras", DENSE, change={name: None}))


def test_a_member_that_occurs_twice_is_refused(tmp_path):
    path = write(tmp_path / "a.keras", DENSE)
    with warnings.catch_warnings(), zipfile.ZipFile(path, "a") as archive:
        warnings.simplefilter("ignore")
        archive.writestr("config.json", "{}")
    assert "missing or twice" in refused(path)


def test_bombs_are_refused(tmp_path, monkeypatch):
    packed = zipfile.ZIP_DEFLATED
    zeros = bytes(16 * inspection.MEGABYTE)
    assert "zip bomb" in refused(
        write(tmp_path / "a.keras", change={"model.weights.h5": zeros}, method=packed)
    )
    assert "MB unpacked" in refused(write(tmp_path / "b.keras", change={"config.json": zeros}, method=packed))
    monkeypatch.setattr(inspection, "LARGEST_FILE", 1000)
    assert "larger than" in refused(write(tmp_path / "c.keras", DENSE))


def test_a_declared_size_that_is_a_lie_is_refused(tmp_path):
    path = write(tmp_path / "a.keras", DENSE)
    data = bytearray(path.read_bytes())
    at = data.rindex(b"PK\1\2")  # the last entry of the directory: the weights
    data[at + 24 : at + 28] = (99_999).to_bytes(4, "little")
    path.write_bytes(data)
    refused(path)


def test_no_more_is_unpacked_than_a_member_declares(tmp_path):
    """`ZipFile.read` unpacks up to 2 GB before it cuts off what is over."""
    blank = b" " * (300 << 20)
    path = tmp_path / "m.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", blank)
        archive.writestr("metadata.json", "{}")
        archive.writestr("model.weights.h5", weights())
    size, packed = struct.pack("<I", len(blank)), path.read_bytes()
    path.write_bytes(packed.replace(size, struct.pack("<I", 90_000)))
    tracemalloc.start()
    try:
        refused(path)
        assert tracemalloc.get_traced_memory()[1] < 30 << 20
    finally:
        tracemalloc.stop()


def test_a_member_that_cannot_be_unpacked_is_refused(tmp_path):
    path = write(tmp_path / "a.keras", DENSE, method=zipfile.ZIP_DEFLATED)
    data = bytearray(path.read_bytes())
    data[data.index(b"config.json") + len("config.json")] = 0xFF  # where its compressed content begins
    path.write_bytes(data)
    assert "decompressing" in refused(path)


@pytest.mark.parametrize(
    "config", ["", "[]", "{}", "3", '{"config": []}', "[" * 100_000, '{"a":' * 900 + "1" + "}" * 900]
)
def test_configurations_that_are_none_are_refused(tmp_path, config):
    refused(write(tmp_path / "a.keras", change={"config.json": config}))


def test_nested_beyond_reason_is_refused(tmp_path):
    layer = DENSE
    for _ in range(100):
        layer = {"class_name": "Sequential", "config": {"layers": [layer]}}
    assert "nested" in refused(write(tmp_path / "a.keras", layer))


@pytest.mark.parametrize("metadata", ["", "[]", "{}", '{"keras_version": "1.2.0"}', '{"keras_version": "2"}'])
def test_metadata_of_another_keras_are_refused(tmp_path, metadata):
    refused(write(tmp_path / "a.keras", DENSE, change={"metadata.json": metadata}))


def link(file, to):
    file["stolen"] = to


def external(file):
    file.create_dataset("stolen", (10,), "u1", external=[("/etc/passwd", 0, 10)])


def virtual(file):
    layout = h5py.VirtualLayout((1000,), "u1")
    layout[:] = h5py.VirtualSource("/etc/other.h5", "x", (1000,))
    file.create_virtual_dataset("stolen", layout)


def huge(file):
    file.create_dataset("stolen", (10**6, 10**6), "f4", chunks=(1000, 1000), compression="gzip")


def deep(file):
    for _ in range(100):
        file = file.create_group("g")


def circle(file):
    file["layers/again"] = file["layers"]


def texts(file):
    file["stolen"] = np.array([b"text", b"more"], "S4")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda file: link(file, h5py.ExternalLink("/etc/other.h5", "/x")), "links out"),
        (lambda file: link(file, h5py.SoftLink("/layers")), "links out"),
        (external, "not an array inside"),
        (virtual, "not an array inside"),
        (huge, "1,000,000,000,006 weights"),
        (deep, "too deep"),
        (circle, "too deep"),
        (texts, "not an array of numbers"),
    ],
)
@pytest.mark.parametrize("kind", ["keras", "hdf5"])
def test_weights_that_reach_out_or_are_absurd_are_refused(tmp_path, change, said, kind):
    path = tmp_path / "a.keras"
    if kind == "keras":
        write(path, DENSE, change={"model.weights.h5": weights(change)})
    else:
        path.write_bytes(
            weights(lambda file: (file.attrs.update(model_config=json.dumps(OLD)), change(file)))
        )
    assert said in refused(path)


OLD = {"class_name": "Sequential", "config": {"layers": [DENSE]}}


def test_an_old_file_with_a_lambda_or_without_a_model_is_refused(tmp_path):
    path = tmp_path / "a.keras"
    path.write_bytes(weights(lambda file: file.attrs.update(model_config=json.dumps(OLD))))
    assert inspection.inspect(path) == "hdf5"
    path.write_bytes(
        weights(lambda file: file.attrs.update(model_config=json.dumps(OLD).replace("Dense", "Lambda")))
    )
    assert "'Lambda'" in refused(path)
    path.write_bytes(weights())
    assert "model_config" in refused(path)
    path.write_bytes(weights(lambda file: file.attrs.update(model_config=7)))
    refused(path)


@pytest.mark.parametrize(
    "content", [b"", b"PK", b"PK\3\4", b"\x89HDF\r\n\x1a\n", b"\x89HDF\r\n\x1a\n" + b"x" * 999, b"pickle"]
)
def test_other_files_are_refused(tmp_path, content):
    (tmp_path / "a.keras").write_bytes(content)
    refused(tmp_path / "a.keras")


def test_no_file_is_refused(tmp_path):
    assert "no such model" in refused(tmp_path / "nothing.keras")
    assert "no such model" in refused(tmp_path)
