"""Tell the expressions of faces on pictures.

Find the faces on each picture, several and tilted ones too, and tell their expressions by the network that
comes with the package, or another. A picture is a JPEG of up to 67 million pixels (167 million where it is
not progressive), or a PNG or BMP of up to 16.7 million. It is turned as its EXIF orientation says; each face
is turned upright and brought to 48x48 grey. A picture of 48x48 pixels is a face already, as is any with
--crop, and a small one on which no face is found.
"""

import sys
from pathlib import Path
from typing import Any

from fer_lib.files import UsageError, columns
from fer_tools.console import complain, json_for_terminal, say


def arguments(parser: Any) -> None:
    """Describe what it takes."""
    parser.add_argument("images", metavar="IMAGE", nargs="+")
    parser.add_argument("--model", metavar="RUN", help="a run, small_model, or a .keras file with --classes")
    parser.add_argument(
        "--classes", metavar="A,B,...", help="classes of a .keras file in their order, if no run says them"
    )
    parser.add_argument("--scale", metavar="A..B", help="pixels of a .keras file: 0..255, 0..1 or =-1..1")
    parser.add_argument("--crop", action="store_true", help="each picture is a face already")
    parser.add_argument("--draw", metavar="OUT.png", help="show what was found on one picture, as a picture")
    parser.add_argument("--json", action="store_true", help="print JSON")


def action(options: Any) -> int:
    """Print the probabilities of each face, and what is wrong with pictures that cannot be read."""
    from fer_tools import predict_files
    from fer_tools.model_files import limits

    if options.draw is not None and len(options.images) > 1:
        raise UsageError(f"--draw: shows one picture, and {len(options.images)} are given; give one")
    classes = options.classes.split(",") if options.classes is not None else None
    with limits.bounded(options.model or "the shipped network"):
        predictor, classes = predict_files.choose(options.model, classes, options.scale)
    found, wrong = predict_files.predict_files(predictor, classes, options.images, options.crop)
    if options.draw is not None and found:
        predict_files.draw_found(found, classes, Path(options.draw))
    if options.json:
        print(json_for_terminal(found, sys.stdout.encoding or "ascii"))
    else:
        for line in columns(*_table(found)):
            say(line)
    for row in found:
        if row.get("box", True) is None:
            complain(f"{row['image']}: no face was found on it; as it is small, all of it was taken for one")
    for message in predictor.notes + wrong:
        complain(message)
    return 2 if wrong else 0


def _table(found: list[dict[str, Any]]) -> tuple[list[tuple[str, ...]], str]:
    """Return the lines to print as cells, with a place where faces have one, and how these are aligned."""
    rows = [(row["image"], _place(row), _ranked(row["probabilities"])) for row in found]
    if any(place for _, place, _ in rows):
        return rows, "<<<"
    return [(image, ranked) for image, _, ranked in rows], "<<"


def _place(row: dict[str, Any]) -> str:
    if not row.get("box"):
        return ""
    left, top, right, bottom = (round(value) for value in row["box"])
    return f"{left},{top} to {right},{bottom} turned {row['tilt']:+.0f}"


def _ranked(probabilities: dict[str, float]) -> str:
    ranked = sorted(probabilities.items(), key=lambda pair: -pair[1])
    return "  ".join(f"{name} {100 * probability:.1f}%" for name, probability in ranked)
