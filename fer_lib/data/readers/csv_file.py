"""Reads a CSV file of pixels."""

import codecs
import hashlib
import warnings
from collections.abc import Iterator, Sequence
from functools import cached_property
from io import BufferedReader

import numpy as np

from fer_lib.data.picture import SIDE
from fer_lib.data.readers.source import FER2013_CLASSES, PART_OF, Group, Source
from fer_lib.files import UsageError, open_regular, printable, sha256_of

LARGEST = 500_000 * 9_240  # bytes: half a million images, each a row as long as an honest one can be
MAX_LINE = 1 << 20  # bytes of one row
SHORTEST = 2 * SIDE * SIDE - 1  # bytes of pixels: a digit each and what parts them
MOST_COLUMNS = 100  # that are told apart
# Rows cost their sender SHORTEST bytes each, blank lines one: so there may be as many as rows, and these.
BLANK_LINES = 1000
BYTE_ORDERS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
BLOCK = 1024  # CSV rows collected at a time
COLUMNS = ("emotion", "usage", "pixels")
CODES = {str(code).encode(): name for code, name in enumerate(FER2013_CLASSES)}
USAGES = {usage.encode(): usage for usage in PART_OF}


class Csv(Source):
    """`emotion, Usage, pixels` in any order: Kaggle's `icml_face_data.csv` and `fer2013.csv`, streamed."""

    kind = "csv"
    label = "CSV"

    def rows(self) -> Iterator[tuple[int, str, str, bytes]]:
        """Yield (line, usage, class, pixels as text) of every row; the header is line 1."""
        columns: list[int] = []
        found = 0
        for line, fields in self._lines():
            if not columns:
                columns = self._columns(fields)
            elif fields == [b""]:
                if line > 2 * found + BLANK_LINES:
                    raise UsageError(f"{self.path}: row {line}: {line - 1 - found:,} blank lines; drop them")
            else:
                found += 1
                yield line, *self._row(f"{self.path}: row {line}", fields, columns)
        if not columns:
            raise UsageError(f"{self.path}: an empty file; expected the columns emotion, Usage, pixels")

    def _lines(self) -> Iterator[tuple[int, list[bytes]]]:
        """Yield (line, fields) of every line; the header is line 1."""
        try:
            opened = open_regular(self.path, LARGEST, follow=True)
            with BufferedReader(opened.detach(), 1 << 20) as handle:
                for line, text in enumerate(iter(lambda: handle.readline(MAX_LINE), b""), 1):
                    if line == 1 and (text[:2] in BYTE_ORDERS or text[:2].count(0) == 1):
                        raise UsageError(f"{self.path}: row 1: text in UTF-16; save it as UTF-8")
                    if line == 1 and b"\r" in text.rstrip(b"\r\n"):
                        raise UsageError(f"{self.path}: row 1: lines end with CR; save it with LF or CR LF")
                    if len(text) == MAX_LINE:
                        raise UsageError(f"{self.path}: row {line}: longer than {MAX_LINE} bytes; no FER2013")
                    yield line, [field.strip(b' \t\r\n"') for field in text.split(b",", MOST_COLUMNS)]
        except OSError as error:
            raise UsageError(f"{self.path}: cannot be read ({error.strerror})") from error

    def _columns(self, header: list[bytes]) -> list[int]:
        """Find the columns emotion, usage and pixels."""
        names = [field.decode("utf-8-sig", "replace").strip(' "').lower() for field in header]
        lost = [name for name in COLUMNS if name not in names]
        if lost:
            said = printable(", ".join(names))[:60]
            raise UsageError(
                f"{self.path}: row 1: no column {lost[0]!r} in the header ({said}); "
                "expected emotion, Usage, pixels"
            )
        return [names.index(name) for name in COLUMNS]

    def _row(self, row: str, fields: list[bytes], columns: list[int]) -> tuple[str, str, bytes]:
        """Return (usage, class, pixels as text) of one row."""
        if len(fields) <= max(columns):
            raise UsageError(f"{row}: has {len(fields)} of {max(columns) + 1} columns; restore the row")
        code, usage, pixels = (fields[column] for column in columns)
        if code not in CODES:
            valid = ", ".join(f"{key} {name}" for key, name in enumerate(FER2013_CLASSES))
            raise UsageError(f"{row}: unknown emotion {_short(code)}; valid are {valid}")
        if usage not in USAGES:
            raise UsageError(f"{row}: unknown Usage {_short(usage)}; valid are {', '.join(PART_OF)}")
        if len(pixels) < SHORTEST:
            raise _not_a_face(row, len(pixels.split()))
        return USAGES[usage], CODES[code], pixels

    @cached_property
    def usage_counts(self) -> dict[str, dict[str, int]]:
        """Count the rows by usage and class."""
        counted = {usage: dict.fromkeys(FER2013_CLASSES, 0) for usage in PART_OF}
        for _, usage, name, _ in self.rows():
            counted[usage][name] += 1
        return counted

    def counts(self, part: str) -> dict[str, int]:
        usages = [counts for usage, counts in self.usage_counts.items() if PART_OF[usage] == part]
        summed = {name: sum(counts[name] for counts in usages) for name in FER2013_CLASSES}
        return {name: count for name, count in summed.items() if count}

    @cached_property
    def _file_digest(self) -> str:
        with open_regular(self.path, LARGEST, follow=True) as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()

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
            raise _not_a_face(row, len(values))
        if values.min() < 0 or values.max() > 255:
            bad = values[(values < 0) | (values > 255)][0]
            raise UsageError(f"{row}: pixel value {bad} is outside 0 to 255; restore the row")
        return values.astype(np.uint8)


def _not_a_face(row: str, pixels: int) -> UsageError:
    return UsageError(f"{row}: {pixels:,} pixels, expected {SIDE * SIDE:,} (48x48); restore the row")


def _short(field: bytes) -> str:
    return repr(printable(field[:24].decode("utf-8", "replace")))
