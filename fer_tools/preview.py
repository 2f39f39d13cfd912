"""What augmentation makes of faces, to look at."""

from typing import Any

import numpy as np


def stack_of(network: Any) -> list[Any]:
    """Return copies of the layers of a network that change a training image at random, in order."""
    random = [layer for layer in network.layers if layer.name.startswith("random_")]
    return [type(layer).from_config(layer.get_config()) for layer in random]


def preview(images: np.ndarray, stack: list[Any], versions: int = 7) -> np.ndarray:
    """Augment each image several times, to look at.

    Parameters
    ----------
    images : ndarray, shape (n, height, width)
        Grey faces, 0 to 255.
    stack : list of keras.layers.Layer
        Of `augmentation.augmentation_layers`, or `stack_of` a network.
    versions : int
        How many of each.

    Returns
    -------
    ndarray of float32, shape (n, versions, height, width), grey values 0 to 255
    """

    def augmented() -> np.ndarray:
        faces = images[..., np.newaxis].astype(np.float32) / 255
        for layer in stack:
            faces = layer(faces, training=True)
        return 255 * np.asarray(faces)[..., 0]

    return np.stack([augmented() for _ in range(versions)], axis=1)
