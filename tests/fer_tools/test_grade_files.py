"""Submissions of any mess: what is found in them, which model is meant, and what is left alone."""

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from asserting import refusal, within
from made import put
from made_class import bytes_of_zip, folder_of, hostile, zip_of

from fer_tools.grading import meant, rubric, submissions
from fer_tools.grading.meant import Choice
from fer_tools.grading.submissions import Unreadable

RUBRIC = rubric.read()
MODEL = bytes_of_zip(**{"config.json": b"a model"})


def chosen(path: Path) -> dict[str, Choice]:
    """Return what is meant in the only submission of a class."""
    [submission] = submissions.of_class(path.parent)
    with ExitStack() as stack:
        scratch = path.parent.with_name(f"{path.parent.name} scratch")
        scratch.mkdir()
        return meant.choose(submissions.opened(submission, scratch, stack), RUBRIC)


@pytest.fixture
def handed_in(tmp_path: Path):
    """Hand in files as the only student; return the state of Sections 5, 6 and 8, and what they say."""

    def hand_in(kind: str = "folder", **files: bytes) -> dict[str, Choice]:
        root = tmp_path / f"class{len(list(tmp_path.iterdir()))}"
        root.mkdir()
        make = zip_of if kind == "zip" else folder_of
        return chosen(make(root / ("ada.zip" if kind == "zip" else "ada"), **files))

    return hand_in


def states(found: dict[str, Choice]) -> list[str]:
    return [found[name].state for name in ("s5", "s6", "s8")]


@pytest.mark.parametrize("kind", ["folder", "zip"])
@pytest.mark.parametrize(
    ("fifth", "sixth"),
    [
        ("section5.keras", "section6.keras"),
        ("My Section_5 Model.keras", "final-Section 6.keras"),
        ("results/basic_model_50_epochs_timestamp_1700000000.keras", "results/optimized_model.keras"),
        ("InitialNetwork.h5", "bestHyperparameters.hdf5"),
        ("step5/model.keras", "step6/model.keras"),
        ("s5.KERAS", "S6.keras"),
        ("a/inner part 5/x/model.keras", "Part6.keras"),
    ],
)
def test_names_that_say_which_section(handed_in, kind, fifth, sixth):
    found = handed_in(
        kind, **{fifth: MODEL, sixth: MODEL + b"6", "report.pdf": b"", "__MACOSX/._s5.keras": b"x"}
    )
    assert states(found) == ["clear", "clear", "missing"]
    assert (found["s5"].file.place, found["s6"].file.place) == (fifth, sixth)


@pytest.mark.parametrize(
    "name", ["models5.keras", "section50.keras", "15.keras", "epoch_5.keras", "best.keras"]
)
def test_names_that_say_nothing(handed_in, name):
    """The only model is prepared for a person; of two, none is chosen."""
    assert states(handed_in(**{name: MODEL})) == ["only", "only", "only"]
    assert states(handed_in(**{name: MODEL, "other.keras": b"2"})) == ["ambiguous", "ambiguous", "missing"]


def test_the_best_of_several_is_never_taken(handed_in):
    found = handed_in(**{"section6.keras": MODEL, "old/section6.keras": b"2", "section5.keras": b"5"})
    assert states(found) == ["clear", "ambiguous", "missing"]
    assert "section6.keras" in found["s6"].why and "old/section6.keras" in found["s6"].why
    both = handed_in(**{"section5 and section6.keras": MODEL})
    assert states(both) == ["ambiguous", "ambiguous", "missing"] and "several sections" in both["s5"].why


def test_copies_of_a_file_are_one(handed_in):
    assert states(handed_in(**{"section6.keras": MODEL, "copy/s6.keras": MODEL}))[1] == "clear"
    assert states(handed_in(**{"section5.keras": MODEL, "section6.keras": MODEL}))[:2] == ["clear", "clear"]
    assert states(handed_in(**{"section6.keras": MODEL, "model.keras": MODEL}))[0] == "missing"


