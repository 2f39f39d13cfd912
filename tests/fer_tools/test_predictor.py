"""One face at a time: the same as Keras gives, in a fraction of the time."""

import time
from collections.abc import Callable

import numpy as np
import pytest

from fer_lib import models
from fer_lib.data import picture
from fer_lib.files import UsageError
from fer_tools.predictor import Predictor


@pytest.fixture(scope="module")
def some_faces() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (10, 48, 48), dtype=np.uint8)


@pytest.mark.parametrize("name", models.names())
def test_a_predictor_gives_what_keras_gives(name, some_faces):
    predictor = Predictor(models.build(name))
    prepared = picture.network_input(some_faces, models.image_size(name))
    expected = predictor.model.predict(prepared, verbose=0)
    np.testing.assert_allclose(predictor(some_faces), expected, atol=1e-6)
    few = Predictor(predictor.model, part=4)
    np.testing.assert_allclose(few(some_faces), expected, atol=1e-6)
    assert predictor(some_faces[:0]).shape == (0, 3)


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Return wall and CPU seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def test_a_predictor_is_quick(some_faces):
    predictor = Predictor(models.build("basic_model"))
    prepared = picture.network_input(some_faces[:1], 64)
    ours, keras_own = [], []
    for _ in range(15):  # in turn, so that other load hits both
        ours.append(timed(lambda: predictor(some_faces[:1])))
        keras_own.append(timed(lambda: predictor.model.predict(prepared, verbose=0)))
    ours, keras_own = (1000 * np.median(values, axis=0) for values in (ours, keras_own))
    print(f"one face, ms wall and CPU: Predictor {ours.round(1)}, model.predict {keras_own.round(1)}")
    assert ours[1] < keras_own[1] / 4


def test_a_predictor_refuses_other_images_and_networks(some_faces):
    import keras
    from keras import layers

    predictor = Predictor(models.build("basic_model"))
    for images in (some_faces.astype(np.float32), some_faces[:, :47], some_faces[0]):
        with pytest.raises(UsageError, match="expected uint8"):
            predictor(images)
    for shape, output in (((48, 48, 2), "dense"), ((None, 40, 1), "dense"), ((48, 48, 1), "maps")):
        x = inputs = keras.Input(shape)
        x = layers.Conv2D(3, 3)(x)
        x = layers.GlobalAveragePooling2D()(x) if output == "dense" else x
        with pytest.raises(UsageError, match=r"other\.keras: .*another"):
            Predictor(keras.Model(inputs, x), "other.keras")


class Unchecked(Predictor):
    """Gives answers that are no probabilities, too."""

    def _checked(self, rows, start):
        return rows


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("scale", ["0..255", "0..1", "-1..1", None])
def test_faces_are_given_in_any_number_of_channels_and_on_any_scale(some_faces, channels, scale):
    """Black and white become what the scale says; without one, what the first layer says, or 0 and 255."""
    import keras
    from keras import layers

    means = some_faces.mean((1, 2))
    expected = {"0..1": means / 255, "-1..1": means / 127.5 - 1}.get(scale, means)
    last = [layers.GlobalAveragePooling2D(), layers.Dense(2, kernel_initializer="ones")]
    model = keras.Sequential([keras.Input((48, 48, channels)), *last])
    given = Unchecked(model, scale=scale)(some_faces)
    np.testing.assert_allclose(given, channels * np.stack([expected] * 2, 1), rtol=1e-5, atol=1e-5)
    if scale is None:
        to_one = [layers.Rescaling(2.0, offset=-1), *last]
        model = keras.Sequential([keras.Input((48, 48, channels)), *to_one])
        once = channels * (2 * means / 255 - 1)
        np.testing.assert_allclose(Unchecked(model)(some_faces)[:, 0], once, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("height", "width"), [(24, 48), (48, 24), (24, 24), (16, 48)])
