"""`python -m fer_tools.students` writes dist/student and dist/nbgrader."""

import sys

from fer_lib.files import UsageError
from fer_tools import paths
from fer_tools.console import complain, say


def main() -> int:
    """Write both, and return the exit code: 0, or 2 where a notebook is not as it should be."""
    from fer_tools.students import release

    try:
        for path in release.write(paths.checkout("make student") / "dist"):
            say(str(path))
    except UsageError as error:
        complain(str(error))
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
