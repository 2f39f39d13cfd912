"""Train at many points, chosen by validation.

Train at every point of a study and write results/<name>_study/results.csv: notebooks 02 and 03, never the
test. What is done already is not done again. Exit code 1 if a point failed.
"""

from typing import Any


def arguments(parser: Any) -> None:
    """Describe what it takes."""
    parser.add_argument("study", metavar="STUDY.yaml")
    parser.add_argument("--jobs", type=int, metavar="N", help="points at once; as many as there are cores")
    parser.add_argument("--scheduler", metavar="tcp://HOST:PORT", help="use this dask cluster instead")


def action(options: Any) -> int:
    """Train what is not done yet."""
    from fer_tools import paths, pipeline
    from fer_tools.study import sweep

    paths.checkout("fer sweep")
    pipeline.interruptible()
    return 1 if sweep.sweep(options.study, options.jobs, options.scheduler) else 0
