"""Faces to probabilities with a trained network, quick enough for one face at a time."""

from typing import Any

import numpy as np

from fer_lib.data.picture import SIDE
from fer_lib.files import UsageError
from fer_tools.model_files import pixels

PART = 256  # faces at once, so that memory does not grow with their number
MOST_CLASSES = 1_000
TOLERANCES = (1e-3, 2e-2)  # of the sum of probabilities, and of those that were computed with 16 bits


class Predictor:
    """A loaded network as one traced function of faces, from grey values to probabilities.

    `model.predict` sets up a data pipeline and callbacks for each call, and `model(images)` goes through
    Python layer by layer: many times the arithmetic of one face. Here a call runs a graph of fixed
    signature, which is traced when the model is loaded and never again.

    Parameters
    ----------
    model : keras.Model
        From a grey or colour image, of any size, to class probabilities.
    name : str
        What messages call it.
    part : int
        How many faces it is given at once: fewer, if its maps are large.
    scale : str, optional
        Of the pixels that it takes, one of `pixels.SCALES`. If not given, what its first layers say, and
        0..255 if they do not.

    Attributes
    ----------
    model : keras.Model
    classes : int
        Number of probabilities a face.
    part : int
    scale : str
    notes : list of str
        What is to be said of it to whoever reads its answers.

    Raises
    ------
    UsageError
        If the network does not take grey or colour images of one size, does not give one row of
        probabilities a face, or cannot be computed.
    """

    def __init__(self, model: Any, name: str = "network", part: int = PART, scale: str | None = None) -> None:
        import tensorflow as tf

        self.model, self.name, self.part = model, name, part
        self.scale = scale or pixels.declared(model) or "0..255"
        self.notes: list[str] = []
        shapes = [model.input_shape, model.output_shape]
        if [isinstance(shape, tuple) and len(shape) for shape in shapes] != [4, 2]:
            raise UsageError(f"{name}: not a network from an image to a row of probabilities; give another")
        _, height, width, channels = shapes[0]
        if height is None or width is None or channels not in (1, 3):
            takes = f"{height}x{width}x{channels}, not grey or colour images of one size"
            raise UsageError(f"{name}: takes {takes}; give another")
        self.classes = shapes[1][1]
        if self.classes is None or not 2 <= self.classes <= MOST_CLASSES:
            raise UsageError(f"{name}: gives {self.classes} numbers a face, not 2 to {MOST_CLASSES:,}")
        self._tolerance = TOLERANCES[tf.as_dtype(model.outputs[0].dtype).size < 4]

        @tf.function(input_signature=[tf.TensorSpec((None, SIDE, SIDE), tf.uint8)], autograph=False)
        def probabilities(images: Any) -> Any:
            # Bilinear, as `fer_lib.data.picture.resized`, which makes squares.
            faces = tf.image.resize(images[..., tf.newaxis], (height, width))
            given = pixels.brought(faces, channels, self.scale)
            return tf.cast(self.model(given, training=False), tf.float32)

        self._probabilities = probabilities
        self(np.zeros((1, SIDE, SIDE), np.uint8))  # traced; and kernels choose their plan at the first call
        self._probabilities = probabilities.get_concrete_function()

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
            If the images have another shape or type, or the network's answers are no probabilities.
        """
        import tensorflow as tf

        if images.dtype != np.uint8 or images.shape[1:] != (SIDE, SIDE):
            raise UsageError(
                f"images: {images.dtype} of {images.shape}; expected uint8 of (n, {SIDE}, {SIDE})"
            )
        parts = [np.empty((0, self.classes), np.float32)]
        for start in range(0, len(images), self.part):
            try:
                answer = self._probabilities(tf.constant(images[start : start + self.part])).numpy()
            except Exception as error:  # layers and kernels raise whatever they like
                reason = " ".join(str(error).split())[:200]
                raise UsageError(f"{self.name}: cannot be computed ({reason}); give another") from error
            parts.append(self._checked(answer, start))
        return np.concatenate(parts)

    def _checked(self, rows: np.ndarray, start: int) -> np.ndarray:
        """Return answers; refuse those that are no probabilities: a network broke, or lacks softmax."""
        fine = (rows.min(1) >= 0) & (np.abs(rows.sum(1) - 1) <= self._tolerance)  # false where not a number
        if fine.all():
            return rows
        i = int(np.argmin(fine))
        said = ", ".join(f"{value:.4g}" for value in rows[i, :4]) + ", ..." * (self.classes > 4)
        broken = not np.isfinite(rows[i]).all()
        mend = "its weights are broken, train it anew" if broken else "it must end with softmax"
        told = f"answers face {start + i + 1} with {said}, which are no probabilities; {mend}"
        raise UsageError(f"{self.name}: {told}")
