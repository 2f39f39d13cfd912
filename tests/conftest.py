"""Fixtures: small image folders with faces-like patterns, in every layout; real photographs where present."""

import csv
import os
import shutil
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fer_lib.datasets import ALL_CLASSES, DEFAULT_CLASSES
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
SMALL = dict.fromkeys(DEFAULT_CLASSES, 8)


def pytest_sessionstart() -> None:
    """Give the notebooks that nbval executes the made-up study with which notebook 05 is compared."""
    if folder := os.environ.get("FER_RESULTS"):
        study = Path(folder) / "example_study"
        shutil.copytree(ROOT / "tests" / "references" / "example_study", study, dirs_exist_ok=True)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Keep together, where tests run in several processes, a file's tests and all notebooks: 03 needs 02."""
    from xdist.scheduler import LoadFileScheduling

    class ByFile(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return "notebooks" if nodeid.startswith("tests/references/") else super()._split_scope(nodeid)

    return ByFile(config, log)


@pytest.fixture(autouse=True, scope="session")
def _cache_of_the_tests(tmp_path_factory: pytest.TempPathFactory):
    """Decoded images go to a folder of this session, never to the user's own cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FER_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def draw_face(name: str, index: int, part: str = "train") -> np.ndarray:
    """Return a (48, 48) uint8 cartoon face: an expression a small network can learn, and no two alike."""
    rng = np.random.default_rng([ALL_CLASSES.index(name), index, len(part)])
    y, x = np.mgrid[:48, :48] - 23.5 + rng.uniform(-2, 2, (2, 1, 1))
    image = np.where((x / 17) ** 2 + (y / 22) ** 2 < 1, 170.0, 60.0)
    eye = {"surprise": 3.5, "fear": 3.0, "sad": 1.5, "disgust": 1.2}.get(name, 2.2)
    image[(abs(abs(x) - 8) ** 2 / 9 + (y + 7) ** 2 / eye**2) < 1] = 30
    bend = {"happy": -0.08, "sad": 0.06, "angry": 0.03, "disgust": 0.1}.get(
        name, 0.0
    )  # mouth corners up: < 0
    image[(abs(y - 11 - bend * x**2) < 1.6) & (abs(x) < 9)] = 40
    if name in ("surprise", "fear"):
        image[x**2 / (16 if name == "fear" else 25) + (y - 12) ** 2 / 49 < 1] = 20
    if name in ("angry", "disgust"):
        image[abs(y + 13 - 0.4 * abs(x)) < 1.2] = 40
    return (image * rng.uniform(0.8, 1.2) + rng.normal(0, 8, image.shape)).clip(0, 255).astype(np.uint8)


def make_folder(
    folder: Path,
    train: Mapping[str, int] = SMALL,
    test: Mapping[str, int] | None = None,
    suffix: str = ".jpg",
    test_name: str = "test",
) -> Path:
    """Write an image folder in Kaggle's layout and return it.

    `train` and `test` give the number of images by class (default for `test`: half of `train`). Names are
    `train/<class>/Training_<8 digits>.jpg` and `test/<class>/PublicTest_<8 digits>.jpg`, as in FER2013.
    """
    test = {name: (count + 1) // 2 for name, count in train.items()} if test is None else test
    for part, usage, counts in (("train", "Training", train), (test_name, "PublicTest", test)):
        for name, count in counts.items():
            target = folder / part / name
            target.mkdir(parents=True, exist_ok=True)
            for i in range(count):
                number = 10_000_000 + ALL_CLASSES.index(name) * 100_000 + i
                image = Image.fromarray(draw_face(name, i, usage))
                image.save(target / f"{usage}_{number}{suffix}", quality=95)
    return folder


def make_csv(path: Path, folder: Path, layout: str = "icml") -> Path:
    """Write the images of a folder made by `make_folder` as `icml_face_data.csv` or `fer2013.csv`."""
    header = {"icml": ("emotion", " Usage", " pixels"), "fer2013": ("emotion", "pixels", "Usage")}[layout]
    with open(path, "w", newline="") as handle:
        writer = csv.DictWriter(handle, header)
        writer.writeheader()
        for file in sorted(folder.glob("*/*/*")):
            usage, pixels = file.stem.split("_")[0], np.asarray(Image.open(file)).ravel()
            emotion, text = ALL_CLASSES.index(file.parent.name), " ".join(map(str, pixels))
            values = {"emotion": emotion, "usage": usage, "pixels": text}
            writer.writerow({column: values[column.strip().lower()] for column in header})
    return path


@pytest.fixture(scope="session")
def make_face_folder() -> Callable[..., Path]:
    """Give `make_folder` to a test that needs its own folder."""
    return make_folder


@pytest.fixture(scope="session")
def make_face_csv() -> Callable[..., Path]:
    """Give `make_csv` to a test that needs its own CSV."""
    return make_csv


@pytest.fixture(scope="session")
def face_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give one image folder of three classes, 40 + 20 images each; do not write into it."""
    return make_folder(tmp_path_factory.mktemp("faces"), dict.fromkeys(DEFAULT_CLASSES, 40))


@pytest.fixture(scope="session")
def face_csv(face_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the images of `face_folder` as `icml_face_data.csv`."""
    return make_csv(tmp_path_factory.mktemp("csv") / "icml_face_data.csv", face_folder)


@pytest.fixture(params=["folder", "csv"])
def face_data(request: pytest.FixtureRequest) -> Path:
    """Give the same faces in both layouts, one after the other."""
    return request.getfixturevalue("face_folder" if request.param == "folder" else "face_csv")


@pytest.fixture(scope="session")
def fer2013() -> Path:
    """Give the folder of real FER2013 photographs, or skip loudly."""
    for folder in (os.environ.get("FER2013_DIR"), ROOT / "data/fer2013", ROOT / "../shared/data/fer2013"):
        if folder and (Path(folder) / "train").is_dir():
            return Path(folder)
    message = (
        "NOT TESTED on real photographs: set FER2013_DIR to a FER2013 image folder (train|test/<class>/)"
    )
    warnings.warn(message, stacklevel=2)
    pytest.skip(message)
