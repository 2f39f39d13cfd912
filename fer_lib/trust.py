"""Is a run what it says it is? Checked file by file, executed again, compared with others.

Nothing is signed: who changes a file and its digest in run.json alike is found by `verify` alone.
"""

import csv
import re
import shutil
import statistics
from collections.abc import Iterator
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np

from fer_lib import evaluation, params, report
from fer_lib.files import UsageError, printable, say
from fer_lib.runs import STAGES, Edge, Run, create

ACCURACY = 0.02  # absolute: accuracy, balanced accuracy, macro F1 and their intervals
CLASS = 0.1  # absolute: precision, recall and F1 of a class; the border between two of them may shift
PART = 0.05  # absolute: what is of the twins, of bins of confidence
LOSS = 0.05  # relative to the larger: losses; the generalisation gap, relative to the validation loss
EPOCHS = 0.1  # of the epochs trained, at least one: the epoch kept, the onset of over-fitting


# -- check: every edge of the way from the report to the data ------------------------------------------


def edges(run: Run) -> Iterator[Edge]:
    """Go the whole way from the report of a run back to its data; see `fer_lib.runs.Edge`.

    Nothing is executed, and TensorFlow is not needed.
    """
    yield from report.edges(run.path)
    for stage in reversed(run.stages):
        yield from run.edges(stage)
    yield from run.strays()


def print_edges(found: list[Edge]) -> None:
    """Print an edge a line; figures, tables and checkpoints that are well, or missing, are counted."""
    rows: dict[tuple[str, str, str], int] = {}
    for edge in found:
        folder = _folder(edge) if edge.state in ("ok", "missing") else ""
        row = (edge.target if folder in ("", "notebooks/") else folder, edge.source, edge.state)
        rows[row] = rows.get(row, 0) + 1
    named = {row: row[0] + (f" ({count} files)" if count > 1 else "") for row, count in rows.items()}
    left, right = max(map(len, named.values())), max(len(source) for _, source, _ in rows)
    for row, target in named.items():
        say(f"{target:<{left}}  <-  {row[1]:<{right}}  {row[2]}")


def problems(found: list[Edge]) -> list[str]:
    """Say in lines what is wrong; files that are missing from one folder share a line, which names each."""
    lines: list[str] = []
    missing: dict[str, list[Edge]] = {}
    for edge in found:
        if edge.state == "missing":
            missing.setdefault(_folder(edge) or edge.target, []).append(edge)
        elif edge.state == "stale":
            lines.append(f"{edge.target}: {edge.reason}")
        elif edge.state == "altered":
            lines.append(edge.reason)
    for folder, edges in missing.items():
        names = ", ".join(edge.target.removeprefix(folder) for edge in edges)
        together = f"{folder}: {len(edges)} files are missing: {names}"
        lines.append(together if len(edges) > 1 else edges[0].reason)
    return lines


def _folder(edge: Edge) -> str:
    """Name the folder, with its slash, that an edge's target is in; "" where it is in none."""
    folder, slash, _ = edge.target.rpartition("/")
    return folder + slash


# -- verify: the same again ----------------------------------------------------------------------------


