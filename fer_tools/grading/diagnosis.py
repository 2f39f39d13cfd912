"""Somebody else's network, diagnosed: what it is, how it is to be read, how good it is, what to change."""

import hashlib
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fer_lib.data import load
from fer_lib.data.faces import DEFAULT_CLASSES, FaceDataset
from fer_lib.data.split import find_duplicates
from fer_lib.files import UsageError, printable
from fer_tools.grading import findings, network, playing, reading
from fer_tools.grading.player import Game
from fer_tools.grading.reading import Reading
from fer_tools.model_files import inspection, limits, loading, pixels
from fer_tools.model_files.pixels import SCALES

FORMAT = 1
MOST_WORK = 4_000_000_000  # of an image (see `Cost.work`); networks of students have up to 700,000,000
NOT_QUITE = 2e-2  # by which probabilities of a network that computes with 16 bits may fail to sum to 1


@dataclass(frozen=True)
class Images:
    """Faces by which networks are diagnosed.

    Attributes
    ----------
    label : str
        Where they come from.
    training : FaceDataset
        As many of each class, to find out how a network is to be read; none of them has a twin.
    test : FaceDataset
    twin : (n,) bool
        Which test images are met among all training images, too.
    """

    label: str
    training: FaceDataset
    test: FaceDataset
    twin: np.ndarray


def images(data: str) -> Images:
    """Load the images of a data set; see `fer_lib.data.load`.

    Raises
    ------
    UsageError
        For anything wrong with the data.
    """
    training, test = load.load_training(data), load.load_test(data)
    digests = test.pixel_digests()
    unclear = np.logical_or.reduce(list(find_duplicates(training, digests).values()))
    twin = np.isin(digests, training.pixel_digests())
    drawn = reading.draw(training.take(np.flatnonzero(~unclear)))
    if not len(drawn):
        raise UsageError(f"{load.describe(data)}: a class has no training images without twins; give others")
    return Images(load.describe(data), drawn, test, twin)


def diagnose(path: str | Path, faces: Images, limit: int, game: Game | None = None) -> dict[str, Any]:
    """Diagnose a model file.

    Parameters
    ----------
    path : path of a file.
    faces : Images
    limit : int
        Of parameters.
    game : Game, optional
        That plays with the network; see `player.read`.

    Returns
    -------
    dict
        As `fer diagnose --json` prints it: every key is there, None where nothing is known, numbers finite.
    """
    start = time.perf_counter()
    found = _nothing(path, limit)
    found["data"] = faces.label
    try:
        _identify(Path(path), found["file"])
        with limits.bounded(path):
            opened = loading.opened(path)
            _describe(opened, found)
        answers = _examine(opened, faces, found)
        if game is not None:
            _watch(game, answers, faces, found)
        found["state"] = "findings" if found["findings"] else "fine"
    except UsageError as error:
        found |= {"state": "refused", "reason": printable(str(error).removeprefix(f"{path}: "))}
        found["game"] = playing.described(game, None) if game is not None else None
    found["cost"]["seconds"] = round(time.perf_counter() - start, 2)
    return found


def _nothing(path: str | Path, limit: int) -> dict[str, Any]:
    """Return a diagnosis that says nothing yet."""
    return {
        "format": FORMAT,
        "state": "fine",
        "reason": None,
        "file": {"name": Path(path).name, "bytes": None, "sha256": None, "weights_sha256": None},
        "container": None,
        "data": None,
        "parameters": None,
        "limit": limit,
        "layers": [],
        "input": None,
        "output": None,
        "reading": None,
        "test": None,
        "game": None,
        "findings": [],
        "cost": {"seconds": None, "images_seen": 0},
    }


def _identify(path: Path, file: dict[str, Any]) -> None:
    """Fill in the length and the digest of a file."""
    with inspection.opened(path) as handle:
        file["bytes"] = os.fstat(handle.fileno()).st_size
        file["sha256"] = hashlib.file_digest(handle, "sha256").hexdigest()


def _describe(opened: loading.Opened, found: dict[str, Any]) -> None:
    """Fill in what the network is."""
    model = opened.model
    found["container"] = {"kind": opened.container, "keras": opened.keras, "notes": list(opened.notes)}
    shapes = [model.input_shape, model.output_shape]
    if [isinstance(shape, tuple) and len(shape) for shape in shapes] != [4, 2]:
        raise UsageError("not a network from an image to a row of numbers")
    found["file"]["weights_sha256"] = network.weights_digest(model)
    found["parameters"] = int(model.count_params())
    found["layers"] = network.table(model)
    found["input"] = dict(zip(("height", "width", "channels"), shapes[0][1:], strict=True))
    last = list(pixels.leaves(model))[-1]
    found["output"] = {"classes": shapes[1][1], "activation": network.activation(last)}


