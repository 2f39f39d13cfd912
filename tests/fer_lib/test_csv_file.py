"""The reader of CSV files of pixels."""

from pathlib import Path

import pytest
from asserting import refusal, same
from made import make_csv

from fer_lib.data.load import load_training

ROW = " ".join(["7"] * 2304)


@pytest.mark.parametrize(
    "text, words",
    [
        ("", ("empty file",)),
        ("emotion,pixels\n0," + ROW, ("row 1", "'usage'")),
        ("Usage,pixels\nTraining," + ROW, ("row 1", "'emotion'")),
        ("emotion, Usage\n0,Training", ("row 1", "'pixels'")),
        (f"emotion,Usage,pixels\n3,Training,{ROW}\n3,Training,1 2 3\n", ("row 3", "3 pixels", "2,304")),
        (f"emotion,Usage,pixels\n3,Training,{ROW} 4\n", ("row 2", "2,305 pixels")),
        (f"emotion,Usage,pixels\n3,Training,{ROW[:-1]}x\n", ("row 2", "'x'", "not a whole number")),
        (f"emotion,Usage,pixels\n3,Training,{ROW[:-1]}1.5\n", ("row 2", "'1.5'", "not a whole number")),
        (f"emotion,Usage,pixels\n3,Training,{ROW[:-1]}256\n", ("row 2", "256", "0 to 255")),
        (f"emotion,Usage,pixels\n3,Training,{ROW[:-1]}-1\n", ("row 2", "-1", "0 to 255")),
        (f"emotion,Usage,pixels\n3,Training,{ROW[:-1]}99999999999999999999\n", ("row 2", "0 to 255")),
        (f"emotion,Usage,pixels\n3,Test,{ROW}\n", ("row 2", "'Test'", "Training, PublicTest, PrivateTest")),
        (f"emotion,Usage,pixels\n7,Training,{ROW}\n", ("row 2", "'7'", "0 angry", "6 neutral")),
        (f"emotion,Usage,pixels\n3.0,Training,{ROW}\n", ("row 2", "'3.0'")),
        ("emotion,Usage,pixels\n3,Training\n", ("row 2", "2 of 3 columns")),
        ("emotion,Usage,pixels\n3,Training," + "1 " * (1 << 20), ("row 2", "longer than")),
        (f"emotion,Usage,pixels\n3,Training,{ROW}\n", ("'neutral'", "classes with images: happy")),
        ("\0\0\0\n\0", ("row 1", "'emotion'")),
    ],
)
def test_bad_csv(tmp_path: Path, text: str, words: tuple[str, ...]):
    path = tmp_path / "bad data.csv"
    path.write_text(text)
    message = refusal(load_training, path)
    assert all(word in message for word in (str(path), *words)), message
    assert len(message) < 400


def test_csv_as_windows_writes_it(face_folder: Path, tmp_path: Path):
    path = make_csv(tmp_path / "a.csv", face_folder)
    lines = path.read_text().splitlines()
    quoted = [lines[0]] + [",".join(f'"{field}"' for field in line.split(",")) for line in lines[1:]]
    path.write_bytes(("﻿" + "\r\n".join(quoted) + "\r\n\r\n").encode())
    assert same(load_training(path), load_training(face_folder))


def test_csv_is_streamed(tmp_path: Path):
    path = tmp_path / "many.csv"
    with open(path, "w") as handle:
        handle.write("emotion,Usage,pixels\n")
        handle.writelines(f"{3 if i % 2 else 6},Training,{i % 256}{ROW[1:]}\n" for i in range(3000))
    faces = load_training(path, ("happy", "neutral"))
    assert faces.counts() == {"happy": 1500, "neutral": 1500}
    assert faces.images[:3, 0, 0].tolist() == [1, 3, 5] and faces.names[1] == "many.csv:5"
