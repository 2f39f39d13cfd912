"""`fer diagnose`: networks made by hand, of which everything is known, and files as people saved them."""

import json
import math
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from diagnosed import COUNTS, diagnosed, network, templates

from fer_tools import commands
from fer_tools.grading import diagnosis, findings
from fer_tools.grading.network import activation, missing_layers

metrics = pytest.importorskip("sklearn.metrics")
CLASSES = ["neutral", "happy", "surprise"]
KEYS = {
    "": "format state reason file container data parameters limit layers input output reading test game "
    "findings cost",
    "file": "name bytes sha256 weights_sha256",
    "container": "kind keras notes",
    "input": "height width channels",
    "output": "classes activation",
    "reading": "told order scale p_value images sentence",
    "test": "images accuracy low high images_without_twins accuracy_without_twins loss mean_confidence "
    "calibration_error confusion as_the_game",
    "cost": "seconds images_seen",
}


@pytest.fixture(scope="module")
def data(make_face_folder, tmp_path_factory) -> Path:
    folder = make_face_folder(tmp_path_factory.mktemp("diagnosed") / "set", COUNTS)
    twins = sorted((folder / "train" / "happy").iterdir())[:3]
    for i, twin in enumerate(twins):  # met in training, too
        shutil.copy(twin, folder / "test" / "happy" / f"PublicTest_{i}.jpg")
    return folder


@pytest.fixture(scope="module")
def weights(data) -> np.ndarray:
    return templates(data)


@pytest.fixture(scope="module")
def faces(data) -> diagnosis.Images:
    return diagnosis.images(str(data))


def codes(found: dict) -> list[str]:
    return [each["code"] for each in found["findings"]]


def whole(found: dict) -> dict:
    """Make sure that every key is there, every number finite, every finding in words; return it."""
    assert set(found) == set(KEYS[""].split())
    for part, names in KEYS.items():
        if part and found[part] is not None:
            assert set(found[part]) == set(names.split()), part
    json.dumps(found, allow_nan=False)
    for each in found["findings"]:
        assert set(each) == {"code", "text", "advice"}
        assert each["text"].endswith(".") and "nan" not in each["text"] and len(each["advice"]) > 20
    return found


def test_training_images_have_no_twins_and_test_images_with_one_are_known(faces):
    assert set(faces.training.pixel_digests()).isdisjoint(faces.test.pixel_digests())
    assert faces.twin.sum() == 3 and (faces.test.labels[faces.twin] == 1).all()
    assert faces.training.counts() == dict.fromkeys(CLASSES, 21)


@pytest.mark.parametrize(
    ("order", "options", "scale", "said"),
    [
        ((0, 1, 2), {}, "0..255", []),
        ((1, 0, 2), {"channels": 3}, "0..255", []),
        ((2, 0, 1), {"rescaling": None, "white": 255}, "0..255", []),
        ((1, 2, 0), {"rescaling": None, "white": 1}, "0..1", []),
        ((1, 0, 2), {"white": 1 / 255}, "0..1", ["double-scaling"]),
    ],
    ids=["as the game", "alphabetical, colour", "no scaling", "expects 0..1", "scaled twice"],
)
def test_order_scale_and_figures(faces, weights, tmp_path, order, options, scale, said):
    model = network(weights, order, **options)
    found = whole(diagnosed(model, tmp_path / "m.keras", faces))
    reading, test = found["reading"], found["test"]
    assert reading["told"] and reading["order"] == [CLASSES[i] for i in order]
    assert reading["p_value"] < 0.0002 and reading["scale"] == scale
    assert codes(found) == said and found["state"] == ("findings" if said else "fine")
    # the same by Keras and scikit-learn
    images = faces.test.images[..., np.newaxis].astype(np.float32) / (255 if scale == "0..1" else 1)
    outputs = model.predict(np.repeat(images, options.get("channels", 1), axis=-1), verbose=0)
    labels, guessed = faces.test.labels, np.array(order)[outputs.argmax(axis=1)]
    assert test["images"] == len(labels) == 39 and test["accuracy"] > 0.8
    assert test["accuracy"] == metrics.accuracy_score(labels, guessed)
    assert test["confusion"] == metrics.confusion_matrix(labels, guessed).tolist()
    assert test["as_the_game"] == metrics.accuracy_score(labels, outputs.argmax(axis=1))
    apart = ~faces.twin
    assert test["accuracy_without_twins"] == metrics.accuracy_score(labels[apart], guessed[apart])
    assert test["images_without_twins"] == 36
    by_class = outputs[:, np.argsort(order)].astype(float)
    by_class /= by_class.sum(axis=1, keepdims=True)
    assert test["loss"] == pytest.approx(metrics.log_loss(labels, by_class), abs=1e-3)
    assert test["mean_confidence"] == pytest.approx(outputs.max(axis=1).mean(), abs=1e-5)
    assert test["low"] < test["accuracy"] <= test["high"]
    assert found["parameters"] == model.count_params() == sum(each["parameters"] for each in found["layers"])
    assert [each["class"] for each in found["layers"]] == [type(layer).__name__ for layer in model.layers]


