"""The table of a study while it is being filled."""

from typing import Any

from fer_lib.files import write_text
from fer_tools.run.run import Run
from fer_tools.study import read
from fer_tools.study.read import Point, Study
from fer_tools.study.worker import EXECUTED

MEASURED = ("best_epoch", "onset_epoch", "val_accuracy", "val_loss")


class Results:
    """The rows of results.csv as they come in, by the points' keys."""

    def __init__(self, study: Study) -> None:
        self.study = study
        self.rows: dict[str, dict[str, Any]] = {}

    def set(self, point: Point, state: str, run: Run | None = None, error: str = "") -> None:
        """Set what became of a point."""
        row = {"run": run.name if run else ""}
        row |= {name: read.text(point.value(name)) for name in self.study.varied}
        row |= {"seed": point.value("seed"), "base": self.study.is_base(point)}
        row |= {"state": state, "error": " ".join(error.split())}
        metrics, document = (run.metrics, run.document) if run and state == "done" else ({}, {})
        row |= {name: metrics.get(f"overfitting.{name}") for name in MEASURED}
        row["parameters"] = metrics.get("model.parameters")
        done = [entry for name, entry in document.get("stages", {}).items() if name in EXECUTED]
        seconds = [entry["seconds"] for entry in done if "seconds" in entry]
        row["seconds"] = round(sum(seconds), 1) if seconds else None
        self.rows[point.key] = row | {"threads": document.get("threads")}

    def having(self, state: str) -> list[Point]:
        """Return the points of a state."""
        return [point for point in self.study.points if self.rows[point.key]["state"] == state]

    def write(self) -> None:
        """Write results.csv; a reader sees the old file or the new one."""
        import pandas as pd

        frame = pd.DataFrame([self.rows[point.key] for point in self.study.points])
        frame = frame.astype(dict.fromkeys(("best_epoch", "onset_epoch", "parameters", "threads"), "Int64"))
        write_text(self.study.folder / "results.csv", frame.to_csv(index=False, lineterminator="\n"))

    def best(self) -> tuple[float, Point] | None:
        """Return the highest validation accuracy of a point and a seed so far, and its point."""
        found = [(self.rows[point.key]["val_accuracy"], point) for point in self.having("done")]
        return max(found, key=lambda pair: pair[0], default=None)
