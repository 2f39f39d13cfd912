"""Rubrics, marks, the column of a roster, and what students and teachers read."""

import csv
import html
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml
from asserting import refusal
from diagnoses import diagnosis, printed
from hypothesis import given
from hypothesis import strategies as st

from fer_tools.grading import feedback, grades, marks, page, roster, rubric, verdict
from fer_tools.grading.meant import Choice
from fer_tools.grading.submissions import File, Submission

RUBRIC = rubric.read()
CLEAR = Choice("clear", "its name says so", File(("section.keras",), lambda most: b""), "0")
AT_60 = dict(right=600, images=1000)  # 56.9 % to 63.0 %


def marked(fifth: Any, sixth: Any = None, rules: rubric.Rubric = RUBRIC, **choices: Choice) -> marks.Marked:
    """Mark a submission of which diagnoses of Sections 5 and 6 are known."""
    known = {"s5": fifth, "s6": sixth or fifth, "s7": sixth or fifth}
    missing = {"s7": Choice("missing", "no game"), "s8": Choice("missing", "none")}
    return marks.mark(rules, dict.fromkeys(("s5", "s6"), CLEAR) | missing | choices, known)


def points(found: marks.Marked) -> dict[str, float | None]:
    return {mark.item.id: mark.points for section in found.sections for mark in section.marks}


def with_policy(**policy: str) -> rubric.Rubric:
    return rubric.Rubric(RUBRIC.assignment, "", 150_000, RUBRIC.policy | policy, RUBRIC.sections)


def test_all_reached():
    found = marked(diagnosis(800))
    assert (found.state, found.why, found.automatic) == ("graded", "", 17)
    assert found.most(True) + found.most(False) == sum(i.points for s in RUBRIC.sections for i in s.items)
    assert points(found)["s5.plots"] is None and points(found)["s8.model"] is None


def test_missed_beyond_doubt():
    """A fact that was measured decides about its item; a person is asked where the teacher wants that."""
    over = diagnosis(800, parameters=150_001)
    assert points(marked(over))["s5.limit"] == 0 and marked(over).state == "graded"
    assert points(marked(diagnosis(500)))["s5.accuracy"] == 0
    asked = marked(over, rules=with_policy(not_reached="look"))
    assert points(asked)["s5.limit"] is None and asked.state == "look" and "150,001" in asked.why
    lacking = diagnosis(800, findings=[{"code": "layers-missing", "text": "no pooling", "advice": "add it"}])
    assert points(marked(lacking))["s5.layers"] == 0


@pytest.mark.parametrize(("policy", "expected"), [("interval", None), ("point", 4)])
def test_a_threshold_within_the_interval(policy, expected):
    found = marked(diagnosis(**AT_60), diagnosis(800), with_policy(threshold=policy))
    assert points(found)["s5.accuracy"] == expected
    assert found.state == ("look" if expected is None else "graded")
    assert points(marked(diagnosis(599), rules=with_policy(threshold="point")))["s5.accuracy"] == 0


def test_the_order_of_classes():
    assert points(marked(diagnosis(800, game_right=350)))["s5.accuracy"] == 4
    assert points(marked(diagnosis(800, game_right=350), rules=with_policy(order="game")))["s5.accuracy"] == 0
    assert points(marked(diagnosis(800, game_right=790), rules=with_policy(order="game")))["s5.accuracy"] == 4


def test_what_cannot_be_told_has_no_points():
    finding = {"code": "order-unknown", "text": "The order cannot be told (p = 0.7).", "advice": "say it"}
    found = marked(diagnosis(None, findings=[finding]), diagnosis(800))
    assert (found.state, points(found)["s5.accuracy"]) == ("look", None)
    assert "p = 0.7" in found.why and points(found)["s5.model"] == 2


@pytest.mark.parametrize("state", ["missing", "ambiguous", "unreadable"])
def test_never_nothing_without_a_person(state):
    """What could not be looked at has no points, not 0; nor has what was measured when it comes to 0."""
    found = marked(None, s5=Choice(state, "why"), s6=Choice(state, "why"))
    assert (found.state, found.why, found.automatic) == (state, "s5: why", None)
    assert found.points == "– / 17"
    refused = marked(verdict.refused("a bomb"))
    assert (refused.state, refused.automatic) == ("unreadable", None) and "a bomb" in refused.why
    document = yaml.safe_load(rubric.DEFAULT.read_text())
    document["sections"] = document["sections"][:1]
    document["sections"][0]["items"] = [document["sections"][0]["items"][3]]  # accuracy alone
    nothing = marks.mark(_read(document), {"s5": CLEAR}, {"s5": diagnosis(400)})
    assert (nothing.state, nothing.automatic) == ("look", None)


