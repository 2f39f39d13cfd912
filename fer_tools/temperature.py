"""Calibration: the confidence of a network brought to how often it is right, by one number."""

from typing import Any

import numpy as np

from fer_lib import checkpoints, evaluation
from fer_lib.data import load
from fer_lib.data.picture import network_input
from fer_lib.files import UsageError
from fer_tools.model_files import loading
from fer_tools.run.stage import OpenStage

LOWEST, HIGHEST = 0.05, 20.0  # of a temperature


def best(scores: np.ndarray, labels: np.ndarray) -> float:
    """Return the temperature at which the softmax of scores / temperature has the lowest cross-entropy.

    The loss is convex in 1 / temperature, so the place where it neither falls nor rises is the only one.

    Source: Guo et al. (2017), On calibration of modern neural networks, arXiv:1706.04599.

    Parameters
    ----------
    scores : (n, k) float
        Before softmax.
    labels : (n,) int

    Returns
    -------
    float
        From `LOWEST`, where all answers are right, to `HIGHEST`, where they are no better than chance.
    """
    true = scores[np.arange(len(labels)), labels]

    def slope(inverse: float) -> float:
        powers = np.exp(inverse * (scores - scores.max(axis=1, keepdims=True)))
        return float(((powers * scores).sum(axis=1) / powers.sum(axis=1) - true).mean())

    low, high = 1 / HIGHEST, 1 / LOWEST
    for _ in range(60):
        middle = (low * high) ** 0.5
        low, high = (middle, high) if slope(middle) < 0 else (low, middle)
    return 1 / low


def loss(scores: np.ndarray, labels: np.ndarray) -> float:
    """Return the mean cross-entropy of scores before softmax; shapes as in `best`."""
    scores = scores - scores.max(axis=1, keepdims=True)
    return float((np.log(np.exp(scores).sum(axis=1)) - scores[np.arange(len(labels)), labels]).mean())


def calibrate(run: OpenStage, settings: Any) -> dict[str, Any]:
    """Fit a temperature on the validation images, and make it part of the model of the run.

    The weights of the last layer are divided by it: no answer changes, only how sure it is.

    Parameters
    ----------
    run : OpenStage
        Whose model has been kept.
    settings : fer_tools.parameters.Overfitting

    Returns
    -------
    dict
        The metrics `temperature` and `calibrated_val_loss`, and a sentence; nothing if it was not asked for.

    Raises
    ------
    UsageError
        If the network's last layer is not a dense one with softmax.
    """
    if settings.calibration == "none":
        return {}
    import keras

    _, split = load.load_split(run.parameters("training"))
    model = loading.load(run.model_path)
    head = model.layers[-1]
    if not isinstance(head, keras.layers.Dense):
        raise UsageError(
            f"calibration: the last layer of {model.name}, {head.name}, is not dense; leave it at none"
        )
    images, labels = network_input(split.validation.images, model.input_shape[1]), split.validation.labels
    outputs = keras.Model(model.inputs, evaluation.logits(model))
    scores = np.asarray(outputs.predict(images, batch_size=256, verbose=0), float)
    found = best(scores, labels)
    before, after = loss(scores, labels), loss(scores / found, labels)
    head.set_weights([weight / found for weight in head.get_weights()])
    checkpoints.save_model(model, run.model_path)
    sentence = (
        f"Its temperature, {found:.2f}, was fitted on the {len(labels):,} validation images, and is part of "
        f"the model: their cross-entropy is {after:.3f}, before it was {before:.3f}."
    )
    print(sentence)
    return {"temperature": found, "calibrated_val_loss": after, "sentence": sentence}
