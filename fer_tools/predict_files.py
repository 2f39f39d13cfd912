"""Expressions on pictures in files, by the shipped network or another."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fer_lib.data.picture import MAX_BYTES, decode_image
from fer_lib.files import UsageError
from fer_lib.predict import Predictor
from fer_tools import pretrained
from fer_tools.model_files import loading
from fer_tools.run import find


def choose(model: str | None = None, classes: Sequence[str] | None = None) -> tuple[Predictor, list[str]]:
    """Load a network and its classes.

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
        path, classes = pretrained.path(), pretrained.facts()["classes"]
    elif classes is not None:
        path = Path(model)
        if not path.is_file():
            raise UsageError(f"--classes: goes with a .keras file, which {model!r} is not")
    else:
        try:
            run = find.open_run(model)
        except UsageError as error:
            reason = (
                f"{model}: is not part of a run, so its classes are unknown; add --classes neutral,happy,..."
            )
            raise UsageError(reason) if Path(model).is_file() else error from None
        path, classes = run.model_path, run.parameters("training").classes
    predictor = Predictor(loading.load(path), str(path))
    if len(classes) != predictor.classes:
        raise UsageError(f"{path}: has {predictor.classes} classes, not {len(classes)}: {', '.join(classes)}")
    return predictor, list(classes)


def predict_files(
    predictor: Predictor, classes: Sequence[str], paths: Sequence[str]
) -> tuple[list[dict[str, Any]], list[str]]:
    """Find the expression on each picture.

    Parameters
    ----------
    predictor : Predictor
    classes : sequence of str
        Of its outputs, in order.
    paths : sequence of str
        JPEG, PNG or BMP files; see `fer_lib.data.picture.decode_image`.

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
