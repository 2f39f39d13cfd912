"""The last bound on somebody else's network: an end to the process that opens it.

What a network needs is counted before it is computed, in `cost`. But kernels have moods (a depthwise
convolution in bfloat16 with a kernel of 31 pixels did not end within ten minutes), and no thread of Python
can interrupt them.
"""

import os
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NoReturn

from fer_lib.files import complain
from fer_tools.model_files.inspection import refused

MOST_SECONDS = 15.0  # of processor time; the import of TensorFlow takes 3 to 6, a network of a student 0.2
MOST_MEMORY = 1_600_000_000  # bytes, besides what the process had before
EVERY = 0.02  # seconds
_folders: set[str] = set()  # what is removed before the process ends


@contextmanager
def bounded(path: str | Path) -> Iterator[None]:
    """End the process, with one line and exit code 2, if opening a model within takes too much.

    For commands, which have nothing to lose; where there is no /proc, memory is not bounded.
    """
    done = threading.Event()
    clock, memory = time.process_time(), _memory()

    def watch() -> None:
        while not done.wait(EVERY):
            if time.process_time() - clock > MOST_SECONDS:
                _end(path, f"it takes more than {MOST_SECONDS:g} s of processor time")
            if _memory() - memory > MOST_MEMORY:
                _end(path, f"it takes more than {MOST_MEMORY / 1e9:g} GB of memory")

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Yield a folder that is removed at the end, that of the process included."""
    with TemporaryDirectory(prefix="fer-") as folder:
        _folders.add(folder)
        try:
            yield Path(folder)
        finally:
            _folders.discard(folder)


def _memory() -> int:
    """Return the bytes of the process that are in memory; 0 if that cannot be told."""
    try:
        with open("/proc/self/statm", "rb") as handle:
            return int(handle.read().split()[1]) * os.sysconf("SC_PAGESIZE")
    except (OSError, ValueError, IndexError):
        return 0


def _end(path: str | Path, reason: str) -> NoReturn:
    complain(str(refused(path, reason)))
    for folder in list(_folders):
        shutil.rmtree(folder, ignore_errors=True)
    sys.stderr.flush()
    # Another program in its place: no thread of this one is waited for.
    os.execv(sys.executable, [sys.executable, "-I", "-S", "-c", "raise SystemExit(2)"])
