"""Readers, the cache, and the split: happy ways, bad input, and the facts about real FER2013."""

import json
import os
import shutil
import stat
import subprocess
import sys
import time
import warnings
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made import draw_face, make_csv, make_folder
from PIL import Image

from fer_lib import _readers, datasets, files
from fer_lib.data import load, split
from fer_lib.data.faces import DEFAULT_CLASSES, FaceDataset
from fer_lib.data.picture import decode_image
from fer_lib.data.readers.source import FER2013_CLASSES
from fer_lib.files import UsageError


def refusal(action: Callable, *arguments, **options) -> str:
    """Run what must be refused; return the message, which must be one line."""
    with pytest.raises(UsageError) as caught:
        action(*arguments, **options)
    message = str(caught.value)
    assert message and "\n" not in message
    return message


def same(a: FaceDataset, b: FaceDataset) -> bool:
    return (
        np.array_equal(a.images, b.images) and np.array_equal(a.labels, b.labels) and a.classes == b.classes
    )


def zipped(folder: Path, target: Path, prefix: str = "") -> Path:
    files = sorted(folder.rglob("*"), reverse=True)  # not in order of names; without the target itself
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in files:
            archive.write(file, prefix + file.relative_to(folder).as_posix())
    return target


# --- layouts ---


def test_folder(face_folder: Path):
    faces = load.load_training(face_folder)
    assert faces.images.shape == (120, 48, 48) and faces.images.dtype == np.uint8
    assert faces.labels.dtype == np.int64 and faces.classes == ("neutral", "happy", "surprise")
    assert faces.counts() == {"neutral": 40, "happy": 40, "surprise": 40}
    assert faces.names[0] == "train/neutral/Training_10600000.jpg" and faces.factors is None
    file = face_folder / faces.names[50]
    assert np.array_equal(faces.images[50], np.asarray(Image.open(file)))
    assert load.load_test(face_folder).counts() == dict.fromkeys(DEFAULT_CLASSES, 20)


@pytest.mark.parametrize("layout", ["icml", "fer2013"])
def test_csv_holds_the_same_as_the_folder(face_folder: Path, tmp_path: Path, layout: str):
    path = make_csv(tmp_path / "faces.csv", face_folder, layout)
    for load in (load.load_training, load.load_test):
        assert same(load(face_folder), load(path))
    assert load.load_training(path).names[0].startswith("faces.csv:")
    line = int(load.load_training(path).names[0].partition(":")[2])
    assert path.read_text().splitlines()[line - 1].startswith("6,")


@pytest.mark.parametrize("prefix", ["", "archive/", "images/images/"])
def test_zip_is_read_in_place(face_folder: Path, tmp_path: Path, prefix: str):
    path = zipped(face_folder, tmp_path / "archive.zip", prefix)
    for load in (load.load_training, load.load_test):
        assert same(load(face_folder), load(path))
        assert load(face_folder).names.tolist() == load(path).names.tolist()
    assert load.data_digest(path) == load.data_digest(face_folder)
    assert [file.name for file in tmp_path.iterdir()] == ["archive.zip"]


@pytest.mark.parametrize("suffix", [".JPG", ".png", ".jpeg", ".bmp"])
def test_other_suffixes_and_a_validation_folder(tmp_path: Path, suffix: str):
    make_folder(tmp_path, suffix=suffix, test_name="validation")
    faces = load.load_test(tmp_path)
    assert faces.counts() == dict.fromkeys(DEFAULT_CLASSES, 4)
    assert faces.names[0] == f"validation/neutral/PublicTest_10600000{suffix}"


def test_found_without_typing_more(face_folder: Path, face_csv: Path, tmp_path: Path):
    shutil.copytree(face_folder, tmp_path / "a" / "fer 2013 é")
    (tmp_path / "a" / ".hidden" / "train").mkdir(parents=True)
    shutil.copy(face_csv, tmp_path / "a" / "fer 2013 é" / "icml_face_data.csv")  # the folder wins
    assert load.resolve(tmp_path / "a").kind == "folder"
    (tmp_path / "b").mkdir()
    shutil.copy(face_csv, tmp_path / "b" / "icml_face_data.csv")
    assert load.resolve(tmp_path / "b").path.name == "icml_face_data.csv"
    (tmp_path / "c").mkdir()
    zipped(face_folder, tmp_path / "c" / "archive.zip")
    assert load.resolve(str(tmp_path / "c")).kind == "zip"
    for name in "abc":
        assert same(load.load_training(tmp_path / name), load.load_training(face_folder))
        assert str(tmp_path / name) in load.describe(tmp_path / name)
    assert "several data sets" in refusal(load.resolve, tmp_path)


