"""From predictions to numbers: every accuracy with an interval, and where the network looks.

Shapes: `probabilities` (n, k) float, `labels` and `predictions` (n,) int in 0..k-1, and
`confusion_matrix[true, predicted]`. Only `predict` and `attention` need TensorFlow.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np

from fer_lib.files import UsageError

if TYPE_CHECKING:
    import keras
    import pandas as pd

LEVEL = 0.95  # of every interval in this module


def predict(model: "keras.Model", images: np.ndarray, batch_size: int = 256) -> np.ndarray:
    """Class probabilities, with dropout and augmentation inactive.

    Parameters
    ----------
    images : (n, height, width, 1), prepared to the input of the model.

    Returns
    -------
    (n, k) float32, rows summing to 1.
    """
    return np.asarray(model.predict(images, batch_size=batch_size, verbose=0), np.float32)


def evaluate(probabilities: np.ndarray, labels: np.ndarray, classes: Sequence[str]) -> dict[str, Any]:
    """All metrics of a test set as a flat dictionary, each a plain number, string or None.

    Precision, recall and F1 of a class are None where they are undefined (never predicted, never
    present); macro F1 and balanced accuracy leave such classes out.

    Returns
    -------
    Keys `images`, `accuracy`, `accuracy_low`, `accuracy_high` (Wilson), `loss`, `loss_low`, `loss_high`
    (mean cross-entropy, normal approximation), `balanced_accuracy`, `majority_class`,
    `majority_accuracy`, `macro_f1`, `ece`, and `precision.<class>`, `recall.<class>`, `f1.<class>`.

    Raises
    ------
    UsageError
        If shapes do not fit, there are fewer than two images, or probabilities are not probabilities.
    """
    _check(probabilities, labels, len(classes))
    predictions = probabilities.argmax(axis=1)
    hits = int(np.sum(predictions == labels))
    low, high = wilson_interval(hits, len(labels))

    chosen = np.asarray(probabilities, float)[np.arange(len(labels)), labels]
    loss = -np.log(np.clip(chosen, 1e-7, 1))  # Keras' own epsilon, so that both give the same loss
    margin = _z() * loss.std(ddof=1) / math.sqrt(len(loss))

    metrics: dict[str, Any] = {
        "images": len(labels),
        "accuracy": hits / len(labels),
        "accuracy_low": low,
        "accuracy_high": high,
        "loss": float(loss.mean()),
        "loss_low": float(max(0.0, loss.mean() - margin)),
        "loss_high": float(loss.mean() + margin),
    }
    counts = np.bincount(labels, minlength=len(classes))
    table = per_class(labels, predictions, classes).set_index("class")
    metrics["balanced_accuracy"] = float(table["recall"].mean())  # pandas leaves NaN out of means
    metrics["majority_class"] = classes[int(counts.argmax())]
    metrics["majority_accuracy"] = float(counts.max() / len(labels))
    for name in ("precision", "recall", "f1"):
        for label in classes:
            value = float(table.loc[label, name])
            metrics[f"{name}.{label}"] = value if math.isfinite(value) else None
    metrics["macro_f1"] = float(table["f1"].mean())
    metrics["ece"] = expected_calibration_error(probabilities, labels)
    return metrics


def confusion_matrix(labels: np.ndarray, predictions: np.ndarray, k: int) -> np.ndarray:
    """(k, k) int counts, `matrix[true, predicted]`."""
    return np.bincount(np.asarray(labels) * k + predictions, minlength=k * k).reshape(k, k)


def per_class(labels: np.ndarray, predictions: np.ndarray, classes: Sequence[str]) -> "pd.DataFrame":
    """Precision, recall and F1 per class with 95 % intervals.

    Precision and recall are proportions (Wilson). F1 = 2J / (1 + J), where J is the share of hits among
    the images that are of the class or were taken for it; its interval is that of J carried over.

    Returns
    -------
    DataFrame, a row per class: class, images, predicted, and precision, recall, f1, each with `_low` and
    `_high`; NaN where undefined.
    """
    import pandas as pd

    matrix = confusion_matrix(labels, predictions, len(classes))
    rows = []
    for i, name in enumerate(classes):
        hits, present, predicted = int(matrix[i, i]), int(matrix[i].sum()), int(matrix[:, i].sum())
        row: dict[str, Any] = {"class": name, "images": present, "predicted": predicted}
        for key, n in (("precision", predicted), ("recall", present), ("f1", present + predicted - hits)):
            values = np.array([hits / n, *wilson_interval(hits, n)]) if n else np.full(3, np.nan)
            if key == "f1":
                values = 2 * values / (1 + values)
            row |= zip((key, f"{key}_low", f"{key}_high"), values.tolist(), strict=True)
        rows.append(row)
    return pd.DataFrame(rows)


def calibration(probabilities: np.ndarray, labels: np.ndarray, bins: int = 10) -> "pd.DataFrame":
    """Tabulate reliability: whether a confidence of 80 % is right in 80 % of cases.

    Confidence is the largest probability of an image, in `bins` equal-width bins of (0, 1].

    Returns
    -------
    DataFrame, a row per bin: low, high (edges), count, confidence, accuracy (means in the bin, NaN where
    empty), accuracy_low, accuracy_high (Wilson).
    """
    import pandas as pd

    confidence = np.asarray(probabilities, float).max(axis=1)
    correct = probabilities.argmax(axis=1) == labels
    edges = np.linspace(0, 1, bins + 1)
    index = np.clip(np.searchsorted(edges, confidence) - 1, 0, bins - 1)
    rows = []
    for i in range(bins):
        inside = index == i
        count = int(inside.sum())
        row = {"low": edges[i], "high": edges[i + 1], "count": count}
        row["confidence"] = confidence[inside].mean() if count else np.nan
        rows.append(row | _accuracy(correct[inside]))
    return pd.DataFrame(rows)


def expected_calibration_error(probabilities: np.ndarray, labels: np.ndarray, bins: int = 10) -> float:
    """Mean distance between confidence and accuracy over the bins of `calibration`, weighted by count.

    Source: Naeini, Cooper and Hauskrecht (2015), Obtaining well calibrated probabilities using Bayesian
    binning, AAAI.
    """
    table = calibration(probabilities, labels, bins).query("count > 0")
    return float(np.average((table["confidence"] - table["accuracy"]).abs(), weights=table["count"]))


def wilson_interval(successes: int, n: int, level: float = LEVEL) -> tuple[float, float]:
    """Wilson score interval of a proportion; stays within 0..1 and holds for small n, unlike p ± 1.96 s.

    Source: Wilson (1927), Probable inference, the law of succession, and statistical inference, JASA 22.

    Raises
    ------
    UsageError
        If `successes` is not within 0..n, n is 0, or `level` not within (0, 1).
    """
    if not 0 <= successes <= n or n == 0 or not 0 < level < 1:
        raise UsageError(
            f"interval of {successes} out of {n} at level {level}: give 0 <= successes <= n, n > 0"
        )
    z, p = _z(level), successes / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    # Exact at the ends, where rounding would leave 1e-17.
    return (0.0 if successes == 0 else centre - half, 1.0 if successes == n else centre + half)


def most_confident_mistakes(probabilities: np.ndarray, labels: np.ndarray, n: int) -> np.ndarray:
    """Give the indices of at most `n` wrong predictions, the most confident first; ties in image order."""
    wrong = np.flatnonzero(probabilities.argmax(axis=1) != labels)
    return wrong[np.argsort(-probabilities[wrong].max(axis=1), kind="stable")[:n]]


@dataclass(frozen=True)
class McNemar:
    """Paired comparison of A and B on the same images.

    Attributes
    ----------
    only_a, only_b : images that A (B) alone gets right.
    p_value : exact, two-sided.
    difference : accuracy of A minus accuracy of B.
    verdict : the result in words.
    """

    only_a: int
    only_b: int
    p_value: float
    difference: float
    verdict: str


def mcnemar(
    correct_a: np.ndarray, correct_b: np.ndarray, names: tuple[str, str] = ("A", "B"), alpha: float = 0.05
) -> McNemar:
    """Test whether two networks differ on the same images by more than chance: McNemar, exact.

    Only images on which exactly one is right say anything; without a difference each of these is A's or
    B's with probability one half, so the p-value is that of a two-sided binomial test.

    Parameters
    ----------
    correct_a, correct_b : (n,) bool, image by image.

    Source: McNemar (1947), Psychometrika 12; Dietterich (1998), Neural Computation 10.

    Raises
    ------
    UsageError
        If the two are not the same, non-zero number of images.
    """
    a, b = np.asarray(correct_a, bool), np.asarray(correct_b, bool)
    if a.shape != b.shape or a.ndim != 1 or not a.size:
        raise UsageError(f"comparison: {a.size} and {b.size} images; test both on the same images")
    only_a, only_b = int(np.sum(a & ~b)), int(np.sum(b & ~a))
    n = only_a + only_b
    ways, term = 0, 1
    for i in range(min(only_a, only_b) + 1):  # integers of any size: exact
        ways += term
        term = term * (n - i) // (i + 1)
    p_value = min(1.0, 2 * ways / 2**n)
    difference = (only_a - only_b) / a.size
    better, worse = names if difference >= 0 else names[::-1]
    facts = (
        f"{names[0]} alone is right on {only_a} of {a.size:,} images, {names[1]} alone on {only_b} "
        f"(exact McNemar test, p {'< 0.001' if p_value < 0.001 else f'= {p_value:.3f}'})"
    )
    if p_value < alpha:
        verdict = (
            f"{better} is better than {worse} by {100 * abs(difference):.1f} percentage points: {facts}."
        )
    else:
        verdict = f"No difference between {names[0]} and {names[1]} is shown: {facts}."
    return McNemar(only_a, only_b, p_value, difference, verdict)


def accuracy_by(factor: Any, correct: np.ndarray, bins: int | Sequence[float] = 5) -> "pd.DataFrame":
    """Accuracy against a factor such as yaw, age or occluder.

    Parameters
    ----------
    factor : (n,) numbers or names. Numbers with more distinct values than bins are put into groups;
        names, truth values and few numbers are groups of their own. Missing values form a last group.
    correct : (n,) bool
    bins : number of equally filled groups, or their edges; values outside the edges are missing.

    Returns
    -------
    DataFrame, a row per group in ascending order: group (str), count, accuracy, accuracy_low,
    accuracy_high (Wilson).
    """
    import pandas as pd

    values, correct = pd.Series(factor).reset_index(drop=True), np.asarray(correct, bool)
    if len(values) != len(correct):
        raise UsageError(f"factor: {len(values)} values for {len(correct)} predictions; give one each")
    numeric = pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)
    if numeric and not isinstance(bins, int):
        values = _cut(values, np.asarray(bins, float))
    elif numeric and values.nunique() > bins:
        edges = values.quantile(np.linspace(0, 1, bins + 1)).to_numpy()
        digits = 1 - math.floor(math.log10((edges[-1] - edges[0]) / bins))
        unit = 10.0 ** -max(0, digits)
        edges = np.array(
            [math.floor(edges[0] / unit), *np.round(edges[1:-1] / unit), math.ceil(edges[-1] / unit)]
        )
        values = _cut(values, np.unique(edges * unit))
    groups = values.cat.categories if hasattr(values, "cat") else sorted(values.dropna().unique())
    rows = [(str(group), (values == group).to_numpy()) for group in groups]
    rows.append(("missing", values.isna().to_numpy()))
    return pd.DataFrame(
        [
            {"group": name, "count": int(inside.sum())} | _accuracy(correct[inside])
            for name, inside in rows
            if inside.any()
        ]
    )


def attention(
    model: "keras.Model", images: np.ndarray, class_index: np.ndarray | int | None = None
) -> np.ndarray:
    """Where the network looks: Grad-CAM on the last feature maps before pooling.

    The gradient of the log-probability of a class, averaged over each feature map, weights the maps;
    their sum, cut off below zero, marks what speaks for the class. Augmentation and dropout are
    inactive. Every map is divided by its own maximum, so it shows where, not how much, and two maps
    cannot be compared in strength; a map without any positive evidence is zero throughout.

    Parameters
    ----------
    images : (n, height, width, 1), prepared to the input of the model.
    class_index : class to explain, for all images or (n,) one each; default the predicted class.

    Returns
    -------
    (n, rows, columns) float32 in 0..1 at the resolution of the feature maps (16 x 16 in basic_model).

    Source: Selvaraju et al. (2017), Grad-CAM, ICCV.

    Raises
    ------
    UsageError
        If the model has no two-dimensional feature maps.
    """
    import keras
    import tensorflow as tf

    def is_map(layer: keras.Layer) -> bool:
        shape = getattr(getattr(layer, "output", None), "shape", ())
        pooled = "pooling" in type(layer).__name__.lower()
        return len(shape) == 4 and shape[1] > 1 and shape[3] > 1 and not pooled

    layers = [layer for layer in model.layers if is_map(layer)]
    if not layers:
        raise UsageError(
            f"{model.name}: no layer gives feature maps; attention needs a convolutional network"
        )
    to_maps = keras.Model(model.inputs, [layers[-1].output, model.outputs[0]])
    classes = None if class_index is None else np.broadcast_to(class_index, len(images))
    result = []
    for start in range(0, len(images), 64):
        batch = tf.convert_to_tensor(images[start : start + 64], tf.float32)
        with tf.GradientTape() as tape:
            maps, probabilities = to_maps(batch, training=False)
            if classes is None:
                chosen = tf.reduce_max(probabilities, axis=1)
            else:
                chosen = tf.gather(probabilities, classes[start : start + 64], axis=1, batch_dims=1)
            evidence = tf.math.log(tf.maximum(chosen, 1e-7))
        weights = tf.reduce_mean(tape.gradient(evidence, maps), axis=(1, 2), keepdims=True)
        result.append(tf.nn.relu(tf.reduce_sum(weights * maps, axis=3)).numpy())
    heat = np.concatenate(result)
    peak = heat.max(axis=(1, 2), keepdims=True)
    return np.divide(heat, peak, out=np.zeros_like(heat), where=peak > 0)


def _cut(values: "pd.Series", edges: np.ndarray) -> "pd.Series":
    import pandas as pd

    names = [f"{low + 0.0:g} to {high + 0.0:g}" for low, high in pairwise(edges)]
    return pd.cut(values, edges, labels=names, include_lowest=True)


FACTORS = ("yaw", "pitch", "age", "intensity", "mouth_open", "glasses", "hat", "hand", "beard", "light")


def accuracy_by_factors(factors: "pd.DataFrame", correct: np.ndarray) -> "dict[str, pd.DataFrame]":
    """Accuracy against each factor of the bundled faces: numbers in four bins, names by name.

    Parameters
    ----------
    factors : DataFrame of n rows, as `FaceDataset.factors`.
    correct : (n,) bool.
    """
    columns = {name: factors[name] for name in FACTORS if name in factors}
    if {"african", "asian", "european"} <= set(factors):
        columns["ancestry"] = factors[["african", "asian", "european"]].idxmax(axis=1)
    columns = {
        name: values.map({0: "no", 1: "yes"}) if set(values) <= {0, 1} else values
        for name, values in columns.items()
    }
    return {name: accuracy_by(values, correct, 4) for name, values in columns.items()}


def with_and_without(correct: np.ndarray, twin: np.ndarray) -> dict[str, Any]:
    """Accuracy on the test images that have a twin on the training side as published, and on the others.

    Parameters
    ----------
    correct, twin : (n,) bool.

    Returns
    -------
    Keys `twins.images`, `twins.accuracy`, `without_twins.images`, `without_twins.accuracy`; the accuracy of
    no images is None.
    """
    groups = {"twins": correct[twin], "without_twins": correct[~twin]}
    return {f"{name}.images": len(hits) for name, hits in groups.items()} | {
        f"{name}.accuracy": float(hits.mean()) if len(hits) else None for name, hits in groups.items()
    }


def predictions(faces: Any, probabilities: np.ndarray) -> "pd.DataFrame":
    """Tabulate one row an image: name, true and predicted class, probability of each class (5 decimals)."""
    import pandas as pd

    classes = np.array(faces.classes)
    table = pd.DataFrame({"name": faces.names, "label": classes[faces.labels]})
    table["predicted"] = classes[probabilities.argmax(axis=1)]
    return table.assign(**{name: probabilities[:, i].round(5) for i, name in enumerate(faces.classes)})


def target(accuracy: float, goal: float = 0.6) -> dict[str, Any]:
    """Compare test accuracy with the assignment's target of 60 %, in numbers and as a sentence."""
    reached = bool(accuracy >= goal)
    words = "is reached" if reached else "is missed"
    return {
        "target": goal,
        "target_reached": reached,
        "target_sentence": f"The assignment's target of {goal:.0%} on the test set {words}.",
    }


