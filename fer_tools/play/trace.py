"""The trace of a game: what the page recorded, checked before anything is made of it."""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from fer_lib.files import UsageError, printable, write_text
from fer_tools import paths
from fer_tools.json_files import read_json

FOLDER = "game"  # of a run, in which `fer play` keeps traces
EXPRESSIONS = ("neutral", "happy", "surprise")  # the first chooses the first row or column, and so on


def read(path: str | Path) -> dict[str, Any]:
    """Return what a trace says.

    Parameters
    ----------
    path : path of a JSON file that the page wrote.

    Raises
    ------
    UsageError
        In one line: no such file, not JSON, or not what `game/trace.schema.json` describes.
    """
    return checked(read_json(path), str(path))


def write(path: str | Path, document: dict[str, Any]) -> None:
    """Write a trace without blanks: it has thousands of frames."""
    write_text(path, json.dumps(document, separators=(",", ":"), allow_nan=False) + "\n")


def checked(document: Any, where: str) -> dict[str, Any]:
    """Return a trace that is one.

    Parameters
    ----------
    document : object
        As JSON is read.
    where : str
        What messages call it.

    Raises
    ------
    UsageError
        If it is not what `game/trace.schema.json` describes, or its parts contradict one another.
    """
    import fastjsonschema

    try:
        json.dumps(document, allow_nan=False)
        _validator()(document)
    except fastjsonschema.JsonSchemaException as error:
        raise _refused(where, error.message[:200]) from None
    except (ValueError, RecursionError) as error:
        raise _refused(where, str(error)[:200]) from None
    _check_consistent(document, where)
    return document


@cache
def _validator() -> Callable[[Any], Any]:
    import fastjsonschema

    schema = read_json(paths.checkout("a trace") / "game" / "trace.schema.json")
    return fastjsonschema.compile(schema, use_default=False)


def _check_consistent(document: dict[str, Any], where: str) -> None:
    """Refuse what no schema tells: classes that are missing, rows of other lengths, time that runs back."""
    classes = document["network"]["classes"]
    if missing := [name for name in EXPRESSIONS if name not in classes]:
        raise _refused(where, f"network.classes: without {' and '.join(missing)}")
    for kind in ("frames", "events"):
        before = 0
        for i, row in enumerate(document[kind]):
            if row.get("p") is not None and len(row["p"]) != len(classes):
                raise _refused(where, f"{kind}[{i}].p: {len(row['p'])} numbers for {len(classes)} classes")
            if row["t"] < before:
                raise _refused(where, f"{kind}[{i}].t: {row['t']} after {before}")
            before = row["t"]


def _refused(where: str, reason: str) -> UsageError:
    told = f"not a trace of the game ({printable(' '.join(reason.split()))}); save it anew from the page"
    return UsageError(f"{where}: {told}")
