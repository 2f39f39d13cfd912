"""Networks: one file each, found by name."""

import importlib
import inspect
import math
from pathlib import Path
from typing import Any

from fer_lib import tensorflow_import
from fer_lib.files import UsageError, columns

PARAMETER_LIMIT = 150_000  # the assignment's


def names() -> list[str]:
    """Return the names of the networks: the files of this folder."""
    return sorted(path.stem for path in Path(__file__).parent.glob("[!_]*.py"))


def _module(name: str) -> Any:
    if name not in names():
        raise UsageError(f"model {name!r}: no such network; choose one of {', '.join(names())}")
    return importlib.import_module(f"{__name__}.{name}")


def image_size(name: str) -> int:
    """Return height and width (pixels) of the network's input."""
    return _module(name).IMAGE_SIZE


def title(name: str) -> dict[str, str]:
    """Return section (of the assignment) and title of a network, as its report has them."""
    module = _module(name)
    return {
        "section": getattr(module, "SECTION", "beyond the assignment"),
        "title": getattr(module, "TITLE", "Network"),
    }


def build(name: str, **options: Any) -> Any:
    """Build a network by name, refusing more parameters than the assignment allows.

    Parameters
    ----------
    name : str
        One of `names()`.
    **options
        Passed on as far as the network's `build` takes them.

    Raises
    ------
    UsageError
        If there is no such network, or it has more than 150,000 parameters.
    """
    tensorflow_import.import_tensorflow()
    known = {key: value for key, value in options.items() if key in _options(name)}
    return check_limit(_module(name).build(**known))


def source(name: str) -> str:
    """Return the Python code that builds a network, as it stands in its file, to be read."""
    return inspect.getsource(_module(name).build)


def ignored(name: str) -> set[str]:
    """Return the names of options of other networks that this one ignores."""
    return set().union(*map(_options, names())) - _options(name)


def _options(name: str) -> set[str]:
    return set(inspect.signature(_module(name).build).parameters)


def check_limit(model: Any, limit: int = PARAMETER_LIMIT) -> Any:
    """Return the model if it has at most `limit` parameters.

    Raises
    ------
    UsageError
        Otherwise, with the count of each layer.
    """
    count = model.count_params()
    if count > limit:
        layers = ", ".join(
            f"{layer.name} {layer.count_params():,}" for layer in model.layers if layer.count_params()
        )
        raise UsageError(
            f"model {model.name!r}: {count:,} parameters, the limit is {limit:,} ({layers}); "
            "make a layer smaller"
        )
    return model


def parameter_counts(model: Any) -> dict[str, int]:
    """Return the parameters in total, trainable, and not trainable (moving statistics)."""
    trainable = sum(math.prod(weight.shape) for weight in model.trainable_weights)
    total = model.count_params()
    return {"parameters": total, "trainable": trainable, "non_trainable": total - trainable}


def summary_rows(model: Any) -> list[tuple[str, str, str, int]]:
    """Return rows (layer, type, output shape, parameters), one per layer, in order."""
    return [
        (layer.name, type(layer).__name__, str(tuple(layer.output.shape)), layer.count_params())
        for layer in model.layers
    ]


def print_summary(model: Any) -> None:
    """Print layers, output shapes and parameter counts; the same text wherever it is printed."""
    header = ("Layer", "Type", "Output shape", "Parameters")
    rows = [(name, kind, shape, f"{count:,}") for name, kind, shape, count in summary_rows(model)]
    print(f"Model: {model.name}", *columns([header, *rows], "<<<>"), sep="\n")
    counts = parameter_counts(model)
    print(
        f"Total {counts['parameters']:,}   Trainable {counts['trainable']:,}   "
        f"Non-trainable {counts['non_trainable']:,}"
    )
