"""Mistakes of a network, browsed by class and by how sure it was."""

from typing import Any

import numpy as np

from fer_lib.data.faces import FaceDataset
from fer_lib.evaluation import most_confident_mistakes
from fer_lib.figures import evaluation as figures
from fer_tools.widgets import panel

EACH = 12  # faces a page


def answer(
    faces: FaceDataset, probabilities: np.ndarray, true: str, taken_for: str, least: float, page: int
) -> panel.Answer:
    """Return how many mistakes are of a kind, and a page of them, the surest first.

    Parameters
    ----------
    faces : FaceDataset
    probabilities : (n, k) float
    true, taken_for : str
        A class; empty: any.
    least : float
        Of the probability of the answer.
    page : int
        Counted from 1; the last one, if there are fewer.
    """
    wrong = most_confident_mistakes(probabilities, faces.labels, len(faces))
    kept = probabilities[wrong].max(axis=1) >= least
    for name, labels in ((true, faces.labels), (taken_for, probabilities.argmax(axis=1))):
        if name:
            kept &= labels[wrong] == faces.classes.index(name)
    found = wrong[kept]
    pages = max(1, -(-len(found) // EACH))
    page = min(page, pages)
    kind = f"{true or 'any class'} taken for {taken_for or 'another'}, at least {least:.0%} sure"
    sentence = f"{len(found):,} of {len(wrong):,} mistakes are {kind}"
    if not len(found):
        return f"{sentence}.", None
    shown = found[EACH * (page - 1) :][:EACH]
    drawn = figures.mistakes(faces.images[shown], faces.labels[shown], probabilities[shown], faces.classes)
    return f"{sentence}; page {page} of {pages}.", drawn


def show(faces: FaceDataset, probabilities: np.ndarray) -> None:
    """Show a choice of classes, confidence and page beneath which mistakes are drawn; see `answer`."""

    def controls() -> dict[str, Any]:
        import ipywidgets

        options = [("any", ""), *((name, name) for name in faces.classes)]
        last = max(1, -(-len(faces) // EACH))
        confidence = {"description": "confidence", "readout_format": ".0%"}
        return {
            "true": panel.choice("true class", options),
            "taken_for": panel.choice("taken for", options),
            "least": ipywidgets.FloatSlider(0.0, min=0, max=1, step=0.05, **confidence),
            "page": panel.number("page", 1, 1, last),
        }

    panel.show(lambda **chosen: answer(faces, probabilities, **chosen), controls)
