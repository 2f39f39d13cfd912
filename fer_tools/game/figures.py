"""Figures of notebook 06: a game as it was played, and what was recognised."""

from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import seaborn
from matplotlib.axes import Axes
from matplotlib.patches import ConnectionPatch, Rectangle

from fer_lib.evaluation import accuracy_by
from fer_lib.figures import style
from fer_tools.game.played import Event, Game
from fer_tools.game.recognised import CONDITIONS, NONE, confusion
from fer_tools.play.trace import EXPRESSIONS

if TYPE_CHECKING:
    import pandas as pd

LINES = dict(zip(EXPRESSIONS, ("-", (0, (5, 2)), (0, (1, 1))), strict=True))  # told apart without colours
SIGNS = {"X": "×", "O": "○", ".": ""}
MOST_BOARDS = 9  # moves of a game
MOST_POINTS = 2_000  # of a line: more are not seen, and would only make large files
HOW = {"face": "", "keyboard": " (key)", "pointer": " (mouse)"}


@style.styled
def moves(trace: dict[str, Any], game: Game) -> style.Figure:
    """Draw a game: probabilities over time, what was chosen when, and the board after each move.

    Lines are those of the three expressions, interrupted where no face looked at the camera. What was taken
    back is crossed out.
    """
    figure, axes = style.subplots(2, 1, 4.1, height_ratios=(2.6, 1))
    (ax,), (below,) = axes
    _probabilities(ax, trace, game)
    _choices(ax, game)
    boards = game.moves[:MOST_BOARDS]
    below.set(xlim=(0, MOST_BOARDS), ylim=(0, 1.3), aspect="equal")
    below.set_axis_off()
    for number, move in enumerate(boards):
        _board(below, number, move)
        line = ConnectionPatch(
            (_seconds(game, move["t"]), 0), (number + 0.5, 1.25), "data", "data", axesA=ax, axesB=below
        )
        line.set(color=style.FAINT, linewidth=0.6)
        figure.add_artist(line)
    return figure


def _seconds(game: Game, t: float) -> float:
    return (t - game.begin) / 1000


def _probabilities(ax: Axes, trace: dict[str, Any], game: Game) -> None:
    frames = [frame for frame in trace["frames"] if game.begin <= frame["t"] <= game.end]
    frames = frames[:: 1 + len(frames) // MOST_POINTS]
    classes = trace["network"]["classes"]
    times = [_seconds(game, frame["t"]) for frame in frames]
    for name, colour in zip(EXPRESSIONS, style.class_colours(EXPRESSIONS), strict=True):
        i = classes.index(name)
        values = [np.nan if frame["p"] is None or "away" in frame else frame["p"][i] for frame in frames]
        ax.plot(times, values, color=colour, linestyle=LINES[name], linewidth=1.3, label=name)
    ax.set(ylim=(0, 1), xlim=(0, max(_seconds(game, game.end), 0.1)), ylabel="probability")
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:g} s")
    ax.yaxis.set_major_formatter(style.percent)
    ax.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False, fontsize=8)


def _choices(ax: Axes, game: Game) -> None:
    """Mark choices where they were made; names that would touch are set one above the other."""
    events = [event for event in game.events if event["type"] in ("choice", "undo")]
    before, raised = -np.inf, False
    for event, after in pairwise([*events, {"type": ""}]):
        if event["type"] == "undo":
            continue
        at = _seconds(game, event["t"])
        raised, before = at - before < 0.035 * ax.get_xlim()[1] and not raised, at
        text = f"{event['of']} {event['value'] + 1}{HOW[event['how']]}"
        if after["type"] == "undo":
            text = "".join(f"{c}\N{COMBINING LONG STROKE OVERLAY}" for c in text)
        ax.axvline(at, color=style.INK, linewidth=0.6)
        style.note(ax, text, (at, 1), (0, 20 if raised else 3), rotation=45, va="bottom", color=style.INK)


def _board(ax: Axes, number: int, move: Event) -> None:
    """Draw the board after a move, the field of the move marked."""
    for field, sign in enumerate(move["board"]):
        row, column = divmod(field, 3)
        x, y = number + 0.1 + 0.27 * column, 0.05 + 0.27 * (2 - row)
        new = [row, column] == move["cell"]
        ax.add_patch(
            Rectangle((x, y), 0.25, 0.25, fc="#FFE9A8" if new else "#F2F2F2", ec=style.FAINT, lw=0.5)
        )
        ax.text(x + 0.125, y + 0.115, SIGNS[sign], ha="center", va="center", fontsize=9)
    who = "you" if move["by"] == "player" else "computer"
    ax.text(number + 0.5, 0.9, who, ha="center", va="bottom", fontsize=8)


