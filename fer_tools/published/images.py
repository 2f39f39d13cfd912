"""The published images of FER2013, one by one: which of them a file is.

`fer2013.images.npz` holds the name, class and beginning of the SHA-256 of every image of Training and
PublicTest; `fer_tools/published/make.py` writes it. Of PrivateTest, which is kept aside, it holds none.
"""

import zipfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Set
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fer_lib.data.readers.source import FER2013_CLASSES, PART_OF
from fer_lib.files import UsageError

IMAGES = Path(__file__).with_name("fer2013.images.npz")
PREFIX = 8  # bytes of a SHA-256
DEVIATIONS = ("altered", "misplaced", "renamed", "foreign")
KINDS = ("as published", *DEVIATIONS, "not compared", "missing")  # see `published.Verdict`


class Published(NamedTuple):
    """A published image."""

    usage: str
    label: str
    stem: str  # <usage>_<id>: the name of its file without .jpg
    digest: bytes  # (PREFIX,)


class Found(NamedTuple):
    """An image file of a copy."""

    part: str
    label: str
    name: str
    sha256: str

    @property
    def stem(self) -> str:
        """Its name without the suffix."""
        return self.name.rpartition(".")[0]

    @property
    def usage(self) -> str:
        """The usage in its name, or else its part."""
        usage = self.name.partition("_")[0]
        return usage if usage in PART_OF else self.part

    @property
    def in_its_part(self) -> bool:
        """Whether its name has a usage, and that of its part."""
        return PART_OF.get(self.usage) == self.part


class Table:
    """Published images by name and by content. Neither is unique: FER2013 has images twice."""

    def __init__(self, images: Iterable[Published] = ()):
        self.images = list(images)
        self.usages = {image.usage for image in self.images}
        self._named, self._same = defaultdict(list), defaultdict(list)
        for image in self.images:
            self._named[image.stem].append(image)
            self._same[image.digest].append(image)

    def identify(self, found: Found) -> tuple[str, list[Published]]:
        """Return the kind of a file, one of `KINDS`, and the published images that it may be."""

        def here(image: Published) -> bool:
            return PART_OF[image.usage] == found.part and image.label == found.label

        if found.usage in PART_OF and found.usage not in self.usages:
            in_place = found.in_its_part and found.label in FER2013_CLASSES
            return ("not compared" if in_place else "misplaced"), []
        same = self._same.get(bytes.fromhex(found.sha256[: 2 * PREFIX]), [])
        both = [image for image in same if f"{image.stem}.jpg" == found.name]
        for kind, images in (("as published", both), ("renamed", same)):
            if images:
                in_place = [image for image in images if here(image)]
                return (kind, in_place) if in_place else ("misplaced", images)
        named = sorted(self._named.get(found.stem, []), key=here, reverse=True)
        return ("altered" if named else "foreign"), named

    def missing(
        self, identified: Iterable[tuple[Found, list[Published]]], whole: Set[tuple[str, str]]
    ) -> Iterator[Published]:
        """Give the images that no file is: none has the name, and none with another name has the bytes.

        Parameters
        ----------
        identified : iterable of (Found, list of Published)
            Files, and the images that each may be.
        whole : set of (usage, class)
            Groups of which all images are there.
        """
        seen: set[Published] = set()
        contents: Counter[bytes] = Counter()
        for found, images in identified:
            if named := [image for image in images if image.stem == found.stem]:
                seen.add(next((image for image in named if image not in seen), named[0]))
            elif images:
                contents[images[0].digest] += 1
        for image in self.images:
            if (image.usage, image.label) in whole or image in seen:
                continue
            if not contents[image.digest]:
                yield image
            contents[image.digest] -= contents[image.digest] > 0


def read() -> Table:
    """Read the table.

    Raises
    ------
    UsageError
        If it is missing or damaged.
    """
    try:
        with np.load(IMAGES, allow_pickle=False) as arrays:
            return Table(_images(arrays))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise UsageError(f"{IMAGES}: cannot be read ({error}); restore it or install fer_lab anew") from error


def _images(arrays: Mapping[str, np.ndarray]) -> Iterator[Published]:
    for usage in PART_OF:
        if f"{usage}_ids" in arrays:
            labels = np.repeat(FER2013_CLASSES, arrays[f"{usage}_counts"]).tolist()
            digests = map(bytes, arrays[f"{usage}_sha256"])
            for label, number, digest in zip(labels, arrays[f"{usage}_ids"].tolist(), digests, strict=True):
                yield Published(usage, label, f"{usage}_{number}", digest)
