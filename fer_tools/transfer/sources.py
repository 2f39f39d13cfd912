"""The network that learnt from faces: one that is shipped, or that of a run."""

import os
from pathlib import Path

from fer_lib.files import ROOT, UsageError
from fer_tools import paths, pretrained


def path(name: str) -> Path:
    """Find a network: one that is shipped, by its name, the name or folder of a run, or a `.keras` file.

    Raises
    ------
    UsageError
        If there is none.
    """
    if pretrained.is_one(name):
        return pretrained.path(name)
    text = os.path.expanduser(name.removesuffix(".keras"))
    for folder in (Path(text), paths.results_folder() / text, ROOT / "results" / text):
        for file in (f"{folder}.keras", f"{folder}/model.keras"):
            if os.path.isfile(file):
                return Path(file)
    shipped = ", ".join(f'"{each}"' for each in pretrained.names())
    raise UsageError(
        f'source {name!r}: no network; give {shipped}, "reference", a finished run, or a .keras file'
    )
