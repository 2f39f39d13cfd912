"""Measure speed of training, evaluation and prediction against plain Keras.

Train, evaluate and predict in turn with our networks and the plain Keras way (JPEG files, 150x150 RGB), and
print how many times as long the latter takes, and how much of the machine's arithmetic is used. Writes
results/bench/. Takes minutes; leave the machine alone.
"""

from typing import Any


def arguments(parser: Any) -> None:
    """Describe what it takes."""
    parser.add_argument(
        "--data", default="bundled", help='"bundled" (default), "fer2013", or a path; see fer run'
    )
    parser.add_argument(
        "--model", nargs="+", action="extend", default=[], metavar="NAME", help="our networks (default: all)"
    )
    parser.add_argument("--quick", action="store_true", help="a few images: only to see that it works")


def action(options: Any) -> None:
    """Measure, print, write."""
    from fer_tools import paths, pipeline
    from fer_tools.bench import measure

    if options.data == "bundled":
        paths.checkout("fer bench with the bundled faces")
    pipeline.interruptible()
    measure.run(options.data, options.model, options.quick)
