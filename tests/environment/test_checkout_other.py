"""In a copy of the checkout, the original's code does not run on, and its results are not filled."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from asserting import refusal

from fer_tools import paths
from fer_tools.commands import main


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """Give what of another checkout tells that it is one."""
    for name in ("notebooks/02_training.ipynb", "fer_tools/paths.py", ".venv/bin/fer"):
        (tmp_path / "copy" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "copy" / name).touch()
    return tmp_path / "copy"


@pytest.mark.parametrize("inside", ["", "notebooks", ".venv/bin"])
@pytest.mark.parametrize("results", ["", "results"])
def test_somebody_in_another_checkout_is_told(other, monkeypatch, capsys, inside, results):
    monkeypatch.setenv("FER_RESULTS", results and str(other / results))
    monkeypatch.chdir(other / inside)
    assert main(["list"]) == 2
    said = capsys.readouterr().err
    assert (
        str(other) in said
        and str(paths.ROOT) in said
        and "make setup" in said
        and len(said.splitlines()) == 1
    )
    assert refusal(paths.results_folder) in said  # as a notebook finds that papermill executes there


def test_so_is_who_calls_a_copied_script_from_anywhere(other, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(other / ".venv/bin/fer"), "list"])
    assert main(["list"]) == 2 and str(other) in capsys.readouterr().err
    monkeypatch.setattr(sys, "argv", [str(tmp_path / "bin/fer"), "list"])
    monkeypatch.setenv("FER_RESULTS", str(tmp_path / "results"))
    assert main(["list"]) == 0


@pytest.mark.parametrize("folder", [".", "notebooks", "tests/environment"])
def test_in_this_checkout_and_elsewhere_nothing_is_refused(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("FER_RESULTS", str(tmp_path / "results"))
    monkeypatch.chdir(paths.ROOT / folder)
    assert paths.results_folder() == tmp_path / "results"
    (tmp_path / "link").symlink_to(paths.ROOT)
    monkeypatch.chdir(tmp_path / "link" / folder)
    assert paths.results_folder() == tmp_path / "results"
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notebooks").mkdir()  # of a student's own, no checkout
    (tmp_path / "notebooks/02_training.ipynb").touch()
    assert paths.results_folder() == tmp_path / "results"


def test_a_folder_that_was_removed_is_no_checkout(tmp_path):
    code = "import os; os.rmdir(os.getcwd()); from fer_tools import paths; print(paths.results_folder())"
    environment = os.environ | {"PYTHONPATH": str(paths.ROOT), "FER_RESULTS": str(tmp_path / "results")}
    (tmp_path / "gone").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path / "gone", env=environment, capture_output=True, text=True
    )
    assert done.stdout.strip() == str(tmp_path / "results"), done.stderr