def test_faces_are_brought_to_any_size(some_faces, height, width):
    """At half the size, each pixel is the mean of two; at a third, the middle one of three."""
    import keras
    from keras import layers

    expected = some_faces.astype(np.float32)
    for axis, side in ((1, height), (2, width)):
        parts = np.split(np.moveaxis(expected, axis, 0).reshape(side, 48 // side, -1), 48 // side, axis=1)
        chosen = {1: parts, 2: parts, 3: parts[1:2]}[48 // side]
        rest = [n for i, n in enumerate(expected.shape) if i != axis]
        expected = np.moveaxis(np.mean(chosen, axis=0).reshape(side, *rest), 0, axis)
    model = keras.Sequential(
        [keras.Input((height, width, 3)), layers.Flatten(), layers.Dense(5, use_bias=False)]
    )
    kernel = np.random.default_rng(1).normal(0, 0.01, model.weights[0].shape).astype(np.float32)
    model.set_weights([kernel])
    flat = np.repeat(expected[..., np.newaxis], 3, -1).reshape(len(expected), -1)
    np.testing.assert_allclose(Unchecked(model)(some_faces), flat @ kernel, rtol=1e-3, atol=1e-3)


def network(*last, side: int = 48, dtype: str = "float32"):
    """Give a network of a mean, of three numbers and of what comes last."""
    import keras
    from keras import layers

    head = layers.Dense(3, kernel_initializer="ones", dtype=dtype)
    return keras.Sequential([keras.Input((side, side, 1)), layers.GlobalAveragePooling2D(), head, *last])


def test_answers_that_are_no_probabilities_are_refused(some_faces):
    from keras import layers

    for last, said in (
        ([], "no probabilities; it must end with softmax"),
        ([layers.Activation("sigmoid")], "no probabilities; it must end with softmax"),
        ([layers.Rescaling(float("nan")), layers.Softmax()], "nan.*its weights are broken"),
        ([layers.Dense(1, activation="sigmoid")], "gives 1 numbers a face"),
        ([layers.Dense(2000, activation="softmax")], "gives 2000 numbers a face"),
    ):
        with pytest.raises(UsageError, match=rf"^x\.keras: .*{said}") as caught:
            Predictor(network(*last), "x.keras")(some_faces)
        assert "\n" not in str(caught.value)


def test_a_network_that_breaks_at_some_faces_is_refused_at_these():
    from keras import layers

    predictor = Predictor(network(layers.Rescaling(3e36), layers.Softmax()), "x.keras")
    dark, light = np.zeros((2, 48, 48), np.uint8), np.full((1, 48, 48), 255, np.uint8)
    np.testing.assert_allclose(predictor(dark), 1 / 3, atol=1e-6)
    with pytest.raises(UsageError, match="answers face 3 with nan, nan, nan"):
        predictor(np.concatenate([dark, light]))


@pytest.mark.parametrize("dtype", ["float16", "mixed_float16", "mixed_bfloat16", "float64"])
def test_networks_of_other_numbers_are_answered(dtype, some_faces):
    from keras import layers

    many = layers.Dense(7, activation="softmax", dtype=dtype)
    rows = Predictor(network(layers.Rescaling(0.01), many, dtype=dtype))(some_faces)
    assert rows.dtype == np.float32 and rows.shape == (10, 7)
    np.testing.assert_allclose(rows.sum(1), 1, atol=0.02)


def test_a_network_that_cannot_be_computed_is_refused():
    import keras
    from keras import layers, ops

    class Broken(layers.Layer):
        def call(self, x):
            if getattr(self, "armed", False):
                raise ValueError("broken\nin two lines")
            return ops.nn.softmax(x)

    broken = Broken()
    model = network(broken)
    broken.armed = True
    with pytest.raises(UsageError, match=r"x\.keras: cannot be computed \(.*broken in two lines") as caught:
        Predictor(model, "x.keras")
    assert "\n" not in str(caught.value)
    assert isinstance(model, keras.Model)
