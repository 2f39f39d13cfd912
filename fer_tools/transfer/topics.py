"""The pictures of another topic: two classes, at most 2,000 images, brought to 48x48 grey like faces."""

import os
import zipfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from fer_lib.archives import read_arrays
from fer_lib.data import load
from fer_lib.data.faces import FaceDataset, pixel_digests
from fer_lib.data.picture import SIDE, SUFFIXES, decode_image, to_face
from fer_lib.data.readers import find
from fer_lib.data.readers.archive import Archive
from fer_lib.data.readers.folder import Folder
from fer_lib.data.readers.source import ImageFiles, in_order, listed
from fer_lib.data.split import Split, class_key, split
from fer_lib.files import MEGABYTE, ROOT, UsageError, sha256_of_file

DIGITS = ROOT / "data" / "digits" / "digits.npz"  # made by make.py beside it
EVEN_ODD = ("even", "odd")
MOST = 2_000  # images, as the assignment allows
LEAST = 20  # images of a class
TEST_SHARE = 0.25  # where the data have no test part
MOST_BROKEN = 0.1  # of the images of a class


@dataclass(frozen=True, eq=False)
class Topic:
    """Pictures of two classes: `training` is all that is no test image, `split` what was made of it."""

    title: str
    source: str
    training: FaceDataset
    split: Split
    test: FaceDataset
    remarks: tuple[str, ...]

    @property
    def epochs(self) -> int:
        """How many a training takes if nothing else is said: digits are easy."""
        return 4 if self.training.classes == EVEN_ODD else 95

    @property
    def parts(self) -> dict[str, FaceDataset]:
        """Training, validation and test images."""
        return {"train": self.split.train, "validation": self.split.validation, "test": self.test}

    def counts(self) -> pd.DataFrame:
        """Count images: a row a class, a column a part."""
        found = {part: [*faces.counts().values(), len(faces)] for part, faces in self.parts.items()}
        return pd.DataFrame({"class": [*self.test.classes, "total"]} | found)

    def facts(self) -> dict[str, Any]:
        """Return the metrics of the pictures."""
        found: dict[str, Any] = {"topic": self.title, "classes": " and ".join(self.test.classes)}
        found |= {"data": self.source, "remarks": "; ".join(self.remarks) or "nothing"}
        for part, faces in self.parts.items():
            found |= {f"images.{part}.{name}": count for name, count in faces.counts().items()}
            found[f"images.{part}.total"] = len(faces)
        return found | {"images.total": sum(map(len, self.parts.values()))}


class PlainFolder(Folder):
    """`<class>/<image>`, without parts."""

    parts = {"all": ""}  # noqa: RUF012

    def where(self, part: str, name: str, file: str) -> str:  # noqa: D102
        return super().where(part, name, file).removeprefix("/")


class PlainArchive(Archive):
    """A zip of `<class>/<image>`, perhaps within another folder."""

    parts = {"all": "all"}  # noqa: RUF012

    @cached_property
    def _found(self) -> dict[str, list[tuple[str, zipfile.ZipInfo]]]:
        """Members by class, of the outermost folder with classes."""
        roots: dict[tuple[str, ...], dict[str, list[tuple[str, zipfile.ZipInfo]]]] = {}
        for info in self._zip.infolist():
            *root, name, file = ["", *self._pieces(info)]
            hidden = file.startswith(".") or root[1:2] == ["__MACOSX"]
            if name and not hidden and file.lower().endswith(SUFFIXES):
                roots.setdefault(tuple(root), {}).setdefault(name, []).append((file, info))
        return roots[min(roots, key=lambda root: (len(root), root))] if roots else {}

    @cached_property
    def classes(self) -> tuple[str, ...]:  # noqa: D102
        return in_order(self._found)

    def members(self, part: str, name: str) -> list[tuple[str, object]]:  # noqa: D102
        return sorted(self._found.get(name, []), key=lambda item: item[0])

    def where(self, part: str, name: str, file: str) -> str:  # noqa: D102
        return super().where(part, name, file).removeprefix("all/")


def opened(data: str) -> ImageFiles:
    """Find what data mean: a folder or a zip of `train|test/<class>/`, or of `<class>/`.

    Raises
    ------
    UsageError
        If there is nothing, or no image of any class.
    """
    path = Path(os.path.expanduser(data))
    if not os.path.exists(path):
        raise UsageError(f'{path}: no such file or folder; give "digits", a folder or a zip of two classes')
    found = find(path)
    plain = None if found else PlainFolder(path) if path.is_dir() else None
    if isinstance(found, Archive):
        try:
            _ = found.parts
        except UsageError:
            plain = PlainArchive(found.path)
    if plain and any(plain.members("all", name) for name in plain.classes):
        return plain
    source = found or load.resolve(path)
    if not isinstance(source, ImageFiles):
        raise UsageError(f"{path}: pixels in a table; give a folder or a zip of images of two classes")
    _ = source.parts
    return source


def digest(data: str) -> str:
    """Return the digest of the content of all classes."""
    return sha256_of_file(DIGITS, MEGABYTE) if data == "digits" else load.data_digest(opened(data))


