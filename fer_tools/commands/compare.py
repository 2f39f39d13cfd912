"""Compare runs on the same test images.

Two runs: McNemar's test on the same test images. Runs that differ in their seed only: mean and spread of
the accuracy.
"""

from typing import Any


def arguments(parser: Any) -> None:
    """Describe what it takes."""
    parser.add_argument("runs", nargs="+", metavar="RUN")


def action(options: Any) -> None:
    """Print accuracies and what may be said of their difference."""
    from fer_tools.checks import compare
    from fer_tools.run import find

    compare.compare([find.open_run(name) for name in options.runs])
