"""The common style of all figures, and how they are saved: the same figure gives the same bytes."""

import functools
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib.figure
import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.image import AxesImage

from fer_lib.files import atomic_path, sha256_of_file

WIDTH = 6.3  # inches, the text width of the report
INK, FAINT = "#222222", "#8A8A8A"
TRAINING, VALIDATION = "#555555", "#B5432A"
# Okabe and Ito's palette, which readers with any colour vision can tell apart; orange is darkened
# for text and thin lines on white.
CLASS_COLOURS = {
    "neutral": "#6E7781",
    "happy": "#D98C00",
    "surprise": "#0072B2",
    "sad": "#56B4E9",
    "angry": "#D55E00",
    "disgust": "#009E73",
    "fear": "#CC79A7",
}
# matplotlib's own defaults and ours over them: no matplotlibrc or setting of the reader's enters a figure.
STYLE = (
    "default",
    matplotlib.rc_params_from_file(Path(__file__).with_name("fer_lab.mplstyle"), use_default_template=False),
)


class Figure(matplotlib.figure.Figure):
    """A figure that looks alike wherever it is drawn; Jupyter shows it whatever backend is active."""

    def draw(self, renderer: Any) -> None:  # noqa: D102
        with matplotlib.style.context(STYLE):  # ticks are chosen anew at each drawing
            super().draw(renderer)

    def _repr_png_(self) -> bytes:
        with matplotlib.style.context(STYLE), io.BytesIO() as buffer:
            self.savefig(buffer, format="png", dpi=120, metadata={"Software": None})
            return buffer.getvalue()


def styled(draw: Callable[..., Figure]) -> Callable[..., Figure]:
    """Draw in the common style and lay out once, so that all formats look alike."""

    @functools.wraps(draw)
    def drawn(*arguments: Any, **options: Any) -> Figure:
        with matplotlib.style.context(STYLE):
            figure = draw(*arguments, **options)
            figure.draw_without_rendering()
            figure.set_layout_engine("none")
            return figure

    return drawn


def subplots(rows: int, columns: int, height: float, width: float = WIDTH, **options: Any):
    """Make a figure of `width` by `height` inches and its (rows, columns) array of axes."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def save(
    figure: matplotlib.figure.Figure, path_stem: str | Path, kinds: Sequence[str] = ("svg", "pdf")
) -> dict[str, str]:
    """Write `path_stem`.svg and .pdf, or other kinds, without dates: the same figure gives the same bytes.

    Parameters
    ----------
    kinds : of "svg", "pdf" and "png".

    Returns
    -------
    SHA-256 (hexadecimal) by file name.

    Raises
    ------
    UsageError
        If the folder cannot be written to or the disk is full.
    """
    digests = {}
    changing = {"svg": "Date", "pdf": "CreationDate", "png": "Software"}
    for kind in kinds:
        path = Path(f"{path_stem}.{kind}")
        with matplotlib.style.context(STYLE), atomic_path(path) as temporary:
            figure.savefig(temporary, format=kind, metadata={changing[kind]: None})
        digests[path.name] = sha256_of_file(path)
    return digests


def class_colours(classes: Sequence[str]) -> list[str]:
    """Return the colour of each class: always the same for expressions, the next free one for other names."""
    free = iter([c for name, c in CLASS_COLOURS.items() if name not in classes] * len(classes))
    return [CLASS_COLOURS.get(name) or next(free) for name in classes]


def percent(value: float, _: Any = None) -> str:
    """Write a share as per cent."""
    return f"{100 * value:.0f} %"


def bare(ax: Axes, ticks: str) -> None:
    """Leave out the left edge and the tick marks of an axis."""
    ax.spines["left"].set_visible(False)
    ax.tick_params(axis=ticks, length=0)


def show(ax: Axes, image: np.ndarray, low: float = 0, high: float = 255, cmap: str = "gray") -> AxesImage:
    """Draw a face without ticks and frame, pixel by pixel: what a network gets, and small in files."""
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[:].set_visible(False)
    return ax.imshow(image, vmin=low, vmax=high, interpolation="none", cmap=cmap)


def note(ax: Axes, text: str, at: tuple[float, float], offset: tuple[float, float], **options: Any) -> None:
    """Write beside a point of an axis, so many points to the right and above."""
    ax.annotate(text, at, offset, textcoords="offset points", fontsize=8, **options)


def montage(images: np.ndarray, columns: int, space: int = 2) -> np.ndarray:
    """Put images (n, height, width) side by side into one; up to `columns` missing ones are white."""
    _, height, width = images.shape
    row = np.full((height, columns * (width + space) - space), 255, np.uint8)
    for i, image in enumerate(images):
        row[:, i * (width + space) :][:, :width] = image
    return row


def caption(ax: Axes, label: int, probabilities: np.ndarray, classes: Sequence[str]) -> None:
    """Write the true and the predicted class of a face beneath it."""
    predicted = int(np.argmax(probabilities))
    ax.set_xlabel(f"{classes[label]}\n→ {classes[predicted]} {percent(probabilities[predicted])}", fontsize=8)
