"""Execute a run again and compare.

Execute a run again from its run.json and say, metric by metric and file by file, whether it is identical,
equal within tolerance, or different (exit code 1).
"""

from typing import Any


def arguments(parser: Any) -> None:
    """Describe what it takes."""
    parser.add_argument("run", metavar="RUN")


def action(options: Any) -> int:
    """Print what differs and the verdict."""
    from fer_tools import paths, pipeline
    from fer_tools.checks import verify
    from fer_tools.run import find

    paths.checkout("fer verify")
    pipeline.interruptible()
    verdict = verify.verify(find.open_run(options.run))
    print(verdict)
    return 1 if verdict == "different" else 0
