"""From predictions to numbers: every accuracy with an interval, and where the network looks.

Shapes: `probabilities` (n, k) float, `labels` and `predictions` (n,) int in 0..k-1, and
`confusion_matrix[true, predicted]`. `predict`, `logits` and `losses` need Keras.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from fer_lib.files import UsageError
from fer_lib.statistics import normal_quantile, wilson_interval

if TYPE_CHECKING:
    import keras
    import pandas as pd


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


def logits(model: "keras.Model") -> Any:
    """Return the scores (n, k) before softmax, as an output for a model of the same layers.

    Raises
    ------
    UsageError
        If the network does not end with softmax.
    """
    import keras

    head = model.layers[-1]
    if isinstance(head, keras.layers.Softmax):
        return head.input
    config = head.get_config()
    if config.get("activation") != "softmax":
        raise UsageError(
            f"{model.name}: its last layer, {head.name}, is no softmax; end the network with "
            'layers.Dense(classes, activation="softmax")'
        )
    linear = type(head).from_config(config | {"activation": "linear", "name": f"{head.name}_logits"})
    scores = linear(head.input)
    linear.set_weights(head.get_weights())
    return scores


def losses(model: "keras.Model", images: np.ndarray, labels: np.ndarray, batch_size: int = 256) -> np.ndarray:
    """Cross-entropy of each image by the definition of training and validation: from the logits, not cut off.

    A network that is sure and wrong gives the true class a probability that float32 rounds to nought, and
    the logarithm of that says nothing. Keras takes the logits of a softmax output instead, and so do we.

    Parameters
    ----------
    images : (n, height, width, 1), prepared to the input of the model.
    labels : (n,) int

    Returns
    -------
    (n,) float, not negative.

    Raises
    ------
    UsageError
        If the network does not end with softmax.
    """
    import keras

    scores = keras.Model(model.inputs, logits(model)).predict(images, batch_size=batch_size, verbose=0)
    scores = scores.astype(float) - scores.max(axis=1, keepdims=True)
    return np.log(np.exp(scores).sum(axis=1)) - scores[np.arange(len(labels)), labels]


def evaluate(
    probabilities: np.ndarray, labels: np.ndarray, classes: Sequence[str], losses: np.ndarray | None = None
) -> dict[str, Any]:
    """All metrics of a test set as a flat dictionary, each a plain number, string or None.

    Precision, recall and F1 of a class are None where they are undefined (never predicted, never
    present); macro F1 and balanced accuracy leave such classes out.

    Parameters
    ----------
    losses : (n,) float, of `losses`. Without them they are those of the probabilities, where one that float32
        has rounded to nought counts as the smallest that it holds (a loss of 87.3).

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
    if losses is None:
        chosen = np.asarray(probabilities, float)[np.arange(len(labels)), labels]
        losses = -np.log(np.maximum(chosen, np.finfo(np.float32).tiny))
    loss = float(losses.mean())
    margin = normal_quantile() * float(losses.std(ddof=1)) / math.sqrt(len(losses))
    metrics: dict[str, Any] = {"images": len(labels)} | _accuracy(predictions == labels)
    metrics |= {"loss": loss, "loss_low": max(0.0, loss - margin), "loss_high": loss + margin}
    counts = np.bincount(labels, minlength=len(classes))
    table = per_class(labels, predictions, classes).set_index("class")
    metrics["balanced_accuracy"] = float(table["recall"].mean())  # pandas leaves NaN out of means
    metrics["majority_class"] = classes[int(counts.argmax())]
    metrics["majority_accuracy"] = float(counts.max() / len(labels))
    for name in ("precision", "recall", "f1"):
        for label, value in table[name].items():
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

    The sum over bins b of `n_b / n |a_b - q_b|`, with n_b of the n images, accuracy a_b, mean confidence q_b.

    Source: Naeini, Cooper and Hauskrecht (2015), Obtaining well calibrated probabilities using Bayesian
    binning, AAAI.
    """
    table = calibration(probabilities, labels, bins).query("count > 0")
    return float(np.average((table["confidence"] - table["accuracy"]).abs(), weights=table["count"]))


def most_confident_mistakes(probabilities: np.ndarray, labels: np.ndarray, n: int) -> np.ndarray:
    """Return the indices of at most `n` wrong predictions, the most confident first; ties in image order."""
    wrong = np.flatnonzero(probabilities.argmax(axis=1) != labels)
    return wrong[np.argsort(-probabilities[wrong].max(axis=1), kind="stable")[:n]]


def accuracy_by(factor: Any, correct: np.ndarray, bins: int | Sequence[float] = 5) -> "pd.DataFrame":
    """Accuracy against a factor such as yaw, age or occluder.

    Parameters
    ----------
    factor : (n,) numbers or names. Numbers with more distinct values than bins are put into groups;
        names, truth values and few numbers are groups of their own. Missing values form a last group.
    correct : (n,) bool
    bins : number of equally filled groups, or their edges; values outside the edges are missing. A group
        holds its upper edge, the first one both. Edges count as they are printed, to 15 significant digits.

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
        first, *between, last = edges / unit
        edges = unit * np.array([math.floor(first), *np.round(between), math.ceil(last)])
        values = _cut(values, edges)
    groups = values.cat.categories if hasattr(values, "cat") else sorted(values.dropna().unique())
    rows = [(str(group), (values == group).to_numpy()) for group in groups]
    rows.append(("missing", values.isna().to_numpy()))
    hits = ((name, correct[inside]) for name, inside in rows if inside.any())
    return pd.DataFrame([{"group": name, "count": len(of_it)} | _accuracy(of_it) for name, of_it in hits])


def _cut(values: "pd.Series", edges: np.ndarray) -> "pd.Series":
    import pandas as pd

    # -6 * 0.1 is -0.6000000000000001 in floating point: printed -0.6, it would not hold a value of -0.6.
    names = list(dict.fromkeys(_printed(edge) for edge in edges))
    groups = [f"{low} to {high}" for low, high in pairwise(names)]
    values = values.astype(float).map(_printed, na_action="ignore").astype(float)
    return pd.cut(values, [float(name) for name in names], labels=groups, include_lowest=True)


def _printed(value: float) -> str:
    return f"{value + 0.0:.15g}"  # nought without a sign


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
    """Tabulate one row an image: name, true and predicted class, probability of each class."""
    import pandas as pd

    classes = np.array(faces.classes)
    table = pd.DataFrame({"name": faces.names, "label": classes[faces.labels]})
    table["predicted"] = classes[probabilities.argmax(axis=1)]
    return table.assign(**{name: probabilities[:, i] for i, name in enumerate(faces.classes)})


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
        raise UsageError("predictions: no probabilities that sum to 1; end the network with softmax")
