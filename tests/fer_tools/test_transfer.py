"""Section 8: trainings from what faces taught and from nothing, and what is made of their answers."""

import math
import multiprocessing
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import networks
import numpy as np
import pandas as pd
import pytest
from dask.system import CPU_COUNT
from made import draw_face

from fer_lib import training, transfer
from fer_lib.data.faces import FaceDataset
from fer_lib.files import UsageError
from fer_tools import checking
from fer_tools.model_files import loading
from fer_tools.transfer import figures, results, sources
from fer_tools.transfer.results import FOUR, PAIRS, Outcome, Plan
from fer_tools.transfer.training import Condition, Trained, Trainer
from fer_tools.transfer.workers import Workers

CLASSES = ("cat", "dog")
PLAN = Plan(blocks=4, decay=0.5, repeats=3, smallest=200)


def pets(each: int, start: int = 0) -> FaceDataset:
    images = np.stack([draw_face(name, start + i) for name in CLASSES for i in range(each)])
    labels = np.repeat([0, 1], each)
    return FaceDataset(images, labels, CLASSES, np.arange(2 * each).astype(str))


def trainer(folder: Path, layers: Sequence[tuple[str, dict]] = (), **values) -> Trainer:
    """Make one for the shipped network, or a chain of layers."""
    folder.mkdir(exist_ok=True)
    settings = checking.build("transfer", {"batch_size": 16, **values})
    path = networks.held(folder.with_suffix(".keras"), networks.chain(*layers)) if layers else None
    network = loading.load(path or sources.path("optimized_model"))
    return Trainer(network, pets(24), pets(8, 100), settings, 2, folder)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """One trainer, and what four conditions left, trained one after the other."""
    made = trainer(tmp_path_factory.mktemp("trained"))
    conditions = [Condition(4, True), Condition(0, True), Condition(4, decay=0.5), Condition(0, per_class=9)]
    return made, {condition: made.finished(condition) for condition in conditions}


def same(a: Trained, b: Trained) -> bool:
    pairs = zip(a.weights, b.weights, strict=True)
    return a.history == b.history and all((x == y).all() for x, y in pairs)


def test_what_was_trained_before_changes_nothing(trained, tmp_path):
    """So an interrupted stage ends with the bytes of one that was not."""
    conditions, other = list(trained[1]), trainer(tmp_path / "other")
    for condition in (conditions[3], conditions[1], conditions[2]):
        assert same(other.finished(condition), trained[1][condition]), condition.key
        file = f"{condition.key}.npz"
        assert (other.folder / file).read_bytes() == (trained[0].folder / file).read_bytes()


def test_worker_processes_train_the_same_and_end(tmp_path):
    few = [Condition(2, True), Condition(0), Condition(1, decay=0.5, per_class=9, repeat=1)]
    workers = Workers(ours := trainer(tmp_path / "workers", networks.SMALL))
    assert not multiprocessing.active_children()
    found = workers.all(few)
    assert list(found) == few and len(multiprocessing.active_children()) == min(len(few), CPU_COUNT)
    theirs = trainer(tmp_path / "here", networks.SMALL)
    for condition, each in found.items():  # with one thread, which takes sums in another order
        both = each.weights, theirs.finished(condition).weights
        x, y = (np.concatenate([weights.ravel() for weights in arrays]) for arrays in both)
        assert np.allclose(x, y, atol=1e-3), condition.key
    workers.close()
    assert not multiprocessing.active_children()
    assert sorted(path.name for path in ours.folder.iterdir()) == sorted(f"{c.key}.npz" for c in few)
    before = [path.read_bytes() for path in sorted(ours.folder.iterdir())]
    assert all(same(each, found[c]) for c, each in workers.all(few).items())  # none begins
    assert not multiprocessing.active_children()
    ours.path(few[1]).unlink()
    workers.all(few)  # by the other process, perhaps, and with nothing before it
    workers.close()
    assert [path.read_bytes() for path in sorted(ours.folder.iterdir())] == before


def test_a_worker_that_fails_or_ends_leaves_one_line_and_no_process(tmp_path):
    made = trainer(tmp_path / "steep", networks.SMALL)
    made.settings.__dict__["learning_rate"] = math.nan  # no setting of a user can be
    workers = Workers(made)
    with pytest.raises(UsageError, match="the loss is no number"):
        workers.all([Condition(0), Condition(0, repeat=1)])
    assert not multiprocessing.active_children()

    def kill() -> None:
        while not (children := multiprocessing.active_children()):
            time.sleep(0.01)
        children[0].kill()

    threading.Thread(target=kill, daemon=True).start()
    with pytest.raises(UsageError, match="a process that trains ended"):
        workers.all([Condition(0)])
    assert not multiprocessing.active_children()


