"""Faces and their classes: loading, a cache of decoded images, duplicates, and the split.

`data` is always "bundled" (the rendered faces of this repository), "fer2013" (found by itself: the
environment variable FER2013_DIR, then `data/fer2013`), or a path: an image folder `train|test/<class>/`,
`icml_face_data.csv`, `fer2013.csv`, a zip of such a folder, or a folder that holds one of these.
"""

import hashlib
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import PIL

from fer_lib._readers import ALL_CLASSES, SIDE, Bundled, Group, Source, find
from fer_lib.files import UsageError, atomic_path, sha256_of, write_text

if TYPE_CHECKING:
    import pandas as pd

DEFAULT_CLASSES = ("neutral", "happy", "surprise")  # labels 0, 1, 2
ROOT = Path(__file__).resolve().parent.parent
CACHE_BYTES = 4 << 30  # of decoded images kept on disk
Data = str | Path | Source


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
        """Give the images at `index` ((m,) int, or (n,) bool), in that order."""
        factors = None if self.factors is None else self.factors.iloc[index].reset_index(drop=True)
        return FaceDataset(self.images[index], self.labels[index], self.classes, self.names[index], factors)

    def pixel_digests(self) -> np.ndarray:
        """Give the SHA-256 of each image's pixels, (n,) hexadecimal bytes: equal pixels, equal digest."""
        return _pixel_digests(self.images)


@dataclass(frozen=True, eq=False)
class Split:
    """A training and a validation set without common images, and how many images were removed and why.

    `removed` has the keys `label_conflicts`, `leaks_into_test`, `duplicates_within_training` and `total`.
    """

    train: FaceDataset
    validation: FaceDataset
    removed: dict[str, int]


def check_classes(classes: Sequence[str]) -> tuple[str, ...]:
    """Return the classes as a tuple.

    Raises
    ------
    UsageError
        If a class is unknown or named twice, or fewer than two are named.
    """
    valid = f"valid are {', '.join(ALL_CLASSES)}"
    if isinstance(classes, str) or not all(isinstance(name, str) for name in classes):
        raise UsageError(f"classes: expected a list of names, not {classes!r}; {valid}")
    for name in classes:
        if name not in ALL_CLASSES:
            raise UsageError(f"classes: unknown class {name!r}; {valid}")
        if list(classes).count(name) > 1:
            raise UsageError(f"classes: {name!r} is named twice; {valid}")
    if len(classes) < 2:
        raise UsageError(f"classes: at least two are needed, not {len(classes)}; {valid}")
    return tuple(classes)


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
    if data == "fer2013":
        places = [
            os.environ.get("FER2013_DIR", ""),
            ROOT / "data/fer2013",
            ROOT.parent / "shared/data/fer2013",
        ]
        found = [Path(place) for place in places if place and Path(place).exists()]
        if not found:
            raise UsageError(
                "fer2013: not on this machine; run `fer data fetch`, or set FER2013_DIR to its folder"
            )
        data = found[0]
    path = Path(data).expanduser()
    if not os.path.exists(path):  # Path.exists raises at names that are too long
        raise UsageError(f"{path}: no such file or folder; give bundled, fer2013 or the path of a data set")
    source = find(path)
    if source is None and path.is_dir():
        try:
            inside = sorted(child for child in path.iterdir() if child.is_dir() and child.name[0] != ".")
        except OSError as error:
            raise UsageError(f"{path}: cannot be read ({error.strerror})") from error
        sources = [found for child in inside if (found := find(child))]
        if len(sources) > 1:
            raise UsageError(f"{path}: holds several data sets; name one, such as {sources[0].path}")
        source = sources[0] if sources else None
    if source is None:
        raise UsageError(
            f"{path}: no data set found; expected the folders train/<class>/ and test/<class>/, "
            "icml_face_data.csv, fer2013.csv, or a zip of such folders"
        )
    return source


