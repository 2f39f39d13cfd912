"""Grade a class: look at what each student handed in, diagnose what is meant, mark it, write what came of it.

OUT/
class.html    for the teacher, with all that was found
feedback/     a .md and a .html for each student
grades.json   the same for programs
canvas.csv    the roster, with one column filled
cache/        what is known of each file, so that nothing is done twice
"""

import re
import zipfile
from collections.abc import Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from fer_lib.files import UsageError, atomic_path, printable, read_regular, sha256_of
from fer_tools import locks, scratch
from fer_tools.grading import (
    feedback,
    grades,
    limited,
    marks,
    meant,
    page,
    roster,
    submissions,
    verdict,
    work,
)
from fer_tools.grading.grades import Graded, Student
from fer_tools.grading.meant import Choice
from fer_tools.grading.rubric import Rubric
from fer_tools.grading.submissions import LARGEST_TEXT, Contents, File, Submission, Unreadable
from fer_tools.json_files import write_json
from fer_tools.model_files.inspection import LARGEST_FILE
from fer_tools.progress import Progress
from fer_tools.run import machine

MEMORY = 3 << 29  # bytes for a process that diagnoses, with room to spare
MODEL, FOLDER = "model.keras", "handed_in"  # names in the folder of a process
MOST_BESIDE = 50  # models beside a game
QUEUED = 2  # files a worker that wait, in memory
BROKEN = (Unreadable, UsageError, OSError, ValueError, RuntimeError, zipfile.BadZipFile, MemoryError)


def grade(
    folder: Path,
    rubric: Rubric,
    out: Path,
    needs: work.Settings,
    class_list: roster.Roster | None = None,
    jobs: int | None = None,
    scheduler: str | None = None,
    others: tuple[Path, ...] = (),
) -> Graded:
    """Grade a class, and write its page, feedback, grades and column.

    Parameters
    ----------
    folder : Path
        In which a folder or zip a student lies.
    rubric : Rubric
    out : Path
        To be filled; nothing is written elsewhere.
    needs : Settings
        Of diagnoses.
    class_list : Roster, optional
    jobs : int, optional
        Diagnoses at once; as many as cores and memory allow, if not given.
    scheduler : str, optional
        Address of a dask scheduler that has workers for it.
    others : tuple of Path
        What may lie in the folder and is no submission.

    Raises
    ------
    UsageError
        If there are no submissions, another process fills `out`, or the scheduler is not there.
    """
    if out.resolve().is_relative_to(folder.resolve()):
        raise UsageError(f"--out: {out} lies in the folder of the class; choose another place")
    students = _students(submissions.of_class(folder, others))
    out.mkdir(parents=True, exist_ok=True)
    with locks.exclusive(out):
        scratch.remove_leftovers(out)
        _Diagnoses(out / "cache", needs).make(students, rubric, jobs, scheduler, folder.resolve().name)
        graded = _marked(students, rubric, needs, folder)
        if class_list:
            _fill(class_list, graded, out / "canvas.csv")
        _write(graded, out)
    return graded


def _students(found: list[Submission]) -> list[Student]:
    """Give each submission a name for files that no other has."""
    students, taken = [], set()
    for submission in found:
        whole = "\0".join(str(path.name) for path in submission.paths)
        file = plain(submission.name)
        if file != submission.name or file.casefold() in taken:
            digest = sha256_of(whole.encode(errors="surrogateescape"))
            file = f"{file or 'student'}-{digest[:8]}"
        taken.add(file.casefold())
        students.append(Student(submission, file))
    for student in students:  # those with one name are told apart by that of the feedback
        same = [other for other in students if other.name == student.name]
        if len(same) > 1:
            for other in same:
                other.submission = replace(other.submission, name=f"{other.name} ({other.file})")
    return students


def plain(name: str) -> str:
    """Return a name as part of that of a file on any system; "" if nothing of it is left."""
    return re.sub(r"[^\w.-]+", "_", name).strip("._")[:60]


