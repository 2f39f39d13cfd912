"""Expressions on pictures in files, by a shipped network or another."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fer_lib.data.faces import check_classes
from fer_lib.data.picture import MAX_BYTES, SIDE, decode_picture, to_face
from fer_lib.files import UsageError, atomic_path, read_regular, sha256_of_file
from fer_tools import paths, pretrained
from fer_tools.face_finder import find as finder
from fer_tools.model_files import loading, pixels
from fer_tools.model_files.inspection import LARGEST_FILE
from fer_tools.predictor import MOST_CLASSES, PART, Predictor
from fer_tools.run import find
from fer_tools.run.run import Run

MOST_AT_ONCE = 2**30  # bytes of maps of all faces that are computed at once
SMALL = 512  # pixels of a side of a picture that may be a face although none is found on it


def choose(
    model: str | None = None, classes: Sequence[str] | None = None, scale: str | None = None
) -> tuple[Predictor, list[str]]:
    """Load a network and its classes.

    What a file that belongs to no run leaves open, and what is assumed of it, is said in the predictor's
    `notes`.

    Parameters
    ----------
    model : str, optional
        A shipped network (`pretrained.names`), a run, by its name, directory or `.keras` file, or any
        `.keras` file; `pretrained.NAME`, if not given.
    classes : sequence of str, optional
        Needed for a file that belongs to no run, refused otherwise.
    scale : str, optional
        Of the pixels that the network takes; what is known of it, or what it says, if not given.

    Raises
    ------
    UsageError
        If there is no such model or scale, its file is refused, its classes are not as many as it has
        outputs, two are the same, or other than what is recorded of the file.
    """
    if scale not in (None, *pixels.SCALES):
        raise UsageError(f"--scale: {scale!r} is none; choose one of {', '.join(pixels.SCALES)}")
    known = True
    if model is None or pretrained.is_one(model):
        if classes is not None:
            raise UsageError("--classes: a shipped network has its own; give it with --model FILE.keras")
        shipped = model or pretrained.NAME
        path, classes = pretrained.path(shipped), pretrained.facts(shipped)["classes"]
    elif classes is not None:
        path = Path(model)
        if len(classes) > MOST_CLASSES:
            raise UsageError(f"--classes: {len(classes):,}; at most {MOST_CLASSES:,} are told apart")
        classes = check_classes([name.strip() for name in classes])
        if not path.is_file():
            raise UsageError(f"--classes: goes with a .keras file, which {model!r} is not")
        known = _refuse_others(path, classes)
    else:
        try:
            run = find.open_run(model)
        except UsageError as error:
            reason = (
                f"{model}: is not part of a run, so its classes and their order are unknown "
                "(fer diagnose finds it); add --classes neutral,happy,..."
            )
            raise UsageError(reason) if Path(model).is_file() else error from None
        path, classes = run.model_path, run.parameters("training").classes
    if known and scale is not None:
        raise UsageError("--scale: goes with a .keras file that no run knows; the others take 0..255")
    opened = loading.opened(path)
    part = max(1, min(PART, MOST_AT_ONCE // max(1, opened.cost.memory)))
    # Those of runs are trained on what `fer_lib.data` gives them.
    predictor = Predictor(opened.model, str(path), part, "0..255" if known else scale)
    if len(classes) != predictor.classes:
        raise UsageError(f"{path}: has {predictor.classes} classes, not {len(classes)}: {', '.join(classes)}")
    if not known:
        predictor.notes = _open_questions(predictor, classes, scale)
    return predictor, list(classes)


def _open_questions(predictor: Predictor, classes: Sequence[str], scale: str | None) -> list[str]:
    """Return what somebody else's file does not say, and what is assumed of it."""
    open_order = "does not say the order of its outputs (fer diagnose finds it)"
    order = f"{predictor.name}: {open_order}; {', '.join(classes)} is assumed"
    if scale is not None or pixels.declared(predictor.model) is not None:
        return [order]
    others = " or ".join(f"--scale={name}" for name in pixels.SCALES if name != predictor.scale)
    told = f"does not say which pixels it takes (no Rescaling); {predictor.scale} is assumed, unless {others}"
    return [order, f"{predictor.name}: {told}"]


def _refuse_others(path: Path, classes: Sequence[str]) -> bool:
    """Return whether classes are on record, of a shipped network or of the run that a file is of.

    Raises
    ------
    UsageError
        If others are.
    """
    recorded = False
    for what, known in _recorded(path):
        recorded = True
        if list(classes) != list(known):
            raise UsageError(f"--classes: {path} is {what}; give its own, --classes {','.join(known)}")
    return recorded


