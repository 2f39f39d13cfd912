"""Remarks on data: what is left out, converted or in doubt is said, with number and place."""

import os
import re
import shutil
import zipfile
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from made import draw_face, make_csv, make_folder, zipped
from PIL import Image

from fer_lib.data import load
from fer_lib.data.faces import DEFAULT_CLASSES
from fer_tools import data_check
from fer_tools.metrics import wrong

FOUR = {"happy": 8, "sad": 8, "angry": 8, "neutral": 8}


def settings_of(data: Path | str, classes: tuple[str, ...] = ("happy", "sad"), **other) -> SimpleNamespace:
    return SimpleNamespace(data=data, **{"test_data": ""} | other, classes=classes)


def said(data: Path | str, *classes: str, **other) -> list[str]:
    """Return the remarks, which have to be what a metric can hold."""
    settings = settings_of(data, classes or ("happy", "sad"), **other)
    found = data_check.remarks(settings)
    facts = data_check.facts(settings)
    assert facts["remarks"] == ("; ".join(found) or "nothing")
    assert not any(wrong(f"data.{key}", value) for key, value in facts.items())
    assert all(line.isprintable() and "; " not in line for line in found)
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "faces", FOUR)


def test_of_honest_data_nothing_is_said(folder: Path, tmp_path: Path):
    (folder / "README.md").write_text("of the data")
    for junk in (
        "train/Thumbs.db",
        "train/happy/.DS_Store",
        "train/happy/._Training_1.jpg",
        "test/desktop.ini",
    ):
        (folder / junk).write_text("of a program")
    for junk in ("__MACOSX/train/happy", "train/.ipynb_checkpoints", ".git/train/happy"):
        (folder / junk).mkdir(parents=True)
        (folder / junk / "a.jpg").write_text("of a program")
    assert said(folder) == said(zipped(folder, tmp_path / "a.zip")) == said("bundled", *DEFAULT_CLASSES) == []
    assert said(make_csv(tmp_path / "a.csv", make_folder(tmp_path / "b", FOUR))) == []
    assert data_check.remarks_of_copy(folder) == []


def test_the_real_fer2013_has_images_that_show_nothing(fer2013: Path):
    """Counted with Pillow and NumPy alone; of Training they are twelve."""
    classes = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
    flat = Counter()
    for file in (fer2013 / "train").glob("*/*"):
        with Image.open(file) as image:
            low, high = image.getextrema()
        flat[file.parent.name] += high - low <= 8
    (line,) = (line for line in said(fer2013, *classes) if line.startswith("train"))
    by_class = ", ".join(f"{name} {flat[name]}" for name in classes if flat[name])
    assert f"train: {flat.total()} images show nothing" in line and f"({by_class})" in line


