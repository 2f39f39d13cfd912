"""Model files of Keras 2 and 3, of students and made up: opened to the same answers, or refused in a line.

What Keras 2 answers comes from Keras 2; see `helpers/keras2.py`.
"""

import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import keras2
import numpy as np
import pytest

from fer_lib.files import UsageError
from fer_tools.model_files import loading, pixels

SAYS = json.loads(keras2.SAYS.read_text(encoding="utf-8"))
ARCHIVE = keras2.NESTED["keras"]
# What its README says of each: container, version, parameters, input; of the seventh, it does not know.
KNOWN = {
    "model_01": ("hdf5", "2.12.0", 118_531, (64, 64, 1)),
    "model_02": ("keras 3 zip", "3.15.1", 110_755, (150, 150, 3)),
    "model_03": ("hdf5", "2.12.0", 144_731, (150, 150, 3)),
    "model_04": ("keras 2 zip", "2.15.0", 106_827, (150, 150, 3)),
    "model_05": ("keras 2 zip", "2.13.1", 78_035, (150, 150, 3)),
    "model_06": ("keras 2 zip", "2.15.0", 101_699, (150, 150, 3)),
    "model_07": ("hdf5", "2.12.0", 109_394, (150, 150, 3)),
    "model_08": ("hdf5", "2.12.0", 104_531, (150, 150, 3)),
    "model_09": ("hdf5", "2.12.0", 302_099, (150, 150, 3)),
    "model_10": ("keras 3 zip", "3.8.0", 102_595, (150, 150, 3)),
    "model_11": ("hdf5", "2.12.0", 90_851, (150, 150, 3)),
    "model_12": ("hdf5", "2.12.0", 151_307, (150, 150, 3)),
    "model_13": ("hdf5", "2.12.0", 149_619, (150, 150, 3)),
}


def answer(model) -> np.ndarray:
    return np.asarray(model(keras2.image(*model.input_shape[1:]), training=False))[0]


def refusal(path: Path) -> str:
    """Return why a file is refused, for a reader: in one line, without Keras' words for its developers."""
    with pytest.raises(UsageError) as caught:
        loading.opened(path)
    said = str(caught.value)
    assert said.startswith(f"{path}: ") and "\n" not in said and len(said) < 500 + len(str(path))
    assert not re.search("deserialize|from_config|NoneType|object has no attribute", said), said
    return said.removeprefix(f"{path}: not a model that can be opened safely ")


def test_every_model_of_students_is_opened_and_answers_as_in_its_keras(student_models):
    import keras

    assert sorted(KNOWN) == sorted(path.stem for path in student_models.glob("*.keras"))
    windows = set()
    for name, known in KNOWN.items():
        path = student_models / f"{name}.keras"
        opened = loading.opened(path)
        model = opened.model
        assert (opened.container, opened.keras, model.count_params(), model.input_shape[1:]) == known
        if opened.keras.startswith("2"):
            expected = SAYS[name]
        else:
            expected = answer(keras.saving.load_model(path, compile=False))
        np.testing.assert_allclose(answer(model), expected, rtol=0, atol=1e-6, err_msg=name)
        windows |= {name} & ({name} if opened.notes else set())
        assert opened.notes in ((), ("saved on Windows",))
        says = pixels.declared(model)
        assert says == (None if name in ("model_05", "model_08", "model_11", "model_12") else "0..255"), name
    assert windows == {"model_04", "model_05"}


# -- networks within networks, of Keras 2, and what other versions make of their names ---------------------


@pytest.mark.parametrize("kind", ["keras", "h5"])
def test_networks_within_that_are_frozen_in_part_answer_as_in_keras_2(kind):
    opened = loading.opened(keras2.NESTED[kind])
    assert (opened.container, opened.keras) == ({"keras": "keras 2 zip", "h5": "hdf5"}[kind], "2.21.0")
    assert opened.notes == () and opened.model.count_params() == 519
    np.testing.assert_allclose(answer(opened.model), SAYS["nested"], rtol=0, atol=1e-6)
    frozen = [layer.name for layer in pixels.leaves(opened.model) if layer.weights and not layer.trainable]
    assert frozen == ["scaled", "conv2d"] and pixels.declared(opened.model) == "0..255"


def of_windows(held: dict) -> dict:
    """Name groups as Keras 2 does on Windows: a slash of its own, a backslash of the system."""
    changed = {re.sub(r"(layers|dependencies)/(\w+)", r"\1\\\2", name): name for name in held}
    return {name: held[before] for name, before in changed.items()}


