"""Readers of the four layouts: an image folder, a zip of it, a CSV of pixels, the bundled faces.

Every reader gives, for one part ("train" or "test") and one class, a `Group`: names, 48x48 grey images and a
digest of the content. The order within a group never depends on the file system: images of folders and
archives are sorted by file name (code points), rows of a CSV keep their order, bundled faces that of index.
"""

import hashlib
import io
import json
import os
import re
import stat
import warnings
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from fer_lib.files import UsageError, printable, sha256_of, sha256_of_file

ALL_CLASSES = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")  # FER2013's codes 0 to 6
PART_OF = {"Training": "train", "PublicTest": "test", "PrivateTest": "test"}  # FER2013's usages
SIDE = 48  # pixels
MAX_SIDE = 4096  # pixels; no photograph of one face needs more
MAX_BYTES = 64 << 20  # of one image file
MAX_ARCHIVE_BYTES = 16 << 30  # of all members of an archive, unpacked
MAX_LINE = 1 << 20  # bytes of one CSV row; an honest one has 9,240 at most
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp")
CSV_NAMES = ("icml_face_data.csv", "fer2013.csv")
BLOCK = 1024  # CSV rows collected at a time


@dataclass(frozen=True, eq=False)
class Group:
    """The images of one class in one part.

    Attributes
    ----------
    names : (n,) str
        Where each image came from.
    images : (n, 48, 48) uint8
    digest : str
        SHA-256 of the content; for image files over the sorted lines `<file name> <sha256 of the bytes>`.
    converted : int
        How many images were not 48x48 8-bit grey and had to be converted.
    """

    names: np.ndarray
    images: np.ndarray
    digest: str
    converted: int = 0


def decode_image(content: bytes, where: str) -> tuple[np.ndarray, bool]:
    """Decode one JPEG, PNG or BMP image.

    48x48 8-bit grey is taken as it is. Anything else is converted: colour to grey by ITU-R 601 luma
    (transparency is ignored), 16 bits to 8 by scaling, other sizes to 48x48 with bilinear interpolation (the
    aspect is not kept).

    Returns
    -------
    (48, 48) uint8, and whether the image had to be converted.

    Raises
    ------
    UsageError
        If it is empty, damaged, not an image or absurdly large; names `where`.
    """
    if not content:
        raise UsageError(f"{where}: an empty file (0 bytes); restore or remove it")
    if len(content) > MAX_BYTES:
        raise UsageError(
            f"{where}: larger than {MAX_BYTES >> 20} MiB; no image of a face needs that, remove it"
        )
    try:
        image = Image.open(io.BytesIO(content), formats=("JPEG", "PNG", "BMP"))
        if max(image.size) > MAX_SIDE:
            size = f"{image.width}x{image.height}"
            raise UsageError(
                f"{where}: {size} pixels, more than {MAX_SIDE} a side; scale it down or remove it"
            )
        image.load()
        if image.mode == "L" and image.size == (SIDE, SIDE):
            return np.asarray(image), False
        if image.mode.startswith("I"):  # 16 bits: 65,535 is white
            image = Image.fromarray((np.asarray(image).clip(0, 65535) / 257 + 0.5).astype(np.uint8))
        elif image.mode != "L":
            image = image.convert("RGB").convert("L")
        if image.size != (SIDE, SIDE):
            image = image.resize((SIDE, SIDE), Image.Resampling.BILINEAR)
        return np.asarray(image), True
    except UsageError:
        raise
    except UnidentifiedImageError as error:
        raise UsageError(f"{where}: not a JPEG, PNG or BMP image; restore or remove it") from error
    except Exception as error:  # Pillow raises anything from OSError to struct.error for a damaged file
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UsageError(f"{where}: a damaged image ({reason}); restore or remove it") from error


def files_digest(lines: Iterable[str]) -> str:
    r"""Digest of a group of files: SHA-256 over the sorted lines `<file name> <sha256 of the bytes>\n`."""
    return hashlib.sha256("".join(sorted(lines)).encode("utf-8", "surrogateescape")).hexdigest()


