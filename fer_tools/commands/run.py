"""Execute the notebooks.

Execute the notebooks of a run in their order; those that are optional, with the parameter that asks for
them: -p study=NAME, -p trace=FILE. With --resume they are added to a run that is there.
"""

from typing import Any

from fer_lib.files import UsageError
from fer_tools.commands.report import build_report, outcome


def arguments(parser: Any) -> None:
    """Describe what it takes."""
    from fer_tools.parameters import PRESETS

    parser.add_argument("--preset", help=f"a set of parameters: {', '.join(PRESETS)}; section5, if not given")
    parser.add_argument(
        "--data",
        help='"bundled" (default), "fer2013", "digits" (section8), or a path: folder, CSV or archive.zip',
    )
    parser.add_argument(
        "-p", dest="given", metavar="NAME=VALUE", action="append", default=[], help="set a parameter"
    )
    parser.add_argument(
        "--resume", metavar="RUN", help="go on with this run; stages that are up to date are skipped"
    )
    parser.add_argument(
        "--reuse", action="store_true", help="go on with the newest run of equal parameters, if any"
    )
    parser.add_argument("--report", action="store_true", help="build the report, too")


def action(options: Any) -> None:
    """Execute what is not up to date, and say what came out."""
    from fer_tools import checking, paths, pipeline
    from fer_tools.run import find

    paths.checkout("fer run")
    pipeline.interruptible()
    given = checking.parse(options.given)
    if "trace" in given:
        given["trace"] = paths.trace_name(given["trace"])
    if options.resume is not None:
        if options.preset or options.data or options.reuse or not {*given} <= {*checking.optional()}:
            own = "the run has its own in run.json"
            raise UsageError(
                f"--resume: goes with no parameters but {' and '.join(checking.optional())}; {own}"
            )
        run = find.open_run(options.resume)
        run.require_whole()
        pipeline.add(run, given)
    else:
        if options.data is not None:
            given["data"] = options.data
        places = ("data", "test_data", "source")
        given |= {name: pipeline.absolute(given[name]) for name in places if name in given}
        run = pipeline.start(options.preset or "section5", given, options.reuse)
    run.require_whole()
    print(run.path)
    pipeline.execute(run)
    if options.report:
        build_report(run)
    else:
        print(f"{outcome(run)}; `fer report {run.name}` builds the report")
