"""The assignment's network, row by row; names, limits and options."""

import numpy as np
import pytest

from fer_lib import evaluation, models
from fer_lib.files import UsageError

TABLE = [
    # layer, type, output shape, parameters
    ("input", "InputLayer", "(None, 64, 64, 1)", 0),
    ("rescaling", "Rescaling", "(None, 64, 64, 1)", 0),
    ("random_flip", "RandomFlip", "(None, 64, 64, 1)", 0),
    ("random_rotation", "RandomRotation", "(None, 64, 64, 1)", 0),
    ("random_zoom", "RandomZoom", "(None, 64, 64, 1)", 0),
    ("conv2d", "Conv2D", "(None, 64, 64, 32)", 320),
    ("batch_normalization", "BatchNormalization", "(None, 64, 64, 32)", 128),
    ("activation", "Activation", "(None, 64, 64, 32)", 0),
    ("max_pooling2d", "MaxPooling2D", "(None, 32, 32, 32)", 0),
    ("conv2d_1", "Conv2D", "(None, 32, 32, 64)", 18_496),
    ("batch_normalization_1", "BatchNormalization", "(None, 32, 32, 64)", 256),
    ("activation_1", "Activation", "(None, 32, 32, 64)", 0),
    ("max_pooling2d_1", "MaxPooling2D", "(None, 16, 16, 64)", 0),
    ("conv2d_2", "Conv2D", "(None, 16, 16, 128)", 73_856),
    ("batch_normalization_2", "BatchNormalization", "(None, 16, 16, 128)", 512),
    ("activation_2", "Activation", "(None, 16, 16, 128)", 0),
    ("max_pooling2d_2", "MaxPooling2D", "(None, 8, 8, 128)", 0),
    ("global_average_pooling2d", "GlobalAveragePooling2D", "(None, 128)", 0),
    ("dense", "Dense", "(None, 128)", 16_512),
    ("dropout", "Dropout", "(None, 128)", 0),
    ("dense_1", "Dense", "(None, 64)", 8_256),
    ("dropout_1", "Dropout", "(None, 64)", 0),
    ("dense_2", "Dense", "(None, 3)", 195),
]


def printed(capsys: pytest.CaptureFixture[str], model: object) -> str:
    models.print_summary(model)
    return capsys.readouterr().out


def test_the_printed_summary_is_the_table_of_the_assignment(capsys):
    title, header, *rows, totals = printed(capsys, models.build("basic_model")).splitlines()
    assert title == "Model: basic_model"
    assert header.split() == ["Layer", "Type", "Output", "shape", "Parameters"]
    assert totals == "Total 118,531   Trainable 118,083   Non-trainable 448"
    assert len(rows) == len(TABLE)
    for row, (name, kind, shape, count) in zip(rows, TABLE, strict=True):
        assert row.split(maxsplit=2)[:2] == [name, kind]
        assert row.split(maxsplit=2)[2].rsplit(maxsplit=1) == [shape, f"{count:,}"]
    assert len({len(row) for row in [header, *rows]}) == 1  # columns line up


def test_summary_rows_are_the_table():
    assert models.summary_rows(models.build("basic_model")) == TABLE
    assert sum(row[3] for row in TABLE) == 118_531


def test_the_summary_is_the_same_however_many_models_were_built(capsys):
    import keras

    first = printed(capsys, models.build("basic_model"))
    for _ in range(3):
        keras.Sequential([keras.Input((4,)), keras.layers.Dense(2), keras.layers.Dropout(0.1)])
        models.build("basic_model", classes=7)
    assert printed(capsys, models.build("basic_model")) == first


def test_parameter_counts():
    counts = models.parameter_counts(models.build("basic_model"))
    assert counts == {"parameters": 118_531, "trainable": 118_083, "non_trainable": 448}