def test_where_it_looks_is_that_of_the_network_trained(tmp_path):
    faces = pets(4)
    for name, layers, brightest in (
        ("maps", networks.SMALL, 1.0),
        ("none", [("Flatten", {}), ("Dense", {"units": 4}), networks.SMALL[-1]], math.nan),
    ):
        made = trainer(tmp_path / name, layers)
        left = Trained(made.model.get_weights(), [])
        made.model.set_weights([0 * weight for weight in left.weights])
        drawn = figures.looks(made, left, faces, seed=1)
        said = [ax.get_xlabel() or "".join(t.get_text() for t in ax.texts) for ax in drawn.axes]
        assert sum("→" in text for text in said) == len(faces), said
        maps = [image.get_array() for ax in drawn.axes for image in ax.images[1:]]
        assert np.nanmax(np.stack([m.filled(np.nan) for m in maps])) == pytest.approx(brightest, nan_ok=True)


def test_what_is_finished_is_not_trained_again(trained, monkeypatch):
    made, found = trained
    monkeypatch.setattr(made, "model", None)
    assert all(same(made.finished(condition), each) for condition, each in found.items())
    path = made.folder / f"{Condition(1).key}.npz"
    path.write_bytes(b"PK damaged")
    with pytest.raises(UsageError, match=r"damaged .*; remove it"):
        made.finished(Condition(1))


def test_frozen_layers_are_those_of_the_face_network(trained):
    made, found = trained
    frozen, random, tuned, _ = found.values()
    for each, unchanged in ((frozen, True), (tuned, False)):
        made.model.set_weights(each.weights)
        for name in (name for block in transfer.blocks(made.source) for name in block):
            ours, theirs = (m.get_layer(name).get_weights() for m in (made.model, made.source))
            assert all((x == y).all() for x, y in zip(ours, theirs, strict=True)) == unchanged, name
    assert frozen.weights[-1].shape == (2,) and (frozen.weights[-2] != 0).any()
    assert len(random.history) == 30 and len(tuned.history) == 3  # 8 steps at least, 3 an epoch


def test_the_head_says_of_images_what_it_said_of_their_features(trained):
    """It was trained on features of unit variance, and put on the network without that detour."""
    made, found = trained
    held_out = pets(8, 100)
    for each in list(found.values())[:2]:
        right = made.probabilities(each, held_out.images).argmax(axis=1) == held_out.labels
        assert right.mean() == each.val_accuracy


def test_the_validation_accuracy_is_that_of_the_weights_kept(trained):
    made, found = trained
    held_out = pets(8, 100)
    for condition, each in found.items():
        right = made.probabilities(each, held_out.images).argmax(axis=1) == held_out.labels
        assert right.mean() == pytest.approx(each.val_accuracy), condition.key


def test_a_decay_slows_the_first_blocks_down(tmp_path):
    """With a decay near nought the head alone moves: the first block stays near that of the source."""
    made = trainer(tmp_path / "slow", weight_decay=0.0)
    moved = []
    for decay in (1.0, 0.1):
        made.model.set_weights(made.finished(Condition(4, decay=decay)).weights)
        names = [block[0] for block in transfer.blocks(made.source)]
        pairs = [[m.get_layer(name).get_weights()[0] for m in (made.model, made.source)] for name in names]
        moved.append([np.abs(ours - theirs).mean() for ours, theirs in pairs])
    ratio = np.array(moved[1]) / moved[0]
    assert (ratio < [0.001, 0.01, 0.05, 0.5]).all() and ratio[3] > 0.01, ratio


def test_few_images_are_drawn_of_each_class_and_fewer_are_some_of_them(tmp_path, monkeypatch):
    made, drawn = trainer(tmp_path / "drawn"), []

    def refuse(images: np.ndarray, *_: object) -> None:
        drawn.append(images)
        raise ValueError("batches")

    monkeypatch.setattr(training, "batches", refuse)
    for per_class in (5, 9):
        with pytest.raises(ValueError, match="batches"):
            made.finished(Condition(0, per_class=per_class))
    few, more = ({image.tobytes() for image in images} for images in drawn)
    assert len(few) == 10 and len(more) == 18 and few < more


# -- numbers ------------------------------------------------------------------------------------------------


