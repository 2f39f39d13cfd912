"""Pictures, and what `fer_lib.data.picture` makes of them: to check those who do the same elsewhere."""

import base64
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fer_lib.data.picture import network_input, to_face
from fer_tools.json_files import write_json

SIZES = (48, 64)  # of the network's input, pixels
ABOUT = (
    "`png` is a picture, base64 of a PNG file. `box` is the face on it (left, top, right, bottom; pixels), "
    "null for the whole picture. `grey` is the face of 48x48 pixels, 0 black to 255 white: base64 of bytes, "
    "row by row. `input` is what a network of that size takes, 0 to 255: base64 of little-endian float32, "
    "row by row."
)


def pictures() -> Iterator[tuple[str, Image.Image, tuple[float, float, float, float] | None]]:
    """Make up pictures of several modes and sizes: waves, an edge and grain, the same wherever they are made.

    Yields
    ------
    str, PIL.Image.Image, tuple or None
        Name, picture, and the box of the face on it.
    """

    def wave(at: np.ndarray) -> np.ndarray:
        return abs(at % 510 - 255)

    def made(width: int, height: int, channels: int) -> Image.Image:
        y, x, channel = np.ogrid[:height, :width, :channels]
        values = (wave(23 * x + 60 * channel) + wave(17 * y + 130 * channel)) // 2
        values = np.where(x + y > width, values, 255 - values) + (37 * x + 101 * y + 53 * channel) % 13 - 6
        return Image.fromarray(values.clip(0, 255).astype(np.uint8).squeeze())

    # None is scaled down much more in height than in width: there Pillow 13 rounds otherwise than its elders.
    yield "colour", made(83, 61, 3), None
    yield "a face in colour", made(97, 71, 3), (20.5, 7.25, 83.0, 66.75)
    yield "grey as it should be", made(48, 48, 1), None
    yield "small and grey", made(29, 37, 1), None
    yield "wide and grey", made(131, 40, 1), None


def _text(values: np.ndarray) -> str:
    return base64.b64encode(values.tobytes()).decode()


def _vector(name: str, picture: Image.Image, box: tuple[float, float, float, float] | None) -> dict[str, Any]:
    file = io.BytesIO()
    picture.save(file, "PNG")
    grey, _ = to_face(picture, box)
    inputs = {size: network_input(grey[np.newaxis], size).astype("<f4") for size in SIZES}
    return {
        "name": name,
        "png": base64.b64encode(file.getvalue()).decode(),
        "box": box,
        "grey": _text(grey),
        "input": {str(size): _text(values) for size, values in inputs.items()},
    }


def write(path: Path) -> None:
    """Write the pictures and their numbers as JSON; what the fields are stands in its `about`."""
    write_json(path, {"about": ABOUT, "vectors": [_vector(*picture) for picture in pictures()]})
