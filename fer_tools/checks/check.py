"""Is a run what it says it is? Checked file by file, without executing anything.

Nothing is signed: who changes a file and its digest in run.json alike is found by `verify` alone.
"""

from collections.abc import Iterator

from fer_lib.files import columns, say
from fer_tools.report import build
from fer_tools.run.edges import Edge, stage_edges, strays
from fer_tools.run.run import Run

GONE = ("missing", "left out")


def edges(run: Run) -> Iterator[Edge]:
    """Go the whole way from the report of a run back to its data; see `fer_tools.run.edges.Edge`.

    Nothing is executed, and TensorFlow is not needed.
    """
    yield from build.edges(run.path)
    for stage in reversed(run.stages):
        yield from stage_edges(run, stage)
    yield from strays(run)


def print_edges(found: list[Edge]) -> None:
    """Print an edge a line; figures, tables and checkpoints that are ok, or missing, are counted."""
    rows: dict[tuple[str, str, str], int] = {}
    for edge in found:
        folder = _folder(edge) if edge.state in ("ok", *GONE) else ""
        row = (edge.target if folder in ("", "notebooks/") else folder, edge.source, edge.state)
        rows[row] = rows.get(row, 0) + 1
    cells = [
        (target + (f" ({count} files)" if count > 1 else ""), "<-", source, state)
        for (target, source, state), count in rows.items()
    ]
    for line in columns(cells, "<<<<"):
        say(line)


def problems(found: list[Edge]) -> list[str]:
    """Say in lines what is wrong; files that are missing from one folder share a line, which names each."""
    lines: list[str] = []
    missing: dict[str, list[Edge]] = {}
    for edge in found:
        if edge.state == "missing":
            missing.setdefault(_folder(edge) or edge.target, []).append(edge)
        elif edge.state == "stale":
            lines.append(f"{edge.target}: {edge.reason}")
        elif edge.state == "altered":
            lines.append(edge.reason)
    for folder, edges in missing.items():
        names = ", ".join(edge.target.removeprefix(folder) for edge in edges)
        together = f"{folder}: {len(edges)} files are missing: {names}"
        lines.append(together if len(edges) > 1 else edges[0].reason)
    return lines


def remarks(found: list[Edge]) -> list[str]:
    """Say in lines what could not be checked, and why that is no fault."""
    lines = []
    if left_out := sum(edge.state == "left out" for edge in found):
        lines.append(f"an excerpt: {left_out} files of the run were left out, as its run.json says")
    if unknown := [edge.target for edge in found if edge.state == "unknown"]:
        lines.append(f"not compared without a checkout: code, data and environment of {', '.join(unknown)}")
    return lines


def _folder(edge: Edge) -> str:
    """Name the folder, with its slash, that an edge's target is in; "" where it is in none."""
    folder, slash, _ = edge.target.rpartition("/")
    return folder + slash