class _Diagnoses:
    """What is known of files, kept on the disk: a class that was interrupted goes on where it was."""

    def __init__(self, folder: Path, needs: work.Settings) -> None:
        self.folder, self.needs = folder, needs
        self.known: dict[str, dict[str, Any]] = {}
        self.waiting: dict[Future, str] = {}

    def make(
        self, students: list[Student], rubric: Rubric, jobs: int | None, scheduler: str | None, title: str
    ) -> None:
        """Look at all submissions, and diagnose what is meant in each that is not known yet."""
        with Progress(len(students), of_last=10) as progress, _pool(jobs, scheduler) as (pool, workers):
            for student in students:
                self._look_at(student, rubric, pool)
                while len(self.waiting) > QUEUED * workers:
                    self._take(progress, students, title)
            while self.waiting:
                self._take(progress, students, title)
            self._show(progress, students, title)
        for student in students:
            student.diagnoses = {name: self.known[key] for name, key in student.keys.items()}

    def _look_at(self, student: Student, rubric: Rubric, pool: Executor) -> None:
        """Find what is meant in a submission, and hand it out."""
        with scratch.folder() as folder, ExitStack() as stack:
            try:
                contents = submissions.opened(student.submission, folder, stack)
                student.choices = meant.choose(contents, rubric)
                student.remarks, student.papers = contents.remarks, contents.papers
                for section, files in _files(student.choices, rubric, contents):
                    self._hand_out(student, section, files, pool)
            except BROKEN as error:  # whatever there is in it: one submission, one reason
                reason = printable(" ".join(str(error).split()))[:300] or type(error).__name__
                student.choices = {s.id: Choice("unreadable", reason) for s in rubric.sections if s.file}
                student.keys = {}

    def _hand_out(self, student: Student, section: str, files: work.Files, pool: Executor) -> None:
        """Have the file of a section diagnosed, unless that is known or under way."""
        key = student.keys[section] = files.key(self.needs)
        if key not in self.known and key not in self.waiting.values() and not self._read(key):
            self.waiting[pool.submit(work.diagnose, files, self.needs)] = key

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.json"

    def _read(self, key: str) -> bool:
        """Look a diagnosis up; one that is damaged is made again."""
        with suppress(UsageError):
            self.known[key] = verdict.read(read_regular(self._path(key), limited.LARGEST_OUTPUT))
        return key in self.known

    def _take(self, progress: Progress, students: list[Student], title: str) -> None:
        """Wait until a diagnosis is there, and keep it."""
        self._show(progress, students, title)
        done, _ = wait(self.waiting, timeout=1, return_when=FIRST_COMPLETED)
        for future in done:
            key = self.waiting.pop(future)
            try:
                content, why = future.result()
            except Exception as error:  # a worker that was killed, or a connection that was lost
                content, why = None, f"its worker was lost ({type(error).__name__}: {error})"[:300]
            if content is None:  # not kept: the next time it is tried again
                self.known[key] = verdict.refused(why)
            else:
                with atomic_path(self._path(key)) as temporary:
                    temporary.write_bytes(content)
                self.known[key] = verdict.read(content)

    def _show(self, progress: Progress, students: list[Student], title: str) -> None:
        looked = [student for student in students if student.choices]
        ready = sum(all(key in self.known for key in student.keys.values()) for student in looked)
        while progress.done < ready:
            progress.step()
        files = len(self.waiting)
        line = f"{title}  {ready}/{len(students)} submissions" + f", {files} at work or waiting" * bool(files)
        progress.show(line + progress.left, (ready, files))


def _files(
    choices: Mapping[str, Choice], rubric: Rubric, contents: Contents
) -> Iterator[tuple[str, work.Files]]:
    """Yield for each section what has to be seen for it; a game and the model it plays with, at once."""
    found = {
        section.id: choice.file
        for section in rubric.sections
        if (choice := choices.get(section.id)) and choice.file
    }
    for game in rubric.sections:
        played = next((name for name in game.plays if name in found), None)
        if played and game.id in found:
            files = _around(found.pop(game.id), found.pop(played), contents)
            yield game.id, files
            yield played, files
    for section in rubric.sections:
        if section.file == "model" and section.id in found:
            # A name of ours: what is said of a model is the same, whoever handed it in.
            yield section.id, work.Files({MODEL: found[section.id].read(LARGEST_FILE)}, MODEL)


