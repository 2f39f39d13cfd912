"""Faces to probabilities with a trained network, quick enough for one face at a time."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fer_lib import quiet, runs, safe_model, shipped
from fer_lib._readers import MAX_BYTES, SIDE, decode_image
from fer_lib.files import UsageError

PART = 256  # faces at once, so that memory does not grow with their number


class Predictor:
    """A loaded network as one traced function of faces, from grey values to probabilities.

    `model.predict` sets up a data pipeline and callbacks for each call, and `model(images)` goes through
    Python layer by layer: many times the arithmetic of one face. Here a call runs a graph of fixed
    signature, which is traced when the model is loaded and never again.

    Parameters
    ----------
    path : str or Path
        A `.keras` file; it is looked at before it is loaded, see `fer_lib.safe_model.load`.

    Attributes
    ----------
    model : keras.Model
    classes : int
        Number of probabilities a face.

    Raises
    ------
    UsageError
        If the file is refused, or its network does not take square grey images or not give one row a face.
    """

    def __init__(self, path: str | Path) -> None:
        self.model = safe_model.load(path)
        quiet.import_tensorflow()
        import tensorflow as tf

        shapes = [getattr(self.model, name) for name in ("input_shape", "output_shape")]
        if not all(isinstance(shape, tuple) for shape in shapes) or [len(shape) for shape in shapes] != [
            4,
            2,
        ]:
            raise UsageError(
                f"{path}: not a network from one image to one row of probabilities; give another"
            )
        _, size, width, channels = shapes[0]
        if size is None or width != size or channels != 1:
            raise UsageError(
                f"{path}: takes images of {size} x {width} x {channels}, not square grey ones; give another"
            )
        self.classes = shapes[1][1]

        @tf.function(input_signature=[tf.TensorSpec((None, SIDE, SIDE), tf.uint8)])
        def probabilities(images: tf.Tensor) -> tf.Tensor:
            resized = tf.image.resize(images[..., tf.newaxis], (size, size))  # as `training.prepare` does
            return self.model(resized, training=False)

        self._probabilities = probabilities.get_concrete_function()
        self(np.zeros((1, SIDE, SIDE), np.uint8))  # kernels choose their plan at the first call

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Give the class probabilities of faces.

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


def choose(model: str | None = None, classes: Sequence[str] | None = None) -> tuple[Predictor, list[str]]:
    """Load a network and tell its classes.

    Parameters
    ----------
    model : str, optional
        A run, by its name, directory or `.keras` file, or any `.keras` file; the shipped network, if not
        given.
    classes : sequence of str, optional
        Needed for a file that belongs to no run, refused otherwise.

    Raises
    ------
    UsageError
        If there is no such model, its file is refused, or its classes are not as many as it has outputs.
    """
    if model is None:
        if classes is not None:
            raise UsageError("--classes: the shipped network has its own; give it with --model FILE.keras")
        path, classes = shipped.path(), shipped.facts()["classes"]
    elif classes is not None:
        path = Path(model)
        if not path.is_file():
            raise UsageError(f"--classes: goes with a .keras file, which {model!r} is not")
    else:
        try:
            run = runs.find(model)
        except UsageError as error:
            reason = (
                f"{model}: belongs to no run that says its classes; give them, --classes neutral,happy,..."
            )
            raise UsageError(reason) if Path(model).is_file() else error from None
        path, classes = run.model_path, run.parameters("training").classes
    predictor = Predictor(path)
    if len(classes) != predictor.classes:
        raise UsageError(f"{path}: has {predictor.classes} classes, not {len(classes)}: {', '.join(classes)}")
    return predictor, list(classes)


def images(
    predictor: Predictor, classes: Sequence[str], paths: Sequence[str]
) -> tuple[list[dict[str, Any]], list[str]]:
    """Tell the expression on each picture.

    Parameters
    ----------
    predictor : Predictor
    classes : sequence of str
        Of its outputs, in order.
    paths : sequence of str
        JPEG, PNG or BMP files; see `fer_lib._readers.decode_image`.

    Returns
    -------
    list of dict
        image, class (the most probable) and probabilities by class, of each picture that can be read.
    list of str
        What is wrong with each of the others.
    """
    faces, names, wrong = [], [], []
    for path in paths:
        try:
            with open(path, "rb") as handle:
                faces.append(decode_image(handle.read(MAX_BYTES + 1), path)[0])
        except UsageError as error:
            wrong.append(str(error))
        except (OSError, ValueError) as error:  # a null character in a name is a ValueError
            wrong.append(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})")
        else:
            names.append(path)
    probabilities = predictor(np.stack(faces)) if faces else np.empty((0, len(classes)))
    rows = [dict(zip(classes, map(float, row), strict=True)) for row in probabilities]
    found = [
        {"image": name, "class": max(row, key=row.get), "probabilities": row}
        for name, row in zip(names, rows, strict=True)
    ]
    return found, wrong
