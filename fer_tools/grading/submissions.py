"""What students handed in: a folder, a zip or loose files each, looked at with bounds and never executed.

Nothing is unpacked but the few files that are graded. No link is followed, no name of an archive becomes a
place on the disk, and one that is hostile is a submission with a reason.
"""

import os
import re
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from fer_lib.archives import Zip
from fer_lib.files import MEGABYTE, UsageError, kind_of, printable, read_regular, sha256_of
from fer_tools.model_files.inspection import LARGEST_FILE, unpacked

MODELS = (".keras", ".h5", ".hdf5")
PAPERS = (".pdf", ".docx", ".odt", ".ipynb", ".md")  # which a person may want to read
MANIFESTS = ("submission.json", "submission.yaml", "submission.yml")
LARGEST_ZIP = 1024 * MEGABYTE
LARGEST_TEXT = MEGABYTE  # of a manifest or a program
MOST_FILES = 50_000  # of a submission; a copy of FER2013 has 36,000
MOST_BYTES = 768 * MEGABYTE  # that are read of a submission
MOST_SUBMISSIONS = 5_000
MOST_ZIPS = 20  # within a submission
MOST_PROGRAMS = 500
MOST_REMARKS = 10
DEEPEST = 20  # folders within each other
HUNDREDFOLD = 200  # what is packed more is a bomb; weights do not shrink by half
# Of programs, and nobody's work.
JUNK = {"__macosx", ".ds_store", "thumbs.db", "desktop.ini", ".lock", ".git", ".gitignore"}
SKIPPED = JUNK | {"node_modules", "venv", "env", "site-packages", "__pycache__"}
# As Canvas names what it downloads: "doejane_LATE_1234_56789_model.keras", of user 1234.
CANVAS = re.compile(r"(?P<who>[^_]+)_(?:LATE_)?(?P<user>\d+)_\d+_(?P<file>.+)", re.DOTALL)


class Unreadable(Exception):
    """A submission, or a file of one, that is not read; says why in one line."""


@dataclass(frozen=True)
class Submission:
    """What lies in the folder of the class for one student.

    Attributes
    ----------
    name : str
        As the teacher knows it: fit for a line.
    key : str
        By what a roster knows the student: an ID or a login.
    canvas : bool
        Whether it is the ID that Canvas gave, and no other.
    paths : tuple of Path
        One, or several loose files.
    """

    name: str
    key: str
    canvas: bool
    paths: tuple[Path, ...]


@dataclass(frozen=True)
class File:
    """A file of a submission.

    Attributes
    ----------
    pieces : tuple of str
        Its folders and its name, as they were found.
    read : callable
        Return its content of at most so many bytes; raises `Unreadable`.
    """

    pieces: tuple[str, ...]
    read: Callable[[int], bytes]

    @property
    def place(self) -> str:
        """Where it is in the submission: fit for a line."""
        return printable("/".join(self.pieces))[:200]

    @property
    def suffix(self) -> str:
        """The ending of its name, in small letters."""
        return os.path.splitext(self.pieces[-1])[1].lower()


@dataclass
class Contents:
    """What was found in a submission that may be graded.

    Attributes
    ----------
    models, programs, manifests : list of File
    papers : list of str
        Where reports may be: the first few.
    files : int
        How many were looked at.
    remarks : list of str
        On what was left out, a line each.
    """

    models: list[File] = field(default_factory=list)
    programs: list[File] = field(default_factory=list)
    manifests: list[File] = field(default_factory=list)
    papers: list[str] = field(default_factory=list)
    files: int = 0
    remarks: list[str] = field(default_factory=list)

    def remark(self, pieces: tuple[str, ...], what: str) -> None:
        """Note what was left out; the first few are enough."""
        if len(self.remarks) < MOST_REMARKS:
            self.remarks.append(f"{printable('/'.join(pieces))[:120]}: {what}")
        elif len(self.remarks) == MOST_REMARKS:
            self.remarks.append("and more of that kind")


