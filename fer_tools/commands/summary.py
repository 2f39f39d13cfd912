"""Print a network layer by layer."""

from typing import Any


def arguments(parser: Any) -> None:
    """Describe what it takes."""
    parser.add_argument("model", metavar="MODEL")


def action(options: Any) -> None:
    """Print layers, shapes and numbers of parameters."""
    from fer_lib import models

    models.print_summary(models.build(options.model))
