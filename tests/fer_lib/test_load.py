"""Loading: what a path means, what is refused, and sets that have one part only."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from asserting import refusal, same
from made import make_csv, make_folder, zipped
from PIL import Image

from fer_lib.data import load
from fer_lib.data.faces import DEFAULT_CLASSES
from fer_lib.data.load import load_test, load_training


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
        assert same(load_training(tmp_path / name), load_training(face_folder))
        assert str(tmp_path / name) in load.describe(tmp_path / name)
    assert "several data sets" in refusal(load.resolve, tmp_path)


def test_fer2013_by_name(face_folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("FER2013_DIR", str(face_folder))
    assert load.resolve("fer2013").path == face_folder
    monkeypatch.setenv("HOME", str(face_folder.parent))
    monkeypatch.setenv("FER2013_DIR", f"~/{face_folder.name}")
    assert load.resolve("fer2013").path == face_folder
    for missing in (f"{face_folder}s", "~/nowhere", "~nobody.at.all/x"):  # no other copy is taken
        monkeypatch.setenv("FER2013_DIR", missing)
        message = refusal(load.resolve, "fer2013")
        assert message.startswith("FER2013_DIR = ") and missing in message
        assert "no such file" in refusal(load.resolve, missing)
    monkeypatch.delenv("FER2013_DIR")
    monkeypatch.setattr(load, "ROOT", tmp_path / "repository")
    assert "fer data fetch" in refusal(load.resolve, "fer2013")


def test_what_files_hold_is_counted_by_class(tmp_path: Path):
    make_folder(tmp_path)
    files = sorted((tmp_path / "train/happy").iterdir())
    for file in files[:3]:
        Image.open(file).resize((60, 50)).convert("RGB").save(file)
    for file, grey in zip(files[3:5], (0, 127), strict=True):
        Image.new("L", (48, 48), grey).save(file)
    for _ in range(2):  # decoded, then from the cache
        counted = load.kinds(tmp_path, DEFAULT_CLASSES, "train")
        assert counted["happy"] == {"JPEG 60x50 RGB": 3, "JPEG 48x48 L": 5, "flat": 2}
        assert counted["neutral"] == {"JPEG 48x48 L": 8}
    assert load.kinds(tmp_path, DEFAULT_CLASSES, "test")["happy"] == {"JPEG 48x48 L": 4}


def test_bad_classes(face_folder: Path):
    for classes, word in [
        (("happy",), "two or more"),
        ((), "two or more"),
        (("happy", "sad", "happy"), "twice"),
        ("happy", "two or more"),
    ]:
        message = refusal(load_training, face_folder, classes)
        assert word in message and "such as neutral, happy, surprise" in message
    for name in ("disgust", "joy"):
        message = refusal(load_training, face_folder, ("happy", name))
        assert repr(name) in message and "happy, surprise, neutral" in message


def test_missing_path_and_folders(tmp_path: Path):
    assert "no such file" in refusal(load.resolve, tmp_path / "nowhere")
    assert "train/<class>/" in refusal(load.resolve, tmp_path)
    (tmp_path / "train").mkdir()
    assert "no train images" in refusal(load_training, tmp_path)  # no class folder
    (tmp_path / "x.txt").write_text("")
    assert "no data set" in refusal(load.resolve, tmp_path / "x.txt")
    make_folder(tmp_path, test={})
    assert load_training(tmp_path).counts() == dict.fromkeys(DEFAULT_CLASSES, 8)
    assert "no test images" in refusal(load_test, tmp_path)
    assert "no test images" in refusal(load.pixel_digests_of_test_images, tmp_path)
    assert load.class_counts(tmp_path, DEFAULT_CLASSES, "train") == dict.fromkeys(DEFAULT_CLASSES, 8)
    assert "no test images" in refusal(load.class_counts, tmp_path, DEFAULT_CLASSES, "test")
    shutil.rmtree(tmp_path / "train/happy")
    (tmp_path / "train/happy").mkdir()
    assert "'happy'" in refusal(load_training, tmp_path)
    assert "'happy'" in refusal(load.class_counts, tmp_path, DEFAULT_CLASSES, "train")


# --- sets that have one part only ---


@pytest.fixture
def test_only(tmp_path: Path) -> Path:
    """Write a folder of test images, 4 a class and nothing else."""
    return make_folder(tmp_path / "photographs", {}, dict.fromkeys(DEFAULT_CLASSES, 4))


@pytest.mark.parametrize("layout", ["folder", "zip", "csv"])
@pytest.mark.parametrize("train", ["no train", "empty train", "empty classes"])
@pytest.mark.parametrize("name", ["test", "validation"])
def test_a_set_without_training_images_can_be_tested_on(
    test_only: Path, face_folder: Path, tmp_path: Path, layout: str, train: str, name: str
):
    expected = load_test(test_only)
    leak = next((face_folder / "train/happy").iterdir())
    shutil.copy(leak, test_only / "test/happy/PublicTest_20000000.jpg")
    (test_only / "test").rename(test_only / name)
    if train != "no train":
        (test_only / "train").mkdir()
    if train == "empty classes":
        (test_only / "train/happy").mkdir()
    data = test_only
    if layout == "zip":
        data = zipped(test_only, tmp_path / "photographs.zip", "photographs/")
    elif layout == "csv":
        data = make_csv(tmp_path / "photographs.csv", test_only)

    assert str(data) in load.describe(data)
    faces = load_test(data)
    assert faces.counts() == {"neutral": 4, "happy": 5, "surprise": 4}
    assert same(faces.take(faces.names != faces.names[8]), expected)
    assert load.class_counts(data, DEFAULT_CLASSES, "test") == faces.counts()
    assert len(load.pixel_digests_of_test_images(data)) == 13
    assert len(load.data_digest(data)) == 64
    if layout == "zip":
        assert load.data_digest(data) == load.data_digest(test_only)
    for action in (
        lambda: load_training(data),
        lambda: load.class_counts(data, DEFAULT_CLASSES, "train"),
    ):
        message = refusal(action)
        assert str(data) in message and "no train images" in message and "other data" in message

    settings = SimpleNamespace(
        data=face_folder,
        test_data=data,
        classes=DEFAULT_CLASSES,
        train_samples=30,
        validation_share=0.2,
        seed=0,
        duplicates="remove",
    )
    training, split = load.load_split(settings)
    assert len(training) == 120 and split.removed["leaks_into_test"] == 1
    assert f"train/happy/{leak.name}" not in [*split.train.names, *split.validation.names]
    settings.data = data
    assert "no train images" in refusal(load.load_split, settings)


def test_a_folder_around_a_set_without_training_images(test_only: Path, face_folder: Path, tmp_path: Path):
    (tmp_path / "notes").mkdir()
    assert load.resolve(tmp_path).path == test_only
    # Whatever has a training part is found as before a folder with `test` alone was taken for a set.
    zipped(face_folder, test_only / "archive.zip")
    assert load.resolve(test_only).kind == "zip"
    make_csv(test_only / "fer2013.csv", face_folder)
    assert load.resolve(test_only).kind == "csv"
    (test_only / "train").mkdir()
    assert load.resolve(test_only).kind == "folder"
