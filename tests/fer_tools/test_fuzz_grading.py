"""Fuzz tests of what students, teachers and processes hand in for grading; see `fuzzing`."""

import json
from contextlib import ExitStack
from html.parser import HTMLParser
from pathlib import Path

import fuzzing
import yaml
from diagnoses import diagnosis, printed
from fuzzing import DAMAGE, FUZZ, KEEP, answer, damaged, edited
from hypothesis import given
from hypothesis import strategies as st
from made_class import bytes_of_zip

from fer_lib.files import UsageError
from fer_tools.grading import feedback, grades, marks, meant, page, roster, rubric, submissions, verdict
from fer_tools.grading.meant import Choice
from fer_tools.grading.submissions import File, Submission, Unreadable

sandbox, summary = fuzzing.sandbox, fuzzing.summary

RUBRIC = rubric.read()
DOCUMENT = yaml.safe_load(rubric.DEFAULT.read_text())
INNER = bytes_of_zip(**{"section6.keras": b"6", "b/player.py": b"def _get_emotion"})
WHOLE = bytes_of_zip(
    **{"section5.keras": b"5" * 99, "submission.json": b'{"s5": "section5.keras"}', "inner.zip": INNER}
)
ROSTER = b'\xef\xbb\xbfStudent,ID,SIS Login ID,A (1)\r\n"L, A",1,a@x,\r\n"=O""N",2,b@x,3\r\n'


def looked_at(folder: Path, content: bytes) -> dict[str, Choice]:
    """Return what is meant in a zip; refuse what is unreadable in one line."""
    path, scratch = folder / "ada.zip", folder / "scratch"
    path.write_bytes(content)
    scratch.mkdir(exist_ok=True)
    with ExitStack() as stack:
        try:
            found = meant.choose(
                submissions.opened(Submission("ada", "ada", False, (path,)), scratch, stack), RUBRIC
            )
        except Unreadable as error:
            raise UsageError(str(error)) from error
    assert all(choice.why.isprintable() and len(choice.why) < 2_000 for choice in found.values())
    return found


@given(DAMAGE, KEEP, st.text(max_size=9))
@FUZZ
def test_zips_of_students(sandbox, damage, keep, name):
    made = bytes_of_zip(**{f"{name}.keras": b"x", "s5.keras": b"5"}) if len(name) % 2 else WHOLE
    answer("submission", looked_at, sandbox, damaged(made, damage, keep))


@given(st.one_of(st.binary(max_size=200), edited({"s5": "a.keras", "s6": "b/c.keras"}).map(json.dumps)))
@FUZZ
def test_manifests(sandbox, content):
    content = content if isinstance(content, bytes) else content.encode(errors="surrogatepass")
    given = bytes_of_zip(**{"a.keras": b"a", "b/c.keras": b"c", "submission.json": content})
    answer("manifest", looked_at, sandbox, given)


@given(edited(DOCUMENT))
@FUZZ
def test_rubrics(sandbox, document):
    path = sandbox / "rubric.yaml"
    path.write_text(json.dumps(document), encoding="utf-8")
    found = answer("rubric", rubric.read, path)
    if found:
        choice = Choice("clear", "", File(("a.keras",), lambda most: b""), "0")
        choices = {section.id: choice for section in found.sections if section.file}
        given = answer("marks", marks.mark, found, choices, dict.fromkeys(choices, diagnosis()))
        assert given.most(True) + given.most(False) >= (given.automatic or 0) >= 0


@given(DAMAGE, KEEP)
@FUZZ
def test_rosters(sandbox, damage, keep):
    path = sandbox / "canvas.csv"
    path.write_bytes(content := damaged(ROSTER, damage, keep))
    found = answer("roster", roster.read, path, "A")
    if found:
        assert found.filled({}) == content
        students = {"ada": ("a@x", False), "bob": ("2", True)}
        rows, _ = answer("roster matched", found.matched, students)
        for row in rows.values():
            filled = found.filled({row: 7})
            cell = found.rows[row][found.column]
            assert filled[: cell.start] + content[cell.start : cell.end] + filled[cell.start + 1 :] == content
        found.formulas()


class Elements(HTMLParser):
    """The kinds of elements of a page, and the names of their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.found |= {tag, *(name for name, _ in attrs)}


@given(edited(diagnosis(600, findings=[{"code": "x", "text": "t", "advice": "`a`"}])), st.text(max_size=20))
@FUZZ
def test_what_a_process_says(sandbox, document, name):
    """Whatever is let through can be marked and shown, and is text alone."""
    try:
        content = printed(document)
    except (ValueError, UnicodeError):
        return
    found = answer("diagnosis", verdict.read, content)
    if found is None:
        return
    file = File((name or "x",), lambda most: b"")
    choices = {s.id: Choice("clear", name, file, "0") for s in RUBRIC.sections if s.file}
    student = grades.Student(Submission("ada", "ada", False, ()), "ada")
    student.marked = marks.mark(RUBRIC, choices, dict.fromkeys(choices, found))
    graded = grades.Graded("class", RUBRIC, [student], [], [], [])
    elements = Elements(answer("page", page.text, graded)).found
    for text in feedback.texts("ada", student.marked, RUBRIC).values():
        elements |= Elements(text).found if text.startswith("<!") else set()
    assert not elements & {"img", "iframe", "object", "src", "style=", "onerror"}
    json.dumps(grades.document(graded), allow_nan=False)
