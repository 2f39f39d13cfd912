"""Zip archives and arrays of somebody else's: what they declare of themselves cannot fill the memory."""

import os
import zipfile
from io import BufferedReader
from pathlib import Path

import numpy as np

from fer_lib.files import open_regular

MOST_MEMBERS = 600_000  # of an archive: half a million images, a tenth as many for testing, and folders
LONGEST_DIRECTORY = 256 * MOST_MEMBERS  # bytes; an honest entry has some 120


class _Guarded(BufferedReader):
    """A file of which zipfile, as it opens it, reads no more than the directory of so many members."""

    opening = True

    def read(self, size: int | None = -1) -> bytes:
        # Whatever zipfile takes for the directory it reads at once: no need to find it as zipfile does.
        if self.opening and size is not None and size > LONGEST_DIRECTORY:  # without a size: the comment
            raise zipfile.BadZipFile(f"a directory of more than {LONGEST_DIRECTORY:,} bytes")
        content = super().read(size)
        if self.opening and (members := content.count(b"PK\1\2")) > MOST_MEMBERS:
            raise zipfile.BadZipFile(f"{members:,} members, more than {MOST_MEMBERS:,}")
        return content


class Zip(zipfile.ZipFile):
    """Somebody else's zip archive, opened for reading.

    Parameters
    ----------
    path : path of a file.
    largest : int
        How many bytes it may have.
    follow : bool
        Follow a link; see `files.open_regular`.

    Raises
    ------
    UsageError
        As `files.open_regular` does.
    zipfile.BadZipFile
        Whatever else is wrong with it.
    """

    def __init__(self, path: str | Path, largest: int, follow: bool = False):
        handle = _Guarded(open_regular(path, largest, follow).detach())
        try:
            super().__init__(handle)
        except Exception as error:  # ValueError, struct.error, NotImplementedError, MemoryError ...
            handle.close()
            raise zipfile.BadZipFile(" ".join(str(error).split()) or type(error).__name__) from error
        handle.opening = False

    def close(self) -> None:
        """Close the file, too, which zipfile leaves open where it was given one."""
        handle = self.fp
        super().close()
        if handle:
            handle.close()


def read_arrays(path: str | Path, largest: int) -> dict[str, np.ndarray]:
    """Read what `numpy.savez` wrote; no more memory is taken than the file has bytes.

    Parameters
    ----------
    path : path of an .npz file.
    largest : int
        How many bytes it may have.

    Returns
    -------
    dict of ndarray
        By name; they cannot be written to.

    Raises
    ------
    UsageError
        As `files.open_regular` does.
    ValueError
        If it is damaged, packed, holds objects, or declares more than it has.
    """
    try:
        with Zip(path, largest) as archive:
            members = archive.infolist()
            if sum(member.file_size for member in members) > os.stat(path).st_size:
                raise ValueError("it declares more than it has")  # members lie over each other, or are packed
            return {member.filename.removesuffix(".npy"): _array(archive, member) for member in members}
    except (zipfile.BadZipFile, OSError, EOFError, RuntimeError, NotImplementedError) as error:
        raise ValueError(str(error)) from error


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    if member.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{member.filename} is packed")
    with archive.open(member) as handle:
        if np.lib.format.read_magic(handle) != (1, 0):  # others may have headers of gigabytes
            raise ValueError(f"{member.filename} is of another version")
        try:
            shape, fortran, dtype = np.lib.format.read_array_header_1_0(handle)
        except Exception as error:  # numpy lets through what Python's own parser and tokeniser raise
            raise ValueError(f"{member.filename} has a header that cannot be read") from error
        if dtype.hasobject:
            raise ValueError(f"{member.filename} holds objects, not numbers")
        content = handle.read(member.file_size)
    return np.frombuffer(content, dtype).reshape(shape, order="F" if fortran else "C")
