"""What all readers have in common: the same faces in each layout, and classes that come from the data."""

import os
import shlex
from pathlib import Path

import numpy as np
import pytest
from asserting import refusal, same
from made import OTHER, make_csv, make_folder, zipped

from fer_lib.data import load
from fer_lib.data.faces import DEFAULT_CLASSES
from fer_lib.data.load import load_test, load_training
from fer_lib.data.readers.source import FER2013_CLASSES


@pytest.mark.parametrize("layout", ["icml", "fer2013"])
def test_csv_holds_the_same_as_the_folder(face_folder: Path, tmp_path: Path, layout: str):
    path = make_csv(tmp_path / "faces.csv", face_folder, layout)
    for part in (load_training, load_test):
        assert same(part(face_folder), part(path))
    assert load_training(path).names[0].startswith("faces.csv:")
    line = int(load_training(path).names[0].partition(":")[2])
    assert path.read_text().splitlines()[line - 1].startswith("6,")


@pytest.mark.parametrize("prefix", ["", "archive/", "images/images/"])
def test_zip_is_read_in_place(face_folder: Path, tmp_path: Path, prefix: str):
    path = zipped(face_folder, tmp_path / "archive.zip", prefix)
    for part in (load_training, load_test):
        assert same(part(face_folder), part(path))
        assert part(face_folder).names.tolist() == part(path).names.tolist()
    assert load.data_digest(path) == load.data_digest(face_folder)
    assert [file.name for file in tmp_path.iterdir()] == ["archive.zip"]


@pytest.mark.parametrize("suffix", [".JPG", ".png", ".jpeg", ".bmp"])
def test_other_suffixes_and_a_validation_folder(tmp_path: Path, suffix: str):
    make_folder(tmp_path, suffix=suffix, test_name="validation")
    faces = load_test(tmp_path)
    assert faces.counts() == dict.fromkeys(DEFAULT_CLASSES, 4)
    assert faces.names[0] == f"validation/neutral/PublicTest_10600000{suffix}"


def test_classes_in_the_order_given(face_data: Path):
    forward = load_training(face_data, ("surprise", "neutral"))
    backward = load_training(face_data, ["neutral", "surprise"])
    assert forward.classes == ("surprise", "neutral") and forward.counts() == {"surprise": 40, "neutral": 40}
    assert np.array_equal(forward.images[:40], backward.images[40:])
    for part, count in (("train", 40), ("test", 20)):
        counted = load.class_counts(face_data, ("surprise", "happy"), part)
        assert list(counted.items()) == [("surprise", count), ("happy", count)]


def test_test_digests_carry_no_labels(face_data: Path):
    digests = load.pixel_digests_of_test_images(face_data)
    assert digests.dtype == "S64" and digests.tolist() == sorted(
        load_test(face_data).pixel_digests().tolist()
    )


# --- classes ---


@pytest.fixture(params=["folder", "zip"])
def other_data(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Give classes that FER2013 does not have among some that it has, as a folder and as a zip."""
    folder = make_folder(tmp_path / "animals", dict.fromkeys((*OTHER, "neutral", "angry"), 6))
    return folder if request.param == "folder" else zipped(folder, tmp_path / "animals.zip")


def test_classes_come_from_the_data(other_data: Path):
    assert load.resolve(other_data).classes == ("angry", "neutral", *OTHER)  # FER2013's first, in its order
    for part, loaded, count in (("train", load_training, 6), ("test", load_test, 3)):
        faces = loaded(other_data, OTHER)
        assert faces.counts() == load.class_counts(other_data, OTHER, part) == dict.fromkeys(OTHER, count)
        assert {name.split("/")[1] for name in faces.names} == set(OTHER)
        assert same(faces, loaded(other_data, OTHER))  # from the cache
        turned = loaded(other_data, OTHER[::-1])
        assert np.array_equal(turned.images[:count], faces.images[-count:])
        assert len(load.pixel_digests_of_test_images(other_data, OTHER)) == 15


def test_the_digest_is_of_all_classes(tmp_path: Path):
    folder = make_folder(tmp_path / "a", {"cat": 2, "dog": 2})
    digest = load.data_digest(folder)
    assert digest == load.data_digest(zipped(folder, tmp_path / "a.zip"))
    make_folder(folder, {"not amused": 1})
    more = load.data_digest(folder)
    assert more != digest and more == load.data_digest(zipped(folder, tmp_path / "b.zip"))
    (folder / "train/cat").rename(folder / "train/bird")
    assert load.data_digest(folder) not in (digest, more)


def test_the_digest_of_known_classes_is_what_it_was(tmp_path: Path):
    """Computed when seven classes were all there could be; runs have recorded such digests."""
    for name in FER2013_CLASSES:
        (tmp_path / "train" / name).mkdir(parents=True)
        for i in range(2):
            (tmp_path / "train" / name / f"{i}.bmp").write_bytes(f"{name} {i}".encode())
    assert load.data_digest(tmp_path) == "338138fd3c71cf5bb1e8dc1b77692a2efbc494a3c7a75d07b51a98c9e5ca6fc7"


def test_the_advice_for_a_class_that_the_data_lack_can_be_pasted(other_data: Path):
    for action in (
        lambda: load_training(other_data, ("cat", "bird")),
        lambda: load.class_counts(other_data, ("cat", "bird"), "train"),
    ):
        message = refusal(action)
        assert str(other_data) in message and "no train images of class 'bird'" in message
        words = shlex.split(message[message.index("-p ") :])
        assert words[0] == "-p" and len(words) == 2
        classes = words[1].removeprefix("classes=").split(",")
        assert classes == ["angry", "neutral", *OTHER]
        assert load_training(other_data, classes).counts() == dict.fromkeys(classes, 6)


def test_folders_whose_names_cannot_be_classes_are_passed_over(tmp_path: Path):
    odd = [
        "a,b",
        " blank",
        "blank ",
        "two\nlines",
        "esc\x1b[2J",
        "turned\u202e",
        "total",
        "predicted",
        "x" * 61,
    ]
    folder = make_folder(tmp_path / "a", dict.fromkeys(["cat", "dog", "it's", *odd], 2))
    os.mkdir(os.fsencode(folder / "train") + b"/\xff")
    assert load.resolve(folder).classes == ("cat", "dog", "it's")
    assert load_training(folder, ("cat", "dog")).counts() == {"cat": 2, "dog": 2}
    message = refusal(load_training, folder, ("cat", "bird"))
    assert shlex.split(message[message.index("-p ") :]) == ["-p", "classes=cat,dog,it's"]
    for name in odd:
        assert "cannot be one" in refusal(load_training, folder, ("cat", name))