def of_class(folder: Path, others: tuple[Path, ...] = ()) -> list[Submission]:
    """List the submissions of a class, in order of their names.

    Parameters
    ----------
    folder : Path
        Of the class.
    others : tuple of Path
        What may lie in it and is none: the roster, the rubric, results.

    Raises
    ------
    UsageError
        If it is no folder, or there are none.
    """
    apart = {os.path.realpath(path) for path in others}
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        raise UsageError(
            f"{folder}: {error.strerror}; give the folder in which a folder or zip a student lies"
        ) from error
    grouped: dict[tuple[str, ...], list[Path]] = {}
    for name in names:
        if name.lower() in JUNK or os.path.realpath(folder / name) in apart:
            continue
        match = CANVAS.fullmatch(name)
        key = (match["who"], match["user"]) if match else (name,)
        grouped.setdefault(key, []).append(folder / name)
    if not grouped or len(grouped) > MOST_SUBMISSIONS:
        raise UsageError(f"{folder}: {len(grouped):,} submissions; 1 to {MOST_SUBMISSIONS:,} are graded")
    return [_submission(key, tuple(found)) for key, found in grouped.items()]


def _submission(key: tuple[str, ...], found: tuple[Path, ...]) -> Submission:
    if len(key) == 2:
        return Submission(printable("_".join(key))[:80], key[1], True, found)
    name, suffix = os.path.splitext(key[0])
    name = name if suffix.lower() in (".zip", *MODELS) else key[0]
    return Submission(printable(name)[:80] or "?", name, False, found)


def opened(submission: Submission, scratch: Path, stack: ExitStack) -> Contents:
    """Look at all that was handed in; what was found can be read until `stack` is closed.

    Parameters
    ----------
    submission : Submission
    scratch : Path
        A folder, into which zips within a zip are unpacked.
    stack : ExitStack

    Raises
    ------
    Unreadable
        If nothing of it can be looked at.
    """
    looking = _Looking(scratch, stack)
    for path in submission.paths:
        match = CANVAS.fullmatch(path.name)
        looking.at(path, match["file"] if match else path.name, alone=len(submission.paths) == 1)
    return looking.found


