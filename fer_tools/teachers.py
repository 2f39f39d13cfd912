"""Soft labels: what large networks say of photographs that they never learnt, for a small one to learn.

Source: Hinton et al. (2015), Distilling the knowledge in a neural network, arXiv:1503.02531.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from fer_lib import training
from fer_lib.archives import read_arrays
from fer_lib.data import load
from fer_lib.data.faces import FaceDataset
from fer_lib.data.readers.source import Source
from fer_lib.data.split import Split, find_duplicates
from fer_lib.files import MEGABYTE, ROOT, UsageError

FILES = {"shipped": ROOT / "data" / "teachers" / "fer2013_soft_labels.npz"}  # by the parameter `teacher`
LARGEST = 16 * MEGABYTE
LEAST = 0.1  # of the probability of our classes, for a photograph of another


def files(teacher: str) -> dict[str, Path]:
    """Return the file of a teacher, as a stage names what it reads."""
    return {"teacher": FILES[teacher]} if teacher else {}


@dataclass(frozen=True, eq=False)
class Lesson:
    """What a network is trained with.

    Attributes
    ----------
    images : (n, 48, 48) uint8
        In random order.
    targets : (n, classes) float32
        What it is to say of each. A row sums to what the image counts; the mean over all is 1.
    said : str
        Whose targets they are, in words, and of how many images.
    """

    images: np.ndarray
    targets: np.ndarray
    said: str


def lesson(settings: Any, split: Split) -> Lesson:
    """Return the training images and what a network is to say of them.

    Without a teacher these are the labels. With one it is what the teacher says of the classes, and where all
    images are trained on (`train_samples` is None), photographs of the other classes that the teacher knows
    are trained on, too: a frightened face may be three parts surprise. Each counts by the probability that
    the teacher gives to our classes together, if that is `LEAST` or more; those with the pixels of a
    validation, a test or a training image are left out.

    Parameters
    ----------
    settings : fer_tools.parameters.Training
    split : Split
        Of `load.load_split`. A face that the teacher does not know by its pixels keeps its label.

    Raises
    ------
    UsageError
        If the teacher knows none of the faces, or has other classes, or its file is damaged.
    """
    own = split.train
    labels = training.one_hot(own.labels, len(own.classes))
    if not settings.teacher:
        return Lesson(own.images, labels, "labels")
    table = _read(FILES[settings.teacher])
    if unknown := sorted(set(own.classes) - set(table.names)):
        raise UsageError(
            f"teacher={settings.teacher}: knows {', '.join(table.names)}, not {', '.join(unknown)}; "
            "leave teacher empty"
        )
    told, total = table.of(own, own.classes)
    if not (known := total > 0).any():
        raise UsageError(
            f"teacher={settings.teacher}: knows none of the {len(own):,} training images, only FER2013's; "
            "leave teacher empty"
        )
    targets = np.where(known[:, None], told, labels)
    said = f"soft labels of {known.sum():,} training images, labels of {(~known).sum():,}"
    others = None if settings.train_samples is not None else _others(settings, split, table.names)
    if others is None:
        return Lesson(own.images, targets.astype(np.float32), said)
    told, total = table.of(others, own.classes)
    kept = total >= LEAST
    counts = np.concatenate([np.ones(len(own)), total[kept]])
    targets = np.concatenate([targets, told[kept]]) * (counts / counts.mean())[:, None]
    said += (
        f"; beside them {kept.sum():,} of {len(others):,} images of other classes, "
        f"which count as {total[kept].sum():,.0f}"
    )
    images = np.concatenate([own.images, others.images[kept]])
    # Mixed, as batches are: `fit` takes the statistics of batch normalisation from the first of them.
    order = np.random.default_rng(settings.seed).permutation(len(images))
    return Lesson(images[order], targets[order].astype(np.float32), said)


def _others(settings: Any, split: Split, names: Sequence[str]) -> FaceDataset | None:
    """Load the images of those of the classes that the settings do not name; None if the data have none."""
    source, classes = load.resolve(settings.data), list(split.train.classes)
    tested = load.resolve(settings.test_data) if settings.test_data else source
    there = _there(source, "train", [name for name in names if name not in classes])
    if not there:
        return None
    faces = load.load_training(source, classes + there)
    faces = faces.take(faces.labels >= len(classes))
    tests = load.pixel_digests_of_test_images(tested, classes + _there(tested, "test", there))
    ours = [part.pixel_digests() for part in (split.train, split.validation)]
    alike = replace(faces, labels=np.zeros_like(faces.labels))  # labels are not learnt, and so none conflict
    copies = find_duplicates(alike, np.concatenate([tests, *ours]))
    return faces.take(~np.logical_or.reduce([*copies.values()]))


def _there(source: Source, part: str, names: Sequence[str]) -> list[str]:
    counted = source.counts(part)
    return [name for name in names if counted.get(source.folder_of(part, name))]


@dataclass(frozen=True, eq=False)
class _Table:
    """Ascending keys (n,) of images, probabilities (n, k), and the names of the k classes."""

    keys: np.ndarray
    probabilities: np.ndarray
    names: list[str]

    def of(self, faces: FaceDataset, classes: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Return probabilities given that it is one of the classes, (m, classes), and of that it is, (m,).

        Both are 0 for a face that is not in the table.
        """
        ours = np.array([int(digest[:16], 16) for digest in faces.pixel_digests()], np.uint64)
        place = np.minimum(np.searchsorted(self.keys, ours), len(self.keys) - 1)
        said = self.probabilities[place][:, [self.names.index(name) for name in classes]].astype(np.float64)
        said[self.keys[place] != ours] = 0
        total = said.sum(axis=1)
        return said / np.where(total > 0, total, 1)[:, None], total


def _read(path: Path) -> _Table:
    try:
        arrays = read_arrays(path, LARGEST)
        keys, probabilities, names = (arrays[name] for name in ("keys", "probabilities", "classes"))
        names = [str(name) for name in names.tolist()]
        if probabilities.shape != (len(keys), len(names)) or not len(keys) or len({*names}) < len(names):
            raise ValueError("its arrays do not fit")
        if not (keys[1:] > keys[:-1]).all() or not ((probabilities >= 0) & (probabilities <= 1)).all():
            raise ValueError("its keys do not ascend, or probabilities are none")
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise UsageError(f"{path}: damaged ({error}); restore it from git") from error
    return _Table(keys, probabilities, names)
