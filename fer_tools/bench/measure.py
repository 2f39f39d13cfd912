"""How quick training, evaluation and prediction are: ratios to plain Keras and to the machine's arithmetic.

Times of one machine say little and differ from hour to hour on a virtual one. So every way of doing the same
work lives in a process of its own, and these are told in turn to train for an epoch, to evaluate, to predict:
a mood of the machine hits all of them. Compared is within a round; reported is the median over the rounds.
"""

import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import Any

import numpy as np

from fer_lib import models
from fer_lib.data import load
from fer_lib.data.faces import FaceDataset
from fer_lib.figures import style
from fer_lib.files import UsageError, write_json, write_text
from fer_tools import checking, paths
from fer_tools.bench import table
from fer_tools.bench.contenders import COMMANDS, QUICK, SGEMM, Child, Size, Way, ways


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
    load.class_counts(source)
    size, chosen = QUICK if quick else Size(), ways(names or models.names())
    target = paths.results_folder() / "bench"
    _check_writable(target)
    document = {"machine": table.machine(), "quick": quick, "size": asdict(size)}
    print(table.describe_machine(document["machine"]), flush=True)
    before = table.used_by_others()
    time.sleep(1)
    print(table.busy(table.cores_of_others(before)), end="", flush=True)
    with TemporaryDirectory(prefix="fer-bench-") as temporary:
        folder = Path(temporary)
        faces = _write_faces(source, size.images, folder)
        document["data"] = load.describe(source)
        document["size"]["images"] = len(faces)
        facts, samples = _measure([*SGEMM, *chosen], size, folder)
    document["machine"]["cores_of_others"] = table.cores_of_others(before)  # every process of ours has ended
    document |= table.summarise(chosen, facts, samples, len(faces), size.matrix)
    print(table.table(document))
    print(table.busy(document["machine"]["cores_of_others"]), end="")
    write_json(target / "bench.json", document)
    write_text(target / "bench.csv", table.csv_text(samples))
    style.save(table.figure(document), target / "bench", kinds=("png", "svg"))
    print(f"written: {target}/bench.json, .csv, .png, .svg")
    return document


def _check_writable(folder: Path) -> None:
    """Find out now, not after minutes, that the results could not be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        TemporaryFile(dir=folder).close()
    except OSError as error:
        reason = error.strerror or error
        raise UsageError(
            f"{folder}: cannot be written ({reason}); set FER_RESULTS to another folder"
        ) from error


def _write_faces(source: Any, count: int, folder: Path) -> FaceDataset:
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
) -> tuple[dict[str, dict], dict[tuple[str, str], list]]:
    """Ask every way in turn, round after round.

    Returns
    -------
    facts : way -> what it says of its network
    samples : (way, command) -> one array (calls, 2) a round, of wall and CPU seconds
    """
    children: list[Child] = []
    with _progress() as show:
        try:
            show("starting a process for each way")
            for way in chosen:
                children.append(Child(way, size, folder))
            facts = {child.way.name: child.answer() for child in children}
            samples: dict[tuple[str, str], list] = {}
            spent = 0.0
            for number in range(size.rounds + 1):
                start, left = time.perf_counter(), round(spent * (size.rounds + 1 - number))
                for command in COMMANDS:  # one kind of work after the other: all ways do it in a row
                    for child in children:
                        if command not in child.way.commands:
                            continue
                        stage = f"round {number} of {size.rounds}" if number else "warming up"
                        time_left = f", {left // 60}:{left % 60:02} left at its start" if number else ""
                        show(f"{stage}{time_left}: {command.replace('_', ' ')}, {child.way.name}")
                        times = np.array(child.ask(command))
                        if number:  # tracing and first touches are not measured
                            samples.setdefault((child.way.name, command), []).append(times)
                spent = time.perf_counter() - start
            for child in children:
                if child.way.threads is None:
                    facts[child.way.name]["peak_memory"] = child.ask("memory")
        finally:
            for child in children:
                child.close()
    return facts, samples


@contextmanager
def _progress() -> Iterator[Callable[[str], None]]:
    """Give a function that shows a stage: on one line of a terminal, elsewhere a line a round."""
    live, last = sys.stdout.isatty(), ""

    def show(text: str) -> None:
        nonlocal last
        stage = text.partition(":")[0]
        if live:
            print(f"\r{text:<78.78}", end="", flush=True)
        elif stage != last:
            print(text, flush=True)
        last = stage

    yield show
    if live:
        print(f"\r{'':<78}\r", end="")
