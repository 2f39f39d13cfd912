"""Is a run what it says it is? Compared file by file, without executing anything.

Nothing is signed: a file that was changed together with its digest in run.json is found by `verify` alone.
"""

from collections import Counter
from collections.abc import Iterator

from fer_lib.files import columns
from fer_tools import locks
from fer_tools.console import say
from fer_tools.report import build
from fer_tools.run.edges import Edge, stage_edges, strays
from fer_tools.run.run import Run

GONE = ("missing", "left out")


def edges(run: Run) -> Iterator[Edge]:
    """Yield every edge of the way from the report of a run back to its data; see `fer_tools.run.edges`.

    Nothing is executed, and TensorFlow is not needed.
    """
    if locks.at_work(run.path):
        reason = "at work: another process is filling this run, and only what it finished is compared"
        yield Edge("run", "fer run", "at work", reason)
        for stage in reversed(run.finished):
            yield from stage_edges(run, stage)
        return
    yield from build.edges(run)
    for stage in reversed(run.stages):
        yield from stage_edges(run, stage)
    yield from strays(run)


def print_edges(found: list[Edge]) -> None:
    """Print one line per edge; figures, tables and checkpoints that are ok, or gone, are counted."""
    rows: Counter[tuple[str, str, str]] = Counter()
    for edge in found:
        folder = _folder(edge) if edge.state in ("ok", *GONE) else ""
        target = edge.target if folder in ("", "notebooks/") else folder
        rows[target, edge.source, edge.state] += 1
    cells = [
        (target + (f" ({count} files)" if count > 1 else ""), "<-", source, state)
        for (target, source, state), count in rows.items()
    ]
    for line in columns(cells, "<<<<"):
        say(line)


def problems(found: list[Edge]) -> list[str]:
    """Return what is wrong, one line each; files missing from one folder share a line, which names them."""
    wrong = (edge for edge in found if edge.state in ("at work", "stale", "altered"))
    lines = [f"{edge.target}: {edge.reason}" if edge.state == "stale" else edge.reason for edge in wrong]
    missing: dict[str, list[Edge]] = {}
    for edge in found:
        if edge.state == "missing":
            missing.setdefault(_folder(edge) or edge.target, []).append(edge)
    for folder, edges in missing.items():
        names = ", ".join(edge.target.removeprefix(folder) for edge in edges)
        together = f"{folder}: {len(edges)} files are missing: {names}"
        lines.append(together if len(edges) > 1 else edges[0].reason)
    return lines


def remarks(found: list[Edge]) -> list[str]:
    """Return what could not be compared, and why that is no fault, one line each."""
    lines = []
    if left_out := sum(edge.state == "left out" for edge in found):
        lines.append(f"an excerpt: {left_out} files of the run were left out, as its run.json says")
    if unknown := [edge.target for edge in found if edge.state == "unknown"]:
        lines.append(f"not compared without a checkout: what {', '.join(unknown)} were made from")
    elsewhere: dict[str, list[str]] = {}
    for edge in found:
        if edge.state == "elsewhere":
            elsewhere.setdefault(edge.reason, []).append(edge.target)
    for reason, targets in elsewhere.items():
        lines.append(f"{', '.join(targets)}: {reason}; executed here, numbers would differ a little")
    return lines


def _folder(edge: Edge) -> str:
    """Return the folder of an edge's target, with its slash; "" if it is in none."""
    folder, slash, _ = edge.target.rpartition("/")
    return folder + slash
