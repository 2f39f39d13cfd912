"""A run: the directory that the notebooks fill and the report quotes.

results/<model>_<epochs>_epochs_timestamp_<unix time>/
run.json      parameters, digests, versions, git commit, durations
metrics.json  every number, flat: "test.accuracy": 0.7391
history.csv   loss and accuracy, a line an epoch
figures/ tables/ notebooks/ checkpoints/
results/<same name>.keras   the model saved just before over-fitting
"""

import json
import math
import os
import platform
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, fields
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from fer_lib import params, source_code
from fer_lib.files import (
    UsageError,
    atomic_path,
    complain,
    read_json,
    sha256_if_there,
    sha256_of,
    sha256_of_file,
    write_json,
    write_text,
)

ROOT = Path(__file__).resolve().parent.parent
LATEST = 2**32 - 10_000  # seconds: a name that says a later time is no clock's
PACKAGES = ("tensorflow", "keras", "numpy", "pandas", "matplotlib", "seaborn", "papermill", "pillow")


@dataclass(frozen=True)
class Stage:
    """A notebook as a step of the run: what it writes, and which stages it reads."""

    notebook: str
    prefixes: tuple[str, ...]
    reads: tuple[str, ...] = ()
    reads_data: bool = True
    optional: bool = False  # part of those runs only that have parameters for it


@dataclass(frozen=True)
class Edge:
    """A step of the way from the report back to the data: `target` was made from `source`.

    Attributes
    ----------
    target, source : str
        A file of the run, a notebook, or what a notebook depends on.
    state : str
        "ok"; "stale", where it would come out otherwise now; "altered", where it is not what was made;
        "missing", where it was made and is no longer there; "absent", where it was never made.
    reason : str
        What is wrong, in one line.
    """

    target: str
    source: str
    state: str = "ok"
    reason: str = ""

    @classmethod
    def judge(cls, well: object, target: str, source: str, state: str, reason: str) -> "Edge":
        """Make an edge that is ok if `well`, and else has the state and the reason."""
        return cls(target, source) if well else cls(target, source, state, reason)

    @classmethod
    def of_file(cls, now: str | None, then: str, target: str, source: str, made: str) -> "Edge":
        """Make an edge to a file from its digest `now`, None where it is missing, and `then`, when made."""
        if now is None:
            return cls(target, source, "missing", f"{target} is missing ({source} made it)")
        return cls.judge(now == then, target, source, "altered", f"{target} is not what {made}")


STAGES = {
    "exploration": Stage("01_exploration", ("data.",)),
    "training": Stage("02_training", ("model.", "training.")),
    "overfitting": Stage("03_overfitting", ("overfitting.",), ("training",), reads_data=False),
    "evaluation": Stage("04_evaluation", ("test.",), ("training", "overfitting")),
    "optimisation": Stage("05_optimisation", ("study.",), reads_data=False, optional=True),
}
REQUIRED = tuple(name for name, stage in STAGES.items() if not stage.optional)


def results_folder() -> Path:
    """Where runs live: the environment variable FER_RESULTS, or `results/` of the checkout."""
    return Path(os.environ.get("FER_RESULTS") or ROOT / "results").resolve()


def study_table(name: str) -> Path:
    """Find the table of a study: among the runs, or else among those that come with the repository.

    Raises
    ------
    UsageError
        If there is none.
    """
    folders = [folder / f"{name}_study" for folder in (results_folder(), ROOT / "results")]
    for folder in folders:
        if params.STUDY_NAME.fullmatch(name) and (folder / "results.csv").is_file():
            return folder / "results.csv"
    raise UsageError(f"study {name!r}: none in {folders[0]}; `fer sweep STUDY.yaml` makes one")


def notebook_path(stage: str) -> Path:
    """Return the path of a stage's notebook."""
    return ROOT / "notebooks" / f"{STAGES[stage].notebook}.ipynb"


