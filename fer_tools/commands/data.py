"""Download and verify FER2013."""

from typing import Any

from fer_lib.files import columns
from fer_tools.console import say

NAMED = 5  # files of a kind


def arguments(parser: Any) -> None:
    """Describe the command."""
    what = parser.add_subparsers(dest="what", metavar="fetch|verify", required=True)
    fetch = what.add_parser("fetch", help="download FER2013 into data/fer2013 and verify it")
    fetch.set_defaults(action=_fetch)
    verify = what.add_parser(
        "verify",
        help="compare a copy with the published digests; exit code 2 if it is not whole and as published",
    )
    verify.add_argument("path", metavar="PATH", nargs="?", default="fer2013")
    verify.set_defaults(action=_verify)


def _fetch(_: Any) -> None:
    from fer_tools import fetch, paths

    verdict = fetch.fetch(paths.checkout("fer data fetch") / "data" / "fer2013")
    say(f"{verdict.status}: {verdict.detail}")


def _verify(options: Any) -> int:
    from fer_lib.data import load
    from fer_tools import data_check, paths
    from fer_tools.published import verdict as published
    from fer_tools.published.images import KINDS

    if options.path == "bundled":
        paths.checkout("fer data verify of the bundled faces")
    say(load.describe(options.path))
    verdict = published.judge(options.path)
    kinds = [kind for kind in KINDS if any(row.get(kind) for row in verdict.rows)]
    rows = [("usage", "class", "found", *kinds, "state")] + [
        (
            row["usage"],
            row["class"],
            f"{row['found']:,} of {row['expected']:,}",
            *(f"{row[kind]:,}" for kind in kinds),
            row["state"],
        )
        for row in verdict.rows
    ]
    for line in columns(rows, f"<<>{'>' * len(kinds)}<"):
        say(line)
    for kind, files in verdict.files.items():
        more = f" and {len(files) - NAMED:,} more" if len(files) > NAMED else ""
        say(f"{kind}: {', '.join(files[:NAMED])}{more}")
    for line in data_check.remarks_of_copy(options.path):
        say(f"data: {line}")
    say(f"{verdict.status}: {verdict.detail}")
    return 0 if verdict.status == "authentic" else 2
