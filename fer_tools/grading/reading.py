"""What a network's outputs mean and which pixels it expects, found from labelled Training images."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fer_lib.data.faces import FaceDataset
from fer_lib.data.split import class_key
from fer_tools.checks.mcnemar import mcnemar
from fer_tools.model_files.pixels import SCALES

LOOKS = (60, 120, 240, 480, 960)  # images; after each number it is asked whether the order can be told
LEVEL = 0.0002  # of p, at each look
SCALE_LEVEL = 0.001  # of p, to prefer another scale to the one that the file declares
ORDERS = tuple(itertools.permutations(range(3)))  # output j means class ORDERS[i][j]


@dataclass(frozen=True)
class Reading:
    """How a network is to be read.

    Attributes
    ----------
    order : tuple of int, or None
        The class of each output; None if it cannot be told.
    scale : str, or None
        Of `SCALES`: what the network answers best on, or what the file declares; None if nothing says it.
    overruled : bool
        Whether that is another scale than the file declares.
    certain : bool
        Whether the scale is declared, or better than the others by more than chance.
    p_value : float
        Of the best order against the others.
    images : int
        How many were looked at.
    share : float
        Of these, how many are read correctly by the best order.
    commonest : float
        Share of the commonest answer.
    """

    order: tuple[int, int, int] | None
    scale: str | None
    overruled: bool
    certain: bool
    p_value: float
    images: int
    share: float
    commonest: float


def draw(faces: FaceDataset, seed: int = 0) -> FaceDataset:
    """Return at most 960 faces, as many of each class, in an order of which every third part is so, too.

    With as many of each, a network that answers regardless of the face has no order that fits better.
    """
    each = min(LOOKS[-1] // len(faces.classes), *faces.counts().values())
    drawn = [
        np.random.default_rng([seed, class_key(name)]).permutation(np.flatnonzero(faces.labels == i))[:each]
        for i, name in enumerate(faces.classes)
    ]
    return faces.take(np.stack(drawn, axis=1).ravel())


def tell(
    outputs: Callable[[int, int, str], np.ndarray], labels: np.ndarray, declared: str | None = None
) -> Reading:
    """Look at 60 faces, then at twice as many and so on to 960, until order and scale can be told.

    There are six orders of three classes. At each look the best one is compared with every other by the exact
    two-sided sign test, over the faces that one of them alone gets right; the largest p, times the number of
    comparisons (five, or more where several scales are tried), has to be below 0.0002. The true order is
    right at least as often as another one in expectation, so a wrong one is named with a probability of at
    most 0.0001 at a look, 0.0005 at all five. A scale is given up, also one that the file declares, when the
    best order at another scale is better than all of its orders at p < 0.001 in the same test; beside one
    that the file declares, another is looked at only as long as it is right more often.

    Parameters
    ----------
    outputs : callable
        Of the first face, the one after the last, and a scale: outputs of the network, (n, 3).
    labels : (n,) int
        In an order in which classes take turns; see `draw`.
    declared : str, optional
        The scale that the file declares.

    Returns
    -------
    Reading
    """
    answers = {scale: np.empty(0, int) for scale in SCALES}
    looks = [n for n in LOOKS if n < len(labels)] + [min(len(labels), LOOKS[-1])]
    for start, end in itertools.pairwise([0, *looks]):
        for scale, before in answers.items():
            answers[scale] = np.concatenate([before, outputs(start, end, scale).argmax(axis=1)])
        found, answers = _look(answers, labels[:end], declared)
        if found.order is not None and len(answers) == 1:
            break
    return found


def _look(
    answers: dict[str, np.ndarray], labels: np.ndarray, declared: str | None
) -> tuple[Reading, dict[str, np.ndarray]]:
    """Return what can be told by now, and the answers at those scales that are not given up."""
    right = {
        (scale, order): np.array(order)[given] == labels
        for scale, given in answers.items()
        for order in ORDERS
    }
    hits = {each: int(row.sum()) for each, row in right.items()}
    best = {scale: max(((scale, order) for order in ORDERS), key=hits.get) for scale in answers}
    first = max(answers, key=lambda scale: (hits[best[scale]], scale == declared))
    left = {
        scale: given
        for scale, given in answers.items()
        if scale == first or mcnemar(right[best[first]], right[best[scale]]).p_value >= SCALE_LEVEL
    }
    if declared in left:
        better = hits[best[declared]]
        left = {scale: left[scale] for scale in left if scale == declared or hits[best[scale]] > better}
    scale = declared if declared in left else first
    mine = best[scale]
    tried = [scale] if scale == declared else list(left)
    rivals = [(other, order) for other in tried for order in ORDERS if order != mine[1]]
    p_value = min(1.0, len(rivals) * max(mcnemar(right[mine], right[rival]).p_value for rival in rivals))
    told = p_value < LEVEL
    reading = Reading(
        order=mine[1] if told else None,
        scale=scale if told else declared,
        overruled=told and declared is not None and scale != declared,
        certain=scale == declared or len(left) == 1,
        p_value=p_value,
        images=len(labels),
        share=hits[mine] / len(labels),
        commonest=float(np.bincount(answers[scale]).max() / len(labels)),
    )
    return reading, left
