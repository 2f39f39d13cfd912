"""What became of a class: its students, their marks, and what a teacher should know."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fer_tools.grading import marks
from fer_tools.grading.meant import Choice
from fer_tools.grading.rubric import Rubric
from fer_tools.grading.submissions import Submission


@dataclass
class Student:
    """A submission and what became of it.

    Attributes
    ----------
    file : str
        Name of its feedback, without ending.
    choices : dict of str to Choice
        By section.
    keys : dict of str to str
        Of the diagnosis that a section needs.
    remarks : list of str
        On what was left out.
    papers : list of str
        Where reports may be.
    """

    submission: Submission
    file: str
    choices: dict[str, Choice] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    papers: list[str] = field(default_factory=list)
    diagnoses: dict[str, dict[str, Any]] = field(default_factory=dict)
    marked: marks.Marked | None = None

    @property
    def name(self) -> str:
        """As the teacher knows it."""
        return self.submission.name


@dataclass
class Graded:
    """A class, as its page shows it."""

    title: str
    rubric: Rubric
    students: list[Student]
    shared: list[list[tuple[str, str]]]
    remarks: list[str]
    facts: list[tuple[str, str]]

    def figures(self, student: Student, section: str) -> tuple[float, float, float] | None:
        """Return the accuracy of a student's model of a section, and its interval, if it was measured."""
        found = next(each for each in student.marked.sections if each.section.id == section)
        known = found.state in ("graded", "look") and found.diagnosis
        return marks.accuracy(found.diagnosis, self.rubric) if known else None


def document(graded: Graded) -> dict[str, Any]:
    """Return all that is known of a class, for programs."""
    return {
        "format": 1,
        "class": graded.title,
        "facts": dict(graded.facts),
        "remarks": graded.remarks,
        "same_weights": [[list(pair) for pair in group] for group in graded.shared],
        "students": [_student(student) for student in graded.students],
    }


def _student(student: Student) -> dict[str, Any]:
    marked = student.marked
    return {
        "name": student.name,
        "feedback": student.file,
        "state": marked.state,
        "why": marked.why,
        "points": marked.automatic,
        "of_checks": marked.most(True),
        "of_a_person": marked.most(False),
        "remarks": student.remarks,
        "papers": student.papers,
        "sections": {each.section.id: _section(each) for each in marked.sections},
    }


def _section(each: marks.SectionMarks) -> dict[str, Any]:
    items: Mapping[str, Any] = {
        mark.item.id: {"state": mark.state, "points": mark.points, "of": mark.item.points, "why": mark.why}
        for mark in each.marks
    }
    return {
        "state": each.state,
        "why": each.why,
        "file": each.place,
        "diagnosis": each.diagnosis,
        "items": items,
    }
