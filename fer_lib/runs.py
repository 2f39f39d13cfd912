"""A run: the directory that the notebooks fill and the report quotes.

results/<model>_<epochs>_epochs_timestamp_<unix time>/
run.json      parameters, digests, versions, git commit, durations
metrics.json  every number, flat: "test.accuracy": 0.7391
history.csv   loss and accuracy, a line an epoch
figures/ tables/ notebooks/ checkpoints/
results/<same name>.keras   the model saved just before over-fitting
"""

import ast
import json
import math
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from fer_lib import params
from fer_lib.files import (
    UsageError,
    atomic_path,
    read_json,
    sha256_of,
    sha256_of_file,
    write_json,
    write_text,
)

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("tensorflow", "keras", "numpy", "pandas", "matplotlib", "seaborn", "papermill", "pillow")


@dataclass(frozen=True)
class Stage:
    """A notebook as a step of the run: what it writes, and which stages it reads."""

    notebook: str
    prefixes: tuple[str, ...]
    reads: tuple[str, ...] = ()
    reads_data: bool = True


STAGES = {
    "exploration": Stage("01_exploration", ("data.",)),
    "training": Stage("02_training", ("model.", "training.")),
    "overfitting": Stage("03_overfitting", ("overfitting.",), ("training",), reads_data=False),
    "evaluation": Stage("04_evaluation", ("test.",), ("training", "overfitting")),
}


def results_folder() -> Path:
    """Where runs live: the environment variable FER_RESULTS, or `results/` of the checkout."""
    return Path(os.environ.get("FER_RESULTS") or ROOT / "results").resolve()


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
        """What metrics.json says; empty before the first stage."""
        path = self.path / "metrics.json"
        return read_json(path) if path.exists() else {}

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
        from fer_lib import figures

        stem = self.path / "figures" / name
        figures.save(figure, stem)
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
        seconds = round(time.perf_counter() - self._clock, 1)
        digest = self.input_digest(self.stage)
        self._set_stage(
            self.stage, {"status": "done", "digest": digest, "seconds": seconds, "outputs": outputs}
        )
        # Until here an interrupted training goes on from it; a finished one begins afresh.
        (self.path / "checkpoints" / "state.npz").unlink(missing_ok=True)
        print(f"{self.stage} done")

    # -- staleness ---------------------------------------------------------------------------------

    def input_digest(self, stage: str) -> str:
        """Digest of all that a stage depends on: code, parameters, data, and what it reads of the run."""
        document = self.document
        upstream = {name: document["stages"].get(name, {}).get("outputs") for name in STAGES[stage].reads}
        return sha256_of(
            code_digest(stage, document["parameters"].get("training", {}).get("model")),
            json.dumps(document["parameters"].get(stage), sort_keys=True),
            json.dumps(self._data_digests(stage)),
            json.dumps(upstream, sort_keys=True),
        )

    def _data_digests(self, stage: str) -> list[str]:
        from fer_lib import datasets

        values = self.document["parameters"]
        own = values.get(stage, {})
        trained = values.get("training", {})
        sources = [own.get(name) or trained.get(name) for name in ("data", "test_data")]
        if not STAGES[stage].reads_data:
            sources = []
        return [datasets.data_digest(item) for item in sources if item]

    def stale_reason(self, stage: str) -> str | None:
        """Say why a stage has to be executed, or None where its outputs are those of its inputs."""
        entry = self.document["stages"].get(stage)
        if not entry or entry["status"] != "done":
            return "not finished"
        if entry["digest"] != self.input_digest(stage):
            return "its code, parameters or data have changed"
        for key, digest in entry["outputs"].items():
            path = self.model_path if key == "model.keras" else self.path / key
            if key == "metrics.json":
                changed = self._metrics_digest(stage) != digest
            else:
                changed = not path.is_file() or sha256_of_file(path) != digest
            if changed:
                return f"{key} is not what {STAGES[stage].notebook} wrote"
        return None

    def _key(self, path: Path) -> str:
        """Name of an output, the same in every run."""
        return "model.keras" if path == self.model_path else path.relative_to(self.path).as_posix()

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
    digest = run.input_digest(stage)
    before = document["stages"].get(stage, {})
    # One that was finished is executed again because an output was changed: nothing of it is trusted.
    if stage == "training" and (before.get("digest") != digest or before["status"] == "done"):
        for path in (run.path / "checkpoints").glob("*"):
            path.unlink()
    kept = {key: value for key, value in run.metrics.items() if not key.startswith(STAGES[stage].prefixes)}
    write_json(run.path / "metrics.json", kept)
    run._set_stage(stage, {"status": "running", "digest": digest})
    run.update(versions=versions(), git=git_state(), machine=machine())
    print(f"{run.name}")
    return run


