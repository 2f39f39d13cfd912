"""Figures of Section 8."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from fer_lib import attention
from fer_lib.data.faces import FaceDataset
from fer_lib.data.picture import network_input
from fer_lib.figures import evaluation, style
from fer_lib.files import UsageError
from fer_tools.transfer.results import FOUR, PAIRS
from fer_tools.transfer.training import Trained, Trainer

COLOURS = {"frozen_transfer": "#D98C00", "frozen_random": style.FAINT}
COLOURS |= {"tuned_transfer": style.VALIDATION, "tuned_random": style.TRAINING}


@style.styled
def examples(faces: FaceDataset, columns: int = 12) -> style.Figure:
    """Draw the first training images of each class as the network gets them."""
    figure, axes = style.subplots(2, 1, 1.5)
    for label, ax in enumerate(axes[:, 0]):
        images = faces.images[faces.labels == label][:columns]
        style.show(ax, style.montage(images, columns))
        ax.set_ylabel(faces.classes[label], fontsize=8)
    return figure


def looks(trainer: Trainer, trained: Trained, faces: FaceDataset, seed: int) -> style.Figure:
    """Draw where a trained network looks: Grad-CAM of images drawn by the seed, right and wrong ones.

    Of a network without feature maps the images are drawn alone.
    """
    order = np.random.default_rng(seed).permutation(len(faces))[:100]
    images, labels = faces.images[order], faces.labels[order]
    probabilities = trainer.probabilities(trained, images)
    try:
        maps = attention.grad_cam(trainer.model, network_input(images, trainer.size))
    except UsageError:
        maps = np.full((len(images), 1, 1), np.nan)
    return evaluation.attention(images, maps, labels, probabilities, faces.classes)


@style.styled
def far_transfer(curves: pd.DataFrame, found: Mapping[str, Any], topic: str) -> style.Figure:
    """Draw validation accuracy over the training, thin for each seed, and test accuracy with its interval."""
    figure, axes = style.subplots(1, 2, 3.1, sharey=True, width_ratios=(3, 2))
    left, right = axes[0]
    seen = curves.dropna(subset="val_accuracy")
    for place, (name, (words, *_)) in enumerate(FOUR.items()):
        own, colour = seen[seen["condition"] == name], COLOURS[name]
        last = curves.loc[curves["condition"] == name, "epoch"].max()
        for _, seed in own.groupby("seed"):
            left.plot(seed["epoch"] / last, seed["val_accuracy"], color=colour, linewidth=0.6, alpha=0.5)
        mean = own.groupby("epoch")["val_accuracy"].mean()
        left.plot(mean.index / last, mean, color=colour, label=words)
        value, low, high = (found[f"{name}.accuracy{end}"] for end in ("", "_low", "_high"))
        right.errorbar(place, value, [[value - low], [high - value]], fmt="o", color=colour, markersize=5)
        style.note(right, f"{value:.1%}".replace("%", " %"), (place, high), (0, 4), ha="center", color=colour)
    left.yaxis.set_major_formatter(style.percent)
    left.set(xlabel="share of the training", ylabel="validation accuracy")
    legend = {"loc": "outside lower center", "ncols": 4, "frameon": False, "fontsize": 8}
    figure.legend(*left.get_legend_handles_labels(), **legend)
    right.set_xticks(range(4), [words.replace(" ", "\n") for words, *_ in FOUR.values()], fontsize=7)
    right.set(xlim=(-0.6, 3.6))
    right.margins(y=0.16)
    right.set_title("test accuracy, mean of seeds", loc="left")
    figure.suptitle(f"Far Transfer from Facial Recognition to {topic}")
    return figure


@style.styled
def learning_curve(table: pd.DataFrame) -> style.Figure:
    """Draw test accuracy against images of each class, fine-tuned and from random, with bands over seeds."""
    figure, axes = style.subplots(1, 1, 2.9)
    ax = axes[0, 0]
    for name, column in zip(PAIRS["tuned"], ("transfer", "random"), strict=True):
        mean, spread, colour = table[column], table[f"{column}_spread"], COLOURS[name]
        ax.plot(table["images"], mean, "o-", color=colour, markersize=4, label=FOUR[name][0])
        ax.fill_between(table["images"], mean - spread, mean + spread, color=colour, alpha=0.15, linewidth=0)
    ax.set_xscale("log")
    ax.set_xticks(table["images"], [f"{n:,}" for n in table["images"]])
    ax.set_xticks([], minor=True)
    ax.yaxis.set_major_formatter(style.percent)
    ax.set(xlabel="training images of each class", ylabel="test accuracy")
    ax.legend(frameon=False, fontsize=8, loc="lower right")
    return figure


@style.styled
def layers(table: pd.DataFrame) -> style.Figure:
    """Draw test accuracy against the number of blocks taken over, the others random."""
    figure, axes = style.subplots(1, 1, 2.3, 0.7 * style.WIDTH)
    ax = axes[0, 0]
    colour = COLOURS["tuned_transfer"]
    ax.errorbar(table["blocks"], table["accuracy"], table["spread"], fmt="o-", color=colour, markersize=4)
    ax.axhline(table["accuracy"][0], color=style.FAINT, linewidth=0.8)
    ax.set_xticks(np.arange(len(table)))
    ax.yaxis.set_major_formatter(style.percent)
    ax.set(xlabel="blocks taken over, from the image on", ylabel="test accuracy")
    ax.set_title(f"{int(table['images'][0]):,} images of each class", loc="left")
    return figure
