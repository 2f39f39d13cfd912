"""Fixtures: small image folders with faces-like patterns, in every layout; real photographs where present."""

import os
import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from made import make_csv, make_folder

from fer_lib.data.faces import DEFAULT_CLASSES
from fer_lib.files import ROOT
from fer_tools.run.machine import usable_cores

NOTEBOOKS = "tests/references/"

settings.register_profile("busy", deadline=None)  # how long an example takes depends on what else goes on
settings.load_profile("busy")


def pytest_sessionstart() -> None:
    """Give the notebooks that nbval executes the made-up study with which notebook 05 is compared."""
    if folder := os.environ.get("FER_RESULTS"):
        study = Path(folder) / "example_study"
        shutil.copytree(ROOT / "tests" / "references" / "example_study", study, dirs_exist_ok=True)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Take one process more than cores: each of them waits for a browser, a kernel or a disk now and then."""
    return usable_cores() + 1


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin, where tests run in several processes, with what takes long: at the end no one works alone."""
    if hasattr(config, "workerinput"):
        slow = {_together(item.nodeid) for item in items if item.get_closest_marker("slow")}
        items.sort(key=lambda item: _together(item.nodeid) not in {NOTEBOOKS, *slow})


def _together(nodeid: str) -> str:
    """Return which tests this one stays with: those of its file; all notebooks, as 03 needs 02."""
    file = nodeid.partition("::")[0]
    return NOTEBOOKS if file.startswith(NOTEBOOKS) else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give each process the tests that stay together, and then the next."""
    from xdist.scheduler import LoadFileScheduling

    class ByFile(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return _together(nodeid)

    return ByFile(config, log)


@pytest.fixture(autouse=True, scope="session")
def _cache_of_the_tests(tmp_path_factory: pytest.TempPathFactory):
    """Decoded images go to a folder of this session, never to the user's own cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FER_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


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


@pytest.fixture(scope="session")
def student_models() -> Path:
    """Give the folder of model files as people saved them, or skip loudly."""
    folder = ROOT.parent / "shared" / "data" / "student_models"
    if folder.is_dir():
        return folder
    message = f"NOT TESTED on models of students: {folder} is not there"
    warnings.warn(message, stacklevel=2)
    pytest.skip(message)


@pytest.fixture(scope="session")
def chromium() -> str:
    """Give the path of Chromium, or skip loudly."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    if found is None:
        message = "NOT TESTED in a browser: install Chromium, or name it in the environment variable CHROMIUM"
        warnings.warn(message, stacklevel=2)
        pytest.skip(message)
    return found


@pytest.fixture(scope="session")
def playwright() -> Iterator[Any]:
    """Give what drives browsers."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        yield driver
