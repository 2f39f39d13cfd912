"""The augmentation stack: what may happen to a training image, and never to a test image."""

from typing import Any

import numpy as np

from fer_lib import quiet


def augmentation_layers(rotation: float = 0.02, zoom: float = 0.05, seed: int = 0) -> list[Any]:
    """Random flip, rotation and zoom as Keras layers, active in training only.

    A face stays a face of the same expression under each: mirrored, tilted or a little nearer.

    Parameters
    ----------
    rotation : float
        Largest angle, as a share of a full turn (0.02 is 7 degrees either way).
    zoom : float
        Largest change of scale (0.05 is 5 % either way).
    seed : int
        Where the random numbers start.

    Returns
    -------
    list of keras.layers.Layer
        They map images (n, height, width, 1) in [0, 1] to the same shape.
    """
    quiet.import_tensorflow()
    from keras import layers

    return [
        layers.RandomFlip("horizontal", seed=seed, name="random_flip"),
        layers.RandomRotation(rotation, fill_mode="nearest", seed=seed + 1, name="random_rotation"),
        layers.RandomZoom(zoom, fill_mode="nearest", seed=seed + 2, name="random_zoom"),
    ]


def stack_of(network: Any) -> list[Any]:
    """Give copies of the layers of a network that change a training image at random, in order."""
    random = [layer for layer in network.layers if layer.name.startswith("random_")]
    return [type(layer).from_config(layer.get_config()) for layer in random]


def preview(images: np.ndarray, stack: list[Any], versions: int = 7) -> np.ndarray:
    """Augment each image several times, to look at.

    Parameters
    ----------
    images : ndarray, shape (n, height, width)
        Grey faces, 0 to 255.
    stack : list of keras.layers.Layer
        Of `augmentation_layers`, or `stack_of` a network.
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
