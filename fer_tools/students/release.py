"""What students are given, and what a teacher with nbgrader goes on with: folders made from this checkout.

A student's folder is a checkout of its own, without solutions: its notebooks run, check themselves and make
reports. What is for work on the repository itself (tests, committed runs, the generator of faces) stays here.
"""

import copy
import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat

from fer_lib.files import MEGABYTE, UsageError, atomic_path, read_regular, write_text
from fer_tools import notebooks, paths
from fer_tools.stages import STAGES
from fer_tools.students import exercises
from fer_tools.students.exercises import CHECK, EXERCISE, HIDDEN, SOLUTION, STUBS, tags

ASSIGNMENT = "fer_lab"  # nbgrader's name of it
# Files, and folders with all that is in them.
TAKEN = (
    *(".gitattributes", ".gitignore", "LICENSE", "environment.yml", "pyproject.toml", "requirements.lock"),
    *("fer_lib", "fer_tools", "game", "report", "data/README.md", "data/bundled", "data/digits"),
    *("notebooks/05_optimisation.yaml", "results/README.md", "results/section6_study"),
    *("notebooks/05_teachers.yaml", "results/taught_study"),
)
LEFT = "fer_tools/site"  # of these: its pages stay here
GUIDE = "docs/student.md"  # becomes their README.md
ENDS = "# -- for work on the repository itself"  # the Makefile's line above which targets are students'
LARGEST = 64 * MEGABYTE
TELLING = 12  # characters of a line of a solution that says something by itself


def for_nbgrader(source: Any) -> tuple[Any, list[exercises.Exercise]]:
    """Return a notebook with solutions as nbgrader's `source` folder has it, and its exercises.

    Parameters
    ----------
    source : of nbformat
        It stays what it is.

    Raises
    ------
    UsageError
        As `exercises.of_source`.
    """
    notebook, found = copy.deepcopy(source), exercises.of_source(source)
    exercises.mark(notebook, found)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return notebook, found


def for_students(source: Any, outputs: bool = False) -> Any:
    """Return a notebook without solutions, hidden tests and outputs, as `nbgrader generate_assignment` does.

    Parameters
    ----------
    source : of nbformat
        It stays what it is.
    outputs : bool
        Whether to keep the outputs of cells that are no exercises and no checks.

    Raises
    ------
    UsageError
        As `exercises.of_source`, or if what is left holds a line of a solution.
    """
    notebook, found = for_nbgrader(source)
    named = {cell.id: cell for cell in notebook.cells if "id" in cell}
    solved = {exercise.name: exercises.inside(named[exercise.name].source) for exercise in found}
    for cell in (named[name] for exercise in found for name in exercise.cells):
        if EXERCISE in tags(cell):
            cell.source = exercises.without(cell.source, SOLUTION, STUBS[cell.cell_type])
        elif CHECK in tags(cell):
            cell.source = exercises.without(cell.source, HIDDEN)
        exercises.lock(cell)
    kept = zip(notebook.cells, source.cells, strict=True) if outputs else ()
    for cell, whole in kept:
        if cell.cell_type == "code" and not {EXERCISE, CHECK} & {*tags(cell)}:
            cell.outputs, cell.execution_count = whole.outputs, whole.execution_count
    told = [json.dumps(cell) for cell in notebook.cells]
    for name, line in ((name, line.strip()) for name, lines in solved.items() for line in lines):
        for number, text in enumerate(told, 1):
            if len(line) >= TELLING and json.dumps(line)[1:-1] in text:
                raise UsageError(f"cell {number} holds a line of the solution of {name!r}: {line}; reword it")
    return notebook


def write(folder: Path) -> list[Path]:
    """Write `student/`, what is handed out, and `nbgrader/`, a course folder of nbgrader with solutions.

    Parameters
    ----------
    folder : Path
        What is there under these two names is replaced.

    Returns
    -------
    list of Path
        Both.

    Raises
    ------
    UsageError
        If a notebook is not as it should be; names notebook and cell. Nothing is replaced then.
    """
    root = paths.checkout("make student")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".") as made:
        student, teacher = Path(made, "student"), Path(made, "nbgrader")
        for name, source in sources():
            try:
                _write_notebook(student / "notebooks" / name, for_students(source))
                _write_notebook(teacher / "source" / ASSIGNMENT / name, for_nbgrader(source)[0])
            except UsageError as error:
                raise UsageError(f"{name}: {error}") from None
        for path in _taken(root):
            copy_file(path, student / path.relative_to(root))
        copy_file(root / GUIDE, student / "README.md")
        write_text(student / "Makefile", _makefile(root))
        for path in (student, teacher):
            shutil.rmtree(folder / path.name, ignore_errors=True)
            path.rename(folder / path.name)
    return [folder / "student", folder / "nbgrader"]


def sources() -> Iterator[tuple[str, Any]]:
    """Yield the notebooks with solutions, of nbformat, by the names of their files."""
    for stage, kind in STAGES.items():
        content = json.dumps(notebooks.of_stage(stage))
        yield kind.path.name, nbformat.reads(content, as_version=4)


def _write_notebook(path: Path, notebook: Any) -> None:
    write_text(path, nbformat.writes(notebook) + "\n")


def _taken(root: Path) -> Iterator[Path]:
    """Yield the files that students get as they are; not what is hidden in folders, nor compiled code."""
    for name in TAKEN:
        path = root / name
        if not path.is_dir():
            yield path
            continue
        for inner in sorted(path.rglob("*")):
            parts = inner.relative_to(path).parts
            if inner.is_relative_to(root / LEFT):
                continue
            if not inner.is_dir() and "__pycache__" not in parts and not any(p[0] == "." for p in parts):
                yield inner


def copy_file(path: Path, target: Path) -> None:
    """Copy a file of the checkout; a link, or what is larger than `LARGEST`, is refused."""
    content = read_regular(path, LARGEST)
    with atomic_path(target) as temporary:
        temporary.write_bytes(content)


def _makefile(root: Path) -> str:
    text = read_regular(root / "Makefile", LARGEST).decode()
    above, line, _ = text.partition(f"\n{ENDS}")
    if not line:
        raise UsageError(f"Makefile: no line begins with {ENDS!r}; restore it above what students do not get")
    return f"{above.rstrip()}\n"
