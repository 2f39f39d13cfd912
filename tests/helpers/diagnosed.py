"""Networks that recognise made-up faces without having been trained, and their diagnoses."""

from pathlib import Path
from typing import Any

import numpy as np

from fer_lib.data import load
from fer_tools.grading import diagnosis

COUNTS = dict.fromkeys(("neutral", "happy", "surprise"), 24)


def templates(data: Path) -> np.ndarray:
    """Return weights (48 * 48 + 1, 3) of the last layer of `network`, by least squares; last the bias."""
    faces = load.load_training(data)
    x = np.tanh(faces.images.reshape(len(faces), -1) / 255 * 20 - 8)
    x = np.hstack([x, np.ones((len(x), 1))])
    wanted = 2.0 * np.eye(3)[faces.labels] - 1
    return 8 * x.T @ np.linalg.solve(x @ x.T + 0.1 * np.eye(len(x)), wanted)


def network(
    weights: np.ndarray,
    order: tuple[int, ...] = (0, 1, 2),
    rescaling: float | None = 1 / 255,
    white: float = 1,
    channels: int = 1,
    activation: str = "softmax",
    side: int = 48,
) -> Any:
    """Return a network whose output j means class order[j].

    Parameters
    ----------
    weights : (48 * 48 + 1, 3)
    order : tuple of int
    rescaling : float, optional
        What it multiplies pixels by itself.
    white : float
        What its first weights expect white to be, whatever was done to pixels before.
    channels : int
    activation : str
        Of the last layer.
    side : int
        Of its input, which it scales to 48 pixels itself.
    """
    import keras

    layers = keras.layers
    parts = [keras.Input((side, side, channels)), layers.Resizing(48, 48)]
    if rescaling is not None:
        parts.append(layers.Rescaling(rescaling))
    first = layers.Conv2D(1, 1, activation="tanh")  # flat for pixels of another scale
    parts += [first, layers.MaxPooling2D(1), layers.Flatten(), layers.Dense(3, activation=activation)]
    model = keras.Sequential(parts)
    first.set_weights([np.full((1, 1, channels, 1), 20 / (channels * white)), np.array([-8.0])])
    model.layers[-1].set_weights([weights[:-1][:, list(order)], weights[-1][list(order)]])
    return model


def diagnosed(model: Any, path: Path, faces: diagnosis.Images, limit: int = 150_000) -> dict[str, Any]:
    """Save a network and return its diagnosis."""
    model.save(path)
    return diagnosis.diagnose(path, faces, limit)
