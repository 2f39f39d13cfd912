"""Is a run what it says it is? Checked file by file, executed again, compared with others.

Nothing is signed: who changes a file and the digests in run.json alike is found by `verify` alone.
"""

from collections.abc import Iterator

from fer_lib import report
from fer_lib.runs import STAGES, Edge, Run


def edges(run: Run, with_report: bool = True) -> Iterator[Edge]:
    """Go the whole way from the report of a run back to its data; see `fer_lib.runs.Edge`.

    Nothing is executed, and TensorFlow is not needed.
    """
    if with_report:
        yield from report.edges(run.path)
    for stage in reversed(STAGES):
        yield from run.edges(stage)
    yield from run.strays()


def print_edges(found: list[Edge]) -> None:
    """Print an edge a line; figures, tables and checkpoints that are well are counted."""
    rows: dict[tuple[str, str, str], int] = {}
    for edge in found:
        folder, slash, _ = edge.target.rpartition("/")
        target = folder + slash if slash and edge.state == "ok" and folder != "notebooks" else edge.target
        row = (target, edge.source, edge.state)
        rows[row] = rows.get(row, 0) + 1
    named = {row: row[0] + (f" ({count} files)" if count > 1 else "") for row, count in rows.items()}
    left, right = max(map(len, named.values())), max(len(source) for _, source, _ in rows)
    for row, target in named.items():
        print(f"{target:<{left}}  <-  {row[1]:<{right}}  {row[2]}")
