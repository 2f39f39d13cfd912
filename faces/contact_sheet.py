"""Draw data/bundled/contact_sheet.png: the first people of the set, neutral, happy and surprised.

python -m faces.contact_sheet
"""

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from faces.dataset import BUNDLED, load
from faces.expression import CLASSES
from fer_lib.files import atomic_path

COLUMNS, ROWS, SCALE, GAP, LABEL = 14, 2, 2, 6, 24


def main() -> None:
    """Write the figure."""
    images, _ = load("train")
    tile = 48 * SCALE
    height = LABEL + ROWS * tile + GAP
    canvas = Image.new("L", (COLUMNS * tile, len(CLASSES) * height), 255)
    draw = ImageDraw.Draw(canvas)
    for k, label in enumerate(CLASSES):
        draw.text((4, k * height + 4), label, fill=0, font=ImageFont.load_default(15))
        chosen = images[k :: len(CLASSES)][: COLUMNS * ROWS]  # the first ones, not the best ones
        rows = chosen.reshape(ROWS, COLUMNS, 48, 48).swapaxes(1, 2).reshape(ROWS * 48, COLUMNS * 48)
        big = np.repeat(np.repeat(rows, SCALE, 0), SCALE, 1)
        canvas.paste(Image.fromarray(big), (0, k * height + LABEL))
    with atomic_path(BUNDLED / "contact_sheet.png") as temporary:
        canvas.save(temporary, optimize=True)


if __name__ == "__main__":
    main()
