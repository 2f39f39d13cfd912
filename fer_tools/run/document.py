"""run.json, read and found to be one: whatever is asked of it later has its type."""

import math
import re
from pathlib import Path
from typing import Any

from fer_lib.files import UsageError
from fer_tools.json_files import read_json
from fer_tools.kinds import Number

THREAD_COUNT = Number(1, 1024, "threads of a kernel", whole=True, optional=True)
SECONDS = 1e10  # no time in Unix seconds, nor how long something took, is more
# What a stage may write, by the name under which run.json keeps its digest.
_NAME = r"(?!\.)[^/\\\x00-\x1f\ud800-\udfff]{1,200}"  # of one file; not every text can be one
OUTPUT = re.compile(rf"metrics\.json|history\.csv|model\.keras|(figures|tables|checkpoints)/{_NAME}")
_RUN = {"name": str, "created": int, "parameters": dict, "stages": dict}  # what run.json has at least


def read(folder: Path) -> dict[str, Any]:
    """Return what run.json of a run says.

    Raises
    ------
    UsageError
        If there is none, or something in it is not what its name says: it is somebody else's file, perhaps.
    """
    path = folder / "run.json"
    try:
        document = read_json(path)
    except UsageError:
        if not path.exists():
            raise UsageError(f"{folder}: not a run (it has no run.json); see `fer list`") from None
        raise
    if wrong := _wrong(document):
        raise UsageError(f"{path}: not a run ({wrong}); start a new run")
    return document


def _wrong(document: Any) -> str:
    """Say what is wrong with the content of run.json; nothing if it is one."""
    for key, kind in _RUN.items():
        if not isinstance(document, dict) or not isinstance(document.get(key), kind):
            return f"{key!r} is missing or of the wrong kind"
    if not _is_number(document["created"]):
        return f'"created" is {_short(document["created"])}, not a time in Unix seconds'
    try:
        THREAD_COUNT.check(document.get("threads"))
    except ValueError as error:
        return f'"threads" is {_short(document["threads"])}; expected {error}'
    if not isinstance(document.get("excerpt", False), bool):
        return f'"excerpt" is {_short(document["excerpt"])}, neither true nor false'
    for entry in [*document["parameters"].values(), *document["stages"].values()]:
        if not isinstance(entry, dict):
            return f"{_short(entry)} in place of an object"
    stages = ((name, _wrong_stage(entry)) for name, entry in document["stages"].items())
    return next((f"stage {_short(name)} {wrong}" for name, wrong in stages if wrong), "")


def _wrong_stage(entry: dict[str, Any]) -> str:
    """Say what is wrong with a stage of run.json; nothing if it is one."""
    if not isinstance(entry.get("status"), str):
        return "without status"
    if entry["status"] == "done" and "outputs" not in entry:
        return "without outputs"
    for key, right in _STAGE.items():
        if key in entry and not right(entry[key]):
            return f"has {key} of the wrong kind"
    for key in (*entry.get("outputs", ()), *entry.get("replaces", ())):
        if not (isinstance(key, str) and OUTPUT.fullmatch(key)):
            return f"names a file that no notebook writes: {_short(key)}"
    return ""


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= SECONDS


def _are_texts(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(text, str) for text in value.values())


_STAGE = {  # what a stage may have, and whether it is right
    "inputs": lambda value: isinstance(value, dict) and isinstance(value.get("environment", {}), dict),
    "outputs": _are_texts,
    "replaces": lambda value: isinstance(value, list),
    "begun": _is_number,
    "spent": _is_number,
    "seconds": _is_number,
    "notebook": lambda value: value is None or isinstance(value, str),
}


def _short(value: Any) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."