def test_a_manifest_decides(handed_in):
    files = {"a.keras": MODEL, "b/c.keras": b"2", "game.py": b"x = 1"}
    manifest = {"s5": "b/c.keras", "s6": "./a.keras", "s7": "game.py"}
    found = handed_in(**files, **{"submission.json": json.dumps(manifest).encode()})
    assert [found[name].file.place for name in ("s5", "s6", "s7")] == ["b/c.keras", "a.keras", "game.py"]
    assert found["s8"].state == "missing"
    inner = handed_in(**{f"deep/{k}": v for k, v in files.items()}, **{"deep/submission.yml": b"s6: a.keras"})
    assert inner["s6"].file.place == "deep/a.keras"
    assert inner["s5"].state == "missing"  # though names might say more


@pytest.mark.parametrize(
    ("manifest", "said"),
    [
        (b'{"s5": "../../etc/passwd"}', "not there"),
        (b'{"s5": "/etc/passwd"}', "not there"),
        (b'{"s5": "b.keras"}', "not there"),
        (b'{"s9": "a.keras"}', "'s9' is none of"),
        (b'{"s5": ["a.keras"]}', "not of the form"),
        (b"[1]", "not of the form"),
        (b"{", "not valid YAML"),
        (b"\xff\xfe", "not valid YAML"),
        (b"s5: !!python/object/apply:os.system ['touch /tmp/x']", "not valid YAML"),
        (b"a: &a [1]\ns5: *a", "references"),
        (b"s5: a.keras\ns5: a.keras", "twice"),
        (b"[" * 50_000, "not valid YAML"),
    ],
)
def test_manifests_that_say_nothing(handed_in, manifest, said):
    found = handed_in(**{"a.keras": MODEL, "submission.json": manifest})
    assert found["s5"].state in ("missing", "ambiguous") and said in found["s5"].why
    assert "\n" not in found["s5"].why and len(found["s5"].why) < 500


def test_the_game_is_found_by_its_function(handed_in):
    game = b"class Player:\n    def _get_emotion(self, img): ..."
    found = handed_in(**{"s6.keras": MODEL, "a/player.py": game, "b/player.py": game, "config.py": b"x"})
    assert found["s7"].state == "clear"
    assert handed_in(**{"a.py": game, "b.py": game + b"2"})["s7"].state == "ambiguous"
    assert handed_in(**{"a.py": b"_get_emotion"})["s7"].state == "missing"


def test_as_canvas_names_them(tmp_path):
    """Several files of one student are one submission; another student's do not mix with them."""
    root = tmp_path / "class"
    names = ["doejane_LATE_12_345_section5.keras", "doejane_12_346_section6-1.keras", "doejohn_13_347_x.zip"]
    folder_of(root, **{name: MODEL for name in names[:2]})
    zip_of(root / names[2], **{"section5.keras": MODEL})
    jane, john = submissions.of_class(root)
    assert (jane.name, jane.key, jane.canvas, len(jane.paths)) == ("doejane_12", "12", True, 2)
    assert (john.key, john.canvas) == ("13", True)
    with ExitStack() as stack:
        contents = submissions.opened(jane, tmp_path, stack)
        assert [file.place for file in contents.models] == ["section6-1.keras", "section5.keras"]


def test_what_lies_beside_submissions(tmp_path):
    root = folder_of(tmp_path / "class", **{"ada/s5.keras": MODEL, ".DS_Store": b"", "roster.csv": b""})
    assert [each.name for each in submissions.of_class(root, (root / "roster.csv",))] == ["ada"]
    assert "no such" in refusal(submissions.of_class, tmp_path / "nowhere").lower()
    (tmp_path / "empty").mkdir()
    assert "0 submissions" in refusal(submissions.of_class, tmp_path / "empty")
    assert refusal(submissions.of_class, root / "roster.csv")