def read(settings: Any) -> Topic:
    """Load a topic, and split it: duplicates leave, a balanced sample is drawn where there is too much.

    Images that cannot be read are left out and named. Where there is no test part, or nothing else, a share
    of each class is set aside by the seed, before anything is looked at.

    Parameters
    ----------
    settings : fer_tools.parameters.Transfer

    Raises
    ------
    UsageError
        If there are not two classes with enough images that can be read.
    """
    if settings.data == "digits":
        parts, remarks, source = _digits(settings), [], "handwritten digits of scikit-learn"
    else:
        parts, remarks, source = _pictures(settings)
    training, test = parts
    classes = training.classes
    counts = {name: training.counts()[name] + test.counts()[name] for name in classes}
    for name, count in counts.items():
        if count < LEAST:
            raise UsageError(f"{source}: {count} images of class {name!r}; at least {LEAST} are needed")
    drawn = None, settings.validation_share, settings.seed
    title = settings.topic or ("Handwritten Digits" if settings.data == "digits" else _joined(classes))
    made = split(training, pixel_digests(test.images), *drawn)
    if made.removed["total"]:
        remarks.append(f"{made.removed['total']:,} copies left the training side")
    return Topic(title, source, training, made, test, tuple(remarks))


def _joined(classes: tuple[str, ...]) -> str:
    return " and ".join(name.replace("_", " ").title() for name in classes)


def _digits(settings: Any) -> tuple[FaceDataset, FaceDataset]:
    if settings.classes and tuple(settings.classes) != EVEN_ODD:
        raise UsageError("classes: the digits are even and odd; other classes need data of yours")
    try:
        arrays = read_arrays(DIGITS, MEGABYTE)
    except ValueError as error:
        raise UsageError(f"{DIGITS}: damaged ({error}); restore it") from error
    grey = (arrays["images"] * (255 / 16) + 0.5).astype(np.uint8)
    images = np.stack([to_face(Image.fromarray(image))[0] for image in grey])
    labels = arrays["digits"].astype(np.int64) % 2
    names = np.array([f"digits/{digit}/{i}" for i, digit in enumerate(arrays["digits"])])
    everything = FaceDataset(images, labels, EVEN_ODD, names)
    index = [_order(settings.seed, name, np.flatnonzero(labels == i)) for i, name in enumerate(EVEN_ODD)]
    test, training = zip(*(_cut(each) for each in index), strict=True)
    return tuple(everything.take(np.sort(np.concatenate(part))) for part in (training, test))


def _order(seed: int, name: str, items: np.ndarray) -> np.ndarray:
    return np.random.default_rng([seed, class_key(name)]).permutation(items)


def _cut(items: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Set the test images aside: the first of an order."""
    count = max(1, round(TEST_SHARE * len(items)))
    return items[:count], items[count:]


def _two(source: ImageFiles, chosen: tuple[str, ...]) -> tuple[str, ...]:
    there = [name for name in source.classes if any(source.members(part, name) for part in source.parts)]
    classes = tuple(chosen) or tuple(there)
    if missing := [name for name in classes if name not in there]:
        raise UsageError(f"{source.path}: no images of class {missing[0]!r}; there are {listed(there)}")
    if len(classes) != 2:
        advice = f"; choose two with -p classes={','.join(there[:2])}" if len(classes) > 2 else ""
        raise UsageError(f"{source.path}: {len(classes)} classes ({listed(classes)}), not two{advice}")
    return classes


def _pictures(settings: Any) -> tuple[tuple[FaceDataset, FaceDataset], list[str], str]:
    source = opened(settings.data)
    classes = _two(source, settings.classes)
    chosen: dict[tuple[str, str], list] = {}  # (part, class): (part as the source calls it, file, member)
    for name in classes:
        listing = {part: [(part, *member) for member in source.members(part, name)] for part in source.parts}
        order = {
            part: [members[i] for i in _order(settings.seed, name, np.arange(len(members)))]
            for part, members in listing.items()
        }
        if len(order) == 1:
            (members,) = order.values()
            chosen["test", name], chosen["train", name] = _cut(members)
        else:
            chosen |= {(part, name): order[part] for part in ("train", "test")}
    remarks, total = [], sum(map(len, chosen.values()))
    if total > MOST:
        for part in ("train", "test"):
            share = sum(len(chosen[part, name]) for name in classes) / total
            most = min(int(MOST * share / 2), *(len(chosen[part, name]) for name in classes))
            chosen |= {(part, name): chosen[part, name][:most] for name in classes}
        kept = sum(map(len, chosen.values()))
        remarks.append(f"of {total:,} images a balanced sample of {kept:,} is used, drawn by the seed")
    broken: list[str] = []
    parts = [_decoded(source, part, classes, chosen, broken) for part in ("train", "test")]
    if broken:
        remarks.append(f"{len(broken):,} images that cannot be read are left out: {'; '.join(broken[:5])}")
    return (parts[0], parts[1]), remarks, str(source.path)


def _decoded(
    source: ImageFiles, part: str, classes: tuple[str, ...], chosen: dict, broken: list[str]
) -> FaceDataset:
    """Decode the files chosen of one part; note those that cannot be read.

    Raises
    ------
    UsageError
        If too many of a class cannot be read.
    """
    images, labels, names = [], [], []
    for label, name in enumerate(classes):
        wrong = []
        for at, file, member in sorted(chosen[part, name], key=lambda each: each[1]):
            where = source.where(at, name, file)
            try:
                content = source.content(member, where)
                images.append(decode_image(content, where, square=True)[0])
                labels.append(label)
                names.append(where)
            except UsageError as error:
                wrong.append(str(error))
        if len(wrong) > MOST_BROKEN * len(chosen[part, name]):
            count = f"{len(wrong):,} of {len(chosen[part, name]):,} images of class {name!r}"
            said = "; ".join(wrong[:3])
            raise UsageError(f"{source.path}: {count} cannot be read ({said}); restore or remove them")
        broken += wrong
    return FaceDataset(
        np.array(images, np.uint8).reshape(-1, SIDE, SIDE),
        np.array(labels, np.int64),
        classes,
        np.array(names),
    )
