"""Grade a class: a folder or zip a student.

Look at what each student handed in, find the model that each section of the rubric is about, diagnose it in a
limited process, and mark it. Nothing of a student's is executed, no link is followed, and nothing is written
outside the folder of results: a page of the class, feedback for each student, and a Canvas export with one
column filled. What was done is not done again. Exit code 0: checks have decided everything that they can, 1:
something of it is for a person.
"""

from pathlib import Path
from typing import Any

from fer_lib.files import UsageError, columns
from fer_tools.console import complain, say
from fer_tools.grading import faces

LONGEST = 60  # characters of a name or a reason on the terminal


def arguments(parser: Any) -> None:
    """Describe what it takes."""
    parser.add_argument("folder", metavar="FOLDER", help="in which a folder or zip a student lies")
    faces.add_option(parser)
    parser.add_argument("--rubric", metavar="FILE.yaml", help="default: that of the assignment")
    parser.add_argument("--roster", metavar="CANVAS.csv", help="an export of the gradebook, to be filled")
    parser.add_argument("--column", metavar="NAME", help="of the roster, if it has several assignments")
    parser.add_argument("--out", metavar="FOLDER", help="default: one in results/")
    parser.add_argument("--jobs", type=int, metavar="N", help="models at once; as many as there are cores")
    parser.add_argument("--scheduler", metavar="tcp://HOST:PORT", help="use this dask cluster instead")


def action(options: Any) -> int:
    """Grade, and print a line a student."""
    from fer_tools import paths, pipeline
    from fer_tools.grading import classroom, roster, rubric, work

    if options.jobs is not None and (options.jobs < 1 or options.scheduler):
        raise UsageError("--jobs: a number above 0, and of this machine only, hence not with --scheduler")
    if options.column and not options.roster:
        raise UsageError("--column: is one of a roster; give that with --roster")
    folder = Path(options.folder)
    chosen = rubric.read(options.rubric or rubric.DEFAULT)
    class_list = roster.read(Path(options.roster), column=options.column) if options.roster else None
    data = faces.chosen(options.data)
    needs = work.settings(pipeline.absolute(data), chosen.parameters)
    name = classroom.plain(folder.resolve().name) or "class"
    out = Path(options.out) if options.out else paths.results_folder() / f"{name}_grades"
    others = tuple(Path(each) for each in (options.roster, options.rubric) if each)
    pipeline.interruptible()
    try:
        graded = classroom.grade(
            folder, chosen, out, needs, class_list, options.jobs, options.scheduler, others
        )
    except KeyboardInterrupt:
        complain("interrupted; what was finished is kept, and the same command goes on")
        return 130
    for line in columns(*_table(graded)):
        say(line)
    for line in graded.remarks:
        complain(line)
    say(str(out / "class.html"))
    return 0 if all(student.marked.state == "graded" for student in graded.students) else 1


def _table(graded: Any) -> tuple[list[tuple[str, ...]], str]:
    """Return the lines to print as cells, and how these are aligned."""
    rows: list[tuple[str, ...]] = [("student", "state", *graded.rubric.thresholds, "points", "")]
    for student in graded.students:
        marked = student.marked
        figures = [graded.figures(student, section) for section in graded.rubric.thresholds]
        shares = (f"{found[0]:.1%}" if found else "" for found in figures)
        rows.append((_cut(student.name), marked.state, *shares, marked.points, _cut(marked.why)))
    return rows, "<<" + ">" * len(graded.rubric.thresholds) + "><"


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."
