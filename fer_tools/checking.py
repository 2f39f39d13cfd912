"""Parameters read and refused: every name, type and range, before a kernel starts."""

import ast
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, fields
from typing import Any

from fer_lib.files import UsageError
from fer_tools.kinds import NotAllowed
from fer_tools.parameters import PRESETS
from fer_tools.run import source_code
from fer_tools.stages import STAGES, consisting

ADDED = "# Parameters\n"  # how the cell begins in which papermill sets what it was given


def kinds(stage: str | None = None) -> dict[str, Any]:
    """Return the kind (of `fer_tools.kinds`) of each parameter of one stage, or of all."""
    stages = [STAGES[stage]] if stage else STAGES.values()
    return {f.name: f.metadata["kind"] for kind in stages for f in fields(kind.parameters)}


def names(stage: str | None = None) -> list[str]:
    """Return the names of the parameters of one stage, or of all."""
    return list(kinds(stage))


def optional() -> list[str]:
    """Return the names of the parameters that ask for stages which a run may have beside the others."""
    return [kind.optional_by for kind in STAGES.values() if kind.optional_by and not kind.alone]


def collect(stage: str, values: Mapping[str, Any]) -> Any:
    """Build a stage's parameters from a notebook's variables, checking each.

    Parameters
    ----------
    stage : str
        One of `STAGES`.
    values : dict
        `globals()` of the notebook; other names are ignored, unless papermill was given them.

    Raises
    ------
    UsageError
        If a value has the wrong type or is out of range, or papermill was given what the notebook does not
        have, or overrides.
    """
    known = names(stage)
    chosen = build(stage, {name: values[name] for name in known if name in values})
    if isinstance(executed := values.get("In"), list):  # under which IPython keeps the texts of cells
        _require_heeded(known, values, executed)
    return chosen


def _require_heeded(known: list[str], values: Mapping[str, Any], executed: list[str]) -> None:
    """Refuse a kernel that lacks parameters, or in which those that papermill was given have no effect."""
    if missing := [name for name in known if name not in values]:
        raise UsageError(f"parameter {missing[0]!r}: the notebook does not set it; restore its line")
    given: dict[str, ast.expr] = {}
    if executed[-1] not in executed[:-1]:  # else somebody executes cells by hand, in any order
        for text in executed:
            if text.startswith(ADDED):
                with suppress(UsageError):  # a cell of somebody's own, which does more
                    given = assigned(text, ADDED)
    check_names([name for name in given if not name.startswith("PAPERMILL_")], known)
    for name, value in given.items():
        if name in known and ast.unparse(value) != repr(values[name]):
            raise UsageError(
                f"parameter {name!r}: {ast.unparse(value)} is given, and the notebook then sets "
                f"{values[name]!r}; the cell of defaults, and no other, needs the tag 'parameters'"
            )


def assigned(source: str, where: str) -> dict[str, ast.expr]:
    """Return what a cell of parameters sets, by name.

    Raises
    ------
    UsageError
        If it does anything else; `where` names it.
    """
    found: dict[str, ast.expr] = {}
    for node in source_code.parsed(source, where).body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        set_here = [target.id for target in targets if isinstance(target, ast.Name)]
        assigns = isinstance(node, ast.Assign | ast.AnnAssign) and node.value
        if not assigns or len(set_here) != len(targets):
            raise UsageError(f"{where}: line {node.lineno} is not `name = value`; move it to another cell")
        found |= dict.fromkeys(set_here, node.value)
    return found


def build(stage: str, values: Mapping[str, Any]) -> Any:
    """Build a stage's parameters; unknown names, wrong types and values out of range are refused.

    Raises
    ------
    UsageError
        Naming the parameter and what is allowed.
    """
    known = kinds(stage)
    check_names(values, list(known))
    chosen = STAGES[stage].parameters(
        **{name: _allowed(name, values[name], kind.check) for name, kind in known.items() if name in values}
    )
    if getattr(chosen, "warm_up", 0) and chosen.schedule == "constant":
        raise UsageError(
            f'parameter warm_up = {chosen.warm_up!r}: has no effect with schedule "constant"; '
            'leave it at 0, or set schedule to "cosine"'
        )
    if getattr(chosen, "mixing", 0) and chosen.epochs < 2:  # of two, `training.mixed_epochs` leaves one
        raise UsageError(
            f"parameter mixing = {chosen.mixing!r}: has no effect with one epoch, as none is mixed in the "
            "last ones; leave it at 0, or take more epochs"
        )
    return chosen


def check_names(values: Iterable[str], valid: list[str]) -> None:
    """Refuse names that are not parameters, giving the valid ones."""
    for name in values:
        if name not in valid:
            raise UsageError(f"parameter {name!r}: unknown; valid names are {', '.join(sorted(valid))}")


def _allowed(name: str, value: Any, use: Any) -> Any:
    try:
        return use(value)
    except NotAllowed as error:
        raise UsageError(f"parameter {name} = {value!r}: expected {error}") from None


def parse(assignments: list[str]) -> dict[str, Any]:
    """Read `name=value` as given on the command line, by the kind of the parameter.

    `null` or `none` is None; classes are separated by commas. Values are data, never code.

    Raises
    ------
    UsageError
        At a missing `=`, an unknown name, or a value that is not of its kind.
    """
    known = kinds()
    values: dict[str, Any] = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals:
            raise UsageError(f"-p {assignment!r}: expected name=value, for example -p epochs=10")
        check_names({name: None}, [n for n in known if n != "run"])
        values[name] = _allowed(name, text, known[name].parse)
    return values


def resolve(preset: str, given: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the parameters of every stage: defaults, then the preset's, then those given.

    Returns
    -------
    dict
        Stage to plain values, without `run`; of the stages that the run consists of.

    Raises
    ------
    UsageError
        At an unknown preset or parameter, a wrong type, a value out of range, or a parameter of a stage that
        the run does not have.
    """
    if preset not in PRESETS:
        raise UsageError(f"preset {preset!r}: unknown; choose one of {', '.join(PRESETS)}")
    values = PRESETS[preset]() | given
    check_names(values, [name for name in names() if name != "run"])
    asked = [stage for stage, kind in STAGES.items() if values.get(kind.optional_by)]
    resolved = {}
    for stage in consisting(dict.fromkeys(asked)):
        own = {name: value for name, value in values.items() if name in kinds(stage)}
        resolved[stage] = plain(build(stage, own))
    for name, value in given.items():
        if value and not any(name in kinds(stage) for stage in resolved):
            having = next(kind for stage, kind in STAGES.items() if name in kinds(stage))
            raise UsageError(
                f"parameter {name} = {value!r}: of {having.notebook} alone, which this run does not have; "
                f"ask for it, -p {having.optional_by}=..., or leave {name} out"
            )
    return resolved


def plain(chosen: Any) -> dict[str, Any]:
    """Return a stage's parameters as JSON and papermill take them, without `run`."""
    values = {
        name: list(value) if isinstance(value, tuple) else value for name, value in asdict(chosen).items()
    }
    values.pop("run")
    return values
