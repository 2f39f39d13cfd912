"""Figures of a study."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import seaborn
from matplotlib.ticker import MaxNLocator

from fer_lib.figures.style import FAINT, TRAINING, VALIDATION, WIDTH, Figure, bare, percent, styled, subplots
from fer_tools.study.effects import alone, grouped, of_base, ordered, varied, written

if TYPE_CHECKING:
    import pandas as pd


@styled
def effects(table: "pd.DataFrame", names: Sequence[str] | None = None, columns: int = 3) -> Figure:
    """Draw validation accuracy against each varied parameter: each seed, their mean and standard deviation.

    The base is marked; line and band are its mean and standard deviation.

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
    base = of_base(table)
    for ax in axes.flat[len(names) :]:
        ax.set_axis_off()
    for ax, name in zip(axes.flat, names, strict=False):
        groups = grouped(table, name)
        values = [value for value, _ in groups]
        usual = ordered(table.loc[table["base"], name])
        if len(base):
            spread = base.std() if len(base) > 1 else 0.0
            ax.axhspan(base.mean() - spread, base.mean() + spread, color=FAINT, alpha=0.15, linewidth=0)
            ax.axhline(base.mean(), color=FAINT, linewidth=0.8)
        for place, (value, group) in enumerate(groups):
            colour = VALIDATION if value in usual else TRAINING
            beside = (
                place - 0.13 + 0.08 * (np.arange(len(group)) - (len(group) - 1) / 2) / max(len(group) - 1, 1)
            )
            ax.scatter(beside, group, s=9, color=colour, alpha=0.6, linewidths=0)
            deviation = group.std(ddof=1) if len(group) > 1 else 0.0
            ax.errorbar(
                place + 0.08, group.mean(), deviation, fmt="o", color=colour, markersize=4.5, linewidth=1.5
            )
        shown = [written(value) for value in values]
        ax.set_xticks(range(len(values)), shown, fontsize=8 if sum(map(len, shown)) < 24 else 7)
        for label, value in zip(ax.get_xticklabels(), values, strict=True):
            if value in usual:
                label.set(color=VALIDATION, weight="bold")
        ax.set_xlim(-0.6, len(values) - 0.4)
        ax.set_title(name.replace("_", " "), loc="left")
        ax.yaxis.set_major_formatter(percent)
        ax.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
        ax.grid(axis="y", color="#E4E4E4", linewidth=0.6)
        ax.set_axisbelow(True)
        bare(ax, ticks="both")
    figure.supylabel("validation accuracy (red: the base)", fontsize=9)
    return figure


@styled
def heat_map(table: "pd.DataFrame", a: str, b: str) -> Figure:
    """Heat map of validation accuracy over two parameters: mean and standard deviation over seeds.

    All other varied parameters are as in the base, where it has a row; cells without a run stay empty.

    Parameters
    ----------
    table : of `table`.
    a, b : names of parameters, downwards and to the right.
    """
    shown = alone(table, a, b)
    rows, columns = ordered(shown[a]), ordered(shown[b])
    groups = shown.groupby([shown[a].map(str), shown[b].map(str)])["val_accuracy"]
    found = {key: group.to_numpy(float) for key, group in groups}
    cells = [[found.get((str(r), str(c)), np.array([np.nan])) for c in columns] for r in rows]
    notes = [["" if np.isnan(cell).all() else _cell(cell) for cell in row] for row in cells]
    width = min(WIDTH, 1.3 + 0.95 * len(columns))
    figure, axes = subplots(1, 1, 0.7 + 0.55 * len(rows), width)
    ax = axes[0, 0]
    seaborn.heatmap(
        np.array([[cell.mean() for cell in row] for row in cells]),
        ax=ax,
        cmap="Blues",
        cbar=False,
        linewidths=2,
        annot=np.array(notes),
        fmt="",
        annot_kws={"fontsize": 8},
        xticklabels=[written(value) for value in columns],
        yticklabels=[written(value) for value in rows],
    )
    ax.tick_params(axis="y", rotation=0)
    ax.set(xlabel=b.replace("_", " "), ylabel=a.replace("_", " "))
    ax.set_title("validation accuracy", loc="left")
    bare(ax, ticks="both")
    ax.spines[:].set_visible(False)
    return figure


def _cell(values: np.ndarray) -> str:
    """Mean of accuracies and, of several, their standard deviation."""
    mean = f"{100 * values.mean():.1f} %"
    return f"{mean}\n± {100 * values.std(ddof=1):.1f}" if len(values) > 1 else mean
