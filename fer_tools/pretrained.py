"""The trained networks that come with the package: the best we have, and a small one."""

import os
from pathlib import Path
from typing import Any

from fer_lib import models
from fer_lib.files import UsageError
from fer_tools import paths
from fer_tools.json_files import read_json

NAME = "optimized_model"  # of the one that is meant where none is named


def names() -> list[str]:
    """Return the names of the networks that come trained."""
    return sorted(path.stem for path in path().parent.glob("*.keras"))


def is_one(name: str) -> bool:
    """Return whether somebody who gives this name means a network that comes trained.

    Raises
    ------
    UsageError
        If a folder has the name, too, which may be a run: nobody is to get the answers of the other.
    """
    if name not in names():
        return False
    for folder in (Path(name), paths.results_folder() / name):
        if os.path.isdir(folder):
            where = folder.absolute()
            raise UsageError(f"{name}: is shipped, and a folder here, {where}; give its path, or rename it")
    return True


def path(name: str = NAME) -> Path:
    """Return where the weights are; beside them .json holds what was measured, .md the model card."""
    return Path(models.__file__).with_name(f"{name}.keras")


def facts(name: str = NAME) -> dict[str, Any]:
    """Read classes, training parameters and measurements of a shipped network."""
    return read_json(path(name).with_suffix(".json"))


def of_digest(sha256: str | None) -> str | None:
    """Return the name of the shipped network whose file has this digest; None if it is none of them."""
    return next((name for name in names() if facts(name)["sha256"] == sha256), None)
