"""The whole way, at smoke size, as a user goes it: `fer run`, `fer report`, again, and interrupted."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time

import nbformat
import pytest

from fer_lib import runs

SMALL = ["-p", "train_samples=60", "-p", "epochs=2", "-p", "batch_size=16"]


def fer(results, *arguments, **options):
    """Run `fer` in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "fer_lib.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=runs.ROOT,
        env=os.environ | {"FER_RESULTS": str(results)},
        check=False,
        **options,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("mit Leerzeichen und ümläuten 表情")


@pytest.fixture(scope="module")
def faces(folder):
    from conftest import make_folder

    make_folder(folder / "faces", dict.fromkeys(("neutral", "happy", "surprise"), 40))
    return folder / "faces"


@pytest.fixture(scope="module")
def finished(folder, faces):
    """Give the result of one run with its report, and the run."""
    results = folder / "results"
    done = fer(results, "run", "--preset", "smoke", "--data", faces, *SMALL, "--report")
    assert done.returncode == 0, done.stderr
    (path,) = results.glob("*_timestamp_*/")
    return done, runs.Run(path)


def test_a_run_fills_its_directory(finished):
    done, run = finished
    assert not done.stderr
    assert done.stdout.count("epoch ") == 2 and "left" in done.stdout
    assert run.name.startswith("basic_model_2_epochs_timestamp_")
    for stage, kind in runs.STAGES.items():
        assert run.document["stages"][stage]["status"] == "done"
        executed = nbformat.read(run.path / "notebooks" / f"{kind.notebook}.ipynb", as_version=4)
        cells = [cell for cell in executed.cells if cell.cell_type == "code"]
        assert all(cell.execution_count for cell in cells)
    assert run.model_path.is_file()
    assert run.metrics["model.parameters"] == 118_531 and run.metrics["training.samples"] == 60
    for name in ("report.html", "report.pdf", "report.tex", "history.csv"):
        assert (run.path / name).stat().st_size > 50


def test_what_is_unchanged_is_skipped(finished, faces):
    _, run = finished
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    again = fer(run.path.parent, "run", "--preset", "smoke", "--data", faces, *SMALL, "--reuse", "--report")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert again.returncode == 0 and again.stdout.count("unchanged") == 4
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert seconds < 5, f"{seconds:.1f} s CPU"


def test_same_seed_same_numbers_killed_or_not(finished, faces, tmp_path):
    _, whole = finished
    arguments = [
        sys.executable,
        "-m",
        "fer_lib.cli",
        "run",
        "--preset",
        "smoke",
        "--data",
        str(faces),
        *SMALL,
    ]
    process = subprocess.Popen(
        arguments,
        cwd=runs.ROOT,
        env=os.environ | {"FER_RESULTS": str(tmp_path)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 300
    while not list(tmp_path.glob("*/checkpoints/state.npz")):  # the first epoch has ended
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    children = subprocess.run(
        ["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=False
    ).stdout.split()
    for pid in [process.pid, *map(int, children)]:
        os.kill(pid, signal.SIGKILL)
    process.wait()
    (path,) = tmp_path.glob("*_timestamp_*/")
    resumed = fer(tmp_path, "run", "--resume", path.name)
    assert resumed.returncode == 0, resumed.stderr
    run = runs.Run(path)
    assert run.metrics == whole.metrics
    for name in ("history.csv", "checkpoints/epoch_001.keras", "checkpoints/epoch_002.keras"):
        assert (path / name).read_bytes() == (whole.path / name).read_bytes(), name
    assert run.model_path.read_bytes() == whole.model_path.read_bytes()
    figures = sorted(file.name for file in (path / "figures").iterdir())
    assert figures == sorted(file.name for file in (whole.path / "figures").iterdir())
    for name in figures:
        assert (path / "figures" / name).read_bytes() == (whole.path / "figures" / name).read_bytes(), name


def test_a_cell_that_fails_is_named_and_the_notebook_kept(faces, tmp_path):
    done = fer(tmp_path, "run", "--preset", "smoke", "--data", faces, "-p", "train_samples=5000")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("fer: 01_exploration, cell ") and "train_samples" in line and "--resume" in line
    (executed,) = tmp_path.glob("*/notebooks/01_exploration.ipynb")
    assert "UsageError" in executed.read_text(encoding="utf-8")


def test_a_report_of_an_altered_run_is_refused(finished, tmp_path):
    _, run = finished
    copy = tmp_path / run.name
    shutil.copytree(run.path, copy)
    shutil.copy(run.model_path, tmp_path)
    assert fer(tmp_path, "report", run.name).returncode == 0
    metrics = json.loads((copy / "metrics.json").read_text())
    (copy / "metrics.json").write_text(json.dumps(metrics | {"test.accuracy": 0.99}))
    done = fer(tmp_path, "report", run.name)
    assert done.returncode == 2 and "metrics.json" in done.stderr and len(done.stderr.splitlines()) == 1
