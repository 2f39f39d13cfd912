"""Figures of notebook 01: the faces. `faces` is a `fer_lib.data.faces.FaceDataset`."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from fer_lib.figures import style

if TYPE_CHECKING:
    from fer_lib.data.faces import FaceDataset


@style.styled
def counts(table: Mapping[str, Mapping[str, int]]) -> style.Figure:
    """Images per class (rows) in each part of the data (panels, one scale).

    Parameters
    ----------
    table : part -> class -> count, for example {"training": {"neutral": 1330, ...}, ...}.
    """
    classes = list(next(iter(table.values())))
    figure, axes = style.subplots(1, len(table), 0.5 + 0.25 * len(classes), sharex=True, sharey=True)
    for ax, (part, values) in zip(axes[0], table.items(), strict=True):
        bars = ax.barh(classes, [values[name] for name in classes], 0.7, color=style.class_colours(classes))
        ax.bar_label(bars, [f"{values[name]:,}" for name in classes], padding=3, fontsize=8)
        ax.set_title(f"{part}\n{sum(values.values()):,} images", loc="left")
        style.bare(ax, ticks="y")
        ax.spines["bottom"].set_visible(False)
    # The numbers stand at the bars; they need some room to the right.
    axes[0, 0].set(xlim=(0, 1.45 * max(max(part.values()) for part in table.values())), xticks=[])
    axes[0, 0].invert_yaxis()
    return figure


@style.styled
def gallery(faces: "FaceDataset", n: int = 10, seed: int = 0) -> style.Figure:
    """`n` faces of each class, drawn at random; one row per class."""
    rng = np.random.default_rng(seed)
    k = len(faces.classes)
    figure, axes = style.subplots(k, 1, k * ((style.WIDTH - 0.7) / n + 0.08))
    colours = style.class_colours(faces.classes)
    for i, (ax, name) in enumerate(zip(axes[:, 0], faces.classes, strict=True)):
        members = np.flatnonzero(faces.labels == i)
        chosen = rng.permutation(members)[:n]
        style.show(ax, style.montage(faces.images[chosen], n))
        ax.set_ylabel(name, rotation=0, ha="right", va="center", color=colours[i], weight="bold")
    return figure


@style.styled
def mean_faces(faces: "FaceDataset") -> style.Figure:
    """Mean face of each class, and the standard deviation at each pixel, in grey levels (0 to 255)."""
    k = len(faces.classes)
    width = min(style.WIDTH, 1.8 + 1.3 * k)
    figure, axes = style.subplots(2, k, 0.4 + 2 * (width - 1.7) / k, width)
    groups = [faces.images[faces.labels == i].astype(np.float32) for i in range(k)]
    rows = (("mean", np.mean, "gray"), ("standard\ndeviation", np.std, "magma"))
    for row, (name, statistic, cmap) in zip(axes, rows, strict=True):
        maps = [statistic(group, axis=0) for group in groups]
        low, high = min(m.min() for m in maps), max(m.max() for m in maps)
        images = [style.show(ax, m, low, high, cmap) for ax, m in zip(row, maps, strict=True)]
        row[0].set_ylabel(name, rotation=0, ha="right", va="center")
        bar = figure.colorbar(images[0], ax=list(row), fraction=0.05, pad=0.02)
        bar.outline.set_visible(False)
        bar.set_label("grey levels", fontsize=8)
    for ax, name, colour in zip(axes[0], faces.classes, style.class_colours(faces.classes), strict=True):
        ax.set_title(name, color=colour, weight="bold")
    return figure


@style.styled
def brightness(faces: "FaceDataset") -> style.Figure:
    """Distribution of brightness (mean) and contrast (standard deviation) of the images of each class."""
    k = len(faces.classes)
    figure, axes = style.subplots(1, 2, 0.7 + 0.55 * k, sharey=True)
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
        for i, colour in enumerate(style.class_colours(faces.classes)):
            # Each class stands on a line of its own, all to one scale.
            ax.stairs(-i + scale * shares[i], edges, baseline=-i, fill=True, color=colour, alpha=0.75)
            median = np.median(groups[i])
            ax.plot([median, median], [-i, -i + 0.72], color=style.INK, linewidth=1)
            ax.text(median, -i + 0.74, f"median {median:.0f}", ha="center", fontsize=8)
        ax.set_xlabel(f"{name} (grey levels)")
        ax.set_yticks(-np.arange(k), faces.classes)
        ax.set_ylim(-k + 0.9, 1.0)
        style.bare(ax, ticks="both")
    return figure


@style.styled
def duplicates(faces: "FaceDataset", n: int = 6) -> style.Figure:
    """Pairs of identical images, at most `n` with the same label and `n` with conflicting ones."""
    _, first, group = np.unique(faces.pixel_digests(), return_index=True, return_inverse=True)
    original = first[group]  # (images,) index of the first image with the same pixels
    pairs = np.stack([original, np.arange(len(faces))], axis=1)[original != np.arange(len(faces))]
    same = faces.labels[pairs[:, 0]] == faces.labels[pairs[:, 1]]
    groups = {"the same label": pairs[same], "conflicting labels": pairs[~same]}
    texts = (
        f"identical images with {name}: {len(g):,} pair{'s' * (len(g) != 1)}" for name, g in groups.items()
    )
    shown = [(text, g) for text, g in zip(texts, groups.values(), strict=True) if len(g)]
    figure = style.Figure(figsize=(style.WIDTH, 0.97 * max(len(shown), 0.4)), layout="constrained")
    if not shown:
        figure.text(0, 0.5, "No two images are identical.")
        return figure
    parts = figure.subfigures(len(shown), 1, squeeze=False)[:, 0]
    for part, (title, group) in zip(parts, shown, strict=True):
        part.suptitle(title, x=0.01, ha="left", fontsize=9)
        axes = part.subplots(1, n)
        # Evenly spread over the data, which are in the order of the classes.
        chosen = group[np.linspace(0, len(group) - 1, min(n, len(group))).astype(int)]
        for ax in axes[len(chosen) :]:
            ax.set_axis_off()
        for ax, pair in zip(axes, chosen, strict=False):
            style.show(ax, style.montage(faces.images[pair], 2))
            names = [faces.classes[label] for label in faces.labels[pair]]
            ax.set_xlabel(" | ".join(dict.fromkeys(names)), fontsize=8)
    return figure


@style.styled
def augmentation(originals: np.ndarray, augmented: np.ndarray) -> style.Figure:
    """Faces (left, framed) and what augmentation makes of them.

    Parameters
    ----------
    originals : (n, height, width) or (n, height, width, 1), grey levels.
    augmented : (n, k, height, width) or (n, k, height, width, 1), grey levels.
    """
    n, k = augmented.shape[:2]
    figure, axes = style.subplots(n, k + 1, n * style.WIDTH / (k + 1) + 0.25)
    for row, original, versions in zip(axes, originals, augmented, strict=True):
        for ax, image in zip(row, (original, *versions), strict=True):
            style.show(ax, np.squeeze(image))
        row[0].spines[:].set(visible=True, color=style.VALIDATION, linewidth=2)
    axes[0, 0].set_title("original", color=style.VALIDATION, weight="bold")
    axes[0, 1].set_title("augmented", loc="left")
    return figure