@dataclass(frozen=True)
class Source:
    """Data opened for reading; `path` is the folder or file."""

    path: Path
    kind = ""
    label = ""  # how `describe` calls it

    @cached_property
    def parts(self) -> dict[str, str]:
        """The parts that exist, and what each is called in the source: {"train": "train", "test": "test"}."""
        return {"train": "train", "test": "test"}

    def counts(self, part: str) -> dict[str, int]:
        """Count the images of every class that has any."""
        raise NotImplementedError

    def stamps(self, part: str, classes: Sequence[str]) -> dict[str, str]:
        """Give a text by class that changes whenever the content may have changed; no content is read."""
        try:
            status = os.stat(self.path)
        except OSError as error:
            raise UsageError(f"{self.path}: cannot be read ({error.strerror})") from error
        key = (os.path.abspath(self.path), status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        return {name: repr((self.kind, *key, part, name)) for name in classes}

    def digest(self, part: str, name: str) -> str:
        """Digest the content of one class without decoding it; the same as `Group.digest`."""
        raise NotImplementedError

    def read(self, part: str, classes: Sequence[str]) -> Iterator[tuple[str, Group]]:
        """Decode the classes one after the other."""
        raise NotImplementedError

    def missing(self, part: str, name: str) -> UsageError:
        """Make the error for a class without images, or a part that does not exist."""
        there = ", ".join(self.counts(part)) or f"none of {', '.join(ALL_CLASSES)}"
        return UsageError(f"{self.path}: no {part} images of class {name!r}; classes with images: {there}")


class _Files(Source):
    """What an image folder and an archive of it have in common."""

    def members(self, part: str, name: str) -> list[tuple[str, object]]:
        """List (file name, handle to read it by), sorted by name; empty where there is no such class."""
        raise NotImplementedError

    def content(self, member: object, where: str) -> bytes:
        """Read one file."""
        raise NotImplementedError

    def where(self, part: str, name: str, file: str) -> str:
        return printable(f"{self.parts.get(part, part)}/{name}/{file}")

    def counts(self, part: str) -> dict[str, int]:
        counted = {name: len(self.members(part, name)) for name in ALL_CLASSES}
        return {name: count for name, count in counted.items() if count}

    def hashes(self, part: str, name: str) -> Iterator[tuple[str, str]]:
        """Give (file name, sha256 of the bytes) of every image."""
        for file, member in self.members(part, name):
            yield file, hashlib.sha256(self.content(member, self.where(part, name, file))).hexdigest()

    def digest(self, part: str, name: str) -> str:
        return files_digest(f"{file} {value}\n" for file, value in self.hashes(part, name))

    def read(self, part: str, classes: Sequence[str]) -> Iterator[tuple[str, Group]]:
        for name in classes:
            members = self.members(part, name)
            if not members:
                raise self.missing(part, name)
            images = np.empty((len(members), SIDE, SIDE), np.uint8)
            names, lines, converted = [], [], 0
            for i, (file, member) in enumerate(members):
                names.append(self.where(part, name, file))
                content = self.content(member, names[-1])
                lines.append(f"{file} {hashlib.sha256(content).hexdigest()}\n")
                images[i], changed = decode_image(content, str(self.path / names[-1]))
                converted += changed
            yield name, Group(np.array(names), images, files_digest(lines), converted)


class Folder(_Files):
    """`train|test/<class>/<image>`; `train|validation` too, with validation as the test part."""

    kind = "folder"
    label = "image folder"

    @cached_property
    def parts(self) -> dict[str, str]:
        second = [name for name in ("test", "validation") if (self.path / name).is_dir()]
        return {"train": "train", "test": second[0]} if second else {"train": "train"}

    def members(self, part: str, name: str) -> list[tuple[str, object]]:
        if part not in self.parts:
            return []
        folder = self.path / self.parts[part] / name
        found = []
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.name.startswith(".") or not entry.name.lower().endswith(SUFFIXES):
                        continue  # .DS_Store, Thumbs.db, ._x.jpg and their like
                    found.append((entry.name, entry))
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise UsageError(f"{folder}: cannot be read ({error.strerror})") from error
        return sorted(found, key=lambda item: item[0])

    def _status(self, entry: os.DirEntry) -> os.stat_result:
        try:
            status = entry.stat()
        except OSError as error:  # a broken or circular link
            raise UsageError(f"{printable(entry.path)}: cannot be read ({error.strerror})") from error
        if not stat.S_ISREG(status.st_mode):  # a pipe would block for ever
            raise UsageError(f"{printable(entry.path)}: not a regular file; remove it")
        return status

    def content(self, member: os.DirEntry, where: str) -> bytes:
        self._status(member)
        try:
            with open(member.path, "rb", buffering=0) as handle:
                return handle.read(MAX_BYTES + 1)
        except OSError as error:
            raise UsageError(f"{printable(member.path)}: cannot be read ({error.strerror})") from error

    def stamps(self, part: str, classes: Sequence[str]) -> dict[str, str]:
        stamps = {}
        for name in classes:
            digest = hashlib.sha256(os.fsencode(os.path.abspath(self.path)))
            members = self.members(part, name)
            if not members:
                raise self.missing(part, name)
            for file, entry in members:
                status = self._status(entry)
                key = (file, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
                digest.update(repr(key).encode())
            stamps[name] = f"{self.parts[part]}/{name} {digest.hexdigest()}"
        return stamps


class Archive(_Files):
    """A zip of an image folder, read in place: nothing is unpacked to disk."""

    kind = "zip"
    label = "archive of image folders"

    @cached_property
    def _zip(self) -> zipfile.ZipFile:
        try:
            return zipfile.ZipFile(self.path)
        except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError) as error:
            raise UsageError(
                f"{self.path}: not a readable zip archive ({error}); download it again"
            ) from error

    @cached_property
    def _tree(self) -> dict[tuple[str, str], list[tuple[str, object]]]:
        """Members by (name of the part, class), of the outermost folder that holds `train`."""
        trees: dict[tuple[str, ...], dict] = {}
        seen, size = set(), 0
        for info in self._zip.infolist():
            where = f"{self.path}: member {printable(info.filename)!r}"
            pieces = re.split(r"[/\\]", info.filename)
            if pieces[0] == "" or ".." in pieces or ":" in pieces[0]:
                raise UsageError(f"{where} points outside the archive; do not use this archive")
            if info.flag_bits & 1:
                raise UsageError(f"{where} is encrypted; unpack the archive with its password first")
            ratio = info.file_size / max(info.compress_size, 1)
            size += info.file_size
            if size > MAX_ARCHIVE_BYTES or (info.file_size > 1 << 20 and ratio > 200):
                raise UsageError(f"{where} unpacks to an absurd size (a zip bomb?); do not use this archive")
            wanted = (
                len(pieces) > 2
                and pieces[-3] in ("train", "test", "validation")
                and pieces[-2] in ALL_CLASSES
            )
            if not wanted or pieces[0] == "__MACOSX" or pieces[-1].startswith("."):
                continue
            if not pieces[-1].lower().endswith(SUFFIXES):
                continue
            if info.filename in seen:
                raise UsageError(f"{where} occurs twice; unpack the archive and check it")
            seen.add(info.filename)
            tree = trees.setdefault(tuple(pieces[:-3]), {})
            tree.setdefault((pieces[-3], pieces[-2]), []).append((pieces[-1], info))
        roots = sorted((root for root, tree in trees.items() if any(k[0] == "train" for k in tree)), key=len)
        if not roots:
            raise UsageError(
                f"{self.path}: no train/<class>/ folders inside; unpack it, or give another archive"
            )
        if len(roots) > 1 and len(roots[0]) == len(roots[1]):
            both = " and ".join("/".join((*root, "train")) for root in roots[:2])
            raise UsageError(f"{self.path}: holds both {both}; unpack it and name one")
        return trees[roots[0]]

    @cached_property
    def parts(self) -> dict[str, str]:
        second = [name for name in ("test", "validation") if any(k[0] == name for k in self._tree)]
        return {"train": "train", "test": second[0]} if second else {"train": "train"}

    def members(self, part: str, name: str) -> list[tuple[str, object]]:
        found = self._tree.get((self.parts.get(part, ""), name), [])
        return sorted(found, key=lambda item: item[0])

    def content(self, member: zipfile.ZipInfo, where: str) -> bytes:
        try:
            with self._zip.open(member) as handle:
                return handle.read(MAX_BYTES + 1)
        except Exception as error:  # zlib.error, BadZipFile, RuntimeError, NotImplementedError, EOFError ...
            raise UsageError(
                f"{self.path}: member {where!r} is damaged ({error}); download it again"
            ) from error


class Csv(Source):
    """`emotion, Usage, pixels` in any order: Kaggle's `icml_face_data.csv` and `fer2013.csv`, streamed."""

    kind = "csv"
    label = "CSV"

    def rows(self) -> Iterator[tuple[int, str, str, bytes]]:
        """Give (line, usage, class, pixels as text) of every row; the header is line 1."""
        codes = {str(code).encode(): name for code, name in enumerate(ALL_CLASSES)}
        usages = {usage.encode(): usage for usage in PART_OF}
        columns: list[int] = []
        try:
            with open(self.path, "rb", buffering=1 << 20) as handle:
                for line, text in enumerate(iter(lambda: handle.readline(MAX_LINE), b""), 1):
                    row = f"{self.path}: row {line}"
                    if len(text) == MAX_LINE:
                        raise UsageError(f"{row}: longer than {MAX_LINE} bytes; not a FER2013 CSV")
                    fields = [field.strip(b' \t\r\n"') for field in text.split(b",")]
                    if not columns:
                        names = [field.decode("utf-8-sig", "replace").strip(' "').lower() for field in fields]
                        lost = [name for name in ("emotion", "usage", "pixels") if name not in names]
                        if lost:
                            header = printable(", ".join(names))[:60]
                            raise UsageError(
                                f"{row}: no column {lost[0]!r} in the header ({header}); "
                                "expected emotion, Usage, pixels"
                            )
                        columns = [names.index(name) for name in ("emotion", "usage", "pixels")]
                        continue
                    if fields == [b""]:
                        continue
                    if len(fields) <= max(columns):
                        raise UsageError(
                            f"{row}: has {len(fields)} of {max(columns) + 1} columns; restore the row"
                        )
                    code, usage, pixels = (fields[column] for column in columns)
                    if code not in codes:
                        valid = ", ".join(f"{key} {name}" for key, name in enumerate(ALL_CLASSES))
                        raise UsageError(f"{row}: unknown emotion {_short(code)}; valid are {valid}")
                    if usage not in usages:
                        raise UsageError(
                            f"{row}: unknown Usage {_short(usage)}; valid are {', '.join(PART_OF)}"
                        )
                    yield line, usages[usage], codes[code], pixels
        except OSError as error:
            raise UsageError(f"{self.path}: cannot be read ({error.strerror})") from error
        if not columns:
            raise UsageError(f"{self.path}: an empty file; expected the columns emotion, Usage, pixels")

    @cached_property
    def usage_counts(self) -> dict[str, dict[str, int]]:
        """Count the rows by usage and class."""
        counted = {usage: dict.fromkeys(ALL_CLASSES, 0) for usage in PART_OF}
        for _, usage, name, _ in self.rows():
            counted[usage][name] += 1
        return counted

    def counts(self, part: str) -> dict[str, int]:
        usages = [counts for usage, counts in self.usage_counts.items() if PART_OF[usage] == part]
        summed = {name: sum(counts[name] for counts in usages) for name in ALL_CLASSES}
        return {name: count for name, count in summed.items() if count}

    @cached_property
    def _file_digest(self) -> str:
        return sha256_of_file(self.path)

    def digest(self, part: str, name: str) -> str:
        return sha256_of(self._file_digest, part, name)

    def read(self, part: str, classes: Sequence[str]) -> Iterator[tuple[str, Group]]:
        blocks: dict[str, list[np.ndarray]] = {name: [] for name in classes}
        lines: dict[str, list[int]] = {name: [] for name in classes}
        for line, usage, name, pixels in self.rows():
            if PART_OF[usage] != part or name not in blocks:
                continue
            place = len(lines[name]) % BLOCK
            if place == 0:
                blocks[name].append(np.empty((BLOCK, SIDE, SIDE), np.uint8))
            blocks[name][-1][place] = self._pixels(pixels, line).reshape(SIDE, SIDE)
            lines[name].append(line)
        for name in classes:
            if not lines[name]:
                raise self.missing(part, name)
            images = np.empty((len(lines[name]), SIDE, SIDE), np.uint8)
            for start in range(0, len(images), BLOCK):
                images[start : start + BLOCK] = blocks[name].pop(0)[: len(images) - start]  # frees as it goes
            names = np.array([f"{printable(self.path.name)}:{line}" for line in lines[name]])
            yield name, Group(names, images, self.digest(part, name))

    def _pixels(self, text: bytes, line: int) -> np.ndarray:
        row = f"{self.path}: row {line}"
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", DeprecationWarning)  # older NumPy only warns at a non-number
                values = np.fromstring(text, dtype=np.int64, sep=" ")
        except (ValueError, DeprecationWarning) as error:
            bad = next((word for word in text.split() if not word.lstrip(b"-").isdigit()), b"")
            raise UsageError(f"{row}: pixel {_short(bad)} is not a whole number; restore the row") from error
        if len(values) != SIDE * SIDE:
            raise UsageError(
                f"{row}: {len(values):,} pixels, expected {SIDE * SIDE:,} (48x48); restore the row"
            )
        if values.min() < 0 or values.max() > 255:
            bad = values[(values < 0) | (values > 255)][0]
            raise UsageError(f"{row}: pixel value {bad} is outside 0 to 255; restore the row")
        return values.astype(np.uint8)


def _short(field: bytes) -> str:
    return repr(printable(field[:24].decode("utf-8", "replace")))


class Bundled(Source):
    """The rendered faces of the repository: one sheet of 48x48 tiles a part, and a table of factors."""

    kind = "bundled"
    label = "bundled faces"

    def broken(self, name: str, reason: object) -> UsageError:
        """Make the error for a file that is whole by its digest, and yet not what it should be."""
        reason = " ".join(printable(str(reason)).split())[:200]
        return UsageError(
            f"{self.path / name}: not as the bundled faces are made ({reason}); "
            f"restore it with `git checkout -- {self.path}`"
        )

    @cached_property
    def _index(self) -> dict:
        """What `digests.json` says, once the files it guards have been found whole."""
        restore = f"restore it with `git checkout -- {self.path}`"
        try:
            index = json.loads((self.path / "digests.json").read_text(encoding="utf-8"))
            for name in ("train.png", "test.png", "factors.csv"):
                if sha256_of_file(self.path / name) != index["files"][name]:
                    raise UsageError(f"{self.path / name}: cut short or altered; {restore}")
            for part in ("train", "test"):
                numbers = (
                    index["splits"][part]["images"],
                    index["columns"],
                    len(bytes.fromhex(index["splits"][part]["pixels"])),
                )
                if not all(isinstance(number, int) and number > 0 for number in numbers):
                    raise ValueError(f"impossible numbers {numbers}")
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise UsageError(f"{self.path}: the bundled faces are incomplete; {restore}") from error
        return index

    @cached_property
    def rows(self) -> list[tuple[str, int, str]]:
        """(part, index, class) of the rows of `factors.csv`: all of train in order, then all of test."""
        import csv

        images = {part: self._index["splits"][part]["images"] for part in self.parts}  # checks the files
        try:
            with open(self.path / "factors.csv", encoding="utf-8", newline="") as handle:
                rows = [(row["split"], int(row["index"]), row["label"]) for row in csv.DictReader(handle)]
            for part, index, _ in rows:
                if not 0 <= index < images.get(part, 0):
                    raise ValueError(f"no image {index} in {part!r}")
            if len({row[:2] for row in rows}) < len(rows):
                raise ValueError("an image occurs twice")
        except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
            raise self.broken("factors.csv", error) from error
        return rows

    def _of(self, part: str, name: str) -> list[int]:
        return [index for split, index, label in self.rows if split == part and label == name]

    def counts(self, part: str) -> dict[str, int]:
        counted = {name: len(self._of(part, name)) for name in ALL_CLASSES}
        return {name: count for name, count in counted.items() if count}

    def digest(self, part: str, name: str) -> str:
        return sha256_of(
            self._index["splits"][part]["pixels"], self._index["files"]["factors.csv"], part, name
        )

    def read(self, part: str, classes: Sequence[str]) -> Iterator[tuple[str, Group]]:
        total, columns = self._index["splits"][part]["images"], self._index["columns"]
        try:
            image = Image.open(self.path / f"{part}.png", formats=("PNG",))
            if image.mode != "L" or image.size != (columns * SIDE, -(-total // columns) * SIDE):
                raise UsageError(f"{self.path / 'digests.json'}: does not describe {part}.png; restore both")
            sheet = np.asarray(image)  # (rows * 48, columns * 48)
        except UsageError:
            raise
        except Exception as error:  # as in `decode_image`
            raise self.broken(f"{part}.png", error) from error
        tiles = sheet.reshape(-1, SIDE, columns, SIDE).swapaxes(1, 2).reshape(-1, SIDE, SIDE)[:total]
        for name in classes:
            index = self._of(part, name)
            if not index:
                raise self.missing(part, name)
            names = np.array([f"bundled/{part}/{i}" for i in index])
            yield name, Group(names, tiles[index], self.digest(part, name))


def find(path: Path) -> Source | None:
    """Recognise what a folder or file is; a folder wins over a CSV, and that over a single archive."""
    if path.is_file():
        return {".csv": Csv, ".zip": Archive}.get(path.suffix.lower(), lambda _: None)(path)
    try:
        if (path / "train").is_dir():
            return Folder(path)
        for name in CSV_NAMES:
            if (path / name).is_file():
                return Csv(path / name)
        archives = sorted(file for file in path.glob("*.zip") if file.is_file())
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from error
    if len(archives) > 1:
        raise UsageError(f"{path}: holds {len(archives)} archives; name one, such as {archives[0]}")
    return Archive(archives[0]) if archives else None
