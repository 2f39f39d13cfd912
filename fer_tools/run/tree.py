"""A run's folder as it came: folders and regular files, none beyond reason, and nothing that leads elsewhere.

A run may be somebody else's. A link in it would let us read, write or delete at another place, a pipe let us
wait for ever, a file with a hole of a terabyte let us digest for hours.
"""

import os
from pathlib import Path

from fer_lib.files import MEGABYTE, UsageError, kind_of, printable

LARGEST_FILE = 96 * MEGABYTE  # the predictions for half a million images have 66; a checkpoint 0.6
LARGEST_RUN = 16 << 30  # bytes; 10,000 checkpoints of 150,000 parameters have 7
MOST_FILES = 100_000


def require(folder: Path) -> None:
    """Refuse a run with anything in it but folders and regular files, or with more than a run can have.

    Parameters
    ----------
    folder : Path
        Of the run; the file of its chosen model, beside it, is looked at, too. No file is opened.

    Raises
    ------
    UsageError
        Naming what is no file, too large, or in the way.
    """
    waiting, count, total = [folder], 0, 0
    model = folder.with_name(f"{folder.name}.keras")
    try:
        while waiting:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    count += 1
                    total += _size(entry.path, entry.stat(follow_symlinks=False), waiting)
                    if count > MOST_FILES or total > LARGEST_RUN:
                        most = f"{MOST_FILES:,} files and {LARGEST_RUN / MEGABYTE:,.0f} MB"
                        raise UsageError(f"{folder}: not a run (more than {most}); remove what is foreign")
        if os.path.lexists(model):
            _size(str(model), os.lstat(model), [])
    except OSError as error:
        path = printable(str(error.filename))
        raise UsageError(f"{path[:200]}: cannot be read ({error.strerror}); mend or remove it") from error


def _size(path: str, status: os.stat_result, folders: list[Path]) -> int:
    """Return the bytes of a file; none of a folder, which is noted."""
    kind = kind_of(status.st_mode)
    if kind == "a folder":
        folders.append(Path(path))
        return 0
    if kind != "a file":
        raise UsageError(
            f"{printable(path)}: {kind}, and a run has folders and regular files only; remove or replace it"
        )
    if status.st_size > LARGEST_FILE:
        size, most = status.st_size / MEGABYTE, LARGEST_FILE / MEGABYTE
        raise UsageError(
            f"{printable(path)}: {size:,.0f} MB, more than the {most:,.0f} that a file of a run may have; "
            "restore or remove it"
        )
    return status.st_size
