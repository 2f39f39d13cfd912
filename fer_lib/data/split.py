"""The split: duplicates out, a balanced sample, a stratified validation set."""

import hashlib
from dataclasses import dataclass

import numpy as np

from fer_lib.data.faces import FaceDataset
from fer_lib.data.readers.source import FER2013_CLASSES
from fer_lib.files import UsageError


@dataclass(frozen=True, eq=False)
class Split:
    """A training and a validation set without common images, and how many images were removed and why.

    `removed` has the keys `label_conflicts`, `leaks_into_test`, `duplicates_within_training` and `total`.
    """

    train: FaceDataset
    validation: FaceDataset
    removed: dict[str, int]


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
        From `load.pixel_digests_of_test_images`.
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
    reasons = find_duplicates(training, test_digests) if duplicates == "remove" else {}
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
                f"validation_share: {validation_share} of {take:,} images of class {name!r}"
                f"{' left without duplicates' if train_samples is None else ''} leaves one side empty; "
                "take more images or another share"
            )
        drawn = np.random.default_rng([seed, class_key(name)]).permutation(index)[:take]
        parts[0].append(drawn[validation:])
        parts[1].append(drawn[:validation])
    rng = np.random.default_rng(seed)
    train, validation = (training.take(rng.permutation(np.concatenate(part))) for part in parts)
    return Split(train, validation, removed)


def class_key(name: str) -> int:
    """Return what a class adds to the seed of its draw; it depends on the name alone."""
    if name in FER2013_CLASSES:
        return FER2013_CLASSES.index(name)
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")


def find_duplicates(training: FaceDataset, test_digests: np.ndarray) -> dict[str, np.ndarray]:
    """Return which images ((n,) bool) to remove, by reason; an image has one reason at most."""
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
        raise UsageError(f"train_samples: {total!r} is no whole number of at least {len(have)}, nor null")
    each = int(total) // len(have)
    wanted = [each] * (len(have) - 1) + [int(total) - each * (len(have) - 1)]
    for name, need, there in zip(classes, wanted, have, strict=True):
        if there < need:
            most = min(have) * len(have)
            advice = "leave out that class"
            if most:
                advice = f"set it to at most {most} (-p train_samples={most}), or to null for all"
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