class Run:
    """One run directory; a stage is opened by `begin` and closed by `finish`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.stage = ""
        self._clock = 0.0
        self._written: set[Path] = set()

    def __repr__(self) -> str:
        return f"Run {self.name}"

    @property
    def name(self) -> str:
        """Name of the directory."""
        return self.path.name

    @property
    def model_path(self) -> Path:
        """Where the chosen model is kept: beside the directory."""
        return self.path.with_name(f"{self.name}.keras")

    @property
    def document(self) -> dict[str, Any]:
        """What run.json says."""
        return read_json(self.path / "run.json")

    @property
    def metrics(self) -> dict[str, Any]:
        """What metrics.json says; empty before the first stage.

        Raises
        ------
        UsageError
            If it is not an object of numbers, texts, booleans and None.
        """
        path = self.path / "metrics.json"
        found = read_json(path) if path.exists() else {}
        if not isinstance(found, dict) or any(isinstance(value, dict | list) for value in found.values()):
            raise UsageError(f"{path}: not an object of single values; restore it or run it anew")
        return found

    @property
    def stages(self) -> list[str]:
        """Names of the stages that this run consists of, in order."""
        given = self.document["parameters"]
        return [name for name, stage in STAGES.items() if not stage.optional or name in given]

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
        return params.build(stage, values)

    # -- written by a stage ------------------------------------------------------------------------

    def record(self, prefix: str, values: dict[str, Any]) -> None:
        """Add numbers to metrics.json under `prefix.`; the prefix must belong to the open stage.

        Raises
        ------
        UsageError
            If the prefix is another stage's, or a value is not a finite number, text, boolean or None.
        """
        if f"{prefix}." not in STAGES[self.stage].prefixes:
            raise UsageError(
                f"metric {prefix}.*: belongs to another notebook than {STAGES[self.stage].notebook}"
            )
        new = {f"{prefix}.{key}": _plain(f"{prefix}.{key}", value) for key, value in values.items()}
        write_json(self.path / "metrics.json", self.metrics | new)

    def keep(self, *paths: Path) -> None:
        """Count files as written by the open stage: their digests are recorded when it closes."""
        self._written.update(paths)

    def save_figure(self, name: str, figure: Any) -> Any:
        """Keep a figure as figures/<name>.svg and .pdf, and return it for display."""
        from fer_lib import drawing

        stem = self.path / "figures" / name
        drawing.save(figure, stem)
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

    def update(self, **values: Any) -> None:
        """Set top-level entries of run.json."""
        write_json(self.path / "run.json", self.document | values)

    def finish(self) -> None:
        """Close the stage: its outputs with their digests, and how long it took."""
        outputs = {self._key(path): sha256_of_file(path) for path in sorted(self._written)}
        outputs["metrics.json"] = self._metrics_digest(self.stage)
        begun = self.document["stages"][self.stage]
        seconds = round(begun["spent"] + time.perf_counter() - self._clock, 1)
        for key in set(begun.get("replaces", [])) & set(self._files()):
            if key not in outputs:  # of an earlier execution, with other data perhaps
                (self.path / key).unlink()
        entry = {
            "status": "done",
            "inputs": self.inputs(self.stage),
            "seconds": seconds,
            "outputs": outputs,
        } | {key: begun[key] for key in ("git", "machine") if key in begun}
        if headless():
            self._set_stage(self.stage, entry | {"notebook": None})  # `fer run` has yet to keep it
        else:
            self._set_stage(self.stage, entry)
            self._forget_state()
        print(f"{self.stage} done")

    def keep_notebook(self, stage: str) -> None:
        """Record the digest of the executed notebook, with which a stage of `fer run` is complete."""
        digest = sha256_of_file(self.path / _executed(stage))
        self._set_stage(stage, self.document["stages"][stage] | {"notebook": digest})
        self._forget_state()

    def _forget_state(self) -> None:
        # Until here an interrupted training goes on from it; a finished one begins afresh.
        (self.path / "checkpoints" / "state.npz").unlink(missing_ok=True)

    # -- staleness ---------------------------------------------------------------------------------

    def inputs(self, stage: str) -> dict[str, Any]:
        """Tell all that a stage depends on: code, parameters, data, environment, what it reads of the run.

        Returns
        -------
        dict
            Digests, apart from the environment, which is versions by name. Equal inputs: equal outputs.
        """
        document = self.document
        own = document["parameters"].get(stage, {})
        model = own.get("model") or document["parameters"].get("training", {}).get("model")
        found = {
            "code": code_digest(stage, model),
            "parameters": sha256_of(json.dumps(own, sort_keys=True)),
            "environment": versions(),
        }
        if STAGES[stage].reads_data:
            found["data"] = self._data_digests(stage)
        if stage == "optimisation":
            found["study"] = sha256_of_file(study_table(self.parameters(stage).study))
        for name in STAGES[stage].reads:
            outputs = document["stages"].get(name, {}).get("outputs")
            found[STAGES[name].notebook] = sha256_of(json.dumps(outputs, sort_keys=True))
        return found

    def _data_digests(self, stage: str) -> list[str]:
        from fer_lib import datasets

        values = self.document["parameters"]
        own = values.get(stage, {})
        trained = values.get("training", {})
        sources = [item for name in ("data", "test_data") if (item := own.get(name) or trained.get(name))]
        for item in sources:
            if not isinstance(item, str):
                raise UsageError(f"{self.name}: run.json says that its data are {item!r}; start a new run")
        return [datasets.data_digest(item) for item in sources]

    def stale_reason(self, stage: str) -> str | None:
        """Say why a stage has to be executed, or None where its outputs are those of its inputs."""
        return next((edge.reason for edge in self.edges(stage) if edge.state != "ok"), None)

    def edges(self, stage: str) -> Iterator[Edge]:
        """Compare a stage's inputs, outputs and executed notebook with what it recorded of them."""
        notebook, entry = STAGES[stage].notebook, self.document["stages"].get(stage)
        if not entry or entry["status"] != "done":
            yield Edge(notebook, "its execution", "stale", "not finished")
            return
        then = entry.get("inputs", {})
        try:
            now = self.inputs(stage)
        except UsageError as error:  # the data are gone, for example
            now, then = {"inputs": ""}, {}
            reason = str(error)
        else:
            reason = ""
        for name, value in now.items():
            before = then.get(name)
            changed = reason or _changed(name, before, value)
            yield Edge.judge(before == value, notebook, name, "stale", changed)
        for key, digest in entry["outputs"].items():
            if key == "metrics.json":
                current = self._metrics_digest(stage)
                key += f" ({', '.join(f'{prefix}*' for prefix in STAGES[stage].prefixes)})"
            else:
                current = self.digest(key)
            yield Edge.of_file(current, digest, key, notebook, f"{notebook} wrote")
        if "notebook" in entry:
            key, digest = _executed(stage), entry["notebook"]
            if digest is None:
                yield Edge(key, notebook, "stale", "killed before the executed notebook was kept")
            else:
                yield Edge.of_file(self.digest(key), digest, key, notebook, "was executed")

    def strays(self) -> Iterator[Edge]:
        """Compare the run as a whole with what its stages recorded: nothing else may be in it."""
        document = self.document
        stages = {name: entry for name, entry in document["stages"].items() if name in STAGES}
        outputs = {key: value for entry in stages.values() for key, value in entry.get("outputs", {}).items()}
        executed = {_executed(name) for name, entry in stages.items() if "notebook" in entry}
        for key in self._files():
            if key not in outputs and key not in executed:
                yield Edge(
                    key, "no notebook", "altered", f"{key} was not written by any notebook of this run"
                )
        own = tuple(prefix for stage in STAGES.values() for prefix in stage.prefixes)
        for key in self.metrics:
            if not key.startswith(own):
                yield Edge(
                    f"metrics.json ({key})", "no notebook", "altered", f"metric {key} is no notebook's"
                )
        if chosen := outputs.get("model.keras"):
            source = next(
                (key for key in outputs if key.startswith("checkpoints/") and outputs[key] == chosen), None
            )
            reason = "model.keras is none of the checkpoints"
            yield Edge.judge(source, "model.keras", source or "checkpoints", "altered", reason)
        looked_at, trained = (document["parameters"].get(name, {}) for name in ("exploration", "training"))
        if {"exploration", "training"} <= stages.keys():
            shared = sorted(f.name for f in fields(params.Data))  # without `run`, which is not kept
            other = [name for name in shared if looked_at.get(name) != trained.get(name)]
            ours, theirs = STAGES["exploration"].notebook, STAGES["training"].notebook
            reason = f"{ours} has other data than {theirs} ({', '.join(other)}); the report would mix them"
            yield Edge.judge(not other, ours, f"data of {theirs}", "altered", reason)
        recorded = {
            "versions": [
                entry["inputs"].get("environment") for entry in stages.values() if "inputs" in entry
            ],
            "git": [entry["git"] for entry in stages.values() if "git" in entry],
            "machine": [entry["machine"] for entry in stages.values() if "machine" in entry],
        }
        for key, values in recorded.items():
            if values and document.get(key) not in values:
                reason = f"run.json: {key} is not what any notebook ran with"
                yield Edge(f"run.json ({key})", "environment", "altered", reason)
        named = {"name": self.name} | ({"model_file": f"results/{self.model_path.name}"} if chosen else {})
        for key, value in named.items():
            said = document.get(key)
            reason = f"run.json: {key} is {said!r}, not {value!r}"
            yield Edge.judge(said == value, f"run.json ({key})", "name of the folder", "altered", reason)

    def _files(self) -> list[str]:
        """Files of the run that a notebook writes, or is; temporary ones of an interrupted run are hidden."""
        found = [
            path for name in ("figures/*", "tables/*", "checkpoints/*.keras") for path in self.path.glob(name)
        ]
        found += self.path.glob("notebooks/*.ipynb")
        return sorted(self._key(path) for path in found if not path.name.startswith("."))

    def _key(self, path: Path) -> str:
        """Name of an output, the same in every run."""
        return "model.keras" if path == self.model_path else path.relative_to(self.path).as_posix()

    def digest(self, key: str) -> str | None:
        """Give the digest of an output as it is now, by its name in run.json; None where it is missing."""
        return sha256_if_there(self.model_path if key == "model.keras" else self.path / key)

    def _metrics_digest(self, stage: str) -> str:
        own = {key: value for key, value in self.metrics.items() if key.startswith(STAGES[stage].prefixes)}
        return sha256_of(json.dumps(own, sort_keys=True))

    def _set_stage(self, stage: str, entry: dict[str, Any]) -> None:
        document = self.document
        document["stages"][stage] = entry
        write_json(self.path / "run.json", document)


