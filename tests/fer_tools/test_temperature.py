"""Calibration by one number: against scipy, and against the network before."""

from types import SimpleNamespace

import keras
import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from fer_lib import checkpoints
from fer_lib.data import load
from fer_lib.data.picture import network_input
from fer_lib.files import UsageError
from fer_tools import checking, paths, temperature

ON = SimpleNamespace(calibration="temperature")


def loss(scores: np.ndarray, labels: np.ndarray, t: float) -> float:
    return -log_softmax(scores / t, axis=1)[np.arange(len(labels)), labels].mean()


@pytest.mark.parametrize(("sure", "right"), [(0.3, 0.9), (1, 0.6), (4, 0.7), (30, 0.8)])
def test_it_is_the_temperature_of_lowest_loss(sure, right):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 400)
    scores = rng.normal(0, 1, (400, 3))
    scores[np.arange(400), labels] += 2 * right
    scores *= sure
    found = temperature.best(scores, labels)
    expected = minimize_scalar(
        lambda log: loss(scores, labels, np.exp(log)), bounds=(-4, 4), method="bounded"
    )
    assert np.log(found) == pytest.approx(expected.x, abs=1e-4)
    assert temperature.best(scores + 1000, labels) == pytest.approx(found)


def test_it_has_bounds():
    labels = np.arange(6) % 3
    assert temperature.best(np.eye(3)[labels], labels) == pytest.approx(temperature.LOWEST)
    assert temperature.best(-np.eye(3)[labels], labels) == pytest.approx(temperature.HIGHEST)


@pytest.fixture
def run(tmp_path):
    """Give what stands for a run: its model, and the parameters of its training."""
    path = tmp_path / "a.keras"
    settings = checking.build("training", {"train_samples": 300})
    model = keras.models.load_model(paths.ROOT / "results/reference/model.keras")
    model.layers[-1].set_weights([3 * weight for weight in model.layers[-1].get_weights()])
    checkpoints.save_model(model, path)
    return SimpleNamespace(parameters=lambda stage: settings, model_path=path)


def test_no_answer_changes_and_the_loss_is_the_lowest(run, monkeypatch):
    before = keras.models.load_model(run.model_path)
    asked, predict = [], keras.Model.predict
    with monkeypatch.context() as patch:
        patch.setattr(keras.Model, "predict", lambda *a, **more: asked.append(a) or predict(*a, **more))
        found = temperature.calibrate(run, ON)
    assert len(asked) == 1  # the scores tell the rest
    after = keras.models.load_model(run.model_path)
    _, split = load.load_split(run.parameters("training"))
    images, labels = network_input(split.validation.images, before.input_shape[1]), split.validation.labels
    was, now = (np.asarray(each.predict(images, verbose=0), float) for each in (before, after))
    assert (was.argmax(axis=1) == now.argmax(axis=1)).all()
    scores = np.log(was)
    expected = minimize_scalar(
        lambda log: loss(scores, labels, np.exp(log)), bounds=(-3, 3), method="bounded"
    )
    assert found["temperature"] == pytest.approx(np.exp(expected.x), rel=1e-3) and found["temperature"] > 1
    assert found["calibrated_val_loss"] == pytest.approx(expected.fun, rel=1e-4)
    assert found["calibrated_val_loss"] == pytest.approx(loss(np.log(now), labels, 1), abs=1e-6)  # as saved
    np.testing.assert_allclose(np.log(now), log_softmax(scores / found["temperature"], axis=1), atol=1e-4)
    assert found["sentence"].endswith(f"before it was {loss(scores, labels, 1):.3f}.")


def test_it_is_done_where_it_is_asked_for_alone(run):
    content = run.model_path.read_bytes()
    assert temperature.calibrate(run, SimpleNamespace(calibration="none")) == {}
    assert run.model_path.read_bytes() == content


def test_a_network_without_a_dense_head_is_refused(run):
    inputs = keras.Input((48, 48, 1))
    x = keras.layers.Conv2D(3, 48)(inputs)
    outputs = keras.layers.Softmax()(keras.layers.Flatten()(x))
    checkpoints.save_model(keras.Model(inputs, outputs), run.model_path)
    with pytest.raises(UsageError, match="is not dense; leave it at none"):
        temperature.calibrate(run, ON)
