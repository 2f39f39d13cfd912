"""List runs side by side."""

from pathlib import Path
from typing import Any

from fer_lib.files import UsageError, columns
from fer_tools.console import complain, say
from fer_tools.metrics import is_number

LONGEST = 60  # characters of the name of a set of data
KEYS = {  # stage whose parameters tell of a run: metrics of its images, parameters, epochs, test accuracy
    "training": ("training.samples", "model.parameters", "training.epochs", "test.accuracy"),
    "transfer": (
        "transfer.images.train.total",
        "transfer.parameters",
        "transfer.epochs",
        "transfer.chosen_accuracy",
    ),
}
HEADER = ("run", "data", "samples", "epochs", "parameters", "test accuracy")


def arguments(parser: Any) -> None:
    """Describe what it takes."""


def action(_: Any) -> None:
    """Print one line per run, the newest first."""
    from fer_tools import paths
    from fer_tools.run import find

    rows = [HEADER]
    for run, document in find.all_runs():
        try:
            stage = next((name for name in KEYS if name in document["parameters"]), "training")
            measured = run.some_metrics(*KEYS[stage])
            given = document["parameters"].get(stage, {})
            rows.append((run.name, *_row(given, *(measured.get(key) for key in KEYS[stage]))))
        except UsageError as error:
            complain(f"passed over: {error}")
    for line in columns(rows, "<<>>>>"):
        say(line)
    if len(rows) == 1:
        print(f"no runs yet in {paths.results_folder()}; start one with `fer run`")


def _row(given: dict[str, Any], samples: Any, parameters: Any, epochs: Any, accuracy: Any) -> tuple[str, ...]:
    sources = [Path(str(given.get(key, ""))).name[:LONGEST] for key in ("data", "test_data")]
    return (
        " > ".join(filter(None, sources)) or "-",
        _shown(given.get("train_samples") if samples is None else samples, ","),
        _shown(given.get("epochs") if epochs is None else epochs, ""),
        _shown(parameters, ","),
        _shown(accuracy, ".1%"),
    )


def _shown(value: Any, form: str) -> str:
    """Format a number; what run.json has in its place is told by commands that need it."""
    return format(value, form) if is_number(value) else "-"
