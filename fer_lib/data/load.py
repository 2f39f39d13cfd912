"""Loading faces from wherever they are.

`data` is always "bundled" (the rendered faces of this repository), "fer2013" (found by itself: the
environment variable FER2013_DIR, then `data/fer2013`), or a path: an image folder `train|test/<class>/`,
`icml_face_data.csv`, `fer2013.csv`, a zip of such a folder, or a folder that holds one of these.
"""

import os
from collections import Counter
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from fer_lib.data import cache, split
from fer_lib.data.faces import DEFAULT_CLASSES, FaceDataset, check_classes, pixel_digests
from fer_lib.data.picture import SIDE
from fer_lib.data.readers import find
from fer_lib.data.readers.bundled import Bundled
from fer_lib.data.readers.source import Group, Source, listed
from fer_lib.data.split import Split
from fer_lib.files import ROOT, UsageError, sha256_of

Data = str | Path | Source
FLAT = 8  # grey values: the range within an image that shows nothing


def resolve(data: Data) -> Source:
    """Find what `data` means and open it.

    Returns
    -------
    Source
        With `kind` ("folder", "csv", "zip" or "bundled") and `path`.

    Raises
    ------
    UsageError
        If there is nothing, nothing known, or more than one thing at `data`.
    """
    if isinstance(data, Source):
        return data
    if data == "bundled":
        return Bundled(ROOT / "data" / "bundled")
    path = _fer2013() if data == "fer2013" else Path(os.path.expanduser(data))
    if not os.path.exists(path):  # Path.exists raises at names that are too long
        raise UsageError(f"{path}: no such file or folder; give bundled, fer2013 or the path of a data set")
    source = find(path) or _inside(path)
    if source is None:
        there = f"; it holds {listed(os.listdir(path))}" if path.is_dir() else ""
        raise UsageError(
            f"{path}: no data set found{there}; expected the folders train/<class>/ and test/<class>/, "
            "icml_face_data.csv, fer2013.csv, or a zip of such folders"
        )
    return source


def _fer2013() -> Path:
    if given := os.environ.get("FER2013_DIR"):
        if os.path.exists(path := os.path.expanduser(given)):
            return Path(path)
        raise UsageError(f"FER2013_DIR = {given!r}: no such file or folder; correct or unset it")
    for place in (ROOT / "data/fer2013", ROOT.parent / "shared/data/fer2013"):
        if place.exists():
            return place
    raise UsageError("fer2013: not on this machine; run `fer data fetch`, or set FER2013_DIR to its folder")


def _inside(path: Path) -> Source | None:
    """Return the one data set in the folders of a folder, if there is one."""
    if not path.is_dir():
        return None
    try:
        inside = sorted(child for child in path.iterdir() if child.is_dir() and child.name[0] != ".")
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from error
    sources = [found for child in inside if (found := find(child))]
    if len(sources) > 1:
        raise UsageError(f"{path}: holds several data sets; name one, such as {sources[0].path}")
    return sources[0] if sources else None


def describe(data: Data) -> str:
    """Return one line that says where the data come from."""
    source = resolve(data)
    return source.label if source.kind == "bundled" else f"{source.label} {os.path.abspath(source.path)}"


def load_training(data: Data, classes: Sequence[str] = DEFAULT_CLASSES) -> FaceDataset:
    """Load the training part: the folder `train`, or the rows with Usage Training. See `load_faces`."""
    return load_faces(data, classes, "train")


def load_test(data: Data, classes: Sequence[str] = DEFAULT_CLASSES) -> FaceDataset:
    """Load the test part: the folder `test`, or the rows PublicTest and PrivateTest. See `load_faces`.

    Only the notebook that evaluates the finished model calls this.
    """
    return load_faces(data, classes, "test")


