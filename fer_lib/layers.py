"""Layers and a loss that Keras does not have, and a layer that it has and we make quicker."""

from typing import Any

import numpy as np

from fer_lib import tensorflow_import

tensorflow_import.import_tensorflow()
import keras  # noqa: E402
import tensorflow as tf  # noqa: E402
from keras import ops  # noqa: E402

registered = keras.saving.register_keras_serializable("fer_lib")
LARGEST_SIDE = 256  # pixels of the images that these layers take; a blur keeps the square of it


class BatchNormalization(keras.layers.BatchNormalization):
    """Keras' batch normalisation of maps by TensorFlow's fused kernel: the same numbers, fewer passes.

    But for the rounding of sums in float32, where now one and now the other is the more exact. It exists in
    training only: `fer_lib.checkpoints.save_model` writes Keras' own layer in its place.
    """

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Normalise maps (n, height, width, channels) by channel."""
        normalised, mean, variance = tf.compat.v1.nn.fused_batch_norm(
            inputs,
            ops.convert_to_tensor(self.gamma),
            ops.convert_to_tensor(self.beta),
            None if training else ops.convert_to_tensor(self.moving_mean),
            None if training else ops.convert_to_tensor(self.moving_variance),
            epsilon=self.epsilon,
            is_training=bool(training),
        )
        if training:
            # The kernel gives the sample variance, over n - 1; Keras keeps that of the n values themselves.
            n = tf.cast(tf.size(inputs) // inputs.shape[-1], variance.dtype)
            variance *= tf.maximum(n - 1, 1) / n
            for moving, batch in ((self.moving_mean, mean), (self.moving_variance, variance)):
                moving.assign(moving * self.momentum + batch * (1 - self.momentum))
        return normalised


@registered
class CrossEntropy(keras.losses.CategoricalCrossentropy):
    """Cross-entropy of targets (n, classes) that sum to what an image counts, which need not be 1.

    Keras' own has the right value then, too, and a wrong gradient: it takes that of TensorFlow's softmax with
    cross-entropy, in which the sum of a row is 1 whatever it is.
    """

    def call(self, targets: Any, probabilities: Any) -> Any:
        """Return the loss (n,) of each image."""
        counts = ops.sum(targets, axis=-1)
        return counts * super().call(ops.divide_no_nan(targets, counts[:, None]), probabilities)


def as_keras(model: Any) -> Any:
    """Copy a model, not compiled, with Keras' own layers where ours are quicker versions of them."""
    # Not `clone_model`, which copies the optimizer of a compiled model as well.
    own = {"BatchNormalization": keras.layers.BatchNormalization}
    copy = type(model).from_config(model.get_config(), custom_objects=own)
    copy.set_weights(model.get_weights())
    return copy


def in_range(name: str, value: Any, low: float, high: float, kind: Any = int | float) -> Any:
    """Return a layer's argument: it may come from somebody else's file.

    Raises
    ------
    ValueError
        If it is no number from `low` to `high`.
    """
    if isinstance(value, bool) or not isinstance(value, kind) or not low <= value <= high:
        raise ValueError(f"{name} is {str(value)[:40]}, not a number from {low:g} to {high:g}")
    return value


def sides(shape: tuple) -> tuple[int, int]:
    """Return height and width of grey images (n, height, width, 1), for which our layers are built.

    Raises
    ------
    ValueError
        If they are no grey images, or larger than our layers take.
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
class LocalContrast(keras.layers.Layer):
    """Local contrast normalisation: subtract a Gaussian mean, divide by a Gaussian deviation.

    What light and camera do to a face varies slowly over it; this removes it. No weights.

    Source: Jarrett et al. (2009), What is the best multi-stage architecture for object recognition?

    Parameters
    ----------
    mean_sigma, deviation_sigma : float
        Of the two Gaussians, in pixels.
    floor : float
        Added to the deviation, so that a plain surface stays plain.
    """

    def __init__(
        self, mean_sigma: float = 4.0, deviation_sigma: float = 5.0, floor: float = 0.06, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.mean_sigma = in_range("mean_sigma", mean_sigma, 0.01, 64)
        self.deviation_sigma = in_range("deviation_sigma", deviation_sigma, 0.01, 64)
        self.floor = in_range("floor", floor, 0, 1000)

    def build(self, shape: tuple) -> None:
        """Make the blurs for images (n, height, width, 1)."""
        self._mean = [blur_matrix(size, self.mean_sigma) for size in sides(shape)]
        self._deviation = [blur_matrix(size, self.deviation_sigma) for size in sides(shape)]

    def call(self, images: Any) -> Any:
        """Images (n, height, width, 1) in [0, 1] to the same shape."""
        grey = images[..., 0]
        centred = grey - blur(grey, *self._mean)
        variance = blur(centred * centred, *self._deviation)
        return (centred / (ops.sqrt(ops.maximum(variance, 1e-8)) + self.floor))[..., None]

    def get_config(self) -> dict[str, Any]:
        """Return what `__init__` takes."""
        own = {"mean_sigma": self.mean_sigma, "deviation_sigma": self.deviation_sigma, "floor": self.floor}
        return super().get_config() | own


@registered
class OrientedEdges(keras.layers.Layer):
    """Strength of edges in several directions, averaged over 2x2 pixels, square root. No weights.

    Histograms of oriented gradients (Dalal and Triggs, CVPR 2005), kept as maps: what a render and a
    photograph of one expression share are the edges, not the grey values between them.

    Parameters
    ----------
    orientations : int
        Directions, evenly around the circle: light-to-dark and dark-to-light are two.
    sigma : float
        Of the Gaussian that blurs first, in pixels.
    """

    def __init__(self, orientations: int = 8, sigma: float = 0.7, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.orientations = in_range("orientations", orientations, 1, 64, int)
        self.sigma = in_range("sigma", sigma, 0.01, 64)

    def build(self, shape: tuple) -> None:
        """Make the blur for images (n, height, width, 1), and the directions."""
        self._soft = [blur_matrix(size, self.sigma) for size in sides(shape)]
        angle = 2 * np.pi * np.arange(self.orientations) / self.orientations
        self._directions = np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)

    def call(self, images: Any) -> Any:
        """Images (n, height, width, 1) to maps (n, height / 2, width / 2, orientations)."""
        soft = ops.pad(blur(images[..., 0], *self._soft), [[0, 0], [1, 1], [1, 1]], mode="reflect")
        dx = (soft[:, 1:-1, 2:] - soft[:, 1:-1, :-2])[..., None] / 2
        dy = (soft[:, 2:, 1:-1] - soft[:, :-2, 1:-1])[..., None] / 2
        size = ops.sqrt(dx * dx + dy * dy + 1e-6)
        along = ops.relu(dx * self._directions[0] + dy * self._directions[1]) / size
        return ops.sqrt(ops.average_pool(size * along**4, 2) + 1e-4)

    def get_config(self) -> dict[str, Any]:
        """Return what `__init__` takes."""
        return super().get_config() | {"orientations": self.orientations, "sigma": self.sigma}
