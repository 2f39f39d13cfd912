"""Figures of notebooks 02 and 03: curves against epoch. `history` has the columns of history.csv."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from fer_lib.figures import style
from fer_lib.overfitting import Onset, smooth
from fer_lib.overfitting import gap as generalisation_gap


@style.styled
def loss(history: Mapping[str, Any], onset: Onset) -> style.Figure:
    """Training and validation loss by epoch, with the onset of over-fitting and the epoch kept."""
    values = np.asarray(history["val_loss"], float)
    figure, ax = _training_axes(values, onset, "cross-entropy loss", "loss {:.2f}")
    _curve(ax, history["loss"], "training", style.TRAINING)
    _curve(ax, onset.smoothed, "validation\n(thin: each epoch)", style.VALIDATION)
    _cut_jumps(ax, values)
    _name_curves(ax)
    return figure


@style.styled
def accuracy(history: Mapping[str, Any], onset: Onset, window: int = 5) -> style.Figure:
    """Training and validation accuracy by epoch, with the onset of over-fitting and the epoch kept."""
    values = np.asarray(history["val_accuracy"], float)
    figure, ax = _training_axes(values, onset, "accuracy", "accuracy {:.1%}")
    _curve(ax, history["accuracy"], "training", style.TRAINING)
    _curve(ax, smooth(values, window), "validation\n(thin: each epoch)", style.VALIDATION)
    ax.yaxis.set_major_formatter(style.percent)
    _name_curves(ax)
    return figure


@style.styled
def gap(history: Mapping[str, Any], onset: Onset, window: int = 5) -> style.Figure:
    """Generalisation gap, validation minus training loss, by epoch."""
    values = generalisation_gap(history)
    figure, ax = _training_axes(values, onset, "validation loss −\ntraining loss", "gap {:+.3f}", height=2.3)
    ax.axhline(0, color=style.FAINT, linewidth=0.8, label="_zero")
    _curve(ax, smooth(values, window), "gap\n(thin: each epoch)", style.VALIDATION)
    _cut_jumps(ax, values)
    _name_curves(ax)
    return figure


@style.styled
def so_far(rows: Sequence[Mapping[str, float]], epochs: int) -> style.Figure:
    """Loss and accuracy of the epochs that are done, of so many; one of `rows` for each."""
    figure, axes = style.subplots(1, 2, 2.2)
    for ax, kind in zip(axes[0], ("loss", "accuracy"), strict=True):
        ax.set(xlabel="epoch", title=kind, xlim=(0.5, epochs + 0.5))
        ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        for key, name, colour in (("", "training", style.TRAINING), ("val_", "validation", style.VALIDATION)):
            _curve(ax, np.array([row[key + kind] for row in rows]), name, colour)
    axes[0, 0].legend(frameon=False)
    return figure


def _training_axes(
    values: np.ndarray, onset: Onset, ylabel: str, form: str, height: float = 2.9
) -> tuple[style.Figure, Axes]:
    """Axes over epochs with a jumpy curve drawn thin; the epoch kept and the onset are named above."""
    epochs, kept = len(values), onset.best_epoch
    figure, axes = style.subplots(1, 1, height)
    ax = axes[0, 0]
    ax.set(xlabel="epoch", ylabel=ylabel, xlim=(0.5, epochs + 0.5))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))

    def mark(epoch: int, line: int, text: str, colour: str) -> None:
        side = "right" if epoch > 0.6 * epochs else "left"
        above = ("data", "axes fraction")
        style.note(ax, text, (epoch, 1), (0, 6 + 12 * line), xycoords=above, ha=side, color=colour)

    if onset.found:
        ax.axvspan(onset.onset_epoch - 0.5, epochs + 0.5, color=style.VALIDATION, alpha=0.09, linewidth=0)
        mark(onset.onset_epoch, 0, f"over-fitting from epoch {onset.onset_epoch}", style.VALIDATION)
    else:
        mark(epochs, 0, "no over-fitting seen", style.FAINT)
    value = form.format(values[kept - 1]).replace("%", " %").replace("-", "−")
    mark(kept, 1, f"epoch {kept} is kept: {value}", style.INK)
    ax.axvline(kept, color=style.INK, linewidth=1, linestyle=(0, (1, 2)), label="_kept")
    ax.plot([kept], values[[kept - 1]], "o", color=style.INK, markersize=5, zorder=3, label="_value kept")
    _curve(ax, values, "_each epoch", style.VALIDATION, linewidth=0.8, alpha=0.6)
    return figure, ax


def _curve(ax: Axes, values: np.ndarray, name: str, colour: str, **options: Any) -> None:
    """Draw a curve over epochs 1, 2, ...; names beginning with `_` are not written at its end."""
    marker = "o" if len(values) == 1 else None
    ax.plot(np.arange(1, len(values) + 1), values, color=colour, label=name, marker=marker, **options)


def _cut_jumps(ax: Axes, values: np.ndarray) -> None:
    """Keep rare, very high values from flattening the rest: cut them off and say how high they reach."""
    base = min(0.0, values.min())  # a gap may lie below zero
    top = base + 2 * (np.quantile(values, 0.9) - base)
    if not base < top < values.max():
        return
    ax.set_ylim(top=top)
    cut = np.flatnonzero(values > top) + 1
    ax.plot(cut, np.full(len(cut), top), "^", color=style.VALIDATION, clip_on=False, label="_cut")
    place = (values.argmax() + 1, top)
    style.note(ax, f"up to {values.max():.1f}", place, (7, -2), va="top")


def _name_curves(ax: Axes) -> None:
    """Write the names of the curves at their right ends, apart from one another."""
    low, high = ax.get_ylim()
    lines = [line for line in ax.lines if not line.get_label().startswith("_")]
    place = -np.inf
    for line in sorted(lines, key=lambda line: line.get_ydata()[-1]):
        place = max(place + 0.17 * (high - low), float(line.get_ydata()[-1]))
        end, options = (line.get_xdata()[-1], place), {"color": line.get_color(), "annotation_clip": False}
        style.note(ax, line.get_label(), end, (8, 0), va="center", **options)
