"""Figure of trainings side by side."""

from collections.abc import Mapping
from typing import Any

from fer_lib.figures import style
from fer_lib.overfitting import Onset


@style.styled
def side_by_side(*trainings: tuple[str, Mapping[str, Any], Onset]) -> style.Figure:
    """Draw the losses of trainings on the same axes, each with the epoch kept and its onset of over-fitting.

    Parameters
    ----------
    *trainings : tuple
        A name, the columns of its history.csv, and what `fer_lib.overfitting.find_onset` says of it.
    """
    figure, axes = style.subplots(1, len(trainings), 2.9, sharex=True, sharey=True)
    for ax, (name, history, onset) in zip(axes[0], trainings, strict=True):
        epochs, said = range(1, len(history["loss"]) + 1), "no over-fitting seen"
        if onset.found:
            said, end = f"over-fitting from epoch {onset.onset_epoch}", len(epochs) + 0.5
            ax.axvspan(onset.onset_epoch - 0.5, end, color=style.VALIDATION, alpha=0.09, linewidth=0)
        ax.axvline(onset.best_epoch, color=style.INK, linewidth=1, linestyle=(0, (1, 2)), label="epoch kept")
        ax.plot(epochs, history["loss"], color=style.TRAINING, label="training")
        ax.plot(epochs, history["val_loss"], color=style.VALIDATION, linewidth=0.8, alpha=0.6)
        ax.plot(epochs, onset.smoothed, color=style.VALIDATION, label="validation\n(thin: each epoch)")
        ax.set_title(f"{name}\n{said}", loc="left")
        ax.set_xlabel("epoch")
    axes[0, 0].set(ylabel="cross-entropy loss", ylim=(0, None))
    axes[0, -1].legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    return figure
