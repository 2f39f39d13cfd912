"""The environment of every kernel and tool: what a user's shell, home and editor bring along stays outside.

Few variables are kept; the home is an empty folder, so that there are no dotfiles; a kernel is this Python.
`python -m fer_tools.environment MODULE ...` is `python -m MODULE ...` in it, for the tests.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import fer_lib
from fer_lib.files import ROOT
from fer_tools import paths, scratch

# What TensorFlow shares an operation out to, how many operations it does at once, and numpy's BLAS.
THREADS = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS")
# How programs and their libraries are found, and who and where one is.
_MACHINE = ("PATH", "LD_LIBRARY_PATH", "LD_PRELOAD", "DYLD_LIBRARY_PATH", "USER", "LOGNAME", "TZ")
_OURS = ("FER_", "FER2013_DIR")  # and all that begin with it
# Beside these, what `fer` itself may need: a terminal, a browser, a home, the way to the internet.
_TERMINAL = ("TERM", "COLUMNS", "LINES", "NO_COLOR", "LANG", "LC_ALL", "LC_CTYPE", "SHELL")
_DESKTOP = ("HOME", "XDG_CACHE_HOME", "DISPLAY", "WAYLAND_DISPLAY", "XDG_RUNTIME_DIR", "BROWSER")
_INTERNET = ("http_proxy", "https_proxy", "no_proxy", "all_proxy", "ssl_cert_file", "ssl_cert_dir", "kaggle_")
_HARMLESS = ("PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE", "PYTHONIOENCODING", "PYTHONUTF8")
_PLACES = ("FER_RESULTS", "FER_CACHE", "FER2013_DIR")
# They decide what numpy computes, or with how many threads, in a kernel that somebody else started.
_NUMERICAL = ("NPY_", "OPENBLAS_", "GOTO_", "MKL_", "OMP_", "VECLIB_", "BLIS_")


def of_tool(home: str | Path = os.devnull) -> dict[str, str]:
    """Return the environment of a kernel or tool.

    Parameters
    ----------
    home : str or Path
        Its home; by default there is none.

    Returns
    -------
    dict
        Value by name, for `subprocess`.
    """
    from fer_lib.data import cache  # numpy, which commands import when its settings are those of here

    found = _kept()
    if not found.get("FER_CACHE"):
        folder = str(cache.folder())  # somebody without a home has "~" for it
        found["FER_CACHE"] = str(Path(home) / "cache") if folder.startswith("~") else os.path.abspath(folder)
    found |= {
        "HOME": str(home),
        "TMPDIR": tempfile.gettempdir(),  # which may be another than the one asked for
        "MPLCONFIGDIR": os.path.join(found["FER_CACHE"], "matplotlib"),  # its list of fonts takes seconds
        "JUPYTER_PATH": os.path.join(home, "jupyter"),
        "LC_ALL": "C.UTF-8",
        "PYTHONUTF8": "1",
        "PYTHONNOUSERSITE": "1",
    }
    if paths.in_checkout():  # the code that is running now, wherever an installation leads
        found["PYTHONPATH"] = str(ROOT)
    return found


def _kept(*names: str, families: tuple[str, ...] = ()) -> dict[str, str]:
    """Return the variables that every process of ours has, and those named; places are whole paths."""
    names = {*_MACHINE, *THREADS, *fer_lib.SETTINGS, *names}
    found = {
        name: value
        for name, value in os.environ.items()
        if name in names or name.startswith(_OURS) or name.lower().startswith(families)
    }
    return found | {name: _whole(found[name]) for name in _PLACES if found.get(name)}


def _whole(path: str) -> str:
    """Return a path that means the same in every folder; one in the home of nobody stays what it is."""
    expanded = os.path.expanduser(path)
    return expanded if expanded.startswith("~") else os.path.abspath(expanded)


@contextmanager
def for_kernels(folder: Path, module: str = "ipykernel_launcher") -> Iterator[None]:
    """Let kernels be started in the environment of tools, with a home in a temporary folder.

    Jupyter takes the first `python3` on its path: it is this Python, whatever kernels a user has.

    Parameters
    ----------
    folder : Path
    module : str
        What is run as a kernel.
    """
    home = folder / "home"
    specification = home / "jupyter" / "kernels" / "python3"
    specification.mkdir(parents=True)
    argv = [sys.executable, "-m", module, "-f", "{connection_file}"]
    content = {"argv": argv, "display_name": "Python 3", "language": "python"}
    own = home / "tmp"  # TensorFlow leaves things behind
    own.mkdir()
    (specification / "kernel.json").write_text(json.dumps(content), encoding="utf-8")
    with replaced(of_tool(home) | {"TMPDIR": str(own)}):
        yield


@contextmanager
def of_commands() -> Iterator[None]:
    """Leave outside what would reach into the numbers of `fer` itself."""
    with replaced(_kept(*_TERMINAL, *_DESKTOP, "TMPDIR", families=_INTERNET)):
        yield


def restart_without_settings_of_python() -> None:
    """Begin this process anew, as it was called, if variables have led Python elsewhere.

    By then it may have executed modules of somebody else's, or make errors of warnings.
    """
    found = {name: value for name, value in os.environ.items() if name.startswith("PYTHON")}
    wanted = {name: value for name, value in found.items() if name in _HARMLESS}
    wanted |= {"PYTHONPATH": str(ROOT), "PYTHONNOUSERSITE": "1"}
    if found.items() - wanted.items():
        others = {name: value for name, value in os.environ.items() if name not in found}
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], others | wanted)


@contextmanager
def replaced(variables: Mapping[str, str]) -> Iterator[None]:
    """Have these environment variables and no others for a while."""
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def variable(name: str, value: str) -> Iterator[None]:
    """Set one environment variable for a while."""
    with replaced(os.environ | {name: value}):
        yield


def foreign_settings() -> dict[str, str]:
    """Return the variables that decide numbers in this process, and that `of_tool` would have taken away."""
    return {
        name: value[:100]
        for name, value in sorted(os.environ.items())
        if name.startswith(_NUMERICAL) and name not in THREADS
    }


def main(arguments: list[str]) -> int:
    """Run a module in the environment of tools, and return its exit code."""
    with scratch.folder() as folder, for_kernels(folder):
        return subprocess.run([sys.executable, "-m", *arguments], check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
