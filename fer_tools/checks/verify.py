"""Execute a run once more and compare all that its notebooks write."""

import math
import re
from pathlib import Path
from typing import Any

from fer_lib.files import columns, printable, read_regular
from fer_tools import checking, environment, metrics, paths, scratch
from fer_tools.checks import check
from fer_tools.console import say
from fer_tools.report import build
from fer_tools.run import find, tree
from fer_tools.run.edges import Edge
from fer_tools.run.run import Run
from fer_tools.stages import STAGES

ACCURACY = 0.02  # absolute: accuracy, balanced accuracy, macro F1 and their intervals
CLASS = 0.1  # absolute: precision, recall and F1 of a class; the border between two of them may shift
PART = 0.05  # absolute: what rests on a part of the test images: copies of training images, calibration error
LOSS = 0.05  # relative to the larger: losses; absolute: the generalisation gap
OTHER_TEXT = ("stale", "left out")  # states of a report of which nobody can say that its text is that of now
EPOCHS = 0.1  # of the epochs trained, at least one: the epoch kept, the onset of over-fitting


def verify(run: Run) -> str:
    """Execute a run again from its run.json, in a folder of its own, and compare all that notebooks write.

    Print the metrics and files that differ. A file that the run no longer has, as in an excerpt, is compared
    by its digest in run.json. On the same machine with the same software, every byte is expected to be the
    same. Other processors and versions add up floating-point numbers in another order, and training amplifies
    the last digit from step to step: the result is like that of another order of the same training batches.
    So "equal within tolerance" allows:

    - 0.02 for accuracy, balanced accuracy, macro F1 and the ends of their intervals. That is about two
      standard errors of an accuracy of 85 % on 1,500 images (0.009 each);
    - 0.1 for precision, recall and F1 of a class, which exchange images with each other;
    - 0.05 for what else rests on a part of the images: copies of training images, calibration error;
    - 0.05 for accuracies of another topic and their differences, anything for what follows from these;
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
    from fer_tools import pipeline

    document = run.document
    for stage in run.stages:
        run.require(stage)
    parameters = {stage: checking.plain(run.parameters(stage)) for stage in run.stages}
    found = list(check.edges(run))
    for line in check.problems(found) + check.remarks(found):
        say(f"before: {line}")
    pipeline.check_data(parameters)
    with scratch.folder() as folder:
        _take_along(parameters, folder)
        with environment.variable("FER_RESULTS", str(folder)):
            # The report quotes the name, and the folder may be called otherwise now. It is somebody's text.
            name = Path(printable(document["name"])).name
            again = find.create(re.sub(r"_timestamp_\d+$", "", name))
            again.update(parameters=parameters, threads=document.get("threads"))
            pipeline.execute(again)
        if run.digest("report.pdf"):
            again.update(git=document.get("git"))  # the report quotes it; edges() has compared the code
            build.build(again.path, build.source_of(run))
        near, same = _compare_metrics(run, again), _compare_files(run, again, found)
        if not all(near):
            print(f"the other run is kept in {scratch.kept(folder, 'verify') / again.name}")
            return "different"
        return "equal within tolerance" if near or not same else "identical"


def _take_along(parameters: dict[str, dict[str, Any]], folder: Path) -> None:
    """Copy what stages read and is kept among the runs, such as traces, to the same place in a folder."""
    results = paths.results_folder()
    for stage, values in parameters.items():
        if files := STAGES[stage].files:
            for path in files(checking.build(stage, values)).values():
                if path.is_relative_to(results):
                    copy = folder / path.relative_to(results)
                    copy.parent.mkdir(parents=True, exist_ok=True)
                    copy.write_bytes(read_regular(path, tree.LARGEST_FILE))


def _compare_metrics(run: Run, again: Run) -> list[bool]:
    """Print the metrics that differ; return for each whether it is within tolerance."""
    ours, theirs = run.metrics, again.metrics
    epochs = run.parameters("training").epochs if "training" in run.stages else 0
    both = {key: (ours.get(key, "(missing)"), theirs.get(key, "(missing)")) for key in sorted(ours | theirs)}
    near = {key: tolerated(key, *pair, epochs) for key, pair in both.items() if pair[0] != pair[1]}
    states = {True: "equal within tolerance", False: "different"}
    rows = [(key, " -> ".join(map(_short, both[key])), states[ok]) for key, ok in near.items()]
    for line in columns(rows, "<<<"):
        say(line)
    print(f"metrics: {len(both) - len(near)} identical, {len(near)} not")
    return list(near.values())


def _short(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)[:60]


def _compare_files(run: Run, again: Run, found: list[Edge]) -> bool:
    """Print how many files are identical, and the others' names; return whether all are.

    A report is compared if it was built from the text and templates of now: no notebook writes those.
    """
    reports = {name: digest for name in ("report.pdf", "report.tex") if (digest := run.digest(name))}
    built = [edge for edge in found if edge.target in ("report", "report.json") and edge.state in OTHER_TEXT]
    if reports and built:
        say(f"{', '.join(reports)}: not compared ({built[0].reason})")
        reports = {}
    recorded = _recorded(run) | reports
    folders: dict[str, list[str]] = {}
    same = {
        key: (run.digest(key) or recorded.get(key)) == again.digest(key) is not None
        for key in sorted(recorded | _recorded(again))
    }
    for key in same:
        folder, slash, _ = key.rpartition("/")
        folders.setdefault(folder + slash or key, []).append(key)
    for folder, keys in folders.items():
        other = [key for key in keys if not same[key]]
        say(f"{folder}: {len(keys) - len(other)} of {len(keys)} identical")
        for key in other:
            say(f"  {key}")
    return all(same.values())


def _recorded(run: Run) -> dict[str, str]:
    """Return what run.json says of the files that notebooks wrote; metrics are compared one by one."""
    entries = run.document["stages"].values()
    written = {key: digest for entry in entries for key, digest in entry.get("outputs", {}).items()}
    return {key: digest for key, digest in written.items() if key != "metrics.json"}


def tolerated(key: str, a: Any, b: Any, epochs: int) -> bool:
    """Return whether two values of a metric are equal within the tolerance that `verify` states.

    Parameters
    ----------
    key : str
        Key of metrics.json.
    a, b : number, text, boolean or None
    epochs : int
        Number of epochs trained.
    """
    if a == b or key.endswith("sentence"):
        return True
    if key == "overfitting.rule":  # it says how far the losses of this training scatter
        a, b = (re.sub(r"\d+(\.\d+)?", "#", str(value)) for value in (a, b))
        return a == b
    if not all(metrics.is_number(value) for value in (a, b)):
        return False
    return abs(a - b) <= _tolerance(key, a, b, epochs)


def _tolerance(key: str, a: float, b: float, epochs: int) -> float:
    stage, _, name = key.partition(".")
    if stage == "transfer":  # what follows from few differing images may be anything
        return PART if re.search(r"accuracy|difference|lowest|highest|spread", name) else math.inf
    if key in ("overfitting.best_epoch", "overfitting.onset_epoch"):
        return max(1, EPOCHS * epochs)
    trained = stage in ("overfitting", "test") or name.startswith("final_")
    if not trained or isinstance(a, int) or isinstance(b, int):
        return 0
    if "gap" in name:
        return LOSS
    if "loss" in name:
        return LOSS * max(abs(a), abs(b))
    if re.match(r"(precision|recall|f1)\.", name):
        return CLASS
    return PART if re.match(r"twins|without_twins|ece$", name) else ACCURACY