@style.styled
def choice_times(table: "pd.DataFrame") -> style.Figure:
    """Draw how long each choice by face took, by expression; crosses were taken back or not meant.

    Parameters
    ----------
    table : pandas.DataFrame
        Of `played.choices`.
    """
    table = table[table["how"] == "face"]
    figure, axes = style.subplots(1, 1, 1.7)
    ax = axes[0, 0]
    for row, (name, colour) in enumerate(zip(EXPRESSIONS, style.class_colours(EXPRESSIONS), strict=True)):
        own = table[table["expression"] == name]
        for state, marker in ((True, "o"), (False, "x")):
            some = own[(own["state"] == "stands") == state]
            ax.scatter(
                some["seconds"], row + _spread(len(some)), s=22, color=colour, marker=marker, linewidths=1.3
            )
        if len(own):
            ax.vlines(own["seconds"].median(), row - 0.3, row + 0.3, color=style.INK, linewidth=1.2)
    ax.set_yticks(range(len(EXPRESSIONS)), EXPRESSIONS)
    ax.set(ylim=(len(EXPRESSIONS) - 0.5, -0.5), xlabel="seconds since it listened (line: median)")
    ax.set_xlim(0, None if len(table) else 1)
    style.bare(ax, ticks="y")
    return figure


def _spread(n: int) -> np.ndarray:
    """Return small distances by which points of a row are told apart, the same each time."""
    return 0.22 * np.sin(2.4 * np.arange(n))


@style.styled
def live_accuracy(found: Mapping[str, Any]) -> style.Figure:
    """Draw accuracy over prompts and on the test set, and their difference, with 95 % intervals.

    Parameters
    ----------
    found : dict
        Of `recognised.facts`.
    """
    both = found["difference"] is not None
    figure, axes = style.subplots(1, 1 + both, 1.35, width_ratios=(3, 2)[: 1 + both])
    names = ["prompts", "test set"][: 1 + both]
    _interval(axes[0, 0], 0, *(found[f"accuracy{end}"] for end in ENDS), style.VALIDATION)
    if both:
        _interval(axes[0, 0], 1, *(found[f"test_accuracy{end}"] for end in ENDS), style.TRAINING)
        right = axes[0, 1]
        right.axvline(0, color=style.FAINT, linewidth=1)
        _interval(right, 0, *(found[f"difference{end}"] for end in ENDS), style.VALIDATION, "+")
        right.set(yticks=[], ylim=(1.6, -0.6))
        right.set_title("prompts minus test set, points", loc="left")
        right.xaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f}".replace("-", "−"))
        right.spines["left"].set_visible(False)
    axes[0, 0].set(xlim=(0, 1.08), ylim=(1.6, -0.6))
    axes[0, 0].set_title("accuracy", loc="left")
    axes[0, 0].set_xticks([0, 0.25, 0.5, 0.75, 1])
    axes[0, 0].set_yticks(range(len(names)), names)
    axes[0, 0].xaxis.set_major_formatter(style.percent)
    for ax in axes[0]:
        style.bare(ax, ticks="y")
    return figure


ENDS = ("_low", "", "_high")


def _interval(
    ax: Axes, row: float, low: float, value: float, high: float, colour: str, sign: str = ""
) -> None:
    ax.hlines(row, low, high, color=colour, linewidth=1.5)
    ax.scatter(value, row, color=colour, s=24, zorder=3)
    style.note(ax, f"{100 * value:{sign}.1f}".replace("-", "−"), (value, row), (0, 5), ha="center")


