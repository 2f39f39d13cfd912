"""`fer compare`: runs on the same test images."""

from typing import Any


def add(commands: Any) -> None:
    """Describe the command."""
    parser = commands.add_parser(
        "compare",
        help="compare runs on the same test images",
        description="Two runs: McNemar's test on the same test images. Runs that differ in their seed only: "
        "mean and spread of the accuracy.",
    )
    parser.add_argument("runs", nargs="+", metavar="RUN")
    parser.set_defaults(action=action)


def action(options: Any) -> None:
    """Print accuracies and what may be said of their difference."""
    from fer_tools.checks import compare
    from fer_tools.run import find

    compare.compare([find.open_run(name) for name in options.runs])
