"""Keep what libraries say at start-up out of sight."""

import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def stderr_to(path: str | Path) -> Iterator[None]:
    """Send standard error, that of libraries in C and of child processes included, to the end of a file."""
    sys.stderr.flush()
    terminal = os.dup(2)
    try:
        with open(path, "ab") as handle:
            os.dup2(handle.fileno(), 2)
        yield
    finally:
        sys.stderr.flush()
        os.dup2(terminal, 2)
        os.close(terminal)


def import_tensorflow() -> None:
    """Import TensorFlow without the lines about absent GPUs that no setting of its own keeps back.

    Looking for garbage among all that is imported, then and ever after, would take a fifth of a small run.
    """
    if "tensorflow" not in sys.modules:
        gc.disable()
        with stderr_to(os.devnull):
            import keras

            keras.random.uniform((1,))  # the first operation looks for devices, and says so
        gc.freeze()
        gc.enable()