def test_the_only_model_is_for_a_person():
    only = Choice("only", "the only model", CLEAR.file, "0")
    found = marked(diagnosis(800), s5=only, s6=only)
    assert (found.state, found.why, found.automatic) == ("look", "s5: the only model", None)


def test_the_worst_section_names_the_submission():
    found = marked(diagnosis(**AT_60), diagnosis(800), s6=Choice("missing", "not there"))
    assert (found.state, found.why, found.automatic) == ("missing", "s6: not there", 6)


def test_a_section_without_checks_says_nothing_of_the_submission():
    found = marked(diagnosis(800), s8=Choice("ambiguous", "two"), s7=Choice("unreadable", "damaged"))
    assert found.state == "graded" and [section.why for section in found.sections[2:]] == ["damaged", "two"]
    refused = marks.mark(RUBRIC, {"s8": CLEAR}, {"s8": verdict.refused("a bomb")}).sections[-1]
    assert (refused.state, refused.marks[0].why) == ("person", "a bomb")


def test_same_weights_across_students():
    other = diagnosis(800, file={"sha256": "2" * 64, "weights_sha256": "9" * 64})
    found = {"ada": marked(diagnosis(800)), "bob": marked(other), "eve": marked(diagnosis(700))}
    [group] = marks.weights_shared(found)
    assert group == [("ada", "s5"), ("ada", "s6"), ("eve", "s5"), ("eve", "s6")]
    assert marks.weights_shared({"ada": found["ada"], "bob": found["bob"]}) == []


# -- rubrics -----------------------------------------------------------------------------------------------


def _read(document: Any) -> rubric.Rubric:
    path = Path(_read.folder) / "rubric.yaml"
    path.write_text(document if isinstance(document, str) else yaml.safe_dump(document))
    return rubric.read(path)


@pytest.fixture(autouse=True)
def _folder(tmp_path):
    _read.folder = tmp_path


def changed(document: Any, place: str, value: Any) -> Any:
    """Change a value at a place such as sections.0.items.1.points; None: take it away."""
    *steps, last = [int(step) if step.isdigit() else step for step in place.split(".")]
    at = document
    for step in steps:
        at = at[step]
    if value is None:
        del at[last]
    else:
        at[last] = value
    return document


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        ("sections", None, "sections: is missing"),
        ("sections", [], "sections: expected a list"),
        ("sections.0", 5, "sections[0]: a section is expected"),
        ("surprise", 1, "'surprise': unknown"),
        ("limits.parameters", "many", "limits: parameters: expected a number"),
        ("limits.layers", 5, "limits: 'layers': unknown"),
        ("policy.threshold", "strict", "policy: threshold: expected one of interval, point"),
        ("sections.0.id", "no blank", "sections[0]: id: expected"),
        ("sections.0.named", "section 5", "named: expected a list"),
        ("sections.0.file", "folder", "file: expected one of model, game"),
        ("sections.0.plays", ["s6"], "s5: `plays"),
        ("sections.2.plays", ["s9"], "s7: plays: 's9' is no section"),
        ("sections.0.optional", "yes please", "optional: expected true or false"),
        ("sections.0.items.0.points", -1, "sections[0]: items[0]: points: expected a number from 0"),
        ("sections.0.items.0.points", True, "points: expected a number"),
        ("sections.0.items.0.points", float("nan"), "points: expected a number"),
        ("sections.0.items.0.kind", "magic", "kind: expected one of auto, help, human"),
        ("sections.0.items.0.kind", [], "kind: expected one of auto, help, human"),
        ("sections.0.items.0.check", "guess", "check: expected one of model_opens"),
        ("sections.0.items.0.check", "game", "check: expected one of"),
        ("sections.2.items.0.check", "layers", "`file: model`"),
        ("sections.0.items.3.at_least", 60, "at_least: expected a number from 0 to 1"),
        ("sections.0.items.3.at_least", None, "at_least: is missing"),
        ("sections.0.items.1.id", "s5.model", "'s5.model' is there twice"),
        ("sections.0.items.0.text", 5, "text: expected a text"),
    ],
)
def test_faults_of_a_rubric(place, value, said):
    document = yaml.safe_load(rubric.DEFAULT.read_text())
    message = refusal(_read, changed(document, place, value))
    assert said in message and message.count("rubric.yaml") == 1


