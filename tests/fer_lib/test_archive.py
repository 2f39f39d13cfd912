"""The reader of zip archives: hostile, damaged and ambiguous ones."""

import shutil
import struct
import time
import tracemalloc
import warnings
import zipfile
from pathlib import Path

import pytest
from asserting import refusal, same, within
from made import put, zipped

from fer_lib.data import load
from fer_lib.data.load import load_training
from fer_tools.published.verdict import judge


@pytest.mark.parametrize(
    "name", ["../x.jpg", "/etc/x.jpg", "train/happy/../../../x.jpg", "C:\\x.jpg", "a\\..\\x.jpg"]
)
def test_an_archive_that_climbs_out(face_folder: Path, tmp_path: Path, name: str):
    path = zipped(face_folder, tmp_path / "archive.zip")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(name, b"x")
    assert "points outside" in refusal(load_training, path)


def test_other_bad_archives(face_folder: Path, tmp_path: Path):
    path = zipped(face_folder, tmp_path / "archive.zip")
    content = path.read_bytes()
    path.write_bytes(content[:-100])
    assert "no readable zip" in refusal(load_training, path)
    path.write_bytes(b"")
    assert "no readable zip" in refusal(load_training, path)
    middle = bytearray(content)
    middle[2000:2400] = bytes(400)
    path.write_bytes(bytes(middle))
    assert "download it again" in refusal(load_training, path, ("surprise", "neutral", "happy"))
    encrypted = bytearray(content)
    for i in range(len(content)):  # set the flag in the central directory
        if content[i : i + 4] == b"PK\x01\x02":
            encrypted[i + 8] |= 1
    path.write_bytes(bytes(encrypted))
    assert "encrypted" in refusal(load_training, path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("train/happy/Training_1.bmp", bytes(50 << 20))
    assert "zip bomb" in refusal(load_training, path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("emotions.csv", "emotion,pixels")
    assert "no train/<class>/" in refusal(load_training, path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/train/happy/Training_1.jpg", "")
        archive.writestr("b/train/happy/Training_1.jpg", "")
    assert "a/train and b/train" in refusal(load_training, path)
    with zipfile.ZipFile(path, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        archive.writestr("train/happy/Training_1.jpg", "a")
        archive.writestr("train/happy/Training_1.jpg", "b")
    assert "twice" in refusal(load_training, path)
    shutil.copy(path, tmp_path / "second.zip")
    assert "2 archives" in refusal(load.resolve, tmp_path)


def test_what_a_mac_adds_to_an_archive_is_ignored(face_folder: Path, tmp_path: Path):
    path = zipped(face_folder, tmp_path / "archive.zip")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("__MACOSX/train/happy/._Training_1.jpg", b"\0\5\x16\7")
        archive.writestr("__MACOSX/train/happy/Training_1.jpg", b"\0\5\x16\7")
        archive.writestr("train/happy/.DS_Store", b"")
    assert same(load_training(path), load_training(face_folder))


def directory_entry(name: bytes, packed: int, size: int) -> bytes:
    """Return an entry of a zip's directory by the format's description (APPNOTE.TXT, 4.3.12)."""
    fields = (b"PK\1\2", 20, 20, 0, 0, 0, 0, 0, packed, size, len(name), 0, 0, 0, 0, 0, 0)
    return struct.pack("<4s6H3L5H2L", *fields) + name


def end_of_directory(members: int, length: int, start: int) -> bytes:
    """Return what ends a zip (APPNOTE.TXT, 4.3.16)."""
    return struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, members, members, length, start, 0)


def test_members_that_lie_over_each_other(face_folder: Path, tmp_path: Path):
    """A megabyte, and a hundred entries of the directory that all mean it."""
    image = next(face_folder.glob("train/happy/*")).read_bytes() + bytes(1 << 20)
    name = b"train/happy/Training_%02d.jpg"
    fields = (b"PK\3\4", 20, 0, 0, 0, 0, 0, len(image), len(image), len(name % 0), 0)
    body = struct.pack("<4s5H3L2H", *fields) + name % 0 + image
    entries = b"".join(directory_entry(name % i, len(image), len(image)) for i in range(100))
    path = tmp_path / "a.zip"
    path.write_bytes(body + entries + end_of_directory(100, len(entries), len(body)))
    for action in (load_training, load.data_digest, judge):
        assert "lie over each other" in refusal(action, path)


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_many_small_bombs_are_one(tmp_path: Path, method: int):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", method) as archive:
        for i in range(100):
            archive.writestr(f"train/happy/Training_{i}.jpg", bytes((1 << 20) - 100))
    for action in (load_training, load.data_digest, judge):
        assert "zip bomb" in refusal(action, tmp_path / "a.zip")


def test_members_without_end(tmp_path: Path):
    entry = directory_entry(b"train/happy/1.jpg", 0, 0)
    path = tmp_path / "a.zip"
    with open(path, "wb") as handle:
        handle.write(entry * 1_000_000 + end_of_directory(0xFFFF, 1_000_000 * len(entry), 0))
    before = time.process_time()
    message = refusal(load_training, path)
    assert "1,000,000 members, more than 600,000" in message and time.process_time() - before < 2


def test_a_directory_that_is_a_hole(tmp_path: Path):
    path = tmp_path / "a.zip"
    with open(path, "wb") as handle:
        handle.truncate(1 << 30)
        handle.seek(1 << 30)
        handle.write(end_of_directory(9, 1 << 30, 0))
    tracemalloc.start()
    try:
        assert "a directory of more than" in refusal(load_training, path)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()
    with open(path, "wb") as handle:
        handle.truncate(1 << 40)
    with within(20):
        assert "1,048,576 MB, more than the 16,384" in refusal(load.data_digest, path)


@pytest.mark.parametrize("inside", [False, True])
def test_a_pipe_that_is_called_zip(tmp_path: Path, inside: bool):
    put(tmp_path / "a.zip", "pipe")
    for action in (load_training, load.data_digest, judge):
        with within(20):
            message = refusal(action, tmp_path if inside else tmp_path / "a.zip")
        assert "a.zip: a pipe, not a regular file" in message


def test_a_link_to_an_archive_is_followed(face_folder: Path, tmp_path: Path):
    (tmp_path / "b.zip").symlink_to(zipped(face_folder, tmp_path / "a.zip"))
    assert same(load_training(tmp_path / "b.zip"), load_training(face_folder))


@pytest.mark.parametrize(("method", "name"), [(9, "deflate64"), (91, "91"), (1, "shrink")])
def test_a_method_that_cannot_be_read_is_no_damage(face_folder: Path, tmp_path: Path, method: int, name: str):
    """As Windows packs what is over 2 GB: Deflate64 (APPNOTE.TXT, 4.4.5)."""
    content = bytearray(zipped(face_folder, tmp_path / "a.zip").read_bytes())
    for mark, place in ((b"PK\1\2", 10), (b"PK\3\4", 8)):
        at = content.find(mark)
        while at >= 0:
            if content[at + place] == zipfile.ZIP_DEFLATED:
                content[at + place] = method
            at = content.find(mark, at + 4)
    (tmp_path / "a.zip").write_bytes(content)
    for action in (load_training, load.data_digest, judge):
        message = refusal(action, tmp_path / "a.zip")
        assert f"not read here ({name}); unpack it and give the folder" in message
        assert "damaged" not in message and "download" not in message
