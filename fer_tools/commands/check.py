"""`fer check`: find what is stale, altered or missing in a run."""

from typing import Any

from fer_lib.files import complain
from fer_tools.commands.report import chosen


def add(commands: Any) -> None:
    """Describe the command."""
    parser = commands.add_parser(
        "check",
        help="find what is stale, altered or missing in a run (default: the newest)",
        description="Go the way from the report of a run back to its data and name every edge: ok, stale "
        "(code, parameters, data or environment have changed), altered (not what was written) or missing. "
        "Exit code 2 if any is not ok.",
    )
    parser.add_argument("run", nargs="?", metavar="RUN")
    parser.set_defaults(action=action)


def action(options: Any) -> int:
    """Print every edge, then what is wrong."""
    from fer_tools.checks import check

    run = chosen(options.run)
    found = list(check.edges(run))
    print(run.path)
    check.print_edges(found)
    for line in check.remarks(found):
        print(line)
    problems = check.problems(found)
    for line in problems:
        complain(f"{run.name}: {line}")
    return 2 if problems else 0