def create(label: str) -> Run:
    """Make a new run directory `<label>_timestamp_<unix time>`.

    Two runs started in the same second get different names: a directory is made or it is not.
    """
    created = int(time.time())
    folder = results_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
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
            return _checked(Run(path.resolve()))
    raise UsageError(
        f"run {str(name)!r}: no such directory, neither here nor in {results_folder()}; see `fer list`"
    )


def _checked(run: Run) -> Run:
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
    if not all(isinstance(entry.get("status"), str) for entry in document["stages"].values()):
        raise UsageError(f"{path}: not a run (a stage without status); start a new run")
    return run


def every() -> list[Run]:
    """All runs of the results folder, newest first; what cannot be opened is named and passed over."""
    found = []
    for path in sorted(results_folder().glob("*_timestamp_*/run.json")):
        try:
            found.append(_checked(Run(path.parent)))
        except UsageError as error:
            print(f"fer: passed over: {error}", file=sys.stderr)
    return sorted(found, key=_created, reverse=True)


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
    for run in every():
        done = run.document.get("stages", {})
        if all(done.get(stage, {}).get("status") == "done" for stage in stages):
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


# -- what a stage's code is ----------------------------------------------------------------------------


def code_digest(stage: str, model: str | None = None) -> str:
    """Digest of a notebook's code and of the fer_lib modules that it reaches by import.

    Only those modules count: a changed report template does not make a trained network stale, nor does
    another network than the run's `model`.
    """
    source = notebook_code(read_json(notebook_path(stage)))
    texts = [source]
    for module in sorted(_reached(source, model)):
        texts += [module, (ROOT / module).read_text(encoding="utf-8")]
    return sha256_of(*texts)


def notebook_code(notebook: dict[str, Any]) -> str:
    """Code of a notebook, without the cells that hold parameters."""
    cells = [
        "".join(cell["source"])
        for cell in notebook["cells"]
        if cell["cell_type"] == "code"
        and not {"parameters", "injected-parameters"} & set(cell.get("metadata", {}).get("tags", []))
    ]
    return "\n\n".join(cells)


# The run itself, and what every stage reaches through it, would make each digest depend on everything.
_PLUMBING = {"fer_lib/runs.py", "fer_lib/params.py", "fer_lib/files.py"}


def _reached(source: str, model: str | None) -> set[str]:
    """Files of fer_lib that a source reaches by import statements, directly or through others."""
    found: set[str] = set()
    waiting = [source]
    while waiting:
        for name in _imports(waiting.pop()):
            base = ROOT / name.replace(".", "/")
            files = [base.with_suffix(".py")] if base.with_suffix(".py").is_file() else []
            if name == "fer_lib.models":
                files = [path for path in (base / "__init__.py", base / f"{model}.py") if path.is_file()]
            for path in files:
                key = path.relative_to(ROOT).as_posix()
                if key not in found | _PLUMBING:
                    found.add(key)
                    waiting.append(path.read_text(encoding="utf-8"))
    return found


def _imports(source: str) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "fer_lib":
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names if alias.name.split(".")[0] == "fer_lib"}
    return names


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