@style.styled
def answers(table: "pd.DataFrame") -> style.Figure:
    """Heat map of what was recognised of what was asked for: counts, and the share of each row.

    Parameters
    ----------
    table : pandas.DataFrame
        Of `recognised.prompts`.
    """
    matrix = confusion(table)
    totals = matrix.sum(axis=1, keepdims=True)
    shares = matrix / np.maximum(totals, 1)
    pairs = zip(shares, matrix, strict=True)
    notes = [[f"{style.percent(s)}\n{n:,}" for s, n in zip(*row, strict=True)] for row in pairs]
    figure, axes = style.subplots(1, 1, 2.9, 4.4)
    ax = axes[0, 0]
    options = {"cmap": "Blues", "vmin": 0, "vmax": 1, "cbar": False, "linewidths": 2, "fmt": ""}
    rows = [f"{name}\n({n:,})" for name, n in zip(EXPRESSIONS, totals[:, 0], strict=True)]
    labels = {"xticklabels": [*EXPRESSIONS, NONE], "yticklabels": rows}
    seaborn.heatmap(shares, ax=ax, annot=np.array(notes), annot_kws={"fontsize": 9}, **options, **labels)
    ax.tick_params(axis="y", rotation=0)
    ax.set(xlabel="recognised", ylabel="asked for (prompts)")
    style.bare(ax, ticks="both")
    ax.spines[:].set_visible(False)
    return figure


@style.styled
def conditions(table: "pd.DataFrame") -> style.Figure:
    """Draw size, tilt and brightness of the face against being right: each prompt, and thirds of them.

    Dots above are prompts that were recognised, below those that were not; bars are the accuracy of each
    third of the prompts, with 95 % intervals.

    Parameters
    ----------
    table : pandas.DataFrame
        Of `recognised.prompts`.
    """
    figure, axes = style.subplots(1, len(CONDITIONS), 2.3, sharey=True)
    for ax, (name, unit) in zip(axes[0], CONDITIONS.items(), strict=True):
        rows = table[table[name].notna()]
        _dots(ax, rows[name], rows["right"])
        _thirds(ax, rows[name].to_numpy(float), rows["right"].to_numpy(bool))
        ax.set_title(name, loc="left", weight="bold")
        ax.set_xlabel(unit)
        ax.set_ylim(-0.22, 1.22)
        ax.set_yticks([0, 0.5, 1])
        ax.yaxis.set_major_formatter(style.percent)
        style.bare(ax, ticks="y")
    axes[0, 0].set_ylabel("recognised")
    return figure


def _dots(ax: Axes, values: Iterable[float], right: "pd.Series") -> None:
    for state, level, colour, marker in ((True, 1.1, style.FAINT, "o"), (False, -0.1, style.VALIDATION, "x")):
        some = np.asarray(values)[right == state]
        ax.scatter(some, level + 0.3 * _spread(len(some)), s=12, color=colour, marker=marker, linewidths=1)


def _thirds(ax: Axes, values: np.ndarray, right: np.ndarray) -> None:
    """Draw the accuracy of the lowest, the middle and the highest third of values, where there are three."""
    edges = np.unique(np.quantile(values, np.linspace(0, 1, 4))) if len(values) else np.zeros(0)
    groups = np.clip(np.searchsorted(edges, values, "left"), 1, max(len(edges) - 1, 1))
    for group in np.unique(groups) if len(edges) > 1 else ():
        inside = groups == group
        row = accuracy_by(np.zeros(inside.sum()), right[inside]).iloc[0]
        ax.hlines(row["accuracy"], edges[group - 1], edges[group], color=style.TRAINING, linewidth=2)
        middle = (edges[group - 1] + edges[group]) / 2
        ax.vlines(middle, row["accuracy_low"], row["accuracy_high"], color=style.TRAINING, linewidth=1)


@style.styled
def camera(trace: dict[str, Any]) -> style.Figure:
    """Draw what the camera saw over the whole trace: size, tilt and brightness of the face."""
    frames = trace["frames"]
    frames = frames[:: 1 + len(frames) // MOST_POINTS]
    minutes = [frame["t"] / 60_000 for frame in frames]
    figure, axes = style.subplots(3, 1, 2.9, sharex=True)
    shown = {"side": "size, pixels", "angle": "tilt, degrees", "brightness": "brightness"}
    for ax, (name, title) in zip(axes[:, 0], shown.items(), strict=True):
        values = [np.nan if frame["face"] is None else frame["face"][name] for frame in frames]
        ax.plot(minutes, values, color=style.TRAINING, linewidth=0, marker=".", markersize=1.5)
        ax.set_title(title, loc="left")
        style.bare(ax, ticks="y")
    axes[-1, 0].set_xlabel("minutes since the page was opened")
    return figure