def test_the_network_gives_probabilities_for_photographs_as_they_are():
    size = models.image_size("basic_model")
    assert size == 64
    images = np.random.default_rng(0).uniform(0, 255, (4, size, size, 1)).astype(np.float32)
    model = models.build("basic_model")
    probabilities = model.predict(images, verbose=0)
    assert probabilities.shape == (4, 3)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    # Outside training nothing is random: neither augmentation nor dropout.
    np.testing.assert_array_equal(probabilities, model.predict(images, verbose=0))
    assert model.get_layer("rescaling").scale == 1 / 255


def test_options_reach_the_layers():
    options = {
        "dropout": 0.4,
        "batch_norm_momentum": 0.7,
        "rotation": 0.03,
        "zoom": 0.06,
        "classes": 5,
        "seed": 11,
    }
    model = models.build("basic_model", **options)
    assert [model.get_layer(name).rate for name in ("dropout", "dropout_1")] == [0.4, 0.4]
    assert {model.get_layer(name).momentum for name, kind, *_ in TABLE if kind == "BatchNormalization"} == {
        0.7
    }
    assert model.get_layer("random_rotation").get_config()["factor"] in (0.03, (-0.03, 0.03), [-0.03, 0.03])
    assert np.abs(model.get_layer("random_zoom").get_config()["height_factor"]).max() == 0.06
    assert model.output_shape == (None, 5)
    random = ("random_flip", "random_rotation", "random_zoom", "dropout", "dropout_1")
    assert sorted(model.get_layer(name).seed for name in random) == [11, 12, 13, 14, 15]


def test_defaults_are_those_of_the_assignment():
    model = models.build("basic_model")
    assert [model.get_layer(name).rate for name in ("dropout", "dropout_1")] == [0.3, 0.3]
    assert model.get_layer("random_flip").get_config()["mode"] == "horizontal"
    assert [model.get_layer(name).activation.__name__ for name in ("dense", "dense_1", "dense_2")] == [
        "relu",
        "relu",
        "softmax",
    ]


@pytest.mark.parametrize(
    ("options", "parameters", "maps", "dropouts"),
    [
        ({"convolutions": 1}, 1_280 + 512 + 24_963, (64, 64, 128), 2),
        ({"convolutions": 2}, 640 + 256 + 73_856 + 512 + 24_963, (32, 32, 128), 2),
        ({"convolutions": 4}, 160 + 64 + 4_640 + 128 + 18_496 + 256 + 73_856 + 512 + 24_963, (8, 8, 128), 2),
        ({"dense_layers": 0}, 93_568 + 387, (16, 16, 128), 0),
        ({"dense_layers": 1}, 93_568 + 16_512 + 387, (16, 16, 128), 1),
        ({"dense_layers": 3}, 93_568 + 16_512 + 8_256 + 2_080 + 99, (16, 16, 128), 2),
        ({"dropout_layers": 0}, 118_531, (16, 16, 128), 0),
        ({"dropout_layers": 1}, 118_531, (16, 16, 128), 1),
    ],
)
def test_the_depth_of_the_network_can_be_varied(options, parameters, maps, dropouts):
    model = models.build("basic_model", **options)
    assert model.count_params() == parameters
    shapes = [layer.output.shape[1:] for layer in model.layers if layer.name.startswith("activation")]
    assert len(shapes) == options.get("convolutions", 3) and shapes[-1] == maps
    assert sum(layer.name.startswith("dropout") for layer in model.layers) == dropouts
    assert model.output_shape == (None, 3)


@pytest.mark.parametrize("classes", [3, 7])
def test_the_optimized_network_takes_faces_as_they_are_and_stays_under_the_limit(classes):
    model = models.build("optimized_model", classes=classes, seed=3)
    assert models.image_size("optimized_model") == 48  # no resizing
    assert 140_000 < model.count_params() <= models.PARAMETER_LIMIT
    assert model.output_shape == (None, classes)
    assert model.get_layer("random_photograph").seed == 3
    probabilities = model.predict(np.full((2, 48, 48, 1), 100.0), verbose=0)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)


