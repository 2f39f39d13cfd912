"""`fer`: arguments only; what they ask for is done elsewhere."""

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from fer_lib.files import UsageError, complain, say

EPILOGUE = """examples:
  fer run                                   train and evaluate on the bundled faces
  fer run --data fer2013 -p seed=1          the same on FER2013 photographs, another seed
  fer run --resume RUN                      go on with a run that was interrupted
  fer sweep STUDY.yaml                      train at many points, chosen by validation
  fer report                                HTML, PDF and LaTeX of the newest run
  fer list                                  runs side by side
  fer check                                 is everything in the newest run what it wrote, and up to date?
  fer predict face.jpg                      which expression?
  fer bench                                 how quick it is, against plain Keras"""


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    main = argparse.ArgumentParser(
        prog="fer",
        description="Facial expression recognition as coursework that reproduces itself.",
        epilog=EPILOGUE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = main.add_subparsers(dest="command", metavar="COMMAND", required=True)

    run = commands.add_parser(
        "run",
        help="execute the notebooks",
        description="Execute notebooks 01 to 04, and 05 with -p study=NAME.",
    )
    run.add_argument("--preset", help="a set of parameters: section5 (default), section6, sim2real or smoke")
    run.add_argument(
        "--data", help='"bundled" (default), "fer2013", or a path to a folder, CSV or archive.zip'
    )
    run.add_argument(
        "-p", dest="given", metavar="NAME=VALUE", action="append", default=[], help="set a parameter"
    )
    run.add_argument(
        "--resume", metavar="RUN", help="go on with this run; stages that are up to date are skipped"
    )
    run.add_argument(
        "--reuse", action="store_true", help="go on with the newest run of equal parameters, if any"
    )
    run.add_argument("--report", action="store_true", help="build the report, too")
    run.set_defaults(action=_run)

    sweep = commands.add_parser(
        "sweep",
        help="train at many points, chosen by validation",
        description="Train at every point of a study and write results/<name>_study/results.csv: notebooks "
        "02 and 03, never the test. What is done already is not done again. Exit code 1 if a point failed.",
    )
    sweep.add_argument("study", metavar="STUDY.yaml")
    sweep.add_argument("--jobs", type=int, metavar="N", help="points at once; as many as there are cores")
    sweep.add_argument("--scheduler", metavar="tcp://HOST:PORT", help="use this dask cluster instead")
    sweep.set_defaults(action=_sweep)

    report = commands.add_parser("report", help="build the report of a run (default: the newest)")
    report.add_argument("run", nargs="?", metavar="RUN")
    report.set_defaults(action=_report)

    check = commands.add_parser(
        "check",
        help="find what is stale, altered or missing in a run (default: the newest)",
        description="Go the way from the report of a run back to its data and name every edge: ok, stale "
        "(code, parameters, data or environment are others now), altered (not what was written) or missing. "
        "Exit code 2 if any is not ok.",
    )
    check.add_argument("run", nargs="?", metavar="RUN")
    check.set_defaults(action=_check)

    again = commands.add_parser(
        "verify",
        help="execute a run again and compare",
        description="Execute a run again from its run.json and say, metric by metric and file by file, "
        "whether it is identical, equal within tolerance, or different (exit code 1).",
    )
    again.add_argument("run", metavar="RUN")
    again.set_defaults(action=_verify_run)

    compare = commands.add_parser(
        "compare",
        help="compare runs on the same test images",
        description="Two runs: McNemar's test on the same test images. Runs that differ in their seed only: "
        "mean and spread of the accuracy.",
    )
    compare.add_argument("runs", nargs="+", metavar="RUN")
    compare.set_defaults(action=_compare)

    lister = commands.add_parser("list", help="list runs side by side")
    lister.set_defaults(action=_list)

    data = commands.add_parser("data", help="download and verify FER2013").add_subparsers(
        dest="what", metavar="fetch|verify", required=True
    )
    fetch = data.add_parser("fetch", help="download FER2013 into data/fer2013 and verify it")
    fetch.set_defaults(action=_fetch)
    verify = data.add_parser("verify", help="compare a copy with the published digests")
    verify.add_argument("path", metavar="PATH", nargs="?", default="fer2013")
    verify.set_defaults(action=_verify)

    predict = commands.add_parser(
        "predict",
        help="tell the expressions on pictures of faces",
        description="Tell the expression on each picture (JPEG, PNG or BMP; one face that fills it; any size "
        "and colour, brought to 48x48 grey) by the network that comes with the package, or another.",
    )
    predict.add_argument("images", metavar="IMAGE", nargs="+")
    predict.add_argument("--model", metavar="RUN", help="a run, or a .keras file with --classes")
    predict.add_argument(
        "--classes", metavar="A,B,...", help="classes of a .keras file in their order, if no run says them"
    )
    predict.add_argument("--json", action="store_true", help="print JSON")
    predict.set_defaults(action=_predict)

    bench = commands.add_parser(
        "bench",
        help="measure training, evaluation and prediction against plain Keras",
        description="Train, evaluate and predict in turn with our networks and the plain Keras way (JPEG "
        "files, 150x150 RGB), and print how many times as long the latter takes, and how much of the "
        "machine's arithmetic is used. Writes results/bench/. Takes minutes; leave the machine alone.",
    )
    bench.add_argument(
        "--data", default="bundled", help='"bundled" (default), "fer2013", or a path; see fer run'
    )
    bench.add_argument(
        "--model", nargs="+", action="extend", default=[], metavar="NAME", help="our networks (default: all)"
    )
    bench.add_argument("--quick", action="store_true", help="a few images: only to see that it works")
    bench.set_defaults(action=_bench)

    summary = commands.add_parser("summary", help="print a network layer by layer")
    summary.add_argument("model", metavar="MODEL")
    summary.set_defaults(action=_summary)
    return main


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; 0 is success, 1 and 2 as a command says or a mistake, 130 an interruption."""
    try:
        options = parser().parse_args(arguments)
        return options.action(options) or 0
    except UsageError as error:
        complain(" ".join(str(error).splitlines()))
        return 2
    except KeyboardInterrupt:
        complain("interrupted; what was finished is kept (fer run --resume RUN)")
        return 130
    except BrokenPipeError:  # for example `fer list | head`
        sys.stderr.close()
        return 0
    except OSError as error:  # what no reader foresaw: a name that is too long, a disk that went away
        complain(f"{error.filename or 'input or output'}: {error.strerror or error}")
        return 2


def _run(options: Any) -> None:
    from fer_lib import params, pipeline, runs

    pipeline.interruptible()
    if options.resume is not None:
        if options.preset or options.data or options.given or options.reuse:
            raise UsageError("--resume: goes with no other parameters; the run has its own in run.json")
        run = runs.find(options.resume)
    else:
        given = params.parse(options.given)
        if options.data is not None:
            given["data"] = options.data
        given = {
            name: pipeline.absolute(value) if name in ("data", "test_data") else value
            for name, value in given.items()
        }
        run = pipeline.start(options.preset or "section5", given, options.reuse)
    print(run.path)
    pipeline.execute(run)
    if options.report:
        _build_report(run)
    else:
        accuracy = run.metrics["test.accuracy"]
        print(f"test accuracy {accuracy:.1%}; `fer report {run.name}` builds the report")


def _sweep(options: Any) -> int:
    from fer_lib import pipeline, sweep

    pipeline.interruptible()
    return 1 if sweep.sweep(options.study, options.jobs, options.scheduler) else 0


def _chosen(options: Any, stages: Iterable[str] = ()) -> Any:
    """Open the run that was named, or else the newest in which the stages are done."""
    from fer_lib import runs

    return runs.find(options.run) if options.run is not None else runs.newest(tuple(stages))


def _report(options: Any) -> None:
    from fer_lib import runs

    _build_report(_chosen(options, runs.REQUIRED))


def _build_report(run: Any) -> None:
    from fer_lib import report

    for stage in run.stages:
        if reason := run.stale_reason(stage):
            raise UsageError(f"{run.name}: {stage} is stale ({reason}); `fer run --resume {run.name}` first")
    for edge in run.strays():
        if edge.state != "ok":
            raise UsageError(f"{run.name}: {edge.reason}; undo that first (`fer check {run.name}`)")
    built = report.build(run.path)
    print(f"HTML    {_shown(built['html'])}")
    print(f"PDF     {_shown(built['pdf'])}")
    print(f"LaTeX   {_shown(built['tex'])}")
    print(f"model   {_shown(run.model_path)}")
    print(f"test accuracy {run.metrics['test.accuracy']:.1%}")


def _shown(path: Path) -> str:
    """Shorten a path as far as the current folder allows."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _check(options: Any) -> int:
    from fer_lib import trust

    run = _chosen(options)
    found = list(trust.edges(run))
    print(run.path)
    trust.print_edges(found)
    problems = trust.problems(found)
    for line in problems:
        complain(f"{run.name}: {line}")
    return 2 if problems else 0


def _verify_run(options: Any) -> int:
    from fer_lib import pipeline, runs, trust

    pipeline.interruptible()
    verdict = trust.verify(runs.find(options.run))
    print(verdict)
    return 1 if verdict == "different" else 0


def _compare(options: Any) -> None:
    from fer_lib import runs, trust

    trust.compare([runs.find(name) for name in options.runs])


def _list(_: Any) -> None:
    from fer_lib import runs

    header = ("run", "data", "samples", "epochs", "parameters", "test accuracy")
    rows = [header]
    for run, document in runs.every():
        values = document["parameters"].get("training", {})
        try:
            metrics = run.metrics
        except UsageError as error:
            complain(f"passed over: {error}")
            continue
        accuracy = metrics.get("test.accuracy")
        samples = metrics.get("training.samples", values.get("train_samples"))
        parameters = metrics.get("model.parameters")
        rows.append(
            (
                run.name,
                " > ".join(
                    name for key in ("data", "test_data") if (name := Path(str(values.get(key, ""))).name)
                )
                or "-",
                _shown_number(samples, ","),
                str(values.get("epochs", "-")),
                _shown_number(parameters, ","),
                _shown_number(accuracy, ".1%"),
            )
        )
    widths = [max(len(row[i]) for row in rows) for i in range(len(header))]
    for row in rows:
        left = [cell.ljust(width) for cell, width in zip(row[:2], widths[:2], strict=True)]
        right = [cell.rjust(width) for cell, width in zip(row[2:], widths[2:], strict=True)]
        say("  ".join([*left, *right]))
    if len(rows) == 1:
        print(f"no runs yet in {runs.results_folder()}; start one with `fer run`")


def _predict(options: Any) -> int:
    from fer_lib import predict

    classes = options.classes.split(",") if options.classes is not None else None
    predictor, classes = predict.choose(options.model, classes)
    found, wrong = predict.images(predictor, classes, options.images)
    if options.json:
        print(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        width = max((len(row["image"]) for row in found), default=0)
        for row in found:
            ranked = sorted(row["probabilities"].items(), key=lambda pair: -pair[1])
            say(f"{row['image']:<{width}}  " + "  ".join(f"{name} {100 * p:.1f}%" for name, p in ranked))
    for message in wrong:
        complain(message)
    return 2 if wrong else 0


def _shown_number(value: Any, form: str) -> str:
    return format(value, form) if isinstance(value, int | float) else "-"


def _fetch(_: Any) -> None:
    from fer_lib import fetch

    verdict = fetch.fetch()
    say(f"{verdict.status}: {verdict.detail}")


def _verify(options: Any) -> None:
    from fer_lib import verify

    verdict = verify.verify(options.path)
    for row in verdict.rows:
        found = f"{row['found']:>6,} of {row['expected']:>6,}"
        say(f"{row['usage']:<12} {row['class']:<9} {found}  {row['state']}")
    say(f"{verdict.status}: {verdict.detail}")


def _bench(options: Any) -> None:
    from fer_lib import bench, pipeline

    pipeline.interruptible()
    bench.run(options.data, options.model, options.quick)


def _summary(options: Any) -> None:
    from fer_lib import models

    models.print_summary(models.build(options.model))


if __name__ == "__main__":
    sys.exit(main())
