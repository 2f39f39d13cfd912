"""What all readers have in common: the same faces in each layout, and classes that come from the data."""

import hashlib
import os
import shlex
import shutil
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


# --- places and names ---


def test_what_loaded_before_is_what_it_was(tmp_path: Path):
    """Digests of commit 24eac47, of content and of what is loaded, when no folder could have other names."""
    folder = make_folder(
        tmp_path / "faces", {"happy": 6, "neutral": 6, "not amused": 4, "Sad": 3}, suffix=".bmp"
    )
    (folder / "train/happy/Thumbs.db").write_text("x")
    seven = make_folder(tmp_path / "seven", {"happy": 6, "neutral": 6}, suffix=".bmp")
    other = ("neutral", "not amused", "Sad")
    content = "0e0d2f35ec3cd7a4e799e3b1ab43474e894238cb5cc3b225bb8eb244575b2aeb"
    loaded = "c3c1e22c672da9b42611f2b2b58116414d025a44163a4870900ec72bcf71ae6e"
    for data, classes, *digests in (
        (folder, other, content, loaded),
        (zipped(folder, tmp_path / "a.zip", "x/"), other, content, loaded),
        (
            make_csv(tmp_path / "a.csv", seven),
            ("neutral", "happy"),
            "34cd3447928a562e9917127c5eaca27fda01a89fc937fe21e102d39dee457e6c",
            "96e5cff13311f80cd1492100acb5dad5aa93849c7296c9999527c100eb0c3cee",
        ),
    ):
        digest = hashlib.sha256()
        for part in ("train", "test"):
            faces = load.load_faces(data, classes, part)
            for piece in (faces.images, faces.labels, "\n".join(faces.names).encode()):
                digest.update(piece if isinstance(piece, bytes) else piece.tobytes())
        assert [load.data_digest(data), digest.hexdigest()] == digests


def renamed(folder: Path, names: dict[str, str]) -> Path:
    """Rename the folders of classes in both parts."""
    for part in ("train", "test"):
        for old, new in names.items():
            (folder / part / old).rename(folder / part / new)
    return folder


PLACES = {
    "val": lambda folder: (folder / "test").rename(folder / "val"),
    "valid": lambda folder: (folder / "test").rename(folder / "valid"),
    "upper": lambda folder: [(folder / part).rename(folder / part.title()) for part in ("train", "test")],
    "classes": lambda folder: renamed(folder, {name: name.title() for name in DEFAULT_CLASSES}),
    "codes": lambda folder: renamed(folder, {"neutral": "6", "happy": "3", "surprise": "5"}),
    "twice": lambda folder: [twice(folder, part) for part in ("train", "test")],
    "jfif": lambda folder: [file.rename(file.with_suffix(".JFIF")) for file in folder.glob("*/happy/*")],
}


def twice(folder: Path, part: str) -> None:
    """Put a part into a folder of its own name."""
    (folder / part).rename(folder / "x")
    (folder / part).mkdir()
    (folder / "x").rename(folder / part / part)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("layout", ["folder", "zip"])
def test_what_is_written_otherwise_is_read(place: str, layout: str, face_folder: Path, tmp_path: Path):
    folder = shutil.copytree(face_folder, tmp_path / "faces")
    PLACES[place](folder)
    data = folder if layout == "folder" else zipped(folder, tmp_path / "faces.zip")
    for part, loaded in (("train", load_training), ("test", load_test)):
        faces = loaded(data)
        assert same(faces, loaded(face_folder))
        assert all((folder / name).is_file() for name in faces.names)
        assert load.class_counts(data, DEFAULT_CLASSES, part) == faces.counts()
    assert same(load_training(data), load_training(face_folder)), "from the cache"
    if place == "classes":  # whoever calls them as they are called is understood, too
        assert load_training(data, ("Happy", "Neutral")).counts() == {"Happy": 40, "Neutral": 40}


def test_the_exact_name_comes_first_and_what_is_not_clear_is_not_guessed(face_folder: Path, tmp_path: Path):
    folder = shutil.copytree(face_folder, tmp_path / "faces")
    shutil.copytree(folder / "train/happy", folder / "train/HAPPY")
    shutil.copytree(folder / "train/neutral", folder / "train/3")
    assert same(load_training(folder), load_training(face_folder))
    (folder / "train/happy").rename(folder / "train/Happy")
    message = refusal(load_training, folder)  # HAPPY or Happy?
    assert "no train images of class 'happy'" in message and "HAPPY" in message and "Happy" in message
    renamed(shutil.copytree(face_folder, tmp_path / "codes"), {"neutral": "7", "happy": "3", "surprise": "5"})
    assert "classes with images: 3, 5, 7" in refusal(load_training, tmp_path / "codes"), "not FER2013's codes"


def test_a_class_that_is_nearly_called_so_is_named(face_folder: Path, tmp_path: Path):
    folder = renamed(shutil.copytree(face_folder, tmp_path / "faces"), {"surprise": "surprised"})
    for data in (folder, zipped(folder, tmp_path / "faces.zip")):
        message = refusal(load_training, data)
        assert "happy, neutral, surprised" in message and "is 'surprised' meant? rename it" in message
        assert "unpack" not in message


def test_what_is_there_is_named_where_nothing_was_found(face_folder: Path, tmp_path: Path):
    folder = shutil.copytree(face_folder, tmp_path / "faces")
    for part in ("train", "test"):
        for file in list((folder / part).glob("*/*")):
            file.rename(folder / part / file.name)
        for name in DEFAULT_CLASSES:
            (folder / part / name).rmdir()
    message = refusal(load_training, folder)
    assert "there are Training_" in message and " and 115 more" in message
    assert "its files lie in test, train" in refusal(load_training, zipped(folder, tmp_path / "a.zip"))
    (folder / "train").rename(folder / "training")
    (folder / "test").rename(folder / "testing")
    assert "no data set found; it holds testing, training" in refusal(load_training, folder)
