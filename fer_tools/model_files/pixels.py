"""What a network says of the pixels that it takes: which values are black and white."""

from collections.abc import Iterator
from typing import Any

import numpy as np

SCALES = {"0..255": (0.0, 255.0), "0..1": (0.0, 1.0), "-1..1": (-1.0, 1.0)}  # black and white
# What may come before the layers that rescale: these keep values as they are, or nearly.
PASSED = set(
    "InputLayer Resizing CenterCrop RandomCrop RandomFlip RandomRotation RandomZoom RandomTranslation "
    "RandomContrast RandomBrightness GaussianNoise GaussianDropout Dropout SpatialDropout2D ZeroPadding2D "
    "Cropping2D Permute".split()
)
LEAST, MOST = 0.5, 4.0  # how far black and white are apart, and each from 0, once they are rescaled


def leaves(model: Any) -> Iterator[Any]:
    """Yield the layers of a network in order, those of networks within in their place."""
    for layer in model.layers:
        if hasattr(layer, "layers"):
            yield from leaves(layer)
        else:
            yield layer


def declared(model: Any) -> str | None:
    """Return the scale of pixels for which the first layers of a network are made.

    These are Rescaling, Normalization and BatchNormalization before any other layer that computes: of
    `SCALES`, the one is meant that they bring nearest to 0, but not to next to nothing.

    Parameters
    ----------
    model : keras.Model
        From images to probabilities.

    Returns
    -------
    str or None
        One of `SCALES`; None where the layers do not say: there are none, or several scales fit.
    """
    factor, offset, said = 1.0, 0.0, False
    for layer in leaves(model):
        if type(layer).__name__ in PASSED:
            continue
        change = _change(layer)
        if change is None:
            break
        factor, offset, said = factor * change[0], offset * change[0] + change[1], True
    if not said or not np.isfinite([factor, offset]).all():
        return None
    ends = {name: sorted(factor * value + offset for value in scale) for name, scale in SCALES.items()}
    far = {name: max(-low, high) for name, (low, high) in ends.items() if high - low >= LEAST}
    nearest = [name for name in far if far[name] <= min(MOST, 1.01 * min(far.values()))]
    return nearest[0] if len(nearest) == 1 else None


def brought(faces: Any, channels: int, scale: str) -> Any:
    """Return grey faces as a network takes them: on its scale, repeated over its channels.

    Parameters
    ----------
    faces : tensor of float32, shape (n, height, width, 1)
        0 black to 255 white.
    channels : int
    scale : str
        One of `SCALES`.

    Returns
    -------
    tensor of float32, shape (n, height, width, channels)
    """
    import tensorflow as tf

    black, white = SCALES[scale]
    if (black, white) != (0, 255):
        faces = faces * ((white - black) / 255) + black
    return faces if channels == 1 else tf.concat([faces] * channels, -1)


def _change(layer: Any) -> tuple[float, float] | None:
    """Return factor and offset of a layer that rescales, the mean of all channels; None of another one."""
    kind = type(layer).__name__
    if kind == "Rescaling":
        return float(np.mean(layer.scale)), float(np.mean(layer.offset))
    if kind in ("Normalization", "BatchNormalization"):
        named = ("mean", "variance") if kind == "Normalization" else ("moving_mean", "moving_variance")
        mean, variance = (np.asarray(getattr(layer, name), np.float64) for name in named)
        deviation = np.sqrt(np.maximum(variance, 1e-7))
        return float(np.mean(1 / deviation)), float(np.mean(-mean / deviation))
    return None
