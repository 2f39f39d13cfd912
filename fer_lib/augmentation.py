"""The augmentation stack: what may happen to a training image, and never to a test image."""

from typing import Any

import numpy as np

from fer_lib import tensorflow_import
from fer_lib.layers import registered

tensorflow_import.import_tensorflow()
import keras  # noqa: E402
import tensorflow as tf  # noqa: E402
from keras import layers, ops  # noqa: E402

LARGEST_SIDE = 256  # pixels of the images that `RandomPhotograph` takes; its blur keeps the square of it


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
    return [
        layers.RandomFlip("horizontal", seed=seed, name="random_flip"),
        layers.RandomRotation(rotation, fill_mode="nearest", seed=seed + 1, name="random_rotation"),
        layers.RandomZoom(zoom, fill_mode="nearest", seed=seed + 2, name="random_zoom"),
    ]


def sides(shape: tuple) -> tuple[int, int]:
    """Return height and width of grey images (n, height, width, 1), for which the layer is built.

    Raises
    ------
    ValueError
        If they are no grey images, or larger than the layer takes.
    """
    known = [isinstance(n, int) and 2 <= n <= LARGEST_SIDE for n in shape[1:3]]
    if known != [True, True] or tuple(shape[3:]) != (1,):
        raise ValueError(f"maps of shape {shape}, not grey images of 2 to {LARGEST_SIDE} pixels a side")
    return shape[1], shape[2]


def blur_matrix(size: int, sigma: float) -> np.ndarray:
    """Matrix (size, size) that blurs a column of pixels with a Gaussian; borders reflected."""
    radius = int(3 * sigma)
    if radius >= size:
        raise ValueError(f"a blur of {sigma:g} pixels is wider than images of {size} pixels")
    offsets = np.arange(-radius, radius + 1)
    weights = np.exp(-0.5 * (offsets / sigma) ** 2)
    matrix = np.zeros((size, size), np.float32)
    for row in range(size):
        cols = np.abs(row + offsets)
        np.add.at(matrix[row], np.where(cols < size, cols, 2 * size - 2 - cols), weights / weights.sum())
    return matrix


def blur(maps: Any, rows: np.ndarray, columns: np.ndarray) -> Any:
    """Blur (n, height, width) by one matrix along the height and one along the width."""
    return ops.matmul(ops.matmul(rows, maps), columns.T)


