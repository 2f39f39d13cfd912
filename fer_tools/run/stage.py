"""A stage that is open for writing: `begin`, then record, keep, save, then `finish`."""

import math
import os
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np

import fer_lib
from fer_lib.files import UsageError, atomic_path, sha256_of_file, write_text
from fer_tools import checking, metrics
from fer_tools.json_files import write_json
from fer_tools.run import find, machine, provenance
from fer_tools.run.run import Run
from fer_tools.stages import STAGES

# Set by `fer run` in its kernels: it keeps the executed notebook, with which the stage is complete.
KEEPS_NOTEBOOK = "FER_KEEPS_NOTEBOOK"


class OpenStage(Run):
    """A run of which one stage is being executed; see `begin`."""

    def __init__(self, path: Path, stage: str) -> None:
        super().__init__(path)
        self.stage = stage
        self._clock = time.perf_counter()
        self._written: set[Path] = set()

    def record(self, prefix: str, values: dict[str, Any]) -> None:
        """Add numbers to metrics.json under `prefix.`; the prefix must belong to the open stage.

        Raises
        ------
        UsageError
            If the prefix is another stage's, a value is not a finite number, text, boolean or None, or it is
            not what its key says; see `fer_tools.metrics`.
        """
        if f"{prefix}." not in STAGES[self.stage].prefixes:
            raise UsageError(
                f"metric {prefix}.*: belongs to another notebook than {STAGES[self.stage].notebook}"
            )
        new = {f"{prefix}.{key}": _plain(f"{prefix}.{key}", value) for key, value in values.items()}
        for key, value in new.items():
            if reason := metrics.wrong(key, value):
                raise UsageError(reason)
        write_json(self.path / "metrics.json", self.metrics | new)

    def keep(self, *paths: Path) -> None:
        """Count files as written by this stage: `finish` records their digests."""
        self._written.update(paths)

    def save_figure(self, name: str, figure: Any) -> Any:
        """Keep a figure as figures/<name>.svg and .pdf, and return it for display."""
        from fer_lib.figures import style

        stem = self.path / "figures" / name
        style.save(figure, stem)
        self.keep(stem.with_suffix(".svg"), stem.with_suffix(".pdf"))
        return figure

    def save_table(self, name: str, table: Any) -> Any:
        """Keep a pandas table as tables/<name>.csv, and return it for display."""
        path = self.path / "tables" / f"{name}.csv"
        write_text(path, table.to_csv(index=False, lineterminator="\n"))
        self.keep(path)
        return table

    def keep_model(self, epoch: int) -> None:
        """Copy an epoch's checkpoint to `results/<run>.keras`, the model of this run."""
        with atomic_path(self.model_path) as temporary:
            shutil.copyfile(self.path / "checkpoints" / f"epoch_{epoch:03d}.keras", temporary)
        self.keep(self.model_path)
        self.update(model_file=f"results/{self.model_path.name}")
        print(f"epoch {epoch} is kept as {self.model_path.name}")

    def finish(self) -> None:
        """Close the stage, and record its outputs with their digests, and how long it took."""
        outputs = {self.key(path): sha256_of_file(path) for path in sorted(self._written)}
        outputs["metrics.json"] = self.metrics_digest(self.stage)
        begun = self.document["stages"][self.stage]
        seconds = round(begun["spent"] + time.perf_counter() - self._clock, 1)
        for key in set(begun.get("replaces", [])) & set(self.files()):
            if key not in outputs:  # of an earlier execution, with other data perhaps
                (self.path / key).unlink()
        entry = {
            "status": "done",
            "inputs": provenance.inputs(self, self.stage),
            "seconds": seconds,
            "outputs": outputs,
        } | {key: begun[key] for key in ("git", "machine") if key in begun}
        if os.environ.get(KEEPS_NOTEBOOK):
            self.set_stage(self.stage, entry | {"notebook": None})
        else:
            self.set_stage(self.stage, entry)
            forget_state(self)
        print(f"{self.stage} done")


def begin(stage: str, chosen: Any) -> OpenStage:
    """Open a stage of a run: the one named by its parameter `run`, or the one that fits.

    Without a name, a notebook that reads what others wrote takes the newest run that has it; the others start
    a new run.

    Parameters
    ----------
    stage : str
        One of `STAGES`.
    chosen : dataclass of `fer_tools.parameters`
        The stage's parameters.
    """
    kind = STAGES[stage]
    if chosen.run:
        run = find.open_run(chosen.run)
    elif kind.reads:
        run = find.newest(kind.reads)
    else:
        run = find.create(getattr(chosen, "label", stage))
    run.require_whole()
    if fer_lib.MISSED:
        raise UsageError(
            "keras or tensorflow was imported before fer_lib, with other settings than those of a run "
            f"({', '.join(fer_lib.MISSED)}); restart the kernel and import fer_lib first"
        )
    document = run.document
    for name in kind.reads:
        if document["stages"].get(name, {}).get("status") != "done":
            raise UsageError(f"{run.name}: no {name} yet; run notebook {STAGES[name].notebook} first")
    opened = OpenStage(run.path, stage)
    opened.update(parameters=document["parameters"] | {stage: checking.plain(chosen)})
    inputs = provenance.inputs(opened, stage)
    before = document["stages"].get(stage, {})
    # One that was finished is executed again because an output was changed: nothing of it is trusted.
    finished = before.get("status") == "done" and before.get("notebook", "") is not None
    # A stage that was interrupted keeps its checkpoints only if it would do the same again.
    here = machine.describe()
    other = before.get("inputs") != inputs or machine.differences(before.get("machine"), here)
    if kind.resumes and (other or finished):
        for path in (opened.path / "checkpoints").glob("*"):
            if path.is_file():
                path.unlink()
    others = {key: value for key, value in opened.metrics.items() if not key.startswith(kind.prefixes)}
    write_json(opened.path / "metrics.json", others)
    spent, kept = 0.0, [path.stat().st_mtime for path in _states(opened)]
    if kind.resumes and kept:  # an interrupted training goes on; what it took so far counts
        spent = before.get("spent", 0.0) + max(max(kept) - before.get("begun", find.LATEST), 0.0)
    replaces = sorted(before.get("outputs", before.get("replaces", [])))
    place = {"git": provenance.git_state(), "machine": here}
    running = {"status": "running", "inputs": inputs, "replaces": replaces}
    opened.set_stage(stage, running | place | {"begun": time.time(), "spent": spent})
    opened.update(versions=provenance.versions(), **place)
    print(opened.name)
    return opened


def keep_notebook(run: Run, stage: str) -> None:
    """Record the digest of the executed notebook, with which a stage of `fer run` is complete."""
    digest = sha256_of_file(run.path / provenance.executed_notebook(stage))
    run.set_stage(stage, run.require(stage) | {"notebook": digest})
    forget_state(run)


def forget_state(run: Run) -> None:
    """Remove the state from which an interrupted training goes on: a finished one begins afresh."""
    for path in _states(run):
        path.unlink(missing_ok=True)


def _states(run: Run) -> list[Path]:
    """Return the files from which an interrupted stage goes on."""
    return list((run.path / "checkpoints").glob("[!.]*.npz"))


def _plain(key: str, value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    raise UsageError(f"metric {key} = {value!r}: not a finite number, text, boolean or None")
