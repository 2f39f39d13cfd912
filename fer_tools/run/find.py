"""Make runs, and find them by name or by what they hold."""

import os
import re
import time
from pathlib import Path
from typing import Any

from fer_lib.files import UsageError
from fer_tools import paths
from fer_tools.console import complain
from fer_tools.json_files import write_json
from fer_tools.run import tree
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
        If there is none, the directory is not a run, or what is in it is not what a run consists of; see
        `fer_tools.run.tree.require`.
    """
    text = str(name).removesuffix(".keras")
    candidates = [Path(text), paths.results_folder() / text] if text else []
    for path in candidates:
        if os.path.isdir(path):  # Path.is_dir raises at names that are too long
            return _looked_at(path)
    raise UsageError(
        f"run {str(name)!r}: no such directory, neither here nor in {paths.results_folder()}; see `fer list`"
    )


def _looked_at(path: Path) -> Run:
    """Open a directory as a run once all that is in it has been looked at."""
    if path.is_symlink():
        target = os.readlink(path)
        raise UsageError(f"{path}: a link, and a run is a folder; name the one it leads to ({target})")
    run = Run(path.resolve())
    tree.require(run.path)
    _ = run.document  # of a directory that is not a run, that is said
    return run


def all_runs() -> list[tuple[Run, dict[str, Any]]]:
    """Return all runs of the results folder and their run.json, newest first.

    Each is read once, for there may be thousands, and nothing else of it: before anything is done with one,
    it is opened by `open_run`. What cannot be read is named and passed over.
    """
    found = []
    for path in _run_folders(paths.results_folder()):
        try:
            if path.is_symlink():
                raise UsageError(f"{path}: a link, and a run is a folder; replace it by the one it leads to")
            found.append((run := Run(path), run.document))
        except UsageError as error:
            complain(f"passed over: {error}")
    return sorted(found, key=lambda pair: _created(pair[0]), reverse=True)


def _run_folders(results: Path) -> list[Path]:
    """Return what is named like a run and has a run.json, or is a link."""
    if not results.is_dir():
        return []
    with os.scandir(results) as entries:
        named = (entry for entry in entries if "_timestamp_" in entry.name and entry.name[0] != ".")
        folders = (entry for entry in named if not entry.name.endswith(".keras"))
        runs = (each for each in folders if each.is_symlink() or os.path.lexists(f"{each.path}/run.json"))
        return sorted(results / each.name for each in runs)


def _created(run: Run) -> int:
    match = re.search(r"_timestamp_(\d+)$", run.name)
    return int(match[1]) if match else 0


def of_parameters(resolved: dict[str, dict[str, Any]]) -> Run | None:
    """Open the newest run whose stages have these parameters, if there is one.

    Parameters
    ----------
    resolved : dict
        Of `checking.resolve`. A run may have more stages, of those that not every run has.
    """
    for run, document in all_runs():
        if all(document["parameters"].get(stage) == values for stage, values in resolved.items()):
            return open_run(run.path)
    return None


def newest(stages: tuple[str, ...] = ()) -> Run:
    """Open the newest run in which the given stages are done.

    Raises
    ------
    UsageError
        If there is none.
    """
    for run, document in all_runs():
        if all(document["stages"].get(stage, {}).get("status") == "done" for stage in stages):
            return open_run(run.path)
    what = f" with {' and '.join(stages)} done" if stages else ""
    raise UsageError(
        f"{paths.results_folder()}: no run{what}; start one with `fer run` or notebook 02_training"
    )
