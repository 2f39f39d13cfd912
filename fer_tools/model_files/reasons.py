"""Why Keras could not open a network, in a line for whoever has to mend it."""

import re
import traceback
from typing import Any

LONGEST = 200  # characters


def of(error: BaseException) -> str:
    """Return which layer an error is about, if that can be told, and what is wrong with it.

    Keras tells its developers: that a component "could not be deserialized properly", with the whole
    configuration, and which arguments were received. The error that it began with says what was wrong,
    and the frames that it came through know the layer.
    """
    first = _first(error)
    layer = _layer(first) or _layer(error)
    return f"{layer}: {_said(first)}" if layer else _said(first)


def _first(error: BaseException) -> BaseException:
    """Return the error that others were raised about."""
    seen = {id(error)}
    while (before := error.__cause__ or error.__context__) is not None and id(before) not in seen:
        if not isinstance(before, Exception):
            break
        seen.add(id(before))
        error = before
    return error


def _said(error: BaseException) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    said = re.sub(r"\{\{\w+ .*?\}\}\s*=?\s*|`", "", lines[0]) if lines else type(error).__name__
    if isinstance(error, KeyError):
        said = f"no entry {said}"
    return " ".join(said.split())[:LONGEST]


def _layer(error: BaseException) -> str | None:
    """Return the innermost layer that was made, built or called when an error occurred."""
    found = None
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if not frame.f_globals.get("__name__", "").startswith(("keras.", "fer_")):
            continue
        found = _described(frame.f_locals) or found
    return found


def _described(names: dict[str, Any]) -> str | None:
    """Return the layer of a function's variables: its configuration before it exists, itself afterwards."""
    import keras

    own = names.get("self")
    if isinstance(own, keras.layers.Layer) and not isinstance(own, keras.Model):
        name = getattr(own, "name", None)
        return f"layer {name[:60]!r} ({type(own).__name__})" if isinstance(name, str) else None
    for key in ("config", "layer_data", "layer_config"):
        entry = names.get(key)
        if isinstance(entry, dict) and entry.get("class_name") not in (None, "Functional", "Sequential"):
            inner = entry.get("config")
            name = inner.get("name") if isinstance(inner, dict) else None
            if name is not None:
                return f"layer {str(name)[:60]!r} ({str(entry['class_name'])[:60]})"
    return None
