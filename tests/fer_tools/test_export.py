"""Networks for browsers and phones: they answer as Keras does, and say what they are."""

import json

import networks
import numpy as np
import pytest
from camera import bundled

from fer_lib.data.picture import network_input
from fer_lib.files import ROOT, UsageError, sha256_of_file
from fer_tools import commands, pretrained
from fer_tools.model_files import export, loading

GAME = ROOT / "game" / "networks" / "network.onnx"
SEVEN = ["angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"]


def faces(size: int) -> np.ndarray:
    return network_input(bundled()[0][:64], size)


def by_onnx(path, images):
    """Return what onnxruntime makes of images, what the file says of itself, and its inputs and outputs."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    rows = np.concatenate([session.run(None, {"face": image[np.newaxis]})[0] for image in images])
    ends = [(end.name, end.shape, end.type) for end in (*session.get_inputs(), *session.get_outputs())]
    return rows, json.loads(session.get_modelmeta().custom_metadata_map["fer_lab"]), ends


def by_tflite(path, images):
    """Return what TFLite makes of images."""
    import tensorflow as tf

    interpreter = tf.lite.Interpreter(model_path=str(path))
    interpreter.allocate_tensors()
    given, answer = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    assert (given["name"], answer["name"]) == ("face", "probabilities")
    rows = []
    for image in images:
        interpreter.set_tensor(given["index"], image[np.newaxis])
        interpreter.invoke()
        rows.append(interpreter.get_tensor(answer["index"])[0])
    return np.array(rows)


@pytest.fixture(scope="module")
def seven(tmp_path_factory):
    """Give a network of seven classes in another order, which turns and shifts images while it learns."""
    path = tmp_path_factory.mktemp("seven") / "seven.keras"
    layers = [("RandomFlip", {"mode": "horizontal"}), ("RandomRotation", {"factor": 0.1})]
    layers += [("Rescaling", {"scale": 1 / 255, "offset": 0}), ("Conv2D", {"filters": 8, "kernel_size": 3})]
    layers += [networks.GLOBAL, ("Dropout", {"rate": 0.5}), ("Dense", {"units": 7, "activation": "softmax"})]
    return networks.held(path, networks.chain(*layers, side=40))


def sources(seven):
    return {
        "shipped": (pretrained.path(), pretrained.facts()["classes"], 48),
        "small": (pretrained.path("small_model"), ["neutral", "happy", "surprise"], 48),
        "basic": (ROOT / "results" / "reference" / "model.keras", ["neutral", "happy", "surprise"], 64),
        "seven": (seven, SEVEN, 40),
    }


@pytest.mark.parametrize("name", ["shipped", "small", "basic", "seven"])
@pytest.mark.parametrize("form", ["onnx", "tflite"])
def test_it_answers_faces_as_keras_does(seven, tmp_path, name, form):
    source, classes, size = sources(seven)[name]
    model = loading.load(source)
    made = export.export(model, source, classes, tmp_path / f"network.{form}", form)
    images, expected = faces(size), model(faces(size), training=False).numpy()
    if form == "onnx":
        found, said, ends = by_onnx(made.path, images)
        assert ends == [
            ("face", [1, size, size, 1], "tensor(float)"),
            ("probabilities", [1, len(classes)], "tensor(float)"),
        ]
        assert said == made.metadata
    else:
        found = by_tflite(made.path, images)
        assert json.dumps(made.metadata).encode() in made.path.read_bytes()
    print(f"{name} as {form}: differs from Keras by {abs(found - expected).max():.1g}")
    assert abs(found - expected).max() <= 1e-5
    assert made.difference <= 1e-5
    assert made.metadata["classes"] == classes
    assert made.metadata["input"] == {"size": size, "black": 0, "white": 255}
    assert made.metadata["keras_sha256"] == sha256_of_file(source)


@pytest.mark.parametrize(("form", "scale"), [("onnx", "0..255"), ("onnx", "-1..1"), ("tflite", "0..1")])
def test_networks_of_colour_and_other_scales_take_grey_faces_all_the_same(tmp_path, form, scale):
    import keras
    from keras import layers

    path, names = tmp_path / "colour.keras", ["a", "b", "c"]
    body = [layers.Conv2D(4, 3), layers.GlobalAveragePooling2D(), layers.Dense(3, activation="softmax")]
    model = keras.Sequential([keras.Input((20, 20, 3)), *body])
    if scale == "0..255":  # values as large as these would go to one class
        model.set_weights([weight / 50 for weight in model.get_weights()])
    model.save(path)
    made = export.export(loading.load(path), path, names, tmp_path / "a", form, scale)
    assert made.metadata["input"] == {"size": 20, "black": 0, "white": 255}
    grey = faces(20)
    given = {"0..255": grey, "0..1": grey / 255, "-1..1": grey / 127.5 - 1}[scale]
    expected = model.predict(np.repeat(given, 3, axis=-1), verbose=0)
    found = by_onnx(made.path, grey)[0] if form == "onnx" else by_tflite(made.path, grey)
    assert np.ptp(expected, axis=0).max() > 0.001
    assert abs(found - expected).max() <= 1e-5


def test_what_takes_no_squares_is_not_written(tmp_path):
    import keras

    model = keras.Sequential([keras.Input((20, 16, 1)), keras.layers.Flatten(), keras.layers.Dense(3)])
    with pytest.raises(UsageError, match="takes 20x16 pixels, not squares"):
        export.export(model, tmp_path / "a.keras", ["a", "b", "c"], tmp_path / "a.onnx")


def test_what_changes_training_images_is_left_out(seven, tmp_path):
    import onnx

    made = export.export(loading.load(seven), seven, SEVEN, tmp_path / "seven.onnx")
    kinds = {node.op_type for node in onnx.load(made.path).graph.node}
    assert not {kind for kind in kinds if "Random" in kind or kind in ("If", "Loop", "Dropout", "Resize")}


def test_the_committed_network_is_the_shipped_one():
    found, said, _ = by_onnx(GAME, faces(48))
    assert said["keras_sha256"] == sha256_of_file(pretrained.path()), "`fer export --out` it anew"
    assert said["classes"] == pretrained.facts()["classes"]
    expected = loading.load(pretrained.path())(faces(48), training=False).numpy()
    assert abs(found - expected).max() <= 1e-5


def test_one_that_answers_otherwise_is_not_written(seven, tmp_path, monkeypatch):
    def broken(function, metadata):
        content, run = whole(function, metadata)
        return content, lambda face: run(face) + np.float32([2e-5, 0, 0, 0, 0, 0, 0])

    whole = export.FORMS["onnx"]
    monkeypatch.setitem(export.FORMS, "onnx", broken)
    with pytest.raises(
        UsageError, match="otherwise than in Keras, by 2e-05; more than 1e-05 is not accepted"
    ):
        export.export(loading.load(seven), seven, SEVEN, tmp_path / "seven.onnx")
    assert list(tmp_path.iterdir()) == []


def test_one_that_gives_no_numbers_is_not_written(seven, tmp_path, monkeypatch):
    whole = export.FORMS["onnx"]
    nothing = np.full((1, 7), np.nan, np.float32)
    monkeypatch.setitem(export.FORMS, "onnx", lambda *given: (whole(*given)[0], lambda face: nothing))
    with pytest.raises(UsageError, match="otherwise than in Keras, by nan"):
        export.export(loading.load(seven), seven, SEVEN, tmp_path / "seven.onnx")


def test_the_command_says_what_was_written(seven, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert commands.main(["export", str(seven), "--classes", ",".join(SEVEN)]) == 0
    said, notes = capsys.readouterr()
    order = "does not say the order of its outputs (fer diagnose finds it)"
    assert notes == f"fer: {seven}: {order}; {', '.join(SEVEN)} is assumed\n"
    assert said.startswith("seven.onnx: 7 classes, 40x40 pixels,") and "differs from Keras by" in said
    assert by_onnx(tmp_path / "seven.onnx", faces(40))[1]["name"] == "seven"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["nowhere"], "no such directory"),
        (["{seven}"], "their order are unknown (fer diagnose finds it); add --classes"),
        (["{seven}", "--classes", ",".join(SEVEN), "--scale", "0..9"], "'0..9' is none; choose one of"),
        (["--scale", "0..1"], "goes with a .keras file that no run knows"),
        (["{seven}", "--classes", "a,b"], "has 7 classes, not 2"),
        (["{seven}", "--classes", ",".join(SEVEN), "--out", "{folder}/file/x.onnx"], "cannot be written"),
    ],
)
def test_mistakes_are_one_line(seven, results, tmp_path, capsys, arguments, reason):
    (tmp_path / "file").write_bytes(b"")
    given = [argument.format(seven=seven, folder=tmp_path) for argument in arguments]
    assert commands.main(["export", *given]) == 2
    error = capsys.readouterr().err
    assert reason in error and error.count("\n") == 1
