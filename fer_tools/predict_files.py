"""Expressions on pictures in files, by the shipped network or another."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from fer_lib.data.faces import check_classes
from fer_lib.data.picture import MAX_BYTES, decode_image
from fer_lib.files import UsageError, read_regular, sha256_of_file
from fer_tools import paths, pretrained
from fer_tools.model_files import loading
from fer_tools.model_files.inspection import LARGEST_FILE
from fer_tools.predictor import MOST_CLASSES, PART, Predictor
from fer_tools.run import find
from fer_tools.run.run import Run

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
        If there is no such model, its file is refused, its classes are not as many as it has outputs, two
        are the same, or other than what is recorded of the file.
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
        _refuse_others(path, classes)
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


def _refuse_others(path: Path, classes: Sequence[str]) -> None:
    """Refuse classes other than those on record: of the shipped network, or of the run that a file is of."""
    for what, known in _recorded(path):
        if list(classes) != list(known):
            raise UsageError(f"--classes: {path} is {what}; give its own, --classes {','.join(known)}")


def _recorded(path: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield what is known of a .keras file, by its digest or its place, and the classes on record."""
    path = path.resolve()
    digest = sha256_of_file(path, LARGEST_FILE)
    if digest == pretrained.facts()["sha256"]:
        yield "the shipped network", pretrained.facts()["classes"]
    places = [path.with_suffix(""), path.parent, path.parent.parent, paths.ROOT / "results" / "reference"]
    near = (Run(place) for place in places if (place / "run.json").is_file())
    for run in chain(near, (run for run, _ in find.all_runs())):
        with suppress(UsageError):  # what is no run has no record
            digests = {value for entry in run.document["stages"].values() for value in _digests(entry)}
            if path == run.model_path.resolve() or digest in digests:
                yield f"of run {run.name}", run.parameters("training").classes


def _digests(entry: dict[str, Any]) -> list[str]:
    return [value for key, value in entry.get("outputs", {}).items() if key.endswith(".keras")]


def predict_files(
    predictor: Predictor, classes: Sequence[str], files: Sequence[str]
) -> tuple[list[dict[str, Any]], list[str]]:
    """Find the expression on each picture.

    Parameters
    ----------
    predictor : Predictor
    classes : sequence of str
        Of its outputs, in order.
    files : sequence of str
        JPEG, PNG or BMP files; see `fer_lib.data.picture.decode_image`.

    Returns
    -------
    list of dict
        image, class (the most probable) and probabilities by class, of each picture that can be read.
    list of str
        What is wrong with each of the others.
    """
    found, wrong = [], []
    for start in range(0, len(files), predictor.part):
        faces, names = [], []
        for path in files[start : start + predictor.part]:
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
