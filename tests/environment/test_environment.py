"""What a user's shell, home, editor and machine bring along reaches no number of a run, and no figure."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from lavish import command, lavish, make_home, plain
from PIL import Image
from processes import SMALL

from fer_tools import environment, paths
from fer_tools.run import machine, provenance

MINI = [*SMALL, "-p", "epochs=1"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the home of somebody with settings of their own for everything."""
    return make_home(tmp_path_factory.mktemp("home"))


def fer(variables: dict[str, str], *arguments: str, cwd: Path = paths.ROOT) -> subprocess.CompletedProcess:
    """Run `fer` with the code of this checkout, in an environment of one's own."""
    return subprocess.run(
        command(*arguments), env=variables, cwd=cwd, capture_output=True, text=True, check=False
    )


def keras_settings(variables: dict[str, str], before: str = "") -> dict:
    """Return what Keras and TensorFlow go by in a process that imports fer_lib, and what it warns of."""
    code = f"""
import json, os, sys, warnings
warnings.simplefilter("error"); warnings.simplefilter("ignore", DeprecationWarning)
sys.path.insert(0, {str(paths.ROOT)!r})
{before}
import fer_lib
import keras
import tensorflow as tf
from keras.src.backend import config
print(json.dumps({{
    "backend": keras.backend.backend(), "floatx": keras.config.floatx(), "epsilon": keras.config.epsilon(),
    "format": keras.config.image_data_format(), "epochs": config.max_epochs(),
    "steps": config.max_steps_per_epoch(), "devices": len(tf.config.list_physical_devices()),
    "eager": tf.executing_eagerly(),
    "variables": {{name: value for name, value in os.environ.items() if name[:3] in ("TF_", "XLA", "ONE")}},
}}))
"""  # fmt: skip
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
def test_a_kernel_that_somebody_else_started(home: Path, tmp_path: Path):
    """fer_lib itself sets what decides numbers: in JupyterLab, in plain papermill, in a script."""
    shell = lavish(tmp_path, home) | {"NPY_DISABLE_CPU_FEATURES": ""}
    shell = {name: value for name, value in shell.items() if not name.startswith("PYTHON")}
    found, expected = keras_settings(shell), keras_settings(plain(tmp_path))
    assert found == expected
    defaults = {"backend": "tensorflow", "floatx": "float32", "epsilon": 1e-7, "format": "channels_last"}
    assert found | defaults == found and found["epochs"] is None and found["steps"] is None and found["eager"]
    assert "TF_XLA_FLAGS" not in found["variables"] and "ONEDNN_MAX_CPU_ISA" not in found["variables"]


@pytest.mark.slow
def test_settings_that_come_too_late_are_said(tmp_path: Path):
    """Somebody's startup file has imported Keras: a run is not begun with what it then went by."""
    code = f"""
import sys, warnings
sys.path.insert(0, {str(paths.ROOT)!r})
import keras
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    import fer_lib
assert ["before keras" in str(warning.message) for warning in said].count(True) == 1
from fer_lib.files import UsageError
from fer_tools import checking
from fer_tools.run.stage import begin
try:
    begin("training", checking.build("training", {{}}))
except UsageError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], env=plain(tmp_path), capture_output=True, text=True, check=True
    )
    assert "TF_ENABLE_ONEDNN_OPTS" in done.stdout and "restart the kernel" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [["predict", "{face}", "--json"], ["--help"]])
def test_commands_say_the_same_to_everybody(home: Path, tmp_path: Path, arguments: list[str]):
    """What needs no kernel goes by no settings either, nor by modules that Python has executed before."""
    face = tmp_path / "face.png"
    Image.new("L", (48, 48), 99).save(face)
    arguments = [argument.format(face=face) for argument in arguments]
    ours, theirs = (fer(variables, *arguments) for variables in (plain(tmp_path), lavish(tmp_path, home)))
    assert ours.returncode == theirs.returncode == 0, theirs.stderr
    assert ours.stdout and ours.stdout == theirs.stdout and theirs.stderr == ""


def test_few_variables_reach_a_tool(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Not a list of what is bad: a list of what is needed."""
    for name, value in (lavish(tmp_path, home) | {"ANYTHING_ELSE": "1", "GIT_DIR": "/elsewhere"}).items():
        monkeypatch.setenv(name, value)
    found = environment.of_tool(tmp_path)
    assert found["HOME"] == str(tmp_path) and found["PYTHONPATH"] == str(paths.ROOT)
    own = (
        "FER_",
        "TF_",
        "KERAS_",
        "PYTHON",
        "JUPYTER_PATH",
        "MPLCONFIGDIR",
        "CUDA_VISIBLE_DEVICES",
        "OMP_NUM",
    )
    machine_wide = {"PATH", "HOME", "USER", "LOGNAME", "TZ", "TMPDIR", "LC_ALL"}
    assert {name for name in found if not name.startswith(own)} <= machine_wide
    assert not {"PYTHONHASHSEED", "PYTHONOPTIMIZE", "PYTHONWARNINGS", "KERAS_MAX_EPOCHS"} & set(found)
    assert str(home / "bin") in found["PATH"]


