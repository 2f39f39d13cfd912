"""Errors for the reader, and files that are either whole or absent."""

import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import BinaryIO

ROOT = Path(__file__).resolve().parent.parent  # the checkout, or where the package was installed
MEGABYTE = 2**20  # bytes


class UsageError(Exception):
    """A mistake of usage: one line that says what is wrong, where, and what to do.

    The command line prints it without a traceback and exits with code 2.
    """


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` and rename it to `path` on success.

    A reader sees the old file or the new one, never a part; when the body fails, the old file stays
    and the temporary one is removed.

    Raises
    ------
    UsageError
        If the folder cannot be written to or the disk is full.
    """
    path = Path(path)
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # The suffix is kept: some writers (matplotlib, Keras) choose the format by it.
        with NamedTemporaryFile(
            dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix, delete=False
        ) as handle:
            temporary = Path(handle.name)
        yield temporary
        with open(temporary, "rb") as handle:
            os.fsync(handle.fileno())
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except OSError as error:
        raise UsageError(
            f"{path}: cannot be written ({error.strerror or error}); "
            "free some space or choose a folder you may write to"
        ) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def printable(text: str) -> str:
    """Make somebody else's text fit for a line: no line breaks, control or direction characters.

    Blanks of any kind are blanks; joiners within words and emoji stay; what cannot be shown is U+FFFD.
    """
    if text.isprintable():  # nearly always; it is asked of every name of a file
        return text
    return "".join(
        c if c.isprintable() or c in "\u200c\u200d" else " " if c.isspace() else "\N{REPLACEMENT CHARACTER}"
        for c in text
    )


def columns(rows: Sequence[Sequence[str]], align: str) -> list[str]:
    """Set cells as lines of text with aligned columns, two blanks apart.

    Parameters
    ----------
    rows : (n, k) str
    align : (k,) str
        "<" or ">" for each column: to the left or to the right.
    """
    widths = [max(map(len, column), default=0) for column in zip(*rows, strict=True)]
    return [
        "  ".join(f"{c:{a}{w}}" for c, a, w in zip(row, align, widths, strict=True)).rstrip() for row in rows
    ]


def write_text(path: str | Path, text: str) -> None:
    """Write UTF-8 text whole or not at all; see `atomic_path`."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


_KINDS = (
    (stat.S_ISLNK, "a link"),
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
)


def kind_of(mode: int) -> str:
    """Say in words what has a mode of `os.stat`: "a file", "a link", "a folder", "a pipe" ..."""
    if stat.S_ISREG(mode):
        return "a file"
    return next((name for test, name in _KINDS if test(mode)), "a device")


def open_regular(path: str | Path, largest: int, follow: bool = False) -> BinaryIO:
    """Open somebody else's file for reading: the one door for all that come from outside.

    A pipe would block for ever, a device may do anything, a link leads wherever its maker wanted, and a file
    with a hole of a terabyte costs its sender nothing.

    Parameters
    ----------
    path : path of a file.
    largest : int
        How many bytes it may have.
    follow : bool
        Follow a link: for what the user named, not for what stands in a folder of somebody else's.

    Raises
    ------
    UsageError
        In one line: no such file, not readable, not a regular file, or larger than that.
    """
    shown = printable(str(path))
    try:
        _require_regular(shown, os.stat(path, follow_symlinks=follow), largest)
        # Between the two it may be replaced: so no waiting for a pipe, and no link.
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        opened = os.open(path, flags | (0 if follow else getattr(os, "O_NOFOLLOW", 0)))
        try:
            _require_regular(shown, os.fstat(opened), largest)
            return open(opened, "rb")
        except BaseException:
            os.close(opened)
            raise
    except OSError as error:
        raise UsageError(f"{shown}: cannot be read ({error.strerror or error})") from error
    except ValueError as error:  # a null character in its name
        raise UsageError(f"{shown}: cannot be read ({error})") from error


def _require_regular(path: str, status: os.stat_result, largest: int) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise UsageError(f"{path}: {kind_of(status.st_mode)}, not a regular file; remove or replace it")
    if status.st_size > largest:
        size, most = status.st_size / MEGABYTE, largest / MEGABYTE
        raise UsageError(f"{path}: {size:,.0f} MB, more than the {most:,.0f} that such a file may have")


def read_regular(path: str | Path, largest: int, follow: bool = False) -> bytes:
    """Return the content of somebody else's file; see `open_regular`."""
    with open_regular(path, largest, follow) as handle:
        try:
            return handle.read()
        except OSError as error:
            raise UsageError(f"{printable(str(path))}: cannot be read ({error.strerror or error})") from error


def sha256_of(*parts: str | bytes) -> str:
    """SHA-256 (hexadecimal) of parts, each preceded by its length so that none runs into the next."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "big"))
        digest.update(data)
    return digest.hexdigest()


def sha256_of_file(path: str | Path, largest: int | None = None) -> str:
    """SHA-256 (hexadecimal) of a file's bytes; of somebody else's, with `largest`: see `open_regular`."""
    with open(path, "rb") if largest is None else open_regular(path, largest) as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
