"""The same again: a run is executed once more, and all that its notebooks write is compared."""

import re
import shutil
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from fer_lib.files import printable, say
from fer_tools import checking
from fer_tools.checks import check
from fer_tools.report import build
from fer_tools.run import find
from fer_tools.run.run import Run

ACCURACY = 0.02  # absolute: accuracy, balanced accuracy, macro F1 and their intervals
CLASS = 0.1  # absolute: precision, recall and F1 of a class; the border between two of them may shift
PART = 0.05  # absolute: what is of the twins, of bins of confidence
LOSS = 0.05  # relative to the larger: losses; the generalisation gap, relative to the validation loss
EPOCHS = 0.1  # of the epochs trained, at least one: the epoch kept, the onset of over-fitting


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
    from fer_tools import pipeline

    document = run.document
    for stage in run.stages:
        run.require(stage)
    parameters = {stage: checking.plain(run.parameters(stage)) for stage in run.stages}
    for line in check.problems(list(check.edges(run))):
        say(f"before: {line}")
    folder, verdict = Path(mkdtemp(prefix="fer-verify-")), ""
    try:
        with pipeline.environment("FER_RESULTS", str(folder)):
            # The report quotes the name, and the folder may be called otherwise now. It is somebody's text.
            name = Path(printable(document["name"])).name
            again = find.create(re.sub(r"_timestamp_\d+$", "", name))
            again.update(parameters=parameters, threads=document.get("threads"))
            pipeline.execute(again)
        if (run.path / "report.pdf").exists():
            again.update(git=document.get("git"))  # the report quotes it; edges() has compared the code
            build.build(again.path)
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
