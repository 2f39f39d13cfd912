"""`fer` as a process of its own, watched from outside."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from fer_tools import paths
from fer_tools.run.run import Run

SMALL = ["--preset", "smoke", "-p", "train_samples=60", "-p", "epochs=3", "-p", "batch_size=16"]


def command(results: Path, *arguments: object) -> dict:
    """Return what `subprocess` needs to run `fer` in a process group of its own."""
    return {
        "args": [sys.executable, "-m", "fer_tools", *map(str, arguments)],
        "cwd": paths.ROOT,
        "env": os.environ
        | {"FER_RESULTS": str(results), "PYTHONUNBUFFERED": "1", "TF_NUM_INTRAOP_THREADS": "1"},
        "text": True,
        "start_new_session": True,
        # A shell ignores Ctrl-C on behalf of what it runs in the background, this session perhaps.
        "preexec_fn": lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    }


@contextmanager
def one_core() -> Iterator[None]:
    """Give what is started one core: Section 8 trains in a process a core, and each starts TensorFlow."""
    every = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {sorted(every)[os.getpid() % len(every)]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, every)


def fer(results: Path, *arguments: object) -> subprocess.CompletedProcess:
    """Run `fer` to its end."""
    return subprocess.run(**command(results, *arguments), capture_output=True, check=False)


def descendants(pid: int) -> list[int]:
    """Processes that a process has started, and those that they have: kernels have their own sessions."""
    parents = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            child, rest = status.read_text().split(" (", 1)
        except OSError:  # it has just ended
            continue
        parents[int(child)] = int(rest.rpartition(")")[2].split()[1])
    found = [child for child, parent in parents.items() if parent == pid]
    return found + [grandchild for child in found for grandchild in descendants(child)]


def alive(pids: list[int]) -> list[int]:
    """Those of the processes that still run (a zombie does not)."""
    states = {pid: Path(f"/proc/{pid}/stat") for pid in pids}
    return [pid for pid, file in states.items() if file.exists() and ") Z " not in file.read_text()]


def wait_for(condition: Callable[[], object], process: subprocess.Popen | None = None) -> None:
    """Wait as long as the process goes on; generous, because the machine may be busy."""
    deadline = time.monotonic() + 1800
    while not condition():
        assert time.monotonic() < deadline and (process is None or process.poll() is None)
        time.sleep(0.05)


def begun(results: Path, *arguments: object, **other: object) -> tuple[subprocess.Popen, Run]:
    """Start `fer`, with `other` given to `Popen`; return when it has said which run it fills."""
    piped = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen(**command(results, *arguments) | other, **piped)
    lines = map(Path, (line.rstrip("\n") for line in process.stdout))
    return process, Run(next(path for path in lines if path.is_dir()))  # remarks on data may come before
