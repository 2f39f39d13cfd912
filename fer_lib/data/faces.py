"""Faces with labels, and the names that classes may have."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fer_lib.files import UsageError, printable

if TYPE_CHECKING:
    import pandas as pd

DEFAULT_CLASSES = ("neutral", "happy", "surprise")  # labels 0, 1, 2
LONGEST_NAME = 60  # characters of a class
RESERVED = ("total", "name", "label", "predicted")  # rows and columns that tables have beside the classes


@dataclass(frozen=True, eq=False)
class FaceDataset:
    """Images with labels.

    Attributes
    ----------
    images : (n, 48, 48) uint8
        Grey values, 0 black to 255 white.
    labels : (n,) int64
        Index into `classes`.
    classes : tuple of str
        Class names in the order asked for.
    names : (n,) str
        Where each image came from: "train/happy/Training_1.jpg", "icml_face_data.csv:17" (line of the file).
    factors : pandas.DataFrame or None
        What each bundled face was rendered from, row i for image i; None for photographs.
    """

    images: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]
    names: np.ndarray
    factors: "pd.DataFrame | None" = None

    def __len__(self) -> int:
        return len(self.images)

    def counts(self) -> dict[str, int]:
        """Count the images of each class, in class order."""
        counted = np.bincount(self.labels, minlength=len(self.classes))
        return dict(zip(self.classes, counted.tolist(), strict=True))

    def take(self, index: np.ndarray) -> "FaceDataset":
        """Return the images at `index` ((m,) int, or (n,) bool), in that order."""
        factors = None if self.factors is None else self.factors.iloc[index].reset_index(drop=True)
        return FaceDataset(self.images[index], self.labels[index], self.classes, self.names[index], factors)

    def pixel_digests(self) -> np.ndarray:
        """Return the SHA-256 of each image's pixels, (n,) hexadecimal bytes: equal pixels, equal digest."""
        return pixel_digests(self.images)


def can_be_class(name: str) -> bool:
    """Return whether a class may have a name: folders, tables and the command line have to hold it."""
    return (
        0 < len(name) <= LONGEST_NAME
        and name == printable(name).strip()
        and name[0] != "."
        and not set(name) & set("/\\,")
        and name not in RESERVED
    )


def check_classes(classes: Sequence[str]) -> tuple[str, ...]:
    """Return the classes as a tuple.

    Raises
    ------
    UsageError
        If they are not two or more different names, or one cannot be a class; see `can_be_class`.
    """
    expected = "expected two or more different names of classes, such as neutral, happy, surprise"
    if isinstance(classes, str) or not all(isinstance(name, str) for name in classes):
        raise UsageError(f"classes: {expected}, not {classes!r}")
    for name in classes:
        if not can_be_class(name):
            raise UsageError(f"classes: {expected}; {name[:LONGEST_NAME]!r} cannot be one")
        if list(classes).count(name) > 1:
            raise UsageError(f"classes: {expected}; {name!r} is named twice")
    if len(classes) < 2:
        raise UsageError(f"classes: {expected}, not {len(classes)}")
    return tuple(classes)


def pixel_digests(images: np.ndarray) -> np.ndarray:
    """Return the SHA-256 of each image's pixels, (n,) hexadecimal bytes."""
    return np.array([hashlib.sha256(row).hexdigest() for row in images.reshape(len(images), -1)], "S64")
