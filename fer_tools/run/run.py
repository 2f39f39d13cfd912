"""A run: the directory that the notebooks fill and the report quotes.

results/<model>_<epochs>_epochs_timestamp_<unix time>/
run.json      parameters, digests, versions, git commit, durations
metrics.json  every number, flat: "test.accuracy": 0.7391
history.csv   loss and accuracy, one line per epoch
figures/ tables/ notebooks/ checkpoints/
results/<same name>.keras   the model saved just before over-fitting
"""

import os
from pathlib import Path
from typing import Any

from fer_lib.files import UsageError, sha256_of_file
from fer_tools import checking, metrics
from fer_tools.json_files import read_json, sha256_of_json, write_json
from fer_tools.run import document, tree
from fer_tools.stages import STAGES, consisting

MODEL = "model.keras"  # key of the chosen model, whatever its file is called


class Run:
    """One run directory, for reading; `fer_tools.run.stage.begin` opens a stage of one for writing."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __repr__(self) -> str:
        return f"Run {self.name}"

    @property
    def name(self) -> str:
        """Name of the directory."""
        return self.path.name

    @property
    def model_path(self) -> Path:
        """Where the chosen model is kept: beside the directory, or in it if it is an excerpt."""
        inside = self.path / MODEL
        if os.path.lexists(inside) and self.excerpt:
            return inside
        return self.path.with_name(f"{self.name}.keras")

    @property
    def document(self) -> dict[str, Any]:
        """What run.json says; see `fer_tools.run.document.read`."""
        return document.read(self.path)

    @property
    def metrics(self) -> dict[str, Any]:
        """What metrics.json says; empty before the first stage.

        Raises
        ------
        UsageError
            If it is not an object of numbers, texts, booleans and None.
        """
        path = self.path / "metrics.json"
        found = read_json(path) if os.path.lexists(path) else {}
        if not isinstance(found, dict) or any(isinstance(value, dict | list) for value in found.values()):
            raise UsageError(f"{path}: not an object of single values; restore it or run it anew")
        return found

    def metric(self, key: str) -> Any:
        """Return a number, text, boolean or None of metrics.json.

        Raises
        ------
        UsageError
            If it is missing, or not what a metric of this name is.
        """
        return self.some_metrics(key, missing=False)[key]

    def some_metrics(self, *keys: str, missing: bool = True) -> dict[str, Any]:
        """Return those of some metrics that are there; all have to be, unless some may be missing.

        Raises
        ------
        UsageError
            As in `metric`.
        """
        everything = self.metrics
        found = {key: everything[key] for key in keys if key in everything}
        reasons = [f"metric {key} is missing" for key in keys if not missing and key not in found]
        for reason in (*reasons, *(metrics.wrong(key, value) for key, value in found.items())):
            if reason:
                path = self.path / "metrics.json"
                raise UsageError(f"{path}: {reason}; restore it, or run its notebook again")
        return found

    @property
    def excerpt(self) -> bool:
        """Whether run.json says that files of this run were left out on purpose."""
        return self.document.get("excerpt") is True

    @property
    def stages(self) -> list[str]:
        """Names of the stages that this run consists of, in order."""
        return consisting(self.document["parameters"])

    @property
    def finished(self) -> list[str]:
        """Names of those that are done, in order."""
        entries = self.document["stages"]
        return [name for name in self.stages if entries.get(name, {}).get("status") == "done"]

    def parameters(self, stage: str) -> Any:
        """Return the parameters with which a stage of this run was executed.

        Raises
        ------
        UsageError
            If it has not been executed.
        """
        try:
            values = self.document["parameters"][stage]
        except KeyError:
            raise UsageError(f"{self.name}: no {stage} yet; run {STAGES[stage].notebook} first") from None
        return checking.build(stage, values)

    def require(self, stage: str) -> dict[str, Any]:
        """Return what run.json says of a stage that is finished.

        Raises
        ------
        UsageError
            If it is not.
        """
        entry = self.document["stages"].get(stage, {})
        if entry.get("status") != "done":
            raise UsageError(
                f"{self.name}: {STAGES[stage].notebook} is not finished; `fer run --resume {self.name}`"
            )
        return entry

    def require_whole(self) -> None:
        """Refuse to add anything to an excerpt.

        Raises
        ------
        UsageError
            If this is one.
        """
        if self.excerpt:
            raise UsageError(
                f"{self.name}: an excerpt of a run, without all of its files, so nothing is added to it; "
                f"`fer verify {self.name}` executes it again in a folder of its own"
            )

    def update(self, **values: Any) -> None:
        """Set top-level entries of run.json."""
        write_json(self.path / "run.json", self.document | values)

    def set_stage(self, stage: str, entry: dict[str, Any]) -> None:
        """Set what run.json says of a stage."""
        self.update(stages=self.document["stages"] | {stage: entry})

    def files(self) -> list[str]:
        """Return the names of the files that a notebook writes, or is; not those that are being written."""
        found = [
            path
            for pattern in ("figures/*", "tables/*", "checkpoints/*.keras", "notebooks/*.ipynb")
            for path in self.path.glob(pattern)
        ]
        return sorted(self.key(path) for path in found if not path.name.startswith("."))

    def key(self, path: Path) -> str:
        """Return the name of an output, the same in every run."""
        return MODEL if path == self.model_path else path.relative_to(self.path).as_posix()

    def digest(self, key: str) -> str | None:
        """Return the digest of an output as it is now, by its name in run.json; None where it is missing."""
        path = self.model_path if key == MODEL else self.path / key
        return sha256_of_file(path, tree.LARGEST_FILE) if os.path.lexists(path) else None

    def metrics_digest(self, stage: str) -> str:
        """Return the digest of the metrics that a stage recorded."""
        own = {key: value for key, value in self.metrics.items() if key.startswith(STAGES[stage].prefixes)}
        return sha256_of_json(own)