@pytest.mark.parametrize(
    "text", ["", "[]", "a: [", "a: 1\na: 2", "a: &x 1\nb: *x", "!!python/name:os.system"]
)
def test_rubrics_that_are_none(text):
    assert "rubric.yaml" in refusal(_read, text)


def test_a_rubric_of_a_teacher():
    """Other points, another section with one model, in whatever name it comes."""
    items = [
        {"id": "a", "kind": "auto", "check": "test_accuracy", "at_least": 0.5, "points": 2.5, "text": "t"}
    ]
    found = _read({"sections": [{"id": "x", "file": "model", "items": items}]})
    assert found.thresholds == {"x": 0.5} and found.parameters == 150_000
    assert marks.mark(found, {"x": CLEAR}, {"x": diagnosis(800)}).automatic == 2.5


# -- what a process says -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"state": "splendid"},
        {"test": {"accuracy": 2}},
        {"parameters": -1},
        {"parameters": "<b>"},
        {"findings": [{"code": 1, "text": "", "advice": ""}]},
        {"layers": "x"},
        {"reading": []},
    ],
)
def test_only_diagnoses_are_read(change):
    assert verdict.read(printed(diagnosis()))["parameters"] == 118_531
    assert "not a diagnosis" in refusal(verdict.read, printed(diagnosis(**change)))


def test_what_is_no_json():
    for content in (
        b"",
        b"[" * 10**5,
        b"\xff",
        b"NaN",
        b'{"format": 1}',
        printed(diagnosis(loss=float("nan"))),
    ):
        assert "not a diagnosis" in refusal(verdict.read, content)
    assert (
        verdict.read(printed(diagnosis(state="refused", reason="a\nb\x1b[1m")))["reason"]
        == "a b\N{REPLACEMENT CHARACTER}[1m"
    )
    assert verdict.read(printed(verdict.refused("why")))["reason"] == "why"


# -- the roster --------------------------------------------------------------------------------------------

HEADER = "Student,ID,SIS User ID,SIS Login ID,Section,Faces (99),Essay (100),Current Score"
ROWS = [
    HEADER,
    ",,,,,Manual Posting,,(read only)",
    "    Points Possible,,,,,20,10,(read only)",
    '"Lovelace, Ada",11,u1,ada@x.edu,"A, B",,7.00,70',
    '"O""Neil, ""Bob""",12,u2,bob@x.edu,A,3,,',
    '"=HYPERLINK(""http://x"")",13,u3,eve@x.edu,A, ,"line\nbreak",-5',
    "Éva Ünal,14,,eva@x.edu,A,,,",
]


def write(tmp_path: Path, rows=ROWS, end: str = "\r\n", start: bytes = b"", separator: str = ",") -> Path:
    path = tmp_path / "canvas.csv"
    path.write_bytes(start + end.join([*rows, ""]).replace(",", separator).encode())
    return path


@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_one_column_is_filled_and_no_other_byte(tmp_path, start, end):
    path = write(tmp_path, end=end, start=start)
    found = roster.read(path, "Faces")
    assert found.possible == 20
    keys = {"a": ("11", True), "b": ("BOB@X.EDU", False), "e": ("u3", False), "z": ("99", True)}
    rows, unmatched = found.matched(keys)
    assert rows == {"a": 0, "b": 1, "e": 2} and unmatched == ["z: is in no row of the roster"]
    filled = found.filled({0: 17.0, 1: 12.5, 2: 0.333})
    assert found.filled({}) == path.read_bytes()

    def table(content: bytes) -> list[list[str]]:
        return list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline="")))

    before, after = table(path.read_bytes()), table(filled)
    assert [row[5] for row in after] == ["Faces (99)", "Manual Posting", "20", "17", "12.5", "0.33", ""]
    assert [row[:5] + row[6:] for row in after] == [row[:5] + row[6:] for row in before]
    assert filled.startswith(start) and len(filled) == len(path.read_bytes()) + 2 + 3 + 3


