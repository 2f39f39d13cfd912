"""Measure the speed of training, evaluation and prediction, against plain Keras and the machine's arithmetic.

Times of one machine say little and differ from hour to hour on a virtual one. So every way of doing the same
work lives in a process of its own, and these are told in turn to train for an epoch, to evaluate, to predict:
a slow spell of the machine affects all of them alike. Compared is within a round; reported is the median over
the rounds.
"""

import shutil
import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import numpy as np

from fer_lib import models
from fer_lib.data import load
from fer_lib.data.faces import DEFAULT_CLASSES, FaceDataset
from fer_lib.figures import style
from fer_lib.files import UsageError, write_text
from fer_tools import checking, paths, scratch
from fer_tools.bench import figure, machine, table
from fer_tools.bench.contenders import COMMANDS, QUICK, SGEMM, Size, Way, ways
from fer_tools.bench.process import Child
from fer_tools.json_files import write_json
from fer_tools.progress import Progress


def run(data: str = "bundled", names: Sequence[str] = (), quick: bool = False) -> dict[str, Any]:
    """Measure, print the table, and write bench.json, bench.csv (every round) and a figure to results/bench.

    Parameters
    ----------
    data : str
        See `fer_lib.data.load.resolve`; of its training part, as many images as an epoch takes.
    names : sequence of str
        Our networks; none: all of `models.names()`.
    quick : bool
        A few images and one round: to see that it works, the numbers mean nothing.

    Returns
    -------
    dict
        What bench.json holds.

    Raises
    ------
    UsageError
        At a network or data that are not there, a folder that cannot be written to, or lack of memory.
    """
    for name in names:
        checking.build("training", {"model": name})
    source = load.resolve(checking.build("training", {"data": data}).data)
    load.class_counts(source, DEFAULT_CLASSES, "train")
    size, chosen = QUICK if quick else Size(), ways(names or models.names())
    target = paths.results_folder() / "bench"
    _check_writable(target)
    document = {"machine": machine.describe(), "quick": quick, "size": asdict(size)}
    print(machine.in_words(document["machine"]), flush=True)
    before = machine.used_by_others()
    time.sleep(1)
    print(machine.busy(machine.cores_of_others(before)), end="", flush=True)
    with scratch.folder() as folder:
        faces = write_faces(source, size.images, folder)
        document["data"] = load.describe(source)
        document["size"]["images"] = len(faces)
        facts, samples = _measure([*SGEMM, *chosen], size, folder)
    others = document["machine"]["cores_of_others"] = machine.cores_of_others(before)  # ours have all ended
    document |= table.summarise(chosen, facts, samples, len(faces), size.matrix)
    print(table.table(document))
    print(machine.busy(others), end="")
    write_json(target / "bench.json", document)
    write_text(target / "bench.csv", table.csv_text(samples))
    style.save(figure.draw(document), target / "bench", kinds=("png", "svg"))
    print(f"written: {target}/bench.json, .csv, .png, .svg")
    return document


def _check_writable(folder: Path) -> None:
    """Refuse a folder that cannot be written to now, not after minutes."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        TemporaryFile(dir=folder).close()
    except OSError as error:
        reason = f"cannot be written ({error.strerror or error})"
        raise UsageError(f"{folder}: {reason}; set FER_RESULTS to another folder") from error


def write_faces(source: Any, count: int, folder: Path) -> FaceDataset:
    """Write training images twice: as files in a folder a class, and decoded for our way.

    The files are those of the data set where it is a folder of JPEGs, and JPEGs made of the pixels elsewhere.
    """
    from PIL import Image

    faces = load.load_training(source)
    if len(faces) > count:
        faces = faces.take(np.random.default_rng(0).permutation(len(faces))[:count])
    for i, (image, label, name) in enumerate(zip(faces.images, faces.labels, faces.names, strict=True)):
        file = folder / "faces" / f"{label}_{faces.classes[label]}" / f"{i}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        if source.kind == "folder" and name.lower().endswith((".jpg", ".jpeg")):
            shutil.copyfile(source.path / name, file)
        else:
            Image.fromarray(image).save(file, quality=95)
    np.savez(folder / "faces.npz", images=faces.images, labels=faces.labels, classes=len(faces.classes))
    return faces


def _measure(
    chosen: Sequence[Way], size: Size, folder: Path
) -> tuple[dict[str, dict[str, Any]], dict[tuple[str, str], list[np.ndarray]]]:
    """Ask every way in turn, round after round.

    Returns
    -------
    facts : way -> what it says of its network
    samples : (way, command) -> one array (calls, 2) a round, of wall and CPU seconds
    """
    samples = defaultdict(list)
    with Progress(size.rounds + 1, of_last=1) as progress, ExitStack() as stack:
        progress.show("starting a process for each way")
        children = [stack.enter_context(closing(Child(way, size, folder))) for way in chosen]
        facts = {child.way.name: child.answer() for child in children}
        for number in range(size.rounds + 1):
            stage = f"round {number} of {size.rounds}" if number else "warming up"
            for command in COMMANDS:  # one kind of work after the other: all ways do it in a row
                for child in children:
                    if command in child.way.commands:
                        what = f"{command.replace('_', ' ')}, {child.way.name}"
                        progress.show(f"{stage}{progress.left}: {what}", news=stage)
                        times = np.array(child.ask(command))
                        if number:  # tracing and first touches are not measured
                            samples[child.way.name, command].append(times)
            progress.step()
        for child in children:
            if child.way.threads is None:
                facts[child.way.name]["peak_memory"] = child.ask("memory")
    return facts, samples