def requirements(metrics: Mapping[str, Any], model_saved: bool) -> "pd.DataFrame":
    """List the requirements of the assignment, each with what this run measured.

    Parameters
    ----------
    metrics : `data.`, `model.`, `training.`, `overfitting.` and `test.` keys of metrics.json.
    model_saved : whether the chosen model's file exists.

    Returns
    -------
    DataFrame: requirement, required, measured (str), passed (bool).

    Raises
    ------
    UsageError
        If a metric is missing.
    """
    import pandas as pd

    class Known(dict):
        def __missing__(self, key: str) -> Any:
            raise UsageError(f"metrics.json: no {key}; run the notebooks before this one first")

    m = Known(metrics)
    parameters, onset, best = m["model.parameters"], m["overfitting.onset_epoch"], m["overfitting.best_epoch"]
    seen = m["test.seen_in_training"]
    used = m["training.images"] + m["training.validation_images"]
    share = m["training.validation_images"] / used
    low, high, accuracy = m["test.accuracy_low"], m["test.accuracy_high"], m["test.accuracy"]
    saved = f"epoch {best}, " + (f"over-fitting from epoch {onset}" if onset else "no over-fitting seen")
    rate = m["training.learning_rate"]
    rows = [
        ("parameters", "at most 150,000", f"{parameters:,}", parameters <= 150_000),
        ("input", "64x64x1", m["model.input"], m["model.input"] == "64x64x1"),
        ("optimiser", "Adam", m["training.optimizer"], m["training.optimizer"] == "Adam"),
        ("learning rate", "0.001", f"{rate:g}", math.isclose(rate, 1e-3)),
        (
            "loss",
            "categorical cross-entropy",
            m["training.loss"],
            m["training.loss"] == "categorical cross-entropy",
        ),
        ("epochs", "50", str(m["training.epochs"]), m["training.epochs"] == 50),
        ("batch size", "128", str(m["training.batch_size"]), m["training.batch_size"] == 128),
        ("images for training and validation", "5,000", f"{used:,}", used == 5000),
        ("share for validation", "20%", f"{share:.1%}", abs(share - 0.2) < 0.005),
        ("test images met in training", "0", f"{seen:,}", seen == 0),
        (
            "model saved before over-fitting",
            "yes",
            saved if model_saved else "not saved",
            bool(model_saved) and (onset is None or best < onset),
        ),
        (
            "test accuracy",
            "at least 60%",
            f"{accuracy:.1%} ({low:.1%} to {high:.1%})",
            accuracy >= 0.6,
        ),
    ]
    if m["model.name"] == "basic_model":
        rows.insert(1, ("parameters of basic_model", "118,531", f"{parameters:,}", parameters == 118_531))
    return pd.DataFrame(rows, columns=["requirement", "required", "measured", "passed"])


