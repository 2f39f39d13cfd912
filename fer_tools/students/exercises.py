"""Exercises of a notebook, as the source marks them and as nbgrader knows them.

In the source an exercise is a cell with the tag `exercise` that holds its solution between the lines
`### BEGIN SOLUTION` and `### END SOLUTION`. In code, the cell after it has the tag `check` and fails where
something is missing; lines between `### BEGIN HIDDEN TESTS` and `### END HIDDEN TESTS` stay with the teacher.
In Markdown it is an open question, which a person reads, and its marks are not seen on the page:
`<!-- BEGIN SOLUTION -->` and `<!-- END SOLUTION -->`; nbgrader looks for their words. What is handed out
has nbgrader's metadata of cells (schema 3) with its checksums, so that either tool can go on with the other's
notebooks.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import nbformat

from fer_lib.files import UsageError
from fer_tools import notebooks
from fer_tools.notebooks import CHECK, EXERCISE

MAY_FAIL = "raises-exception"  # tag of a cell after whose error Jupyter, papermill and nbval go on
SOLUTION, HIDDEN = "SOLUTION", "HIDDEN TESTS"
FORMS = {"code": "### {} {}", "markdown": "<!-- {} {} -->"}  # of marks, each a line of its own
STUBS = {"code": ("# YOUR CODE HERE", "raise NotImplementedError()"), "markdown": ("YOUR ANSWER HERE",)}
NAME = re.compile(r"[\w-]{1,64}", re.ASCII)  # what nbformat and nbgrader allow
MARK = re.compile(rf"(BEGIN|END) ({SOLUTION}|{HIDDEN})")

Cell = Any  # a cell of nbformat


class Exercise(NamedTuple):
    """An exercise by the names of its cells; an open question has no check."""

    name: str
    check: str | None

    @property
    def cells(self) -> list[str]:
        """Names of the cells that it consists of."""
        return [self.name, self.check] if self.check else [self.name]


def tags(cell: Cell) -> list[str]:
    """Return the tags of a cell."""
    return cell.metadata.get("tags", [])


def read(path: Path) -> Any:
    """Return a notebook of somebody else's as nbformat has it; see `notebooks.read`."""
    return nbformat.reads(json.dumps(notebooks.read(path)), as_version=4)


def of_source(notebook: Any) -> list[Exercise]:
    """Return the exercises of a notebook with solutions, in order.

    Parameters
    ----------
    notebook : of nbformat

    Raises
    ------
    UsageError
        If cells are not marked as an exercise has to be; names the cell.
    """
    if fault := next(_faults(notebook.cells), None):
        raise UsageError(fault)
    return [
        Exercise(cell.id, following.id if cell.cell_type == "code" else None)
        for cell, following in pairwise([*notebook.cells, None])
        if EXERCISE in tags(cell)
    ]


def handed_out(notebook: Any) -> list[Exercise] | None:
    """Return the exercises that a notebook was handed out with, None for one that was not handed out.

    Raises
    ------
    UsageError
        If what it says of them is not what `mark` wrote.
    """
    about = notebook.metadata.get("fer", {})
    if not isinstance(about, dict) or "exercises" not in about:
        return None
    found = about["exercises"]
    try:
        return [Exercise(str(exercise), check if check is None else str(check)) for exercise, check in found]
    except (TypeError, ValueError):
        raise UsageError(
            "its metadata do not say which exercises it has; take the notebook anew from what you were given"
        ) from None


