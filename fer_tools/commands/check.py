"""Find what is stale, altered or missing in a run (default: the newest).

Go the way from the report of a run back to its data and name every edge: ok, stale (code, parameters, data
or environment are others now), altered (not what was written) or missing. Exit code 2 if any is not ok.
"""

from typing import Any

from fer_tools.commands.report import chosen
from fer_tools.console import complain, say


def arguments(parser: Any) -> None:
    """Describe what it takes."""
    parser.add_argument("run", nargs="?", metavar="RUN")


def action(options: Any) -> int:
    """Print every edge, then what is wrong."""
    from fer_tools.checks import check

    run = chosen(options.run)
    found = list(check.edges(run))
    print(run.path)
    check.print_edges(found)
    for line in check.remarks(found):
        say(line)
    problems = check.problems(found)
    for line in problems:
        complain(f"{run.name}: {line}")
    return 2 if problems else 0
