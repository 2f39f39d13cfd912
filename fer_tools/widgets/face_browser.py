"""Faces by class and, where they were rendered, by what they were rendered from."""

from typing import TYPE_CHECKING, Any

import numpy as np

from fer_lib.data.faces import FaceDataset
from fer_lib.figures import data as figures
from fer_lib.figures import style
from fer_tools.widgets import panel

if TYPE_CHECKING:
    import pandas as pd

NAMES = ("split", "index", "label", "identity", "seed")  # columns that name a face and say nothing of it
ROWS, EACH = 4, 10  # rows of a single class, and faces in a row


def factors(faces: FaceDataset) -> list[str]:
    """Return the names of what the faces were rendered from; none of photographs."""
    return [] if faces.factors is None else [name for name in faces.factors if name not in NAMES]


def grouped(values: "pd.Series") -> "pd.Series":
    """Return to which group each value belongs, as ordered categories.

    Numbers of which there are many form four groups of about equal size, named by their least and greatest;
    other values are groups of their own.
    """
    import pandas as pd

    if set(values) <= {0, 1}:
        return pd.Categorical(values.map({0: "no", 1: "yes"}), ["no", "yes"], ordered=True)
    if pd.api.types.is_numeric_dtype(values) and values.nunique() > ROWS:
        quarter = pd.qcut(values, ROWS, labels=False, duplicates="drop")
        names = values.groupby(quarter).agg(
            lambda part: f"{part.min():g} to {part.max():g}".replace("-", "−")
        )
        return pd.Categorical(quarter.map(names), names, ordered=True)
    return pd.Categorical(values.astype(str), sorted(values.astype(str).unique()), ordered=True)


def answer(faces: FaceDataset, which: str, factor: str, draw: int) -> panel.Answer:
    """Return how many faces there are of what was chosen, and some of them in rows.

    Parameters
    ----------
    faces : FaceDataset
    which : str
        A class; empty: all.
    factor : str
        One of `factors`, of which each group has a row; empty: a row is a class, or any faces of the one.
    draw : int
        The seed by which faces are drawn.
    """
    chosen = faces.take(faces.labels == faces.classes.index(which)) if which else faces
    if factor:
        groups = grouped(chosen.factors[factor])
        rows, names = np.asarray(groups.codes), tuple(groups.categories)
    elif which:
        rows, names = np.arange(len(chosen)) % ROWS, (which, *[""] * (ROWS - 1))
    else:
        rows, names = chosen.labels, faces.classes
    shown = FaceDataset(chosen.images, rows, names, chosen.names)
    what = f"faces of class {which}" if which else "faces of all classes"
    counts = ", ".join(f"{name} ({count:,})" for name, count in shown.counts().items())
    by = f", by {factor}: {counts}" if factor else "" if which else f": {counts}"
    figure = figures.gallery(shown, EACH, draw)
    for ax in figure.axes if factor else ():
        ax.yaxis.label.set_color(style.INK)  # colours are those of classes
    return f"{len(chosen):,} {what}{by}.", figure


def show(faces: FaceDataset, seed: int) -> None:
    """Show a choice of class, factor and seed beneath which faces are drawn; see `answer`."""

    def controls() -> dict[str, Any]:
        classes = [("all", ""), *((name, name) for name in faces.classes)]
        known = [("none", ""), *((name.replace("_", " "), name) for name in factors(faces))]
        return {
            "which": panel.choice("class", classes),
            "factor": panel.choice("factor", known),
            "draw": panel.number("seed", seed, 0, 2**31 - 1),
        }

    panel.show(lambda **chosen: answer(faces, **chosen), controls)
