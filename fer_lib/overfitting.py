"""Where over-fitting begins, by a stated rule on the validation loss alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from fer_lib.files import UsageError

CLEAR = 1.5  # standard deviations of the scatter that count as a rise


@dataclass(frozen=True)
class Onset:
    """The answer of `find_onset`. Epochs are counted from 1.

    Attributes
    ----------
    found : whether over-fitting sets in.
    onset_epoch : the first over-fitted epoch, or None.
    best_epoch : the epoch to keep; earlier than `onset_epoch` where there is one.
    smoothed : (epochs,) float, the running median of the validation loss.
    scatter : standard deviation of the loss from epoch to epoch, trend removed.
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
    values : (epochs,) float
    window : odd number of epochs, 1 for no smoothing.

    Returns
    -------
    (epochs,) float
    """
    if window < 1 or window % 2 == 0:
        raise UsageError(f"window: {window} is not an odd number of epochs; take 1, 3, 5, ...")
    half = window // 2
    return np.array([np.median(values[max(0, i - half) : i + half + 1]) for i in range(len(values))])


def find_onset(val_loss: np.ndarray, window: int = 5, patience: int = 5, min_delta: float = 0.0) -> Onset:
    """Find where over-fitting begins, and the epoch to keep.

    The smoothed loss always has a minimum, and noise alone makes it look like a turning point. So two
    things are asked: the smoothed loss must not come back to within `min_delta` of its minimum, and it
    must then rise clear of the scatter of the loss. Simulated with the noise and jumps of a typical run
    (50 epochs, 1,000 curves), a curve that falls and stays flat is called over-fitted in 5 % of cases
    (without the second condition, in 77 %), and one that rises by 0.2 (0.1) by the end in 97 % (49 %).

    Parameters
    ----------
    val_loss : (epochs,) float, validation loss after each epoch.
    window : odd number of epochs of the running median.
    patience : epochs in a row the loss has to stay up.
    min_delta : units of loss; a smaller rise never counts.

    Raises
    ------
    UsageError
        If there is no epoch, a loss that is not finite, or a parameter out of range.
    """
    loss = _checked(val_loss, patience, min_delta)
    smoothed = smooth(loss, window)
    bottom = float(smoothed.min())
    # Noise of standard deviation s has second differences of s times the root of six; their median
    # ignores jumps, and a trend, up or down, cancels.
    scatter = float(1.4826 * np.median(np.abs(np.diff(loss, 2))) / np.sqrt(6)) if len(loss) > 2 else 0.0
    clear = max(min_delta, CLEAR * scatter)
    lowest = int(np.flatnonzero(smoothed == bottom)[-1])
    stays_up = _runs(smoothed > bottom + min_delta, patience)
    risen = _runs(smoothed > bottom + clear, patience)
    starts = np.flatnonzero(stays_up[lowest:]) + lowest
    found = bool(len(starts)) and bool(risen[starts[0] :].any())
    onset = int(starts[0]) if found else None

    # A single epoch may be a jump while its median is low; half a window back there is always one
    # no higher than that median.
    last = lowest if onset is None else onset - 1
    first = max(0, last - window // 2)
    best = first + int(np.argmin(loss[first : last + 1]))

    level = f"more than {min_delta:g} above" if min_delta else "above"
    what = "min_delta" if clear == min_delta else f"{CLEAR} times its scatter from epoch to epoch"
    rule = (
        "Over-fitting begins at the first epoch after the minimum of the validation loss, smoothed by a "
        f"centred running median over {_epochs(window)}, from which the smoothed loss stays {level} that "
        f"minimum for {_epochs(patience)}, provided that it then also stays more than {clear:.4f} above it "
        f"({what}) for {_epochs(patience)}; the model kept has the lowest validation loss of the "
        f"{_epochs(window // 2 + 1)} just before the onset or, where there is none, up to the minimum."
    )
    if found:
        sentence = (
            f"Over-fitting begins at epoch {onset + 1} of {len(loss)}: the smoothed validation loss, "
            f"{bottom:.3f} at its minimum, is {smoothed[-1]:.3f} at the end"
        )
    elif len(loss) < window + patience:
        sentence = (
            f"{_epochs(len(loss))} {'is' if len(loss) == 1 else 'are'} too few to tell whether over-fitting "
            f"begins (the rule needs {window + patience})"
        )
    else:
        sentence = (
            f"No over-fitting is seen within {_epochs(len(loss))}: the smoothed loss does not stay "
            f"more than {clear:.3f} above its minimum of {bottom:.3f} for {_epochs(patience)}"
        )
    sentence += f"; the model of epoch {best + 1} is kept."
    return Onset(found, None if onset is None else onset + 1, best + 1, smoothed, scatter, rule, sentence)


def _checked(val_loss: Any, patience: int, min_delta: float) -> np.ndarray:
    loss = _numbers(val_loss, "validation loss")
    if loss.ndim != 1 or not len(loss):
        raise UsageError("validation loss: no epochs; train at least one epoch first")
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


def _runs(flags: np.ndarray, length: int) -> np.ndarray:
    """(n,) bool: whether `length` flags in a row begin here."""
    return np.array([len(flags) - i >= length and flags[i : i + length].all() for i in range(len(flags))])


def _epochs(count: int) -> str:
    return f"{count} epoch{'' if count == 1 else 's'}"
