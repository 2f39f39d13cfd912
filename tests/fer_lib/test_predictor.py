"""One face at a time: the same as Keras gives, in a fraction of the time."""

import time
from collections.abc import Callable

import numpy as np
import pytest

from fer_lib import models, predict
from fer_lib.data import picture
from fer_lib.files import UsageError
from fer_lib.predict import Predictor


@pytest.fixture(scope="module")
def some_faces() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (10, 48, 48), dtype=np.uint8)


@pytest.mark.parametrize("name", models.names())
def test_a_predictor_gives_what_keras_gives(name, some_faces, monkeypatch):
    predictor = Predictor(models.build(name))
    prepared = picture.network_input(some_faces, models.image_size(name))
    expected = predictor.model.predict(prepared, verbose=0)
    np.testing.assert_allclose(predictor(some_faces), expected, atol=1e-6)
    monkeypatch.setattr(predict, "PART", 4)
    np.testing.assert_allclose(predictor(some_faces), expected, atol=1e-6)
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
    for shape, output in (((48, 48, 3), "dense"), ((48, 40, 1), "dense"), ((48, 48, 1), "maps")):
        x = inputs = keras.Input(shape)
        x = layers.Conv2D(3, 3)(x)
        x = layers.GlobalAveragePooling2D()(x) if output == "dense" else x
        with pytest.raises(UsageError, match=r"other\.keras: .*another"):
            Predictor(keras.Model(inputs, x), "other.keras")