def test_a_folder_means_the_same_to_command_and_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Relative folders are those of where the command was typed; the home is the user's."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    monkeypatch.setenv("FER2013_DIR", "faces")
    monkeypatch.setenv("FER_CACHE", "cache")
    monkeypatch.setenv("FER_RESULTS", "~/results")
    with environment.of_commands():
        inside = environment.of_tool(tmp_path / "nowhere")
    assert inside["FER2013_DIR"] == str(tmp_path / "faces")
    assert inside["FER_CACHE"] == str(tmp_path / "cache")
    assert inside["FER_RESULTS"] == str(tmp_path / "me" / "results")
    assert os.environ["FER2013_DIR"] == "faces"  # as before
    monkeypatch.delenv("FER_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert environment.of_tool(tmp_path / "nowhere")["FER_CACHE"] == str(tmp_path / "me/.cache/fer_lab")


def test_a_folder_of_photographs_that_is_gone_is_not_replaced(tmp_path: Path):
    """Never by the photographs of data/fer2013, which are others perhaps."""
    done = fer(plain(tmp_path) | {"FER2013_DIR": "gone"}, "run", *MINI, "--data", "fer2013", cwd=tmp_path)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1
    assert f"FER2013_DIR = {str(tmp_path / 'gone')!r}: no such file or folder" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_for_temporary_files_is_everybodys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A kernel is told the folder that is used, not the one that was asked for."""
    code = (
        f"import sys, tempfile; sys.path.insert(0, {str(paths.ROOT)!r}); "
        "from fer_tools.environment import of_tool; "
        "print(of_tool()['TMPDIR'] == tempfile.gettempdir() != sys.argv[1])"
    )
    gone = str(tmp_path / "gone")
    command = [sys.executable, "-c", code, gone]
    done = subprocess.run(
        command, env=os.environ | {"TMPDIR": gone}, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "True"


def test_a_full_folder_for_temporary_files(tmp_path: Path):
    """A good model is not called unsafe for it."""
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(small)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("NOT TESTED: no right to mount a small disk")
    try:
        model = paths.ROOT / "fer_lib" / "models" / "optimized_model.keras"
        assert model.stat().st_size > 256 << 10
        picture = tmp_path / "face.png"
        Image.new("L", (48, 48), 99).save(picture)
        predict = ["predict", str(picture), "--model", str(model), "--classes", "neutral,happy,surprise"]
        done = fer(plain(tmp_path) | {"TMPDIR": str(small)}, *predict)
        assert done.returncode == 2 and done.stderr.count("\n") == 1
        assert "set TMPDIR" in done.stderr and "safely" not in done.stderr
    finally:
        subprocess.run(["umount", str(small)], check=True)


@pytest.mark.skipif(shutil.which("git") is None, reason="NOT TESTED: git is not installed")
def test_git_answers_for_the_checkout_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Not for a repository around it, nor for one that a hook's variables name."""

    def git(folder: Path, *arguments: str) -> str:
        named = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        command = ["git", "-C", str(folder), *named, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    outer = tmp_path / "outer"
    inner = outer / "exported"
    inner.mkdir(parents=True)
    for folder in (outer, tmp_path):
        git(folder, "init", "--quiet")
        git(folder, "commit", "--quiet", "--allow-empty", "--message", "first")
    monkeypatch.setattr(paths, "ROOT", inner)
    assert provenance.git_state() == {"commit": None, "dirty": None}
    monkeypatch.setattr(paths, "ROOT", outer)
    own = {"commit": git(outer, "rev-parse", "HEAD"), "dirty": False}
    assert provenance.git_state() == own
    for name, value in {
        "GIT_DIR": tmp_path / ".git",
        "GIT_WORK_TREE": tmp_path,
        "GIT_INDEX_FILE": "x",
    }.items():
        monkeypatch.setenv(name, str(value))
    assert provenance.git_state() == own


def test_another_machine_is_said_where_it_matters():
    """By what of it decides digits: not by its number of cores, nor by what older runs did not record."""
    here = machine.describe(threads=2)
    assert here["threads"] == 2 and here["processor"] and set(machine.DECIDING) < set(here)
    assert (
        machine.differences(here, here)
        == machine.differences({}, here)
        == machine.differences(None, here)
        == ""
    )
    assert machine.differences(here | {"cores": 99}, here) == ""
    assert machine.differences(here | {"threads": 4}, here) == "threads 4, now 2"
    assert machine.differences(here | {"instructions": "avx512_of_tomorrow"}, here).startswith(
        "instructions avx512_of_tomorrow, now "
    )
    assert "processor Abacus, now" in machine.differences(here | {"processor": "Abacus"}, here)


@pytest.mark.parametrize("foreign", [5, "Abacus", ["processor"], None, {"processor": ["Abacus"]}])
def test_what_a_foreign_run_says_of_its_machine_may_be_anything(foreign: object):
    """Two foreign runs are compared with one another, too."""
    here = machine.describe(threads=2)
    said = machine.differences(foreign, here), machine.differences(here, foreign)
    assert all(text.startswith("processor") if isinstance(foreign, dict) else text == "" for text in said)
    assert machine.differences(foreign, foreign) == ""
