"""Draw on a photograph what was found there."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from fer_lib.figures.style import class_colours
from fer_lib.files import printable


def drawn(picture: Image.Image, rows: Iterable[dict[str, Any]], classes: Sequence[str]) -> Image.Image:
    """Return a photograph with a turned square around each face, and its expression in words above it.

    Parameters
    ----------
    picture : PIL.Image.Image
    rows : iterable of dict
        Of `fer_tools.predict_files.predict_files`.
    classes : sequence of str
        Their colours are those of the figures; who cannot tell these apart reads the words.
    """
    shown = picture.convert("RGB")
    pen, colours = ImageDraw.Draw(shown), dict(zip(classes, class_colours(classes), strict=True))
    width = max(2, round(max(shown.size) / 300))
    for row in rows:
        box = row.get("box") or (0, 0, *shown.size)
        corners = _corners(box, row.get("tilt", 0.0))
        for colour, thick in (("white", 3 * width), (colours[row["class"]], width)):  # seen on any ground
            pen.line([*corners, *corners[:2]], fill=colour, width=thick, joint="curve")
        text = f"{printable(row['class'])} {100 * row['probabilities'][row['class']]:.0f} %"
        _label(pen, shown.size, corners, text, max(11, round((box[2] - box[0]) / 9)), width)
    return shown


def _corners(box: Sequence[float], tilt: float) -> list[tuple[float, float]]:
    """Return the corners of a box that is turned about its centre, degrees clockwise."""
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    cos, sin = math.cos(math.radians(tilt)), math.sin(math.radians(tilt))
    ends = ((0, 1), (2, 1), (2, 3), (0, 3))
    return [
        (x + (box[i] - x) * cos - (box[j] - y) * sin, y + (box[i] - x) * sin + (box[j] - y) * cos)
        for i, j in ends
    ]


def _label(
    pen: ImageDraw.ImageDraw,
    size: tuple[int, int],
    corners: Sequence[tuple[float, float]],
    text: str,
    height: int,
    width: int,
) -> None:
    """Write above a square, or within it where there is no room; never beyond the edge of the picture."""
    font = ImageFont.load_default(height)
    _, top, right, bottom = pen.textbbox((0, 0), text, font)
    x = min(corner[0] for corner in corners)
    y = min(corner[1] for corner in corners) - (bottom - top) - 3 * width
    x, y = (
        min(max(at, 0), max(end - length, 0))
        for at, end, length in ((x, size[0], right), (y, size[1], bottom))
    )
    pen.rectangle((x, y, x + right + 2 * width, y + bottom + width), fill="white")
    pen.text((x + width, y), text, fill="#222222", font=font)