def test_the_weights_have_one_digest_however_they_are_packed(faces, weights, tmp_path):
    model = network(weights)
    first = diagnosed(model, tmp_path / "a.keras", faces)
    with zipfile.ZipFile(tmp_path / "a.keras") as old, zipfile.ZipFile(tmp_path / "b.keras", "w") as new:
        for name in reversed(old.namelist()):
            new.writestr(name, old.read(name), zipfile.ZIP_DEFLATED)
    model.save(tmp_path / "c.h5")
    others = [diagnosis.diagnose(tmp_path / name, faces, 150_000) for name in ("b.keras", "c.h5")]
    assert {each["file"]["weights_sha256"] for each in others} == {first["file"]["weights_sha256"]}
    assert len({each["file"]["sha256"] for each in (first, *others)}) == 3
    assert [each["container"]["kind"] for each in (first, *others)] == ["keras 3 zip"] * 2 + ["hdf5"]
    other = diagnosed(network(weights * 1.001), tmp_path / "d.keras", faces)
    assert other["file"]["weights_sha256"] != first["file"]["weights_sha256"]


def broken(weights: np.ndarray, value: float) -> np.ndarray:
    weights = weights.copy()
    weights[5, 1] = value
    return weights


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_network_that_is_no_number_gets_no_figures(faces, weights, tmp_path, value):
    """The largest of NaN is the first: it would be right on all images of a class."""
    found = whole(diagnosed(network(broken(weights, value)), tmp_path / "m.keras", faces))
    assert codes(found) == ["not-finite"] and found["test"] is None and not found["reading"]["told"]
    assert found["cost"]["images_seen"] == 0


def test_outputs_that_are_no_numbers_are_noticed_too(faces, weights, tmp_path):
    found = whole(diagnosed(network(weights * 3e37), tmp_path / "m.keras", faces))
    assert "not-finite" in codes(found) and found["test"] is None and found["reading"]["order"] is None


def test_a_network_that_gives_one_answer(faces, weights, tmp_path):
    constant = np.zeros_like(weights)
    constant[-1] = [0, 3, 0]
    found = whole(diagnosed(network(constant), tmp_path / "m.keras", faces))
    assert codes(found) == ["order-unknown", "collapsed"] and found["test"] is None
    assert "100% of 63 training images" in found["findings"][1]["text"]


def test_a_network_that_leans_to_one_answer_or_never_gives_one():
    test = {"images": 100, "mean_confidence": None, "confusion": [[30, 0, 0], [30, 8, 2], [20, 1, 9]]}
    (said,) = findings.of_test(test)
    assert said["code"] == "collapsed" and "80% of the test images" in said["text"]
    assert "neutral" in said["text"]
    test["confusion"] = [[30, 0, 0], [5, 33, 2], [16, 5, 9]]
    (said,) = findings.of_test(test)
    assert (
        said["code"] == "class-missed" and "Of 30 test images of surprise it recognises 30%" in said["text"]
    )
    assert "says neutral" in said["text"]


def test_what_the_layers_lack_and_how_many_parameters_there_are(faces, tmp_path):
    import keras

    layers = keras.layers
    parts = [keras.Input((48, 48, 1)), layers.Rescaling(1 / 255), layers.Flatten(), layers.Dense(3)]
    found = whole(diagnosed(keras.Sequential(parts), tmp_path / "m.keras", faces, limit=1000))
    assert codes(found)[:3] == ["over-limit", "no-softmax", "layers-missing"]
    said = {each["code"]: each for each in found["findings"]}
    assert "6,915 parameters, 5,915 more than the 1,000" in said["over-limit"]["text"]
    assert "dense" in said["over-limit"]["advice"] and "Conv2D" in said["layers-missing"]["text"]
    assert "relu" not in said["layers-missing"]["text"], "there is no convolution that lacks it"


def test_layers_count_however_they_are_written():
    import keras

    layers = keras.layers
    within = keras.Sequential([keras.Input((48, 48, 1)), layers.Conv2D(2, 3), layers.BatchNormalization()])
    parts = [keras.Input((48, 48, 1)), within, layers.ReLU(), layers.AveragePooling2D(2)]
    parts += [layers.SeparableConv2D(2, 3, activation=layers.LeakyReLU()), layers.GlobalMaxPooling2D()]
    model = keras.Sequential([*parts, layers.Dense(3), layers.Activation("softmax")])
    assert missing_layers(model) == [] and activation(model.layers[-1]) == "softmax"
    linear = keras.Sequential(
        [keras.Input((48, 48, 1)), layers.Conv2D(2, 3), layers.Conv2D(2, 3), layers.Softmax()]
    )
    assert len(missing_layers(linear)) == 4 and activation(linear.layers[-1]) == "softmax"


