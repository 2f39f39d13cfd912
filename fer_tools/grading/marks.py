"""Points by a rubric, from what was found of the files: by a check, or left to a person with what helps.

Nobody gets nothing by a machine alone: what could not be measured has no points yet, which is not 0.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from fer_lib.statistics import wilson_interval
from fer_tools.grading.meant import Choice
from fer_tools.grading.rubric import Item, Rubric, Section

# What a section or a submission can be; a submission is the first of these that one of its sections is.
STATES = ("unreadable", "ambiguous", "missing", "look", "graded")
NOTHING = Choice("missing", "")  # of a section that is about no file


@dataclass(frozen=True)
class Mark:
    """Points of an item; None as long as a person has to decide. `why` says what they rest on."""

    item: Item
    state: str  # one of STATES, or "person": the item is a person's in any case
    points: float | None
    why: str

    @property
    def text(self) -> str:
        """The points, of how many: "2 / 4"."""
        return f"{'–' if self.points is None else f'{self.points:g}'} / {self.item.points:g}"


@dataclass(frozen=True)
class SectionMarks:
    """The marks of a section, and the file that they are about."""

    section: Section
    state: str
    why: str
    place: str  # of the file within the submission
    diagnosis: dict[str, Any] | None
    marks: tuple[Mark, ...]


@dataclass(frozen=True)
class Marked:
    """All marks of a submission.

    Attributes
    ----------
    automatic : float or None
        Points by checks so far; None as long as no check has decided.
    """

    state: str
    why: str
    sections: tuple[SectionMarks, ...]

    @property
    def automatic(self) -> float | None:
        """See the class."""
        marks = (mark for section in self.sections for mark in section.marks)
        given = [mark.points for mark in marks if mark.points is not None]
        return sum(given) if given else None

    @property
    def points(self) -> str:
        """Points by checks so far, of how many: "15 / 17", or "– / 17" if no check has decided."""
        return f"{'–' if self.automatic is None else f'{self.automatic:g}'} / {self.most(True):g}"

    def most(self, automatic: bool) -> float:
        """Return the points that checks, or a person, can give at most."""
        items = [mark.item for section in self.sections for mark in section.marks]
        return sum(item.points for item in items if (item.kind == "auto") == automatic)


def mark(rubric: Rubric, choices: Mapping[str, Choice], diagnoses: Mapping[str, dict[str, Any]]) -> Marked:
    """Mark a submission.

    Parameters
    ----------
    rubric : Rubric
    choices : dict of str to Choice
        The file of each section that is about one.
    diagnoses : dict of str to dict
        What `fer diagnose --json` says of it, by section; of a game, that of the model that it plays with.
    """
    sections = tuple(
        _section(rubric, section, choices.get(section.id, NOTHING), diagnoses.get(section.id))
        for section in rubric.sections
    )
    telling = [each for each in sections if each.state != "person"]
    worst = min(telling, key=lambda each: STATES.index(each.state), default=None)
    if worst is None:
        return Marked("look", "nothing in this rubric is decided by a check", sections)
    why = "" if worst.state == "graded" else f"{worst.section.id}: {worst.why}"
    return Marked(worst.state, why, sections)


def _section(
    rubric: Rubric, section: Section, choice: Choice, diagnosis: dict[str, Any] | None
) -> SectionMarks:
    state, why, place = "graded", "", choice.file.place if choice.file else ""
    if choice.state not in ("clear", "only"):
        state, why = choice.state, choice.why
    elif diagnosis is not None and diagnosis["state"] == "refused":
        state, why = "unreadable", diagnosis["reason"] or "it cannot be opened"
    if not any(item.kind == "auto" for item in section.items) or (state == "missing" and section.optional):
        state = "person"  # nothing of it is decided by a check
    opened = diagnosis if diagnosis and diagnosis["state"] != "refused" else None
    marks = [_mark(rubric, item, state, why, opened) for item in section.items]
    if state == "graded" and choice.state == "only":
        marks = [_for_a_person(each, choice.why) for each in marks]
    checked = [each for each in marks if each.item.kind == "auto"]
    if sum(each.item.points for each in checked) and not sum(each.points or 0 for each in checked):
        marks = [_for_a_person(each, "nothing was reached") for each in marks]  # never 0 without a person
    if state == "graded" and (doubtful := [each for each in marks if each.state == "look"]):
        state, why = "look", choice.why if choice.state == "only" else doubtful[0].why
    return SectionMarks(section, state, why, place, diagnosis, tuple(marks))


def _for_a_person(given: Mark, why: str) -> Mark:
    """Take the points back from a check."""
    if given.item.kind != "auto" or given.state not in ("graded", "look"):
        return given
    return Mark(given.item, "look", None, f"{given.why}; {why}" if given.why else why)


def _mark(rubric: Rubric, item: Item, state: str, why: str, diagnosis: dict[str, Any] | None) -> Mark:
    if item.kind == "human":
        return Mark(item, "person", None, "")
    if item.kind == "help":
        return Mark(item, "person", None, HELP[item.check](diagnosis) if diagnosis else why)
    if state != "graded" or diagnosis is None:
        return Mark(item, state, None, why)
    reached, said = AUTO[item.check](diagnosis, item, rubric)
    if reached is None or (not reached and rubric.policy["not_reached"] == "look"):
        return Mark(item, "look", None, said)
    return Mark(item, "graded", item.points if reached else 0.0, said)


# -- checks: is it reached (None: a person has to look), and a sentence -------------------------------------

Checked = tuple[bool | None, str]


def _model_opens(diagnosis: dict[str, Any], item: Item, rubric: Rubric) -> Checked:
    container = diagnosis["container"] or {}
    keras = f", Keras {container['keras']}" if container.get("keras") else ""
    return True, f"it opens ({container.get('kind') or 'a model'}{keras})"


def _parameters_at_most(diagnosis: dict[str, Any], item: Item, rubric: Rubric) -> Checked:
    count = diagnosis["parameters"]
    if count is None:
        return None, "its parameters could not be counted"
    words = "at most" if count <= rubric.parameters else "more than the"
    return count <= rubric.parameters, f"{count:,} parameters, {words} {rubric.parameters:,} that are allowed"


def _no_finding(diagnosis: dict[str, Any], item: Item, rubric: Rubric) -> Checked:
    found = [finding for finding in diagnosis["findings"] or [] if finding["code"] == item.code]
    return not found, found[0]["text"] if found else "nothing is missing"


def _test_accuracy(diagnosis: dict[str, Any], item: Item, rubric: Rubric) -> Checked:
    figures = accuracy(diagnosis, rubric)
    if figures is None:
        return None, _why_not_measured(diagnosis)
    share, low, high = figures
    measured = f"{share:.1%} of {diagnosis['test']['images']:,} test images ({low:.1%} to {high:.1%})"
    if rubric.policy["threshold"] == "interval" and low <= item.at_least <= high:
        return None, f"{measured}; {item.at_least:.0%} lies within that interval"
    reached = share >= item.at_least
    return reached, f"{measured}, {'at least' if reached else 'less than'} {item.at_least:.0%}"


def accuracy(diagnosis: dict[str, Any], rubric: Rubric) -> tuple[float, float, float] | None:
    """Return what was measured on the test images, and its interval, in the order of the rubric's policy."""
    test = diagnosis["test"]
    if test is None:
        return None
    if rubric.policy["order"] == "game" and test["as_the_game"] is not None:
        n = test["images"]
        return test["as_the_game"], *wilson_interval(round(test["as_the_game"] * n), n)
    return test["accuracy"], test["low"], test["high"]