def _recorded(path: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield what is known of a .keras file, by its digest or its place, and the classes on record."""
    path = path.resolve()
    digest = sha256_of_file(path, LARGEST_FILE)
    if name := pretrained.of_digest(digest):
        yield f"the shipped {name}", pretrained.facts(name)["classes"]
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
    predictor: Predictor, classes: Sequence[str], files: Sequence[str], crop: bool = False
) -> tuple[list[dict[str, Any]], list[str]]:
    """Find the faces on each picture, and their expressions.

    Parameters
    ----------
    predictor : Predictor
    classes : sequence of str
        Of its outputs, in order.
    files : sequence of str
        JPEG, PNG or BMP files; see `fer_lib.data.picture.decode_picture`.
    crop : bool
        Whether each picture is a face already; one of 48x48 pixels always is.

    Returns
    -------
    list of dict
        image, class (the most probable) and probabilities by class, of each face; of those that were found on
        a picture, from left to right, also box (left, top, right, bottom of the square, pixels), tilt
        (degrees by which it is turned about its centre, clockwise) and score of the finder. Where none is
        found on a small picture, all of it is taken for a face, and box is None.
    list of str
        What is wrong with each of the others.
    """
    found, wrong = [], []
    for start in range(0, len(files), predictor.part):
        faces, known = [], []
        for path in files[start : start + predictor.part]:
            try:
                picture = read_picture(path)
                for face, place in faces_on(picture, path, crop):
                    faces.append(face)
                    known.append({"image": path} | place)
            except UsageError as error:
                wrong.append(str(error))
        for place, row in _answered(predictor, faces, known, wrong):
            by_class = dict(zip(classes, map(float, row), strict=True))
            best = max(by_class, key=by_class.get)
            answer = {"image": place.pop("image"), "class": best, "probabilities": by_class}
            found.append(answer | place)
    return found, wrong


def read_picture(path: str) -> Image.Image:
    """Return a picture in a file, upright, in grey or RGB; see `decode_picture`."""
    return decode_picture(read_regular(path, MAX_BYTES, follow=True), path)[0]


def faces_on(picture: Image.Image, path: str, crop: bool) -> Iterator[tuple[np.ndarray, dict[str, Any]]]:
    """Yield the faces on a picture, each with what is to be said of its place."""
    if crop or picture.size == (SIDE, SIDE):
        yield to_face(picture)[0], {}
        return
    seen = sorted(finder.faces(picture), key=lambda face: face.x)
    grey = picture.convert("L")
    for face in seen:
        yield finder.crop(grey, face), {"box": list(face.box), "tilt": face.tilt, "score": face.score}
    if not seen and max(picture.size) > SMALL:
        raise UsageError(f"{path}: no face was found on it; with --crop all of it is taken for one")
    if not seen:
        yield to_face(picture)[0], {"box": None}


def draw_found(rows: Sequence[dict[str, Any]], classes: Sequence[str], target: Path) -> None:
    """Write a picture of what was found on one picture.

    Parameters
    ----------
    rows : sequence of dict
        Of `predict_files`, all of the same image.
    classes : sequence of str
    target : Path
        A PNG file.

    Raises
    ------
    UsageError
        If it has another suffix, or cannot be written.
    """
    from fer_tools.face_finder import draw

    if target.suffix.lower() != ".png":
        raise UsageError(f"--draw: {target} is no name of a PNG file; end it with .png")
    shown = draw.drawn(read_picture(rows[0]["image"]), rows, classes)
    with atomic_path(target) as temporary:
        shown.save(temporary, "PNG")


def _answered(
    predictor: Predictor, faces: list[np.ndarray], known: list[dict[str, Any]], wrong: list[str]
) -> list[tuple[dict[str, Any], np.ndarray]]:
    """Return the probabilities of each face; what is wrong with its answer goes to `wrong`."""
    if not faces:
        return []
    try:
        return list(zip(known, predictor(np.stack(faces)), strict=True))
    except UsageError:
        found = []
        for place, face in zip(known, faces, strict=True):  # which of them is it?
            try:
                found.append((place, predictor(face[np.newaxis])[0]))
            except UsageError as error:
                wrong.append(f"{place['image']}: {error}")
        return found
