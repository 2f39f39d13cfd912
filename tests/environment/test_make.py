"""What make does with a user's names, settings and folders: in a small checkout, its packages in a folder."""

import json
import os
import shutil
import subprocess
import sys
import venv
import zipfile
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import pytest

from fer_lib.files import sha256_of_file
from fer_tools import paths, virtual_environment

NASTY = "it's Übung #1 [x] {y} $z $$z `id` é"
LEADING = ("PYTHONPATH", "VIRTUAL_ENV", "GIT_DIR", "RUFF_OUTPUT_FILE")
SHOW = """import json, os, sys
def show():
    print(json.dumps([__file__, sys.prefix, sys.argv[1:], dict(os.environ)]))
"""


class Shown(NamedTuple):
    """What a program of the small checkout says of itself."""

    file: str
    prefix: str
    arguments: list[str]
    environment: dict[str, str]


def shown(done: subprocess.CompletedProcess) -> Shown:
    """Return what a program that make ran said in its last line."""
    assert done.returncode == 0, done.stdout + done.stderr
    return Shown(*json.loads(done.stdout.splitlines()[-1]))


def make(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
    """Run make in a folder, in an environment that holds what is given and hardly more."""
    known = {"PATH": os.environ["PATH"], "HOME": str(folder.parent), "PYTHON": sys.executable}
    command = ["make", "--no-print-directory", *arguments]
    options = {"cwd": folder, "env": known | environment, "capture_output": True, "text": True}
    return subprocess.run(command, check=False, **options)


def called(folder: Path, place: Path) -> subprocess.CompletedProcess:
    """Call the `fer` of a checkout from some place, without variables that lead Python elsewhere."""
    options = {"cwd": place, "env": {"PATH": os.defpath}, "capture_output": True, "text": True}
    return subprocess.run([folder / ".venv/bin/fer"], check=False, **options)


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder with a wheel of the setuptools that is installed here."""
    folder = tmp_path_factory.mktemp("packages")
    found = metadata.distribution("setuptools")
    with zipfile.ZipFile(folder / f"setuptools-{found.version}-py3-none-any.whl", "w") as archive:
        for file in found.files or []:
            if ".." not in file.parts and file.suffix != ".pyc":
                archive.write(file.locate(), file.as_posix())
    return folder


@pytest.fixture(scope="module")
def template(packages: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a small checkout whose `fer` and `pytest` say where they are and what reaches them; not set up."""
    folder = tmp_path_factory.mktemp("template")
    wheel = next(packages.glob("*.whl"))
    name, version = wheel.name.split("-")[:2]
    files = {
        "Makefile": (paths.ROOT / "Makefile").read_text("utf-8"),
        "fer_tools/virtual_environment.py": Path(virtual_environment.__file__).read_text("utf-8"),
        "requirements.lock": f"{name}=={version} --hash=sha256:{sha256_of_file(wheel)}\n",
        "pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "setuptools.build_meta"\n'
        '[project]\nname = "fer_lab"\nversion = "0.1.0"\n[project.scripts]\nfer = "fer_tools:show"\n'
        '[tool.setuptools]\npackages = ["fer_tools"]\n',
        "fer_tools/__init__.py": SHOW,
        "fer_tools/__main__.py": "from fer_tools import show\nshow()\n",
        "fer_tools/environment.py": "import pytest\n",
        "pytest.py": SHOW + "show()\n",
        "ruff.py": "",
        "tests/helpers/changed.py": "",
    }
    for file, text in files.items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text(text, "utf-8")
    return folder


@pytest.fixture(scope="module")
def settings(packages: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Give variables, and a home with settings, that would lead set-up, code and tests elsewhere."""
    home, elsewhere = tmp_path_factory.mktemp("home"), str(tmp_path_factory.mktemp("nowhere") / "elsewhere")
    (home / ".config/pip").mkdir(parents=True)
    (home / ".config/pip/pip.conf").write_text(
        f"[global]\nuser = true\nno-index = true\nfind-links = {packages}\n[install]\nroot = {elsewhere}\n"
    )
    (home / ".pydistutils.cfg").write_text(f"[install]\nprefix={elsewhere}\n")
    leading = (
        "PYTHONPATH",
        "PYTHONHOME",
        "PYTHONUSERBASE",
        "PIP_TARGET",
        "UV_TARGET",
        "VIRTUAL_ENV",
        "GIT_DIR",
    )
    options = {"PYTHONSAFEPATH": "1", "PYTEST_ADDOPTS": "-k nothing", "RUFF_OUTPUT_FILE": elsewhere}
    return {"HOME": str(home)} | dict.fromkeys(leading, elsewhere) | options


@pytest.fixture(scope="module")
def project(template: Path, settings: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a small checkout under a path with all kinds of signs, set up under these settings."""
    folder = shutil.copytree(template, tmp_path_factory.mktemp("projects") / NASTY)
    done = make(folder, "setup", **settings)
    assert done.returncode == 0 and not done.stderr, done.stdout + done.stderr
    assert done.stdout.startswith(".venv is not there yet: ") and len(done.stdout.splitlines()) == 1
    return folder


def test_settings_of_the_user_lead_nothing_elsewhere(project, settings):
    for target in ("smoke", "quick"):
        found = shown(make(project, target, **settings, FER_RESULTS="/runs", FER_CACHE="/cache"))
        assert Path(found.file).is_relative_to(project) and found.prefix == str(project / ".venv")
        assert not set(found.environment) & {"PYTHONHOME", "PYTHONSAFEPATH", "PYTEST_ADDOPTS", *LEADING}
        own = [found.environment[name] for name in ("FER_RESULTS", "FER_CACHE")]
        assert own == ["/runs", "/cache"] if target == "smoke" else not {*own} & {"/runs", "/cache"}
    assert not Path(settings["PIP_TARGET"]).exists() and not list(Path(settings["HOME"]).glob(".local/lib*"))


def test_the_command_works_from_anywhere_and_what_is_there_is_not_made_again(project, tmp_path):
    before = (project / ".venv/bin/fer").stat()
    assert make(project, "setup").stdout == ""
    assert (project / ".venv/bin/fer").stat() == before
    assert shown(called(project, tmp_path)).file == str(project / "fer_tools/__init__.py")


@pytest.mark.parametrize(
    "name", ["a$b", "a$$b", "$(shell touch x)", "`touch x`", '"; touch x; "', "it's", "-x", "#1 {y}"]
)
def test_a_name_is_taken_letter_by_letter(project, name):
    assert shown(make(project, "smoke", f"DATA={name}")).arguments[-1] == f"--data={name}"
    assert shown(make(project, "report", DATA=name)).arguments[-1] == f"--data={name}"
    assert not (project / "x").exists()


@pytest.mark.parametrize("target", ["test", "quick", "fuzz", "load"])
def test_tests_write_in_a_folder_of_their_own_or_do_not_begin(project, tmp_path, target):
    found = shown(make(project, target, TMPDIR=str(tmp_path), FER_RESULTS="/runs")).environment
    for name in ("FER_RESULTS", "FER_CACHE"):
        assert Path(found[name]).is_relative_to(tmp_path)
    assert not list(tmp_path.iterdir())
    done = make(project, target, TMPDIR=str(tmp_path / "gone"))
    assert done.returncode == 2 and not done.stdout
    said = done.stderr.splitlines()
    assert said[0].endswith(f"TMPDIR={tmp_path / 'gone'}") and len(said) == 2  # the other one is make's own


@pytest.mark.slow
def test_a_copy_gets_an_environment_of_its_own_and_goes_on_where_set_up_failed(project, packages, tmp_path):
    copy = tmp_path / "copy"
    subprocess.run(["cp", "-a", project, copy], check=True)
    done = make(copy, "smoke", PIP_NO_INDEX="1")
    assert done.returncode == 2 and len(done.stdout.splitlines()) == 1
    assert done.stdout.startswith(f".venv was made for {project}/.venv: ")
    assert "make: .venv: " in done.stderr and "The same command goes on" in done.stderr
    done = make(copy, "smoke", PIP_FIND_LINKS=str(packages), PIP_NO_INDEX="1")
    said = done.stdout.splitlines()
    assert said[0].startswith(".venv: what requirements.lock names is installed") and len(said) == 2
    assert shown(done)[:2] == (str(copy / "fer_tools/__init__.py"), str(copy / ".venv"))
    for folder in (project, copy):
        assert shown(called(folder, Path("/"))).file == str(folder / "fer_tools/__init__.py")


def environment(folder: Path) -> None:
    """Make an environment without packages, as make would."""
    venv.create(folder, with_pip=False)
    virtual_environment.record(folder, virtual_environment.wanted(folder))


def why(made: Path, python_is_named: bool = False) -> str | None:
    """Return why make would make an environment anew."""
    return virtual_environment.why_anew(
        made, virtual_environment.recorded(made), virtual_environment.wanted(made), python_is_named
    )


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """Give an environment without packages."""
    environment(tmp_path / "made")
    return tmp_path / "made"


def test_an_environment_is_made_anew_only_where_it_has_to_be(made, tmp_path):
    stamp = virtual_environment.recorded(made)
    assert why(made) is None and why(made, python_is_named=True) is None
    moved = shutil.move(made, tmp_path / "moved")
    assert why(moved) == f"was made for {made}"
    shutil.move(moved, made)
    virtual_environment.record(made, stamp | {"checkout": str(tmp_path / "former")})
    assert why(made) == f"was made for {tmp_path / 'former'}, which is gone"
    virtual_environment.record(made, stamp | {"python": "3.10 of /usr"})
    assert why(made, python_is_named=True).startswith("has Python 3.10 of /usr, not 3.1")
    assert "does not start as the Python 3.10" in why(made)  # it starts as another
    virtual_environment.record(made, stamp)
    for link in made.glob("bin/python*"):
        link.unlink()
        link.symlink_to(tmp_path / "gone")
    assert "does not start" in why(made)
    (made / virtual_environment.STAMP).write_text("")  # as an earlier Makefile left it
    assert why(made) == "was made for another place"


def test_the_environment_of_another_checkout_is_left_alone(made, template):
    virtual_environment.record(made, virtual_environment.wanted(made) | {"checkout": str(template)})
    with pytest.raises(virtual_environment.Refused, match=r"is the environment of .*VENV="):
        why(made)


def test_what_make_has_not_made_is_neither_set_up_nor_removed(template, tmp_path):
    project, home = shutil.copytree(template, tmp_path / "a b/project"), tmp_path / "a b"
    (home / "own/bin").mkdir(parents=True)
    (home / "own/pyvenv.cfg").write_text("home = /usr/bin\n")
    (home / "file").write_text("mine")
    (home / "nowhere").symlink_to("gone")
    before = sorted(tmp_path.rglob("*"))
    for name in (".", "..", str(home), "../own", "../file", "../nowhere", "fer_tools"):
        for target in ("clean", "setup"):
            done = make(project, target, f"VENV={name}")
            assert done.returncode == 2 and not done.stdout, name
            assert done.stderr.startswith(f"make: {name} is ") and len(done.stderr.splitlines()) == 2
    assert sorted(tmp_path.rglob("*")) == before


def test_clean_removes_the_environment_and_nothing_beside_it(template, tmp_path):
    project, home = shutil.copytree(template, tmp_path / "project"), tmp_path / "home"
    for name in ("My", "Project/venv", "My Project"):
        (home / name).mkdir(parents=True)
    venv = home / "My Project/venv $x"
    environment(venv)
    (project / "build").symlink_to(home / "My")
    (project / "fer_lab.egg-info").mkdir()
    done = make(project, "clean", f"VENV={venv}")
    assert done.returncode == 0 and not done.stdout + done.stderr
    assert sorted(path.name for path in home.rglob("*")) == ["My", "My Project", "Project", "venv"]
    assert not (project / "build").is_symlink() and not (project / "fer_lab.egg-info").exists()
    assert make(project, "clean").returncode == 0  # nothing is there


def test_of_a_link_to_the_environment_clean_removes_the_link(template, made, tmp_path):
    project = shutil.copytree(template, tmp_path / "project")
    (project / ".venv").symlink_to(made)
    before = sorted(made.rglob("*"))
    assert make(project, "clean").returncode == 0
    assert not os.path.lexists(project / ".venv") and sorted(made.rglob("*")) == before


def test_an_environment_that_holds_the_checkout_is_not_removed(template, made):
    project = shutil.copytree(template, made / "project")
    assert make(project, "clean", "VENV=..").returncode == 2 and project.is_dir()


@pytest.mark.parametrize("name", ["no such python", "/bin/false"])
def test_what_is_no_python_is_said_in_one_line(template, name):
    done = make(template, "setup", f"PYTHON={name}")
    assert done.returncode == 2 and not done.stdout and len(done.stderr.splitlines()) == 2
    assert done.stderr.startswith(f"make: no Python 3.11 to 3.13 by the name of {name}; ")
    assert not (template / ".venv").exists()
