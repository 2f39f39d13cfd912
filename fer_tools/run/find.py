"""Make runs, and find them by name or by what they hold."""

import os
import re
import time
from pathlib import Path
from typing import Any

from fer_lib.files import UsageError, complain, read_json, write_json
from fer_tools import paths
from fer_tools.run.run import Run

LATEST = 2**32 - 10_000  # seconds: a name that says a later time is no clock's


def create(label: str) -> Run:
    """Make a new run directory `<label>_timestamp_<unix time>`.

    Two runs started in the same second get different names: a directory is made or it is not. Where the clock
    was set back, time goes on from the newest run: the newest is the one started last.
    """
    folder = paths.results_folder()
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
    """Make a directory; return False where there is one already."""
    try:
        path.mkdir()
    except FileExistsError:
        return False
    return True


def open_run(name: str | Path) -> Run:
    """Open a run by its name, its directory, or its `.keras` file.

    Raises
    ------
    UsageError
        If there is none, or the directory is not a run.
    """
    text = str(name).removesuffix(".keras")
    candidates = [Path(text), paths.results_folder() / text] if text else []
    for path in candidates:
        if os.path.isdir(path):  # Path.is_dir raises at names that are too long
            _document(run := Run(path.resolve()))
            return run
    raise UsageError(
        f"run {str(name)!r}: no such directory, neither here nor in {paths.results_folder()}; see `fer list`"
    )


_RUN = {"name": str, "created": int, "parameters": dict, "stages": dict}  # what run.json has at least
_STAGE = {  # what a stage of it may have
    "inputs": dict,
    "outputs": dict,
    "replaces": list,
    "begun": int | float,
    "spent": int | float,
    "notebook": str | None,
}


def _document(run: Run) -> dict[str, Any]:
    """Read run.json and make sure that it is one."""
    path = run.path / "run.json"
    if not path.is_file():
        raise UsageError(f"{run.path}: not a run (it has no run.json); see `fer list`")
    document = read_json(path)
    for key, kind in _RUN.items():
        if not isinstance(document, dict) or not isinstance(document.get(key), kind):
            raise UsageError(f"{path}: not a run ({key!r} is missing or of the wrong kind); start a new run")
    for entry in [*document["parameters"].values(), *document["stages"].values()]:
        if not isinstance(entry, dict):
            raise UsageError(f"{path}: not a run ({entry!r} in place of an object); start a new run")
    for name, entry in document["stages"].items():
        if wrong := _wrong(entry):
            raise UsageError(f"{path}: not a run (stage {name!r} {wrong}); start a new run")
    return document


def _wrong(entry: dict[str, Any]) -> str:
    """Say what is wrong with a stage of run.json; nothing if it is one."""
    kinds = {"status": str} | ({"outputs": dict} if entry.get("status") == "done" else {})
    kinds |= {key: kind for key, kind in _STAGE.items() if key in entry}
    for key, kind in kinds.items():
        if not isinstance(entry.get(key), kind):
            return f"without {key}"
    texts = all(isinstance(key, str) for key in entry.get("replaces", []))
    whole = texts and isinstance(entry.get("inputs", {}).get("environment", {}), dict)
    return "" if whole else "of the wrong kind"


def all_runs() -> list[tuple[Run, dict[str, Any]]]:
    """Return all runs of the results folder and their run.json, newest first.

    Each is read once, for there may be thousands. What cannot be opened is named and passed over.
    """
    found = []
    for path in sorted(paths.results_folder().glob("*_timestamp_*/run.json")):
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
    for run, document in all_runs():
        if all(document["stages"].get(stage, {}).get("status") == "done" for stage in stages):
            return run
    what = f" with {' and '.join(stages)} done" if stages else ""
    raise UsageError(
        f"{paths.results_folder()}: no run{what}; start one with `fer run` or notebook 02_training"
    )
