"""Files that are whole or absent, and errors that are one line."""

import errno
import math
import os
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fer_lib import files
from fer_lib.files import (
    UsageError,
    atomic_path,
    columns,
    open_regular,
    printable,
    read_regular,
    sha256_of,
    sha256_of_file,
    write_text,
)
from fer_tools.console import complain, say
from fer_tools.json_files import read_json, sha256_of_json, write_json
from fer_tools.scratch import remove_leftovers


def contents(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


def refused(caught: pytest.ExceptionInfo[UsageError], *said: str) -> None:
    message = str(caught.value)
    assert "\n" not in message
    for text in said:
        assert text in message


def test_a_written_file_is_there_in_full_and_alone(tmp_path):
    write_text(tmp_path / "deep" / "a.txt", "Zeile 1\nZeile 2 ü\n")
    assert (tmp_path / "deep" / "a.txt").read_bytes() == "Zeile 1\nZeile 2 ü\n".encode()
    assert os.listdir(tmp_path / "deep") == ["a.txt"]


def test_the_temporary_file_is_beside_the_target_and_keeps_its_suffix(tmp_path):
    with atomic_path(tmp_path / "model.keras") as temporary:
        assert temporary.parent == tmp_path  # a rename between file systems would not be atomic
        assert temporary.suffix == ".keras"
        assert not (tmp_path / "model.keras").exists()
        temporary.write_text("x")
    assert contents(tmp_path) == {"model.keras": "x"}


@pytest.fixture
def killed(tmp_path) -> set[str]:
    """Leave what killed processes were writing beside files of somebody's own; return the names of these."""
    code = "import os, sys; from fer_lib.files import atomic_path\n"
    code += "with atomic_path(sys.argv[1]): os.kill(os.getpid(), 9)"
    for path in ("a [1].txt", "a [1]-b.txt", "deep/deeper/model.keras", "deep/x"):
        command = [sys.executable, "-c", code, tmp_path / path]
        subprocess.run(command, check=False, cwd=files.ROOT)
    own = {".lock", ".pre-commit-config.yaml", ".my-note.txt", "a-12345678.txt", "deep/.a-1234567.txt"}
    for name in own:
        (tmp_path / name).write_text("mine")
    return own


def all_files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_what_killed_processes_left_in_a_folder_is_removed_and_nothing_else(tmp_path, killed):
    assert len(all_files(tmp_path)) == len(killed) + 4
    remove_leftovers(tmp_path / "deep")
    assert len(all_files(tmp_path)) == len(killed) + 2
    remove_leftovers(tmp_path)
    assert all_files(tmp_path) == killed
    assert (tmp_path / "deep" / "deeper").is_dir()


def test_what_killed_processes_left_of_a_file_is_removed_and_not_that_of_others(tmp_path, killed):
    before = all_files(tmp_path)
    remove_leftovers(tmp_path / "nowhere", tmp_path / "nowhere" / "a.txt", tmp_path / "model.keras")
    assert all_files(tmp_path) == before
    remove_leftovers(tmp_path / "a [1].txt")  # which was never finished
    (one,) = before - all_files(tmp_path)
    assert one.startswith(".a [1]-") and one.endswith(".txt") and "-b-" not in one
    write_text(tmp_path / "deep" / "x", "finished")
    remove_leftovers(tmp_path / "deep" / "x", tmp_path / "deep" / "deeper")
    assert all_files(tmp_path / "deep") == {"x", ".a-1234567.txt"}


@pytest.mark.parametrize("failure", [ValueError("mine"), KeyboardInterrupt(), SystemExit(143)])
def test_failure_in_the_body_keeps_the_old_file_and_passes_through(tmp_path, failure):
    write_text(tmp_path / "a.txt", "old")
    with pytest.raises(type(failure)) as caught, atomic_path(tmp_path / "a.txt") as temporary:
        temporary.write_text("half of the n")
        raise failure
    assert caught.value is failure
    assert contents(tmp_path) == {"a.txt": "old"}


@pytest.mark.parametrize("call", ["fsync", "chmod", "replace"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO])
def test_failure_of_the_disk_keeps_the_old_file(tmp_path, monkeypatch, call, code):
    write_text(tmp_path / "a.txt", "old")

    def fail(*_, **__):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(files.os if call == "fsync" else Path, call, fail)
    with pytest.raises(UsageError) as caught:
        write_text(tmp_path / "a.txt", "new")
    monkeypatch.undo()
    refused(caught, str(tmp_path / "a.txt"), os.strerror(code))
    assert contents(tmp_path) == {"a.txt": "old"}


@pytest.fixture
def small_disk(tmp_path):
    """Mount a file system of 64 KB; needs root, as in most containers."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() != 0 or not shutil.which("mount"):
        pytest.skip("a full disk needs root; the same path is tested with a failing fsync")
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("no right to mount here; the same path is tested with a failing fsync")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_really_full_disk(small_disk):
    write_text(small_disk / "a.txt", "old")
    with pytest.raises(UsageError) as caught:
        write_text(small_disk / "a.txt", "n" * 100_000)
    refused(caught, "a.txt", "No space left")
    assert contents(small_disk) == {"a.txt": "old"}
    write_text(small_disk / "a.txt", "new")  # the space of the failed attempt is free again
    assert contents(small_disk) == {"a.txt": "new"}


def test_a_file_where_a_folder_is_needed(tmp_path):
    (tmp_path / "taken").write_text("mine")
    with pytest.raises(UsageError) as caught:
        write_text(tmp_path / "taken" / "a.txt", "new")
    refused(caught, "taken", "cannot be written")
    assert contents(tmp_path) == {"taken": "mine"}


def test_a_folder_where_the_file_should_be(tmp_path):
    (tmp_path / "a.txt").mkdir()
    with pytest.raises(UsageError) as caught:
        write_text(tmp_path / "a.txt", "new")
    refused(caught, "a.txt")
    assert os.listdir(tmp_path) == ["a.txt"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder(tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(UsageError) as caught:
            write_text(tmp_path / "a.txt", "new")
    finally:
        tmp_path.chmod(0o700)
    refused(caught, "a.txt", "Permission denied")
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_the_umask_decides_who_may_read(tmp_path, mask, mode):
    before = os.umask(mask)
    try:
        write_text(tmp_path / "a.txt", "x")
        assert os.umask(mask) == mask  # asking for it did not change it
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == mode


def test_equal_values_give_equal_bytes(tmp_path):
    write_json(tmp_path / "a.json", {"b": 1, "a": [0.1, None, True, "ü"]})
    write_json(tmp_path / "b.json", {"a": [0.1, None, True, "ü"], "b": 1})
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert "ü" in (tmp_path / "a.json").read_text(encoding="utf-8")


@pytest.mark.parametrize("value", [math.nan, math.inf, {"a": -math.inf}])
def test_json_has_no_number_for_nan(tmp_path, value):
    write_json(tmp_path / "a.json", 1)
    with pytest.raises(UsageError):
        write_json(tmp_path / "a.json", value)
    assert read_json(tmp_path / "a.json") == 1


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text("aü\n\"'\\\0 "),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(JSON)
def test_json_comes_back_as_it_was(value):
    with tempfile.TemporaryDirectory() as folder:
        write_json(f"{folder}/a.json", value)
        assert read_json(f"{folder}/a.json") == value


NOT_FILES = {
    "missing": (lambda path: None, "cannot be read (No such file"),
    "folder": (lambda path: path.mkdir(), "a folder, not a regular file"),
    "pipe": (os.mkfifo, "a pipe, not a regular file"),
    "socket": (lambda path: socket.socket(socket.AF_UNIX).bind(str(path)), "a socket, not a regular file"),
    "link": (lambda path: path.symlink_to(__file__), "a link, not a regular file"),
    "link to a device": (lambda path: path.symlink_to("/dev/zero"), "a link, not a regular file"),
    "circle": (lambda path: path.symlink_to(path), "a link, not a regular file"),
    "huge": (lambda path: (path.touch(), os.truncate(path, 3 << 40)), "3,145,728 MB, more than the 8"),
}


@pytest.mark.parametrize("kind", NOT_FILES)
def test_what_is_no_file_of_sane_size_is_not_read(tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)  # names of sockets have to be short
    make, said = NOT_FILES[kind]
    make(Path("a.json"))
    for read in (read_json, lambda path: read_regular(path, 8 << 20)):
        with pytest.raises(UsageError) as caught:
            read("a.json")
        refused(caught, "a.json", said)


def test_devices_are_not_opened():
    for follow in (False, True):
        with pytest.raises(UsageError, match="/dev/zero: a device, not a regular file"):
            open_regular("/dev/zero", 1 << 20, follow)


def test_a_link_that_the_user_named_is_followed(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    (tmp_path / "b").symlink_to("a")
    assert read_regular(tmp_path / "b", 3, follow=True) == b"abc"
    with pytest.raises(UsageError, match="more than"):
        read_regular(tmp_path / "b", 2, follow=True)
    (tmp_path / "c").symlink_to("/dev/zero")
    with pytest.raises(UsageError, match="a device, not a regular file"):
        read_regular(tmp_path / "c", 2, follow=True)


def test_a_name_with_a_null_character_is_refused():
    with pytest.raises(UsageError, match="null"):
        read_regular("a\0b", 1)


def test_parts_of_a_digest_do_not_run_into_each_other(tmp_path):
    assert sha256_of("ab", "c") != sha256_of("a", "bc")
    assert sha256_of("a", "") != sha256_of("a")
    assert sha256_of("ü") == sha256_of("ü".encode())
    (tmp_path / "a").write_bytes(b"abc")
    assert (
        sha256_of_file(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )
    values = {"b": 1, "a": [0.1, None, "ü"]}
    assert sha256_of_json(values) == sha256_of_json(dict(reversed(values.items())))
    assert sha256_of_json(values) == sha256_of('{"a": [0.1, null, "\\u00fc"], "b": 1}')  # as runs recorded it


# --- text for people ---


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, ütf-8: 漢字 😀 עברית", None),
        ("بی\u200cتفاوت 👩\u200d💻 क\u094d\u200dष", None),  # joiners make words and emoji
        ("a\nb\rc\td\u2028e\u2029f\x85g\x0bh\x0ci", "a b c d e f g h i"),
        ("a\u00a0b\u3000c", "a b c"),
        ("\x1b[2J\x1b]0;title\x07", "�[2J�]0;title�"),
        ("\0\x08\x7f\x9b31m", "���\ufffd31m"),
        ("\u202egpj.exe\u202c \u2066x\u2069 \u200e\u200f\u061c", "�gpj.exe� �x� ���"),
        ("\ufeffa\u200bb\u2060c", "�a�b�c"),  # nothing that cannot be seen
        ("\udcff.jpg \ud83d", "�.jpg �"),  # undecodable names of files
        ("\U000e0041\ue000\uffff", "���"),
        ("", None),
    ],
)
def test_somebody_elses_text_is_one_harmless_line(text, shown):
    assert printable(text) == (text if shown is None else shown)


@given(st.text())
def test_a_printable_text_stays_what_it_is_and_is_one_line(text):
    line = printable(text)
    assert len(line) == len(text) and printable(line) == line and len(f"-{line}-".splitlines()) == 1
    line.encode()


def test_what_is_said_is_one_line_however_it_is_read(capsys):
    say("a\nfer: b\x1b[2J")
    complain("c\rd\u202e")
    assert capsys.readouterr() == ("a fer: b�[2J\n", "fer: c d�\n")


def test_columns_are_aligned_each_to_its_side():
    rows = [("name", "n", "remark"), ("a", "10", ""), ("longer", "9", "last")]
    assert columns(rows, "<><") == ["name     n  remark", "a       10", "longer   9  last"]
    assert columns([("a",)], ">") == ["a"]
    assert columns([], "<<") == []


@pytest.mark.parametrize(("rows", "align"), [([("a", "b"), ("c",)], "<<"), ([("a", "b")], "<")])
def test_columns_of_unequal_rows_are_a_mistake(rows, align):
    with pytest.raises(ValueError):
        columns(rows, align)
