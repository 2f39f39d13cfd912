"""Rebuild the bundled faces and compare them with the committed ones.

python -m faces.build                   rebuild in memory, compare, say identical or what differs
python -m faces.build --write           write the rebuilt set to data/bundled
python -m faces.build --check 50        re-render 50 random images only
python -m faces.build --jobs 2          use two processes (default: all cores)
"""

import argparse
import contextlib
import hashlib
import multiprocessing
import os
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from faces import VERSION, dataset
from faces.expression import CLASSES
from faces.maths import mean_and_deviation
from faces.render import render
from fer_lib.files import UsageError
from fer_tools.progress import Progress

SEEDS = {"train": 2013, "test": 1307}
COUNTS = {"train": 10500, "test": 1500}
CHUNK = 60


def render_row(split: str, index: int) -> tuple[np.ndarray, dict[str, Any]]:
    """Image and factors row of one index of a split."""
    image = render(SEEDS[split], index)
    contrast = mean_and_deviation(image.pixels.astype(np.float64))[1]
    return image.pixels, {"split": split, "index": index, **image.factors, "contrast": round(contrast, 1)}


def _render_chunk(task: tuple[str, int, int]) -> list[tuple[np.ndarray, dict[str, Any]]]:
    split, first, last = task
    return [render_row(split, index) for index in range(first, last)]


@contextlib.contextmanager
def _workers(jobs: int) -> Iterator[Any]:
    """`map` over `jobs` processes, or in this one."""
    if jobs == 1:
        yield map
        return
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        yield pool.imap


def _step(progress: Progress, line: str) -> None:
    """Count a step as done and show it; where lines stay, one every tenth part."""
    progress.step()
    progress.show(line + progress.left, news=10 * progress.done // progress.total)


def build(counts: dict[str, int], jobs: int) -> tuple[dict[str, np.ndarray], str, dict[str, Any]]:
    """Render all splits.

    Returns
    -------
    splits : dict of str to (n, 48, 48) uint8
    factors : str
        The table, CSV.
    digests : dict
        As in digests.json, without "files".
    """
    if min(counts.values()) < 1 or jobs < 1:
        raise UsageError("counts and jobs: at least 1 of each is needed")
    tasks = [
        (split, first, min(first + CHUNK, count))
        for split, count in counts.items()
        for first in range(0, count, CHUNK)
    ]
    images: dict[str, list[np.ndarray]] = {split: [] for split in counts}
    rows: list[dict[str, Any]] = []
    render(0, 0)  # compile before the workers do, once
    with _workers(jobs) as run, Progress(len(tasks)) as progress:
        for (split, _, _), chunk in zip(tasks, run(_render_chunk, tasks), strict=True):
            for pixels, row in chunk:
                images[split].append(pixels)
                rows.append(row)
            _step(progress, f"rendered {len(rows):,} of {sum(counts.values()):,} faces")
    splits = {split: np.stack(pixels) for split, pixels in images.items()}
    digests = {
        "generator": VERSION,
        "size": dataset.SIZE,
        "columns": dataset.COLUMNS,
        "classes": list(CLASSES),
        "splits": {
            split: {
                "images": len(pixels),
                "seed": SEEDS[split],
                "identities": len({row["identity"] for row in rows if row["split"] == split}),
                "per_class": {
                    label: sum(row["split"] == split and row["label"] == label for row in rows)
                    for label in CLASSES
                },
                "pixels": hashlib.sha256(pixels.tobytes()).hexdigest(),
            }
            for split, pixels in splits.items()
        },
    }
    return splits, dataset.factors_text(rows), digests


def differences(folder: Path, factors: str, digests: dict[str, Any]) -> list[str]:
    """Name what differs between a rebuilt set and the one in `folder`; an empty list if nothing does."""
    committed = dataset.read_digests(folder)
    found = []
    if committed["generator"] != digests["generator"]:
        found.append(
            f"generator {committed['generator']} made the committed set, this is {digests['generator']}"
        )
    for split, facts in digests["splits"].items():
        for key, value in facts.items():
            if committed["splits"][split].get(key) != value:
                found.append(f"{split}: {key} differs")
        dataset.load(split, folder)  # the committed files are what digests.json says
    if (folder / "factors.csv").read_text(encoding="utf-8") != factors:
        found.append("factors.csv differs")
    return found


def check(number: int, folder: Path = dataset.BUNDLED) -> list[str]:
    """Render `number` random images of the committed set again, and name those that differ."""
    if number < 1:
        raise UsageError(f"--check {number}: at least 1 image is needed")
    digests = dataset.read_digests(folder)
    loaded = {split: dataset.load(split, folder) for split in dataset.SPLITS}
    everything = [(split, i) for split in dataset.SPLITS for i in range(digests["splits"][split]["images"])]
    chosen = sorted(random.sample(everything, min(number, len(everything))))
    found = []
    with Progress(len(chosen)) as progress:
        for split, index in chosen:
            images, rows = loaded[split]
            pixels, row = render_row(split, index)
            if not np.array_equal(pixels, images[index]):
                found.append(f"{split} image {index}: pixels differ")
            if {key: str(value) for key, value in row.items()} != rows[index]:
                found.append(f"{split} image {index}: factors differ")
            _step(progress, f"checked {progress.done + 1:,} of {len(chosen):,} faces")
    return found


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code (0 identical or written, 1 different, 2 usage)."""
    parser = argparse.ArgumentParser(prog="python -m faces.build", description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="write the rebuilt set to data/bundled")
    parser.add_argument("--check", type=int, metavar="N", help="re-render N random images only, and compare")
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count() or 1, help="processes (default: all cores)"
    )
    parser.add_argument(
        "--out", type=Path, default=dataset.BUNDLED, help="folder of the set (default: data/bundled)"
    )
    options = parser.parse_args(arguments)
    try:
        if options.check is not None:
            found = check(options.check, options.out)
        else:
            splits, factors, digests = build(COUNTS, options.jobs)
            if options.write:
                dataset.write(options.out, splits, factors, digests)
                print(f"written to {options.out}")
                return 0
            found = differences(options.out, factors, digests)
    except UsageError as error:
        print(error, file=sys.stderr)
        return 2
    print("\n".join(found) if found else "identical")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