@registered
class RandomPhotograph(keras.layers.Layer):
    """Another photograph of the same face: pose, lens, light, sharpness, noise, something in the way.

    Active in training only; all in one pass, because one layer a change would cost more than the network.

    Parameters
    ----------
    strength : float
        0 changes nothing. At 1: mirrored half of the time; turned by up to 15 degrees; scaled by 18 %, its
        sides by 10 % more; sheared by 10 %; moved by 8 % of its width; gamma, contrast and brightness;
        blurred or sharpened; noise of up to 5 %; half of the time a rectangle of 10 to 37 % a side is hidden.
    seed : int
        Where the random numbers start.
    """

    def __init__(self, strength: float = 1.0, seed: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        # It may come from somebody else's file.
        if isinstance(strength, bool) or not isinstance(strength, int | float) or not 0 <= strength <= 100:
            raise ValueError(f"strength is {str(strength)[:40]}, not a number from 0 to 100")
        self.strength, self.seed = strength, seed
        self.generator = keras.random.SeedGenerator(seed)

    def build(self, shape: tuple) -> None:
        """Make the blur for images (n, height, width, 1)."""
        self._soft = [blur_matrix(size, 0.9) for size in sides(shape)]

    def call(self, images: Any, training: bool | None = None) -> Any:
        """Images (n, height, width, 1) in [0, 1] to the same shape."""
        if not training or not self.strength:
            return images
        return self._hidden(self._lit(self._moved(images)))

    def _uniform(self, shape: tuple) -> Any:
        return keras.random.uniform(shape, seed=self.generator)

    def _moved(self, images: Any) -> Any:
        n, height, width, s = ops.shape(images)[0], *images.shape[1:3], self.strength
        draw = 2 * self._uniform((7, n)) - 1
        angle, scale = 0.26 * s * draw[0], 1 + 0.18 * s * draw[1]
        across = scale * (1 + 0.1 * s * draw[2]) * ops.where(draw[3] < 0, -1.0, 1.0)
        cos, sin = ops.cos(angle), ops.sin(angle)
        a, b, c, d = across * cos, 0.1 * s * draw[4] - scale * sin, across * sin, scale * cos
        x, y = (width - 1) / 2, (height - 1) / 2
        right, down = x + 0.083 * s * width * draw[5], y + 0.083 * s * height * draw[6]
        none = ops.zeros_like(a)
        transforms = ops.stack([a, b, right - a * x - b * y, c, d, down - c * x - d * y, none, none], 1)
        return ops.image.affine_transform(
            images, transforms, interpolation="bilinear", fill_mode="reflect", data_format="channels_last"
        )

    def _lit(self, images: Any) -> Any:
        s = self.strength
        draw = ops.unstack(2 * self._uniform((5, ops.shape(images)[0], 1, 1, 1)) - 1, 5)
        gamma, contrast, light, sharpness, noise = draw
        images = ops.clip(images, 1e-3, 1.0) ** ops.exp(0.5 * s * gamma)
        images = (images - 0.5) * ops.exp(0.45 * s * contrast) + 0.5 + 0.18 * s * light
        soft = blur(images[..., 0], *self._soft)[..., None]
        images = images + (soft - images) * s * (0.15 + 0.85 * sharpness)
        grain = keras.random.normal(ops.shape(images), seed=self.generator)
        return ops.clip(images + grain * s * (0.025 + 0.025 * noise), 0.0, 1.0)

    def _hidden(self, images: Any) -> Any:
        n, s = ops.shape(images)[0], self.strength

        def span(size: int) -> Any:
            draw = self._uniform((2, n, 1))
            return _span(size, size * (0.1 + 0.27 * draw[0]), draw[1])

        hole = span(images.shape[1])[:, :, None] * span(images.shape[2])[:, None, :]
        flat, which, often = ops.unstack(self._uniform((3, n, 1, 1, 1)), 3)
        hole = hole[..., None] * ops.cast(often < 0.5 * s * s, images.dtype)
        fill = ops.where(which < 0.5, flat, self._uniform(ops.shape(images)))
        return images + (fill - images) * hole

    def get_config(self) -> dict[str, Any]:
        """Return what `__init__` takes."""
        return super().get_config() | {"strength": self.strength, "seed": self.seed}


def _span(size: int, length: Any, place: Any) -> Any:
    """Return rows (n, size): 1 in a span of `length` (n, 1) pixels, that lies at `place` (n, 1), 0 to 1."""
    at, begin = np.arange(size, dtype=np.float32), place * (size - length)
    return ops.cast((at >= begin) & (at < begin + length), "float32")


def mixed(images: Any, targets: Any, share: Any, key: Any) -> tuple[Any, Any]:
    """Mix images with their neighbours in the batch, and what is to be said of them in the same proportion.

    Of those that are mixed half are two faces overlaid (mixup: Zhang et al., 2018, arXiv:1710.09412; weights
    of the beta distribution of 1/2 and 1/2), half have a rectangle of another pasted in (CutMix: Yun et al.,
    2019, arXiv:1905.04899; of any share of the area, each as likely).

    Parameters
    ----------
    images : (n, height, width, 1) float32
    targets : (n, classes) float32
    share : float
        How many are mixed, each by chance.
    key : (2,) int
        Of the random numbers: the same key, the same mixture.

    Returns
    -------
    tuple of tensors
        Of the shapes given.
    """
    count, (height, width) = ops.shape(images)[0], images.shape[1:3]
    draw = ops.unstack(tf.random.stateless_uniform((6, count, 1), key), 6)
    overlaid, side = ops.sin(np.pi / 2 * draw[0]) ** 2, ops.sqrt(draw[1])
    rows, columns = _span(height, side * height, draw[2]), _span(width, side * width, draw[3])
    mask = ops.where(draw[4][..., None] < 0.5, overlaid[..., None], rows[:, :, None] * columns[:, None, :])
    mask *= ops.cast(draw[5][..., None] < share, "float32")
    weight = ops.mean(mask, axis=(1, 2))[:, None]  # of what is seen, so of what is to be said
    pairs = (images, mask[..., None]), (targets, weight)
    return tuple(x + (ops.roll(x, 1, axis=0) - x) * w for x, w in pairs)
