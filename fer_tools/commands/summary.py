"""Print a network layer by layer.

Print one of the course's networks, by its name, or that of a model file: what it takes, layers, shapes and
numbers of parameters; of a file also which Keras wrote it, and what is unusual about it.
"""

import contextlib
import io
from pathlib import Path
from typing import Any


def arguments(parser: Any) -> None:
    """Describe what it takes."""
    parser.add_argument("model", metavar="MODEL", help="a name, or a .keras file")


def action(options: Any) -> None:
    """Print layers, shapes and numbers of parameters."""
    from fer_lib import models
    from fer_tools.console import say
    from fer_tools.model_files import limits, loading, pixels

    if not Path(options.model).is_file():
        models.print_summary(models.build(options.model))
        return
    with limits.bounded(options.model):
        opened = loading.opened(options.model)
    with contextlib.redirect_stdout(io.StringIO()) as text:
        models.print_summary(opened.model)
    version = f", written by Keras {opened.keras}" if opened.keras else ""
    say(f"File: {opened.container}{version}{''.join(f'; {note}' for note in opened.notes)}")
    say(f"Pixels: {pixels.declared(opened.model) or 'it does not say which it takes'}")
    for line in text.getvalue().splitlines():
        say(line)