def _why_not_measured(diagnosis: dict[str, Any]) -> str:
    reading = diagnosis["reading"] or {}
    for finding in diagnosis["findings"] or []:
        if finding["code"] in ("not-finite", "order-unknown", "other-task"):
            return finding["text"]
    return reading.get("sentence") or "its accuracy was not measured"


AUTO: dict[str, Callable[[dict[str, Any], Item, Rubric], Checked]] = {
    "model_opens": _model_opens,
    "parameters_at_most": _parameters_at_most,
    "no_finding": _no_finding,
    "test_accuracy": _test_accuracy,
}

# -- what helps a person -----------------------------------------------------------------------------------


def _layers(diagnosis: dict[str, Any]) -> str:
    layers = diagnosis["layers"] or []
    names = ", ".join(layer["class"] for layer in layers[:30]) + (" ..." if len(layers) > 30 else "")
    return f"{len(layers)} layers, {diagnosis['parameters'] or 0:,} parameters: {names}"


def _measured(diagnosis: dict[str, Any]) -> str:
    test = diagnosis["test"]
    if test is None:
        return _why_not_measured(diagnosis)
    loss = "" if test["loss"] is None else f", loss {test['loss']:.3f}"
    return f"measured: {test['accuracy']:.1%} ({test['low']:.1%} to {test['high']:.1%}){loss}"


def _game(diagnosis: dict[str, Any]) -> str:
    game = diagnosis["game"]
    return game["sentence"] if game else "the game was not read: there is no model that it could play with"


HELP: dict[str, Callable[[dict[str, Any]], str]] = {"layers": _layers, "measured": _measured, "game": _game}


def weights_shared(marked: Mapping[str, Marked]) -> list[list[tuple[str, str]]]:
    """Return groups of (student, section) whose models have the same weights; for the teacher alone."""
    groups: dict[str, list[tuple[str, str]]] = {}
    for student, each in marked.items():
        for section in each.sections:
            diagnosis = section.diagnosis if section.section.file == "model" else None
            weights = ((diagnosis or {}).get("file") or {}).get("weights_sha256")
            if weights:
                groups.setdefault(weights, []).append((student, section.section.id))
    return [group for group in groups.values() if len({student for student, _ in group}) > 1]