def test_the_column(tmp_path):
    path = write(tmp_path)
    assert "Faces (99), Essay (100)" in refusal(roster.read, path)
    assert roster.read(path, "Essay (100)").column == 6
    for wrong in ("Current Score 2", "Student", "ID", "", "Nothing"):
        assert "--column" in refusal(roster.read, path, wrong)
    one = [",".join(row.split(",")[:6]) for row in (ROWS[0], ROWS[6])]
    assert roster.read(write(tmp_path, one)).column == 5


def test_separators_of_other_countries(tmp_path):
    rows = [HEADER, "Ada,11,u1,a@x,A,,,"]
    found = roster.read(write(tmp_path, rows, separator=";"), "Faces")
    assert found.filled({0: 1.5}).decode().splitlines()[1] == "Ada;11;u1;a@x;A;1.5;;"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "not an export"),
        (b"Name,ID\nx,1\n", "not an export"),
        ("Student,ID,A (1)\n".encode("utf-16"), "UTF-16"),
        (b"Student,ID,A (1)\n\xff\xfe,1,\n", "row 2: not UTF-8"),
        (b"Student,ID,A (1)\nx,1\n", "row 2: 2 cells"),
        (b'Student,ID,A (1)\n"x,1,\n', "row 2: a quotation mark"),
        (b'Student,ID,A (1)\n"x"y,1,\n', "row 2: a quotation mark"),
        (b"Student,ID,A (1),A (1)\nx,1,,\n", "--column"),
    ],
)
def test_rosters_that_are_none(tmp_path, content, said):
    path = tmp_path / "canvas.csv"
    path.write_bytes(content)
    assert said in refusal(roster.read, path)


def test_students_who_are_told_apart_by_nothing(tmp_path):
    rows = [HEADER, "A,1,x,same@x,A,,,", "B,2,y,same@x,A,,,", "C,3,z,c@x,A,,,"]
    found = roster.read(write(tmp_path, rows), "Faces")
    matched, said = found.matched({"one": ("same@x", False), "c": ("3", True), "c again": ("z", False)})
    assert matched == {} and len(said) == 2
    assert "2 rows" in said[0] and "several submissions (c, c again)" in said[1]
    # The ID of Canvas is not taken for that of another system, nor nothing for an empty cell.
    found = roster.read(write(tmp_path, [HEADER, "A,1,2,,A,,,", "B,2,1,b,A,,,"]), "Faces")
    assert found.matched({"one": ("1", True)})[0] == {"one": 0}
    assert found.matched({"one": ("1", False)})[0] == {} == found.matched({"one": ("", False)})[0]
    assert found.matched({"b": ("b", True)})[0] == {}


def test_cells_that_say_something_else(tmp_path):
    rows = [HEADER, "A,1,,,A,EX,,", "B,2,,,A,12.5,,", "C,3,,,A, ,,"]
    found = roster.read(write(tmp_path, rows), "Faces")
    assert [found.kept(row) for row in range(3)] == ["EX", "", ""]


def test_formulas_are_said_and_numbers_never_are(tmp_path):
    [said] = roster.read(write(tmp_path), "Faces").formulas()
    assert "begins with '='" in said and "\n" not in said
    for value in (0, 0.1, 1e-9, 12.5, 10_000, 1 / 3):
        assert re.fullmatch(r"\d+(\.\d+)?", roster.number(value))


CELL = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)


@given(st.lists(st.tuples(CELL, CELL), min_size=1, max_size=5), st.sampled_from(["\n", "\r\n"]))
def test_whatever_is_in_the_other_cells(tmp_path_factory, cells, end):
    """Written by Python's csv, filled, and read by it: nothing but the column differs."""
    handle = io.StringIO(newline="")
    alone = any("\r" in cell for pair in cells for cell in pair)  # which csv leaves bare, and reads as an end
    writer = csv.writer(handle, lineterminator=end, quoting=csv.QUOTE_ALL if alone else csv.QUOTE_MINIMAL)
    writer.writerow(["Student", "ID", "A (1)", "Note"])
    for i, (name, note) in enumerate(cells):
        writer.writerow([name, str(i), name, note])
    path = tmp_path_factory.mktemp("roster") / "canvas.csv"
    path.write_bytes(handle.getvalue().encode())
    found = roster.read(path)
    filled = found.filled({i: i + 0.5 for i in range(len(cells))}).decode()
    after = list(csv.reader(io.StringIO(filled, newline="")))[1:]
    assert after == [[name, str(i), f"{i}.5", note] for i, (name, note) in enumerate(cells)]


