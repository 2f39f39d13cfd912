"""The reader of image folders: order, links, odd names, what is not an image."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from asserting import refusal, same, within
from made import encoded, make_folder, put, zipped
from PIL import Image

from fer_lib.data import load
from fer_lib.data.faces import DEFAULT_CLASSES
from fer_lib.data.load import load_test, load_training
from fer_lib.data.readers import folder
from fer_lib.files import UsageError
from fer_tools.published.verdict import judge


def test_folder(face_folder: Path):
    faces = load_training(face_folder)
    assert faces.images.shape == (120, 48, 48) and faces.images.dtype == np.uint8
    assert faces.labels.dtype == np.int64 and faces.classes == ("neutral", "happy", "surprise")
    assert faces.counts() == {"neutral": 40, "happy": 40, "surprise": 40}
    assert faces.names[0] == "train/neutral/Training_10600000.jpg" and faces.factors is None
    file = face_folder / faces.names[50]
    assert np.array_equal(faces.images[50], np.asarray(Image.open(file)))
    assert load_test(face_folder).counts() == dict.fromkeys(DEFAULT_CLASSES, 20)


def test_order_does_not_depend_on_the_file_system(
    face_folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path
):
    monkeypatch.setenv("FER_CACHE", str(tmp_path))
    names = load_training(face_folder).names.tolist()
    scandir = os.scandir

    class Reversed:
        def __init__(self, path):
            self.entries = list(scandir(path))[::-1]

        def __enter__(self):
            return iter(self.entries)

        def __exit__(self, *_):
            pass

    monkeypatch.setattr(folder.os, "scandir", Reversed)
    assert load_training(face_folder).names.tolist() == names
    assert names == sorted(names, key=lambda name: (DEFAULT_CLASSES.index(name.split("/")[1]), name))


def test_a_farm_of_links_and_odd_names(face_folder: Path, tmp_path: Path):
    root = tmp_path / "Gesichter für 'alle' – ñ 😀"
    for file in face_folder.rglob("*.jpg"):
        link = root / file.relative_to(face_folder)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(file)
    (root / "train/happy/Thumbs.db").write_bytes(b"\0")
    (root / "train/happy/.DS_Store").write_bytes(b"\0")
    (root / "train/happy/._Training_1.jpg").write_bytes(b"\0")
    (root / "train/happy/notes.txt").write_text("not an image")
    assert same(load_training(root), load_training(face_folder))
    undecodable = os.fsencode(root / "train/happy/Training_0") + b"\xff.jpg"
    shutil.copy(next(face_folder.glob("train/happy/*.jpg")), undecodable)
    names = load_training(root).names
    assert "train/happy/Training_0�.jpg" in names.tolist()
    load.data_digest(root)


@pytest.mark.parametrize(
    "content, word",
    [
        (b"", "empty file"),
        (b"hello", "not a JPEG"),
        (b"\xff\xd8\xff", "image"),
        (encoded(Image.new("L", (4097, 4096))), "4097x4096 pixels, more than the 16.8 million"),
        (encoded(Image.new("L", (48, 48)))[:-30], "damaged"),
        (encoded(Image.new("L", (48, 48)), "GIF"), "not a JPEG"),
    ],
)
def test_bad_image(face_folder: Path, tmp_path: Path, content: bytes, word: str):
    shutil.copytree(face_folder / "train", tmp_path / "train")
    bad = tmp_path / "train" / "happy" / "Training_2.jpg"
    bad.write_bytes(content)
    message = refusal(load_training, tmp_path)
    assert word in message and str(bad) in message
    load_training(tmp_path, ("neutral", "surprise"))  # other classes are not touched
    path = zipped(tmp_path, tmp_path / "a.zip")
    message = refusal(load_training, path)
    assert word in message and "train/happy/Training_2.jpg" in message


def test_links_in_a_circle_and_pipes(tmp_path: Path):
    make_folder(tmp_path)
    circle = tmp_path / "train/happy/Training_3.jpg"
    circle.symlink_to(circle)
    assert str(circle) in refusal(load_training, tmp_path)
    circle.unlink()
    os.mkfifo(circle)
    assert "not a regular file" in refusal(load_training, tmp_path)
    circle.unlink()
    (tmp_path / "train/happy/self").symlink_to(tmp_path / "train")
    assert len(load_training(tmp_path)) == 24
    loop = tmp_path / "train/sad"
    loop.symlink_to(loop)
    assert "train/sad" in refusal(load_training, tmp_path, ("happy", "sad"))
    shutil.rmtree(tmp_path / "train")
    (tmp_path / "train").symlink_to(tmp_path / "train")
    assert "train: not a folder" in refusal(load_training, tmp_path)
    shutil.rmtree(tmp_path / "test")
    refusal(load.resolve, tmp_path)


@pytest.mark.parametrize("place", ["train", "test", "validation"])
@pytest.mark.parametrize("kind", ["file", "broken link"])
def test_a_part_that_is_no_folder_is_not_passed_over(place, kind, make_face_folder, tmp_path):
    faces = make_face_folder(tmp_path / "faces")
    path = faces / place
    if path.is_dir():
        path.rename(tmp_path / "elsewhere")
    if kind == "file":
        path.write_text("images are elsewhere")
    else:
        path.symlink_to(tmp_path / "gone")
    with pytest.raises(UsageError, match=f"{place}: not a folder"):
        load.data_digest(str(faces))


@pytest.mark.parametrize("part", ["train", "test"])
@pytest.mark.parametrize("kind", ["pipe", "socket", "device", "broken link", "circle", "file"])
def test_what_stands_in_place_of_a_class_is_named(tmp_path: Path, kind: str, part: str):
    path = make_folder(tmp_path) / part / "happy"
    shutil.rmtree(path)
    put(path, kind)
    loaded = {"train": load_training, "test": load_test}[part]
    for action, arguments in (
        (loaded, ()),
        (load.class_counts, (DEFAULT_CLASSES, part)),
        (load.data_digest, ()),
        (judge, ()),
    ):
        with within(20):
            message = refusal(action, tmp_path, *arguments)
        assert str(path) in message and "remove" in message
        assert (
            "cannot be read" if kind in ("broken link", "circle") else f"a {kind}, not a folder"
        ) in message


def test_a_file_in_place_of_a_class_of_both_parts_is_named(tmp_path: Path):
    make_folder(tmp_path)
    for part in ("train", "test"):
        shutil.rmtree(tmp_path / part / "happy")
        (tmp_path / part / "happy").write_text("images are elsewhere")
    for part, loaded in (("train", load_training), ("test", load_test)):
        for action in (loaded, lambda data, part=part: load.class_counts(data, DEFAULT_CLASSES, part)):
            assert f"{tmp_path / part}/happy: a file, not a folder of images" in refusal(action, tmp_path)
    assert load_training(tmp_path, ("neutral", "surprise")).counts() == {"neutral": 8, "surprise": 8}


def test_files_beside_the_classes_are_passed_over(tmp_path: Path, face_folder: Path):
    shutil.copytree(face_folder, tmp_path, dirs_exist_ok=True)
    for name in (".DS_Store", "Thumbs.db", "desktop.ini", "README", "LICENSE", "list.csv", "a.jpg"):
        (tmp_path / "train" / name).write_text("no class")
    os.mkfifo(tmp_path / "train" / ".hidden")
    assert same(load_training(tmp_path), load_training(face_folder))
    assert load.data_digest(tmp_path) == load.data_digest(face_folder)


@pytest.mark.parametrize("kind", ["pipe", "socket", "device", "broken link", "circle", "folder"])
def test_what_is_no_picture_is_not_counted_as_one(tmp_path: Path, kind: str):
    path = make_folder(tmp_path) / "train/happy/Training_4\n.jpg"
    put(path, kind)
    for action, arguments in ((load_training, ()), (load.class_counts, (DEFAULT_CLASSES, "train"))):
        with within(20):
            message = refusal(action, tmp_path, *arguments)
        assert "Training_4 .jpg" in message and "remove" in message


def test_a_picture_of_a_terabyte(tmp_path: Path):
    path = make_folder(tmp_path) / "train/happy/Training_4\n.jpg"
    with open(path, "wb") as handle:
        handle.truncate(1 << 40)
    for action in (load_training, load.data_digest, judge):
        with within(20):
            assert "Training_4 .jpg: 1,048,576 MB, more than the 64" in refusal(action, tmp_path)