def begin(stage: str, chosen: Any) -> Run:
    """Open a stage of a run: the one named by its parameter `run`, or the one that fits.

    Without a name, notebooks 01 and 02 start a new run; 03 and 04 take the newest that has what they read.

    Parameters
    ----------
    stage : str
        One of `STAGES`.
    chosen : dataclass of `fer_lib.params`
        The stage's parameters.
    """
    if chosen.run:
        run = find(chosen.run)
    elif STAGES[stage].reads:
        run = newest(STAGES[stage].reads)
    elif stage == "training":
        run = create(f"{chosen.model}_{chosen.epochs}_epochs")
    else:
        run = create(stage)
    document = run.document
    for name in STAGES[stage].reads:
        if document["stages"].get(name, {}).get("status") != "done":
            raise UsageError(f"{run.name}: no {name} yet; run notebook {STAGES[name].notebook} first")
    document["parameters"][stage] = params.plain(chosen)
    # A stage that was interrupted keeps its checkpoints only if it would do the same again.
    run.stage, run._clock = stage, time.perf_counter()
    write_json(run.path / "run.json", document)
    inputs = run.inputs(stage)
    before = document["stages"].get(stage, {})
    # One that was finished is executed again because an output was changed: nothing of it is trusted.
    finished = before.get("status") == "done" and before.get("notebook", "") is not None
    if stage == "training" and (before.get("inputs") != inputs or finished):
        for path in (run.path / "checkpoints").glob("*"):
            path.unlink()
    kept = {key: value for key, value in run.metrics.items() if not key.startswith(STAGES[stage].prefixes)}
    write_json(run.path / "metrics.json", kept)
    spent, state = 0.0, run.path / "checkpoints" / "state.npz"
    if stage == "training" and state.exists():  # an interrupted training goes on; what it took so far counts
        spent = before.get("spent", 0.0) + max(state.stat().st_mtime - before.get("begun", LATEST), 0.0)
    replaces = sorted(before.get("outputs", before.get("replaces", [])))
    place = {"git": git_state(), "machine": machine()}
    running = {"status": "running", "inputs": inputs, "replaces": replaces}
    run._set_stage(stage, running | place | {"begun": time.time(), "spent": spent})
    run.update(versions=versions(), **place)
    print(f"{run.name}")
    return run


