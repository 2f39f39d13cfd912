"""The files of this folder: history.csv, and beside it history.json, which says how that was made."""

from pathlib import Path

from fer_lib.files import MEGABYTE, UsageError, sha256_of_file
from fer_tools import paths
from fer_tools.json_files import read_json


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
