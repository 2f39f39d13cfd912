"""The notebook of a stage as it was saved: read with bounds, and refused where executing it would go wrong.

Editors, tools that strip metadata, and merges leave traces in notebooks. What does not matter is let through:
outputs, counts, ids, other metadata, line endings. What does is said in one line, before a run begins.
"""

import ast
import json
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from fer_lib.files import MEGABYTE, UsageError, read_regular
from fer_tools import checking
from fer_tools.stages import STAGES

LARGEST = 64 * MEGABYTE  # ours have 1 at most, nearly all of it figures
DEEPEST = 60  # levels of nesting, for papermill copies by recursion; ours have 8, a chart of Vega 20
MEND = "save it anew with JupyterLab, as a notebook of Python 3, or restore it with git"
CONFLICT = re.compile(rb"^(<{7}|={7}|>{7}|\|{7})(?=[ \r\n]|$)", re.MULTILINE)
DEFAULTS, INJECTED = "parameters", "injected-parameters"  # tags of cells: the second is papermill's own
EXERCISE, CHECK, WIDGET = "exercise", "check", "widget"  # tags of cells, too
END = re.compile(r"^run\.finish\(\)", re.MULTILINE)  # what ends a stage
PLAIN = (ast.Constant, ast.List, ast.Tuple, ast.UnaryOp, ast.BinOp, ast.operator, ast.unaryop, ast.Load)


def of_stage(stage: str) -> dict[str, Any]:
    """Return the notebook of a stage, which can be executed with parameters; see `read` and `require_tags`.

    Raises
    ------
    UsageError
        In one line that begins with the file's name.
    """
    path = STAGES[stage].path
    notebook = read(path)
    try:
        require_tags(notebook, stage)
    except UsageError as error:
        raise UsageError(f"{path.name}: {error}") from None
    return notebook


def read(path: Path) -> dict[str, Any]:
    """Return a notebook of somebody else's; it is of format 4, in Python, and papermill does not stumble.

    Raises
    ------
    UsageError
        If it is missing, no regular file, beyond reason, not JSON or not such a notebook.
    """
    return json.loads(_looked_at(path.name, read_regular(path, LARGEST)))


@lru_cache(maxsize=16)
def _looked_at(name: str, content: bytes) -> str:
    try:
        text = content.decode()
        notebook = json.loads(text)
        json.dumps(notebook, ensure_ascii=False).encode()  # half a character could be read, not written
    except (ValueError, RecursionError) as error:
        if mark := CONFLICT.search(content):
            line = content.count(b"\n", 0, mark.start()) + 1
            what = f"line {line} ({mark[1].decode()}) is a mark of a merge conflict; resolve it"
            raise UsageError(f"{name}: {what}, or restore the file with git") from None
        raise UsageError(f"{name}: not valid JSON ({error}); restore it with git") from error
    if fault := next(_faults(notebook), None):
        raise UsageError(f"{name}: not a notebook that can be executed ({fault}); {MEND}")
    return text


def _faults(notebook: Any) -> Iterator[str]:
    """Yield what papermill would stumble on: kinds of values, nesting, format and language."""
    kinds = {"nbformat": int, "nbformat_minor": int, "metadata": dict, "cells": list}
    yield from _wrong(notebook, "it", kinds)
    if notebook["nbformat"] != 4 or notebook["nbformat_minor"] < 0:
        yield f"its format is {notebook['nbformat']}.{notebook['nbformat_minor']}, and 4 is read"
    level = [notebook]
    for _ in range(DEEPEST):
        values = (value.values() if isinstance(value, dict) else value for value in level)
        level = [inner for each in values for inner in each if isinstance(inner, dict | list)]
    if level:
        yield f"it is nested more than {DEEPEST} deep"
    about = notebook["metadata"]
    yield from _wrong(about, "metadata", {"kernelspec?": dict, "language_info?": dict, "papermill?": dict})
    language = about.get("language_info", {}).get("name") or about.get("kernelspec", {}).get("language")
    if language != "python":
        yield f"metadata: its language is {language!r}, not 'python'" if language else "metadata: no language"
    for number, cell in enumerate(notebook["cells"], 1):
        yield from _faults_of_cell(cell, f"cell {number}")


