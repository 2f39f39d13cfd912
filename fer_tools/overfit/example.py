"""The committed history as notebook 03 shows it, and how a run of the preset `overfit` renews it."""

from pathlib import Path
from typing import TYPE_CHECKING

from fer_lib.files import MEGABYTE, UsageError, atomic_path, read_regular, sha256_of_file
from fer_tools import checking
from fer_tools.json_files import write_json
from fer_tools.overfit import committed
from fer_tools.run.run import Run

if TYPE_CHECKING:
    import pandas as pd

PRESET = "overfit"


def history() -> "pd.DataFrame":
    """Return the committed history, with the columns of history.csv; raise as `committed.checked` does."""
    import pandas as pd

    return pd.read_csv(committed.checked())


def differences(run: Run) -> "pd.DataFrame":
    """Return the parameters of training in which the preset differs from a run: a row each, by name."""
    import pandas as pd

    ours, theirs = checking.plain(run.parameters("training")), checking.resolve(PRESET, {})["training"]
    rows = {name: (ours[name], theirs[name]) for name in theirs if ours[name] != theirs[name]}
    return pd.DataFrame.from_dict(rows, "index", object, ["this run", PRESET])


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
    content, path = read_regular(run.path / "history.csv", MEGABYTE), committed.path()
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)
    about = {"command": f"fer run --preset {PRESET}", "parameters": parameters}
    about |= {"sha256": sha256_of_file(path), "seconds": entry["seconds"]}
    about |= {name: entry["inputs"][name] for name in ("data", "environment")}
    about |= {name: document.get(name) for name in ("git", "machine", "threads")}
    write_json(path.with_suffix(".json"), about)
    return path
