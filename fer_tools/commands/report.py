"""Build the report of a run (default: the newest)."""

from pathlib import Path
from typing import Any

from fer_lib.files import UsageError


def arguments(parser: Any) -> None:
    """Describe what it takes."""
    parser.add_argument("run", nargs="?", metavar="RUN")


def action(options: Any) -> None:
    """Build the report of the run named, or of the newest that is finished."""
    from fer_tools import paths
    from fer_tools.stages import REQUIRED

    paths.checkout("fer report")
    build_report(chosen(options.run, REQUIRED))


def chosen(name: str | None, stages: tuple[str, ...] = ()) -> Any:
    """Open the run that was named, or else the newest in which the stages are done."""
    from fer_tools.run import find

    return find.open_run(name) if name is not None else find.newest(stages)


def build_report(run: Any) -> None:
    """Build the report of a run that is up to date, and say where everything is."""
    from fer_tools import locks
    from fer_tools.report import build
    from fer_tools.run.edges import stale_reason, strays

    run.require_whole()
    if locks.at_work(run.path):
        raise UsageError(f"{run.name}: another process is filling this run; wait for it")
    for stage in run.stages:
        if reason := stale_reason(run, stage):
            raise UsageError(f"{run.name}: {stage} is stale ({reason}); `fer run --resume {run.name}` first")
    for edge in strays(run):
        if edge.state != "ok":
            raise UsageError(f"{run.name}: {edge.reason}; undo that first (`fer check {run.name}`)")
    built = build.build(run.path, build.source_of(run))
    print(f"HTML    {_shown(built['html'])}")
    print(f"PDF     {_shown(built['pdf'])}")
    print(f"LaTeX   {_shown(built['tex'])}")
    if run.model_path.is_file():
        print(f"model   {_shown(run.model_path)}")
    print(outcome(run))


def outcome(run: Any) -> str:
    """Say in a line what came out of a finished run."""
    if "evaluation" in run.stages:
        return f"test accuracy {run.metric('test.accuracy'):.1%}"
    return str(run.metric("transfer.tuned.sentence")).removesuffix(".")


def _shown(path: Path) -> str:
    """Shorten a path as far as the current folder allows."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
