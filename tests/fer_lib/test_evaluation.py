import csv
import json
import math
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from fer_lib import attention, evaluation, models, statistics, training
from fer_lib.files import UsageError
from fer_tools import assignment, cross_check
from fer_tools.checks.mcnemar import mcnemar
from fer_tools.report import numbers

CLASSES = ("neutral", "happy", "surprise")


def one_hot(predictions, confidence=0.8, k=3):
    rest = (1 - confidence) / (k - 1)
    return np.where(np.eye(k)[predictions] == 1, confidence, rest).astype(np.float32)


@pytest.fixture
def random_case():
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 3, 400)
    probabilities = rng.dirichlet([1, 1, 1], 400) + 0.8 * np.eye(3)[labels]
    return (probabilities / probabilities.sum(axis=1, keepdims=True)).astype(np.float32), labels


@pytest.mark.parametrize(
    # Newcombe (1998), Statistics in Medicine 17, table I, method 3.
    ("successes", "n", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_interval_against_published_values(successes, n, low, high):
    assert statistics.wilson_interval(successes, n) == pytest.approx((low, high), abs=5e-5)


def test_wilson_interval_is_symmetric_and_refuses_nonsense():
    low, high = statistics.wilson_interval(7, 30)
    assert statistics.wilson_interval(23, 30) == pytest.approx((1 - high, 1 - low))
    assert statistics.wilson_interval(30, 30)[1] == 1.0
    for bad in ((1, 0), (5, 4), (-1, 4), (1, 4, 1.0)):
        with pytest.raises(UsageError):
            statistics.wilson_interval(*bad)


def test_confusion_matrix_is_true_by_predicted():
    matrix = evaluation.confusion_matrix(np.array([0, 0, 1, 2]), np.array([0, 2, 1, 0]), 4)
    assert matrix.tolist() == [[1, 0, 1, 0], [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]


def test_metrics_by_hand():
    labels = np.array([0, 0, 0, 0, 1, 1, 1, 2, 2, 2])
    predictions = np.array([0, 0, 0, 1, 1, 1, 0, 2, 2, 0])
    metrics = evaluation.evaluate(one_hot(predictions), labels, CLASSES)
    assert metrics["images"] == 10
    assert metrics["accuracy"] == pytest.approx(0.7)
    assert (metrics["accuracy_low"], metrics["accuracy_high"]) == statistics.wilson_interval(7, 10)
    assert metrics["balanced_accuracy"] == pytest.approx((3 / 4 + 2 / 3 + 2 / 3) / 3)
    assert (metrics["majority_class"], metrics["majority_accuracy"]) == ("neutral", 0.4)
    assert metrics["precision.neutral"] == pytest.approx(3 / 5)
    assert metrics["recall.neutral"] == pytest.approx(3 / 4)
    assert metrics["f1.neutral"] == pytest.approx(2 / 3)
    assert metrics["precision.surprise"] == pytest.approx(1)
    assert metrics["macro_f1"] == pytest.approx((2 / 3 + 2 / 3 + 4 / 5) / 3)
    losses = np.where(predictions == labels, -math.log(0.8), -math.log(0.1))
    assert metrics["loss"] == pytest.approx(losses.mean(), rel=1e-5)
    margin = 1.959964 * losses.std(ddof=1) / math.sqrt(10)
    assert metrics["loss_high"] - metrics["loss"] == pytest.approx(margin, rel=1e-4)
    assert metrics["ece"] == pytest.approx(0.8 - 0.7, abs=1e-6)  # always 80 % sure, right in 70 %
    json.dumps(metrics, allow_nan=False)  # plain values only


SURE = {"dense": ("softmax", None), "activation": (None, "Activation"), "softmax": (None, "Softmax")}


@pytest.mark.parametrize("end", SURE)
@pytest.mark.parametrize("steepness", [1.0, 10.0, 300.0])
def test_the_loss_is_that_of_keras_however_sure_the_network(end, steepness):
    """Against scipy in float64, and against the evaluation of a compiled model: validation in training."""
    keras = pytest.importorskip("keras")
    special = pytest.importorskip("scipy.special")
    rng = np.random.default_rng(0)
    activation, last = SURE[end]
    inputs = keras.Input((2, 2, 1))
    x = keras.layers.Dense(3, activation=activation, name="head")(keras.layers.Flatten()(inputs))
    if last:
        x = keras.layers.Activation("softmax")(x) if last == "Activation" else keras.layers.Softmax()(x)
    model = training.compile_model(keras.Model(inputs, x))
    weights = steepness * rng.standard_normal((4, 3)).astype(np.float32)
    model.get_layer("head").set_weights([weights, np.zeros(3, np.float32)])
    images, labels = rng.standard_normal((300, 2, 2, 1)).astype(np.float32), rng.integers(0, 3, 300)

    probabilities = evaluation.predict(model, images)
    assert (probabilities[np.arange(300), labels].min() == 0) == (steepness == 300)
    exact = -special.log_softmax(images.reshape(300, 4).astype(float) @ weights, axis=1)[
        np.arange(300), labels
    ]
    found = evaluation.losses(model, images, labels)
    np.testing.assert_allclose(found, exact, rtol=1e-5, atol=2e-5 * steepness)
    said = model.evaluate(images, np.eye(3)[labels], verbose=0, return_dict=True)
    metrics = evaluation.evaluate(probabilities, labels, CLASSES, found)
    assert metrics["loss"] == pytest.approx(said["cross_entropy"], rel=1e-5)
    assert metrics["loss"] == pytest.approx(exact.mean(), rel=1e-5)
    margin = 1.959964 * exact.std(ddof=1) / math.sqrt(300)
    assert metrics["loss_high"] == pytest.approx(exact.mean() + margin, rel=1e-4)
    cross_check.check_evaluation(model, images, labels, metrics)
    json.dumps(metrics, allow_nan=False)
    if steepness < 300:  # so far float32 tells the same by its probabilities
        assert evaluation.evaluate(probabilities, labels, CLASSES)["loss"] == pytest.approx(
            exact.mean(), rel=1e-4
        )
    assert math.isfinite(evaluation.evaluate(probabilities, labels, CLASSES)["loss"])


def test_a_network_that_does_not_end_with_softmax_is_named():
    keras = pytest.importorskip("keras")
    layers = [keras.layers.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(2, name="end")]
    with pytest.raises(UsageError, match="its last layer, end, is no softmax"):
        evaluation.losses(keras.Sequential(layers, name="odd"), np.zeros((2, 8, 8, 1)), np.zeros(2, int))


def test_loss_interval_covers_the_mean_it_estimates():
    rng = np.random.default_rng(0)
    labels = np.zeros(20_000, int)
    right = rng.beta(4, 1, 20_000)
    probabilities = np.stack([right, 1 - right], axis=1)
    inside = 0
    for start in range(0, 20_000, 100):
        part = evaluation.evaluate(probabilities[start : start + 100], labels[:100], ("a", "b"))
        inside += part["loss_low"] <= 0.25 <= part["loss_high"]  # -E log X = 1/4 for Beta(4, 1)
    assert 0.88 < inside / 200 < 0.99


def test_a_class_never_predicted_has_no_precision_and_is_no_error():
    metrics = evaluation.evaluate(one_hot(np.array([0, 0, 0])), np.array([0, 0, 1]), CLASSES)
    assert metrics["precision.happy"] is None and metrics["recall.happy"] == 0 and metrics["f1.happy"] == 0
    assert metrics["precision.surprise"] is metrics["recall.surprise"] is metrics["f1.surprise"] is None
    assert metrics["balanced_accuracy"] == pytest.approx(0.5)
    json.dumps(metrics, allow_nan=False)


@pytest.mark.parametrize(
    ("probabilities", "labels", "message"),
    [
        (np.full((3, 3), 1 / 3), np.array([0, 1]), "shape"),
        (np.full((1, 3), 1 / 3), np.array([0]), "two images"),
        (np.full((2, 3), 1 / 3), np.array([0, 3]), "0 to 2"),
        (np.full((2, 3), 0.9), np.array([0, 1]), "softmax"),
        (np.full((2, 3), np.nan), np.array([0, 1]), "softmax"),
    ],
)
def test_impossible_predictions_are_refused(probabilities, labels, message):
    with pytest.raises(UsageError, match=message):
        evaluation.evaluate(probabilities, labels, CLASSES)


def test_intervals_of_each_class_hold_their_value(random_case):
    probabilities, labels = random_case
    table = evaluation.per_class(labels, probabilities.argmax(axis=1), CLASSES)
    for key in ("precision", "recall", "f1"):
        assert (table[f"{key}_low"] < table[key]).all() and (table[key] < table[f"{key}_high"]).all()
    both = 2 * table["precision"] * table["recall"] / (table["precision"] + table["recall"])
    np.testing.assert_allclose(table["f1"], both)


def test_tables_of_a_run_are_rounded_once_when_they_are_read(tmp_path):
    """From counts to the report, by way of the CSV file, as exact fractions are rounded."""
    wrong = 0
    for n in range(400, 2400):
        hits = -(-n * 83345 // 100000)  # to four digits 0.8335, and 83.4 % if rounded again
        table = evaluation.per_class(np.zeros(n, int), np.repeat([0, 1], [hits, n - hits]), ("a", "b"))
        header, *rows = csv.reader(table.to_csv(index=False, lineterminator="\n").splitlines())
        shown = {c["title"]: c["cells"][0] for c in numbers.columns({"header": header, "rows": rows}, ".1%")}
        exact = Fraction(100 * hits, n), Fraction(200 * hits, n + hits)
        said = [f"{Decimal(x.numerator) / Decimal(x.denominator):.1f}%" for x in exact]
        assert [shown[name].split("\u00a0")[0] for name in ("Recall", "F1")] == said
        wrong += f"{round(hits / n, 4):.1%}" != said[0]
    assert wrong > 100  # the test sees what it is about

    faces = SimpleNamespace(classes=CLASSES, names=np.arange(500), labels=np.zeros(500, int))
    probabilities = np.random.default_rng(0).dirichlet([0.1, 0.1, 0.1], 500).astype(np.float32)
    evaluation.predictions(faces, probabilities).to_csv(tmp_path / "a.csv", index=False)
    np.testing.assert_array_equal(
        np.loadtxt(tmp_path / "a.csv", np.float32, delimiter=",", skiprows=1, usecols=(3, 4, 5)),
        probabilities,
    )


def test_interval_of_f1_covers_it():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 200_000)
    predictions = np.where(rng.random(200_000) < 0.7, labels, 1 - labels)
    true = evaluation.per_class(labels, predictions, ("a", "b"))["f1"][0]
    parts = [
        evaluation.per_class(labels[i : i + 200], predictions[i : i + 200], ("a", "b")).iloc[0]
        for i in range(0, 60_000, 200)
    ]
    assert 0.91 < np.mean([part["f1_low"] <= true <= part["f1_high"] for part in parts]) < 0.99


def test_calibration_by_hand():
    confidence = np.array([0.95, 0.91, 0.62, 0.7, 0.55, 0.5])
    probabilities = np.stack([confidence, 1 - confidence], axis=1)
    labels = np.array([0, 1, 0, 1, 0, 0])
    table = evaluation.calibration(probabilities, labels)
    assert table["count"].tolist() == [0, 0, 0, 0, 1, 1, 2, 0, 0, 2]  # 0.5 belongs to (0.4, 0.5]
    assert table["accuracy"][9] == 0.5 and table["confidence"][9] == pytest.approx(0.93)
    error = (1 * (1 - 0.55) + 2 * abs(0.5 - 0.66) + 2 * abs(0.5 - 0.93) + (1 - 0.5)) / 6
    assert evaluation.expected_calibration_error(probabilities, labels) == pytest.approx(error)
    certain = np.array([[1.0, 0.0], [0.0, 1.0]])
    assert evaluation.expected_calibration_error(certain, np.array([0, 1])) == 0
    assert evaluation.expected_calibration_error(certain, np.array([1, 0])) == 1


def test_most_confident_mistakes():
    probabilities = np.array([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.05, 0.95], [0.8, 0.2]])
    labels = np.array([1, 1, 0, 1, 1])
    assert evaluation.most_confident_mistakes(probabilities, labels, 2).tolist() == [0, 2]
    assert evaluation.most_confident_mistakes(probabilities, labels, 9).tolist() == [0, 2, 4]
    assert len(evaluation.most_confident_mistakes(probabilities, probabilities.argmax(axis=1), 5)) == 0


def paired(only_a, only_b, both=50, neither=10):
    a = [True] * only_a + [False] * only_b + [True] * both + [False] * neither
    b = [False] * only_a + [True] * only_b + [True] * both + [False] * neither
    return np.array(a), np.array(b)


@pytest.mark.parametrize(("only_a", "only_b"), [(0, 0), (0, 5), (1, 9), (7, 7), (40, 62), (900, 1100)])
def test_mcnemar_is_the_exact_binomial_test(only_a, only_b):
    stats = pytest.importorskip("scipy.stats")
    n = only_a + only_b
    expected = stats.binomtest(only_a, n, 0.5).pvalue if n else 1.0
    result = mcnemar(*paired(only_a, only_b))
    assert (result.only_a, result.only_b) == (only_a, only_b)
    assert result.p_value == pytest.approx(expected, rel=1e-9)


def test_mcnemar_in_words():
    better = mcnemar(*paired(5, 25), names=("run1", "run2"))
    assert better.verdict.startswith("run2 is better than run1 by 22.2 percentage points")
    assert better.p_value == pytest.approx(2 * sum(math.comb(30, i) for i in range(6)) / 2**30)
    assert "p < 0.001" in better.verdict
    same = mcnemar(*paired(12, 15), names=("run1", "run2"))
    assert same.verdict.startswith("No difference between run1 and run2 is shown")
    with pytest.raises(UsageError, match="same images"):
        mcnemar(np.array([True]), np.array([True, False]))


def test_accuracy_by_names_and_numbers():
    correct = np.array([True, True, False, True, False, False])
    table = evaluation.accuracy_by(["hat", "none", "hat", "none", None, "none"], correct)
    assert table["group"].tolist() == ["hat", "none", "missing"]
    assert table["count"].tolist() == [2, 3, 1]
    np.testing.assert_allclose(table["accuracy"], [0.5, 2 / 3, 0])
    assert (table["accuracy_low"][1], table["accuracy_high"][1]) == statistics.wilson_interval(2, 3)

    table = evaluation.accuracy_by([-30.0, -10.0, 0.0, 10.0, 30.0, 99.0], correct, bins=[-30, -5, 5, 30])
    assert table["group"].tolist() == ["-30 to -5", "-5 to 5", "5 to 30", "missing"]
    np.testing.assert_allclose(table["accuracy"], [1, 0, 0.5, 0])


def test_accuracy_by_equally_filled_groups_loses_nobody():
    rng = np.random.default_rng(0)
    for values in (rng.normal(0, 20, 999), rng.random(999) ** 4, rng.uniform(1e5, 2e5, 999)):
        correct = rng.random(999) < 0.7
        table = evaluation.accuracy_by(values, correct)
        assert table["count"].sum() == 999 and "missing" not in set(table["group"])
        assert np.average(table["accuracy"], weights=table["count"]) == pytest.approx(correct.mean())
    assert len(evaluation.accuracy_by(pd.Series([1, 2, 2, 1]), np.ones(4))) == 2
    with pytest.raises(UsageError, match="one each"):
        evaluation.accuracy_by([1, 2], np.ones(3))


@pytest.mark.parametrize("decimals", [0, 1, 2, 3, 6])
def test_a_value_equal_to_a_printed_edge_is_in_the_group_that_ends_there(decimals):
    """Against exact decimal arithmetic on what is printed."""
    rng = np.random.default_rng(decimals)
    values = [Decimal(int(i)).scaleb(-decimals) for i in rng.integers(-40, 40, 400)]
    tenth = 10.0**-decimals
    given = {"number": 4, "edges": [-40 * tenth, -6 * tenth, 3 * tenth, 7 * tenth, 40 * tenth]}
    for bins in given.values():
        groups = evaluation.accuracy_by([float(value) for value in values], np.ones(400), bins)["group"]
        table = evaluation.accuracy_by([float(value) for value in values], np.ones(400), bins)
        ends = [tuple(map(Decimal, group.split(" to "))) for group in groups]
        assert len(ends) == 4 and all(a[1] == b[0] for a, b in pairwise(ends))
        expected = [sum(low < value <= high for value in values) for low, high in ends]
        expected[0] += sum(value == ends[0][0] for value in values)
        assert table["count"].tolist() == expected and sum(expected) == 400


def test_edges_that_are_far_from_nought_or_from_data_are_printed_in_full():
    values = 1e7 + np.arange(100) / 8
    table = evaluation.accuracy_by(values, np.ones(100), 4)
    assert table["count"].sum() == 100 and table["group"][0].startswith("10000000 to 10000003")
    edges = np.quantile(np.random.default_rng(0).random(1000), [0, 0.3, 1])  # 17 digits: nobody is lost
    table = evaluation.accuracy_by(np.random.default_rng(0).random(1000), np.ones(1000), edges)
    assert table["count"].tolist() == [300, 700]


METRICS = {
    "model.name": "basic_model",
    "model.parameters": 118_531,
    "model.input": "64x64x1",
    "training.optimizer": "Adam",
    "training.learning_rate": 1e-3,
    "training.loss": "categorical cross-entropy",
    "training.epochs": 50,
    "training.batch_size": 128,
    "training.images": 4000,
    "training.validation_images": 1000,
    "overfitting.onset_epoch": 24,
    "overfitting.best_epoch": 23,
    "test.accuracy": 0.7,
    "test.seen_in_training": 0,
    "test.accuracy_low": 0.68,
    "test.accuracy_high": 0.72,
}


def test_requirements_all_pass_and_each_can_fail():
    table = assignment.requirements(METRICS, model_saved=True)
    assert table["passed"].all() and len(table) == 13
    assert table.set_index("requirement").loc["test accuracy", "measured"] == "70.0% (68.0% to 72.0%)"
    changes = {
        "model.parameters": 150_001,
        "model.input": "48x48x1",
        "training.optimizer": "SGD",
        "training.learning_rate": 1e-2,
        "training.loss": "hinge",
        "training.epochs": 5,
        "training.batch_size": 64,
        "training.images": 3000,
        "overfitting.best_epoch": 24,
        "test.seen_in_training": 1,
        "test.accuracy": 0.59,
    }
    failed = set()
    for key, value in changes.items():
        table = assignment.requirements(METRICS | {key: value}, model_saved=True)
        assert not table["passed"].all(), key
        failed |= set(table[~table["passed"]]["requirement"])
    assert failed == set(table["requirement"])
    assert not assignment.requirements(METRICS, model_saved=False)["passed"].all()


def test_requirements_of_another_network_and_of_a_run_without_onset():
    metrics = METRICS | {
        "model.name": "optimized_model",
        "model.parameters": 90_000,
        "overfitting.onset_epoch": None,
    }
    table = assignment.requirements(metrics, model_saved=True)
    assert table["passed"].all() and len(table) == 12
    assert table["measured"].str.contains("no over-fitting seen").any()
    with pytest.raises(UsageError, match=r"no test\.accuracy"):
        assignment.requirements({k: v for k, v in METRICS.items() if k != "test.accuracy"}, True)


@pytest.fixture(scope="module")
def patch_finder():
    """Frozen network that takes an image for class 1 when it holds a bright patch, built by hand."""
    keras = pytest.importorskip("keras")
    layers = keras.layers
    inputs = layers.Input((32, 32, 1))
    x = layers.RandomFlip("horizontal_and_vertical")(inputs)
    x = layers.Conv2D(2, 3, padding="same", activation="relu", name="conv", trainable=False)(x)
    x = layers.MaxPooling2D(2)(x)
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dropout(0.5)(x)
    model = keras.Model(inputs, layers.Dense(2, activation="softmax", name="head", trainable=False)(x))
    # The first map fires on light, the second on dark; the first speaks for class 1.
    model.get_layer("conv").set_weights(
        [np.stack([np.full((3, 3, 1), 1 / 9), np.full((3, 3, 1), -1 / 9)], axis=-1), np.array([-0.5, 0.1])]
    )
    model.get_layer("head").set_weights([np.array([[-9.0, 9.0], [3.0, -3.0]]), np.zeros(2)])
    return model


def planted(rows, columns):
    images = np.zeros((len(rows), 32, 32, 1), np.float32)
    for image, row, column in zip(images, rows, columns, strict=True):
        image[row : row + 8, column : column + 8] = 1
    return images


def test_attention_finds_a_planted_patch(patch_finder):
    rows, columns = [2, 20, 5], [22, 3, 5]
    maps = attention.grad_cam(patch_finder, planted(rows, columns), class_index=1)
    assert maps.shape == (3, 32, 32) and maps.dtype == np.float32
    assert maps.max(axis=(1, 2)) == pytest.approx([1, 1, 1])
    for heat, row, column in zip(maps, rows, columns, strict=True):
        inside = heat[row : row + 8, column : column + 8].sum()
        assert inside == pytest.approx(heat.sum())  # all of it, and not flipped


def test_attention_is_that_of_the_score_before_softmax():
    """Where maps go through their averages into one dense layer, it has a closed form (section 3.1)."""
    keras = pytest.importorskip("keras")
    keras.utils.set_random_seed(0)
    model = models.build("optimized_model")
    head = model.get_layer("dense")
    head.set_weights([3 * weight for weight in head.get_weights()])
    images = np.random.default_rng(0).uniform(0, 255, (5, 48, 48, 1)).astype(np.float32)
    last = model.get_layer("global_average_pooling").input
    maps = np.asarray(keras.Model(model.inputs, last)(images), float)
    for i in range(3):
        expected = np.maximum(maps @ head.get_weights()[0][:, i], 0)
        peak = expected.max((1, 2), keepdims=True)
        expected = np.divide(expected, peak, out=np.zeros_like(expected), where=peak > 0)
        np.testing.assert_allclose(attention.grad_cam(model, images, i), expected, atol=1e-4)


def test_attention_of_the_other_class_avoids_the_patch(patch_finder):
    images = planted([10], [10])
    dark = attention.grad_cam(patch_finder, images, class_index=np.array([0]))[0]
    assert dark[11:17, 11:17].max() == 0 and dark[:8].min() > 0.5
    predicted = int(patch_finder.predict(images, verbose=0).argmax())
    np.testing.assert_array_equal(
        attention.grad_cam(patch_finder, images), attention.grad_cam(patch_finder, images, predicted)
    )


def test_attention_without_evidence_is_zero(patch_finder):
    blank = np.zeros((70, 32, 32, 1), np.float32)  # more than one batch
    assert attention.grad_cam(patch_finder, blank, class_index=1).max() == 0


def test_attention_needs_feature_maps():
    keras = pytest.importorskip("keras")
    flat = keras.Sequential([keras.layers.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(2)])
    with pytest.raises(UsageError, match="convolutions"):
        attention.grad_cam(flat, np.zeros((1, 8, 8, 1), np.float32))


def test_predict_is_the_same_twice_whatever_the_batch(patch_finder):
    images = np.random.default_rng(0).random((37, 32, 32, 1)).astype(np.float32)
    first = evaluation.predict(patch_finder, images)
    assert first.shape == (37, 2) and first.dtype == np.float32
    np.testing.assert_allclose(first.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(first, evaluation.predict(patch_finder, images))  # no dropout, no flips
    np.testing.assert_allclose(first, evaluation.predict(patch_finder, images, batch_size=5), atol=1e-6)
