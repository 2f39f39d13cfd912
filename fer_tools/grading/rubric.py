"""A rubric: what is graded, by whom, for how many points. Data, and the teacher's to change."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fer_lib.files import UsageError
from fer_tools.yaml_files import read_yaml

DEFAULT = Path(__file__).with_name("rubric.yaml")
# What each check is given beside the model: by kind of item, by its name.
CHECKS: dict[str, dict[str, tuple[str, ...]]] = {
    "auto": {
        "model_opens": (),
        "parameters_at_most": (),
        "no_finding": ("code",),
        "test_accuracy": ("at_least",),
    },
    "help": {"layers": (), "measured": (), "game": ()},
    "human": {},
}
POLICIES = {"threshold": ("interval", "point"), "order": ("any", "game"), "not_reached": ("zero", "look")}
FILES = ("model", "game")  # what a section may be about
ID = re.compile(r"[A-Za-z][\w.-]{0,40}")
MOST_POINTS, MOST_PARAMETERS = 10_000, 10**9
MOST_ITEMS, MOST_SECTIONS = 200, 50


@dataclass(frozen=True)
class Item:
    """What has points.

    Attributes
    ----------
    kind : str
        "auto", "help" or "human"; see `CHECKS`.
    check : str
        Empty where it is a person's alone.
    at_least : float
        Accuracy that `test_accuracy` asks for.
    code : str
        Of the finding that `no_finding` must not meet.
    """

    id: str
    kind: str
    points: float
    text: str
    check: str = ""
    at_least: float = 0.0
    code: str = ""


@dataclass(frozen=True)
class Section:
    """Items about one file, or about none.

    Attributes
    ----------
    file : str
        "model", "game", or "" for none.
    named : tuple of str
        Words in the name of a model by which it says that it is meant for this section.
    plays : tuple of str
        Sections from whose models a game takes its own, the first that is there.
    optional : bool
        Whether a model that is not there is nothing more than a person's affair.
    """

    id: str
    title: str
    items: tuple[Item, ...]
    file: str = ""
    named: tuple[str, ...] = ()
    plays: tuple[str, ...] = ()
    optional: bool = False


@dataclass(frozen=True)
class Rubric:
    """All that is graded; `policy` has a value for each of `POLICIES`."""

    assignment: str
    source: str
    parameters: int
    policy: dict[str, str]
    sections: tuple[Section, ...]

    @property
    def thresholds(self) -> dict[str, float]:
        """The accuracy that a section asks for, by its id, where it asks for one."""
        return {
            section.id: item.at_least
            for section in self.sections
            for item in section.items
            if item.check == "test_accuracy"
        }


def read(path: str | Path = DEFAULT) -> Rubric:
    """Read a rubric and check all that is in it.

    Raises
    ------
    UsageError
        In one line: the file, the place in it, what was found and what is expected.
    """
    with _at(f"{path}:"):
        document = _mapping(read_yaml(path), "a rubric")
        _known(document, ("assignment", "source", "limits", "policy", "sections"), ("sections",))
        limits = _mapping(document.get("limits", {}), "limits")
        policy = _mapping(document.get("policy", {}), "policy")
        with _at("limits:"):
            _known(limits, ("parameters",))
            parameters = _number(limits, "parameters", 1, MOST_PARAMETERS, 150_000)
        with _at("policy:"):
            _known(policy, tuple(POLICIES))
            chosen = {name: _one_of(policy, name, choices) for name, choices in POLICIES.items()}
        sections = []
        for i, each in enumerate(_list(document, "sections", MOST_SECTIONS)):
            with _at(f"sections[{i}]:"):
                sections.append(_section(_mapping(each, "a section")))
        _check_together(sections)
        texts = (_text(document, name, "") for name in ("assignment", "source"))
        return Rubric(*texts, int(parameters), chosen, tuple(sections))


def _section(given: dict[str, Any]) -> Section:
    _known(given, ("id", "title", "file", "named", "plays", "optional", "items"), ("id", "items"))
    items = []
    for i, each in enumerate(_list(given, "items", MOST_ITEMS)):
        with _at(f"items[{i}]:"):
            items.append(_item(_mapping(each, "an item")))
    if not isinstance(given.get("optional", False), bool):
        raise UsageError(f"optional: expected true or false, not {given['optional']!r}")
    section = Section(
        id=_id(given),
        title=_text(given, "title", given["id"]),
        items=tuple(items),
        file=_one_of(given, "file", ("", *FILES)),
        named=_words(given, "named"),
        plays=_words(given, "plays"),
        optional=given.get("optional", False),
    )
    for item in items:
        if (item.check and (item.check == "game") != (section.file == "game")) or (
            item.check and not section.file
        ):
            needed = "game" if item.check == "game" else "model"
            raise UsageError(f"{item.id}: its check {item.check!r} is of a section with `file: {needed}`")
    return section


def _item(given: dict[str, Any]) -> Item:
    kind = _one_of(given, "kind", tuple(CHECKS), required=True)
    checks = CHECKS[kind]
    check = _one_of(given, "check", tuple(checks), required=True) if checks else ""
    needs = checks.get(check, ())
    required = ("id", "points", "text", *needs)
    _known(given, ("kind", *(("check",) if checks else ()), *required), required)
    return Item(
        id=_id(given),
        kind=kind,
        points=_number(given, "points", 0, MOST_POINTS),
        text=_text(given, "text"),
        check=check,
        at_least=_number(given, "at_least", 0, 1) if "at_least" in needs else 0.0,
        code=_text(given, "code") if "code" in needs else "",
    )


def _check_together(sections: list[Section]) -> None:
    """Refuse ids that are there twice, and games that play with the model of no section."""
    ids = [each.id for section in sections for each in (section, *section.items)]
    if twice := [name for name in ids if ids.count(name) > 1]:
        raise UsageError(f"id: {twice[0]!r} is there twice; each section and item has its own")
    models = [section.id for section in sections if section.file == "model"]
    for section in sections:
        if (section.file == "game") != bool(section.plays):
            raise UsageError(
                f"{section.id}: `plays: [...]` is what a section with `file: game` has, and no other"
            )
        if wrong := set(section.plays) - set(models):
            raise UsageError(f"{section.id}: plays: {min(wrong)!r} is no section with `file: model`")
    if sum(section.file == "game" for section in sections) > 1:
        raise UsageError("sections: two have `file: game`, and one is read")


# -- values ------------------------------------------------------------------------------------------------


@contextmanager
def _at(where: str) -> Iterator[None]:
    """Begin what is wrong with the place where it is."""
    try:
        yield
    except UsageError as error:
        said = str(error)
        raise UsageError(said if said.startswith(where) else f"{where} {said}") from None


def _mapping(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise UsageError(f"{what} is expected, of the form `key: value`, not {_shown(value)}")
    return value


def _known(given: Mapping[str, Any], allowed: tuple[str, ...], required: tuple[str, ...] = ()) -> None:
    for name in given:
        if name not in allowed:
            raise UsageError(f"{name[:40]!r}: unknown here; valid keys are {', '.join(allowed)}")
    for name in required:
        if given.get(name) is None:
            raise UsageError(f"{name}: is missing")


def _list(given: Mapping[str, Any], name: str, most: int) -> list[Any]:
    value = given[name]
    if not isinstance(value, list) or not 0 < len(value) <= most:
        raise UsageError(f"{name}: expected a list of 1 to {most}, not {_shown(value)}")
    return value


def _number(given: Mapping[str, Any], name: str, low: float, high: float, default: Any = None) -> float:
    value = given.get(name, default)
    right = isinstance(value, int | float) and not isinstance(value, bool)
    if not right or not low <= value <= high:
        raise UsageError(f"{name}: expected a number from {low:g} to {high:g}, not {_shown(value)}")
    return value


def _text(given: Mapping[str, Any], name: str, default: Any = None) -> str:
    value = given.get(name, default)
    if not isinstance(value, str) or len(value) > 1000:
        raise UsageError(f"{name}: expected a text, not {_shown(value)}; set it in quotation marks")
    return " ".join(value.split())


def _words(given: Mapping[str, Any], name: str) -> tuple[str, ...]:
    value = given.get(name, [])
    if not isinstance(value, list) or not all(isinstance(word, str) and word.strip() for word in value):
        raise UsageError(f"{name}: expected a list of texts, not {_shown(value)}")
    return tuple(value)


def _one_of(given: Mapping[str, Any], name: str, choices: tuple[str, ...], required: bool = False) -> str:
    value = given.get(name, None if required else choices[0])
    if value not in choices:
        expected = ", ".join(choice for choice in choices if choice)
        raise UsageError(f"{name}: expected one of {expected}, not {_shown(value)}")
    return value


def _id(given: Mapping[str, Any]) -> str:
    value = given.get("id")
    if not isinstance(value, str) or not ID.fullmatch(value):
        raise UsageError(f"id: expected a letter, then letters, digits, dots and dashes, not {_shown(value)}")
    return value


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."
