"""Model files of any configuration, also such that Keras would never have written, with few or no weights."""

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np

OURS = {"RandomPhotograph": "fer_lib.augmentation"}
SOFTMAX = ("Dense", {"units": 3, "activation": "softmax"})
GLOBAL = ("GlobalAveragePooling2D", {})
SMALL = [  # of a network that is trained in no time, in two blocks
    ("Rescaling", {"scale": 1 / 255, "offset": 0}),
    ("Conv2D", {"filters": 4, "kernel_size": 3, "strides": 2, "activation": "relu"}),
    ("MaxPooling2D", {"pool_size": 2}),
    ("Conv2D", {"filters": 8, "kernel_size": 3, "activation": "relu"}),
    GLOBAL,
    ("Dense", {"units": 3, "activation": "softmax"}),
]


def layer(kind: str, name: str, **own: Any) -> dict[str, Any]:
    """Return the entry of a layer."""
    module = OURS.get(kind, "keras.layers")
    registered = f"fer_lib>{kind}" if kind in OURS else None
    entry = {"class_name": kind, "module": module, "registered_name": registered, "name": name}
    return entry | {"config": {"name": name} | own}


def chain(*layers: tuple[str, dict], side: int = 48, name: str = "m") -> dict[str, Any]:
    """Return the configuration of a Sequential network of layers, each (class, configuration)."""
    first = layer("InputLayer", f"{name}_in", batch_shape=[None, side, side, 1], dtype="float32")
    others = [layer(kind, f"{name}{i}", **own) for i, (kind, own) in enumerate(layers)]
    return {
        "class_name": "Sequential",
        "module": "keras",
        "registered_name": None,
        "name": name,
        "config": {"name": name, "layers": [first, *others]},
    }


def graph(layers: list[dict], calls: dict[str, list], last: str, side: int = 48) -> dict[str, Any]:
    """Return the configuration of a Functional network.

    Parameters
    ----------
    layers : list of dict
        Entries, besides that of the input, "in".
    calls : dict
        For each layer by its name, the (layer, call) or list of these that each of its calls is given.
    last : str
        Whose first output is the network's.
    side : int
        Of the images, in pixels.
    """

    def tensor(source: Any) -> Any:
        if isinstance(source, list):
            return [tensor(each) for each in source]
        own = {"shape": [None, 1], "dtype": "float32", "keras_history": [*source, 0]}
        return {"class_name": "__keras_tensor__", "config": own}

    first = layer("InputLayer", "in", batch_shape=[None, side, side, 1], dtype="float32")
    for entry in layers:
        entry["inbound_nodes"] = [{"args": [tensor(source)], "kwargs": {}} for source in calls[entry["name"]]]
    config = {"name": "m", "layers": [first | {"inbound_nodes": []}, *layers]}
    config |= {"input_layers": [["in", 0, 0]], "output_layers": [[last, 0, 0]]}
    return {
        "class_name": "Functional",
        "module": "keras",
        "registered_name": "Functional",
        "name": "m",
        "config": config,
    }


def write(path: Path, config: dict[str, Any], weights: bytes | None = None) -> Path:
    """Write a `.keras` file; without weights, one that holds a million numbers that belong to no layer."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", json.dumps(config))
        archive.writestr("metadata.json", '{"keras_version": "3.15.1"}')
        archive.writestr("model.weights.h5", spare() if weights is None else weights)
    return path


def spare(values: int = 1_000_000) -> bytes:
    """Return an HDF5 file of so many numbers, which do not repeat."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file["spare"] = np.random.default_rng(0).random(values, np.float32)
    return buffer.getvalue()


def held(path: Path, config: dict[str, Any], seed: int = 0) -> Path:
    """Write a `.keras` file with the weights that its network has, chosen at random: Keras must like it."""
    import keras

    import fer_lib.augmentation  # noqa: F401  (our layers)

    config = json.loads(json.dumps(config))
    if config["class_name"] == "Sequential":  # Keras would build all layers again after each that it adds
        made = [keras.saving.deserialize_keras_object(each) for each in config["config"]["layers"]]
        model = keras.Sequential(made, name=config["config"]["name"])
    else:
        model = keras.saving.deserialize_keras_object(config)
    rng = np.random.default_rng(seed)
    model.set_weights([rng.normal(0, 0.05, weight.shape) for weight in model.get_weights()])
    model.save(path)
    return path