def headless() -> bool:
    """Tell whether `fer run` executes this notebook, and will keep it."""
    return bool(os.environ.get("FER_PROGRESS"))


def _executed(stage: str) -> str:
    """Give the place of an executed notebook in its run."""
    return f"notebooks/{STAGES[stage].notebook}.ipynb"


def _changed(name: str, then: Any, now: Any) -> str:
    if name == "environment":
        then = then or {}
        differing = [key for key in now if then.get(key) != now[key]]
        facts = ", ".join(f"{key} {then.get(key, 'unknown')}, now {now[key]}" for key in differing)
        return f"its environment has changed ({facts})"
    if name in {stage.notebook for stage in STAGES.values()}:
        return f"{name} has other results now"
    return f"its {name} {'has' if name == 'code' else 'have'} changed"


def create(label: str) -> Run:
    """Make a new run directory `<label>_timestamp_<unix time>`.

    Two runs started in the same second get different names: a directory is made or it is not. Where the clock
    was set back, time goes on from the newest run: the newest is the one started last.
    """
    folder = results_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        there = (_created(Run(path)) for path in folder.glob("*_timestamp_*/"))
        created = max([int(time.time()), *(other + 1 for other in there if other < LATEST)])
        while not _made(path := folder / f"{label}_timestamp_{created}"):
            created += 1
    except OSError as error:
        raise UsageError(
            f"{folder}: cannot be written ({error.strerror}); choose another folder with FER_RESULTS"
        ) from error
    write_json(path / "run.json", {"name": path.name, "created": created, "parameters": {}, "stages": {}})
    return Run(path)


