"""Faces to probabilities with a trained network, quick enough for one face at a time."""

from typing import Any

import numpy as np

from fer_lib.data.picture import SIDE, resized
from fer_lib.files import UsageError

PART = 256  # faces at once, so that memory does not grow with their number


class Predictor:
    """A loaded network as one traced function of faces, from grey values to probabilities.

    `model.predict` sets up a data pipeline and callbacks for each call, and `model(images)` goes through
    Python layer by layer: many times the arithmetic of one face. Here a call runs a graph of fixed
    signature, which is traced when the model is loaded and never again.

    Parameters
    ----------
    model : keras.Model
        From a square grey image to class probabilities.
    name : str
        What messages call it.

    Attributes
    ----------
    model : keras.Model
    classes : int
        Number of probabilities a face.

    Raises
    ------
    UsageError
        If the network does not take square grey images or not give one row a face.
    """

    def __init__(self, model: Any, name: str = "network") -> None:
        import tensorflow as tf

        self.model = model
        shapes = [model.input_shape, model.output_shape]
        if [isinstance(shape, tuple) and len(shape) for shape in shapes] != [4, 2]:
            raise UsageError(
                f"{name}: not a network from one image to one row of probabilities; give another"
            )
        _, size, width, channels = shapes[0]
        if size is None or width != size or channels != 1:
            raise UsageError(
                f"{name}: takes images of {size} x {width} x {channels}, not square grey ones; give another"
            )
        self.classes = shapes[1][1]

        @tf.function(input_signature=[tf.TensorSpec((None, SIDE, SIDE), tf.uint8)])
        def probabilities(images: Any) -> Any:
            return self.model(resized(images, size), training=False)

        self._probabilities = probabilities.get_concrete_function()
        self(np.zeros((1, SIDE, SIDE), np.uint8))  # kernels choose their plan at the first call

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Return the class probabilities of faces.

        Parameters
        ----------
        images : ndarray of uint8, shape (n, 48, 48)
            Grey faces, 0 black to 255 white.

        Returns
        -------
        ndarray of float32, shape (n, classes), rows summing to 1

        Raises
        ------
        UsageError
            If the images have another shape or type.
        """
        import tensorflow as tf

        if images.dtype != np.uint8 or images.shape[1:] != (SIDE, SIDE):
            raise UsageError(
                f"images: {images.dtype} of shape {images.shape}; expected uint8 of shape (n, {SIDE}, {SIDE})"
            )
        parts = [
            self._probabilities(tf.constant(images[start : start + PART])).numpy()
            for start in range(0, len(images), PART)
        ]
        return np.concatenate([np.empty((0, self.classes), np.float32), *parts])
