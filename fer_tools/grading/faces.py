"""By which faces networks are judged, as it is said on the command line."""

import os
from typing import Any


def add_option(parser: Any) -> None:
    """Let them be named."""
    told = '"bundled", "fer2013" or a path; default: FER2013_DIR, else bundled'
    parser.add_argument("--data", metavar="PATH", help=told)


def chosen(given: str | None) -> str:
    """Return those that were named, or the default."""
    return given or ("fer2013" if os.environ.get("FER2013_DIR") else "bundled")
