"""Expressions on pictures in files, by the shipped network or another."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fer_lib.data.faces import check_classes
from fer_lib.data.picture import MAX_BYTES, decode_image
from fer_lib.files import UsageError, read_regular
from fer_lib.predict import MOST_CLASSES, PART, Predictor
from fer_tools import pretrained
from fer_tools.model_files import loading
from fer_tools.run import find

MOST_AT_ONCE = 2**30  # bytes of maps of all faces that are computed at once


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
        If there is no such model, its file is refused, its classes are not as many as it has outputs, or two
        are the same.
    """
    if model is None:
        if classes is not None:
            raise UsageError("--classes: the shipped network has its own; give it with --model FILE.keras")
        path, classes = pretrained.path(), pretrained.facts()["classes"]
    elif classes is not None:
        path = Path(model)
        if len(classes) > MOST_CLASSES:
            raise UsageError(f"--classes: {len(classes):,}; at most {MOST_CLASSES:,} are told apart")
        classes = check_classes([name.strip() for name in classes])
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
    network, cost = loading.load_with_cost(path)
    predictor = Predictor(network, str(path), max(1, min(PART, MOST_AT_ONCE // max(1, cost.memory))))
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
    found, wrong = [], []
    for start in range(0, len(paths), predictor.part):
        faces, names = [], []
        for path in paths[start : start + predictor.part]:
            try:
                content = read_regular(path, MAX_BYTES, follow=True)
                faces.append(decode_image(content, path)[0])
                names.append(path)
            except UsageError as error:
                wrong.append(str(error))
        for name, row in _answered(predictor, faces, names, wrong):
            by_class = dict(zip(classes, map(float, row), strict=True))
            best = max(by_class, key=by_class.get)
            found.append({"image": name, "class": best, "probabilities": by_class})
    return found, wrong


def _answered(
    predictor: Predictor, faces: list[np.ndarray], names: list[str], wrong: list[str]
) -> list[tuple[str, np.ndarray]]:
    """Return the probabilities of each picture; what is wrong with it, or its answer, goes to `wrong`."""
    if not faces:
        return []
    try:
        return list(zip(names, predictor(np.stack(faces)), strict=True))
    except UsageError:
        found = []
        for name, face in zip(names, faces, strict=True):  # which of them is it?
            try:
                found.append((name, predictor(face[np.newaxis])[0]))
            except UsageError as error:
                wrong.append(f"{name}: {error}")
        return found
