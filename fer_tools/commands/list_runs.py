"""List runs side by side."""

from pathlib import Path
from typing import Any

from fer_lib.files import UsageError, columns, complain, say

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
            rows.append((run.name, *_row(document["parameters"].get("training", {}), run.metrics)))
        except UsageError as error:
            complain(f"passed over: {error}")
    for line in columns(rows, "<<>>>>"):
        say(line)
    if len(rows) == 1:
        print(f"no runs yet in {paths.results_folder()}; start one with `fer run`")


def _row(trained: dict[str, Any], metrics: dict[str, Any]) -> tuple[str, ...]:
    sources = [Path(str(trained.get(key, ""))).name for key in ("data", "test_data")]
    samples = metrics.get("training.samples", trained.get("train_samples"))
    return (
        " > ".join(filter(None, sources)) or "-",
        _shown(samples, ","),
        str(trained.get("epochs", "-")),
        _shown(metrics.get("model.parameters"), ","),
        _shown(metrics.get("test.accuracy"), ".1%"),
    )


def _shown(value: Any, form: str) -> str:
    return format(value, form) if isinstance(value, int | float) else "-"
