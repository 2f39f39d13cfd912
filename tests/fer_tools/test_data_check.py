"""Data that cannot work are refused before a run begins, and what can is decoded once."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from asserting import refusal
from made import make_folder
from PIL import Image

from fer_lib.data import load
from fer_lib.data.faces import DEFAULT_CLASSES
from fer_lib.data.picture import decode_image
from fer_lib.data.readers import source
from fer_tools.data_check import check


def settings_of(data: Path | str, **other) -> SimpleNamespace:
    usual = {"classes": ("happy", "sad"), "test_data": "", "train_samples": 10, "validation_share": 0.2}
    return SimpleNamespace(data=data, **usual | {"seed": 0, "duplicates": "remove"} | other)


@pytest.fixture
def two_classes(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "faces", {"happy": 8, "sad": 8, "angry": 2})


def test_what_can_work_is_let_through_and_decoded_once(two_classes: Path, monkeypatch: pytest.MonkeyPatch):
    decoded = []

    def spy(content: bytes, where: str):
        decoded.append(where)
        return decode_image(content, where)

    monkeypatch.setattr(source, "decode_image", spy)
    monkeypatch.setenv("FER_CACHE", str(two_classes.parent / "cache"))
    Image.open(two_classes / "train/sad/Training_10400000.jpg").resize((9, 9)).save(
        two_classes / "train/sad/a.png"
    )
    check(settings_of(two_classes))
    assert len(decoded) == 25  # 17 of the training part and 8 of the test part; none of angry faces
    check(settings_of(two_classes, train_samples=None, duplicates="keep", seed=7))
    load.load_split(settings_of(two_classes))
    assert load.kinds(two_classes, ("happy", "sad"), "train")["sad"]["PNG 9x9 L"] == 1
    check(settings_of("bundled", classes=DEFAULT_CLASSES, train_samples=5000))
    assert len(decoded) == 25


@pytest.mark.parametrize(
    ("make", "given", "words"),
    [
        (lambda _: None, {"train_samples": 18}, ("train_samples: 18 needs 9", "'happy'", "at most 16")),
        (lambda _: None, {"train_samples": 10**7}, ("train_samples: 10,000,000", "at most 16")),
        (lambda _: None, {"validation_share": 0.01}, ("validation_share", "one side empty")),
        (lambda _: None, {"validation_share": 0.9, "train_samples": 2}, ("one side empty",)),
        (lambda _: None, {"classes": ("happy", "sad", "angry")}, ("10 needs 4", "'angry'", "2 are left")),
        (lambda _: None, {"classes": ("happy", "joy")}, ("no train images of class 'joy'",)),
        (lambda _: None, {"test_data": "nowhere"}, ("nowhere: no such file",)),
        (lambda data: shutil.rmtree(data / "test"), {}, ("no test images of class 'happy'",)),
        (lambda data: shutil.rmtree(data / "test/sad"), {}, ("no test images of class 'sad'",)),
        (lambda data: shutil.rmtree(data / "train/sad"), {}, ("no train images of class 'sad'",)),
        (lambda data: leave(data / "train/sad", 1), {"train_samples": None}, ("1 images of class 'sad'",)),
        (lambda data: leave(data / "train/sad", 1), {}, ("10 needs 5", "1 are left without duplicates")),
        (lambda data: repeat(data, "train", "sad"), {}, ("1 are left without duplicates",)),
        (
            lambda data: repeat(data, "train", "sad"),
            {"train_samples": None},
            ("1 images of class 'sad' left",),
        ),
        (lambda data: leak(data), {"train_samples": None}, ("0 images of class 'happy' left without",)),
        (lambda data: leak(data), {}, ("0 are left without duplicates",)),
        (lambda data: (data / "train/sad/a.jpg").write_text("x"), {}, ("train/sad/a.jpg: not a JPEG",)),
        (lambda data: (data / "test/sad/a.jpg").write_text(""), {}, ("test/sad/a.jpg: an empty file",)),
        (lambda data: (data / "train/angry/a.jpg").mkdir(), {}, ("train/angry/a.jpg: a folder",)),
        (lambda data: (data / "test/angry/a.jpg").mkdir(), {}, ("test/angry/a.jpg: a folder",)),
    ],
)
def test_what_cannot_work_is_said_before_a_run(two_classes: Path, make, given: dict, words: tuple[str, ...]):
    make(two_classes)
    message = refusal(check, settings_of(two_classes, **given))
    assert all(word in message for word in words), message


def leave(folder: Path, count: int) -> None:
    """Remove all but a few files of a folder."""
    for file in sorted(folder.iterdir())[count:]:
        file.unlink()


def repeat(data: Path, part: str, name: str) -> None:
    """Make all images of a class the same."""
    first, *others = sorted((data / part / name).iterdir())
    for other in others:
        shutil.copy(first, other)


def leak(data: Path) -> None:
    """Make all training images test images, too."""
    for name in ("happy", "sad"):
        for file in (data / "train" / name).iterdir():
            shutil.copy(file, data / "test" / name / f"again_{file.name}")


def test_all_classes_of_the_data_tested_on_are_looked_at(two_classes: Path, tmp_path: Path):
    other = make_folder(tmp_path / "other", {}, {"happy": 3, "sad": 3, "angry": 1})
    check(settings_of(two_classes, test_data=other))
    (other / "test/angry/a.jpg").symlink_to("gone")
    assert "test/angry/a.jpg: cannot be read" in refusal(check, settings_of(two_classes, test_data=other))


def test_a_csv_that_cannot_work(face_csv: Path, tmp_path: Path):
    path = tmp_path / "a.csv"
    lines = face_csv.read_text().splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("3,Training"))
    lines[at] = lines[at].rpartition(" ")[0] + " x"
    path.write_text("\n".join(lines))
    message = refusal(check, settings_of(path, classes=("neutral", "happy")))
    assert f"row {at + 1}: pixel 'x'" in message
    check(settings_of(path, classes=("neutral", "surprise")))
