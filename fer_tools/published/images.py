"""The published images of FER2013, one by one: which of them a file is.

`fer2013.images.npz` holds the name, class and beginning of the SHA-256 of every image of Training and
PublicTest; `fer_tools/published/make.py` writes it. Of PrivateTest, which is kept aside, it holds none.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Set
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fer_lib.archives import read_arrays
from fer_lib.data.readers.source import FER2013_CLASSES, PART_OF
from fer_lib.files import MEGABYTE, UsageError

IMAGES = Path(__file__).with_name("fer2013.images.npz")
LARGEST = 8 * MEGABYTE  # of that file; it has 0.4
PREFIX = 8  # bytes of a SHA-256
DEVIATIONS = ("altered", "misplaced", "renamed", "foreign")
KINDS = ("as published", *DEVIATIONS, "not compared", "missing")  # see `verdict.Verdict`


class Image(NamedTuple):
    """An image file, of a copy or published."""

    part: str
    label: str
    name: str  # published: <usage>_<id>.jpg
    sha256: str  # hexadecimal; published: its first PREFIX bytes
    place: str = ""  # of a copy: where it lies

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

    def __init__(self, images: Iterable[Image] = ()):
        self.images = list(images)
        self.uncompared = PART_OF.keys() - {image.usage for image in self.images}  # usages
        self._named, self._same = defaultdict(list), defaultdict(list)
        for image in self.images:
            self._named[image.stem].append(image)
            self._same[image.sha256].append(image)
        self._seen: set[Image] = set()
        self._contents: Counter[str] = Counter()  # of files under other names

    def identify(self, found: Image) -> tuple[str, list[Image]]:
        """Return the kind of a file, one of `KINDS`, and the published images that it may be.

        One of these is not `missing` from then on.
        """
        kind, images = self._look_up(found)
        if named := [image for image in images if image.stem == found.stem]:
            self._seen.add(next((image for image in named if image not in self._seen), named[0]))
        elif images:
            self._contents[images[0].sha256] += 1
        return kind, images

    def _look_up(self, found: Image) -> tuple[str, list[Image]]:
        def here(image: Image) -> bool:
            return image.part == found.part and image.label == found.label

        if found.usage in self.uncompared:
            in_place = found.in_its_part and found.label in FER2013_CLASSES
            return ("not compared" if in_place else "misplaced"), [found._replace(part=PART_OF[found.usage])]
        same = self._same.get(found.sha256[: 2 * PREFIX], [])
        both = [image for image in same if image.name == found.name]
        if images := both or same:
            in_place = list(filter(here, images))
            kind = "misplaced" if not in_place else "as published" if both else "renamed"
            return kind, in_place or images
        named = sorted(self._named.get(found.stem, []), key=here, reverse=True)
        return ("altered" if named else "foreign"), named

    def missing(self, whole: Set[tuple[str, str]]) -> Iterator[Image]:
        """Yield the images that no file is: none has the name, and none with another name has the bytes.

        Parameters
        ----------
        whole : set of (usage, class)
            Groups of which all images are there.
        """
        contents = self._contents.copy()
        for image in self.images:
            if (image.usage, image.label) not in whole and image not in self._seen:
                contents[image.sha256] -= 1
                if contents[image.sha256] < 0:
                    yield image


def read_table() -> Table:
    """Read the table.

    Raises
    ------
    UsageError
        If it is missing or damaged.
    """
    try:
        return Table(_images(read_arrays(IMAGES, LARGEST)))
    except (UsageError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{IMAGES}: cannot be read ({error}); restore it or install fer_lab anew") from error


def _images(arrays: Mapping[str, np.ndarray]) -> Iterator[Image]:
    for usage in PART_OF:
        if f"{usage}_ids" in arrays:
            counts, numbers, digests = (arrays[f"{usage}_{what}"] for what in ("counts", "ids", "sha256"))
            labels = np.repeat(FER2013_CLASSES, counts).tolist()
            for label, number, digest in zip(labels, numbers.tolist(), digests, strict=True):
                yield Image(PART_OF[usage], label, f"{usage}_{number}.jpg", bytes(digest).hex())