def _made(path: Path) -> bool:
    """Make a directory, or say that somebody else was quicker."""
    try:
        path.mkdir()
    except FileExistsError:
        return False
    return True


def find(name: str | Path) -> Run:
    """Open a run by its name, its directory, or its `.keras` file.

    Raises
    ------
    UsageError
        If there is none, or the directory is not a run.
    """
    text = str(name).removesuffix(".keras")
    candidates = [Path(text), results_folder() / text] if text else []
    for path in candidates:
        if os.path.isdir(path):  # Path.is_dir raises at names that are too long
            _document(run := Run(path.resolve()))
            return run
    raise UsageError(
        f"run {str(name)!r}: no such directory, neither here nor in {results_folder()}; see `fer list`"
    )


def _document(run: Run) -> dict[str, Any]:
    """Read run.json and make sure that it is one."""
    path = run.path / "run.json"
    if not path.is_file():
        raise UsageError(f"{run.path}: not a run (it has no run.json); see `fer list`")
    document = read_json(path)
    kinds = {"name": str, "created": int, "parameters": dict, "stages": dict}
    for key, kind in kinds.items():
        if not isinstance(document, dict) or not isinstance(document.get(key), kind):
            raise UsageError(f"{path}: not a run ({key!r} is missing or of the wrong kind); start a new run")
    for entry in [*document["parameters"].values(), *document["stages"].values()]:
        if not isinstance(entry, dict):
            raise UsageError(f"{path}: not a run ({entry!r} in place of an object); start a new run")
    for name, entry in document["stages"].items():
        kinds = {"status": str} | ({"outputs": dict} if entry.get("status") == "done" else {})
        kinds |= {key: kind for key, kind in _OPTIONAL.items() if key in entry}
        for key, kind in kinds.items():
            if not isinstance(entry.get(key), kind):
                raise UsageError(f"{path}: not a run (stage {name!r} without {key}); start a new run")
        texts = all(isinstance(key, str) for key in entry.get("replaces", []))
        if not texts or not isinstance(entry.get("inputs", {}).get("environment", {}), dict):
            raise UsageError(f"{path}: not a run (stage {name!r} of the wrong kind); start a new run")
    return document


