"""Reads the bundled faces."""

import csv
import hashlib
import io
import json
from collections.abc import Iterator, Sequence
from functools import cached_property

import numpy as np
from PIL import Image

from fer_lib.data.picture import SIDE
from fer_lib.data.readers.source import Group, Source, in_order
from fer_lib.files import MEGABYTE, UsageError, printable, read_regular, sha256_of

LARGEST = 64 * MEGABYTE  # of its files; train.png has 16


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

    def file(self, name: str) -> bytes:
        """Read one of the files."""
        return read_regular(self.path / name, LARGEST, follow=True)

    @cached_property
    def _index(self) -> dict:
        """What `digests.json` says, once the files it guards have been found whole."""
        try:
            index = json.loads(self.file("digests.json"))
            for name in ("train.png", "test.png", "factors.csv"):
                if hashlib.sha256(self.file(name)).hexdigest() != index["files"][name]:
                    raise ValueError(f"{name} is cut short or altered")
            for part in ("train", "test"):
                numbers = (
                    index["splits"][part]["images"],
                    index["columns"],
                    len(bytes.fromhex(index["splits"][part]["pixels"])),
                )
                if not all(isinstance(number, int) and number > 0 for number in numbers):
                    raise ValueError(f"impossible numbers {numbers}")
        except (UsageError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise self.broken("digests.json", error) from error
        return index

    @cached_property
    def rows(self) -> list[tuple[str, int, str]]:
        """(part, index, class) of the rows of `factors.csv`: all of train in order, then all of test."""
        images = {part: self._index["splits"][part]["images"] for part in self.parts}  # checks the files
        try:
            table = csv.DictReader(io.StringIO(self.file("factors.csv").decode(), newline=""))
            rows = [(row["split"], int(row["index"]), row["label"]) for row in table]
            for part, index, _ in rows:
                if not 0 <= index < images.get(part, 0):
                    raise ValueError(f"no image {index} in {part!r}")
            if len({row[:2] for row in rows}) < len(rows):
                raise ValueError("an image occurs twice")
        except (ValueError, KeyError, TypeError, csv.Error) as error:
            raise self.broken("factors.csv", error) from error
        return rows

    @cached_property
    def classes(self) -> tuple[str, ...]:
        return in_order(label for _, _, label in self.rows)

    def _of(self, part: str, name: str) -> list[int]:
        return [index for split, index, label in self.rows if split == part and label == name]

    def counts(self, part: str) -> dict[str, int]:
        counted = {name: len(self._of(part, name)) for name in self.classes}
        return {name: count for name, count in counted.items() if count}

    def digest(self, part: str, name: str) -> str:
        index = self._index
        return sha256_of(index["splits"][part]["pixels"], index["files"]["factors.csv"], part, name)

    def read(self, part: str, classes: Sequence[str]) -> Iterator[tuple[str, Group]]:
        total, columns = self._index["splits"][part]["images"], self._index["columns"]
        try:
            image = Image.open(io.BytesIO(self.file(f"{part}.png")), formats=("PNG",))
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
