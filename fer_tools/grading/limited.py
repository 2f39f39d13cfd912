"""A process for what opens somebody else's file: bounded in time, memory and files, and without a network.

`python -m fer_tools.grading.limited COMMAND ...` is `fer COMMAND ...` that has bounded itself first.
"""

import ctypes
import os
import resource
import runpy
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from fer_lib.files import UsageError, read_regular
from fer_tools import environment

SECONDS = 120  # of processor time; a network of a student takes 10
PATIENCE = 600  # seconds by the clock, for a machine that does much else
MEMORY = 8 << 30  # bytes of addresses, of which TensorFlow takes more than it uses
LARGEST_FILE = 300 << 20  # bytes; a copy of the largest model, and the cache of decoded images
LARGEST_OUTPUT = 4 << 20  # bytes
NICE = 10
ISOLATED = ("unshare", "--user", "--map-root-user", "--net")  # a network of its own: none
PR_SET_PDEATHSIG = 1  # of Linux: end with the process that started this one

_running: set[subprocess.Popen] = set()
_lock = threading.Lock()


@dataclass(frozen=True)
class Ended:
    """How a process ended.

    Attributes
    ----------
    code : int or None
        Its exit code; None, if it was ended from outside.
    output : bytes
    why : str
        Why it was ended, or what it said last.
    """

    code: int | None
    output: bytes
    why: str


@cache
def without_network() -> bool:
    """Return whether this system lets a user start a process that has no network."""
    try:
        return (
            subprocess.run([*ISOLATED, "true"], env=environment.of_tool(), capture_output=True).returncode
            == 0
        )
    except OSError:
        return False


def run(arguments: list[str], folder: Path) -> Ended:
    """Run `fer` in a limited process with a folder of its own, and end whatever it has started.

    Parameters
    ----------
    arguments : list of str
        Of `fer`.
    folder : Path
        Where it is, and its home.
    """
    home = folder / "home"
    (home / "tmp").mkdir(parents=True)
    command = [sys.executable, "-m", "fer_tools.grading.limited", str(os.getpid()), *arguments]
    variables = environment.of_tool(home) | {
        "TMPDIR": str(home / "tmp"),
        "PYTHONDONTWRITEBYTECODE": "1",
        environment.THREADS[0]: "1",  # others are at work on the other cores
    }
    with open(home / "output", "wb") as output, open(home / "errors", "wb") as errors, _lock:
        process = subprocess.Popen(
            [*(ISOLATED if without_network() else ()), *command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
            cwd=folder,
            env=variables,
            start_new_session=True,
        )
        _running.add(process)
    late = False
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        late = True
    finally:
        with _lock:
            _end(process)
            _running.discard(process)
    return _ended(process.returncode, late, home)


def _ended(code: int, late: bool, home: Path) -> Ended:
    if late:
        return Ended(None, b"", f"it took more than {PATIENCE} s")
    if code in (-signal.SIGXCPU, -signal.SIGKILL):
        return Ended(None, b"", f"it took more than {SECONDS} s of processor time, or too much memory")
    try:
        output = read_regular(home / "output", LARGEST_OUTPUT)
        errors = read_regular(home / "errors", LARGEST_FILE)[-10_000:]
    except UsageError as error:
        return Ended(None, b"", str(error))
    lines = errors.decode(errors="replace").strip().splitlines() or [""]
    if code < 0:
        return Ended(None, b"", f"the process that opened it was ended by signal {-code}")
    return Ended(code, output, lines[-1].removeprefix("fer: ")[:300])


def end_all() -> None:
    """End all processes that are running, with what they have started."""
    with _lock:
        for process in _running:
            _end(process)


def _end(process: subprocess.Popen) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)  # it leads its group, which outlives it
    process.wait()


def bound(parent: int) -> None:
    """Bound this process for good, and have it end when the one that started it does."""
    for what, most in (
        (resource.RLIMIT_CPU, SECONDS),
        (resource.RLIMIT_AS, MEMORY),
        (resource.RLIMIT_FSIZE, LARGEST_FILE),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(what)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        with suppress(ValueError, OSError):  # macOS has no bound of addresses
            resource.setrlimit(what, (most, most))
    os.nice(NICE)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it has ended already
            os._exit(1)


if __name__ == "__main__":
    bound(int(sys.argv[1]))
    sys.argv = ["fer", *sys.argv[2:]]
    runpy.run_module("fer_tools", run_name="__main__")
