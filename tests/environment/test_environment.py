"""What a user's shell, home, editor and machine bring along reaches no number of a run, and no figure."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from processes import SMALL

from fer_tools import environment, paths
from fer_tools.run import find, machine, provenance
from fer_tools.run.run import Run

MINI = [*SMALL, "-p", "epochs=1"]
KERNEL = {"argv": ["/bin/false", "{connection_file}"], "display_name": "another's", "language": "python"}
STARTUP = """
import matplotlib, pandas
matplotlib.rcParams.update({"lines.linewidth": 9, "image.origin": "lower", "axes.grid": True, "savefig.dpi": 31})
pandas.set_option("display.max_rows", 3, "display.precision", 1, "display.html.border", 7)
import os; os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"
"""
MATPLOTLIBRC = """
image.origin: lower
axes.grid: True
text.usetex: True
axes.facecolor: black
figure.facecolor: black
savefig.facecolor: black
savefig.bbox: tight
svg.fonttype: none
lines.marker: o
axes.prop_cycle: cycler('color', ['ff0000'])
"""
KERAS = {"backend": "theano", "floatx": "float16", "image_data_format": "channels_first", "epsilon": 0.5}
SHELL = {
    "KERAS_BACKEND": "theano",
    "KERAS_MAX_EPOCHS": "0",
    "KERAS_MAX_STEPS_PER_EPOCH": "1",
    "TF_ENABLE_ONEDNN_OPTS": "0",
    "TF_XLA_FLAGS": "--tf_xla_auto_jit=2 --tf_xla_cpu_global_jit",
    "TF2_BEHAVIOR": "0",
    "ONEDNN_MAX_CPU_ISA": "SSE41",
    "DNNL_MAX_CPU_ISA": "SSE41",
    "NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4",
    "OPENBLAS_CORETYPE": "Nehalem",
    "OPENBLAS_NUM_THREADS": "7",
    "PYTHONHASHSEED": "5",
    "PYTHONOPTIMIZE": "2",
    "PYTHONWARNINGS": "error",
    "PYTHONSAFEPATH": "1",
    "PYTHONIOENCODING": "ascii",
    "MPLBACKEND": "svg",
    "LC_ALL": "C",
    "GIT_CEILING_DIRECTORIES": "/",
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the home of somebody with settings of their own for everything."""
    folder = tmp_path_factory.mktemp("home")
    files = {
        ".config/matplotlib/matplotlibrc": MATPLOTLIBRC,
        ".ipython/profile_default/startup/00-mine.py": STARTUP,
        ".ipython/profile_default/ipython_kernel_config.py": "c.InteractiveShellApp.exec_lines = ['epochs = 7']",
        ".keras/keras.json": json.dumps(KERAS),
        ".local/share/jupyter/kernels/python3/kernel.json": json.dumps(KERNEL),
        "jupyter/kernels/python3/kernel.json": json.dumps(KERNEL),
        ".local/share/pandoc/default.csl": "not a style",
        ".pandoc/default.csl": "not a style",
        "bin/pandoc": "#!/bin/sh\necho pandoc 99.9\n",
        "modules/seaborn.py": "raise SystemExit('of somebody else')",
        "modules/sitecustomize.py": "import builtins; builtins.round = lambda *_: 7",
        "modules/secrets.py": "raise SystemExit('of somebody else')",
        ".gitconfig": "[core]\n\tautocrlf = true\n\tfsmonitor = /bin/false\n[alias]\n\tstatus = !false\n",
    }
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    (folder / "bin/pandoc").chmod(0o755)
    return folder


def fer(variables: dict[str, str], *arguments: str, cwd: Path = paths.ROOT) -> subprocess.CompletedProcess:
    """Run `fer` with the code of this checkout, in an environment of one's own."""
    code = f"import sys; sys.path.insert(0, {str(paths.ROOT)!r}); from fer_tools.commands import main; sys.exit(main())"
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, env=variables, cwd=cwd, capture_output=True, text=True, check=False)


def plain(results: Path) -> dict[str, str]:
    """Return what a shell without settings of anybody has."""
    cache = os.environ["FER_CACHE"]
    return {
        "PATH": os.defpath,
        "FER_RESULTS": str(results),
        "FER_CACHE": cache,
        "TF_NUM_INTRAOP_THREADS": "1",
    }


def lavish(results: Path, home: Path) -> dict[str, str]:
    """Return what the shell of somebody with settings for everything has."""
    return SHELL | plain(results) | {
        "PATH": f"{home / 'bin'}{os.pathsep}{os.defpath}",
        "HOME": str(home),
        "MATPLOTLIBRC": str(home / ".config/matplotlib/matplotlibrc"),
        "MPLCONFIGDIR": str(home / ".config/matplotlib"),
        "IPYTHONDIR": str(home / ".ipython"),
        "JUPYTER_PATH": str(home / "jupyter"),
        "KERAS_HOME": str(home / ".keras"),
        "XDG_DATA_HOME": str(home / ".local/share"),
        "PYTHONPATH": str(home / "modules"),
    }  # fmt: skip


@pytest.fixture(scope="module")
def runs(home: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """Give the same run and report, executed in a plain environment and in a lavish one."""
    made = {}
    for name in ("plain", "lavish"):
        results = tmp_path_factory.mktemp(name)
        variables = plain(results) if name == "plain" else lavish(results, home)
        done = fer(variables, "run", *MINI, "--report")
        assert done.returncode == 0, done.stderr
        (path,) = (entry for entry in results.iterdir() if entry.is_dir())
        made[name] = Run(path)
    return made


def recorded(run: Run) -> dict[str, str]:
    """Return the digests of what notebooks wrote, and of the report."""
    entries = run.document["stages"].values()
    written = {key: digest for entry in entries for key, digest in entry["outputs"].items()}
    return written | {name: run.digest(name) for name in ("report.pdf", "report.tex")}


@pytest.mark.slow
def test_a_lavish_home_and_shell_change_no_byte(runs: dict[str, Run]):
    """Figures, tables, history, weights, metrics and the report: the same in both."""
    ours, theirs = (recorded(run) for run in (runs["plain"], runs["lavish"]))
    assert [key for key in ours | theirs if ours.get(key) != theirs.get(key)] == []
    assert sum(key.startswith("figures/") for key in ours) > 20


@pytest.mark.slow
def test_the_record_is_the_same_too(runs: dict[str, Run]):
    """Settings did not reach the kernels: neither record speaks of any."""
    stages = [
        {name: entry["machine"] for name, entry in run.document["stages"].items()} for run in runs.values()
    ]
    assert stages[0] == stages[1] and {entry["settings"] for entry in stages[0].values()} == {""}
    assert {entry["threads"] for entry in stages[0].values()} == {1}
    assert runs["plain"].document["git"] == runs["lavish"].document["git"]
