"""List runs side by side."""

from pathlib import Path
from typing import Any

from fer_lib.files import UsageError, columns
from fer_tools.console import complain, say
from fer_tools.metrics import is_number

LONGEST = 60  # characters of the name of a set of data
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
            measured = run.some_metrics("training.samples", "model.parameters", "test.accuracy")
            rows.append((run.name, *_row(document["parameters"].get("training", {}), measured)))
        except UsageError as error:
            complain(f"passed over: {error}")
    for line in columns(rows, "<<>>>>"):
        say(line)
    if len(rows) == 1:
        print(f"no runs yet in {paths.results_folder()}; start one with `fer run`")


def _row(trained: dict[str, Any], measured: dict[str, Any]) -> tuple[str, ...]:
    sources = [Path(str(trained.get(key, ""))).name[:LONGEST] for key in ("data", "test_data")]
    samples = measured.get("training.samples", trained.get("train_samples"))
    return (
        " > ".join(filter(None, sources)) or "-",
        _shown(samples, ","),
        _shown(trained.get("epochs"), ""),
        _shown(measured.get("model.parameters"), ","),
        _shown(measured.get("test.accuracy"), ".1%"),
    )


def _shown(value: Any, form: str) -> str:
    """Format a number; what run.json has in its place is told by commands that need it."""
    return format(value, form) if is_number(value) else "-"
