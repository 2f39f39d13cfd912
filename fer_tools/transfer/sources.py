"""The network that learnt from faces: the one that is shipped, or that of a run."""

import os
from pathlib import Path

from fer_lib.files import ROOT, UsageError
from fer_tools import paths, pretrained


def path(name: str) -> Path:
    """Find a network: `optimized_model`, which is shipped, the name or folder of a run, or a `.keras` file.

    Raises
    ------
    UsageError
        If there is none.
    """
    if name == pretrained.NAME:
        return pretrained.path()
    text = os.path.expanduser(name.removesuffix(".keras"))
    for folder in (Path(text), paths.results_folder() / text, ROOT / "results" / text):
        for file in (f"{folder}.keras", f"{folder}/model.keras"):
            if os.path.isfile(file):
                return Path(file)
    raise UsageError(
        f'source {name!r}: no network; give "{pretrained.NAME}", "reference", a finished run, a .keras file'
    )