def _examine(opened: loading.Opened, faces: Images, found: dict[str, Any]) -> network.Answers | None:
    """Let the network answer, and fill in how it is read, how good it is, and all findings.

    Returns
    -------
    network.Answers, or None
        By which a game can play; None if it is of no use.
    """
    model, say = opened.model, found["findings"]
    say += findings.of_network(found, network.missing_layers(model))
    declared = pixels.declared(model)
    found["reading"] = _unread(declared)
    if not all(np.isfinite(value).all() for value in model.get_weights()):
        say.append(findings.not_finite("weights"))
        return None
    if found["output"]["classes"] != len(DEFAULT_CLASSES) or found["input"]["channels"] not in (1, 3):
        say.append(findings.other_task(found))
        return None
    if opened.cost.work > MOST_WORK:
        say.append(findings.too_slow(opened.cost.work, MOST_WORK))
        return None
    answers = network.Answers(model, opened.cost.memory)
    try:
        _read_and_measure(answers, faces, declared, found)
    except network.NotFinite:
        found |= {"reading": _unread(declared), "test": None}
        say.append(findings.not_finite("outputs"))
    found["cost"]["images_seen"] = answers.seen
    return answers if found["test"] else None


def _watch(game: Game, answers: network.Answers | None, faces: Images, found: dict[str, Any]) -> None:
    """Let the game play with the network, and fill in how that goes."""
    share = None
    if answers is not None:
        try:
            share = playing.accuracy(game, answers, faces.test.images, faces.test.labels)
        except network.NotFinite:  # at pixels that the network was not made for
            share = None
        found["cost"]["images_seen"] = answers.seen
    found["game"] = playing.described(game, share)
    found["findings"] += playing.of_game(game, found, share)


def _unread(declared: str | None) -> dict[str, Any]:
    return {
        "told": False,
        "order": None,
        "scale": declared,
        "p_value": None,
        "images": 0,
        "sentence": "It was not looked for which output means which expression.",
    }


def _read_and_measure(
    answers: network.Answers, faces: Images, declared: str | None, found: dict[str, Any]
) -> None:
    training = faces.training

    def outputs(start: int, end: int, scale: str) -> np.ndarray:
        return answers(training.images[start:end], *SCALES[scale])

    read = reading.tell(outputs, training.labels, declared)
    found["reading"] = _read(read, declared)
    found["findings"] += findings.of_reading(read)
    if read.order is None:
        return
    given = answers.of_test(faces.test.images, *SCALES[read.scale])
    found["test"] = measured(given, faces.test.labels, faces.twin, read.order)
    found["findings"] += findings.of_test(found["test"])


def _read(read: Reading, declared: str | None) -> dict[str, Any]:
    return {
        "told": read.order is not None,
        "order": None if read.order is None else findings.named(read.order),
        "scale": read.scale if read.certain else None,
        "p_value": read.p_value,
        "images": read.images,
        "sentence": findings.sentence(read, declared),
    }


def measured(
    outputs: np.ndarray, labels: np.ndarray, twin: np.ndarray, order: tuple[int, ...]
) -> dict[str, Any]:
    """Return the figures of test images.

    Parameters
    ----------
    outputs : (n, 3) float
    labels : (n,) int
    twin : (n,) bool
        Which images are left out of the accuracy without twins.
    order : tuple of int
        The class of each output.

    Returns
    -------
    dict
        Loss, confidence and calibration are None where outputs are no probabilities.
    """
    from fer_lib import evaluation
    from fer_lib.statistics import wilson_interval

    classes = DEFAULT_CLASSES
    sorted_outputs = outputs[:, np.argsort(order)].astype(float)
    right = sorted_outputs.argmax(axis=1) == labels
    low, high = wilson_interval(int(right.sum()), len(right))
    apart = evaluation.with_and_without(right, twin)
    confusion = evaluation.confusion_matrix(labels, sorted_outputs.argmax(axis=1), len(classes))
    found = {
        "images": len(labels),
        "accuracy": float(right.mean()),
        "low": low,
        "high": high,
        "images_without_twins": apart["without_twins.images"],
        "accuracy_without_twins": apart["without_twins.accuracy"],
        "loss": None,
        "mean_confidence": None,
        "calibration_error": None,
        "confusion": confusion.tolist(),
        "as_the_game": float((outputs.argmax(axis=1) == labels).mean()),
    }
    sums = sorted_outputs.sum(axis=1)
    if sorted_outputs.min() >= 0 and np.abs(sums - 1).max() <= NOT_QUITE:
        probabilities = sorted_outputs / sums[:, None]
        metrics = evaluation.evaluate(probabilities, labels, classes)
        found |= {"loss": metrics["loss"], "calibration_error": metrics["ece"]}
        found["mean_confidence"] = float(probabilities.max(axis=1).mean())
    return found
