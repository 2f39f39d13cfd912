"""`fer summary`: a network layer by layer."""

from typing import Any


def add(commands: Any) -> None:
    """Describe the command."""
    parser = commands.add_parser("summary", help="print a network layer by layer")
    parser.add_argument("model", metavar="MODEL")
    parser.set_defaults(action=action)


def action(options: Any) -> None:
    """Print layers, shapes and numbers of parameters."""
    from fer_lib import models

    models.print_summary(models.build(options.model))