class _Looking:
    """One walk through a submission, with bounds on all of it together."""

    def __init__(self, scratch: Path, stack: ExitStack) -> None:
        self.found, self.scratch, self.stack = Contents(), scratch, stack
        self.bytes, self.zips = 0, 0

    def at(self, path: Path, name: str, alone: bool) -> None:
        """Look at one of the things that lie in the folder of the class."""
        mode = os.lstat(path).st_mode
        if stat.S_ISDIR(mode):
            self.folder(path)
        elif not stat.S_ISREG(mode):
            raise Unreadable(f"{kind_of(mode)}, neither a folder nor a zip; it was not followed or read")
        elif name.lower().endswith(".zip"):
            self.zip(path, (), self.archive(path))
        else:
            self.take((name,), partial(self.of_disk, path))
            if alone and not (self.found.models or self.found.programs):
                raise Unreadable("a file that is neither a folder nor a zip, nor a model")

    def folder(self, root: Path) -> None:
        """Walk through a folder of the disk."""
        waiting: list[tuple[str, ...]] = [()]
        while waiting:
            pieces = waiting.pop()
            try:
                with os.scandir(os.path.join(root, *pieces)) as entries:
                    inside = sorted(entries, key=lambda entry: entry.name)
            except OSError as error:
                if not pieces:
                    raise Unreadable(f"a folder that cannot be read ({error.strerror})") from error
                self.found.remark(pieces, f"cannot be read ({error.strerror})")
                continue
            for entry in inside:
                here = (*pieces, entry.name)
                self.count(here)
                mode = entry.stat(follow_symlinks=False).st_mode
                if _is_skipped(entry.name):
                    continue
                if stat.S_ISDIR(mode):
                    if len(here) > DEEPEST:
                        self.found.remark(
                            here, f"more than {DEEPEST} folders within each other; not looked at"
                        )
                    else:
                        waiting.append(here)
                elif not stat.S_ISREG(mode):
                    self.found.remark(here, f"{kind_of(mode)}; not followed or read")
                else:
                    self.take(here, partial(self.of_disk, Path(root, *here)))

    def archive(self, path: Path) -> Zip:
        """Open a zip, until all is done."""
        try:
            return self.stack.enter_context(Zip(path, LARGEST_ZIP))
        except (zipfile.BadZipFile, UsageError) as error:
            said = str(error).removeprefix(f"{printable(str(path))}: ")
            raise Unreadable(f"a zip that cannot be read ({said})") from error

    def zip(self, path: Path, before: tuple[str, ...], archive: Zip) -> None:
        """Walk through the directory of a zip."""
        for member in archive.infolist():
            pieces = tuple(p for p in re.split(r"[\\/]", member.filename) if p not in ("", "."))
            here = (*before, *pieces)
            self.count(here)
            if member.is_dir() or not pieces:
                continue
            if ".." in pieces or member.filename.startswith(("/", "\\")) or pieces[0].endswith(":"):
                self.found.remark(here, "its name leads out of the zip; left out")
            elif any(map(_is_skipped, pieces)):
                continue
            elif stat.S_ISLNK(member.external_attr >> 16):
                self.found.remark(here, "a link; not followed")
            elif reason := _unlike_a_file(member):
                self.found.remark(here, reason)
            else:
                self.take(here, partial(self.of_zip, archive, member), nested=bool(before))

    def count(self, pieces: tuple[str, ...]) -> None:
        """Count what was looked at."""
        self.found.files += 1
        if self.found.files > MOST_FILES:
            raise Unreadable(f"more than {MOST_FILES:,} files; hand in only what the assignment asks for")

    def take(self, pieces: tuple[str, ...], read: Callable[[int], bytes], nested: bool = False) -> None:
        """Keep a file that may be graded."""
        file = File(pieces, read)
        if file.suffix in MODELS:
            self.found.models.append(file)
        elif pieces[-1].lower() in MANIFESTS:
            self.found.manifests.append(file)
        elif file.suffix == ".py":
            self.found.programs.append(file)
        elif file.suffix == ".zip":
            self.inner(file, nested)
        elif file.suffix in PAPERS and len(self.found.papers) < MOST_REMARKS:
            self.found.papers.append(file.place)

    def inner(self, file: File, nested: bool) -> None:
        """Look into a zip within a submission; a zip in a zip in a zip is left out."""
        self.zips += 1
        if nested or self.zips > MOST_ZIPS:
            self.found.remark(file.pieces, "a zip too deep within zips, or one too many; not looked into")
            return
        try:
            content = file.read(LARGEST_ZIP)
            path = self.scratch / f"{self.zips}.zip"
            path.write_bytes(content)
            self.zip(path, file.pieces, self.archive(path))
        except Unreadable as error:
            if self.found.files > MOST_FILES:
                raise
            self.found.remark(file.pieces, str(error))

    def spend(self, size: int) -> None:
        """Count bytes that are to be read."""
        self.bytes += size
        if self.bytes > MOST_BYTES:
            raise Unreadable(f"more than {MOST_BYTES // MEGABYTE} MB of models and archives")

    def of_disk(self, path: Path, largest: int) -> bytes:
        """Return the content of a file of the disk."""
        try:
            content = read_regular(path, largest)
        except UsageError as error:
            raise Unreadable(str(error).removeprefix(f"{printable(str(path))}: ")) from error
        self.spend(len(content))
        return content

    def of_zip(self, archive: Zip, member: zipfile.ZipInfo, largest: int) -> bytes:
        """Return the content of a member of a zip."""
        if member.file_size > largest:
            size, most = member.file_size / MEGABYTE, largest / MEGABYTE
            raise Unreadable(f"it would be {size:,.0f} MB, more than the {most:,.0f} that it may have")
        self.spend(member.file_size)
        try:
            return unpacked(archive, member)
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, RuntimeError) as error:
            said = " ".join(str(error).split())[:100] or type(error).__name__
            raise Unreadable(f"damaged within its zip ({printable(said)})") from error


def _is_skipped(name: str) -> bool:
    return name.startswith(".") or name.lower() in SKIPPED


def _unlike_a_file(member: zipfile.ZipInfo) -> str:
    """Say what is wrong with a member of a zip that nobody has to unpack for that."""
    size = member.file_size / MEGABYTE
    if member.flag_bits & 1:
        return "encrypted; left out"
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return "packed in an unusual way; left out"
    if member.file_size > max(MEGABYTE, HUNDREDFOLD * member.compress_size):
        return f"would be {size:,.0f} MB, packed more than {HUNDREDFOLD}-fold: a zip bomb; not unpacked"
    return ""


def digest(file: File) -> str:
    """SHA-256 (hexadecimal) of a file's bytes.

    Raises
    ------
    Unreadable
        As `File.read` does.
    """
    return sha256_of(file.read(LARGEST_FILE))


def programs_with(contents: Contents, text: bytes) -> Iterator[File]:
    """Yield the programs of a submission in which a text stands, those that can be read."""
    for file in contents.programs[:MOST_PROGRAMS]:
        try:
            if text in file.read(LARGEST_TEXT):
                yield file
        except Unreadable as error:
            contents.remark(file.pieces, str(error))
