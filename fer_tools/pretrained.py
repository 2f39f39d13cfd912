"""The trained network that comes with the package."""

from pathlib import Path
from typing import Any

from fer_lib import models
from fer_tools.json_files import read_json

NAME = "optimized_model"


def path(name: str = NAME) -> Path:
    """Return where the weights are; beside them .json holds what was measured, .md the model card."""
    return Path(models.__file__).with_name(f"{name}.keras")


def facts(name: str = NAME) -> dict[str, Any]:
    """Read classes, training parameters and measurements of the shipped network."""
    return read_json(path(name).with_suffix(".json"))
