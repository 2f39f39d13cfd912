"""Weights out of a file into a network, layer by layer, in whichever of their formats Keras wrote them.

Keras names the arrays of an archive after classes of layers, counted up in their order; its versions count
differently, and some that were saved on Windows have a backslash where others have a slash. In HDF5 it lists
them by layer of the model: those that are trained first, of all layers within. What is a layer's is found by
that order, all shapes are compared, and nothing is left over.
"""

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fer_tools.model_files.configuration import DEEPEST, MODELS, renamed, require

# Arrays that are no weights: of whoever trained the network, and of the generators of random numbers.
NO_WEIGHTS = {"optimizer", "optimizer_weights", "metrics", "seed_generator", "_random_generator", "_metrics"}
CONTAINERS = ("layers", "_layer_checkpoint_dependencies")  # of an archive, by version


@dataclass
class _Group:
    """A group of an archive: arrays by number, and groups within, by name."""

    arrays: dict[int, Any] = field(default_factory=dict)
    groups: dict[str, "_Group"] = field(default_factory=lambda: defaultdict(_Group))

    def __bool__(self) -> bool:
        return bool(self.arrays) or any(self.groups.values())


def load(model: Any, config: dict[str, Any], file: Path) -> list[str]:
    """Give a network its weights.

    Parameters
    ----------
    model : keras.Model
    config : dict
        From which it was made: the order of its layers is that in which they were saved.
    file : path of an HDF5 file that was looked at.

    Returns
    -------
    list of str
        What is to be said of the file.

    Raises
    ------
    Refused
        If there is an array too few or too many, or one of another shape.
    """
    import h5py

    with h5py.File(file, "r") as handle:
        arrays = {}
        handle.visititems(lambda name, item: arrays.update({name: item} if hasattr(item, "shape") else {}))
        notes, used, given = [], set(), set()
        if "model_weights" in handle:
            pairs = _of_layers(model, config, handle["model_weights"])
        else:
            notes += ["saved on Windows"] * any("\\" in name for name in arrays)
            pairs = _of_classes(model, config, _tree(arrays))
        for layer, variables, held in pairs:
            shapes = [[tuple(value.shape) for value in values] for values in (variables, held)]
            require(shapes[0] == shapes[1], f"{_called(layer)} wants weights {_said(*shapes)}")
            for variable, array in zip(variables, held, strict=True):
                variable.assign(array[()])
                used.add(array.name.lstrip("/"))
                given.add(id(variable))
    left = ", ".join(weight.path for weight in model.weights if id(weight) not in given)
    require(not left, f"the file has no weights for {left[:60]!r}")
    for layer in _leaves(model, config):
        if hasattr(layer, "finalize_state"):  # a Normalization, which computes with what it makes of them
            layer.finalize_state()
    spare = [name for name in arrays if name not in used and not NO_WEIGHTS & set(re.split(r"[/\\]", name))]
    if spare:
        notes.append(
            f"holds {len(spare):,} arrays that belong to no layer, the first of them {spare[0][:60]!r}"
        )
    return notes


def _called(layer: Any) -> str:
    return f"layer {layer.name[:60]!r} ({type(layer).__name__})"


def _said(wanted: list[tuple[int, ...]], held: list[tuple[int, ...]]) -> str:
    """Return the first of what differs between two lists of shapes."""
    for i in range(min(len(wanted), len(held))):
        if wanted[i] != held[i]:
            return f"of shape {wanted[i]}, the file has {held[i]}"
    return f"in {len(wanted)} arrays, the file has {len(held)}"


def _layers(model: Any, config: dict[str, Any]) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Yield the layers of a network that have weights, each with its configuration, in the order of it."""
    by_name = {layer.name: layer for layer in model.layers}
    for entry in config["config"]["layers"]:
        layer = by_name.get(renamed(entry["config"].get("name")))
        if layer is not None and layer.weights:
            yield layer, entry


def _leaves(layer: Any, config: dict[str, Any]) -> Iterator[Any]:
    """Yield the layers with weights in a layer: itself, unless it is a network."""
    if config["class_name"] not in MODELS:
        yield layer
        return
    for inner, entry in _layers(layer, config):
        yield from _leaves(inner, entry)


def _of_layers(model: Any, config: dict[str, Any], group: Any) -> Iterator[tuple[Any, list, list]]:
    """Yield the layers, their variables and their arrays, as HDF5 lists them."""
    listed = {
        name: names for name in _names(group, "layer_names") if (names := _names(group[name], "weight_names"))
    }
    for layer, entry in _layers(model, config):
        leaves = list(_leaves(layer, entry))
        trained = [weight for leaf in leaves for weight in leaf.trainable_weights]
        others = [weight for leaf in leaves for weight in leaf.non_trainable_weights]
        place = entry["config"]["name"]
        yield layer, trained + others, [group[place][name] for name in listed.pop(place, [])]
    require(not listed, f"weights of {', '.join(map(repr, listed))[:60]}, which the network does not have")


def _names(group: Any, key: str) -> list[str]:
    """Return a list of names that HDF5 keeps beside a group, in parts if it is long."""
    keys = [key] if key in group.attrs else []
    while f"{key}{len(keys)}" in group.attrs:
        keys.append(f"{key}{len(keys)}")
    names = [name for each in keys for name in group.attrs[each]]
    return [name.decode() if isinstance(name, bytes) else str(name) for name in names]


def _tree(arrays: dict[str, Any]) -> _Group:
    """Return the groups of an archive, whatever it parts their names by."""
    root = _Group()
    for name, array in arrays.items():
        *places, number = re.split(r"[/\\]", name)
        if NO_WEIGHTS & set(places) or not number.isdecimal() or places[-1:] != ["vars"]:
            continue
        require(len(places) <= DEEPEST, "too many or too deep groups")
        group = root
        for place in places[:-1]:
            group = group.groups[place]
        require(int(number) not in group.arrays, f"two arrays {name[:60]!r}")
        group.arrays[int(number)] = array
    return root


def _of_classes(model: Any, config: dict[str, Any], group: _Group) -> Iterator[tuple[Any, list, list]]:
    """Yield the layers, their variables and their arrays, as an archive names them."""
    within = next((group.groups[name] for name in CONTAINERS if name in group.groups), _Group())
    by_class = defaultdict(list)
    for name, inner in within.groups.items():
        kind, number = re.fullmatch(r"(.*?)(?:_(\d{1,9}))?", name, re.DOTALL).groups()
        if inner:
            by_class[kind].append((int(number or 0), name, inner))
    found = {
        kind: [inner for *_, inner in sorted(each, key=lambda e: e[:2])] for kind, each in by_class.items()
    }
    wanted = defaultdict(list)
    for layer, entry in _layers(model, config):
        wanted[_snake(type(layer).__name__)].append((layer, entry))
    for kind in sorted({*wanted, *found}):
        layers, groups = wanted[kind], found.get(kind, [])
        counts = (
            f"weights of {len(groups):,} layers {kind[:60]!r}, the network has {len(layers):,} such layers"
        )
        lacking = f"{_called(layers[len(groups)][0])}: " if len(groups) < len(layers) else ""
        require(len(layers) == len(groups), f"{lacking}the file has {counts}")
        for (layer, entry), inner in zip(layers, groups, strict=True):
            if entry["class_name"] in MODELS:
                yield from _of_classes(layer, entry, inner)
            else:
                yield layer, layer.weights, [inner.arrays[i] for i in sorted(inner.arrays)]


def _snake(name: str) -> str:
    """Return the name of a class as Keras makes that of a group of it."""
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", name))
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()
