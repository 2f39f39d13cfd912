"""What an installed package does without a checkout, and what it says needs one."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from camera import clear, frame
from PIL import Image
from staged import write_run
from synthetic import make_run, synthetic_run

from fer_tools import paths, stages
from fer_tools.report import build

pytestmark = pytest.mark.slow

Fer = Callable[..., subprocess.CompletedProcess]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel, from a copy, so that nothing is left in the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    for name in ("fer_lib", "fer_tools"):
        shutil.copytree(paths.ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(paths.ROOT / name, source)
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet", "--no-deps"]
    command += ["--no-build-isolation", "--wheel-dir", str(folder), "."]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Unpack the wheel, as an installer does."""
    folder = tmp_path_factory.mktemp("site-packages")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


@pytest.fixture
def python(installed: Path, tmp_path: Path) -> Fer:
    """Run Python in an empty folder, where ours is the installed package; before the checkout on the path."""
    (tmp_path / "empty").mkdir()
    environment = os.environ | {"PYTHONPATH": str(installed)}
    environment.pop("FER_RESULTS", None)

    def run(*arguments: object) -> subprocess.CompletedProcess:
        command = [sys.executable, "-P", *map(str, arguments)]
        options = {"cwd": tmp_path / "empty", "env": environment, "capture_output": True, "text": True}
        return subprocess.run(command, check=False, **options)

    return run


@pytest.fixture
def fer(python: Fer) -> Fer:
    """Run `fer` of the installed package."""
    return lambda *arguments: python("-m", "fer_tools", *arguments)


def test_it_is_the_installed_package_that_is_tested(python, installed):
    code = "import fer_lib, fer_tools.commands as c; print(fer_lib.__file__, c.__file__, sep='\\n')"
    expected = [installed / "fer_lib" / "__init__.py", installed / "fer_tools" / "commands" / "__init__.py"]
    assert python("-c", code).stdout.splitlines() == list(map(str, expected))


def test_the_wheel_holds_all_of_the_packages_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
        scripts = next(name for name in archive.namelist() if name.endswith("/entry_points.txt"))
        assert "fer = fer_tools.commands:main" in archive.read(scripts).decode().splitlines()
    there = {
        path.relative_to(paths.ROOT).as_posix()
        for package in ("fer_lib", "fer_tools")
        for path in (paths.ROOT / package).rglob("*")
        if path.is_file() and path.parent.name != "__pycache__"
    }
    assert held == there


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["list"]])
def test_help_and_the_list_need_no_checkout(fer, arguments):
    done = fer(*arguments)
    assert done.returncode == 0 and not done.stderr and done.stdout


def test_pictures_are_recognised_as_in_the_checkout(fer, faces, tmp_path):
    picture, photograph = next(faces.glob("test/happy/*")), tmp_path / "photograph.png"
    Image.fromarray(frame((clear(1), 200, 320, 240, 10))).save(photograph)
    done = fer("predict", "--json", picture, photograph)
    assert done.returncode == 0 and not done.stderr
    command = [sys.executable, "-m", "fer_tools", "predict", "--json", str(picture), str(photograph)]
    here = subprocess.run(command, cwd=paths.ROOT, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == json.loads(here.stdout)
    face, found = json.loads(done.stdout)
    assert Image.open(picture).size == (48, 48) and face["image"] == str(picture) and "box" not in face
    assert found["class"] == "happy" and found["box"]


def test_a_network_is_summarised(fer):
    done = fer("summary", "basic_model")
    assert done.returncode == 0 and not done.stderr and "Total 118,531" in done.stdout


def test_a_copy_of_the_photographs_is_verified(fer, faces):
    done = fer("data", "verify", faces)
    assert done.returncode == 2 and not done.stderr  # they are not FER2013's
    assert "expected" not in done.stdout and done.stdout.splitlines()[-1].startswith("not FER2013: ")


@pytest.mark.usefixtures("results")
def test_a_run_is_checked_as_far_as_it_can_be(fer, faces, tmp_path):
    run = make_run(synthetic_run(tmp_path / "template"), faces)
    done = fer("check", run.path)
    assert done.returncode == 0 and not done.stderr
    notebooks = "04_evaluation, 03_overfitting, 02_training, 01_exploration"
    assert f"not compared without a checkout: what {notebooks} were made from\n" in done.stdout
    build.build(run.path)
    done = fer("check", run.path)
    assert done.returncode == 0 and not done.stderr
    assert f"not compared without a checkout: what report, {notebooks} were made from\n" in done.stdout
    for name in ("history.csv", "report.pdf"):
        (run.path / name).write_text("other")
    done = fer("check", run.path)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 2
    assert "history.csv is not what 02_training wrote" in done.stderr
    assert "report.pdf is not what was built" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["run"],
        ["run", "--data", "bundled", "--preset", "smoke"],
        ["run", "--resume", "{run}"],
        ["report"],
        ["report", "{run}"],
        ["verify", "{run}"],
        ["sweep", "study.yaml"],
        ["bench"],
        ["bench", "--data", "bundled"],
        ["data", "fetch"],
        ["data", "verify", "bundled"],
    ],
    ids=" ".join,
)
def test_what_needs_the_checkout_says_so_in_one_line(fer, results, tmp_path, arguments):
    run = write_run(results, 1000, stages.REQUIRED)
    done = fer(*(argument.format(run=run.path) for argument in arguments))
    assert done.returncode == 2 and not done.stdout
    assert done.stderr.startswith(f"fer: fer {arguments[0]}") and len(done.stderr.splitlines()) == 1
    assert "needs the checkout" in done.stderr and "clone the repository" in done.stderr
    assert not list((tmp_path / "empty").iterdir())
