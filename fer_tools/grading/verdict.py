"""What `fer diagnose --json` says: read as what comes from a process that has opened somebody else's file."""

import json
from collections.abc import Callable
from functools import cache
from typing import Any

from fer_lib.files import UsageError, printable

LONGEST = 2_000  # characters of a text
_TEXT = {"type": "string", "maxLength": LONGEST}
_MAYBE_TEXT = {"type": ["string", "null"], "maxLength": LONGEST}
_COUNT = {"type": ["integer", "null"], "minimum": 0}
_SHARE = {"type": ["number", "null"], "minimum": 0, "maximum": 1}
_NUMBER = {"type": ["number", "null"]}


def _object(needed: dict[str, Any], nullable: bool = False) -> dict[str, Any]:
    kind = ["object", "null"] if nullable else "object"
    return {"type": kind, "required": sorted(needed), "properties": needed}


def _list(of: dict[str, Any], most: int = 2_000) -> dict[str, Any]:
    return {"type": ["array", "null"], "items": of, "maxItems": most}


def _three(of: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": of, "minItems": 3, "maxItems": 3}


SCHEMA = _object(
    {
        "format": {"const": 1},
        "state": {"enum": ["fine", "findings", "refused"]},
        "reason": _MAYBE_TEXT,
        "file": _object({"sha256": _MAYBE_TEXT, "weights_sha256": _MAYBE_TEXT}, nullable=True),
        "container": _object(
            {"kind": _MAYBE_TEXT, "keras": _MAYBE_TEXT, "notes": _list(_TEXT)}, nullable=True
        ),
        "parameters": _COUNT,
        "limit": _COUNT,
        "layers": _list(_object({"class": _TEXT, "name": _TEXT, "parameters": _COUNT})),
        "input": _object({"height": _COUNT, "width": _COUNT, "channels": _COUNT}, nullable=True),
        "output": _object({"classes": _COUNT, "activation": _MAYBE_TEXT}, nullable=True),
        "reading": _object(
            {"told": {"type": "boolean"}, "order": _list(_TEXT, 10), "scale": _MAYBE_TEXT, "sentence": _TEXT},
            nullable=True,
        ),
        "test": _object(
            {
                "images": {"type": "integer", "minimum": 1},
                "accuracy": {"type": "number", "minimum": 0, "maximum": 1},
                "low": {"type": "number", "minimum": 0, "maximum": 1},
                "high": {"type": "number", "minimum": 0, "maximum": 1},
                "accuracy_without_twins": _SHARE,
                "loss": _NUMBER,
                "mean_confidence": _SHARE,
                "calibration_error": _SHARE,
                "confusion": _three(_three({"type": "integer", "minimum": 0})),
                "as_the_game": _SHARE,
            },
            nullable=True,
        ),
        "game": _object({"sentence": _TEXT, "found": {"type": "boolean"}}, nullable=True),
        "findings": _list(_object({"code": _TEXT, "text": _TEXT, "advice": _MAYBE_TEXT}), 100),
    }
)


def read(content: bytes) -> dict[str, Any]:
    """Return a diagnosis that is one; texts are fit for a line.

    Raises
    ------
    UsageError
        If it is not what `fer diagnose --json` prints.
    """
    import fastjsonschema

    try:
        document = json.loads(content.decode())
        json.dumps(document, allow_nan=False).encode()
        _validator()(document)
    except fastjsonschema.JsonSchemaException as error:
        raise UsageError(f"not a diagnosis ({printable(error.message)[:200]})") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"not a diagnosis ({printable(str(error))[:200]})") from error
    return _in_lines(document)


def refused(reason: str) -> dict[str, Any]:
    """Return the diagnosis of a file that could not be opened."""
    nothing = dict.fromkeys(SCHEMA["properties"])
    return nothing | {"format": 1, "state": "refused", "reason": printable(reason)[:LONGEST], "findings": []}


def _in_lines(value: Any) -> Any:
    """Make all texts fit for a line."""
    if isinstance(value, dict):
        return {name: _in_lines(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_in_lines(each) for each in value]
    return printable(value) if isinstance(value, str) else value


@cache
def _validator() -> Callable[[Any], Any]:
    import fastjsonschema

    return fastjsonschema.compile(SCHEMA)
