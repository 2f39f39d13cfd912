"""Tell the expressions on pictures of faces.

Tell the expression on each picture by the network that comes with the package, or another. A picture is a
JPEG of up to 67 million pixels (167 million where it is not progressive), or a PNG or BMP of up to 16.7
million; one face fills it. It is turned as its EXIF orientation says, and brought to 48x48 grey.
"""

import sys
from typing import Any

from fer_lib.files import columns
from fer_tools.console import complain, json_for_terminal, say


def arguments(parser: Any) -> None:
    """Describe what it takes."""
    parser.add_argument("images", metavar="IMAGE", nargs="+")
    parser.add_argument("--model", metavar="RUN", help="a run, or a .keras file with --classes")
    parser.add_argument(
        "--classes", metavar="A,B,...", help="classes of a .keras file in their order, if no run says them"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def action(options: Any) -> int:
    """Print the probabilities of each picture, and what is wrong with those that cannot be read."""
    from fer_tools import predict_files
    from fer_tools.model_files import limits

    classes = options.classes.split(",") if options.classes is not None else None
    with limits.bounded(options.model or "the shipped network"):
        predictor, classes = predict_files.choose(options.model, classes)
    found, wrong = predict_files.predict_files(predictor, classes, options.images)
    if options.json:
        print(json_for_terminal(found, sys.stdout.encoding or "ascii"))
    else:
        rows = [(row["image"], _ranked(row["probabilities"])) for row in found]
        for line in columns(rows, "<<"):
            say(line)
    for message in wrong:
        complain(message)
    return 2 if wrong else 0


def _ranked(probabilities: dict[str, float]) -> str:
    ranked = sorted(probabilities.items(), key=lambda pair: -pair[1])
    return "  ".join(f"{name} {100 * probability:.1f}%" for name, probability in ranked)
