"""The reader of CSV files of pixels."""

import time
from pathlib import Path

import pytest
from asserting import refusal, same, within
from made import make_csv, put

from fer_lib.data import load
from fer_lib.data.load import load_training
from fer_lib.data.readers import csv_file
from fer_tools.published.verdict import judge

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


HEADER = "emotion,Usage,pixels\n"


@pytest.mark.parametrize("blank", ["\n", "\r\n", '""\n', " \n"])
def test_blank_lines_without_end_are_refused_by_the_row(tmp_path: Path, blank: str):
    path = tmp_path / "blank.csv"
    path.write_bytes((HEADER + f"3,Training,{ROW}\n" + blank * 100_000).encode())
    for action in (load_training, load.data_digest, judge):
        if action is not load.data_digest:  # of the bytes, whatever they are
            message = refusal(action, path)
            assert "row 1003: 1,001 blank lines; drop them" in message


def test_blank_lines_between_rows_are_passed_over(tmp_path: Path):
    path = tmp_path / "spaced.csv"
    rows = [f"{(3, 6)[i % 2]},Training,{i % 10}{ROW[1:]}\n\n" for i in range(1500)]
    path.write_text(HEADER + "".join(rows) + "\n" * 900)
    assert load_training(path, ("happy", "neutral")).counts() == {"happy": 750, "neutral": 750}


@pytest.mark.parametrize("pixels", ["", "1 2 3", "7" * 2304, ROW[:-2]])
def test_a_row_too_short_for_an_image_is_not_counted(tmp_path: Path, pixels: str):
    path = tmp_path / "short.csv"
    path.write_text(HEADER + f"3,Training,{ROW}\n6,Training,{ROW}\n3,PublicTest,{pixels}\n")
    for action in (load.class_counts, load.load_faces):  # of another part than the row's
        message = refusal(action, path, ("happy", "neutral"), "train")
        assert "row 4" in message and f"{len(pixels.split()):,} pixels, expected 2,304" in message


def test_columns_without_end(tmp_path: Path):
    path = tmp_path / "wide.csv"
    path.write_text("".join(f"c{i}," for i in range(150)) + HEADER + "3,")
    assert "row 1: no column 'emotion'" in refusal(load_training, path)
    more = "," * 500_000  # as a spreadsheet that has once been very wide writes them
    rows = [f"{code},Training,{ROW}{more}\n" for code in (3, 6) for _ in range(20)]
    path.write_text(HEADER + "".join(rows))
    before = time.process_time()
    assert load_training(path, ("happy", "neutral")).counts() == {"happy": 20, "neutral": 20}
    assert time.process_time() - before < 2  # seconds; 20 million fields take 4


def test_a_file_with_a_hole_of_a_terabyte(tmp_path: Path):
    path = tmp_path / "hole.csv"
    with open(path, "w") as handle:
        handle.write(HEADER)
        handle.truncate(1 << 40)
    for action in (load_training, load.data_digest, judge):
        with within(20):
            assert "1,048,576 MB, more than the 4,406" in refusal(action, path)


def test_a_csv_of_half_a_million_images_may_be_read():
    longest = len("6,PrivateTest," + " ".join(["255"] * 2304) + "\r\n")
    assert longest * 500_000 <= csv_file.LARGEST


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("kind", ["pipe", "device", "socket", "broken link"])
def test_what_is_no_file_but_is_called_csv(tmp_path: Path, kind: str, inside: bool):
    path = tmp_path / "icml_face_data.csv"
    put(path, kind)
    expected = "cannot be read" if kind == "broken link" else f"a {kind}, not a regular file"
    if kind == "broken link" and not inside:
        expected = "no such file"
    for action in (load_training, load.data_digest, judge):
        with within(20):
            message = refusal(action, tmp_path if inside else path)
        assert expected in message and str(path) in message


def test_a_link_to_a_csv_is_followed(face_csv: Path, tmp_path: Path):
    (tmp_path / "mine.csv").symlink_to(face_csv)
    assert same(load_training(tmp_path / "mine.csv"), load_training(face_csv))
    assert load.data_digest(tmp_path / "mine.csv") == load.data_digest(face_csv)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_utf_16_is_called_so(tmp_path: Path, encoding: str):
    (tmp_path / "a.csv").write_text(HEADER + f"3,Training,{ROW}\n", encoding=encoding)
    for action in (load_training, judge):
        assert "UTF-16; save it as UTF-8" in refusal(action, tmp_path / "a.csv")


@pytest.mark.parametrize("rows", [1, 1000])
def test_lines_that_end_with_cr_alone_are_called_so(tmp_path: Path, rows: int):
    (tmp_path / "a.csv").write_bytes((HEADER + f"3,Training,{ROW}\n" * rows).replace("\n", "\r").encode())
    for action in (load_training, judge):
        assert "lines end with CR" in refusal(action, tmp_path / "a.csv")