def test_outputs_that_are_no_probabilities(faces, weights, tmp_path):
    found = whole(diagnosed(network(weights, activation="linear"), tmp_path / "m.keras", faces))
    assert codes(found) == ["no-softmax"] and "linear" in found["findings"][0]["text"]
    assert found["test"]["accuracy"] > 0.8
    assert (
        found["test"]["loss"]
        is found["test"]["mean_confidence"]
        is found["test"]["calibration_error"]
        is None
    )


def test_too_sure_of_itself(faces, weights, tmp_path):
    noise = np.random.default_rng(0).normal(0, 5 * weights[:-1].std(), weights.shape)
    noise[-1] = 0
    found = whole(diagnosed(network(50 * (weights + noise)), tmp_path / "m.keras", faces))
    (said,) = (each["text"] for each in found["findings"] if each["code"] == "overconfident")
    test = found["test"]
    assert f"{test['mean_confidence']:.1%}" in said and f"{test['accuracy']:.1%}" in said
    assert test["calibration_error"] > 0.1


@pytest.mark.parametrize(("channels", "classes"), [(2, 3), (1, 4)])
def test_another_task_is_named_and_gets_no_figures(faces, tmp_path, channels, classes):
    import keras

    layers = keras.layers
    parts = [keras.Input((48, 48, channels)), layers.Conv2D(2, 3, activation="relu")]
    parts += [layers.GlobalMaxPooling2D(), layers.Dense(classes, activation="softmax")]
    found = whole(diagnosed(keras.Sequential(parts), tmp_path / "m.keras", faces))
    assert codes(found) == ["other-task"] and found["test"] is None and not found["reading"]["told"]


# -- the command -------------------------------------------------------------------------------------------


def fer(capsys, *arguments: object) -> tuple[int, str, str]:
    code = commands.main(["diagnose", *map(str, arguments)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_the_command_prints_a_page_or_json_and_its_code_says_how_it_is(
    data, weights, tmp_path, capsys, results
):
    fine, wrong = tmp_path / "fine.keras", tmp_path / "wrong.keras"
    network(weights, (1, 0, 2)).save(fine)
    network(broken(weights, math.nan)).save(wrong)
    code, out, err = fer(capsys, fine, "--data", data)
    assert code == 0 and not err and "fine.keras: nothing to change" in out
    assert "happy, neutral, surprise" in out and "of 39 images" in out
    code, out, err = fer(capsys, wrong, "--data", data)
    assert code == 1 and not err and out.index("NaN") < out.index("parameters")
    code, out, _ = fer(capsys, wrong, "--data", data, "--json")
    assert code == 1 and whole(json.loads(out))["state"] == "findings"
    code, out, _ = fer(capsys, fine, "--data", data, "--limit", 1000)
    assert code == 1 and "more than the 1,000 allowed" in out
    assert not results.exists()


def test_what_is_refused_has_a_reason_and_no_figures(data, tmp_path, capsys):
    (tmp_path / "text.keras").write_text("no network")
    code, out, err = fer(capsys, tmp_path / "text.keras", "--data", data, "--json")
    found = whole(json.loads(out))
    assert code == 2 and found["state"] == "refused" and "neither a zip archive" in found["reason"]
    assert found["file"]["bytes"] == 10 and found["test"] is None and found["findings"] == []
    for file in ("text.keras", "missing.keras"):
        code, out, err = fer(capsys, tmp_path / file, "--data", data)
        assert code == 2 and not out and err.startswith("fer: ") and len(err.splitlines()) == 1


def test_data_that_are_not_there_are_named(tmp_path, capsys):
    code, out, err = fer(capsys, tmp_path / "m.keras", "--data", tmp_path / "nowhere")
    assert code == 2 and "nowhere: no such file or folder" in err and not out


# -- files as people saved them ----------------------------------------------------------------------------

# Right of 1,917 images, in percent, by the README beside them.
KNOWN = {"model_04": 76.5, "model_09": 60.5}


@pytest.fixture(scope="module")
def photographs(fer2013) -> diagnosis.Images:
    return diagnosis.images(str(fer2013))


@pytest.mark.parametrize("name", KNOWN)
def test_real_files(student_models, photographs, name):
    found = whole(diagnosis.diagnose(student_models / f"{name}.keras", photographs, 150_000))
    assert found["reading"]["order"] == ["happy", "neutral", "surprise"]
    assert found["test"]["images"] == 1917
    assert abs(100 * found["test"]["accuracy"] - KNOWN[name]) < 0.1
    assert ("over-limit" in codes(found)) == (name == "model_09")


@pytest.mark.slow
def test_a_real_file_of_which_the_order_cannot_be_told(student_models, photographs):
    found = whole(diagnosis.diagnose(student_models / "model_06.keras", photographs, 150_000))
    assert "order-unknown" in codes(found) and found["test"] is None and found["reading"]["p_value"] > 0.1