def outcome(
    accuracy: dict[str, float], plan: Plan = PLAN, n: int = 400, curve: dict | None = None
) -> Outcome:
    """Invent answers: of each condition the first so many are right, turned a little by the seed."""
    right, trained = {}, {}

    def invent(condition: Condition, share: float) -> None:
        right[condition] = np.roll(np.arange(n) < round(share * n), 7 * condition.repeat)
        measured = {"val_accuracy": share - 0.01 * condition.repeat, "val_loss": 1 - share}
        trained[condition] = SimpleNamespace(**measured, history=[{}])

    for condition in plan.conditions:
        invent(condition, 0.5)
    for size, pair in plan.curve.items():
        for name, group in pair.items():
            for condition in group:
                invent(condition, (curve or {}).get((size, name), 0.5))
    for name, group in plan.four.items():
        for condition in group:
            invent(condition, accuracy[name])
    return Outcome(plan, trained, right)


HELPED = {"frozen_transfer": 0.6, "frozen_random": 0.6, "tuned_transfer": 0.9, "tuned_random": 0.8}


def test_every_training_is_planned_once():
    conditions = PLAN.conditions
    assert len({condition.key for condition in conditions}) == len(conditions)
    assert PLAN.sizes == [25, 64, 0] and set(PLAN.layers) == {0, 1, 2, 3, 4}
    assert {condition.per_class for group in PLAN.layers.values() for condition in group} == {64}
    assert PLAN.layers[4] == PLAN.curve[64]["tuned_transfer"]  # the same trainings, not done twice
    assert PLAN.four["tuned_transfer"] == PLAN.curve[0]["tuned_transfer"]
    assert Plan(2, 1.0, 1, 12).sizes == [0] and Plan(2, 1.0, 1, 40).sizes == [25, 0]


@pytest.mark.parametrize(("smallest", "size"), [(600, 160), (200, 64), (40, 25), (12, 0)])
def test_the_decay_is_chosen_by_trainings_of_the_curve(smallest, size):
    asked = []

    def answers(conditions: Sequence[Condition]) -> dict[Condition, SimpleNamespace]:
        asked.extend(conditions)
        return {c: SimpleNamespace(val_loss=c.decay + 0.1 * c.repeat) for c in conditions}

    losses = results.choose_decay(SimpleNamespace(all=answers), 4, 3, smallest)
    assert losses == pytest.approx({1.0: 1.1, 0.5: 0.6})
    chosen = {c for c in asked if c.decay == 0.5}
    assert chosen == set(Plan(4, 0.5, 3, smallest).curve[size]["tuned_transfer"])
    assert {c.per_class for c in asked} == {size}


def test_intervals_and_tests_are_those_of_statsmodels():
    proportion = pytest.importorskip("statsmodels.stats.proportion")
    tables = pytest.importorskip("statsmodels.stats.contingency_tables")
    found = outcome(HELPED)
    numbers = results.numbers(found)
    for name, share in HELPED.items():
        low, high = proportion.proportion_confint(share * 400, 400, method="wilson")
        expected = (share, low, high, share, share)
        keys = ("accuracy", "accuracy_low", "accuracy_high", "lowest", "highest")
        assert [numbers[f"{name}.{key}"] for key in keys] == pytest.approx(expected)
        assert numbers[f"{name}.val_accuracy"] == pytest.approx(share - 0.01)
    assert (numbers["chosen"], numbers["chosen_accuracy"]) == ("fine-tuned transfer", pytest.approx(0.9))
    for pair, (a, b) in PAIRS.items():
        ours, theirs = (found.right[found.plan.four[name][0]] for name in (a, b))
        table = [
            [(ours & theirs).sum(), (ours & ~theirs).sum()],
            [(~ours & theirs).sum(), (~ours & ~theirs).sum()],
        ]
        expected = tables.mcnemar(table, exact=True).pvalue
        said = results.verdict(found, pair)
        assert said[f"{pair}.p_value"] == pytest.approx(expected)
        assert [said[f"{pair}.only_transfer"], said[f"{pair}.only_random"]] == [table[0][1], table[1][0]]


def test_the_interval_of_a_difference_is_that_of_a_paired_mean():
    stats = pytest.importorskip("statsmodels.stats.weightstats")
    found = outcome(HELPED)
    groups = [found.plan.four[name] for name in PAIRS["tuned"]]
    means = [np.mean([found.right[condition] for condition in group], axis=0) for group in groups]
    low, high = stats.DescrStatsW(means[0] - means[1]).zconfint_mean()
    difference = found.compared(*groups)
    assert (difference.mean, difference.low, difference.high) == pytest.approx((0.1, low, high), abs=1e-4)
    assert difference.by_seed == pytest.approx([0.1, 0.1, 0.1])


