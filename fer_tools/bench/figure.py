"""The figure of a benchmark."""

from typing import Any

import numpy as np

from fer_lib.figures import style
from fer_lib.figures.style import Figure
from fer_tools.bench.contenders import PLAIN
from fer_tools.bench.machine import busy

PLAIN_NAME = "4 convolutions"


@style.styled
def draw(document: dict[str, Any]) -> Figure:
    """Draw the time per training image of each way, and the share of sgemm's rate that each attains."""
    ways = document["ways"]
    figure, axes = style.subplots(1, 2, 0.8 + 0.55 * len(ways), sharey=True, width_ratios=(3, 2))
    left, right = axes[0]
    colours = [style.VALIDATION if way["ours"] else style.TRAINING for way in ways.values()]
    for ax, measures, text in (
        (left, (("train", "wall_ms"), ("train", "cpu_ms")), _time_text),
        (right, (("train", "cpu_share"), ("evaluate", "cpu_share")), _share_text),
    ):
        values = [[way[command][measure] for way in ways.values()] for command, measure in measures]
        for place, (command, measure) in enumerate(measures):  # the second bar of each way is pale
            rows = np.arange(len(ways)) + 0.34 * place - 0.17
            bars = ax.barh(rows, values[place], 0.32, color=colours, alpha=(1.0, 0.45)[place])
            texts = [text(document, *bar, command, measure) for bar in zip(ways, values[place], strict=True)]
            ax.bar_label(bars, texts, padding=3, fontsize=8)
        style.bare(ax, ticks="y")
        ax.spines["bottom"].set_visible(False)
        ax.set(xticks=[], xlim=(0, 1.5 * np.max(values)))
    left.set_yticks(np.arange(len(ways)), [_label(way) for way in ways.values()])
    left.invert_yaxis()
    others = " (machine busy)" if busy(document["machine"]["cores_of_others"]) else ""
    left.set_title(f"training: ms per image,\n× as quick as the first{others}", loc="left")
    right.set_title("arithmetic: share of the\nrate of sgemm (CPU time)", loc="left")
    return figure


def _label(way: dict[str, Any]) -> str:
    name = PLAIN_NAME if way["network"] == PLAIN else way["network"]
    return f"{'ours' if way['ours'] else 'plain Keras'}\n{name}, {way['input'].replace('x', '×')}"


def _time_text(document: dict[str, Any], way: str, value: float, command: str, measure: str) -> str:
    how = measure.removesuffix("_ms")
    ratio = document["ratios"].get(f"{PLAIN} / {way}")
    beside = f" {ratio[command][how]:.1f}×" if ratio else {"wall": "wall", "cpu": "CPU"}[how]
    return f"{value:.{int(value < 9.5)}f} ms {beside}"


def _share_text(document: dict[str, Any], way: str, value: float, command: str, measure: str) -> str:
    return style.percent(value) + {"train": "  training", "evaluate": "  evaluation"}[command] * (
        way == PLAIN
    )