def skipping(held: dict) -> dict:
    """Name groups as Keras 2.13 does: each layer is counted twice, and the second time has no weights."""

    def twice(match: re.Match) -> str:
        number = 2 * int(match[2] or 0)
        return match[1] + (f"_{number}" if number else "") + "/"

    classes = "|".join(["conv2d", "batch_normalization", "depthwise_conv2d", "dense"])
    found = {}
    for name, array in held.items():
        name = re.sub(rf"(?<=/)({classes})(?:_(\d+))?/", twice, name)
        found[name.replace("layers/", "_layer_checkpoint_dependencies/")] = array
    return found


def only_arrays(held: dict) -> dict:
    return {name: array for name, array in held.items() if array is not None}


@pytest.mark.parametrize("change", [of_windows, skipping, lambda held: of_windows(skipping(held))])
def test_names_of_other_versions_are_understood(tmp_path, change):
    before = only_arrays(keras2.arrays(zipfile.ZipFile(ARCHIVE).read("model.weights.h5")))
    assert set(change(before)) != set(before)
    path = keras2.rewritten(ARCHIVE, tmp_path / "a.keras", lambda held: change(only_arrays(held)))
    opened = loading.opened(path)
    np.testing.assert_allclose(answer(opened.model), SAYS["nested"], rtol=0, atol=1e-6)
    assert opened.notes == (() if change is skipping else ("saved on Windows",))


def test_ten_layers_of_a_class_are_not_taken_for_text(tmp_path):
    """`conv2d_10` comes after `conv2d_9`, though not by its letters."""
    import keras

    layers = [keras.layers.Conv2D(1, 1, name=f"c{i}") for i in range(12)]
    model = keras.Sequential([keras.Input((4, 4, 1)), *layers, keras.layers.Flatten(), keras.layers.Dense(3)])
    model.set_weights([np.full(weight.shape, i, np.float32) for i, weight in enumerate(model.weights)])
    model.save(tmp_path / "a.keras")
    loaded = loading.load(tmp_path / "a.keras")
    assert all(map(np.array_equal, loaded.get_weights(), model.get_weights()))


def test_a_network_that_gives_a_list_of_one_gives_that_one(tmp_path):
    import keras

    inputs = keras.Input((8, 8, 1))
    outputs = keras.layers.Dense(3, activation="softmax")(keras.layers.Flatten()(inputs))
    model = keras.Model([inputs], [outputs])
    model.save(tmp_path / "a.keras")
    loaded = loading.load(tmp_path / "a.keras")
    assert (loaded.input_shape, loaded.output_shape) == ((None, 8, 8, 1), (None, 3))
    expected = np.ravel(model.predict(keras2.image(8, 8, 1), verbose=0))
    np.testing.assert_allclose(answer(loaded), expected, rtol=0, atol=1e-6)


# -- weights that are not those of the network -------------------------------------------------------------


def without(part: str) -> Callable:
    return lambda held: {name: array for name, array in held.items() if part not in name}


def with_more(**more: tuple) -> Callable:
    names = {name.replace("__", "/"): np.ones(shape, np.float32) for name, shape in more.items()}
    return lambda held: held | names


CONV = "layers/functional/layers/conv2d/vars"
WRONG = {
    "a layer less": (without("/batch_normalization_1/"), "the file has weights of 1 layers 'batch_norm"),
    "an array less": (without(f"{CONV}/1"), "'conv2d' (Conv2D) wants weights in 2 arrays, the file has 1"),
    "a network less": (without("layers/functional/"), "layer 'base' (Functional): the file has weights of 0"),
    "none": (lambda held: {}, "the file has weights of 0 layers"),
    "a layer more": (
        with_more(layers__sequential_1__layers__dense_2__vars__0=(5, 5)),
        "the file has weights of 3 layers 'dense', the network has 2",
    ),
    "a class more": (
        with_more(layers__gru__vars__0=(5, 5)),
        "the file has weights of 1 layers 'gru', the network has 0",
    ),
    "an array more": (with_more(**{f"{CONV.replace('/', '__')}__2": (4,)}), "in 2 arrays, the file has 3"),
    "another shape": (
        lambda held: held | {f"{CONV}/0": np.ones((3, 3, 4, 3), np.float32)},
        "wants weights of shape (3, 3, 3, 4), the file has (3, 3, 4, 3)",
    ),
    "one array twice": (
        lambda held: held | {CONV.replace("/", "\\", 1) + "/0": np.ones((3, 3, 3, 4))},
        "two arrays",
    ),
    "names without end": (lambda held: held | {"layers" + "\\a" * 500 + "\\vars\\0": np.ones(3)}, "too deep"),
}


@pytest.mark.parametrize("name", WRONG)
def test_other_weights_are_said_not_ignored(tmp_path, name):
    change, said = WRONG[name]
    spare = {"spare": np.ones(600)}  # so that there are enough numbers
    path = keras2.rewritten(ARCHIVE, tmp_path / "a.keras", lambda held: change(only_arrays(held)) | spare)
    assert said in refusal(path)