def test_augmentation_changes_training_images_and_keeps_their_range():
    from fer_lib import augmentation
    from fer_tools import preview

    faces = np.full((3, 48, 48), 200, np.uint8)
    faces[:, :, :24] = 20  # left and right differ, so that a flip shows

    def preview_of(versions: int, **options: float) -> np.ndarray:
        return preview.preview(faces, augmentation.augmentation_layers(**options), versions)

    seen = preview_of(5, seed=0)
    assert seen.shape == (3, 5, 48, 48) and seen.dtype == np.float32
    assert seen.min() >= 19.9 and seen.max() <= 200.1
    assert len({version.tobytes() for face in seen for version in face}) > 5
    np.testing.assert_array_equal(seen, preview_of(5, seed=0))
    still = preview_of(1, rotation=0, zoom=0, seed=0)[:, 0]
    np.testing.assert_allclose(still[:, :, :20].mean((1, 2)) + still[:, :, 28:].mean((1, 2)), 220, atol=0.1)


@pytest.mark.parametrize("name", models.names())
def test_every_network_has_scores_before_softmax(name):
    import keras

    model, size = models.build(name, classes=4), models.image_size(name)
    images = np.random.default_rng(0).uniform(0, 255, (3, size, size, 1)).astype(np.float32)
    scores = np.asarray(keras.Model(model.inputs, evaluation.logits(model)).predict(images, verbose=0), float)
    expected = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(model(images, training=False), expected, rtol=1e-4)


@pytest.mark.parametrize("name", models.names())
def test_the_source_of_a_network_is_what_builds_it(name):
    """Executed on its own it gives the network, layer by layer."""
    names: dict = {"Any": object, "IMAGE_SIZE": models.image_size(name)}
    exec(models.source(name), names)
    assert models.summary_rows(names["build"]()) == models.summary_rows(models.build(name))


def test_options_of_other_networks_are_known():
    assert "augmentation_strength" in models.ignored("basic_model")
    assert "rotation" in models.ignored("optimized_model")
    assert not models.ignored("basic_model") & {"rotation", "dropout", "seed", "classes"}


def test_an_unknown_option_is_not_passed_on():
    assert models.build("basic_model", epochs=3, data="x").count_params() == 118_531


@pytest.mark.parametrize("name", ["resnet", "", "__init__", "../training", "os"])
def test_an_unknown_model_is_refused_with_the_known_ones(name):
    for function in (models.build, models.image_size):
        with pytest.raises(UsageError) as caught:
            function(name)
        assert "basic_model" in str(caught.value) and "\n" not in str(caught.value)


def test_a_network_over_the_limit_is_refused_with_the_count_of_each_layer(monkeypatch):
    import keras

    from fer_lib.models import basic_model

    def build(units: int = 1000) -> keras.Model:
        x = inputs = keras.Input((10,), name="input")
        x = keras.layers.Dense(units, name="wide")(x)
        x = keras.layers.Dropout(0.1, name="free")(x)
        return keras.Model(inputs, keras.layers.Dense(150, name="narrow")(x), name="greedy")

    monkeypatch.setattr(basic_model, "build", build)
    with pytest.raises(UsageError) as caught:
        models.build("basic_model")
    message = str(caught.value)
    for text in ("'greedy'", "161,150 parameters", "150,000", "wide 11,000", "narrow 150,150"):
        assert text in message
    assert "free" not in message and "\n" not in message


def test_the_limit_itself_is_allowed():
    import keras

    x = keras.Input((149_999,))
    model = keras.Model(x, keras.layers.Dense(1)(x))
    assert models.check_limit(model).count_params() == models.PARAMETER_LIMIT == 150_000
    with pytest.raises(UsageError, match="150,000 parameters, the limit is 149,999"):
        models.check_limit(model, 149_999)
