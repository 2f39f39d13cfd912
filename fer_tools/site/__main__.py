"""`python -m fer_tools.site` writes dist/site, with the report of the run REPORT, or of the newest."""

import os
import sys

from fer_tools import paths
from fer_tools.console import exit_code, say


def write() -> None:
    """Write it, and say where."""
    from fer_tools.commands import report
    from fer_tools.site import build
    from fer_tools.stages import REQUIRED

    folder = paths.checkout("make site") / "dist" / "site"
    run = report.chosen(os.environ.get("REPORT") or None, REQUIRED)
    if not run.excerpt:
        report.build_report(run)
    build.write(folder, run)
    say(f"site    {folder / 'index.html'}")


if __name__ == "__main__":
    sys.exit(exit_code(write))