_OPTIONAL = {  # of a stage
    "inputs": dict,
    "outputs": dict,
    "replaces": list,
    "begun": int | float,
    "spent": int | float,
    "notebook": str | None,
}


def every() -> list[tuple[Run, dict[str, Any]]]:
    """All runs of the results folder and their run.json, newest first.

    Each is read once, for there may be thousands. What cannot be opened is named and passed over.
    """
    found = []
    for path in sorted(results_folder().glob("*_timestamp_*/run.json")):
        try:
            found.append((run := Run(path.parent), _document(run)))
        except UsageError as error:
            complain(f"passed over: {error}")
    return sorted(found, key=lambda pair: _created(pair[0]), reverse=True)


def _created(run: Run) -> int:
    match = re.search(r"_timestamp_(\d+)$", run.name)
    return int(match[1]) if match else 0


def newest(stages: tuple[str, ...] = ()) -> Run:
    """Open the newest run in which the given stages are done.

    Raises
    ------
    UsageError
        If there is none.
    """
    for run, document in every():
        if all(document["stages"].get(stage, {}).get("status") == "done" for stage in stages):
            return run
    what = f" with {' and '.join(stages)} done" if stages else ""
    raise UsageError(f"{results_folder()}: no run{what}; start one with `fer run` or notebook 02_training")


def _plain(key: str, value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    raise UsageError(f"metric {key} = {value!r}: not a finite number, text, boolean or None")


def code_digest(stage: str, model: str | None = None) -> str:
    """Digest of a notebook's code and of the modules that it reaches; see `fer_lib.source_code`."""
    path = notebook_path(stage)
    try:
        return source_code.notebook_digest(read_json(path), model, ROOT)
    except UsageError as error:
        raise UsageError(f"{path.name}: {error}") from None


# -- where it ran --------------------------------------------------------------------------------------


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that numbers depend on."""
    return {"python": platform.python_version()} | {name: metadata.version(name) for name in PACKAGES}


def machine() -> dict[str, Any]:
    """Describe what the run was computed on."""
    return {"system": platform.system(), "architecture": platform.machine(), "cores": os.cpu_count()}


def git_state() -> dict[str, Any]:
    """Commit of the checkout, and whether files differ from it; None where git does not know."""

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(["git", "-C", ROOT, *arguments], capture_output=True, text=True, timeout=10)
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    status = git("status", "--porcelain", "--untracked-files=no")
    return {"commit": git("rev-parse", "HEAD"), "dirty": None if status is None else bool(status)}
