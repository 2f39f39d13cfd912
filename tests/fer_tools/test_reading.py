"""How a network is to be read: the rates of error that are stated are simulated, p is scipy's."""

from itertools import permutations

import numpy as np
import pytest

from fer_lib.data.faces import DEFAULT_CLASSES, FaceDataset
from fer_tools.grading import reading

stats = pytest.importorskip("scipy.stats")
LABELS = np.tile(np.arange(3), 320)


def answering(shares: np.ndarray, rng: np.random.Generator, order: tuple[int, ...] = (0, 1, 2)) -> np.ndarray:
    """Return outputs (960, 3) of a network that says class j for an image of class i in shares[i, j]."""
    said = (rng.random((len(LABELS), 1)) > np.cumsum(shares[LABELS], axis=1)[:, :2]).sum(axis=1)
    return np.eye(3)[np.argsort(order)[said]]


def read(by_scale: dict[str, np.ndarray], declared: str | None = None) -> reading.Reading:
    return reading.tell(lambda start, end, scale: by_scale[scale][start:end], LABELS, declared)


def alike(share: float) -> np.ndarray:
    """Return shares of a network that is right on so many images of each class."""
    return np.full((3, 3), (1 - share) / 2) + np.eye(3) * (share - (1 - share) / 2)


def simulated(shares: np.ndarray, times: int, declared: str | None, seed: int) -> list[reading.Reading]:
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(times):
        others = {scale: answering(alike(1 / 3), rng) for scale in reading.SCALES}
        found.append(read(others | {"0..255": answering(shares, rng)}, declared))
    return found


# Happy is told from the others, which are told apart by nothing: another order is right as often.
TIED = np.array([[0.4, 0.2, 0.4], [0.2, 0.6, 0.2], [0.4, 0.2, 0.4]])


@pytest.mark.parametrize(
    ("shares", "right", "pairs"),
    [(TIED, [None, (0, 1, 2)], 1), (alike(1 / 3), [None], 6)],
    ids=["two alike", "no order at all"],
)
@pytest.mark.parametrize("declared", ["0..255", None])
def test_wrong_orders_are_as_rare_as_stated(shares, right, pairs, declared, monkeypatch):
    """At the level of the program none in so few; at a loose one no more than the reasoning allows."""
    times, level = 120, 0.2
    assert all(each.order in right for each in simulated(shares, times, declared, 0))
    monkeypatch.setattr(reading, "LEVEL", level)
    wrong = sum(each.order not in right for each in simulated(shares, times, declared, 1))
    most = min(0.99, len(reading.LOOKS) * pairs * level / 5 / 2)
    print(f"{wrong} of {times} wrong, at most {most:.0%} expected")
    assert stats.binomtest(wrong, times, most, "greater").pvalue > 0.001


def test_a_test_that_is_too_loose_is_noticed(monkeypatch):
    """Without p, the best order by count would be wrong half of the time."""
    monkeypatch.setattr(reading, "LEVEL", 1.1)
    wrong = sum(each.order != (0, 1, 2) for each in simulated(TIED, 60, "0..255", 2))
    assert wrong > 15


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_the_order_of_a_fair_network_is_found(order):
    rng = np.random.default_rng(order)
    outputs = answering(alike(0.6), rng, order)
    found = read(dict.fromkeys(reading.SCALES, outputs), "0..255")
    assert found.order == order and found.p_value < 0.0002 and not found.overruled
    assert found.images < 960 and found.scale == "0..255" and found.certain
    right = np.array(order)[outputs.argmax(axis=1)] == LABELS
    assert found.share == right[: found.images].mean()


def test_p_is_that_of_scipy():
    rng = np.random.default_rng(3)
    outputs = answering(alike(0.45), rng)
    found = read(dict.fromkeys(reading.SCALES, outputs), "0..255")
    said, labels = outputs.argmax(axis=1)[: found.images], LABELS[: found.images]
    right = {order: np.array(order)[said] == labels for order in permutations(range(3))}
    best = max(right, key=lambda order: right[order].sum())
    largest = 0.0
    for order, hits in right.items():
        if order != best:
            won, lost = int((right[best] & ~hits).sum()), int((hits & ~right[best]).sum())
            largest = max(largest, stats.binomtest(won, won + lost, 0.5).pvalue)
    assert found.p_value == pytest.approx(min(1, 5 * largest), rel=1e-9)


def test_a_network_that_gives_one_answer_is_not_read():
    same = dict.fromkeys(reading.SCALES, np.tile([0.0, 0.0, 1.0], (960, 1)))
    found = read(same)
    assert found.order is None and found.scale is None and found.commonest == 1 and found.images == 960


@pytest.mark.parametrize(
    ("shares", "declared", "expected"),
    [
        ({"0..1": 0.9, "0..255": 0.5}, "0..255", ("0..1", True)),
        ({"0..1": 0.9, "0..255": 0.89}, "0..255", ("0..255", False)),
        ({"0..1": 0.9, "0..255": 0.5}, None, ("0..1", False)),
        ({"-1..1": 0.9}, None, ("-1..1", False)),
        ({"0..255": 0.9}, "0..255", ("0..255", False)),
    ],
)
def test_the_scale_is_found_and_a_declared_one_given_up_only_beyond_doubt(shares, declared, expected):
    rng = np.random.default_rng(5)
    by_scale = {scale: answering(alike(shares.get(scale, 1 / 3)), rng) for scale in reading.SCALES}
    found = read(by_scale, declared)
    assert found.order == (0, 1, 2) and (found.scale, found.overruled) == expected and found.certain


def test_scales_that_are_alike_are_not_told_apart():
    outputs = answering(alike(0.8), np.random.default_rng(6))
    found = read(dict.fromkeys(reading.SCALES, outputs))
    assert found.order == (0, 1, 2) and not found.certain and found.images == 960


def test_as_many_of_each_class_are_drawn_in_turns():
    counts = [500, 40, 333]
    labels = np.repeat(np.arange(3), counts)
    images = np.arange(len(labels), dtype="<u4").view(np.uint8).reshape(-1, 4)
    names = np.arange(len(labels)).astype(str)
    drawn = reading.draw(FaceDataset(np.resize(images, (len(labels), 2, 2)), labels, DEFAULT_CLASSES, names))
    assert len(drawn) == 120 and len(set(drawn.names)) == 120
    assert (drawn.labels.reshape(-1, 3) == [0, 1, 2]).all()
