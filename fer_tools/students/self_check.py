"""What a student's copy still lacks: exercise by exercise, and of the report.

The student's own notebooks are executed at their smallest size, in bounded kernels and a temporary folder.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from fer_lib.files import UsageError
from fer_tools import assignment, checking, environment, notebooks, parameters, pipeline, scratch
from fer_tools.run import find, provenance
from fer_tools.run.run import Run
from fer_tools.stages import REQUIRED, STAGES
from fer_tools.students import exercises

SMALLEST = {"train_samples": 60, "epochs": 1, "batch_size": 16, "repeats": 1}  # of those that a stage has
THREADS = "2"  # of TensorFlow: on a machine of many cores the memory that they reserve alone is bounded, too
LONGEST = 200  # characters of a message
TOO_LONG = "it takes too long, and was interrupted"
ANEW = "take it anew from what you were given"
DONE = ("passes", "answered")


class Found(NamedTuple):
    """The state of an exercise.

    Attributes
    ----------
    name : str
    state : str
        "passes"; "answered", an open question; "not begun"; "fails"; "not reached", where the notebook ended
        before; "altered" or "missing", where a cell is not as it was handed out, or gone.
    message : str
        In a line, what there is to say.
    """

    name: str
    state: str
    message: str = ""


def chosen(names: Sequence[str]) -> dict[str, Path]:
    """Return notebooks by their stage: those named, or all that have exercises.

    Parameters
    ----------
    names : sequence of str
        Numbers, names or paths, such as "2", "02_training" and "notebooks/02_training.ipynb".

    Raises
    ------
    UsageError
        If there is no such notebook, or two are of the same stage.
    """
    found: dict[str, Path] = {}
    for name in names:
        stem = Path(name).name.removesuffix(".ipynb")
        stage = next((key for key, kind in STAGES.items() if stem in _names(kind.notebook)), None)
        if stage is None:
            known = ", ".join(kind.notebook for kind in STAGES.values())
            raise UsageError(f"notebook {name!r}: none of that name; there are {known}")
        if stage in found:
            raise UsageError(f"notebook {name!r}: the second of its number; name one")
        found[stage] = Path(name).absolute() if name.endswith(".ipynb") else STAGES[stage].path
    everything = {stage: kind.path for stage, kind in STAGES.items()}
    return found or {stage: path for stage, path in everything.items() if of(exercises.read(path))}


def _names(notebook: str) -> tuple[str, str, str]:
    number = notebook.partition("_")[0]
    return notebook, number, number.lstrip("0")


def of(notebook: Any) -> list[exercises.Exercise]:
    """Return the exercises of a notebook, handed out or with solutions."""
    given = exercises.handed_out(notebook)
    return exercises.of_source(notebook) if given is None else given


def check(given: dict[str, Path]) -> Iterator[tuple[str, list[Found]]]:
    """Execute notebooks, and yield for each the state of its exercises, as soon as it is known.

    Parameters
    ----------
    given : dict
        Of `chosen`. What they read of earlier notebooks, those of this checkout make.

    Yields
    ------
    stage, list of Found
    """
    fewer = dict.fromkeys(environment.THREADS, THREADS)
    with scratch.folder() as folder, environment.replaced(os.environ | fewer | {"FER_RESULTS": str(folder)}):
        ended: dict[str, str] = {}  # why stages came to no end
        for alone in (False, True):
            stages = [stage for stage in _needed(given) if STAGES[stage].alone == alone]
            run = _begun(stages) if stages else None
            for stage in stages:
                path = given.get(stage, STAGES[stage].path)
                if blocked := next((ended[name] for name in STAGES[stage].reads if name in ended), ""):
                    ended[stage] = blocked
                else:
                    ended |= _executed(run, stage, path)
                if stage in given:
                    yield stage, _states(run, stage, path, ended.get(stage, ""))


def _needed(given: dict[str, Path]) -> list[str]:
    """Return stages and those that they read, directly or through others, in order."""
    needed = set(given)
    for stage in reversed(STAGES):
        needed |= set(STAGES[stage].reads) if stage in needed else set()
    return [stage for stage in STAGES if stage in needed]


def _begun(stages: list[str]) -> Run:
    """Return a new run with the smallest parameters with which its stages can be executed."""
    resolved, smallest = {}, parameters.smoke() | SMALLEST
    for stage in stages:
        own = {name: value for name, value in smallest.items() if name in checking.names(stage)}
        resolved[stage] = checking.plain(checking.build(stage, own))
    run = find.create("check")
    run.update(parameters=resolved)
    return run


def _executed(run: Run, stage: str, path: Path) -> dict[str, str]:
    """Execute a notebook; return why it came to no end, by stage, if it did not."""
    try:
        notebooks.require_tags(notebooks.read(path), stage)
        provenance.code_digest(stage)
        pipeline.execute_stage(run, stage, path, bounded=True)
    except pipeline.KernelDied:
        died = f"{STAGES[stage].notebook}: Python ended before the notebook; it took too much memory or time"
        return {stage: died}
    except UsageError as error:
        said = _line(str(error).partition(" (see ")[0]).removesuffix(":")
        return {stage: said.replace("KeyboardInterrupt", TOO_LONG)}
    return {}


def _line(text: str) -> str:
    """Return the first line of a message that says something, not too long."""
    first = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return first if len(first) <= LONGEST else f"{first[:LONGEST]}..."


def _states(run: Run, stage: str, path: Path, ended: str) -> list[Found]:
    notebook = exercises.read(path)
    done = run.path / provenance.executed_notebook(stage)
    executed = exercises.read(done).cells if done.exists() else []
    begun = [cell for cell in executed if cell.cell_type == "code" and cell.metadata.papermill.start_time]
    now, then = _named(notebook.cells), _named(begun)
    last = exercises.name(begun[-1]) if begun and ended else ""
    return [_state(exercise, now, then, ended, last) for exercise in of(notebook)]


def _named(cells: list[Any]) -> dict[str, Any]:
    """Return cells by their names; of a cell that was copied, the first."""
    return {exercises.name(cell): cell for cell in reversed(cells)}


def _state(
    exercise: exercises.Exercise, now: dict[str, Any], then: dict[str, Any], ended: str, last: str
) -> Found:
    """Return the state of an exercise from its cells, as they are `now`, and `then`, when they were executed.

    Where the notebook came to no end, `ended` says why, and `last` names the last cell that was begun.
    """
    for name in exercise.cells:
        if name not in now:
            return Found(exercise.name, "missing", f"its cell {name!r} is gone; {ANEW}")
    if exercise.check and exercises.changed(now[exercise.check]):
        return Found(exercise.name, "altered", f"its check is not the one handed out; {ANEW}")
    cell = now[exercise.name]
    if not cell.source.strip() or exercises.changed(cell) is False:
        return Found(exercise.name, "not begun")
    if not exercise.check:
        return Found(exercise.name, "answered", "for a person to read")
    for executed in (then[name] for name in exercise.cells if name in then):
        if error := next((each for each in executed.outputs if each.output_type == "error"), None):
            return Found(exercise.name, "fails", _said(error))
    if last in exercise.cells:
        return Found(exercise.name, "fails", ended)
    if not {*exercise.cells} <= {*then}:
        return Found(exercise.name, "not reached", ended)
    return Found(exercise.name, "passes")


def _said(error: Any) -> str:
    if error.ename == "NotImplementedError":
        return "`raise NotImplementedError()` stands where your code is to stand"
    if error.ename == "AssertionError":
        return _line(error.evalue) or "its check is not met"
    if error.ename == "KeyboardInterrupt":
        return TOO_LONG
    return _line(f"{error.ename}: {error.evalue}").removesuffix(":")


def missing_of_report() -> tuple[str, list[str]]:
    """Return the newest run that trains, and what the assignment's report still lacks by it, in lines."""
    name = next((run.path for run, document in find.all_runs() if "training" in document["parameters"]), None)
    if name is None:
        return "", ["no run yet: `fer run` executes the notebooks"]
    run = find.open_run(name)
    undone = [STAGES[stage].notebook for stage in REQUIRED if stage not in run.finished]
    if undone:
        return run.name, [f"{', '.join(undone)}: not finished; `fer run --resume {run.name}` goes on"]
    rows = assignment.requirements(run.metrics, run.model_path.is_file()).itertuples()
    lines = [
        f"{row.requirement}: {row.required} is asked, {row.measured} there" for row in rows if not row.passed
    ]
    if not (run.path / "report.pdf").is_file():
        lines.append(f"no report yet: `fer report {run.name}` builds it")
    return run.name, lines
