"""Files that are whole or absent, and errors that are one line."""

import errno
import math
import os
import shutil
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
    leftovers,
    read_json,
    sha256_of,
    sha256_of_file,
    write_json,
    write_text,
)


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


def test_what_a_killed_process_left_is_known_from_what_others_put_there(tmp_path):
    code = "import os, sys; from fer_lib.files import atomic_path\n"
    code += "with atomic_path(sys.argv[1]): os.kill(os.getpid(), 9)"
    written = [
        tmp_path / "a [1].txt",
        tmp_path / "a [1]-b.txt",
        tmp_path / "deep" / "model.keras",
        tmp_path / "x",
    ]
    for path in written:
        subprocess.run(
            [sys.executable, "-c", code, path], check=False, cwd=files.__file__.split("fer_lib")[0]
        )
    for name in (".lock", ".pre-commit-config.yaml", ".my-note.txt", "a-12345678.txt"):
        (tmp_path / name).write_text("mine")
    assert [path.parent.name for path in leftovers(tmp_path)].count("deep") == 1
    assert len(leftovers(tmp_path)) == 4
    (one,) = leftovers(tmp_path, "a [1]")
    assert one.name.startswith(".a [1]-") and one.suffix == ".txt"
    assert leftovers(tmp_path / "nowhere") == []


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


@pytest.mark.parametrize("kind", ["missing", "folder"])
def test_json_that_cannot_be_read(tmp_path, kind):
    if kind == "folder":
        (tmp_path / "a.json").mkdir()
    with pytest.raises(UsageError) as caught:
        read_json(tmp_path / "a.json")
    refused(caught, "a.json", "cannot be read")


def test_parts_of_a_digest_do_not_run_into_each_other(tmp_path):
    assert sha256_of("ab", "c") != sha256_of("a", "bc")
    assert sha256_of("a", "") != sha256_of("a")
    assert sha256_of("ü") == sha256_of("ü".encode())
    (tmp_path / "a").write_bytes(b"abc")
    assert (
        sha256_of_file(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )
