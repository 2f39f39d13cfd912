"""One short function a figure, each returning a matplotlib Figure at most 6.3 inches wide.

No pyplot, hence no state between figures. A class has the same colour everywhere and curves carry
their names at their ends. `faces` is a `fer_lib.datasets.FaceDataset`; `history` has the columns of
history.csv; tables are those of `fer_lib.evaluation`.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import seaborn
from matplotlib.axes import Axes
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator

from fer_lib.drawing import (
    FAINT,
    INK,
    TRAINING,
    VALIDATION,
    WIDTH,
    Figure,
    bare,
    class_colours,
    percent,
    styled,
    subplots,
)
from fer_lib.overfitting import Onset, smooth
from fer_lib.overfitting import gap as generalisation_gap

if TYPE_CHECKING:
    import pandas as pd

    from fer_lib.datasets import FaceDataset

# Exploration


@styled
def counts(table: Mapping[str, Mapping[str, int]]) -> Figure:
    """Images per class (rows) in each part of the data (panels, one scale).

    Parameters
    ----------
    table : part -> class -> count, for example {"training": {"neutral": 1330, ...}, ...}.
    """
    classes = list(next(iter(table.values())))
    figure, axes = subplots(1, len(table), 0.5 + 0.25 * len(classes), sharex=True, sharey=True)
    for ax, (part, values) in zip(axes[0], table.items(), strict=True):
        bars = ax.barh(classes, [values[name] for name in classes], 0.7, color=class_colours(classes))
        ax.bar_label(bars, [f"{values[name]:,}" for name in classes], padding=3, fontsize=8)
        ax.set_title(f"{part}\n{sum(values.values()):,} images", loc="left")
        bare(ax, ticks="y")
        ax.spines["bottom"].set_visible(False)
    # The numbers stand at the bars; they need some room to the right.
    axes[0, 0].set(xlim=(0, 1.45 * max(max(part.values()) for part in table.values())), xticks=[])
    axes[0, 0].invert_yaxis()
    return figure


@styled
def gallery(faces: "FaceDataset", n: int = 10, seed: int = 0) -> Figure:
    """`n` faces of each class, drawn at random; a row a class."""
    rng = np.random.default_rng(seed)
    k = len(faces.classes)
    figure, axes = subplots(k, 1, k * ((WIDTH - 0.7) / n + 0.08))
    for i, (ax, name) in enumerate(zip(axes[:, 0], faces.classes, strict=True)):
        members = np.flatnonzero(faces.labels == i)
        chosen = rng.permutation(members)[:n]
        _show(ax, _montage(faces.images[chosen], n))
        ax.set_ylabel(
            name, rotation=0, ha="right", va="center", color=class_colours(faces.classes)[i], weight="bold"
        )
    return figure


@styled
def mean_faces(faces: "FaceDataset") -> Figure:
    """Mean face of each class, and the standard deviation at each pixel, in grey levels (0 to 255)."""
    k = len(faces.classes)
    width = min(WIDTH, 1.8 + 1.3 * k)
    figure, axes = subplots(2, k, 0.4 + 2 * (width - 1.7) / k, width)
    groups = [faces.images[faces.labels == i].astype(np.float32) for i in range(k)]
    rows = (("mean", np.mean, "gray"), ("standard\ndeviation", np.std, "magma"))
    for row, (name, statistic, cmap) in zip(axes, rows, strict=True):
        maps = [statistic(group, axis=0) for group in groups]
        low, high = min(m.min() for m in maps), max(m.max() for m in maps)
        images = [_show(ax, m, low, high, cmap) for ax, m in zip(row, maps, strict=True)]
        row[0].set_ylabel(name, rotation=0, ha="right", va="center")
        bar = figure.colorbar(images[0], ax=list(row), fraction=0.05, pad=0.02)
        bar.outline.set_visible(False)
        bar.set_label("grey levels", fontsize=8)
    for ax, name, colour in zip(axes[0], faces.classes, class_colours(faces.classes), strict=True):
        ax.set_title(name, color=colour, weight="bold")
    return figure


@styled
def brightness(faces: "FaceDataset") -> Figure:
    """Distribution of brightness (mean) and contrast (standard deviation) of the images of each class."""
    k = len(faces.classes)
    figure, axes = subplots(1, 2, 0.7 + 0.55 * k, sharey=True)
    flat = faces.images.reshape(len(faces.images), -1)
    measures = (
        ("brightness: mean of an image", flat.mean(axis=1)),
        ("contrast: standard deviation", flat.std(axis=1)),
    )
    for ax, (name, values) in zip(axes[0], measures, strict=True):
        edges = np.linspace(values.min(), max(values.max(), values.min() + 1), 41)
        groups = [values[faces.labels == i] for i in range(k)]
        shares = [np.histogram(group, edges)[0] / len(group) for group in groups]
        scale = 0.7 / max(share.max() for share in shares)
        for i, colour in enumerate(class_colours(faces.classes)):
            # Each class stands on a line of its own, all to one scale.
            ax.stairs(-i + scale * shares[i], edges, baseline=-i, fill=True, color=colour, alpha=0.75)
            median = np.median(groups[i])
            ax.plot([median, median], [-i, -i + 0.72], color=INK, linewidth=1)
            ax.text(median, -i + 0.74, f"median {median:.0f}", ha="center", fontsize=8)
        ax.set_xlabel(f"{name} (grey levels)")
        ax.set_yticks(-np.arange(k), faces.classes)
        ax.set_ylim(-k + 0.9, 1.0)
        bare(ax, ticks="both")
    return figure


@styled
def duplicates(faces: "FaceDataset", n: int = 6) -> Figure:
    """Pairs of identical images, at most `n` with the same label and `n` with conflicting ones."""
    _, first, group = np.unique(faces.pixel_digests(), return_index=True, return_inverse=True)
    original = first[group]  # (images,) index of the first image with the same pixels
    pairs = np.stack([original, np.arange(len(faces))], axis=1)[original != np.arange(len(faces))]
    same = faces.labels[pairs[:, 0]] == faces.labels[pairs[:, 1]]
    groups = {"with the same label": pairs[same], "with conflicting labels": pairs[~same]}
    shown = [
        (f"identical images {name}: {len(g):,} pair{'s' * (len(g) != 1)}", g)
        for name, g in groups.items()
        if len(g)
    ]
    figure = Figure(figsize=(WIDTH, 0.97 * max(len(shown), 0.4)), layout="constrained")
    if not shown:
        figure.text(0, 0.5, "No two images are identical.")
        return figure
    for part, (title, group) in zip(
        figure.subfigures(len(shown), 1, squeeze=False)[:, 0], shown, strict=True
    ):
        part.suptitle(title, x=0.01, ha="left", fontsize=9)
        axes = part.subplots(1, n)
        # Evenly spread over the data, which are in the order of the classes.
        chosen = group[np.linspace(0, len(group) - 1, min(n, len(group))).astype(int)]
        for ax in axes[len(chosen) :]:
            ax.set_axis_off()
        for ax, pair in zip(axes, chosen, strict=False):
            _show(ax, _montage(faces.images[pair], 2))
            names = [faces.classes[label] for label in faces.labels[pair]]
            ax.set_xlabel(" | ".join(dict.fromkeys(names)), fontsize=8)
    return figure


@styled
def augmentation(originals: np.ndarray, augmented: np.ndarray) -> Figure:
    """Faces (left, framed) and what augmentation makes of them.

    Parameters
    ----------
    originals : (n, height, width) or (n, height, width, 1), grey levels.
    augmented : (n, k, height, width) or (n, k, height, width, 1), grey levels.
    """
    n, k = augmented.shape[:2]
    figure, axes = subplots(n, k + 1, n * WIDTH / (k + 1) + 0.25)
    for row, original, versions in zip(axes, originals, augmented, strict=True):
        for ax, image in zip(row, (original, *versions), strict=True):
            _show(ax, np.squeeze(image))
        row[0].spines[:].set(visible=True, color=VALIDATION, linewidth=2)
    axes[0, 0].set_title("original", color=VALIDATION, weight="bold")
    axes[0, 1].set_title("augmented", loc="left")
    return figure


# Training


@styled
def loss(history: Mapping[str, Any], onset: Onset) -> Figure:
    """Training and validation loss by epoch, with the onset of over-fitting and the epoch kept."""
    values = np.asarray(history["val_loss"], float)
    figure, ax = _training_axes(values, onset, "cross-entropy loss", "loss {:.2f}")
    _curve(ax, history["loss"], "training", TRAINING)
    _curve(ax, onset.smoothed, "validation\n(thin: each epoch)", VALIDATION)
    _cut_jumps(ax, values)
    _name_curves(ax)
    return figure


@styled
def accuracy(history: Mapping[str, Any], onset: Onset, window: int = 5) -> Figure:
    """Training and validation accuracy by epoch, with the onset of over-fitting and the epoch kept."""
    values = np.asarray(history["val_accuracy"], float)
    figure, ax = _training_axes(values, onset, "accuracy", "accuracy {:.1%}")
    _curve(ax, history["accuracy"], "training", TRAINING)
    _curve(ax, smooth(values, window), "validation\n(thin: each epoch)", VALIDATION)
    ax.yaxis.set_major_formatter(percent)
    _name_curves(ax)
    return figure


@styled
def gap(history: Mapping[str, Any], onset: Onset, window: int = 5) -> Figure:
    """Generalisation gap, validation minus training loss, by epoch."""
    values = generalisation_gap(history)
    figure, ax = _training_axes(values, onset, "validation loss −\ntraining loss", "gap {:+.3f}", height=2.3)
    ax.axhline(0, color=FAINT, linewidth=0.8, label="_zero")
    _curve(ax, smooth(values, window), "gap\n(thin: each epoch)", VALIDATION)
    _cut_jumps(ax, values)
    _name_curves(ax)
    return figure


# Evaluation


@styled
def confusion_matrix(matrix: np.ndarray, classes: Sequence[str]) -> Figure:
    """Heat map of `matrix[true, predicted]`: share of each row, and counts."""
    k = len(classes)
    totals = matrix.sum(axis=1, keepdims=True)
    shares = matrix / np.maximum(totals, 1)
    size = min(WIDTH, 1.3 + 0.95 * k)
    figure, axes = subplots(1, 1, size * 0.8, size)
    ax = axes[0, 0]
    notes = [
        [f"{percent(s)}\n{n:,}" for s, n in zip(*row, strict=True)]
        for row in zip(shares, matrix, strict=True)
    ]
    seaborn.heatmap(
        shares,
        ax=ax,
        cmap="Blues",
        vmin=0,
        vmax=1,
        cbar=False,
        linewidths=2,
        annot=np.array(notes),
        fmt="",
        annot_kws={"fontsize": 8 if k > 4 else 9},
        xticklabels=classes,
        yticklabels=[f"{name}\n({n:,})" for name, n in zip(classes, totals[:, 0], strict=True)],
    )
    ax.tick_params(axis="y", rotation=0)
    ax.set(xlabel="predicted", ylabel="true (images)")
    bare(ax, ticks="both")
    ax.spines[:].set_visible(False)
    return figure


@styled
def per_class(table: "pd.DataFrame") -> Figure:
    """Precision, recall and F1 of each class with 95 % intervals, from `evaluation.per_class`."""
    figure, axes = subplots(1, 3, 0.65 + 0.42 * len(table), sharex=True, sharey=True)
    names = list(table["class"])
    titles = {"precision": "precision", "recall": "recall", "f1": "F1 score"}
    for ax, (key, title) in zip(axes[0], titles.items(), strict=True):
        _dots(ax, table, key, names, class_colours(names))
        ax.set_title(title, loc="left")
    _share_axis(axes[0], table[[f"{key}_low" for key in titles]].min(axis=None))
    figure.get_layout_engine().set(wspace=0.08)  # 100 % of one panel is not to touch 70 % of the next
    return figure


@styled
def calibration(table: "pd.DataFrame") -> Figure:
    """Reliability diagram with 95 % intervals, and the images per bin, from `evaluation.calibration`."""
    figure, axes = subplots(2, 1, 4.2, 4.2, sharex=True, height_ratios=(3, 1))
    (ax,), (below,) = axes
    full = table[table["count"] > 0]
    ax.plot([0, 1], [0, 1], color=FAINT, linewidth=1, linestyle=(0, (4, 3)))
    ax.vlines(
        full["confidence"], full["accuracy_low"], full["accuracy_high"], color=VALIDATION, linewidth=1.5
    )
    ax.scatter(full["confidence"], full["accuracy"], color=VALIDATION, s=28, zorder=3)
    left = float(full["low"].min())
    ax.set(xlim=(left, 1.0), ylim=(0, 1.02), ylabel="accuracy")
    ax.yaxis.set_major_formatter(percent)
    ax.text(0.03, 0.93, "too cautious", color=FAINT, fontsize=8, transform=ax.transAxes)
    ax.text(0.97, 0.04, "too confident", color=FAINT, fontsize=8, ha="right", transform=ax.transAxes)
    bars = below.bar(
        full["low"], full["count"], full["high"] - full["low"], align="edge", color=FAINT, ec="white"
    )
    below.bar_label(bars, [f"{count:,}" for count in full["count"]], padding=1, fontsize=8)
    below.set(xlabel="confidence (largest probability)", ylabel="images", yticks=[])
    below.set_ylim(0, 1.3 * full["count"].max())
    below.xaxis.set_major_formatter(percent)
    below.spines["left"].set_visible(False)
    return figure


@styled
def mistakes(
    images: np.ndarray, labels: np.ndarray, probabilities: np.ndarray, classes: Sequence[str], n: int = 12
) -> Figure:
    """Show the first `n` images: true class → predicted class, with its probability.

    Parameters
    ----------
    images : (m, height, width) grey levels, for example those of `evaluation.most_confident_mistakes`.
    labels : (m,) int
    probabilities : (m, k) float
    """
    columns, count = 6, min(n, len(images))
    rows = max(1, math.ceil(count / columns))
    figure, axes = subplots(rows, columns, rows * 1.45)
    for ax in axes.flat[count:]:
        ax.set_axis_off()
    for ax, image, *case in zip(axes.flat[:count], images, labels, probabilities, strict=False):
        _show(ax, np.squeeze(image))
        _caption(ax, *case, classes)
    if not count:
        axes[0, 0].text(0, 0.5, "no mistakes", transform=axes[0, 0].transAxes)
    return figure


@styled
def attention(
    images: np.ndarray,
    maps: np.ndarray,
    labels: np.ndarray,
    probabilities: np.ndarray,
    classes: Sequence[str],
    n: int = 6,
) -> Figure:
    """Where the network looks, for the first `n` right cases (above) and wrong cases (below).

    Parameters
    ----------
    images : (m, height, width) grey levels.
    maps : (m, rows, columns) in 0..1, from `evaluation.attention`; the brighter, the higher.
    labels : (m,) int
    probabilities : (m, k) float
    """
    right = probabilities.argmax(axis=1) == labels
    groups = {"right": np.flatnonzero(right)[:n], "wrong": np.flatnonzero(~right)[:n]}
    groups = {name: chosen for name, chosen in groups.items() if len(chosen)}
    figure, axes = subplots(2 * len(groups), n, 2.5 * len(groups))
    for ax in axes.flat:
        ax.set_axis_off()
    for (name, chosen), faces, overlays in zip(groups.items(), axes[::2], axes[1::2], strict=True):
        for i, face, overlay in zip(chosen, faces, overlays, strict=False):
            for ax in (face, overlay):
                ax.set_axis_on()
                _show(ax, np.squeeze(images[i]))
            height, width = np.squeeze(images[i]).shape
            # The map covers the whole face at its own, coarser resolution.
            extent = (-0.5, width - 0.5, height - 0.5, -0.5)
            overlay.imshow(
                maps[i], cmap="inferno", vmin=0, vmax=1, alpha=0.55, extent=extent, interpolation="bilinear"
            )
            _caption(overlay, labels[i], probabilities[i], classes)
        faces[0].set_title(name, loc="left", weight="bold")
    return figure


@styled
def factors(tables: Mapping[str, "pd.DataFrame"], overall: float) -> Figure:
    """Accuracy against each factor with 95 % intervals; the line is the accuracy of all images.

    Parameters
    ----------
    tables : factor -> table of `evaluation.accuracy_by`.
    """
    # Panels of like length share a row, so that little space is left over.
    ordered = sorted(tables.items(), key=lambda item: -len(item[1]))
    heights = [len(table) + 1.6 for _, table in ordered[::2]]
    figure, axes = subplots(len(heights), 2, 0.4 + 0.21 * sum(heights), sharex=True, height_ratios=heights)
    for ax in axes.flat[len(ordered) :]:
        ax.set_axis_off()
    for i, (ax, (name, table)) in enumerate(zip(axes.flat, ordered, strict=False)):
        ax.axvline(overall, color=FAINT, linewidth=1)
        groups = [group.replace("-", "−") for group in table["group"]]
        _dots(ax, table, "accuracy", groups, [TRAINING] * len(table))
        ax.set_ylim(heights[i // 2] - 2, -0.6)  # rows equally far apart in all panels
        ax.set_title(name, loc="left", weight="bold")
        ax.tick_params(labelbottom=i >= len(ordered) - 2)
    _share_axis(axes.flat, min(table["accuracy_low"].min() for table in tables.values()))
    figure.supxlabel(f"accuracy (line: all images, {100 * overall:.1f} %)", fontsize=9)
    return figure


# Parts of figures


def _show(ax: Axes, image: np.ndarray, low: float = 0, high: float = 255, cmap: str = "gray") -> AxesImage:
    """Draw a face without ticks and frame."""
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[:].set_visible(False)
    return ax.imshow(image, vmin=low, vmax=high, interpolation="lanczos", cmap=cmap)


def _montage(images: np.ndarray, columns: int, space: int = 2) -> np.ndarray:
    """Put images (n, height, width) side by side into one; up to `columns` missing ones are white."""
    _, height, width = images.shape
    row = np.full((height, columns * (width + space) - space), 255, np.uint8)
    for i, image in enumerate(images):
        row[:, i * (width + space) :][:, :width] = image
    return row


def _caption(ax: Axes, label: int, probabilities: np.ndarray, classes: Sequence[str]) -> None:
    """Write the true and the predicted class of a face beneath it."""
    predicted = int(np.argmax(probabilities))
    ax.set_xlabel(f"{classes[label]}\n→ {classes[predicted]} {percent(probabilities[predicted])}", fontsize=8)


def _training_axes(
    values: np.ndarray, onset: Onset, ylabel: str, form: str, height: float = 2.9
) -> tuple[Figure, Axes]:
    """Axes over epochs with a jumpy curve drawn thin; the epoch kept and the onset are named above."""
    epochs, kept = len(values), onset.best_epoch
    figure, axes = subplots(1, 1, height)
    ax = axes[0, 0]
    ax.set(xlabel="epoch", ylabel=ylabel, xlim=(0.5, epochs + 0.5))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))

    def mark(epoch: int, line: int, text: str, colour: str) -> None:
        ax.annotate(
            text,
            (epoch, 1),
            (0, 6 + 12 * line),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            ha="right" if epoch > 0.6 * epochs else "left",
            color=colour,
            fontsize=8,
        )

    if onset.found:
        ax.axvspan(onset.onset_epoch - 0.5, epochs + 0.5, color=VALIDATION, alpha=0.09, linewidth=0)
        mark(onset.onset_epoch, 0, f"over-fitting from epoch {onset.onset_epoch}", VALIDATION)
    else:
        mark(epochs, 0, "no over-fitting seen", FAINT)
    value = form.format(values[kept - 1]).replace("%", " %").replace("-", "−")
    mark(kept, 1, f"epoch {kept} is kept: {value}", INK)
    ax.axvline(kept, color=INK, linewidth=1, linestyle=(0, (1, 2)), label="_kept")
    ax.plot([kept], values[[kept - 1]], "o", color=INK, markersize=5, zorder=3, label="_value kept")
    _curve(ax, values, "_each epoch", VALIDATION, linewidth=0.8, alpha=0.6)
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
    ax.plot(cut, np.full(len(cut), top), "^", color=VALIDATION, clip_on=False, label="_cut")
    place = (values.argmax() + 1, top)
    ax.annotate(f"up to {values.max():.1f}", place, (7, -2), textcoords="offset points", va="top", fontsize=8)


def _name_curves(ax: Axes) -> None:
    """Write the names of the curves at their right ends, apart from one another."""
    low, high = ax.get_ylim()
    lines = [line for line in ax.lines if not line.get_label().startswith("_")]
    place = -np.inf
    for line in sorted(lines, key=lambda line: line.get_ydata()[-1]):
        place = max(place + 0.17 * (high - low), float(line.get_ydata()[-1]))
        ax.annotate(
            line.get_label(),
            (line.get_xdata()[-1], place),
            (8, 0),
            textcoords="offset points",
            va="center",
            color=line.get_color(),
            fontsize=8,
            annotation_clip=False,
        )


def _dots(ax: Axes, table: "pd.DataFrame", key: str, names: Sequence[str], colours: Sequence[str]) -> None:
    """Draw one row a group: a dot, its interval and, beside it, the value in per cent."""
    rows = np.arange(len(table))
    ax.hlines(rows, table[f"{key}_low"], table[f"{key}_high"], color=colours, linewidth=1.5)
    ax.scatter(table[key], rows, color=colours, s=24, zorder=3)
    for row, high, value in zip(rows, table[f"{key}_high"], table[key], strict=True):
        if np.isfinite(value):
            ax.annotate(
                f"{100 * value:.0f}", (high, row), (4, 0), textcoords="offset points", va="center", fontsize=8
            )
    ax.set_yticks(rows, names)
    ax.set_ylim(len(table) - 0.4, -0.7)
    bare(ax, ticks="y")


def _share_axis(axes: Iterable[Axes], lowest: float) -> None:
    """Give all panels one scale of shares, from the tenth below the lowest interval up to 1."""
    for ax in axes:
        ax.set_xlim(math.floor(10 * lowest) / 10, 1.0)
        ax.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
        ax.xaxis.set_major_formatter(percent)
        ax.grid(axis="x", color="#E4E4E4", linewidth=0.6)
        ax.set_axisbelow(True)
