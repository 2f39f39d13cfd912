"""What training writes after each epoch: history.csv, the model, and the state to go on from."""

import io
import json
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from fer_lib.archives import read_arrays
from fer_lib.files import MEGABYTE, UsageError, atomic_path, write_text

LARGEST_HISTORY = 16 * MEGABYTE  # 10,000 epochs have 5
HISTORY_COLUMNS = ("epoch", "loss", "accuracy", "val_loss", "val_accuracy")


def state_variables(model: Any) -> list[Any]:
    """Return the variables that a state holds, in its order: weights, then the optimizer's."""
    return [*model.weights, *model.optimizer.variables]


def save_state(model: Any, history: list[dict[str, float]], path: Path) -> None:
    """Write weights, optimizer and history, from which `restore` goes on."""
    arrays = {f"v{i}": np.asarray(variable) for i, variable in enumerate(state_variables(model))}
    with atomic_path(path) as temporary:
        np.savez(temporary, history=np.array(json.dumps(history)), **arrays)


def restore(model: Any, path: Path) -> list[dict[str, float]]:
    """Set weights and optimizer as they were saved, and return the history; empty where nothing was saved.

    Raises
    ------
    UsageError
        If the file is damaged or of another network.
    """
    if not os.path.lexists(path):
        return []
    model.optimizer.build(model.trainable_variables)
    variables = {f"v{i}": variable for i, variable in enumerate(state_variables(model))}
    now = {name: np.asarray(variable) for name, variable in variables.items()}
    try:
        state = read_arrays(path, LARGEST_HISTORY + sum(array.nbytes + 1000 for array in now.values()))
        history = _history(state.pop("history"))
        kinds = [{k: (v.shape, v.dtype) for k, v in arrays.items()} for arrays in (state, now)]
        if kinds[0] != kinds[1]:
            raise ValueError("its variables are others")
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise UsageError(f"{path}: not a state of this network ({error}); start a new run") from error
    for name, variable in variables.items():
        variable.assign(state[name])
    return history


def _history(text: np.ndarray) -> list[dict[str, float]]:
    history = json.loads(str(text))
    for epoch, row in enumerate(history, 1):
        values = np.array([row[name] for name in HISTORY_COLUMNS])
        if values.dtype.kind not in "if" or not np.isfinite(values).all() or values[0] != epoch:
            raise ValueError(f"its history has no numbers of epoch {epoch}")
    return history


def write_history(path: Path, history: list[dict[str, float]]) -> None:
    """Write one line per epoch, floats in full, so that equal runs give equal bytes."""
    lines = [",".join(HISTORY_COLUMNS), *(",".join(repr(row[c]) for c in HISTORY_COLUMNS) for row in history)]
    write_text(path, "\n".join(lines) + "\n")


def save_model(model: Any, path: Path) -> None:
    """Save a `.keras` file whose bytes depend on the model alone (Keras writes the time of day into it)."""
    from fer_lib.layers import as_keras

    with atomic_path(path) as temporary:
        # Of a compiled model Keras saves the optimizer, too, whatever it is told: four times the size.
        as_keras(model).save(temporary)
        with zipfile.ZipFile(temporary) as archive:
            members = {name: archive.read(name) for name in sorted(archive.namelist())}
        metadata = json.loads(members["metadata.json"])
        metadata.pop("date_saved", None)
        members["metadata.json"] = json.dumps(metadata, sort_keys=True).encode()
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for name, data in members.items():
                archive.writestr(zipfile.ZipInfo(name), data)
        temporary.write_bytes(buffer.getvalue())