def test_hostile_submissions_are_looked_at_and_left(tmp_path):
    """Each within seconds, with a reason, or with nothing of what it wanted; nothing is written anywhere."""
    root, evidence, scratch = (tmp_path / name for name in ("class", "evidence", "scratch"))
    for folder in (root, evidence, scratch):
        folder.mkdir()
    expected = hostile(root, MODEL, evidence)
    before = sorted(path.as_posix() for path in tmp_path.rglob("*") if scratch not in path.parents)
    found = {}
    for submission in submissions.of_class(root):
        with ExitStack() as stack, within(60):
            try:
                choice = meant.choose(submissions.opened(submission, scratch, stack), RUBRIC)["s5"]
            except Unreadable as error:
                choice = Choice("unreadable", str(error))
        found[submission.name[:3]] = choice
        for path in scratch.iterdir():
            path.unlink()
    assert sorted(path.as_posix() for path in tmp_path.rglob("*") if scratch not in path.parents) == before
    opened_later = {"h04", "h05", "h10", "h20"}  # whose bytes `fer diagnose` looks at
    for name, (state, words) in expected.items():
        assert "\n" not in found[name].why
        if name in opened_later:
            assert found[name].state == "clear"
        else:
            assert (found[name].state, words in found[name].why) == (state, True), (name, found[name])


@pytest.fixture
def bounded(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(submissions, "MOST_FILES", 20)
    monkeypatch.setattr(submissions, "MOST_BYTES", 1 << 20)
    return None


def test_bounds_of_a_submission(handed_in, bounded):
    many = {f"{i}.txt": b"" for i in range(25)}
    for kind in ("folder", "zip"):
        with pytest.raises(Unreadable, match="more than 20 files"):
            handed_in(kind, **many)
    inner = bytes_of_zip(**many)
    with pytest.raises(Unreadable, match="more than 20 files"):
        handed_in(**{"inner.zip": inner})
    noise = os.urandom(700_000)
    found = handed_in(**{"a.keras": noise, "b.keras": noise + b"1"})
    assert found["s5"].state == "ambiguous"
    assert "more than 1 MB" in handed_in(**{"s5.keras": noise, "s6.keras": noise + b"1"})["s6"].why


def test_a_zip_that_lies_about_its_sizes(tmp_path, handed_in):
    """A member that declares ten bytes and unpacks to 64 MB is read as far as it declares, and refused."""
    content = bytes_of_zip(**{"section5.keras": bytes(1 << 26)})
    for at in (content.index(b"PK\1\2") + 24, 22):  # the sizes in its directory and before its content
        content = content[:at] + (10).to_bytes(4, "little") + content[at + 4 :]
    (tmp_path / "class").mkdir()
    (tmp_path / "class" / "ada.zip").write_bytes(content)
    found = chosen(tmp_path / "class" / "ada.zip")
    assert found["s5"].state == "unreadable" and "damaged" in found["s5"].why


def test_zips_that_are_none(tmp_path):
    root = tmp_path / "class"
    for content in (b"", b"PK\3\4", b"Rar!", bytes_of_zip(**{"a": b"b"})[:-10]):
        folder_of(root, **{"ada.zip": content})
        with pytest.raises(Unreadable, match="zip that cannot be read"):
            chosen(root / "ada.zip")
        (tmp_path / "class scratch").rmdir()
    encrypted = bytearray(bytes_of_zip(**{"section5.keras": b"x" * 100}))
    for at in (encrypted.index(b"PK\1\2") + 8, 6):
        encrypted[at] |= 1
    folder_of(root, **{"ada.zip": bytes(encrypted)})
    assert "encrypted" in chosen(root / "ada.zip")["s5"].why


def test_kinds_of_files_that_are_none(tmp_path):
    """Links, pipes, sockets and devices, alone and within a folder."""
    for kind in ("pipe", "socket", "device", "broken link", "circle"):
        root = tmp_path / kind
        root.mkdir()
        put(root / "ada.zip", kind)
        with within(10), pytest.raises(Unreadable, match="neither a folder nor a zip"):
            chosen(root / "ada.zip")
        (root / "ada.zip").unlink()
        (tmp_path / f"{kind} scratch").rmdir()
        (root / "ada").mkdir()
        put(root / "ada" / "section5.keras", kind)
        with within(10):
            assert chosen(root / "ada")["s5"].state == "missing"
