"""The committed history of a training that over-fits, history.csv; history.json says how it was made.

It is of the preset `overfit`; `python -m fer_tools.renew overfit` writes both files from a run of it.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from fer_lib.files import MEGABYTE, UsageError, atomic_path, read_regular, sha256_of_file
from fer_tools import checking, paths
from fer_tools.json_files import read_json, write_json
from fer_tools.run.run import Run

if TYPE_CHECKING:
    import pandas as pd

PRESET = "overfit"


def path() -> Path:
    """Return where the history is; beside it .json says how it was made."""
    return paths.ROOT / "fer_tools" / "overfit" / "history.csv"


def checked() -> Path:
    """Return `path`, once the history is the one that is described beside it.

    Raises
    ------
    UsageError
        If one of the two files is missing or damaged, or the history is another.
    """
    about = read_json(path().with_suffix(".json"))
    digest = sha256_of_file(path(), MEGABYTE)
    if not isinstance(about, dict) or digest != about.get("sha256"):
        raise UsageError(f"{path()}: not the history that history.json describes; restore both from git")
    return path()


def history() -> "pd.DataFrame":
    """Return the committed history, with the columns of history.csv; raise as `checked` does."""
    import pandas as pd

    return pd.read_csv(checked())


def differences(run: Run) -> "pd.DataFrame":
    """Return the parameters of training in which the preset differs from a run, one a row."""
    import pandas as pd

    ours, theirs = checking.plain(run.parameters("training")), checking.resolve(PRESET, {})["training"]
    rows = [(name, ours[name], theirs[name]) for name in theirs if ours[name] != theirs[name]]
    return pd.DataFrame(rows, columns=["parameter", "this run", PRESET], dtype=object)


def commit(run: Run) -> Path:
    """Write the history of a run of the preset, and how it was made, in place of those that are there.

    Raises
    ------
    UsageError
        If the run has not been trained, or with other parameters than the preset's.
    """
    entry, document = run.require("training"), run.document
    parameters = checking.plain(run.parameters("training"))
    if parameters != checking.resolve(PRESET, {})["training"]:
        raise UsageError(f"{run.name}: not of the preset {PRESET}; `fer run --preset {PRESET}` makes one")
    content = read_regular(run.path / "history.csv", MEGABYTE)
    with atomic_path(path()) as temporary:
        temporary.write_bytes(content)
    about = {"command": f"fer run --preset {PRESET}", "parameters": parameters}
    about |= {"sha256": sha256_of_file(path()), "seconds": entry["seconds"]}
    about |= {name: entry["inputs"][name] for name in ("data", "environment")}
    about |= {name: document.get(name) for name in ("git", "machine", "threads")}
    write_json(path().with_suffix(".json"), about)
    return path()
