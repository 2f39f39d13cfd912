"""Figures of a study."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import seaborn
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from fer_lib.figures.style import FAINT, TRAINING, VALIDATION, WIDTH, Figure, bare, percent, styled, subplots
from fer_tools.study.effects import alone, grouped, in_words, of_base, ordered, varied, written

if TYPE_CHECKING:
    import pandas as pd


@styled
def effects(table: "pd.DataFrame", names: Sequence[str] | None = None, columns: int = 3) -> Figure:
    """Draw validation accuracy against each varied parameter: each seed, their mean and standard deviation.

    Thin lines join a seed's accuracies: a seed is the same sample and the same first weights at every value,
    so what counts is whether its line rises or falls. The base is marked; line and band are its mean and
    standard deviation.

    Parameters
    ----------
    table : of `table`.
    names : parameters, a panel each; all that have several values if not given. See `effects.alone`.
    columns : panels in a row.
    """
    names = names or [name for name in varied(table) if len(grouped(table, name)) > 1]
    columns = min(columns, len(names))
    rows = math.ceil(len(names) / columns)
    figure, axes = subplots(rows, columns, 0.2 + 1.9 * rows, sharey=True)
    for ax in axes.flat[len(names) :]:
        ax.set_axis_off()
    for ax, name in zip(axes.flat, names, strict=False):
        _band(ax, of_base(table))
        _panel(ax, grouped(table, name), ordered(table.loc[table["base"], name]), table["seed"])
        ax.set_title(in_words(name), loc="left")
        ax.yaxis.set_major_formatter(percent)
        ax.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
        ax.grid(axis="y", color="#E4E4E4", linewidth=0.6)
        ax.set_axisbelow(True)
        bare(ax, ticks="both")
    figure.supylabel("validation accuracy (red: the base)", fontsize=9)
    return figure


def _spread(values: np.ndarray) -> float:
    """Return the standard deviation of accuracies; 0 of one alone."""
    return values.std(ddof=1) if len(values) > 1 else 0.0


def _band(ax: Axes, base: "pd.Series") -> None:
    """Draw mean and standard deviation of the base across a panel."""
    if len(base):
        spread = _spread(base)
        ax.axhspan(base.mean() - spread, base.mean() + spread, color=FAINT, alpha=0.15, linewidth=0)
        ax.axhline(base.mean(), color=FAINT, linewidth=0.8)


def _panel(ax: Axes, groups: list[tuple[Any, "pd.Series"]], usual: list[Any], seeds: "pd.Series") -> None:
    """Draw accuracies by value of a parameter: each seed, and beside it their mean and deviation."""
    values, there = [value for value, _ in groups], sorted(set(seeds))
    places = {seed: -0.17 + 0.08 * i / max(len(there) - 1, 1) for i, seed in enumerate(there)}
    for place, (value, group) in enumerate(groups):
        colour = VALIDATION if value in usual else TRAINING
        across = [place + places[seed] for seed in seeds.loc[group.index]]
        ax.scatter(across, group, s=9, color=colour, alpha=0.6, linewidths=0, zorder=2)
        ax.errorbar(
            place + 0.08, group.mean(), _spread(group), fmt="o", color=colour, markersize=4.5, linewidth=1.5
        )
    for seed, place in places.items():
        line = [group[seeds.loc[group.index] == seed].mean() for _, group in groups]  # broken where it lacks
        ax.plot(np.arange(len(groups)) + place, line, color=FAINT, linewidth=0.6, alpha=0.6, zorder=1)
    shown = [written(value) for value in values]
    ax.set_xticks(range(len(values)), shown, fontsize=8 if sum(map(len, shown)) < 24 else 7)
    for label, value in zip(ax.get_xticklabels(), values, strict=True):
        if value in usual:
            label.set(color=VALIDATION, weight="bold")
    ax.set_xlim(-0.6, len(values) - 0.4)


@styled
def heat_map(table: "pd.DataFrame", a: str, b: str) -> Figure:
    """Heat map of validation accuracy over two parameters: mean and standard deviation over seeds.

    All other varied parameters are as in the base, where it has a row; cells without a run stay empty.

    Parameters
    ----------
    table : of `table`.
    a, b : names of parameters, downwards and to the right.
    """
    rows = alone(table, a, b)
    down, right = ordered(rows[a]), ordered(rows[b])
    groups = rows.groupby([rows[a].map(str), rows[b].map(str)])["val_accuracy"]
    found = {key: group.to_numpy(float) for key, group in groups}
    cells = [[found.get((str(y), str(x)), np.array([np.nan])) for x in right] for y in down]
    width = min(WIDTH, 1.3 + 0.95 * len(right))
    figure, axes = subplots(1, 1, 0.7 + 0.55 * len(down), width)
    ax = axes[0, 0]
    seaborn.heatmap(
        np.array([[cell.mean() for cell in row] for row in cells]),
        ax=ax,
        cmap="Blues",
        cbar=False,
        linewidths=2,
        annot=np.array([[_cell(cell) for cell in row] for row in cells]),
        fmt="",
        annot_kws={"fontsize": 8},
        xticklabels=[written(value) for value in right],
        yticklabels=[written(value) for value in down],
    )
    ax.tick_params(axis="y", rotation=0)
    ax.set(xlabel=in_words(b), ylabel=in_words(a))
    ax.set_title("validation accuracy", loc="left")
    bare(ax, ticks="both")
    ax.spines[:].set_visible(False)
    return figure


def _cell(values: np.ndarray) -> str:
    """Write the mean of accuracies and, of several, their standard deviation."""
    if np.isnan(values).all():
        return ""
    deviation = f"\n± {100 * _spread(values):.1f}" if len(values) > 1 else ""
    return f"{100 * values.mean():.1f} %{deviation}"
