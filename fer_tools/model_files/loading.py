"""Open somebody else's `.keras` file, once it has been looked at."""

import json
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from fer_lib import tensorflow_import
from fer_tools.model_files.inspection import entries, inspect, refused


def load(path: str | Path) -> Any:
    """Load a `.keras` file, or an HDF5 file under that name as TensorFlow 2.12 wrote it, not compiled.

    It is first loaded without memory for weights, which shows whether the network that the configuration
    describes is the one whose weights the file holds: sizes can be hidden from `inspect`, in the shape that
    a layer is built for, or in a tower of concatenations. Only then the weights are made.

    Raises
    ------
    UsageError
        If `inspect` refuses the file, or Keras does.
    """
    kind = inspect(path)
    tensorflow_import.import_tensorflow()
    import keras

    import fer_lib.augmentation  # noqa: F401  (registers our layers, and those of fer_lib.layers)

    try:
        with TemporaryDirectory(prefix="fer-") as folder:  # Keras goes by the suffix
            copy = Path(folder) / ("model.h5" if kind == "hdf5" else "model.keras")
            shutil.copyfile(path, copy)
            if kind == "hdf5":
                _forget_rng_type(copy)
            _load_without_weights(copy)
            return keras.saving.load_model(copy, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises whatever the broken part of the file makes it raise
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise refused(path, reason[0][:200]) from error


def _load_without_weights(path: Path) -> None:
    """Load a model whose variables have a shape and nothing else, and forget them afterwards."""
    import keras
    from keras.src.backend.common import global_state

    try:
        with keras.StatelessScope(initialize_variables=False):
            keras.saving.load_model(path, compile=False, safe_mode=True)
    finally:
        # Keras has no public way to forget them, and would give them memory at the next occasion.
        global_state.set_global_attribute("uninitialized_variables", [])


def _forget_rng_type(path: Path) -> None:
    """Take out of an HDF5 file the one setting of random layers that Keras 3 does not know and refuses."""
    import h5py

    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        for entry in entries(config):
            if isinstance(entry.get("config"), dict):
                entry["config"].pop("rng_type", None)
        file.attrs["model_config"] = json.dumps(config)