def test_a_file_of_too_few_numbers_is_refused_before_the_network_is_made(tmp_path):
    path = keras2.rewritten(ARCHIVE, tmp_path / "a.keras", lambda held: {"a": np.ones(5)})
    assert refusal(path) == "(519 weights, of which the file holds 5)"


def test_arrays_that_belong_to_no_layer_are_said(tmp_path):
    change = with_more(elsewhere__vars__0=(2,), optimizer__vars__0=(2,))
    path = keras2.rewritten(ARCHIVE, tmp_path / "a.keras", change)
    assert loading.opened(path).notes == (
        "holds 1 arrays that belong to no layer, the first of them 'elsewhere/vars/0'",
    )


def old(tmp_path: Path, change: Callable[[h5py.File], None]) -> Path:
    """Write the HDF5 file anew, changed."""
    path = tmp_path / "a.h5"
    path.write_bytes(keras2.NESTED["h5"].read_bytes())
    with h5py.File(path, "r+") as file:
        change(file)
    return path


def names(place: str, key: str, change: Callable[[list], list]) -> Callable[[h5py.File], None]:
    def changed(file: h5py.File) -> None:
        attributes = file[place].attrs
        listed = change([name.encode() if isinstance(name, str) else name for name in attributes[key]])
        del attributes[key]
        attributes[key] = np.array(listed, "S")

    return changed


def more_in_hdf5(file: h5py.File) -> None:
    file["model_weights/late/w"] = np.ones(3)
    file["model_weights/late"].attrs["weight_names"] = [b"w"]
    names("model_weights", "layer_names", lambda listed: [*listed, b"late"])(file)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (names("model_weights/base", "weight_names", lambda listed: listed[1:]), "'base' (Functional) wants"),
        (names("model_weights/base", "weight_names", lambda listed: listed[::-1]), "wants weights of shape"),
        (names("model_weights/base", "weight_names", lambda listed: [b"..", *listed[1:]]), "no entry"),
        (names("model_weights", "layer_names", lambda listed: listed[:-1]), "'head' (Sequential) wants"),
        (names("model_weights", "layer_names", lambda listed: [*listed, b"none"]), "no entry"),
        (more_in_hdf5, "weights of 'late', which the network does not have"),
    ],
)
def test_hdf5_of_other_weights_is_refused(tmp_path, change, said):
    assert said in refusal(old(tmp_path, change))


def test_long_lists_of_names_are_read_in_parts(tmp_path):
    """HDF5 keeps no more than 64 kB beside a group; Keras parts what is longer."""

    def parted(file: h5py.File) -> None:
        attributes = file["model_weights/base"].attrs
        listed = list(attributes["weight_names"])
        del attributes["weight_names"]
        for i in range(0, len(listed), 5):
            attributes[f"weight_names{i // 5}"] = np.array(listed[i : i + 5], "S")

    np.testing.assert_allclose(answer(loading.load(old(tmp_path, parted))), SAYS["nested"], rtol=0, atol=1e-6)


# -- configurations ----------------------------------------------------------------------------------------


def replaced(text: str, by: str) -> Callable[[str], str]:
    def change(config: str) -> str:
        assert re.search(text, config), text
        return re.sub(text, by, config)

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (replaced('"class_name": "LeakyReLU"', '"class_name": "Lambda"'), "'Lambda' is not among"),
        (replaced('"class_name": "LeakyReLU"', '"class_name": "TFOpLambda"'), "'TFOpLambda' is not among"),
        (replaced('"tf_keras.src.engine.functional"', '"os.path"'), "'Functional' is not among"),
        (replaced('"tf_keras.src.engine.functional"', '"tf_keras_evil"'), "'Functional' is not among"),
        (replaced('"module": "keras.initializers"', '"module": "tf_keras.src.utils"'), "is not among"),
        (replaced(r'\["base", 1, 0', '["base", 0, 0'), "there is no call 0 of network 'base'"),
        (replaced(r'\["base", 1, 0', '["base", -1, 0'), "there is no call -1 of network 'base'"),
        (replaced(r'\["base", 1, 0', '["base", true, 0'), "there is no call True of network 'base'"),
        (replaced(r'\["base", 1, 0', '["base", 7, 0'), "loops or disconnected nodes"),
        (replaced(r'\["head", 1, 0\]', '["head", 0, 0]'), "there is no call 0 of network 'head'"),
        (replaced('"activation": "swish"', '"activation": "hard_sigmoid"'), "Keras 3 computes hard_sigmoid"),
        (replaced('"RandomFlip"', '"RandomCrop"'), "'random_flip' (RandomCrop): Keras 3 computes RandomCrop"),
        (replaced('"units": 5', '"units": 100000000'), "absurd|units"),
    ],
)
def test_configurations_of_keras_2_that_cannot_be_meant_are_refused(tmp_path, change, said):
    path = keras2.rewritten(ARCHIVE, tmp_path / "a.keras", dict, change)
    assert re.search(said if "|" in said else re.escape(said), refusal(path))


