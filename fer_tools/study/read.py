"""What a study asks for: a file of parameters to vary, read and checked before anything is trained."""

import itertools
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fer_lib.files import UsageError
from fer_tools import checking, parameters, paths, pipeline
from fer_tools.json_files import sha256_of_json
from fer_tools.stages import STAGES
from fer_tools.yaml_files import read_yaml

EMPTY: dict[str, Any] = {  # a study that leaves everything out
    "name": "", "preset": "section5", "base": {}, "seeds": [], "one_at_a_time": {}, "grid": {}, "points": [],
}  # fmt: skip
MOST_POINTS = 100_000  # of a study, seeds included; a point takes minutes
DATA = ("data", "test_data", "classes")  # parameters


@dataclass(frozen=True)
class Point:
    """A point of a study and a seed.

    Attributes
    ----------
    given : dict
        Parameters that differ from the preset's, the seed among them.
    resolved : dict
        All parameters, stage by stage, as run.json keeps them.
    """

    given: dict[str, Any]
    resolved: dict[str, dict[str, Any]]

    @property
    def key(self) -> str:
        """Digest of all parameters: equal for equal ones."""
        return sha256_of_json(self.resolved)

    def value(self, name: str) -> Any:
        """Value of a parameter, whichever stage it belongs to."""
        return next(values[name] for values in self.resolved.values() if name in values)


@dataclass(frozen=True)
class Study:
    """What a file asks for, checked; `document` is its normal form, of the same keys."""

    name: str
    document: dict[str, Any]
    varied: list[str]
    base: Point
    points: list[Point]

    @property
    def folder(self) -> Path:
        """Where its table is kept."""
        return paths.results_folder() / f"{self.name}_study"

    def is_base(self, point: Point) -> bool:
        """Return whether a point is the base, with whatever seed."""
        return all(point.value(name) == self.base.value(name) for name in self.varied)

    def label(self, point: Point) -> str:
        """Return in which parameters a point differs from the base: "dropout 0.5, seed 1"."""
        other = [name for name in self.varied if point.value(name) != self.base.value(name)] + ["seed"]
        return ", ".join(f"{name} {text(point.value(name)) or 'none'}" for name in other)


def text(value: Any) -> str:
    """Return a value as a table has it."""
    return ",".join(value) if isinstance(value, list) else str(value)


def read(path: str | Path) -> Study:
    """Read a study and check every name, type, range and data source in it.

    Raises
    ------
    UsageError
        Naming the file and the key.
    """
    document = read_yaml(path)
    if not isinstance(document, dict):
        raise UsageError(f"{path}: not a study; it needs keys such as {', '.join(EMPTY)}")
    document = {key: value for key, value in document.items() if value is not None}  # a key without contents
    with _at(path):
        return _study(_form(document, Path(path).stem))


def _study(form: dict[str, Any]) -> Study:
    given = _combinations(form)
    points = [
        _point(form["preset"], form["base"] | values | {"seed": seed})
        for values in given
        for seed in form["seeds"]
    ]
    points = list({point.key: point for point in points}.values())
    # Data are looked for once in each place, because a study may have a thousand points.
    for point in {str([point.value(name) for name in DATA]): point for point in points}.values():
        pipeline.check_data(point.resolved, drawn=False)
    varied = list(dict.fromkeys(name for values in given for name in values))
    return Study(form["name"], form, varied, _point(form["preset"], form["base"]), points)


def _form(document: dict[str, Any], stem: str) -> dict[str, Any]:
    """Return the normal form of a study, in which each value is checked."""
    form = EMPTY | {"name": stem} | document
    if unknown := form.keys() - EMPTY.keys():
        raise UsageError(f"{min(unknown)}: unknown; valid keys are {', '.join(EMPTY)}")
    name, preset = form["name"], form["preset"]
    if not isinstance(name, str) or not paths.STUDY_NAME.fullmatch(name):
        raise UsageError(f"name: {name!r} is not of plain letters, digits, _ and -")
    if preset not in parameters.PRESETS:
        raise UsageError(f"preset: {preset!r} is unknown; choose one of {', '.join(parameters.PRESETS)}")
    form["base"] = _values("base", form["base"])
    seeds = _list("seeds", document.get("seeds", [checking.resolve(preset, {})["training"]["seed"]]))
    with _at("seeds"):
        form["seeds"] = [checking.build("training", {"seed": seed}).seed for seed in seeds]
    for section in ("one_at_a_time", "grid"):
        form[section] = {
            name: [_value(f"{section}.{name}", name, value) for value in _list(f"{section}.{name}", values)]
            for name, values in _dict(section, form[section]).items()
        }
    listed = _list("points", form["points"], shortest=0)
    form["points"] = [_values(f"points[{i}]", values) for i, values in enumerate(listed)]
    return form


def _combinations(form: dict[str, Any]) -> list[dict[str, Any]]:
    """Return in what each point differs from the base, which is one unless only others are asked for."""
    grids = [{name: values} for name, values in form["one_at_a_time"].items()]
    grids += [form["grid"]] if form["grid"] else []
    count = sum(math.prod(map(len, grid.values())) for grid in grids) + len(form["points"])
    if count * len(form["seeds"]) > MOST_POINTS:
        raise UsageError(f"{count:,} points of {len(form['seeds']):,} seeds, more than {MOST_POINTS:,}")
    found = [
        dict(zip(grid, values, strict=True)) for grid in grids for values in itertools.product(*grid.values())
    ]
    found += form["points"]
    return [{}, *found] if form["one_at_a_time"] or not found else found


def _point(preset: str, given: dict[str, Any]) -> Point:
    return Point(given, checking.resolve(preset, given))


def _dict(where: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise UsageError(f"{where}: {value!r} is not of the form `parameter: value`")
    return value


def _list(where: str, value: Any, shortest: int = 1) -> list[Any]:
    if not isinstance(value, list) or len(value) < shortest:
        raise UsageError(f"{where}: {value!r} is not a list such as [1, 2]")
    return value


def _values(where: str, values: Any) -> dict[str, Any]:
    return {key: _value(f"{where}.{key}", key, value) for key, value in _dict(where, values).items()}


def _value(where: str, name: str, value: Any) -> Any:
    """Check a value as its parameter's; YAML takes `1e-3` for text, which is read as on the command line."""
    from fer_lib.data import load

    if name == "seed":
        raise UsageError(f"{where}: seeds have a key of their own, `seeds: [0, 1, 2]`")
    with _at(where):
        checking.check_names({name: value}, [known for known in checking.names() if known != "run"])
        if isinstance(value, str):
            value = checking.parse([f"{name}={value}"])[name]
        stage = next(stage for stage in STAGES if name in checking.names(stage))
        value = checking.plain(checking.build(stage, {name: value}))[name]
        if name in ("data", "test_data") and value:
            value = pipeline.absolute(value)
            load.resolve(value)
    return value


@contextmanager
def _at(where: object) -> Iterator[None]:
    """Begin what is wrong with the place where it is."""
    try:
        yield
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from None
