"""Figures of notebook 04: the test set. Tables are those of `fer_lib.evaluation`."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import seaborn
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from fer_lib.figures import style

if TYPE_CHECKING:
    import pandas as pd


@style.styled
def confusion_matrix(matrix: np.ndarray, classes: Sequence[str]) -> style.Figure:
    """Heat map of `matrix[true, predicted]`: share of each row, and counts."""
    k = len(classes)
    totals = matrix.sum(axis=1, keepdims=True)
    shares = matrix / np.maximum(totals, 1)
    size = min(style.WIDTH, 1.3 + 0.95 * k)
    figure, axes = style.subplots(1, 1, size * 0.8, size)
    ax = axes[0, 0]
    cells = (zip(*row, strict=True) for row in zip(shares, matrix, strict=True))
    notes = np.array([[f"{style.percent(share)}\n{n:,}" for share, n in row] for row in cells])
    rows = [f"{name}\n({n:,})" for name, n in zip(classes, totals[:, 0], strict=True)]
    options = {"cmap": "Blues", "vmin": 0, "vmax": 1, "cbar": False, "linewidths": 2, "fmt": ""}
    options |= {"annot": notes, "annot_kws": {"fontsize": 8 if k > 4 else 9}}
    seaborn.heatmap(shares, ax=ax, xticklabels=classes, yticklabels=rows, **options)
    ax.tick_params(axis="y", rotation=0)
    ax.set(xlabel="predicted", ylabel="true (images)")
    style.bare(ax, ticks="both")
    ax.spines[:].set_visible(False)
    return figure


@style.styled
def per_class(table: "pd.DataFrame") -> style.Figure:
    """Precision, recall and F1 of each class with 95 % intervals, from `evaluation.per_class`."""
    figure, axes = style.subplots(1, 3, 0.65 + 0.42 * len(table), sharex=True, sharey=True)
    names = list(table["class"])
    titles = {"precision": "precision", "recall": "recall", "f1": "F1 score"}
    for ax, (key, title) in zip(axes[0], titles.items(), strict=True):
        _dots(ax, table, key, names, style.class_colours(names))
        ax.set_title(title, loc="left")
    _share_axis(axes[0], table[[f"{key}_low" for key in titles]].min(axis=None))
    figure.get_layout_engine().set(wspace=0.08)  # 100 % of one panel is not to touch 70 % of the next
    return figure


@style.styled
def calibration(table: "pd.DataFrame") -> style.Figure:
    """Reliability diagram with 95 % intervals, and the images per bin, from `evaluation.calibration`."""
    figure, axes = style.subplots(2, 1, 4.2, 4.2, sharex=True, height_ratios=(3, 1))
    (ax,), (below,) = axes
    full = table[table["count"] > 0]
    ax.plot([0, 1], [0, 1], color=style.FAINT, linewidth=1, linestyle=(0, (4, 3)))
    ax.vlines(full["confidence"], full["accuracy_low"], full["accuracy_high"], color=style.VALIDATION, lw=1.5)
    ax.scatter(full["confidence"], full["accuracy"], color=style.VALIDATION, s=28, zorder=3)
    left = float(full["low"].min())
    ax.set(xlim=(left, 1.0), ylim=(0, 1.02), ylabel="accuracy")
    ax.yaxis.set_major_formatter(style.percent)
    ax.text(0.03, 0.93, "too cautious", color=style.FAINT, fontsize=8, transform=ax.transAxes)
    ax.text(0.97, 0.04, "too confident", color=style.FAINT, fontsize=8, ha="right", transform=ax.transAxes)
    bars = below.bar(
        full["low"], full["count"], full["high"] - full["low"], align="edge", color=style.FAINT, ec="white"
    )
    below.bar_label(bars, [f"{count:,}" for count in full["count"]], padding=1, fontsize=8)
    below.set(xlabel="confidence (largest probability)", ylabel="images", yticks=[])
    below.set_ylim(0, 1.3 * full["count"].max())
    below.xaxis.set_major_formatter(style.percent)
    below.spines["left"].set_visible(False)
    return figure


@style.styled
def mistakes(
    images: np.ndarray, labels: np.ndarray, probabilities: np.ndarray, classes: Sequence[str], n: int = 12
) -> style.Figure:
    """Show the first `n` images: true class → predicted class, with its probability.

    Parameters
    ----------
    images : (m, height, width) grey levels, for example those of `evaluation.most_confident_mistakes`.
    labels : (m,) int
    probabilities : (m, k) float
    """
    columns, count = 6, min(n, len(images))
    rows = max(1, math.ceil(count / columns))
    figure, axes = style.subplots(rows, columns, rows * 1.45)
    for ax in axes.flat[count:]:
        ax.set_axis_off()
    for ax, image, *case in zip(axes.flat[:count], images, labels, probabilities, strict=False):
        style.show(ax, np.squeeze(image))
        style.caption(ax, *case, classes)
    if not count:
        axes[0, 0].text(0, 0.5, "no mistakes", transform=axes[0, 0].transAxes)
    return figure


@style.styled
def attention(
    images: np.ndarray,
    maps: np.ndarray,
    labels: np.ndarray,
    probabilities: np.ndarray,
    classes: Sequence[str],
    n: int = 6,
) -> style.Figure:
    """Where the network looks, for the first `n` right cases (above) and wrong cases (below).

    Parameters
    ----------
    images : (m, height, width) grey levels.
    maps : (m, rows, columns) in 0..1, from `attention.grad_cam`; the brighter, the higher.
    labels : (m,) int
    probabilities : (m, k) float
    """
    right = probabilities.argmax(axis=1) == labels
    groups = {"right": np.flatnonzero(right)[:n], "wrong": np.flatnonzero(~right)[:n]}
    groups = {name: chosen for name, chosen in groups.items() if len(chosen)}
    figure, axes = style.subplots(2 * len(groups), n, 2.5 * len(groups))
    for ax in axes.flat:
        ax.set_axis_off()
    for (name, chosen), faces, overlays in zip(groups.items(), axes[::2], axes[1::2], strict=True):
        for i, face, overlay in zip(chosen, faces, overlays, strict=False):
            for ax in (face, overlay):
                ax.set_axis_on()
                style.show(ax, np.squeeze(images[i]))
            height, width = np.squeeze(images[i]).shape
            # The map covers the whole face at its own, coarser resolution.
            options = {"extent": (-0.5, width - 0.5, height - 0.5, -0.5), "interpolation": "bilinear"}
            overlay.imshow(maps[i], cmap="inferno", vmin=0, vmax=1, alpha=0.55, **options)
            style.caption(overlay, labels[i], probabilities[i], classes)
        faces[0].set_title(name, loc="left", weight="bold")
    return figure


@style.styled
def factors(tables: Mapping[str, "pd.DataFrame"], overall: float) -> style.Figure:
    """Accuracy against each factor with 95 % intervals; the line is the accuracy of all images.

    Parameters
    ----------
    tables : factor -> table of `evaluation.accuracy_by`.
    """
    # Panels of like length share a row, so that little space is left over.
    ordered = sorted(tables.items(), key=lambda item: -len(item[1]))
    heights = [len(table) + 1.6 for _, table in ordered[::2]]
    figure, axes = style.subplots(
        len(heights), 2, 0.4 + 0.21 * sum(heights), sharex=True, height_ratios=heights
    )
    for ax in axes.flat[len(ordered) :]:
        ax.set_axis_off()
    for i, (ax, (name, table)) in enumerate(zip(axes.flat, ordered, strict=False)):
        ax.axvline(overall, color=style.FAINT, linewidth=1)
        groups = [group.replace("-", "−") for group in table["group"]]
        _dots(ax, table, "accuracy", groups, [style.TRAINING] * len(table))
        ax.set_ylim(heights[i // 2] - 2, -0.6)  # rows equally far apart in all panels
        ax.set_title(name, loc="left", weight="bold")
        ax.tick_params(labelbottom=i >= len(ordered) - 2)
    _share_axis(axes.flat, min(table["accuracy_low"].min() for table in tables.values()))
    figure.supxlabel(f"accuracy (line: all images, {100 * overall:.1f} %)", fontsize=9)
    return figure


def _dots(ax: Axes, table: "pd.DataFrame", key: str, names: Sequence[str], colours: Sequence[str]) -> None:
    """Draw one row a group: a dot, its interval and, beside it, the value in per cent."""
    rows = np.arange(len(table))
    ax.hlines(rows, table[f"{key}_low"], table[f"{key}_high"], color=colours, linewidth=1.5)
    ax.scatter(table[key], rows, color=colours, s=24, zorder=3)
    for row, high, value in zip(rows, table[f"{key}_high"], table[key], strict=True):
        if np.isfinite(value):
            style.note(ax, f"{100 * value:.0f}", (high, row), (4, 0), va="center")
    ax.set_yticks(rows, names)
    ax.set_ylim(len(table) - 0.4, -0.7)
    style.bare(ax, ticks="y")


def _share_axis(axes: Iterable[Axes], lowest: float) -> None:
    """Give all panels one scale of shares, from the tenth below the lowest interval up to 1."""
    for ax in axes:
        ax.set_xlim(math.floor(10 * lowest) / 10, 1.0)
        ax.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
        ax.xaxis.set_major_formatter(style.percent)
        ax.grid(axis="x", color="#E4E4E4", linewidth=0.6)
        ax.set_axisbelow(True)