def test_layers_without_a_name_do_not_keep_the_weights_they_began_with(tmp_path):
    def nameless(config: str) -> str:
        document = json.loads(config)
        inner = next(layer for layer in document["config"]["layers"] if layer["name"] == "head")
        inner["config"]["layers"][1]["config"]["name"] = None
        inner["config"]["layers"][3]["config"]["name"] = "last"
        return json.dumps(document)

    def without_it(held: dict) -> dict:
        held = only_arrays(held)
        kept = {name: array for name, array in held.items() if "/dense/" not in name}
        moved = {name.replace("/dense_1/", "/dense/"): array for name, array in kept.items()}
        assert len(moved) == len(held) - 2
        return moved | {"spare": np.ones(100)}

    said = refusal(keras2.rewritten(ARCHIVE, tmp_path / "a.keras", without_it, nameless))
    assert "the file has no weights for " in said


def test_slashes_in_names_are_no_obstacle(tmp_path):
    """Keras 2 allows them, and networks of keras.applications have them."""

    def slashed(file: h5py.File) -> None:
        file.attrs["model_config"] = file.attrs["model_config"].replace('"conv2d"', '"conv/1"')

    opened = loading.opened(old(tmp_path, slashed))
    np.testing.assert_allclose(answer(opened.model), SAYS["nested"], rtol=0, atol=1e-6)
    assert "conv_1" in [layer.name for layer in pixels.leaves(opened.model)]


def test_a_pointer_of_git_lfs_is_named(tmp_path):
    path = tmp_path / "a.keras"
    path.write_text(
        "version https://git-lfs.github.com/spec/v1\n"
        "oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 906248\n"
    )
    assert "this is a pointer of Git LFS, not the model: run git lfs pull" in refusal(path)


# -- what a file says of its pixels ------------------------------------------------------------------------


def network(*layers, channels: int = 1):
    import keras

    last = [keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(3, activation="softmax")]
    return keras.Sequential([keras.Input((8, 8, channels)), *layers, *last])


def test_the_scale_of_pixels_is_what_the_first_layers_say():
    from keras.layers import BatchNormalization, Conv2D, Normalization, RandomFlip, Rescaling

    means, variances = [123.7, 116.3, 103.5], [3400.0, 3260.0, 3290.0]
    adapted = BatchNormalization()
    for said, layers in (
        ("0..255", [Rescaling(1 / 255)]),
        ("0..255", [Rescaling(1 / 127.5, offset=-1)]),
        ("0..255", [RandomFlip(), Rescaling(1 / 255), Conv2D(2, 3)]),
        ("0..255", [Normalization(mean=means, variance=variances)]),
        ("0..255", [Rescaling(1 / 255), Normalization(mean=0.5, variance=0.06)]),
        ("0..1", [Rescaling(2.0, offset=-1)]),
        ("0..1", [Normalization(mean=0.5, variance=0.06)]),
        ("0..255", [adapted]),
        (None, []),
        (None, [Rescaling(1.0)]),
        (None, [Conv2D(2, 3), Rescaling(1 / 255)]),
        (None, [Rescaling(1 / 255), Rescaling(1 / 255)]),
        (None, [Rescaling(float("nan"))]),
        (None, [BatchNormalization()]),  # as it begins
    ):
        model = network(*layers, channels=3)
        if adapted in layers:
            adapted.set_weights([np.ones(3), np.zeros(3), np.array(means), np.array(variances)])
        assert pixels.declared(model) == said, layers
    assert pixels.declared(network(network(Rescaling(1 / 255)).layers[0])) == "0..255"


def test_faces_are_brought_to_a_network_by_arithmetic():
    faces = np.array([0, 51, 255], np.float32).reshape(1, 3, 1, 1)
    for scale, expected in (("0..255", [0, 51, 255]), ("0..1", [0, 0.2, 1]), ("-1..1", [-1, -0.6, 1])):
        for channels in (1, 3):
            given = np.asarray(pixels.brought(faces, channels, scale))
            assert given.shape == (1, 3, 1, channels)
            np.testing.assert_allclose(
                given, np.reshape(expected, (1, 3, 1, 1)).repeat(channels, -1), atol=1e-6
            )
