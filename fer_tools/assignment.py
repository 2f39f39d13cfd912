"""What the assignment asks, against what a run measured."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fer_lib.files import UsageError
from fer_lib.models import PARAMETER_LIMIT

if TYPE_CHECKING:
    import pandas as pd


TARGET = 0.6  # accuracy on the test set


def target(accuracy: float, goal: float = TARGET) -> dict[str, Any]:
    """Compare test accuracy with the assignment's target of 60 %, in numbers and as a sentence."""
    reached = bool(accuracy >= goal)
    words = "is reached" if reached else "is missed"
    return {
        "target": goal,
        "target_reached": reached,
        "target_sentence": f"The assignment's target of {goal:.0%} on the test set {words}.",
    }


class _Known(dict):
    def __missing__(self, key: str) -> Any:
        raise UsageError(f"metrics.json: no {key}; run the notebooks before this one first")


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

    m = _Known(metrics)
    parameters, onset, best = m["model.parameters"], m["overfitting.onset_epoch"], m["overfitting.best_epoch"]
    used = m["training.images"] + m["training.validation_images"]
    share = m["training.validation_images"] / used
    low, high, accuracy = m["test.accuracy_low"], m["test.accuracy_high"], m["test.accuracy"]
    saved = f"epoch {best}, " + (f"over-fitting from epoch {onset}" if onset else "no over-fitting seen")
    before = model_saved and (onset is None or best < onset)
    rate, seen, loss = m["training.learning_rate"], m["test.seen_in_training"], "categorical cross-entropy"
    rows = [
        ("parameters", f"at most {PARAMETER_LIMIT:,}", f"{parameters:,}", parameters <= PARAMETER_LIMIT),
        ("parameters of basic_model", "118,531", f"{parameters:,}", parameters == 118_531),
        ("input", "64x64x1", m["model.input"], m["model.input"] == "64x64x1"),
        ("optimiser", "Adam", m["training.optimizer"], m["training.optimizer"] == "Adam"),
        ("learning rate", "0.001", f"{rate:g}", math.isclose(rate, 1e-3)),
        ("loss", loss, m["training.loss"], m["training.loss"] == loss),
        ("epochs", "50", str(m["training.epochs"]), m["training.epochs"] == 50),
        ("batch size", "128", str(m["training.batch_size"]), m["training.batch_size"] == 128),
        ("images for training and validation", "5,000", f"{used:,}", used == 5000),
        ("share for validation", "20%", f"{share:.1%}", abs(share - 0.2) < 0.005),
        ("test images met in training", "0", f"{seen:,}", seen == 0),
        ("model saved before over-fitting", "yes", saved if model_saved else "not saved", before),
        (
            "test accuracy",
            f"at least {TARGET:.0%}",
            f"{accuracy:.1%} ({low:.1%} to {high:.1%})",
            accuracy >= TARGET,
        ),
    ]
    if m["model.name"] != "basic_model":
        del rows[1]
    return pd.DataFrame(rows, columns=["requirement", "required", "measured", "passed"]).astype(
        {"passed": bool}
    )
