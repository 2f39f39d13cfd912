"""`python -m fer_tools.students` writes dist/student and dist/nbgrader."""

import sys

from fer_tools import paths
from fer_tools.console import exit_code, say


def write() -> None:
    """Write both, and say where."""
    from fer_tools.students import release

    for path in release.write(paths.checkout("make student") / "dist"):
        say(str(path))


if __name__ == "__main__":
    sys.exit(exit_code(write))