def load_faces(data: Data, classes: Sequence[str], part: str) -> FaceDataset:
    """Load one part of a data set, from the cache of decoded images where it is there.

    Images are ordered by class as asked for, then by file name (CSV: by row; bundled: by index). `kinds` says
    which of them had to be converted.

    Parameters
    ----------
    data : str, Path or Source
        See `resolve`.
    classes : sequence of str
        Any two or more that the data have; label i is the i-th of them.
    part : {"train", "test"}

    Raises
    ------
    UsageError
        For anything wrong with the data, naming the file or row.
    """
    source, classes = resolve(data), check_classes(classes)
    groups = _groups(source, classes, part)
    counts = [len(group.images) for group in groups]
    labels = np.repeat(np.arange(len(classes)), counts)
    names = np.concatenate([group.names for group in groups])
    images = np.empty((len(labels), SIDE, SIDE), np.uint8)
    end = len(labels)
    while groups:  # each is freed once copied, so that the peak stays near the size of the result
        group = groups.pop()
        images[end - len(group.images) : end] = group.images
        end -= len(group.images)
    factors = None
    if isinstance(source, Bundled):
        import pandas as pd

        index = [int(name.rpartition("/")[2]) for name in names]
        try:
            table = pd.read_csv(BytesIO(source.file("factors.csv"))).query("split == @part")
            factors = table.set_index("index", drop=False).loc[index].reset_index(drop=True)
        except Exception as error:  # of pandas, which reads a table otherwise than the csv module
            raise source.broken("factors.csv", error) from error
    return FaceDataset(images, labels, classes, names, factors)


def pixel_digests_of_test_images(data: Data, classes: Sequence[str] = DEFAULT_CLASSES) -> np.ndarray:
    """Return the pixel digests of the test images, (m,) bytes; sorted, so that their order tells no label."""
    groups = _groups(resolve(data), check_classes(classes), "test")
    return np.sort(np.concatenate([pixel_digests(group.images) for group in groups]))


def class_counts(data: Data, classes: Sequence[str], part: str) -> dict[str, int]:
    """Count the images of each class in one part, "train" or "test"; no image is read.

    Raises
    ------
    UsageError
        If a class has no images.
    """
    source, classes = resolve(data), check_classes(classes)
    counted = source.counts(part) if part in source.parts else {}
    found = {name: counted.get(source.folder_of(part, name)) for name in classes}
    for name, count in found.items():
        if not count:
            raise source.missing(part, name)
    return found


def kinds(data: Data, classes: Sequence[str], part: str) -> dict[str, Counter[str]]:
    """Count, by class, what the files of one part hold; see `picture.decode_picture`.

    "flat" are those of one grey value, give or take what JPEG adds. Of no single image anything is said.
    """
    classes, found = check_classes(classes), {}
    for name, group in zip(classes, _groups(resolve(data), classes, part), strict=True):
        flat = np.ptp(group.images, axis=(1, 2)) <= FLAT
        found[name] = Counter(group.kinds) + Counter(flat=int(flat.sum()))
    return found


def data_digest(data: Data) -> str:
    """Digest the content of all classes (SHA-256): the same for a folder and for a zip of it."""
    source = resolve(data)
    lines = []
    for part in source.parts:
        for name in source.counts(part) if source.kind != "csv" else source.classes:
            stamp = source.stamps(part, [name])[name]
            known = cache.known_digest(stamp)
            if known is None:
                known = source.digest(part, name)
                cache.remember(stamp, known)
            lines.append(f"{part}/{name} {known}")
    if not lines:
        raise UsageError(f"{source.path}: no images in any class")
    return sha256_of(*sorted(lines))


def _groups(source: Source, classes: tuple[str, ...], part: str) -> list[Group]:
    """Load groups in the order of `classes`, decoding only what the cache does not hold."""
    if source.kind == "bundled":  # two PNG sheets: decoded as fast as a cache is read
        return [group for _, group in source.read(part, classes)]
    stamps = source.stamps(part, classes)
    groups = {name: cache.load(stamps[name]) for name in classes}
    for name, group in source.read(part, [name for name in classes if groups[name] is None]):
        groups[name] = group
        cache.keep(stamps[name], group)
    return [groups[name] for name in classes]


def load_split(settings: Any) -> tuple[FaceDataset, Split]:
    """Load the training side and split it: the same wherever it is asked for with the same settings.

    Parameters
    ----------
    settings : fer_tools.parameters.Data, or anything with its attributes
        Images of its `test_data`, or else of the test part of its `data`, leave the training side.

    Returns
    -------
    FaceDataset, Split
        All that is there for training, and what is drawn from it.
    """
    faces = load_training(settings.data, settings.classes)
    test_pixels = pixel_digests_of_test_images(settings.test_data or settings.data, settings.classes)
    drawn = settings.train_samples, settings.validation_share, settings.seed, settings.duplicates
    return faces, split.split(faces, test_pixels, *drawn)
