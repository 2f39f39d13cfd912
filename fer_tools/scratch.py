"""Temporary files and folders: removed when done with, or by a later process where theirs was killed."""

import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fer_lib.files import UsageError
from fer_tools import locks

PREFIX = "fer-lab-"
LEAST = 1 << 16  # bytes; a disk with less is full


@contextmanager
def folder() -> Iterator[Path]:
    """Make a temporary folder, and remove it in the end; also those of this user whose process was killed.

    It is locked as long as its process lives. The system forgets the lock of a process that was killed.

    Raises
    ------
    UsageError
        Instead of whatever else went wrong, if its disk is full.
    """
    remove_abandoned()
    made = Path(tempfile.mkdtemp(prefix=f".{PREFIX}"))
    path = made.with_name(made.name.removeprefix("."))
    with locks.exclusive(made):
        made.rename(path)  # only now others look at it
        try:
            yield path
        except (OSError, UsageError) as error:
            if shutil.disk_usage(path).free < LEAST:  # whatever it is that this looks like
                raise UsageError(
                    f"{path.parent}: no space is left for temporary files; make some, or set TMPDIR to a "
                    "folder that has more"
                ) from error
            raise
        finally:
            _remove(path)


def kept(path: Path, purpose: str) -> Path:
    """Take a temporary folder out of those that are removed; return where it is from now on."""
    name = path.name.removeprefix(PREFIX)
    (path / locks.NAME).unlink(missing_ok=True)
    return path.rename(path.with_name(f"fer-{purpose}-{name}"))


def remove_abandoned() -> None:
    """Remove temporary folders of this user whose processes are no more."""
    for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with suppress(OSError, UsageError):  # another process removes it, too
            status = os.lstat(path)
            own = stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid()
            if own and (path / locks.NAME).exists() and not locks.at_work(path):
                _remove(path)


def _remove(path: Path) -> None:
    """Remove a folder, its lock last: what cannot be removed yet is found again."""
    with suppress(OSError):
        for entry in path.iterdir():
            if entry.name == locks.NAME:
                continue
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                entry.unlink()
        if not [entry for entry in path.iterdir() if entry.name != locks.NAME]:
            shutil.rmtree(path, ignore_errors=True)


# As `atomic_path` names it: the stem, and eight characters of the tempfile module's.
_TEMPORARY = re.compile(r"\.(?P<stem>.*)-[a-z0-9_]{8}(\.[^.]*)?")


def remove_leftovers(*places: Path) -> None:
    """Remove temporary files that `atomic_path` could not remove because its process was killed.

    Parameters
    ----------
    *places : Path
        Folders, in which and below which all are removed, and files, of which their own are.
    """
    for place in places:
        folder = place.is_dir()
        for path in place.rglob(".*") if folder else place.parent.glob(".*"):
            match = _TEMPORARY.fullmatch(path.name)
            if match and (folder or match["stem"] == place.stem) and path.is_file():
                path.unlink(missing_ok=True)
