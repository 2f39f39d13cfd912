"""The reader of zip archives: hostile, damaged and ambiguous ones."""

import shutil
import warnings
import zipfile
from pathlib import Path

import pytest
from asserting import refusal, same
from made import zipped

from fer_lib.data import load
from fer_lib.data.load import load_training


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
    assert "zip archive" in refusal(load_training, path)
    path.write_bytes(b"")
    assert "zip archive" in refusal(load_training, path)
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
