"""What a study asks for: a file of parameters to be varied, read and checked before anything is trained."""

import itertools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from fer_lib.files import UsageError, sha256_of
from fer_tools import checking, parameters, paths, pipeline

SECTIONS = ("name", "preset", "base", "seeds", "one_at_a_time", "grid", "points")


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
        """Equal for equal parameters."""
        return key_of(self.resolved)

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
        """Tell whether a point is the base, with whatever seed."""
        return all(point.value(name) == self.base.value(name) for name in self.varied)

    def label(self, point: Point) -> str:
        """Say what is special about a point: "dropout 0.5, seed 1"."""
        other = [name for name in self.varied if point.value(name) != self.base.value(name)] + ["seed"]
        return ", ".join(f"{name} {text(point.value(name))}" for name in other)


def key_of(resolved: dict[str, Any]) -> str:
    """Digest of all parameters, stage by stage: equal for equal parameters."""
    return sha256_of(json.dumps(resolved, sort_keys=True))


def text(value: Any) -> str:
    """Write a value as a table has it."""
    return ",".join(value) if isinstance(value, list) else str(value)


class _Loader(yaml.SafeLoader):
    """Safe loading that refuses a key given twice, of which one would be lost without a word."""


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    pairs = loader.construct_pairs(node, deep=True)
    if len({str(key) for key, _ in pairs}) < len(pairs):
        raise yaml.constructor.ConstructorError(None, None, "a key is given twice", node.start_mark)
    return {str(key): value for key, value in pairs}


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def read(path: str | Path) -> Study:
    """Read a study and check every name, type, range and data source in it.

    Raises
    ------
    UsageError
        Naming the file and the key.
    """
    try:
        document = yaml.load(Path(path).read_text(encoding="utf-8"), _Loader)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror or error})") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UsageError(f"{path}: not valid YAML ({' '.join(str(error).split())})") from error
    if not isinstance(document, dict):
        raise UsageError(f"{path}: not a study; it needs keys such as {', '.join(SECTIONS)}")
    document = {key: value for key, value in document.items() if value is not None}  # a key without contents
    try:
        return _study(document, Path(path).stem)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None


def _study(document: dict[str, Any], stem: str) -> Study:
    for key in document:
        if key not in SECTIONS:
            raise UsageError(f"{key}: unknown; valid keys are {', '.join(SECTIONS)}")
    name, preset = document.get("name", stem), document.get("preset", "section5")
    if not isinstance(name, str) or not parameters.STUDY_NAME.fullmatch(name):
        raise UsageError(f"name: {name!r} is not of plain letters, digits, _ and -")
    if preset not in parameters.PRESETS:
        raise UsageError(f"preset: {preset!r} is unknown; choose one of {', '.join(parameters.PRESETS)}")
    base = _values("base", document.get("base", {}))
    alone, grid = (
        {
            key: [_value(f"{section}.{key}", key, value) for value in _list(f"{section}.{key}", values)]
            for key, values in _dict(section, document.get(section, {})).items()
        }
        for section in ("one_at_a_time", "grid")
    )
    points = _list("points", document.get("points", []), 0)
    listed = [_values(f"points[{i}]", values) for i, values in enumerate(points)]
    seeds = _list("seeds", document.get("seeds", [checking.resolve(preset, {})["training"]["seed"]]))
    try:
        seeds = [checking.build("training", {"seed": seed}).seed for seed in seeds]
    except UsageError as error:
        raise UsageError(f"seeds: {error}") from None
    given = [{key: value} for key, values in alone.items() for value in values]
    if alone or not (grid or listed):
        given.insert(0, {})
    if grid:
        given += [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
    points = [_point(preset, base | values | {"seed": seed}) for values in given + listed for seed in seeds]
    points = list({point.key: point for point in points}.values())
    sources = {
        json.dumps([point.value(name) for name in ("data", "test_data", "classes")]): point
        for point in points
    }
    for point in sources.values():  # once each, for a study may have a thousand points
        pipeline.check_data(point.resolved)
    sections = {"one_at_a_time": alone, "grid": grid, "points": listed}
    form = {"name": name, "preset": preset, "base": base, "seeds": seeds} | sections
    varied = list(dict.fromkeys(key for values in given + listed for key in values))
    return Study(name, form, varied, _point(preset, base), points)


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
    try:
        checking.check_names({name: value}, [known for known in checking.names() if known != "run"])
        if isinstance(value, str):
            value = checking.parse([f"{name}={value}"])[name]
        stage = next(stage for stage in parameters.STAGES if name in checking.names(stage))
        value = checking.plain(checking.build(stage, {name: value}))[name]
        if name in ("data", "test_data") and value:
            value = pipeline.absolute(value)
            load.resolve(value)
        return value
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from None