def test_fer2013_by_name(face_folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("FER2013_DIR", str(face_folder))
    assert load.resolve("fer2013").path == face_folder
    monkeypatch.delenv("FER2013_DIR")
    monkeypatch.setattr(datasets, "ROOT", tmp_path / "repository")
    assert "fer data fetch" in refusal(load.resolve, "fer2013")


def test_classes_in_the_order_given(face_data: Path):
    forward = load.load_training(face_data, ("surprise", "neutral"))
    backward = load.load_training(face_data, ["neutral", "surprise"])
    assert forward.classes == ("surprise", "neutral") and forward.counts() == {"surprise": 40, "neutral": 40}
    assert np.array_equal(forward.images[:40], backward.images[40:])
    assert load.class_counts(face_data, ("surprise", "happy")) == {
        "train": {"surprise": 40, "happy": 40},
        "test": {"surprise": 20, "happy": 20},
    }


def test_test_digests_carry_no_labels(face_data: Path):
    digests = load.pixel_digests_of_test_images(face_data)
    assert digests.dtype == "S64" and digests.tolist() == sorted(
        load.load_test(face_data).pixel_digests().tolist()
    )


def test_order_does_not_depend_on_the_file_system(
    face_folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path
):
    monkeypatch.setenv("FER_CACHE", str(tmp_path))
    names = load.load_training(face_folder).names.tolist()
    scandir = os.scandir

    class Reversed:
        def __init__(self, path):
            self.entries = list(scandir(path))[::-1]

        def __enter__(self):
            return iter(self.entries)

        def __exit__(self, *_):
            pass

    monkeypatch.setattr(_readers.os, "scandir", Reversed)
    assert load.load_training(face_folder).names.tolist() == names
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
    assert same(load.load_training(root), load.load_training(face_folder))
    undecodable = os.fsencode(root / "train/happy/Training_0") + b"\xff.jpg"
    shutil.copy(next(face_folder.glob("train/happy/*.jpg")), undecodable)
    names = load.load_training(root).names
    assert "train/happy/Training_0�.jpg" in names.tolist()
    load.data_digest(root)


# --- conversion ---


def encoded(image: Image.Image, format_: str = "PNG") -> bytes:
    handle = BytesIO()
    image.save(handle, format_)
    return handle.getvalue()


def test_conversion_by_the_stated_rule():
    grey = draw_face("happy", 0)
    image = Image.fromarray(grey)
    plain, converted = decode_image(encoded(image), "x")
    assert np.array_equal(plain, grey) and not converted
    for other in (image.convert("RGB"), image.convert("RGBA"), image.convert("P"), image.convert("LA")):
        pixels, converted = decode_image(encoded(other), "x")
        assert converted and np.array_equal(pixels, grey), other.mode
    sixteen = Image.fromarray(grey.astype(np.uint16) * 257)
    assert np.array_equal(decode_image(encoded(sixteen), "x")[0], grey)
    assert decode_image(encoded(Image.new("1", (48, 48), 1)), "x")[0].tolist() == [[255] * 48] * 48
    large, converted = decode_image(encoded(image.resize((96, 96), Image.Resampling.NEAREST), "JPEG"), "x")
    assert converted and abs(large.astype(int) - grey).mean() < 12
    assert decode_image(encoded(image.convert("CMYK"), "JPEG"), "x")[0].shape == (48, 48)


def test_conversions_are_counted_in_one_line(tmp_path: Path):
    make_folder(tmp_path)
    for file in list((tmp_path / "train/happy").iterdir())[:3]:
        Image.open(file).resize((60, 50)).convert("RGB").save(file)
    for _ in range(2):  # decoded, then from the cache
        with pytest.warns(UserWarning, match=r"3 of 24 train images were not 48x48 8-bit grey") as seen:
            load.load_training(tmp_path)
        assert len(seen) == 1


# --- bad input: folders and images ---


def test_bad_classes(face_folder: Path):
    for classes, word in [
        (("happy", "joy"), "'joy'"),
        (("happy",), "at least two"),
        ((), "at least two"),
        (("happy", "sad", "happy"), "twice"),
        ("happy", "a list"),
    ]:
        message = refusal(load.load_training, face_folder, classes)
        assert word in message and "angry, disgust, fear, happy, sad, surprise, neutral" in message
    message = refusal(load.load_training, face_folder, ("happy", "disgust"))
    assert "'disgust'" in message and "happy, surprise, neutral" in message


def test_missing_path_and_folders(tmp_path: Path):
    assert "no such file" in refusal(load.resolve, tmp_path / "nowhere")
    assert "train/<class>/" in refusal(load.resolve, tmp_path)
    (tmp_path / "train").mkdir()
    assert "angry, disgust" in refusal(load.load_training, tmp_path)  # no class folder
    (tmp_path / "x.txt").write_text("")
    assert "no data set" in refusal(load.resolve, tmp_path / "x.txt")
    make_folder(tmp_path, test={})
    assert load.load_training(tmp_path).counts() == dict.fromkeys(DEFAULT_CLASSES, 8)
    assert "no test images" in refusal(load.load_test, tmp_path)
    assert "no test images" in refusal(load.pixel_digests_of_test_images, tmp_path)
    assert list(load.class_counts(tmp_path)) == ["train"]
    shutil.rmtree(tmp_path / "train/happy")
    (tmp_path / "train/happy").mkdir()
    assert "'happy'" in refusal(load.load_training, tmp_path)
    assert "'happy'" in refusal(load.class_counts, tmp_path)


@pytest.mark.parametrize(
    "content, word",
    [
        (b"", "empty file"),
        (b"hello", "not a JPEG"),
        (b"\xff\xd8\xff", "image"),
        (encoded(Image.new("L", (4097, 1))), "4097x1"),
        (encoded(Image.new("L", (48, 48)))[:-30], "damaged"),
        (encoded(Image.new("L", (48, 48)), "GIF"), "not a JPEG"),
    ],
)
def test_bad_image(face_folder: Path, tmp_path: Path, content: bytes, word: str):
    shutil.copytree(face_folder / "train", tmp_path / "train")
    bad = tmp_path / "train" / "happy" / "Training_2.jpg"
    bad.write_bytes(content)
    message = refusal(load.load_training, tmp_path)
    assert word in message and str(bad) in message
    load.load_training(tmp_path, ("neutral", "surprise"))  # other classes are not touched
    path = zipped(tmp_path, tmp_path / "a.zip")
    message = refusal(load.load_training, path)
    assert word in message and "train/happy/Training_2.jpg" in message


def test_a_truncated_jpeg_is_refused_wherever_it_was_cut():
    whole = encoded(Image.fromarray(draw_face("happy", 1)), "JPEG")
    for length in range(len(whole) - 2):  # without the end marker alone, every pixel is still there
        refusal(decode_image, whole[:length], "x.jpg")


def test_links_in_a_circle_and_pipes(tmp_path: Path):
    make_folder(tmp_path)
    circle = tmp_path / "train/happy/Training_3.jpg"
    circle.symlink_to(circle)
    assert str(circle) in refusal(load.load_training, tmp_path)
    circle.unlink()
    os.mkfifo(circle)
    assert "not a regular file" in refusal(load.load_training, tmp_path)
    circle.unlink()
    (tmp_path / "train/happy/self").symlink_to(tmp_path / "train")
    assert len(load.load_training(tmp_path)) == 24
    loop = tmp_path / "train/sad"
    loop.symlink_to(loop)
    assert "train/sad" in refusal(load.load_training, tmp_path, ("happy", "sad"))
    shutil.rmtree(tmp_path / "train")
    (tmp_path / "train").symlink_to(tmp_path / "train")
    refusal(load.resolve, tmp_path)


# --- bad input: CSV ---

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
    message = refusal(load.load_training, path)
    assert all(word in message for word in (str(path), *words)), message
    assert len(message) < 400


def test_csv_as_windows_writes_it(face_folder: Path, tmp_path: Path):
    path = make_csv(tmp_path / "a.csv", face_folder)
    lines = path.read_text().splitlines()
    quoted = [lines[0]] + [",".join(f'"{field}"' for field in line.split(",")) for line in lines[1:]]
    path.write_bytes(("﻿" + "\r\n".join(quoted) + "\r\n\r\n").encode())
    assert same(load.load_training(path), load.load_training(face_folder))


def test_csv_is_streamed(tmp_path: Path):
    path = tmp_path / "many.csv"
    with open(path, "w") as handle:
        handle.write("emotion,Usage,pixels\n")
        handle.writelines(f"{3 if i % 2 else 6},Training,{i % 256}{ROW[1:]}\n" for i in range(3000))
    faces = load.load_training(path, ("happy", "neutral"))
    assert faces.counts() == {"happy": 1500, "neutral": 1500}
    assert faces.images[:3, 0, 0].tolist() == [1, 3, 5] and faces.names[1] == "many.csv:5"


# --- bad input: archives ---


@pytest.mark.parametrize(
    "name", ["../x.jpg", "/etc/x.jpg", "train/happy/../../../x.jpg", "C:\\x.jpg", "a\\..\\x.jpg"]
)
def test_an_archive_that_climbs_out(face_folder: Path, tmp_path: Path, name: str):
    path = zipped(face_folder, tmp_path / "archive.zip")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(name, b"x")
    assert "points outside" in refusal(load.load_training, path)


def test_other_bad_archives(face_folder: Path, tmp_path: Path):
    path = zipped(face_folder, tmp_path / "archive.zip")
    content = path.read_bytes()
    path.write_bytes(content[:-100])
    assert "zip archive" in refusal(load.load_training, path)
    path.write_bytes(b"")
    assert "zip archive" in refusal(load.load_training, path)
    middle = bytearray(content)
    middle[2000:2400] = bytes(400)
    path.write_bytes(bytes(middle))
    assert "download it again" in refusal(load.load_training, path, ("surprise", "neutral", "happy"))
    encrypted = bytearray(content)
    for i in range(len(content)):  # set the flag in the central directory
        if content[i : i + 4] == b"PK\x01\x02":
            encrypted[i + 8] |= 1
    path.write_bytes(bytes(encrypted))
    assert "encrypted" in refusal(load.load_training, path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("train/happy/Training_1.bmp", bytes(50 << 20))
    assert "zip bomb" in refusal(load.load_training, path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("emotions.csv", "emotion,pixels")
    assert "no train/<class>/" in refusal(load.load_training, path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/train/happy/Training_1.jpg", "")
        archive.writestr("b/train/happy/Training_1.jpg", "")
    assert "a/train and b/train" in refusal(load.load_training, path)
    with zipfile.ZipFile(path, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        archive.writestr("train/happy/Training_1.jpg", "a")
        archive.writestr("train/happy/Training_1.jpg", "b")
    assert "twice" in refusal(load.load_training, path)
    shutil.copy(path, tmp_path / "second.zip")
    assert "2 archives" in refusal(load.resolve, tmp_path)


def test_what_a_mac_adds_to_an_archive_is_ignored(face_folder: Path, tmp_path: Path):
    path = zipped(face_folder, tmp_path / "archive.zip")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("__MACOSX/train/happy/._Training_1.jpg", b"\0\5\x16\7")
        archive.writestr("__MACOSX/train/happy/Training_1.jpg", b"\0\5\x16\7")
        archive.writestr("train/happy/.DS_Store", b"")
    assert same(load.load_training(path), load.load_training(face_folder))


# --- the cache ---


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("FER_CACHE", str(folder))
    return folder


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record which images are decoded."""
    names: list[str] = []

    def spy(content: bytes, where: str):
        names.append(where)
        return decode_image(content, where)

    monkeypatch.setattr(_readers, "decode_image", spy)
    return names


def test_decoded_once_and_only_what_is_asked_for(face_folder: Path, cache: Path, decoded: list[str]):
    first = load.load_training(face_folder, ("happy", "surprise"))
    assert len(decoded) == 80 and not any("test" in Path(name).parts or "neutral" in name for name in decoded)
    assert same(first, load.load_training(face_folder, ("happy", "surprise"))) and len(decoded) == 80
    load.load_training(face_folder)  # another subset uses what is there
    assert len(decoded) == 120
    assert not list(cache.glob(".*")), "temporary files are left"


def test_changed_content_is_noticed(cache: Path, decoded: list[str], tmp_path: Path):
    folder = make_folder(tmp_path / "faces")
    before, digest = load.load_training(folder), load.data_digest(folder)
    file = folder / before.names[0]
    status = file.stat()
    other = Image.open(file).transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    file.write_bytes(encoded(other, "BMP")[: status.st_size].ljust(status.st_size, b"\0"))
    file.write_bytes(encoded(other, "BMP"))
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))  # as `cp -p` would leave it
    after = load.load_training(folder)
    assert not np.array_equal(before.images[0], after.images[0])
    assert np.array_equal(before.images[1:], after.images[1:])
    assert load.data_digest(folder) != digest
    (folder / before.names[1]).unlink()
    assert len(load.load_training(folder)) == len(before) - 1


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x03\x04", b"\x80\x04\x95pickle"])
def test_a_damaged_cache_is_ignored_and_mended(
    face_folder: Path, cache: Path, decoded: list[str], content: bytes
):
    first = load.load_training(face_folder)
    for file in cache.glob("*.npz"):
        file.write_bytes(content)
    assert same(first, load.load_training(face_folder)) and len(decoded) == 240
    assert same(first, load.load_training(face_folder)) and len(decoded) == 240
    for file in cache.glob("*.npz"):  # one flipped bit in the pixels
        data = bytearray(file.read_bytes())
        data[len(data) // 2] ^= 1
        file.write_bytes(bytes(data))
    assert same(first, load.load_training(face_folder)) and len(decoded) == 360
    for file in cache.glob("*.txt"):
        file.write_text("nonsense")
    assert same(first, load.load_training(face_folder)) and len(decoded) == 480


def test_no_pickle_is_ever_opened(face_folder: Path, cache: Path):
    load.load_training(face_folder)
    file = next(cache.glob("*.npz"))
    np.savez(file, images=np.array([print], dtype=object), names=np.array(["x"]), converted=0)
    assert load.load_training(face_folder).counts() == dict.fromkeys(DEFAULT_CLASSES, 40)


def test_works_without_a_cache(face_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    blocked = tmp_path / "file"
    blocked.write_text("a file where the cache folder should be")
    monkeypatch.setenv("FER_CACHE", str(blocked / "cache"))
    assert len(load.load_training(face_folder)) == 120
    assert load.data_digest(face_folder)
    folder = tmp_path / "read-only"
    folder.mkdir()
    folder.chmod(stat.S_IRUSR | stat.S_IXUSR)
    monkeypatch.setenv("FER_CACHE", str(folder))
    assert len(load.load_training(face_folder)) == 120


def test_the_cache_does_not_grow_for_ever(face_folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(datasets, "CACHE_BYTES", 200_000)
    load.load_training(face_folder)
    load.load_test(face_folder)
    assert sum(file.stat().st_size for file in cache.glob("*.npz")) < 300_000
    assert len(load.load_training(face_folder)) == 120


def test_several_processes_at_once(face_folder: Path, cache: Path):
    code = (
        "import sys; from fer_lib.datasets import load_training as load; faces = load(sys.argv[1]); "
        "print(faces.images.sum(), len(faces))"
    )
    commands = [[sys.executable, "-c", code, str(face_folder)]] * 4
    running = [subprocess.Popen(c, stdout=subprocess.PIPE, cwd=files.ROOT, text=True) for c in commands]
    answers = {process.communicate()[0] for process in running}
    faces = load.load_training(face_folder)
    assert answers == {f"{faces.images.sum()} 120\n"}
    assert len(list(cache.glob("*.npz"))) == 3


# --- bundled faces ---


BUNDLED = ("train.png", "test.png", "factors.csv", "digests.json")


@pytest.fixture
def bundled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write a data/bundled of 2 x 66 faces in the documented format."""
    folder = tmp_path / "data" / "bundled"
    folder.mkdir(parents=True)
    rows, index = ["split,index,label,identity,age"], {"size": 48, "columns": 60, "splits": {}, "files": {}}
    for part in ("train", "test"):
        tiles = np.zeros((120, 48, 48), np.uint8)
        for i in range(66):
            name = DEFAULT_CLASSES[i % 3]
            tiles[i] = draw_face(name, i, part)
            rows.append(f"{part},{i},{name},{i // 3},{20 + i}.5")
        sheet = tiles.reshape(2, 60, 48, 48).swapaxes(1, 2).reshape(96, 60 * 48)
        Image.fromarray(sheet).save(folder / f"{part}.png")
        index["splits"][part] = {"images": 66, "pixels": datasets.sha256_of(tiles[:66].tobytes())}
    (folder / "factors.csv").write_text("\n".join(rows) + "\n")
    for name in ("train.png", "test.png", "factors.csv"):
        index["files"][name] = _readers.sha256_of_file(folder / name)
    (folder / "digests.json").write_text(json.dumps(index))
    monkeypatch.setattr(datasets, "ROOT", tmp_path)
    return folder


def test_bundled(bundled: Path):
    faces = load.load_training("bundled", ("surprise", "neutral"))
    assert faces.counts() == {"surprise": 22, "neutral": 22} and faces.names[1] == "bundled/train/5"
    assert np.array_equal(faces.images[21], draw_face("surprise", 65, "train"))
    assert faces.factors["index"].tolist()[:3] == [2, 5, 8] and faces.factors["age"][1] == 25.5
    taken = faces.take(np.array([30, 1]))
    assert taken.factors["index"].tolist() == [int(name.split("/")[2]) for name in taken.names]
    assert load.describe("bundled") == "bundled faces"
    assert load.class_counts("bundled")["test"] == {"neutral": 22, "happy": 22, "surprise": 22}
    assert "'sad'" in refusal(load.load_training, "bundled", ("happy", "sad"))
    digest = load.data_digest("bundled")
    (bundled / "factors.csv").write_text((bundled / "factors.csv").read_text().replace("20.5", "21.5"))
    assert "altered" in refusal(load.load_training, "bundled")
    assert len(digest) == 64


@pytest.mark.parametrize("name", BUNDLED)
def test_bundled_faces_cut_short_or_missing(bundled: Path, name: str):
    content = (bundled / name).read_bytes()
    (bundled / name).write_bytes(content[:-9])
    assert "git checkout" in refusal(load.load_training, "bundled")
    (bundled / name).unlink()
    assert "git checkout" in refusal(load.load_training, "bundled")


@pytest.mark.parametrize("digest", [None, [None], "", "not hexadecimal", 7])
def test_a_digest_of_bundled_faces_that_is_none(bundled: Path, digest: object):
    index = json.loads((bundled / "digests.json").read_text())
    index["splits"]["test"]["pixels"] = digest
    (bundled / "digests.json").write_text(json.dumps(index))
    assert "git checkout" in refusal(load.load_test, "bundled")


def test_the_committed_bundled_faces():
    if not (files.ROOT / "data/bundled/digests.json").exists():
        pytest.skip("data/bundled is not there")
    faces, test = load.load_training("bundled"), load.load_test("bundled")
    assert len(set(faces.counts().values())) == 1 and len(faces) > 1000
    assert set(faces.factors["identity"]).isdisjoint(test.factors["identity"])
    index = json.loads((files.ROOT / "data/bundled/digests.json").read_text())
    for part, loaded in (("train", faces), ("test", test)):
        order = np.argsort(loaded.factors["index"])
        pixels = _readers.hashlib.sha256(loaded.images[order].tobytes()).hexdigest()
        assert pixels == index["splits"][part]["pixels"]


# --- the split ---


def random_faces(
    counts: list[int], classes: tuple[str, ...] = DEFAULT_CLASSES, variants: int = 10**9
) -> FaceDataset:
    """Make images of one random number each; few `variants` make many duplicates."""
    rng = np.random.default_rng(len(counts))
    n = sum(counts)
    images = np.zeros((n, 48, 48), np.uint8)
    images.reshape(n, -1)[:, :8] = rng.integers(0, variants, n).astype("<i8").view(np.uint8).reshape(n, 8)
    return FaceDataset(images, np.repeat(np.arange(len(counts)), counts), classes, np.arange(n).astype(str))


NONE = np.array([], "S64")


def test_the_balanced_draw_of_the_assignment():
    result = split.split(random_faces([1800, 2500, 1700]), NONE)
    assert result.train.counts() == {"neutral": 1333, "happy": 1333, "surprise": 1334}
    assert result.validation.counts() == {"neutral": 333, "happy": 333, "surprise": 334}
    assert len(result.train) == 4000 and result.removed["total"] == 0


def test_the_order_of_removal():
    a, b, c, d, e, f = random_faces([6]).images
    images = np.stack([a, a, b, c, c, d, e, b, c, d, f])
    labels = np.array([0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1])
    faces = FaceDataset(images, labels, ("sad", "happy"), np.arange(11).astype(str))
    test = faces.take([3, 6]).pixel_digests()  # c and e
    # b, c and d have two labels; e leaks; a is there twice.
    removed = split.duplicates(faces, test)
    assert np.flatnonzero(removed["label_conflicts"]).tolist() == [2, 3, 4, 5, 7, 8, 9]
    assert np.flatnonzero(removed["leaks_into_test"]).tolist() == [6]
    assert np.flatnonzero(removed["duplicates_within_training"]).tolist() == [1]


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    counts=st.lists(st.integers(5, 80), min_size=2, max_size=5),
    variants=st.integers(30, 400),
    share=st.floats(0.05, 0.6),
    samples=st.none() | st.integers(10, 60),
    seed=st.integers(0, 5),
    duplicates=st.sampled_from(["remove", "keep"]),
)
def test_properties_of_the_split(counts, variants, share, samples, seed, duplicates):
    faces = random_faces(counts, FER2013_CLASSES[: len(counts)], variants)
    test = random_faces([30, 30, 30, 30, 30, 30], variants=variants).pixel_digests()
    try:
        result = split.split(faces, test, samples, share, seed, duplicates)
    except UsageError as error:
        assert "samples" in str(error) or "share" in str(error)
        return
    train, validation = result.train.pixel_digests(), result.validation.pixel_digests()
    names = [*result.train.names, *result.validation.names]
    assert len(set(names)) == len(names), "an image is used twice"
    for part in (result.train, result.validation):
        assert np.array_equal(part.labels, faces.labels[part.names.astype(int)])
        assert np.array_equal(part.images, faces.images[part.names.astype(int)])
    assert result.removed["total"] == sum(v for k, v in result.removed.items() if k != "total")
    if duplicates == "remove":
        both = [*train, *validation]
        assert len(set(both)) == len(both) and not set(both) & set(test)
        if samples is None:
            assert len(names) == len(faces) - result.removed["total"]
    else:
        assert result.removed["total"] == 0
    if samples is not None:
        assert len(names) == samples
        got = np.array(list(result.train.counts().values())) + list(result.validation.counts().values())
        assert got[:-1].tolist() == [samples // len(counts)] * (len(counts) - 1)
    assert len(validation) == round(share * len(names))
    again = split.split(faces, test, samples, share, seed, duplicates)
    assert again.train.names.tolist() == result.train.names.tolist()


def test_another_seed_or_another_order_of_classes():
    faces = random_faces([60, 60, 60])
    one, two = split.split(faces, NONE, 90, seed=1), split.split(faces, NONE, 90, seed=2)
    assert one.train.names.tolist() != two.train.names.tolist()
    turned = faces.take(np.r_[60:180, 0:60])
    turned = FaceDataset(
        turned.images, np.repeat([0, 1, 2], 60), ("happy", "surprise", "neutral"), turned.names
    )
    assert set(split.split(turned, NONE, 90, seed=1).train.names) == set(one.train.names)


def test_bad_splits():
    faces = random_faces([60, 20, 60])
    message = refusal(split.split, faces, NONE)
    assert "5,000" in message and "1,666" in message and "'neutral'" in message and "at most 60" in message
    assert "'happy'" in refusal(split.split, faces, NONE, 90)
    split.split(faces, NONE, 60)
    for samples in (0, 2, -5, 1.5, True, "90"):
        assert "train_samples" in refusal(split.split, faces, NONE, samples)
    for share in (0, 1, -0.1, float("nan"), 0.001):
        assert "validation_share" in refusal(split.split, faces, NONE, 60, share)
    assert "remove, keep" in refusal(split.split, faces, NONE, duplicates="some")


# --- real photographs ---


def test_real_fer2013(fer2013: Path):
    faces, test = load.load_training(fer2013), load.load_test(fer2013)
    assert faces.counts() == {"neutral": 4965, "happy": 7215, "surprise": 3171}
    digests = faces.pixel_digests()
    assert len(digests) - len(np.unique(digests)) == 711
    public = test.take(np.array(["PublicTest" in name for name in test.names]))
    assert public.counts() == {"neutral": 607, "happy": 895, "surprise": 415}
    assert np.isin(public.pixel_digests(), digests).sum() == 161
    result = split.split(faces, public.pixel_digests(), None)
    assert len(result.train) + len(result.validation) == 14_484
    assert result.removed == {
        "label_conflicts": 5,
        "leaks_into_test": 184,  # 161 images of the test part, some of them several times in training
        "duplicates_within_training": 678,
        "total": 867,
    }
    result = split.split(faces, load.pixel_digests_of_test_images(fer2013))
    assert result.train.counts() == {"neutral": 1333, "happy": 1333, "surprise": 1334}
    started = time.process_time()
    load.load_training(fer2013)
    assert time.process_time() - started < 0.5  # seconds of this process; wall time when nothing else runs
