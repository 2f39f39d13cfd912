"""Locks of folders: two processes do not fill the same one, and others can see that one is at work."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from fer_lib.files import UsageError, open_regular

NAME = ".lock"
LARGEST = 2**20  # bytes; we write none
PATIENCE = 1  # seconds; who only asks whether a folder is locked holds its lock for a moment


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Keep two processes from filling the same folder.

    Raises
    ------
    UsageError
        If another does, or the file of the lock is no file.
    """
    path, clock = folder / NAME, time.monotonic()
    if os.path.lexists(path):  # it may be somebody else's: a pipe, a link to a file of ours
        open_regular(path, LARGEST).close()
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)  # not cut to nothing, whatever it is
    with open(os.open(path, flags, 0o666), "rb+", buffering=0) as handle:
        while not lock(handle):
            if time.monotonic() > clock + PATIENCE:
                raise UsageError(f"{folder.name}: another process is filling this folder; wait for it")
            time.sleep(0.05)
        yield


def at_work(folder: Path) -> bool:
    """Return whether a process is filling a folder."""
    if not os.path.lexists(folder / NAME):
        return False
    with open_regular(folder / NAME, LARGEST) as handle:
        return not lock(handle, shared=True)


def lock(handle: IO[Any] | int, shared: bool = False) -> bool:
    """Lock an open file for this process and those that inherit it; return False where others hold it."""
    import fcntl

    try:
        fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