def _z(level: float = LEVEL) -> float:
    """Two-sided quantile of the normal distribution: 1.96 at 95 %."""
    return NormalDist().inv_cdf((1 + level) / 2)


def _accuracy(correct: np.ndarray) -> dict[str, float]:
    low, high = wilson_interval(int(correct.sum()), len(correct)) if len(correct) else (np.nan, np.nan)
    value = float(correct.mean()) if len(correct) else np.nan
    return {"accuracy": value, "accuracy_low": low, "accuracy_high": high}


def _check(probabilities: np.ndarray, labels: np.ndarray, k: int) -> None:
    if np.asarray(probabilities).dtype.kind not in "fiu" or np.asarray(labels).dtype.kind not in "iu":
        raise UsageError("predictions: not numbers, with whole numbers as labels; run the notebook again")
    if probabilities.shape != (len(labels), k) or len(labels) < 2:
        raise UsageError(
            f"predictions of shape {probabilities.shape} for {len(labels)} labels and {k} classes; "
            "give a row per image, a column per class, at least two images"
        )
    if np.min(labels) < 0 or np.max(labels) >= k:
        raise UsageError(f"labels: {np.min(labels)} to {np.max(labels)}; they must be within 0 to {k - 1}")
    sums = np.sum(probabilities, axis=1, dtype=float)
    if not (np.min(probabilities) >= 0 and np.allclose(sums, 1, atol=1e-3)):  # NaN fails both
        raise UsageError(
            "predictions: rows are not probabilities that sum to 1; end the network with softmax"
        )