def verify(run: Run) -> str:
    """Execute a run again from its run.json, in a folder of its own, and compare all that notebooks write.

    Prints the metrics and files that differ. A file that the run no longer has is compared by what run.json
    says of it. On the same machine with the same software, every byte is expected to be the same. Other
    processors and versions add up floating-point numbers in another order, and training amplifies the last
    digit from step to step: what comes out then is like what another order of the same training batches
    gives. So "equal within tolerance" allows:

    - 0.02 for accuracy, balanced accuracy, macro F1 and the ends of their intervals. That is about two
      standard errors of an accuracy of 85 % on 1,500 images (0.009 each);
    - 0.1 for precision, recall and F1 of a class, which exchange images with each other;
    - 0.05 for what else rests on a part of the images: copies of training images, calibration error;
    - 5 % for losses, and a tenth of the epochs for the epoch kept and the onset of over-fitting.

    Counts, names, parameters and everything about data have to be equal. Sentences are not compared, as
    they say the numbers again, nor are the numbers in the rule of over-fitting, which follow from the losses.

    Measured: the assignment's training on the bundled faces, again with TensorFlow's oneDNN kernels switched
    off, differed by 0.001 in accuracy, 3.0 % in loss and 0.030 in the recall of a class; one of 12 epochs on
    3,000 images, right in 56 % and far from done, by 0.007, 1.1 % and 0.076. On a few images a tolerance
    means little: one of 60 is 0.017.

    Returns
    -------
    "identical", "equal within tolerance" or "different"; only in the last case the other run is kept.

    Raises
    ------
    UsageError
        If the run is not finished, or cannot be executed again: its data are gone, for example.
    """
    from fer_lib import pipeline

    document = run.document
    for stage in run.stages:
        if document["stages"].get(stage, {}).get("status") != "done":
            raise UsageError(
                f"{run.name}: {STAGES[stage].notebook} is not finished; `fer run --resume {run.name}`"
            )
    parameters = {stage: params.plain(run.parameters(stage)) for stage in run.stages}
    for line in problems(list(edges(run))):
        say(f"before: {line}")
    folder, verdict = Path(mkdtemp(prefix="fer-verify-")), ""
    try:
        with pipeline.environment("FER_RESULTS", str(folder)):
            # The report quotes the name, and the folder may be called otherwise now. It is somebody's text.
            name = Path(printable(document["name"])).name
            again = create(re.sub(r"_timestamp_\d+$", "", name))
            again.update(parameters=parameters, threads=document.get("threads"))
            pipeline.execute(again)
        if (run.path / "report.pdf").exists():
            again.update(git=document.get("git"))  # the report quotes it; edges() has compared the code
            report.build(again.path)
        verdict = _compare_bytes_and_metrics(run, again)
    finally:
        if verdict != "different":
            shutil.rmtree(folder, ignore_errors=True)
    if verdict == "different":
        print(f"the other run is kept in {again.path}")
    return verdict


def _compare_bytes_and_metrics(run: Run, again: Run) -> str:
    ours, theirs = run.metrics, again.metrics
    differing = sorted(key for key in ours | theirs if _missing(ours, key) != _missing(theirs, key))
    epochs = run.parameters("training").epochs
    verdicts = {key: tolerated(key, ours.get(key), theirs.get(key), epochs) for key in differing}
    width = max(map(len, differing), default=0)
    for key, near in verdicts.items():
        state = "equal within tolerance" if near else "different"
        say(f"{key:<{width}}  {_short(_missing(ours, key))} -> {_short(_missing(theirs, key))}  {state}")
    print(f"metrics: {len(ours.keys() | theirs.keys()) - len(differing)} identical, {len(differing)} not")

    files: dict[str, list[str]] = {}
    recorded = _recorded(run)
    for key in sorted(recorded | _recorded(again)):
        folder, slash, _ = key.rpartition("/")
        # Of a run that gave files away, like results/reference, run.json still knows what they were.
        same = (run.digest(key) or recorded.get(key)) == again.digest(key) is not None
        files.setdefault(folder + slash or key, []).append("" if same else key)
    for kind, keys in files.items():
        other = [key for key in keys if key]
        say(f"{kind}: {len(keys) - len(other)} of {len(keys)} identical")
        for key in other:
            say(f"  {key}")
    if not all(verdicts.values()):
        return "different"
    unequal = differing or any(any(keys) for keys in files.values())
    return "equal within tolerance" if unequal else "identical"


def _recorded(run: Run) -> dict[str, str | None]:
    """Give the files that are compared and the digests in run.json, which knows none of the report's."""
    stages = run.document["stages"].values()
    written = {key: digest for entry in stages for key, digest in entry.get("outputs", {}).items()}
    written.pop("metrics.json", None)
    return written | {name: None for name in ("report.pdf", "report.tex") if (run.path / name).exists()}


def _missing(metrics: dict[str, Any], key: str) -> Any:
    return metrics.get(key, "(missing)")


def _short(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)[:60]


