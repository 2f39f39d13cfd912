"""Hostile circumstances: a clear line or a right result, and earlier runs as they were."""

import os
import shutil
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from processes import SMALL, begun, descendants, fer, wait_for

from fer_lib.files import sha256_of_file
from fer_tools import commands, paths, pipeline
from fer_tools.run import find
from fer_tools.run.run import Run

pytestmark = pytest.mark.slow

AWKWARD = 'it\'s "here"; $HOME & `ls` %20 #1 [x] {y} é 表情 😀'


def contents(folder: Path) -> dict[str, str]:
    """Digest of every file."""
    return {str(path): sha256_of_file(path) for path in sorted(folder.rglob("*")) if path.is_file()}


def one_line(err: str, *said: str) -> None:
    assert err.startswith("fer: ") and len(err.splitlines()) == 1, err
    for text in said:
        assert text in err


def mounted(folder: Path, *options: str) -> bool:
    """Mount a file system in memory, or mount it again with other options; only root may."""
    command = ["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", str(folder)]
    done = os.geteuid() == 0 and shutil.which("mount")
    done = done and subprocess.run(command, capture_output=True, check=False).returncode == 0
    if not done:
        warnings.warn("NOT TESTED: no right to mount a small or read-only disk here", stacklevel=2)
    return bool(done)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Return a folder that a test may mount something at."""
    folder = tmp_path / f"disk {AWKWARD}"
    folder.mkdir()
    yield folder
    if os.path.ismount(folder):
        subprocess.run(["umount", folder], check=True)


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run of yesterday, to be copied."""
    run = tmp_path_factory.mktemp("earlier") / f"basic_model_50_epochs_timestamp_{int(time.time()) - 86_400}"
    reference = paths.ROOT / "results" / "reference"
    shutil.copytree(reference, run, ignore=shutil.ignore_patterns("*.pdf", "*.keras", "figures"))
    Run(run).update(excerpt=False)  # as one that lost its files, not one without them on purpose
    return run


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return a copy of the repository under a name that shells and parsers stumble over."""
    folder = tmp_path / f"checkout {AWKWARD}"
    ignored = shutil.ignore_patterns("__pycache__", "fer2013", ".fer2013.part")
    for name in ("fer_lib", "fer_tools", "notebooks", "report", "data"):
        shutil.copytree(paths.ROOT / name, folder / name, ignore=ignored)
    return folder


def test_a_full_disk_and_awkward_names_everywhere(checkout, disk, earlier, make_face_folder, tmp_path):
    """The disk is full in the midst of a run; with more space, the run goes on to its report."""
    faces = make_face_folder(
        tmp_path / f"faces {AWKWARD}", dict.fromkeys(("neutral", "happy", "surprise"), 40)
    )
    small = mounted(disk, "size=4m")
    shutil.copytree(earlier, disk / earlier.name)
    before = contents(disk / earlier.name)

    def run(*arguments: str | Path) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, "-m", "fer_tools", *map(str, arguments)],
            cwd=checkout,
            env=os.environ | {"PYTHONPATH": str(checkout), "FER_RESULTS": str(disk)},
            capture_output=True,
            text=True,
            check=False,
        )

    done = run("run", "--data", faces, *SMALL, *(() if small else ("--report",)))
    (made,) = (path for path in disk.glob("*_timestamp_*") if path.is_dir() and path.name != earlier.name)
    if small:
        assert done.returncode == 2
        one_line(done.stderr, "No space left on device")
        assert run("list").returncode == 0
        assert mounted(disk, "remount", "size=64m")
        done = run("run", "--resume", made.name, "--report")
    assert done.returncode == 0, done.stderr
    checked = run("check", made.name)
    assert checked.returncode == 0 and not checked.stderr, checked.stderr
    assert (made / "report.pdf").read_bytes().startswith(b"%PDF")
    assert contents(disk / earlier.name) == before
    listed = run("list").stdout.splitlines()
    assert listed[1].startswith(made.name) and listed[2].startswith(earlier.name)


@pytest.mark.parametrize("command", ["run", "report", "list", "check", "compare"])
def test_results_that_may_only_be_read(disk, earlier, face_folder, command, monkeypatch, capsys):
    if not mounted(disk, "size=4m"):
        pytest.skip("no right to mount")
    shutil.copytree(earlier, disk / earlier.name)
    before = contents(disk)
    assert mounted(disk, "remount", "ro")
    monkeypatch.setenv("FER_RESULTS", str(disk))
    monkeypatch.setattr(pipeline, "interruptible", lambda: None)
    data = ["--data", str(face_folder), "-p", "train_samples=null"]
    given = {"run": ["--preset", "smoke", *data], "compare": [earlier.name] * 2}
    code = commands.main([command, *given.get(command, [])])
    out, err = capsys.readouterr()
    if command == "list":
        assert code == 0 and earlier.name in out and not err
    elif command == "run":
        assert code == 2
        one_line(err, str(disk), "Read-only file system")
    else:
        assert code == 2 and all(line.startswith("fer: ") for line in err.splitlines())
        assert "Read-only" not in err  # what only reads does not mind
    assert contents(disk) == before


def test_a_run_that_may_only_be_read_is_not_resumed(disk, earlier, monkeypatch, capsys):
    if not mounted(disk, "size=4m"):
        pytest.skip("no right to mount")
    shutil.copytree(earlier, disk / earlier.name)
    assert mounted(disk, "remount", "ro")
    monkeypatch.setenv("FER_RESULTS", str(disk))
    monkeypatch.setattr(pipeline, "interruptible", lambda: None)
    assert commands.main(["run", "--resume", earlier.name]) == 2
    one_line(capsys.readouterr().err, "Read-only file system")


def test_results_that_are_removed_in_the_midst_of_a_run(earlier, face_folder, tmp_path):
    results = tmp_path / "results"
    shutil.copytree(earlier, tmp_path / "kept" / earlier.name)
    before = contents(tmp_path / "kept")
    process, run = begun(results, "run", "--data", face_folder, *SMALL)
    try:
        wait_for(lambda: "exploration" in run.document["stages"], process)
        children = descendants(process.pid)
        while results.exists():  # something may be written meanwhile
            shutil.rmtree(results, ignore_errors=True)
        _, err = process.communicate()
    finally:
        if process.poll() is None:
            process.kill()
    assert process.returncode == 2
    one_line(err, run.name)
    assert not [pid for pid in children if Path(f"/proc/{pid}").exists()]
    assert contents(tmp_path / "kept") == before
    listed = fer(results, "list")
    assert listed.returncode == 0 and "no runs yet" in listed.stdout


def test_a_clock_that_was_set_back(tmp_path, monkeypatch):
    """The newest run is the one started last, whatever the clock said."""
    monkeypatch.setenv("FER_RESULTS", str(tmp_path))
    made = []
    for now in (1_760_000_000, 1_759_000_000, 1_760_000_000, 1_000, 1_760_000_500):
        monkeypatch.setattr(find.time, "time", lambda now=now: now + 0.5)
        made.append(find.create(f"label_{now % 7}"))
        assert find.newest().path == made[-1].path
    assert [run.name for run, _ in find.all_runs()] == [run.name for run in reversed(made)]
    assert len({run.path for run in made}) == len(made)
    assert made[0].name.endswith("_1760000000") and made[-1].name.endswith("_1760000500")


def test_no_network(checkout):
    """`fer data fetch` on a machine without any: not even a way to look up names."""
    unshare = ["unshare", "--net"]
    if subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode:
        pytest.skip("NOT TESTED: no right to take the network away; test_fetch.py has the same in parts")
    before = contents(checkout)
    clock = time.monotonic()
    done = subprocess.run(
        [*unshare, sys.executable, "-m", "fer_tools", "data", "fetch"],
        cwd=checkout,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(checkout), os.environ.get("PYTHONPATH", "")])},
        capture_output=True,
        text=True,
        check=False,
    )
    *progress, last = done.stderr.splitlines()
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    one_line(last, "FER2013 could not be fetched", "https://www.kaggle.com/datasets/msambare/fer2013")
    assert any("Kaggle" in line for line in progress)
    assert {k: v for k, v in contents(checkout).items() if "__pycache__" not in k} == before
    assert time.monotonic() - clock < 300


@pytest.mark.parametrize("place", ["train", "train/happy", "train/happy/Training_3.jpg", "test"])
def test_a_circle_of_links_among_the_data(place, make_face_folder, tmp_path, monkeypatch, capsys):
    """Beside the images, a circle is refused by name or, where nothing is read through it, ignored."""
    faces = make_face_folder(tmp_path / "faces")
    monkeypatch.setenv("FER_RESULTS", str(tmp_path / "results"))
    monkeypatch.setattr(pipeline, "interruptible", lambda: None)
    (faces / "train" / "again").symlink_to(faces)  # a circle that nothing leads into
    assert commands.main(["data", "verify", str(faces)]) == 2  # they are not FER2013's
    out, err = capsys.readouterr()
    assert out.splitlines()[-1].startswith("not FER2013: ") and not err
    path = faces / place
    if path.is_dir():
        shutil.rmtree(path)
    path.symlink_to(path)
    assert commands.main(["data", "verify", str(faces)]) == 2
    one_line(capsys.readouterr().err, str(faces))
