"""Somebody with settings of their own for everything: a home, a shell, and `fer` in it."""

import json
import os
import sys
from pathlib import Path

from fer_tools import paths

KERNEL = {"argv": ["/bin/false", "{connection_file}"], "display_name": "another's", "language": "python"}
STARTUP = """
import matplotlib, pandas
matplotlib.rcParams.update({"lines.linewidth": 9, "image.origin": "lower", "axes.grid": True})
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


def make_home(folder: Path) -> Path:
    """Write the home of somebody with settings of their own for everything, and return it."""
    files = {
        ".config/matplotlib/matplotlibrc": MATPLOTLIBRC,
        ".ipython/profile_default/startup/00-mine.py": STARTUP,
        ".ipython/profile_default/ipython_kernel_config.py": "c.InteractiveShellApp.exec_lines = ['1 / 0']",
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


def command(*arguments: str) -> list[str]:
    """Return what runs `fer` with the code of this checkout, in an environment of one's own."""
    code = f"import sys; sys.path.insert(0, {str(paths.ROOT)!r}); from fer_tools import commands; "
    code += "sys.exit(commands.main())"
    return [sys.executable, "-c", code, *arguments]
