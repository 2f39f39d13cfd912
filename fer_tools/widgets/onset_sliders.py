"""Where over-fitting begins, by other windows and other patience than a run's."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from fer_lib.figures import training as figures
from fer_lib.overfitting import find_onset
from fer_tools.widgets import panel

MOST = 15  # epochs of window and patience


def answer(history: Mapping[str, Any], settings: Any, window: int, patience: int) -> panel.Answer:
    """Return what the rule says of a history, and the curve with its onset.

    Parameters
    ----------
    history : columns `loss` and `val_loss`, each (epochs,), as in history.csv.
    settings : Overfitting
        Of `fer_tools.parameters`: what the run itself has chosen by.
    window, patience : int
        As in `fer_lib.overfitting.find_onset`.

    Raises
    ------
    UsageError
        As `fer_lib.overfitting.find_onset`.
    """
    loss, least = history["val_loss"], settings.min_delta
    found = find_onset(loss, window, patience, least)
    kept = find_onset(loss, settings.window, settings.patience, least).best_epoch
    if found.found:
        what = f"over-fitting begins at epoch {found.onset_epoch} of {len(loss)}"
    elif np.isnan(found.scatter):
        what = f"{len(loss)} epochs are too few to tell over-fitting"
    else:
        what = f"no over-fitting is seen within {len(loss)} epochs"
    whose = "as in the run" if kept == found.best_epoch else f"where the run kept epoch {kept}"
    sentence = f"Window {window}, patience {patience}: {what}, and epoch {found.best_epoch} is kept, {whose}."
    return sentence, figures.loss(history, found)


def show(history: Mapping[str, Any], settings: Any) -> None:
    """Show sliders for window and patience beneath which the curve is drawn; see `answer`."""

    def controls() -> dict[str, Any]:
        import ipywidgets

        steps = {"window": 2, "patience": 1}  # a window is odd
        chosen = {name: getattr(settings, name) for name in steps}
        return {
            name: ipywidgets.IntSlider(value, 1, max(MOST, value), steps[name], description=name)
            for name, value in chosen.items()
        }

    panel.show(lambda **chosen: answer(history, settings, **chosen), controls)