def _faults(cells: list[Cell]) -> Iterator[str]:
    """Yield what is wrong with the marks of a source."""
    names = Counter(cell.get("id") for cell in cells)
    kinds = [" and ".join(tag for tag in (EXERCISE, CHECK) if tag in tags(cell)) for cell in cells]
    in_code = [(kind, cell.cell_type == "code") for kind, cell in zip(kinds, cells, strict=True)]
    for number, (cell, kind) in enumerate(zip(cells, kinds, strict=True), 1):
        own = str(cell.get("id"))
        where = f"cell {number}, {own!r}"
        marks = [line.strip() for line in cell.source.split("\n") if MARK.search(line)]
        region = {EXERCISE: SOLUTION, CHECK: HIDDEN}.get(kind, "") if cell.cell_type in FORMS else ""
        form = FORMS.get(cell.cell_type, "{} {}")
        pairs = [form.format(end, region) for end in ("BEGIN", "END")] * (len(marks) // 2)
        if marks != pairs or (kind == EXERCISE and not marks):
            begin, end = (form.format(word, SOLUTION) for word in ("BEGIN", "END"))
            yield (
                f"{where}: tagged {kind!r}, its marks are {marks}; an 'exercise' has {begin} and {end} "
                f"as lines of their own, a 'check' may have those of {HIDDEN}, others have none"
            )
        if kind and (not NAME.fullmatch(own) or names[own] > 1):
            yield f"{where}: its id names it: letters, digits, _ and - alone, and no other cell's"
        if kind == EXERCISE and in_code[number - 1][1] and in_code[number:][:1] != [(CHECK, True)]:
            yield f"{where}: an exercise in code, and the next cell is no code with the tag {CHECK!r}"
        if kind == CHECK and in_code[: number - 1][-1:] != [(EXERCISE, True)]:
            yield f"{where}: tagged {CHECK!r}, and the cell before is no code with the tag {EXERCISE!r}"


def inside(source: str, region: str = SOLUTION) -> list[str]:
    """Return the lines that stand between the marks of a region."""
    return _parted(source, region)[1]


def without(source: str, region: str, stub: tuple[str, ...] = ()) -> str:
    """Return a cell's source with each region replaced by a stub, indented as the region was."""
    return "\n".join(_parted(source, region, stub)[0])


def _parted(source: str, region: str, stub: tuple[str, ...] = ()) -> tuple[list[str], list[str]]:
    outer: list[str] = []
    inner: list[str] = []
    into = outer
    for line in source.split("\n"):
        if f"BEGIN {region}" in line:
            indent = line[: len(line) - len(line.lstrip())]
            outer += [indent + text for text in stub]
            into = inner
        elif f"END {region}" in line:
            into = outer
        else:
            into.append(line)
    return outer, inner


def mark(notebook: Any, exercises: list[Exercise]) -> None:
    """Give the cells of exercises nbgrader's metadata, still without checksums, and say which there are."""
    named = {cell.id: cell for cell in notebook.cells if "id" in cell}
    for exercise in exercises:
        for own in exercise.cells:
            cell, is_check = named[own], own == exercise.check
            about = {"schema_version": 3, "grade_id": own, "task": False, "locked": is_check}
            about |= {"grade": is_check or not exercise.check, "solution": not is_check}
            cell.metadata["nbgrader"] = about | ({"points": 1} if about["grade"] else {})
            if cell.cell_type == "code":
                cell.metadata["tags"] = [*tags(cell), MAY_FAIL]
    notebook.metadata["fer"] = {"exercises": [list(exercise) for exercise in exercises]}


def lock(cell: Cell) -> None:
    """Give a marked cell its checksum; keep Jupyter from removing it, and a check from being changed."""
    about = cell.metadata["nbgrader"]
    about |= {"checksum": checksum(cell), "cell_type": cell.cell_type}
    cell.metadata["deletable"] = False
    if about["locked"]:
        cell.metadata["editable"] = False


def checksum(cell: Cell) -> str:
    """Return nbgrader's checksum of a cell that has its metadata.

    It is the MD5 of source, kind, whether the cell is graded, a solution, locked, its name and, if it is
    graded, its points (`nbgrader.utils.compute_checksum` of 0.9.6).
    """
    about = _about(cell)
    grade, solution = bool(about.get("grade")), bool(about.get("solution"))
    locked = not solution and (grade or bool(about.get("locked")))
    parts = [cell.source, cell.cell_type, str(grade), str(solution), str(locked), name(cell)]
    parts += [str(float(about.get("points", 0)))] if grade else []
    return hashlib.md5("".join(parts).encode(), usedforsecurity=False).hexdigest()


def changed(cell: Cell) -> bool | None:
    """Return whether a cell differs from what was handed out; None where that is not recorded."""
    about = _about(cell)
    return about["checksum"] != checksum(cell) if "checksum" in about else None


def name(cell: Cell) -> str:
    """Return the name of a cell: that which it was handed out with, or its id."""
    return _about(cell).get("grade_id", str(cell.get("id")))


def _about(cell: Cell) -> dict[str, Any]:
    """Return nbgrader's metadata of a cell, none if they are of other kinds."""
    about = cell.metadata.get("nbgrader")
    fine = isinstance(about, dict) and isinstance(about.get("points", 0), int | float)
    return about if fine and isinstance(about.get("grade_id", ""), str) else {}


def has_error(cell: Cell) -> bool:
    """Return whether a cell was executed and ended with an error."""
    return any(output.output_type == "error" for output in cell.get("outputs", []))


def something_else_failed(path: Path) -> bool:
    """Return whether, in an executed notebook, a cell failed that is no exercise."""
    return any(has_error(cell) and MAY_FAIL not in tags(cell) for cell in read(path).cells)


def failed(path: Path) -> list[str]:
    """Return the names of the exercises of an executed notebook that failed, or whose checks did."""
    notebook = read(path)
    wrong = {name(cell) for cell in notebook.cells if has_error(cell)}
    return [exercise.name for exercise in handed_out(notebook) or [] if wrong & {*exercise.cells}]
