"""The last bound on somebody else's network: an end to the process that opens it.

What a network needs is counted before it is computed, in `cost`. But kernels have moods (a depthwise
convolution in bfloat16 with a kernel of 31 pixels did not end within ten minutes), and no thread of Python
can interrupt them.
"""

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from fer_tools.console import complain
from fer_tools.model_files.inspection import refused

MOST_SECONDS = 15.0  # of processor time; the import of TensorFlow takes 3 to 6, a network of a student 0.2
MOST_MEMORY = 1_600_000_000  # bytes, besides what the process had before
EVERY = 0.02  # seconds


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


def _memory() -> int:
    """Return the bytes of the process that are in memory; 0 if that cannot be told."""
    try:
        with open("/proc/self/statm", "rb") as handle:
            return int(handle.read().split()[1]) * os.sysconf("SC_PAGESIZE")
    except (OSError, ValueError, IndexError):
        return 0


def _end(path: str | Path, reason: str) -> NoReturn:
    complain(str(refused(path, reason)))
    sys.stderr.flush()
    os._exit(2)  # no thread is waited for; what is temporary, the next process removes
