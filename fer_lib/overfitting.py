"""Where over-fitting begins, by a stated rule on the validation loss alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from fer_lib.files import UsageError

MOST_EPOCHS = 10_000
CORRELATION = 0.75  # of noise from epoch to epoch that the rule allows for
LEVEL = 0.05  # share of curves without a rise that are called over-fitted
SPAN = 5  # epochs after which noise that is so correlated is three quarters new


@dataclass(frozen=True)
class Onset:
    """The answer of `find_onset`. Epochs are counted from 1.

    Attributes
    ----------
    found : whether over-fitting sets in.
    onset_epoch : the first over-fitted epoch, or None.
    best_epoch : the epoch to keep; earlier than `onset_epoch` where there is one.
    smoothed : (epochs,) float, the running median of the validation loss.
    scatter : standard deviation of the smoothed loss over a few epochs, trend removed; nan of few epochs.
    rule : the rule, as a full sentence with its parameters.
    sentence : what the rule says about this curve, as a full sentence.
    """

    found: bool
    onset_epoch: int | None
    best_epoch: int
    smoothed: np.ndarray
    scatter: float
    rule: str
    sentence: str


def smooth(values: np.ndarray, window: int = 5) -> np.ndarray:
    """Centred running median, cut off at both ends.

    A median, because validation loss jumps by a factor of two between epochs and a mean would spread
    each jump over `window` epochs; centred, because a trailing window reports everything
    `window // 2` epochs late, and the whole curve is known when this is asked.

    Parameters
    ----------
    values : (..., epochs) float
    window : odd number of epochs, 1 for no smoothing.

    Returns
    -------
    (..., epochs) float
    """
    if window < 1 or window % 2 == 0:
        raise UsageError(f"window: {window} is not an odd number of epochs; take 1, 3, 5, ...")
    half, values = window // 2, np.asarray(values)
    parts = (values[..., max(0, i - half) : i + half + 1] for i in range(values.shape[-1]))
    return np.stack([np.median(part, axis=-1) for part in parts], axis=-1)


def find_onset(val_loss: np.ndarray, window: int = 5, patience: int = 5, min_delta: float = 0.0) -> Onset:
    """Find where over-fitting begins, and the epoch to keep.

    The smoothed loss always has a minimum, and noise alone carries its end above it: the further, the more a
    loss depends on that of the epoch before, as it does where weights are averaged. So curves are simulated
    that fall as this one does and then stay flat, with noise of its scatter and a correlation of
    `CORRELATION` from epoch to epoch. Over-fitted is called a curve only that ends further above its
    minimum, in units of its scatter, than `1 - LEVEL` of these. The scatter is measured between epochs that
    lie `SPAN` apart: from one epoch to the next correlated noise hardly moves.

    Simulated, 1,000 curves each of 50 epochs with noise of standard deviation 0.012 and correlations of 0,
    0.4, 0.55 and 0.75: a flat loss is called over-fitted in 0.4, 0.9, 1.3 and 4.7 % of cases, one that falls
    and stays flat in 0.6, 0.7, 1.0 and 2.4 %; at 0.85, for which the rule is not made, in 9 and 5 %. A rise
    of 0.075 in the last 25 epochs is found in 97 to 100 % after a flat loss, in 91 to 99 % after one that
    falls; of half that in 55 to 70 % and 30 to 42 %. With 20 epochs false alarms are 6.7 % at most.
    `FER_CURVES=1000 pytest -s -k "noise or rise" tests/fer_lib/test_overfitting.py` does it again.

    Parameters
    ----------
    val_loss : (epochs,) float, validation loss after each epoch.
    window : odd number of epochs of the running median.
    patience : epochs in a row the loss has to stay up; the last ones are compared with noise.
    min_delta : units of loss; a smaller rise never counts.

    Raises
    ------
    UsageError
        If there is no epoch, a loss that is not finite, or a parameter out of range.
    """
    loss = _checked(val_loss, patience, min_delta)
    smoothed, needed = smooth(loss, window), window + patience + 2 * SPAN
    bottom, enough = float(smoothed.min()), len(loss) >= needed
    lowest = int(np.flatnonzero(smoothed == bottom)[-1])
    risen, scatter, chance = _beside_noise(smoothed, window, patience) if enough else (0.0, np.nan, np.inf)
    clear, last, onset = max(min_delta, chance), lowest, None
    if risen > clear:
        above = sliding_window_view(smoothed[lowest:] - bottom > min_delta, patience).all(axis=-1)
        last = lowest + max(0, int(above.argmax()) - 1)
        onset = last + 2  # the one after it, counted from 1
    # A single epoch may be a jump while its median is low; half a window back there is always one
    # no higher than that median.
    first = max(0, last - window // 2)
    best = first + int(np.argmin(loss[first : last + 1])) + 1

    level = f"more than {min_delta:g} above" if min_delta else "above"
    what = "min_delta" if clear > chance else f"{chance / (scatter or 1):.1f} times its scatter"
    rule = (
        "Over-fitting begins at the first epoch after the minimum of the validation loss, smoothed by a "
        f"centred running median over {_epochs(window)}, from which the smoothed loss stays {level} that "
        f"minimum for {_epochs(patience)}, provided that its last {_epochs(patience)} stay further above "
        f"than noise alone carries {1 - LEVEL:.0%} of curves that do not rise"
        f"{f' ({clear:.4f}: {what})' if enough else ''}; the model kept has the lowest validation loss of "
        f"the {_epochs(window // 2 + 1)} just before the onset or, where there is none, up to the minimum."
    )
    if onset:
        sentence = (
            f"Over-fitting begins at epoch {onset} of {len(loss)}: the smoothed validation loss, "
            f"{bottom:.3f} at its minimum, is {smoothed[-1]:.3f} at the end"
        )
    elif enough:
        sentence = (
            f"No over-fitting is seen within {_epochs(len(loss))}: the smoothed loss does not stay more "
            f"than {clear:.3f} above its minimum of {bottom:.3f} for the last {_epochs(patience)}"
        )
    else:
        verb = "is" if len(loss) == 1 else "are"
        sentence = f"{_epochs(len(loss))} {verb} too few to tell over-fitting (the rule needs {needed})"
    sentence += f"; the model of epoch {best} is kept."
    return Onset(onset is not None, onset, best, smoothed, scatter, rule, sentence)


def _rise(smoothed: np.ndarray, patience: int) -> tuple[np.ndarray, np.ndarray]:
    """Return how far smoothed curves (..., epochs) end above their minimum, and how much they scatter."""
    epochs = smoothed.shape[-1]
    bottom = smoothed.min(axis=-1, keepdims=True)
    # Noise of deviation s that is new after SPAN epochs bends a straight line by s times the root of six.
    bends = np.abs(smoothed[..., 2 * SPAN :] - 2 * smoothed[..., SPAN:-SPAN] + smoothed[..., : -2 * SPAN])
    # One sudden step is a change, and no scatter: three deviations are the most that counts.
    bends = np.minimum(bends, 3 * 1.4826 * np.median(bends, axis=-1, keepdims=True))
    # The first, steep fall is bent by itself and left out, but never more than half of the curve.
    fallen = smoothed <= bottom + 0.05 * (smoothed[..., :1] - bottom)
    begin = np.minimum(fallen.argmax(axis=-1), min(epochs // 2, epochs - 2 * SPAN - 1))
    late = np.arange(epochs - 2 * SPAN) >= begin[..., None]
    scatter = np.sqrt((bends**2).mean(axis=-1, where=late) / 6)
    return smoothed[..., -patience:].min(axis=-1) - bottom[..., 0], scatter


def _beside_noise(smoothed: np.ndarray, window: int, patience: int) -> tuple[float, float, float]:
    """Return `_rise` of a curve, and the rise that chance gives one that falls like it and then stops."""
    unit = float(np.abs(smoothed).max()) or 1.0  # squares of very large or small losses have no number
    curve, epochs = smoothed / unit, len(smoothed)
    risen, scatter = map(float, _rise(curve, patience))
    noise = np.random.default_rng(0).standard_normal((int(np.clip(400_000 // epochs, 200, 1000)), epochs))
    for before, now in pairwise(noise.T):  # views of the columns
        now[:] = CORRELATION * before + np.sqrt(1 - CORRELATION**2) * now
    noise *= scatter / _rise(smooth(noise, window), patience)[1].mean()
    # What is within six deviations of the minimum counts as flat: it may be noise itself.
    fall = np.maximum(np.minimum.accumulate(curve) - curve.min() - 6 * scatter, 0)
    by_chance, scatters = _rise(smooth(fall + noise, window), patience)
    most = np.quantile(by_chance / np.maximum(scatters, 1e-12), 1 - LEVEL)
    return unit * risen, unit * scatter, unit * scatter * float(most)


def _checked(val_loss: Any, patience: int, min_delta: float) -> np.ndarray:
    loss = _numbers(val_loss, "validation loss")
    if loss.ndim != 1 or not len(loss):
        raise UsageError("validation loss: no epochs; train at least one epoch first")
    if len(loss) > MOST_EPOCHS:
        raise UsageError(f"validation loss: {len(loss):,} epochs, more than {MOST_EPOCHS:,}; train again")
    if not np.isfinite(loss).all():
        epoch = int(np.argmin(np.isfinite(loss))) + 1
        raise UsageError(
            f"validation loss of epoch {epoch}: {loss[epoch - 1]} is not a finite number (training has "
            "diverged); lower the learning rate and train again"
        )
    if patience < 1:
        raise UsageError(f"patience: {patience} is out of range; take at least 1 epoch")
    if not 0 <= min_delta < np.inf:
        raise UsageError(f"min_delta: {min_delta} is out of range; take 0 or more")
    return loss


def gap(history: Mapping[str, Any]) -> np.ndarray:
    """Generalisation gap, validation loss minus training loss, after each epoch.

    Training loss is the mean over an epoch with dropout and augmentation on, so the gap is often
    negative early on.

    Parameters
    ----------
    history : columns `loss` and `val_loss`, each (epochs,), as in history.csv.

    Returns
    -------
    (epochs,) float
    """
    return _numbers(history["val_loss"], "validation loss") - _numbers(history["loss"], "training loss")


def _numbers(values: Any, what: str) -> np.ndarray:
    try:
        return np.asarray(values, float)
    except (ValueError, TypeError) as error:
        raise UsageError(f"{what}: not a column of numbers ({error}); train again") from error


def _epochs(count: int) -> str:
    return f"{count} epoch{'' if count == 1 else 's'}"