def describe(data: Data) -> str:
    """Say in one line where the data come from."""
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

    Images are ordered by class as asked for, then by file name (CSV: by row; bundled: by index).

    Parameters
    ----------
    data : str, Path or Source
        See `resolve`.
    classes : sequence of str
        Any two or more of `ALL_CLASSES`; label i is the i-th of them.
    part : {"train", "test"}

    Raises
    ------
    UsageError
        For anything wrong with the data, naming the file or row.
    """
    source, classes = resolve(data), check_classes(classes)
    groups = _groups(source, classes, part)
    converted = sum(group.converted for group in groups)
    counts = [len(group.images) for group in groups]
    if converted:
        warnings.warn(
            f"{source.path}: {converted:,} of {sum(counts):,} {part} images were not 48x48 8-bit grey "
            "and were converted",
            stacklevel=3,
        )
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
            table = pd.read_csv(source.path / "factors.csv").query("split == @part")
            factors = table.set_index("index", drop=False).loc[index].reset_index(drop=True)
        except Exception as error:  # of pandas, which reads a table otherwise than the csv module
            raise source.broken("factors.csv", error) from error
    return FaceDataset(images, labels, classes, names, factors)


def test_pixel_digests(data: Data, classes: Sequence[str] = DEFAULT_CLASSES) -> np.ndarray:
    """Give the pixel digests of the test images, (m,) bytes; sorted, so that their order tells no label."""
    groups = _groups(resolve(data), check_classes(classes), "test")
    return np.sort(np.concatenate([_pixel_digests(group.images) for group in groups]))


test_pixel_digests.__test__ = False  # not a test, whatever pytest makes of the name


def class_counts(data: Data, classes: Sequence[str] = DEFAULT_CLASSES) -> dict[str, dict[str, int]]:
    """Count the images by part ("train", and "test" where there is one) and class; no image is read.

    Raises
    ------
    UsageError
        If a class has no images.
    """
    source, classes = resolve(data), check_classes(classes)
    result = {}
    for part in source.parts:
        counted = source.counts(part)
        if part == "test" and not counted:
            continue
        for name in classes:
            if name not in counted:
                raise source.missing(part, name)
        result[part] = {name: counted[name] for name in classes}
    return result


def data_digest(data: Data) -> str:
    """Digest the content of all seven classes (SHA-256): the same for a folder and for a zip of it."""
    source = resolve(data)
    lines = []
    for part in source.parts:
        for name in source.counts(part) if source.kind != "csv" else ALL_CLASSES:
            stamp = source.stamps(part, [name])[name]
            known = _known(stamp)
            if known is None:
                known = source.digest(part, name)
                _remember(stamp, known)
            lines.append(f"{part}/{name} {known}")
    if not lines:
        raise source.missing("train", ALL_CLASSES[0])
    return sha256_of(*sorted(lines))


def _pixel_digests(images: np.ndarray) -> np.ndarray:
    return np.array([hashlib.sha256(row).hexdigest() for row in images.reshape(len(images), -1)], "S64")


# --- the cache: <stamp>.txt tells the digest of the content, <digest>.npz holds the decoded images ---


def _cache() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(os.path.expanduser(os.environ.get("FER_CACHE") or f"{home}/fer_lab"))


def _note(stamp: str) -> Path:
    # Another Pillow may decode a JPEG to other pixels.
    return _cache() / f"{sha256_of('1', PIL.__version__, stamp)}.txt"


def _known(stamp: str) -> str | None:
    """Tell the digest of unchanged content without reading it."""
    try:
        text = _note(stamp).read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return None
    return text if len(text) == 64 else None


def _remember(stamp: str, digest: str) -> None:
    try:
        write_text(_note(stamp), digest + "\n")
    except UsageError:  # a read-only or full disk: everything works without the cache
        pass


def _images_file(stamp: str, digest: str) -> Path:
    place = stamp.partition(" ")[0]
    return _cache() / f"{sha256_of('1', PIL.__version__, place, digest)}.npz"


def _groups(source: Source, classes: tuple[str, ...], part: str) -> list[Group]:
    """Load groups in the order of `classes`, decoding only what the cache does not hold."""
    if source.kind == "bundled":  # two PNG sheets: decoded as fast as a cache is read
        return [group for _, group in source.read(part, classes)]
    stamps = source.stamps(part, classes)
    groups = {name: _cached(stamps[name]) for name in classes}
    for name, group in source.read(part, [name for name in classes if groups[name] is None]):
        groups[name] = group
        _keep(stamps[name], group)
    return [groups[name] for name in classes]


def _cached(stamp: str) -> Group | None:
    digest = _known(stamp)
    if digest is None:
        return None
    try:
        with np.load(_images_file(stamp, digest), allow_pickle=False) as stored:
            images, names, converted = stored["images"], stored["names"], int(stored["converted"])
        if images.dtype != np.uint8 or images.shape != (len(names), SIDE, SIDE) or names.dtype.kind != "U":
            return None
    except Exception:  # whatever is wrong with a cache file, it can be made anew
        return None
    return Group(names, images, digest, converted)


def _keep(stamp: str, group: Group) -> None:
    path = _images_file(stamp, group.digest)
    try:
        with atomic_path(path) as temporary:
            np.savez(temporary, images=group.images, names=group.names, converted=group.converted)
        _remember(stamp, group.digest)
        kept = sorted(path.parent.glob("*.npz"), key=lambda file: file.stat().st_mtime, reverse=True)
        total = 0
        for file in kept:
            total += file.stat().st_size
            if total > CACHE_BYTES and file != path:
                file.unlink()
    except (UsageError, OSError):  # as above; or another process tidied up first
        pass


# --- the split --------------------------------------------------------------------------------------------


def load_split(settings: Any) -> tuple[FaceDataset, Split]:
    """Load the training side and split it: the same wherever it is asked for with the same settings.

    Parameters
    ----------
    settings : fer_lib.params.Data
        Images of its `test_data`, or else of the test part of its `data`, leave the training side.

    Returns
    -------
    FaceDataset, Split
        All that is there for training, and what is drawn from it.
    """
    faces = load_training(settings.data, settings.classes)
    test_pixels = test_pixel_digests(settings.test_data or settings.data, settings.classes)
    drawn = settings.train_samples, settings.validation_share, settings.seed, settings.duplicates
    return faces, split(faces, test_pixels, *drawn)


def split(
    training: FaceDataset,
    test_digests: np.ndarray,
    train_samples: int | None = 5000,
    validation_share: float = 0.2,
    seed: int = 0,
    duplicates: str = "remove",
) -> Split:
    """Remove duplicates, draw a balanced sample, and set aside a stratified validation set.

    Removed, in this order: every image of a group with equal pixels but different labels; images whose pixels
    occur in the test part; of equal images in one class all but the first. Then `train_samples` images are
    drawn, n // k of each of the k classes and the remainder from the last (5,000: 1,666, 1,666 and 1,668).
    Which images of a class are drawn depends on the seed and that class alone.

    Parameters
    ----------
    training : FaceDataset
    test_digests : (m,) bytes
        From `test_pixel_digests`.
    train_samples : int or None
        Number of images in both sets together; None takes all, unbalanced.
    validation_share : float
        Share of them for validation, between 0 and 1.
    seed : int
    duplicates : {"remove", "keep"}
        "keep" removes nothing, to show what duplicates are worth.

    Raises
    ------
    UsageError
        If a class has too few images, or a parameter is out of range.
    """
    if duplicates not in ("remove", "keep"):
        raise UsageError(f"duplicates: {duplicates!r} is unknown; valid are remove, keep")
    if not 0 < validation_share < 1:
        raise UsageError(f"validation_share: {validation_share} is outside 0 to 1; 0.2 is usual")
    reasons = _duplicates(training, test_digests) if duplicates == "remove" else {}
    left = ~np.logical_or.reduce([np.zeros(len(training), bool), *reasons.values()])
    removed = dict.fromkeys(("label_conflicts", "leaks_into_test", "duplicates_within_training"), 0)
    removed |= {reason: int(mask.sum()) for reason, mask in reasons.items()}
    removed["total"] = sum(removed.values())

    available = [np.flatnonzero(left & (training.labels == i)) for i in range(len(training.classes))]
    have = [len(index) for index in available]
    wanted = have if train_samples is None else _balanced(train_samples, have, training.classes)
    held_out = _shares(wanted, validation_share)
    parts: tuple[list, list] = ([], [])
    for name, index, take, validation in zip(training.classes, available, wanted, held_out, strict=True):
        if not 0 < validation < take:
            raise UsageError(
                f"validation_share: {validation_share} of {take:,} images of class {name!r} leaves one side "
                "empty; take more images or another share"
            )
        drawn = np.random.default_rng([seed, ALL_CLASSES.index(name)]).permutation(index)[:take]
        parts[0].append(drawn[validation:])
        parts[1].append(drawn[:validation])
    rng = np.random.default_rng(seed)
    train, validation = (training.take(rng.permutation(np.concatenate(part))) for part in parts)
    return Split(train, validation, removed)


def _duplicates(training: FaceDataset, test_digests: np.ndarray) -> dict[str, np.ndarray]:
    """Mark ((n,) bool) the images to remove, by reason; an image has one reason at most."""
    digests = training.pixel_digests()
    _, first, group = np.unique(digests, return_index=True, return_inverse=True)
    lowest = np.full(len(first), len(training.classes))
    highest = np.full(len(first), -1)
    np.minimum.at(lowest, group, training.labels)
    np.maximum.at(highest, group, training.labels)
    conflict = (lowest != highest)[group]
    leak = np.isin(digests, test_digests) & ~conflict
    again = (np.arange(len(training)) != first[group]) & ~conflict & ~leak
    return {"label_conflicts": conflict, "leaks_into_test": leak, "duplicates_within_training": again}


def _balanced(total: int, have: list[int], classes: tuple[str, ...]) -> list[int]:
    """Share `total` equally among the classes; the last takes the remainder."""
    if isinstance(total, bool) or not isinstance(total, int | np.integer) or total < len(have):
        raise UsageError(
            f"train_samples: {total!r} is not a whole number of at least {len(have)}; or null for all"
        )
    each = int(total) // len(have)
    wanted = [each] * (len(have) - 1) + [int(total) - each * (len(have) - 1)]
    for name, need, there in zip(classes, wanted, have, strict=True):
        if there < need:
            most = min(have) * len(have)
            advice = (
                f"set train_samples to at most {most}, or null for all" if most else "leave out that class"
            )
            raise UsageError(
                f"train_samples: {total:,} needs {need:,} images of class {name!r}, but {there:,} are left "
                f"without duplicates; {advice}"
            )
    return wanted


def _shares(counts: list[int], share: float) -> list[int]:
    """Give each class its share, rounded so that the sum is right (the largest remainders are rounded up)."""
    exact = share * np.array(counts)
    whole = np.floor(exact).astype(int)
    spare = round(share * sum(counts)) - whole.sum()
    whole[np.argsort(whole - exact, kind="stable")[:spare]] += 1
    return whole.tolist()