def tolerated(key: str, a: Any, b: Any, epochs: int) -> bool:
    """Tell whether two values of a metric are equal within the tolerance that `verify` states.

    Parameters
    ----------
    key : str
        Of metrics.json.
    a, b : number, text, boolean or None
    epochs : int
        That were trained.
    """
    if a == b or key.endswith("sentence"):
        return True
    if key == "overfitting.rule":  # it says how far the losses of this training scatter
        a, b = (re.sub(r"\d+(\.\d+)?", "#", str(value)) for value in (a, b))
        return a == b
    if any(isinstance(value, bool) or not isinstance(value, int | float) for value in (a, b)):
        return False
    stage, _, name = key.partition(".")
    if key in ("overfitting.best_epoch", "overfitting.onset_epoch"):
        return abs(a - b) <= max(1, EPOCHS * epochs)
    trained = stage in ("overfitting", "test") or name.startswith("final_")
    if not trained or isinstance(a, int) or isinstance(b, int):
        return False
    if "gap" in name:
        return abs(a - b) <= LOSS
    if "loss" in name:
        return abs(a - b) <= LOSS * max(abs(a), abs(b))
    if re.match(r"(precision|recall|f1)\.", name):
        return abs(a - b) <= CLASS
    return abs(a - b) <= (PART if re.match(r"twins|without_twins|ece$", name) else ACCURACY)


# -- compare: two runs on the same test images, or several seeds ---------------------------------------


def compare(found: list[Run]) -> None:
    """Print the accuracies of runs with their intervals, and what may be said of the difference.

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
    seeds = [run.parameters("training").seed for run in found]
    differing = sorted(set().union(*(_differences(found[0], run) for run in found[1:])))
    if len(found) > 2 and differing != ["seed"]:
        raise UsageError("compare: more than two runs may differ in their seed only; compare them by twos")
    if differing == ["seed"] and len(set(seeds)) < len(seeds):
        raise UsageError("compare: a seed occurs twice, which says nothing of the spread; give each once")
    letters = [chr(ord("A") + i) if i < 26 else f"R{i + 1}" for i in range(len(found))]
    for letter, run, hits, seed in zip(letters, found, correct, seeds, strict=True):
        low, high = evaluation.wilson_interval(int(hits.sum()), len(hits))
        say(f"{letter}  {run.name}  seed {seed}  {hits.mean():.1%} ({low:.1%} to {high:.1%})")
    print(f"{len(correct[0]):,} test images, 95% intervals; differing: {', '.join(differing) or 'nothing'}")
    if len(found) == 2:
        print(evaluation.mcnemar(*correct, (letters[0], letters[1])).verdict)
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
        found |= {
            f"{name} of {kind.notebook}"
            for name in ("code", "environment", "data")
            if inputs[0].get(name) != inputs[1].get(name)
        }
    return found


def _predictions(run: Run) -> tuple[list[tuple[str, str]], np.ndarray]:
    """Return name and true class of every test image, and whether the run was right about it."""
    entry = run.document["stages"].get("evaluation", {})
    if entry.get("status") != "done":
        raise UsageError(f"{run.name}: no evaluation yet; `fer run --resume {run.name}`")
    key = "tables/predictions.csv"
    if run.digest(key) != entry["outputs"].get(key, ""):
        raise UsageError(f"{run.name}: {key} is not what {STAGES['evaluation'].notebook} wrote")
    try:
        with open(run.path / key, encoding="utf-8", newline="") as handle:
            rows = [(row["name"], row["label"], row["predicted"]) for row in csv.DictReader(handle)]
    except KeyError as error:
        raise UsageError(f"{run.name}: {key} has no column {error}; run its notebook again") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{run.name}: {key} is no table ({error}); run its notebook again") from error
    if not rows or any(None in row for row in rows):
        raise UsageError(f"{run.name}: {key} has no rows or incomplete ones; run its notebook again")
    images = [row[:2] for row in rows]
    correct = np.array([label == predicted for _, label, predicted in rows])
    tested_on = str((entry.get("inputs", {}).get("data") or [""])[-1])  # digest of the set
    return [(tested_on, ""), *images], correct