# -- what is read ------------------------------------------------------------------------------------------

EVIL = "<img src=x onerror=alert(1)>`]( javascript:x) **\"'&"


class Tags(HTMLParser):
    """All tags and attributes of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.found.append((tag, dict(attrs)))


def of_class() -> grades.Graded:
    """Return a class of students with hostile names, files and findings."""
    findings = [
        {"code": "order-unknown", "text": EVIL, "advice": f"write `x = {EVIL}`"},
        {"code": "game-order", "text": "of the game", "advice": "`return ORDER[i]`"},
    ]
    game = {"found": True, "sentence": f"The game {EVIL}"}
    doubtful = diagnosis(
        600,
        findings=findings,
        game=game,
        reading={"told": True, "order": None, "scale": None, "sentence": EVIL},
    )
    evil = Choice("clear", "", File((EVIL.replace("/", ""),), lambda most: b""), "0")
    cases = {
        "ada": marked(diagnosis(800)),
        f"eve {EVIL}": marked(doubtful, s5=evil, s6=evil, s7=evil),
        "bob": marked(None, s5=Choice("ambiguous", EVIL), s6=Choice("missing", EVIL)),
        "zoe": marked(diagnosis(400)),
        "copy": marked(diagnosis(800)),
    }
    students = [grades.Student(Submission(name, name, False, ()), f"file{i}") for i, name in enumerate(cases)]
    for student in students:
        student.marked, student.remarks, student.papers = cases[student.name], [EVIL], [EVIL]
    facts = [("Rubric", EVIL)]
    return grades.Graded(EVIL, RUBRIC, students, marks.weights_shared(cases), [EVIL], facts)


def test_the_page_holds_nothing_of_anybody_elses():
    text = page.text(of_class())
    tags = Tags(text).found
    assert [tag for tag, _ in tags].count("script") == 1 and "img" not in {tag for tag, _ in tags}
    attributes = {name for _, own in tags for name in own}
    assert not [name for name in attributes if name.startswith("on")] and not attributes & {"src", "style"}
    for _, own in tags:
        assert own.get("href", "#").startswith(("#", "feedback/"))
    policy = next(own["content"] for _, own in tags if own.get("http-equiv"))
    assert "default-src 'none'" in policy and "unsafe" not in policy
    ids = [own["id"] for _, own in tags if "id" in own]
    assert len(ids) == len(set(ids))
    assert html.escape(EVIL) in text and "same weights" in text


def test_grades_are_json():
    document = json.loads(json.dumps(grades.document(of_class()), allow_nan=False))
    assert document["students"][2]["points"] is None
    assert document["students"][0]["sections"]["s5"]["items"]["s5.accuracy"]["points"] == 4


def test_feedback_says_what_to_change_and_nothing_of_others():
    for student in of_class().students:
        texts = feedback.texts(student.name, student.marked, RUBRIC)
        for text in texts.values():
            assert "weights" not in text and EVIL not in text
            others = {"ada", "eve", "bob", "zoe"} - {student.name[:3]}
            assert not [name for name in others if re.search(rf"\b{name}\b", text)]
        assert not {tag for tag, _ in Tags(texts[".html"]).found} & {"script", "img", "a"}
        assert not re.search(r"(?<!\\)(<[a-zA-Z/!?]|\])", re.sub(r"(?<!\\)`[^`]*`", "", texts[".md"]))
    doubtful, ambiguous = (
        feedback.texts(each.name, each.marked, RUBRIC) for each in of_class().students[1:3]
    )
    assert "`return ORDER[i]`" in doubtful[".md"] and "<code>return ORDER[i]</code>" in doubtful[".html"]
    assert doubtful[".md"].index("of the game") > doubtful[".md"].index("Section 7")
    assert "submission.json" in ambiguous[".md"] and "not decided yet" in ambiguous[".md"]