def _faults_of_cell(cell: Any, where: str) -> Iterator[str]:
    kinds = {"cell_type": str, "id?": str, "source": _text, "metadata": dict, "attachments?": dict}
    yield from _wrong(cell, where, kinds)
    yield from _wrong(cell["metadata"], where, {"tags?": _texts})
    for attached in cell.get("attachments", {}).values():
        yield from _wrong(attached, where, {})
    if cell["cell_type"] == "code":
        yield from _wrong(cell, where, {"outputs": list})
        for output in cell["outputs"]:
            yield from _wrong(output, f"{where}, output", {"output_type": str, "data?": dict, "text?": _text})
            if output["output_type"] == "stream":
                yield from _wrong(output, f"{where}, output", {"text": _text})
    elif cell["cell_type"] not in ("markdown", "raw"):
        yield f"{where}: its cell_type is {cell['cell_type']!r}"


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(text, str) for text in value)


def _text(value: Any) -> bool:
    return isinstance(value, str) or _texts(value)


def _wrong(value: Any, where: str, kinds: dict[str, Any]) -> Iterator[str]:
    """Yield which keys of an object are missing, unless they may be ("?"), or not of their kind."""
    if not isinstance(value, dict):
        yield f"{where} is no object"
    for key, kind in kinds.items():
        name = key.removesuffix("?")
        if name not in value:
            if name == key:
                yield f"{where}: no {name}"
        elif not (type(value[name]) is kind if isinstance(kind, type) else kind(value[name])):
            yield f"{where}: {name} is not what it should be"


def require_tags(notebook: dict[str, Any], stage: str) -> None:
    """Refuse a notebook in which parameters of `stage` would be overridden, or would not be those it has.

    One cell has the tag of defaults and, in a notebook that papermill has saved, the next tagged one has
    papermill's. Digests of code leave both out, so nothing is in them but parameters.

    Raises
    ------
    UsageError
        Naming the cell.
    """
    tagged = [
        (tag, number, cell)
        for number, cell in enumerate(notebook["cells"], 1)
        for tag in (DEFAULTS, INJECTED)
        if tag in cell["metadata"].get("tags", [])
    ]
    found = [tag for tag, *_ in tagged]
    if found not in ([DEFAULTS], [DEFAULTS, INJECTED]):
        has = ", ".join(f"cell {number} {tag!r}" for tag, number, _ in tagged) or "none is there"
        raise UsageError(
            f"the tag 'parameters' is to be that of one cell, which sets the defaults ({has}), else what is "
            "given is overridden; mend the tags (JupyterLab: the gear at the upper right)"
        )
    for tag, number, cell in tagged:
        where = f"cell {number}, tagged {tag!r}"
        if cell["cell_type"] != "code":
            raise UsageError(f"{where}: {cell['cell_type']}, not code; give the tag to the cell of defaults")
        values, known = checking.assigned("".join(cell["source"]), where), checking.names(stage)
        for name in known if tag == DEFAULTS else ():
            if name not in values:
                raise UsageError(f"{where}: parameter {name!r} is not set; restore its line")
        for name, value in values.items():
            if name not in known:
                raise UsageError(
                    f"{where}: {name!r} is no parameter of this notebook; set it in another cell"
                )
            if not all(isinstance(node, PLAIN) for node in ast.walk(value)):
                raise UsageError(f"{where}: parameter {name!r} is no plain value; write the value itself")


def deciding(notebook: dict[str, Any]) -> dict[str, Any]:
    """Return a notebook without exercises, checks and widgets that stand after the end of its stage.

    What they do comes too late for any result, so that whoever solves or tries one need not train again.
    """
    cells = notebook["cells"]
    ends = [number for number, cell in enumerate(cells) if END.search("".join(cell["source"]))]
    free = {EXERCISE, CHECK, WIDGET}
    late = [
        number > max(ends, default=len(cells)) and free & set(cell["metadata"].get("tags", []))
        for number, cell in enumerate(cells)
    ]
    return notebook | {"cells": [cell for cell, left_out in zip(cells, late, strict=True) if not left_out]}