def _around(game: File, model: File, contents: Contents) -> work.Files:
    """Lay a game out as it was handed in: it names its model, and its settings lie beside it."""
    beside = {file.pieces: b"" for file in contents.models[:MOST_BESIDE]}  # that they are there is all
    beside |= {
        file.pieces: file.read(LARGEST_TEXT)
        for file in contents.programs
        if file.pieces == (*game.pieces[:-1], "config.py")
    }
    beside |= {game.pieces: game.read(LARGEST_TEXT), model.pieces: model.read(LARGEST_FILE)}
    names = {pieces: "/".join((FOLDER, *pieces)) for pieces in beside}
    files = {names[pieces]: content for pieces, content in beside.items()}
    return work.Files(files, names[model.pieces], names[game.pieces])


@contextmanager
def _pool(jobs: int | None, scheduler: str | None) -> Iterator[tuple[Executor, int]]:
    """Yield what work is handed to, and how much of it is done at once."""
    if scheduler:
        from fer_tools.study import sweep

        with sweep.cluster(1, None, scheduler) as client:
            yield client.get_executor(pure=False), sum(client.nthreads().values())
        return

    jobs = jobs or machine.processes(MEMORY)
    pool = ThreadPoolExecutor(jobs)
    try:
        yield pool, jobs
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        limited.end_all()
        pool.shutdown()


def _marked(students: list[Student], rubric: Rubric, needs: work.Settings, folder: Path) -> Graded:
    for student in students:
        student.marked = marks.mark(rubric, student.choices, student.diagnoses)
    by_name = {student.name: student.marked for student in students}
    facts = [
        ("Assignment", rubric.assignment),
        ("Rubric", rubric.source),
        ("Test images", needs.data),
        (
            "Policies",
            ", ".join(f"{name.replace('_', ' ')}: {value}" for name, value in rubric.policy.items()),
        ),
        ("Version of the tools and data", f"{needs.version[:12]}, {needs.data_digest[:12]}"),
    ]
    remarks = []
    if not limited.without_network():
        remarks.append(
            "this system keeps no process from the network, so models were opened without that bound"
        )
    return Graded(folder.resolve().name, rubric, students, marks.weights_shared(by_name), remarks, facts)


def _fill(class_list: roster.Roster, graded: Graded, path: Path) -> None:
    """Write points into the roster: of those alone in whose case no check needs a person."""
    known = {each.name: (each.submission.key, each.submission.canvas) for each in graded.students}
    rows, unmatched = class_list.matched(known)
    points = {}
    for student in graded.students:
        row = rows.get(student.name)
        if row is None or student.marked.state != "graded":
            continue
        if kept := class_list.kept(row):
            unmatched.append(f"{student.name}: its cell says {kept!r}, and is left")
        else:
            points[row] = student.marked.automatic
    absent = [class_list.student(i) for i in range(len(class_list.rows)) if i not in rows.values()]
    graded.remarks += unmatched + class_list.formulas()
    graded.remarks += [f"{name}: in the roster, and no submission is its own" for name in absent]
    column, possible = class_list.header[class_list.column], class_list.possible
    most = graded.students[0].marked.most(True)
    if possible is not None and possible < most:
        graded.remarks.append(f"{column}: is out of {possible:g} points, and checks give up to {most:g}")
    class_list.write(path, points)
    graded.facts.append(("Canvas", f"{len(points)} cells of {column} filled, in canvas.csv"))


def _write(graded: Graded, out: Path) -> None:
    names = set()
    for student in graded.students:
        for suffix, text in feedback.texts(student.name, student.marked, graded.rubric).items():
            path = out / "feedback" / f"{student.file}{suffix}"
            names.add(path.name)
            with atomic_path(path) as temporary:
                temporary.write_text(text, encoding="utf-8", newline="\n")
    for path in (out / "feedback").iterdir():  # of submissions that are there no more
        if path.name not in names and path.suffix in feedback.SUFFIXES:
            path.unlink()
    write_json(out / "grades.json", grades.document(graded))
    with atomic_path(out / "class.html") as temporary:
        temporary.write_text(page.text(graded), encoding="utf-8", newline="\n")
