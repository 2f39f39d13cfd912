"""Compare runs that were tested on the same images: two, or several seeds of one."""

import csv
import io
import statistics
from collections.abc import Sequence
from itertools import islice

import numpy as np

from fer_lib.files import UsageError, read_regular
from fer_lib.statistics import wilson_interval
from fer_tools.checks.mcnemar import mcnemar
from fer_tools.console import say
from fer_tools.run import machine
from fer_tools.run.run import Run
from fer_tools.run.tree import LARGEST_FILE
from fer_tools.stages import STAGES

MOST_IMAGES = 1_000_000  # of a test set


def compare(found: list[Run]) -> None:
    """Print the accuracies of runs with their intervals, and what may be said of the difference.

    Of a run of far transfer it is the fine-tuned network of the first seed that counts.

    Two runs: the exact McNemar test on the same test images. Runs that differ in their seed only: mean
    and spread of the accuracy, never the best.

    Raises
    ------
    UsageError
        If a run is given twice or is not evaluated, test images differ, or more than two runs differ in
        more than the seed.
    """
    if len(found) < 2 or len({run.path for run in found}) < len(found):
        raise UsageError("compare: give two or more different runs; see `fer list`")
    images, correct = zip(*(_predictions(run) for run in found), strict=True)
    for run, theirs in zip(found[1:], images[1:], strict=True):
        if theirs != images[0]:
            raise UsageError(
                f"{run.name}: its test images are not those of {found[0].name}; "
                "compare runs that were tested on the same images"
            )
    seeds = [run.parameters("transfer" if _of_transfer(run) else "training").seed for run in found]
    differing = sorted(set().union(*(_differences(found[0], run) for run in found[1:])))
    if len(found) > 2 and differing != ["seed"]:
        raise UsageError("compare: three or more runs must differ only in the seed; compare others in pairs")
    if differing == ["seed"] and len(set(seeds)) < len(seeds):
        raise UsageError("compare: a seed occurs twice; give each seed once")
    _print(found, seeds, correct, differing)


def _print(found: list[Run], seeds: list[int], correct: Sequence[np.ndarray], differing: list[str]) -> None:
    letters = [chr(ord("A") + i) if i < 26 else f"R{i + 1}" for i in range(len(found))]
    for letter, run, hits, seed in zip(letters, found, correct, seeds, strict=True):
        low, high = wilson_interval(int(hits.sum()), len(hits))
        say(f"{letter}  {run.name}  seed {seed}  {hits.mean():.1%} ({low:.1%} to {high:.1%})")
    print(f"{len(correct[0]):,} test images, 95% intervals; differing: {', '.join(differing) or 'nothing'}")
    if len(found) == 2:
        print(mcnemar(*correct, (letters[0], letters[1])).verdict)
    if differing == ["seed"]:
        values = [float(hits.mean()) for hits in correct]
        print(
            f"accuracy over {len(values)} seeds: mean {statistics.mean(values):.1%}, standard deviation "
            f"{100 * statistics.stdev(values):.1f} percentage points, {min(values):.1%} to {max(values):.1%}"
        )


def _differences(a: Run, b: Run) -> set[str]:
    """Names of parameters that differ, and "code of ..." or "environment of ..." where these do."""
    ours, theirs = a.document, b.document
    found = set()
    for stage, kind in STAGES.items():
        values = [document["parameters"].get(stage, {}) for document in (ours, theirs)]
        found |= {name for name in values[0] | values[1] if values[0].get(name) != values[1].get(name)}
        inputs = [document["stages"].get(stage, {}).get("inputs", {}) for document in (ours, theirs)]
        places = [document["stages"].get(stage, {}).get("machine", {}) for document in (ours, theirs)]
        if machine.differences(*places):
            found.add(f"machine of {kind.notebook}")
        found |= {
            f"{name} of {kind.notebook}"
            for name in ("code", "environment", "data")
            if inputs[0].get(name) != inputs[1].get(name)
        }
    return found


def _of_transfer(run: Run) -> bool:
    return "transfer" in run.stages


def _predictions(run: Run) -> tuple[list[tuple[str, str]], np.ndarray]:
    """Return name and true class of every test image, and whether the run was right about it."""
    stage = "transfer" if _of_transfer(run) else "evaluation"
    entry = run.require(stage)
    key = "tables/predictions.csv"
    if run.digest(key) != entry["outputs"].get(key, ""):
        raise UsageError(f"{run.name}: {key} is not what {STAGES[stage].notebook} wrote")
    column = "tuned_transfer 0" if stage == "transfer" else "predicted"
    try:
        content = read_regular(run.path / key, LARGEST_FILE).decode()
        table = csv.DictReader(io.StringIO(content, newline=""))
        rows = [(row["name"], row["label"], row[column]) for row in islice(table, MOST_IMAGES + 1)]
    except KeyError as error:
        raise UsageError(f"{run.name}: {key} has no column {error}; run its notebook again") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{run.name}: {key} is no table ({error}); run its notebook again") from error
    if len(rows) > MOST_IMAGES:
        raise UsageError(f"{run.name}: {key} has more than {MOST_IMAGES:,} rows; run its notebook again")
    if not rows or any(None in row for row in rows):
        raise UsageError(f"{run.name}: {key} has no rows or incomplete ones; run its notebook again")
    images = [row[:2] for row in rows]
    correct = np.array([said == ("1" if stage == "transfer" else label) for _, label, said in rows])
    tested_on = str((entry.get("inputs", {}).get("data") or [""])[-1])  # digest of the set
    return [(tested_on, ""), *images], correct
