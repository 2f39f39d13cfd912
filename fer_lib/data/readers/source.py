"""What every reader of faces has in common: parts, classes, groups of images and their digests."""

import difflib
import hashlib
import os
import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from fer_lib.data.faces import can_be_class
from fer_lib.data.picture import SIDE, decode_image
from fer_lib.files import UsageError, printable

# FER2013's codes 0 to 6. They come first wherever classes are put in order, and their places seed the draw of
# a sample: samples drawn before other classes were known stay what they were.
FER2013_CLASSES = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
PART_OF = {"Training": "train", "PublicTest": "test", "PrivateTest": "test"}  # FER2013's usages
MOST_CLASSES = 1000
MOST_NAMED = 5  # of what stands where something else was expected
# Names that a part may have, the usual first; in any case.
PARTS = {"train": ("train",), "test": ("test", "validation", "val", "valid")}
PART_NAMES = {name for names in PARTS.values() for name in names}


def in_order(classes: Iterable[str]) -> tuple[str, ...]:
    """Return those that can be classes in their order: FER2013's first, in theirs, then others by name.

    Raises
    ------
    UsageError
        If there are too many: each is counted, digested and cached by itself.
    """
    different = set(filter(can_be_class, classes))
    if len(different) > MOST_CLASSES:
        raise UsageError(
            f"data: {len(different):,} folders of classes, more than {MOST_CLASSES:,}; give a set in which "
            "each class has one folder with all of its images"
        )
    known = [name for name in FER2013_CLASSES if name in different]
    return (*known, *sorted(different.difference(known)))


def parts_of(there: Iterable[str]) -> dict[str, str]:
    """Return the parts among the names of folders, and what each is called: {"train": "train", ...}.

    "train/train", as some programs unpack an archive, is the training part where "train" is none.
    """
    there = sorted(there, key=lambda name: (len(name), name.swapcase()))  # at first the usual ones
    found = {
        part: [name for usual in named for name in there if name.lower().split("/")[0] == usual]
        for part, named in PARTS.items()
    }
    return {part: names[0] for part, names in found.items() if names}


def listed(names: Iterable[str]) -> str:
    """Name some of what there is: "Happy, Sad and 3 more"."""
    names = sorted(map(printable, names))
    more = [f"{len(names) - MOST_NAMED:,} more"] if len(names) > MOST_NAMED else []
    return " and ".join([", ".join(names[:MOST_NAMED]), *more]) or "nothing"


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
    kinds : (n,) str
        What each file holds; see `picture.decode_picture`. Empty where an image is no file.
    """

    names: np.ndarray
    images: np.ndarray
    digest: str
    kinds: Sequence[str] = ()


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
    def classes(self) -> tuple[str, ...]:
        """The classes that it has: FER2013's first, in their order, then others by name."""
        return FER2013_CLASSES

    @cached_property
    def parts(self) -> dict[str, str]:
        """The parts that exist, and what each is called in the source: {"train": "train", "test": "test"}."""
        return {"train": "train", "test": "test"}

    def counts(self, part: str) -> dict[str, int]:
        """Count the images of every class that has any."""
        raise NotImplementedError

    def stamps(self, part: str, classes: Sequence[str]) -> dict[str, str]:
        """Return a text by class that changes whenever the content may have changed; no content is read.

        Its first line is the place that images are named by.
        """
        try:
            status = os.stat(self.path)
        except OSError as error:
            raise UsageError(f"{self.path}: cannot be read ({error.strerror})") from error
        key = (os.path.abspath(self.path), status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        place = f"{self.kind}/{self.parts.get(part, part)}"
        return {name: f"{place}/{self.folder_of(part, name)}\n{key!r}" for name in classes}

    def digest(self, part: str, name: str) -> str:
        """Digest the content of one class without decoding it; the same as `Group.digest`."""
        raise NotImplementedError

    def read(self, part: str, classes: Sequence[str]) -> Iterator[tuple[str, Group]]:
        """Decode the classes one after the other."""
        raise NotImplementedError

    def folder_of(self, part: str, name: str) -> str:
        """Return what the source calls a class in one part."""
        return name

    def inside(self, part: str) -> list[str]:
        """Name what stands where a part, or its classes, should be."""
        folder = self.path / self.parts.get(part, "")
        return os.listdir(folder) if folder.is_dir() else list(self.parts.values())

    def missing(self, part: str, name: str) -> UsageError:
        """Make the error for a class without images, or a part that does not exist."""
        there = list(self.counts(part))
        advice = ", ".join(there) or f"none; there are {listed(self.inside(part))}; give other data"
        if near := difflib.get_close_matches(name.lower(), there, 1):
            advice += f"; is {near[0]!r} meant? rename it"
        if len(there) > 1:
            advice += f"; choose with -p {shlex.quote('classes=' + ','.join(there))}"
        return UsageError(f"{self.path}: no {part} images of class {name!r}; classes with images: {advice}")


class ImageFiles(Source):
    """What an image folder and an archive of it have in common."""

    def members(self, part: str, name: str) -> list[tuple[str, object]]:
        """List (file name, handle to read it by), sorted by name; empty where there is no such class."""
        raise NotImplementedError

    def content(self, member: object, where: str) -> bytes:
        """Read one file."""
        raise NotImplementedError

    def where(self, part: str, name: str, file: str) -> str:
        return printable(f"{self.parts.get(part, part)}/{name}/{file}")

    def folder_of(self, part: str, name: str) -> str:
        """Return the folder of a class: of its name or, if there is just one, "Happy" or FER2013's code 3."""
        if self.members(part, name):
            return name
        there = list(self.counts(part))
        coded = name in FER2013_CLASSES and set(there) <= set("0123456")
        code = str(FER2013_CLASSES.index(name)) if coded else name
        same = [other for other in there if other.lower() == name.lower() or other == code]
        return same[0] if len(same) == 1 else name

    def counts(self, part: str) -> dict[str, int]:
        counted = {name: len(self.members(part, name)) for name in self.classes}
        return {name: count for name, count in counted.items() if count}

    def hashes(self, part: str, name: str) -> Iterator[tuple[str, str]]:
        """Yield (file name, sha256 of the bytes) of every image."""
        for file, member in self.members(part, name):
            yield file, hashlib.sha256(self.content(member, self.where(part, name, file))).hexdigest()

    def digest(self, part: str, name: str) -> str:
        return files_digest(f"{file} {value}\n" for file, value in self.hashes(part, name))

    def read(self, part: str, classes: Sequence[str]) -> Iterator[tuple[str, Group]]:
        for name in classes:
            folder = self.folder_of(part, name)
            members = self.members(part, folder)
            if not members:
                raise self.missing(part, name)
            images = np.empty((len(members), SIDE, SIDE), np.uint8)
            names, lines, kinds = [], [], []
            for i, (file, member) in enumerate(members):
                names.append(self.where(part, folder, file))
                content = self.content(member, names[-1])
                lines.append(f"{file} {hashlib.sha256(content).hexdigest()}\n")
                images[i], kind = decode_image(content, str(self.path / names[-1]))
                kinds.append(kind)
            yield name, Group(np.array(names), images, files_digest(lines), kinds)
