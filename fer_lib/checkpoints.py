"""What training writes after each epoch: history.csv, the model, and the state to go on from."""

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from fer_lib.files import UsageError, atomic_path, write_text

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
    if not path.exists():
        return []
    model.optimizer.build(model.trainable_variables)
    variables = state_variables(model)
    try:
        with np.load(path, allow_pickle=False) as state:
            arrays = [state[f"v{i}"] for i in range(len(variables))]
            history = json.loads(str(state["history"]))
        for variable, array in zip(variables, arrays, strict=True):
            variable.assign(array)
    except (KeyError, ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise UsageError(f"{path}: not a state of this network ({error}); start a new run") from error
    return history


def write_history(path: Path, history: list[dict[str, float]]) -> None:
    """Write one line per epoch, floats in full, so that equal runs give equal bytes."""
    lines = [
        ",".join(HISTORY_COLUMNS),
        *(",".join(repr(row[name]) for name in HISTORY_COLUMNS) for row in history),
    ]
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