PLACES = {
    "test/happy/more": "test/happy/more: 3 images are not used",
    "train/happy/more/and/more": "train/happy/more: 3 images are not used",
    "validation/happy": "validation: 3 images are not used",
    "val": "val: 3 images are not used",
    "train/Happy": "train/Happy: 3 images are not used, move them to train/happy",
    "train/3": "train/3: 3 images are not used, move them to train/happy",
    "train/a,b": "train/a,b: 3 images are not used",
    "train": "train: 3 images are not used",
    "": ".: 3 images are not used",
    "extra/happy": "extra: 3 images are not used",
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("layout", ["folder", "zip"])
def test_what_is_not_used_is_counted_where_it_lies(folder: Path, tmp_path: Path, place: str, layout: str):
    (folder / place).mkdir(parents=True, exist_ok=True)
    for i in range(3):
        shutil.copy(next(folder.glob("train/sad/*")), folder / place / f"{i}.jpg")
    data = folder if layout == "folder" else zipped(folder, tmp_path / "faces.zip")
    (line,) = said(data)
    assert line.startswith(PLACES[place])
    assert any(line.startswith(PLACES[place]) for line in data_check.remarks_of_copy(data))


@pytest.mark.parametrize("layout", ["folder", "zip"])
def test_files_of_other_kinds_are_counted_and_named(folder: Path, tmp_path: Path, layout: str):
    for suffix in (".webp", ".tif", ".gif", ".jpg.part", ""):
        (folder / f"train/happy/a{suffix}").write_bytes(b"x")
    (folder / "train/sad/notes.txt").write_text("x")
    (folder / "train/sad/.hidden.jpg").write_text("x")
    data = folder if layout == "folder" else zipped(folder, tmp_path / "faces.zip")
    happy, sad = said(data)
    assert happy.startswith("train/happy: 5 files are not used (") and "JPEG, PNG and BMP" in happy
    assert all(suffix in happy for suffix in (".webp", ".tif", ".gif", ".part", "without suffix"))
    assert sad.startswith("train/sad: 2 files are not used (.txt")


def test_every_file_is_used_or_counted(folder: Path):
    """Over a tree made by chance: what the remarks count is what `os.walk` finds and the reader does not."""
    rng = np.random.default_rng(0)
    places = [
        "train/happy",
        "train/happy/x",
        "train/happy/x/y",
        "train/Sad",
        "test",
        "valid/happy",
        "z/a",
        "train/no,",
    ]
    for i in range(60):
        place = folder / places[rng.integers(len(places))]
        place.mkdir(parents=True, exist_ok=True)
        shutil.copy(next(folder.glob("train/sad/*")), place / f"{i}{('.jpg', '.webp', '.txt')[i % 3]}")
    files = sum(len(names) for _, _, names in os.walk(folder))
    source = load.resolve(folder)
    used = sum(sum(source.counts(part).values()) for part in source.parts)
    sad = len(list((folder / "train/Sad").glob("*.jpg")))  # a class of its own, which might be meant
    counted = [
        int(re.search(r": (\d+) (?:image|file)s? (?:is|are) not used", line)[1]) for line in said(folder)
    ]
    assert sum(counted) - sad == files - used


def test_folders_that_are_read_otherwise_are_named(folder: Path):
    (folder / "train/happy").rename(folder / "train/Happy")
    (line,) = said(folder)
    assert line == "train/Happy: 8 images are read as class happy (in other case)"
    codes = folder.parent / "codes"
    for part in ("train", "test"):
        for code, name in ((3, "happy"), (4, "sad")):
            make_folder(folder.parent / "other", {"happy": 8, "sad": 8})
            shutil.copytree(folder.parent / "other" / part / name, codes / part / str(code))
    found = said(codes)
    assert [line.split(" (")[0] for line in found] == [
        f"{part}/{code}: {count} images are read as class {name}"
        for part, count in (("train", 8), ("test", 4))
        for code, name in ((3, "happy"), (4, "sad"))
    ]
    assert all("FER2013's code" in line for line in found)


def test_what_lies_beside_the_data_that_were_found_is_named(folder: Path, tmp_path: Path):
    assert said(tmp_path) == []
    (tmp_path / "extra").mkdir()
    (tmp_path / "notes.txt").write_text("x")
    (line,) = said(tmp_path)
    assert line == f"{tmp_path}: not used beside faces are extra"
    (folder / "fer2013.csv").write_text("emotion")
    assert said(folder) == [".: 1 file is not used (.csv: only JPEG, PNG and BMP are read)"]


def convert(folder: Path, places: str, change, suffix: str = ".png", share: int = 1) -> None:
    """Write the files of some classes otherwise."""
    for i, file in enumerate(sorted(folder.glob(places))):
        if i % share == 0:
            image = change(Image.open(file))
            file.unlink()
            image.save(file.with_suffix(suffix))


def twelve_bits(image: Image.Image) -> Image.Image:
    return Image.fromarray(np.asarray(image).astype(np.uint16) * 16)


CHANGES = {
    "bits": (twelve_bits, ".png", "16-bit grey that holds 12 bits", ("format", "mode")),
    "format": (lambda image: image, ".bmp", "", ("format",)),
    "mode": (lambda image: image.convert("RGB"), ".jpg", "JPEG 48x48 colour", ("mode",)),
    "size": (lambda image: image.resize((64, 64)), ".jpg", "JPEG 64x64 grey", ("size",)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_class_whose_files_differ_is_a_warning(tmp_path: Path, change: str):
    how, suffix, words, differ = CHANGES[change]
    folder = make_folder(tmp_path / "faces", dict.fromkeys(DEFAULT_CLASSES, 30))
    convert(folder, "train/happy/*", how, suffix)
    found = said(folder, *DEFAULT_CLASSES)
    converted = [line for line in found if "converted" in line]
    assert len(converted) == bool(words) and all(
        line == f"train/happy: 30 of 30 images are converted (30 {line.split('(30 ')[1]}" and words in line
        for line in converted
    )
    warned = [line for line in found if "warning" in line]
    assert [re.search(r"the (\w+) of the files", line)[1] for line in warned] == list(differ)
    assert all("100% of" in line and "0% of" in line and "happy" in line for line in warned)
    for part in ("train", "test"):  # all classes alike: converted, and no warning
        for name in DEFAULT_CLASSES:
            if (part, name) != ("train", "happy"):
                convert(folder, f"{part}/{name}/*", how, suffix)
    assert not any("warning" in line for line in said(folder, *DEFAULT_CLASSES))


def test_sizes_of_every_kind_are_told_apart_if_one_class_has_the_large_ones(tmp_path: Path):
    rng = np.random.default_rng(0)
    folder = make_folder(tmp_path / "faces", dict.fromkeys(DEFAULT_CLASSES, 40))
    for low, name in ((50, "neutral"), (50, "surprise"), (200, "happy")):
        convert(
            folder,
            f"train/{name}/*",
            lambda i, low=low: i.resize(rng.integers(low, low + 90, 2).tolist()),
            ".jpg",
        )
    (line,) = (line for line in said(folder, *DEFAULT_CLASSES) if "warning" in line)
    assert "the size of the files" in line and "at most" in line and "0% of happy" in line


def test_chance_is_no_warning():
    """Files of two formats drawn by chance alone: the warning is false in at most 2 of 100 sets."""
    rng = np.random.default_rng(0)
    warned = 0
    for _ in range(300):
        drawn = rng.binomial(30, 0.5, 7)
        kinds = {
            str(i): Counter({"JPEG 48x48 L": n, "PNG 48x48 L": 30 - n}) for i, n in enumerate(drawn.tolist())
        }
        warned += any("warning" in line for line in data_check.of_pictures(kinds, "train"))
    print(f"false warnings: {warned} of 300")
    assert warned <= 6


def test_turned_pictures_are_counted(folder: Path):
    exif = Image.Exif()
    exif[0x0112] = 6
    for file in list(folder.glob("test/sad/*"))[:2]:
        Image.fromarray(draw_face("sad", 99)).save(file, exif=exif)
    (line,) = said(folder)
    assert line == "test/sad: 2 of 4 images are converted (2 JPEG 48x48 grey, 2 turned upright)"


def test_names_of_others_cannot_steer_and_remarks_are_bounded(folder: Path):
    for i in range(100):
        (folder / f"train/happy/x{i}\n\x1b[2J\u202e").mkdir()
        (folder / f"train/happy/x{i}\n\x1b[2J\u202e/{'y' * 200}.jpg").write_text("x")
    found = said(folder)
    assert len(found) <= 41 and found[-1].endswith("more such remarks")


def test_links_in_circles_and_pipes_hold_nothing_up(folder: Path):
    (folder / "train/happy/self").symlink_to(folder)
    (folder / "loop").symlink_to(folder / "loop")
    os.mkfifo(folder / "extra.jpg")
    assert all("not used" in line for line in said(folder))


def test_the_test_part_is_said(folder: Path, tmp_path: Path):
    parts = {
        folder: "those of its folder test",
        make_csv(
            tmp_path / "a.csv", make_folder(tmp_path / "b", FOUR)
        ): "its rows PublicTest and PrivateTest together",
        "bundled": "its part test",
    }
    for data, words in parts.items():
        classes = DEFAULT_CLASSES if data == "bundled" else ("happy", "sad")
        assert data_check.facts(settings_of(data, classes))["test_part"] == words
    assert (
        data_check.facts(settings_of("bundled", ("happy", "neutral"), test_data=folder))["test_part"]
        == parts[folder]
    )


def test_an_archive_as_windows_writes_it_is_accounted_for(folder: Path, tmp_path: Path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for file in folder.rglob("*.jpg"):
            archive.write(file, str(file.relative_to(folder)).replace("/", "\\"))
        archive.write(next(folder.rglob("*.jpg")), "train\\happy\\more\\1.jpg")
    assert [line.split(" (")[0] for line in said(tmp_path / "a.zip")] == [
        "train/happy/more: 1 image is not used"
    ]