@pytest.mark.parametrize(
    ("transfer_share", "random_share", "said"),
    [
        (0.9, 0.8, "What was learnt from faces helps: fine-tuned transfer"),
        (0.8, 0.9, "What was learnt from faces harms: fine-tuned transfer"),
        (0.8, 0.8, "No effect of the faces is shown: fine-tuned transfer"),
    ],
)
def test_the_verdict_follows_the_numbers(transfer_share, random_share, said):
    found = outcome(HELPED | {"tuned_transfer": transfer_share, "tuned_random": random_share})
    verdict = results.verdict(found, "tuned")
    assert verdict["tuned.sentence"].startswith(said)
    assert f"{transfer_share:.1%} against {random_share:.1%}" in verdict["tuned.sentence"]
    assert verdict["tuned.shown"] == (transfer_share != random_share)


def test_an_effect_with_one_seed_against_the_others_is_not_shown():
    difference = results.Difference(0.1, 0.05, 0.15, np.array([0.2, 0.2, -0.1]))
    assert not difference.shown
    assert results.Difference(0.1, 0.05, 0.15, np.array([0.2, 0.05, 0.05])).shown
    assert not results.Difference(0.1, -0.05, 0.25, np.array([0.1, 0.1, 0.1])).shown


def of_curve(tuned: list[float], random: list[float]) -> Outcome:
    names = PAIRS["tuned"]
    curve = {
        (size, name): share
        for name, shares in zip(names, (tuned, random), strict=True)
        for size, share in zip(PLAN.sizes, shares, strict=True)
    }
    return outcome(HELPED | {names[0]: tuned[-1], names[1]: random[-1]}, curve=curve)


def test_a_start_is_worth_the_images_that_the_control_lacks():
    """25 images reach 0.7 fine-tuned; from random 64 reach 0.6 and 200 reach 0.8: half way in logarithms."""
    table = results.curve(of_curve([0.7, 0.75, 0.8], [0.5, 0.6, 0.8]))
    assert table["images"].tolist() == [25, 64, 200]
    assert table["worth"][0] == pytest.approx(math.sqrt(64 * 200) - 25, abs=0.1)
    assert table["worth"][2] == pytest.approx(0, abs=0.1)
    about = results.about_curve(table)
    assert about["curve.worth"] == table["worth"][0] and about["curve.matters"] == 64
    assert "better with 25, 64 images" in about["curve.sentence"]
    assert "+88 images" in about["curve.sentence"]


@pytest.mark.parametrize(
    ("tuned", "random", "worth", "matters", "said"),
    [
        ([0.9, 0.9, 0.9], [0.5, 0.6, 0.8], None, 200, "worth more than all 200 images"),
        (
            [0.4, 0.5, 0.8],
            [0.5, 0.6, 0.8],
            None,
            0,
            "worse with 25, 64 images of each class. With 25 of each class, what was learnt from faces is "
            "worth nothing",
        ),
        ([0.5, 0.6, 0.8], [0.5, 0.6, 0.8], 0.0, 0, "With no number of images is fine-tuning better or worse"),
        ([0.6, 0.6, 0.8], [0.5, 0.6, 0.6], 39.0, 200, "worth +39 images"),  # the fewest of equally good ones
    ],
)
def test_the_curve_says_what_it_can(tuned, random, worth, matters, said):
    about = results.about_curve(results.curve(of_curve(tuned, random)))
    assert about["curve.worth"] == (None if worth is None else pytest.approx(worth, abs=0.1))
    assert about["curve.matters"] == matters and said in about["curve.sentence"]


def test_layers_are_compared_with_none():
    found = outcome(HELPED)
    for condition in found.plan.layers[2]:
        found.right[condition][:] = np.arange(400) < 300
    table = results.layers(found)
    assert table["accuracy"].tolist() == pytest.approx([0.5, 0.5, 0.75, 0.5, 0.5])
    about = results.about_layers(found, table)
    assert about["layers.best"] == 2 and about["layers.images"] == 64
    assert "2 of 4 blocks taken over are best (75.0%; none: 50.0%)" in about["layers.sentence"]
    assert about["layers.sentence"].endswith("better than none beyond luck.")


def test_tables_tell_the_same_as_the_metrics():
    found = outcome(HELPED)
    faces = SimpleNamespace(names=np.arange(400).astype(str), labels=np.zeros(400, int), classes=CLASSES)
    table = results.predictions(found, faces)
    for name in FOUR:
        columns = [f"{name} {repeat}" for repeat in range(3)]
        assert table[columns].mean().mean() == pytest.approx(HELPED[name])
    shown = results.accuracies(results.numbers(found)).set_index("condition")
    assert shown.loc["fine-tuned transfer", "test"] == "90.0%"
    assert isinstance(results.curve(found), pd.DataFrame)
