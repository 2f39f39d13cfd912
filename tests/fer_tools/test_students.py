"""What students are given, and what `fer check-my-work` says of what they have made of it."""

import copy
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import nbformat
import pytest
from asserting import refusal
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from synthetic import make_run, synthetic_run

from fer_tools import checking, commands, notebooks, paths, pipeline, stages
from fer_tools.run import find, provenance
from fer_tools.students import bounded_kernel, exercises, release, self_check

SOURCES = {kind.path.name: exercises.read(kind.path) for kind in stages.STAGES.values()}
LEAST = 3  # exercises of each notebook
KERNEL = {"language": "python", "name": "python3", "display_name": "Python 3"}


def code(name: str, source: str, *tags: str) -> Any:
    cell = new_code_cell(source, metadata={"tags": [*tags]} if tags else {})
    cell.id = name
    return cell


def prose(name: str, source: str, *tags: str) -> Any:
    cell = new_markdown_cell(source, metadata={"tags": [*tags]} if tags else {})
    cell.id = name
    return cell


DOUBLE = code(
    "double",
    'def doubled(number):\n    """Return twice the number."""\n    ### BEGIN SOLUTION\n'
    "    twice_the_number = 2 * number\n    return twice_the_number\n    ### END SOLUTION",
    "exercise",
)
DOUBLE_CHECK = code(
    "check-double",
    "assert doubled(3) == 6, 'three is not doubled'\n### BEGIN HIDDEN TESTS\n"
    "assert doubled(-1) == -2, 'minus one is not doubled'\n### END HIDDEN TESTS",
    "check",
)
WHY = prose("why", "Why?\n\n<!-- BEGIN SOLUTION -->\nBecause it is so.\n<!-- END SOLUTION -->", "exercise")


def source(*cells: Any) -> Any:
    """Return a notebook with an exercise in code, an open question, and more cells."""
    return copy.deepcopy(
        new_notebook(cells=[DOUBLE, DOUBLE_CHECK, WHY, *cells], metadata={"kernelspec": KERNEL})
    )


def named(notebook: Any) -> dict[str, Any]:
    return {cell.id: cell for cell in notebook.cells}


# -- what is handed out ------------------------------------------------------------------------------------


def test_solutions_hidden_tests_and_outputs_are_not_handed_out():
    given = source(code("shown", "1 + 1", "nbval-ignore-output"))
    given.cells[-1].outputs = [nbformat.v4.new_output("stream", text="2")]
    given.cells[-1].execution_count = 7
    before = copy.deepcopy(given)
    student = named(release.for_students(given))
    assert given == before
    assert student["double"].source == (
        'def doubled(number):\n    """Return twice the number."""\n    # YOUR CODE HERE\n'
        "    raise NotImplementedError()"
    )
    assert student["check-double"].source == "assert doubled(3) == 6, 'three is not doubled'"
    assert student["why"].source == "Why?\n\nYOUR ANSWER HERE"
    assert student["shown"].outputs == [] and student["shown"].execution_count is None
    assert student["shown"].metadata == {"tags": ["nbval-ignore-output"]}
    teacher = named(release.for_nbgrader(given)[0])
    assert [teacher[cell.id].source for cell in given.cells] == [cell.source for cell in given.cells]


def test_metadata_are_those_of_nbgrader():
    """Checksums as `nbgrader.utils.compute_checksum` of nbgrader 0.9.6 gave them for these cells."""
    student = named(release.for_students(source()))
    common = {"schema_version": 3, "task": False}
    assert student["double"].metadata == {
        "tags": ["exercise", "raises-exception"],
        "deletable": False,
        "nbgrader": common
        | {"grade_id": "double", "grade": False, "solution": True, "locked": False, "cell_type": "code"}
        | {"checksum": "3266f4e17ac51385bf1691859a5abc5b"},
    }
    assert student["check-double"].metadata == {
        "tags": ["check", "raises-exception"],
        "deletable": False,
        "editable": False,
        "nbgrader": common
        | {"grade_id": "check-double", "grade": True, "solution": False, "locked": True, "points": 1}
        | {"cell_type": "code", "checksum": "72b21a29e19c879d37bf47bae5f2965f"},
    }
    assert student["why"].metadata == {
        "tags": ["exercise"],
        "deletable": False,
        "nbgrader": common
        | {"grade_id": "why", "grade": True, "solution": True, "locked": False, "points": 1}
        | {"cell_type": "markdown", "checksum": "e2056a6c3c0991440ded076b79ae1b09"},
    }


def without_mark(cell: Any) -> Any:
    return cell | {"source": cell.source.replace("### END SOLUTION", "# the end")}


FAULTS = {
    "no end": ("'double'", [without_mark(DOUBLE), DOUBLE_CHECK]),
    "two beginnings": (
        "'double'",
        [DOUBLE | {"source": "### BEGIN SOLUTION\n" + DOUBLE.source}, DOUBLE_CHECK],
    ),
    "nothing to solve": ("'double'", [DOUBLE | {"source": "1"}, DOUBLE_CHECK]),
    "a mark in a line": (
        "'why'",
        [WHY | {"source": "So: <!-- BEGIN SOLUTION -->\nso\n<!-- END SOLUTION -->"}],
    ),
    "marks that the page shows": ("'why'", [WHY | {"source": "### BEGIN SOLUTION\nso\n### END SOLUTION"}]),
    "marks that Python cannot read": (
        "'double'",
        [DOUBLE | {"source": "<!-- BEGIN SOLUTION -->\n1\n<!-- END SOLUTION -->"}, DOUBLE_CHECK],
    ),
    "a solution without tag": ("'why'", [WHY | {"metadata": {}}]),
    "hidden tests of an exercise": ("'double'", [DOUBLE | {"source": DOUBLE_CHECK.source}, DOUBLE_CHECK]),
    "no check": ("'double'", [DOUBLE, WHY, DOUBLE_CHECK]),
    "no check at the end": ("'double'", [DOUBLE]),
    "a check of nothing": ("'check-double'", [WHY, DOUBLE_CHECK]),
    "a second check": ("'again'", [DOUBLE, DOUBLE_CHECK, code("again", "1", "check")]),
    "both tags": ("'double'", [DOUBLE | {"metadata": {"tags": ["check", "exercise"]}}, DOUBLE_CHECK]),
    "one name twice": ("'why'", [WHY, WHY]),
    "no name": ("'a b'", [WHY | {"id": "a b"}]),
    "its line elsewhere": ("'why'", [WHY, prose("hint", "I say: Because it is so.")]),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_source_with_wrong_marks_is_refused_and_the_cell_is_named(name):
    cell, cells = FAULTS[name]
    given = source()
    given.cells = [nbformat.from_dict(copy.deepcopy(each)) for each in cells]
    assert cell in refusal(release.for_students, given)


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the folder with what is handed out of this checkout."""
    folder = tmp_path_factory.mktemp("dist")
    assert release.write(folder) == [folder / "student", folder / "nbgrader"]
    return folder


@pytest.fixture(scope="module")
def student(dist: Path) -> Path:
    """Give a student's folder; do not write into it."""
    return dist / "student"


def solved_lines() -> set[str]:
    """Return the lines of all solutions that say something by themselves, other than `return None`."""
    found = set()
    for notebook in SOURCES.values():
        cells = named(notebook)
        for exercise in exercises.of_source(notebook):
            text = cells[exercise.name].source
            solution = re.split(r"^.*(?:BEGIN|END) SOLUTION.*$", text, flags=re.MULTILINE)[1]
            found |= {line.strip() for line in solution.split("\n")}
    return {line for line in found if len(line) >= 12}


def test_no_line_of_a_solution_is_in_any_file(student):
    lines = solved_lines()
    assert len(lines) >= LEAST * len(SOURCES)
    for path in student.rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        for line in lines:
            assert not any(form.encode() in content for form in (line, json.dumps(line)[1:-1])), (path, line)


def test_every_line_of_a_solution_would_be_found(dist):
    """In what the teacher gets, they all are."""
    content = "".join(path.read_text() for path in sorted((dist / "nbgrader").rglob("*.ipynb")))
    assert [
        line for line in solved_lines() if json.dumps(line, ensure_ascii=False)[1:-1] not in content
    ] == []


def test_what_is_for_work_on_the_repository_stays_here(student):
    assert sorted(path.name for path in student.rglob("*.ipynb")) == sorted(SOURCES)
    there = {path.relative_to(student).as_posix() for path in student.rglob("*")}
    assert not there & {"tests", "faces", "results/reference", "data/teachers", "data/fer2013", ".git", ".ci"}
    assert not [name for name in there if "__pycache__" in name or name.endswith(".pyc")]
    assert not [path for path in student.rglob("*") if path.is_symlink()]
    for path in student.glob("notebooks/*.ipynb"):
        cells = exercises.read(path).cells
        assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells)


@pytest.mark.parametrize("stage", stages.STAGES)
def test_parameters_and_tags_of_nbval_survive(student, stage):
    name = stages.STAGES[stage].path.name
    given = notebooks.read(student / "notebooks" / name)
    notebooks.require_tags(given, stage)
    pairs = zip(SOURCES[name].cells, given["cells"], strict=True)
    for before, after in pairs:
        tags = [tag for tag in after["metadata"].get("tags", []) if tag != exercises.MAY_FAIL]
        assert tags == before.metadata.get("tags", [])


@pytest.mark.parametrize("name", SOURCES)
def test_every_notebook_has_exercises(name):
    found = exercises.of_source(SOURCES[name])
    assert len(found) >= LEAST
    assert 0 < len([exercise for exercise in found if exercise.check]) < len(found), "no code, or no question"


def test_the_copy_has_all_that_its_notebooks_reach_and_reports_read(student):
    """In a process of its own, whose code is the copy's."""
    program = """
from fer_tools import paths
from fer_tools.run import provenance
from fer_tools.stages import STAGES
from fer_tools.transfer import sources
print(paths.ROOT, *(provenance.code_digest(stage, "basic_model") for stage in STAGES))
print(paths.study_table("section6"), paths.trace_file("example"), sources.path("optimized_model"))
print(*(paths.ROOT / "report" / f"{kind.report}.md" for kind in STAGES.values()))
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        cwd=student,
        env={key: value for key, value in os.environ.items() if key != "FER_RESULTS"} | {"PYTHONPATH": "."},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    root, *digests = done.stdout.splitlines()[0].split(" ")
    assert Path(root) == student and len(set(digests)) == len(stages.STAGES)
    files = [Path(name) for line in done.stdout.splitlines()[1:] for name in line.split(" ")]
    assert all(path.is_file() and path.is_relative_to(student) for path in files)


def targets(makefile: Path) -> set[str]:
    done = subprocess.run(
        ["make", "--no-print-directory", "-C", makefile.parent, "help"],
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"]},
        check=True,
    )
    return set(re.findall(r"^  make (\w+) ", done.stdout, re.MULTILINE)) - {"report DATA"}


def test_make_has_those_targets_that_work_there(student):
    theirs, ours = targets(student / "Makefile"), targets(paths.ROOT / "Makefile")
    assert {"setup", "lab", "check", "report", "play"} <= theirs < ours
    assert {"test", "student", "references", "faces"} <= ours - theirs
    text = (student / "Makefile").read_text()
    assert not {name for name in ("tests/", "ruff", "faces.") if name in text}
    done = subprocess.run(["make", "test"], cwd=student, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "No rule" in done.stderr


def test_what_the_students_readme_leads_to_is_there(student):
    text = (student / "README.md").read_text()
    for name in re.findall(r"\]\(([^)#]+)", text):
        assert (student / name).exists(), name
    for target in re.findall(r"`?make (\w+)", text.split("## Work")[0]):
        assert target in targets(student / "Makefile")


def test_where_a_notebook_is_wrong_what_was_there_stays(tmp_path, monkeypatch):
    for name in ("student", "nbgrader"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "old").touch()
    broken = notebooks.of_stage("training")
    broken["cells"][0]["metadata"]["tags"] = ["exercise"]
    real = notebooks.of_stage
    monkeypatch.setattr(notebooks, "of_stage", lambda stage: broken if stage == "training" else real(stage))
    assert refusal(release.write, tmp_path).startswith("02_training.ipynb: cell 1, ")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["nbgrader", "old", "old", "student"]


def test_who_solves_an_exercise_need_not_train_again(student):
    """Unless it stands where results are still made."""
    given = notebooks.read(student / "notebooks" / "02_training.ipynb")
    late = next(cell for cell in given["cells"] if "exercise" in cell["metadata"].get("tags", []))
    before = notebooks.deciding(given)
    late["source"] = "network = None"
    assert notebooks.deciding(given) == before and late not in before["cells"]
    given["cells"].insert(0, late)
    assert notebooks.deciding(given)["cells"] == [late, *before["cells"]]
    late["metadata"]["tags"] = []  # any other cell counts wherever it stands
    assert notebooks.deciding(given)["cells"].count(late) == 2
    given["cells"] = [cell for cell in given["cells"] if "run.finish()" not in cell["source"]]
    assert notebooks.deciding(given) == given


# -- what a student has made of it -------------------------------------------------------------------------

OPENED = """from fer_tools import checking
from fer_tools.run.stage import begin
run = begin("training", checking.collect("training", globals()))
run.finish()"""


def exercise(name: str, solution: str = "answer = 42", check: str = "assert answer == 42, 'not so'") -> list:
    marked = f"### BEGIN SOLUTION\n{solution}\n### END SOLUTION"
    return [code(name, marked, "exercise"), code(f"check-{name}", check, "check")]


def a_stage(*more: Any) -> Any:
    """Return the notebook of a stage that does nothing, as a student gets it, with exercises."""
    defaults = next(
        cell for cell in SOURCES["02_training.ipynb"].cells if "parameters" in exercises.tags(cell)
    )
    given = source(*more)
    given.cells = [copy.deepcopy(defaults), code("opened", OPENED), *given.cells]
    given.metadata = copy.deepcopy(SOURCES["02_training.ipynb"].metadata)
    return release.for_students(given)


def saved(folder: Path, notebook: Any) -> Path:
    folder.mkdir(exist_ok=True)
    nbformat.write(notebook, folder / "02_training.ipynb")
    return folder / "02_training.ipynb"


def states(path: Path) -> dict[str, tuple[str, str]]:
    """Return state and message of each exercise of a training notebook."""
    [(stage, found)] = self_check.check({"training": path})
    assert stage == "training"
    return {each.name: (each.state, each.message) for each in found}


SOLVED = {
    "double": "def doubled(number):\n    return number + number",
    "wrong": "answer = 41",
    "left": "answer = 42\nraise NotImplementedError()",
    "broken": "answer = (42",
    "error": "answer = 1 / 0",
    "endless": "while True:\n    pass",
    "big": "answer = bytearray(10**11)",
    "changed": "answer = 42",
    "gone": "answer = 42",
    "numpy": "answer = 41",
    "empty": " \n",
    "why": "Why?\n\nI think so.",
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, str]]:
    """Give the states of the exercises of a student who has made all kinds of mistakes."""
    silent = "import numpy as np\nnp.testing.assert_allclose(answer, 42)"
    others = [exercise(name) for name in SOLVED if name not in ("double", "why", "numpy")]
    others += [exercise("numpy", check=silent), exercise("untouched")]
    notebook = a_stage(*(cell for pair in others for cell in pair), prose("other", WHY.source, "exercise"))
    cells = named(notebook)
    for name, text in SOLVED.items():
        cells[name].source = text
    cells["check-changed"].source = "pass"
    twin = copy.deepcopy(cells["double"])  # as a student's second try
    twin.id, twin.source = "twin", "def doubled(number):\n    return 0"
    notebook.cells = [cell for cell in notebook.cells if cell.id != "check-gone"] + [twin]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bounded_kernel, "OF_EXERCISE", 8)
        patch.setenv("FER_RESULTS", str(tmp_path_factory.mktemp("results") / "none"))
        return states(saved(tmp_path_factory.mktemp("student"), notebook))


def test_each_exercise_has_its_state(made):
    assert {name: state for name, (state, _) in made.items()} == {
        **dict.fromkeys(("wrong", "left", "broken", "error", "endless", "big", "numpy"), "fails"),
        **dict.fromkeys(("untouched", "other", "empty"), "not begun"),
        **{"double": "passes", "why": "answered", "changed": "altered", "gone": "missing"},
    }


def test_what_is_missing_is_said_in_a_line(made):
    said = {name: message for name, (_, message) in made.items()}
    assert said["wrong"] == "not so"
    assert "NotImplementedError" in said["left"] and "stands where your code is to stand" in said["left"]
    assert (
        said["broken"].startswith("SyntaxError: ") and said["error"] == "ZeroDivisionError: division by zero"
    )
    assert said["endless"] == "it takes too long, and was interrupted" and said["big"] == "MemoryError"
    assert "'check-gone' is gone" in said["gone"] and "not the one handed out" in said["changed"]
    assert said["double"] == said["untouched"] == "" and not any("\n" in message for message in said.values())


def test_no_message_says_the_answer(made):
    """A check by NumPy says in its later lines what was expected."""
    assert made["numpy"][1].startswith("Not equal to tolerance")
    assert not any("42" in message for _, message in made.values())


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, str]]:
    """Give the states where the second exercise ends Python."""
    notebook = a_stage(*exercise("deadly"), *exercise("after"))
    cells = named(notebook)
    for name in ("double", "after"):
        cells[name].source = SOLVED["double"] + "\nanswer = 42"
    cells["deadly"].source = "import os\nos._exit(1)"
    return states(saved(tmp_path_factory.mktemp("student"), notebook))


def test_where_python_ends_that_exercise_failed_and_later_ones_are_not_reached(ended):
    assert ended["double"] == ("passes", "") and ended["why"] == ("not begun", "")
    assert [ended[name][0] for name in ("deadly", "after")] == ["fails", "not reached"]
    assert all("Python ended before the notebook" in ended[name][1] for name in ("deadly", "after"))


@pytest.fixture(scope="module")
def unsolved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a notebook as it was handed out."""
    return saved(tmp_path_factory.mktemp("student"), a_stage())


def test_a_run_goes_on_after_exercises_that_are_not_done_and_names_them(
    unsolved, results, monkeypatch, capsys
):
    monkeypatch.setattr(stages.Stage, "path", property(lambda kind: unsolved))
    run = find.create("basic_model_1_epochs")
    run.update(parameters=checking.resolve("smoke", {}))
    pipeline.execute(run, ["training"])
    assert "exercises not done: double; `fer check-my-work`" in capsys.readouterr().out
    path = run.path / provenance.executed_notebook("training")
    assert run.require("training")["notebook"] == run.digest(run.key(path))
    assert {cell.id for cell in exercises.read(path).cells if exercises.has_error(cell)} == {"check-double"}
    notebook = exercises.read(unsolved)
    named(notebook)["opened"].source += "\nmistake"
    saved(unsolved.parent / "mistaken", notebook)
    monkeypatch.setattr(
        stages.Stage, "path", property(lambda kind: unsolved.parent / "mistaken" / unsolved.name)
    )
    assert "NameError: name 'mistake'" in refusal(pipeline.execute, run, ["training"])


@pytest.mark.slow
def test_nbval_passes_on_what_was_handed_out(unsolved, tmp_path):
    command = [sys.executable, "-m", "fer_tools.environment", "pytest", "--nbval", "-p", "no:cacheprovider"]
    options = {"cwd": paths.ROOT, "capture_output": True, "text": True, "check": False}
    settings = os.environ | {"FER_RESULTS": str(tmp_path / "results"), "PYTHONPATH": str(paths.ROOT)}
    done = subprocess.run([*command, unsolved, "-c", os.devnull], env=settings, **options)
    assert done.returncode == 0 and " 4 passed" in done.stdout, done.stdout + done.stderr


def test_notebooks_are_chosen_by_number_name_or_path(tmp_path):
    chosen = self_check.chosen(["2", "03", "04_evaluation", str(tmp_path / "01_exploration.ipynb")])
    kinds = stages.STAGES
    assert chosen == {name: kinds[name].path for name in ("training", "overfitting", "evaluation")} | {
        "exploration": tmp_path / "01_exploration.ipynb"
    }
    assert self_check.chosen([]) == {name: kind.path for name, kind in kinds.items()}
    assert "there are 01_exploration, " in refusal(self_check.chosen, ["8"])
    assert "name one" in refusal(self_check.chosen, ["2", "02_training"])


def test_what_the_report_lacks_is_said_of_the_newest_run(faces, results, tmp_path):
    assert self_check.missing_of_report() == ("", ["no run yet: `fer run` executes the notebooks"])
    run = make_run(synthetic_run(tmp_path / "template"), faces)
    metrics = run.metrics | {"training.epochs": 3, "test.accuracy": 0.41}
    (run.path / "metrics.json").write_text(json.dumps(metrics))
    name, lines = self_check.missing_of_report()
    assert name == run.name and len(lines) == 3
    assert lines[0] == "epochs: 50 is asked, 3 there" and lines[1].startswith(
        "test accuracy: at least 60% is"
    )
    assert lines[2] == f"no report yet: `fer report {run.name}` builds it"
    (run.path / "metrics.json").write_text(
        json.dumps(metrics | {"training.epochs": 50, "test.accuracy": 0.7})
    )
    (run.path / "report.pdf").touch()
    assert self_check.missing_of_report() == (run.name, [])
    run.update(stages={name: run.require(name) for name in ("exploration", "training")})
    name, [line] = self_check.missing_of_report()
    assert name == run.name and line.startswith("03_overfitting, 04_evaluation: not finished")


@pytest.mark.usefixtures("results")
def test_the_command_prints_a_line_an_exercise(made, monkeypatch, capsys):
    found = [self_check.Found(name, *rest) for name, rest in made.items()]
    monkeypatch.setattr(pipeline, "interruptible", lambda: None)
    monkeypatch.setattr(self_check, "check", lambda given: iter([("training", found)]))
    assert commands.main(["check-my-work", "2"]) == 1
    said = capsys.readouterr().out.splitlines()
    assert said[1] == "02_training" and len(said) == 2 + len(found) + 3
    assert [line.split()[0] for line in said[2:-3]] == [*made]
    assert said[-3:-1] == [f"exercises: 2 of {len(found)} done", "report: is missing"]
    done = [each for each in found if each.state in ("passes", "answered")]
    monkeypatch.setattr(self_check, "check", lambda given: iter([("training", done)]))
    monkeypatch.setattr(self_check, "missing_of_report", lambda: ("a_run", []))
    assert commands.main(["check-my-work", "2"]) == 0
    assert capsys.readouterr().out.endswith("exercises: 2 of 2 done\nreport of a_run: nothing is missing\n")
    assert commands.main(["check-my-work", "nine"]) == 2


def test_a_notebook_that_says_nonsense_of_its_exercises_is_refused_in_a_line(tmp_path):
    notebook = a_stage()
    for nonsense in (1, "double", [["double"]], [None], {"double": 1, "b": 2}):
        notebook.metadata["fer"] = {"exercises": nonsense}
        if nonsense != {"double": 1, "b": 2}:
            assert "take the notebook anew" in refusal(exercises.handed_out, notebook)
    for nonsense in (1, {"grade_id": 1}, {"points": "many", "grade": True, "checksum": "x"}):
        named(notebook)["double"].metadata["nbgrader"] = nonsense
        assert exercises.changed(named(notebook)["double"]) is None


# -- with nbgrader itself ----------------------------------------------------------------------------------

COMPARE = """
import json, sys
import nbformat
from nbgrader import utils
from nbgrader.validator import Validator
seen = {}
for path in sys.argv[2:]:
    cells = nbformat.read(path, 4).cells
    seen[path] = [[cell.metadata.nbgrader["checksum"], utils.compute_checksum(cell)]
                  for cell in cells if "nbgrader" in cell.metadata]
found = {path: sorted(Validator().validate(path)) for path in json.loads(sys.argv[1])}
print(json.dumps([seen, found]))
"""


@pytest.fixture(scope="module")
def nbgrader() -> str:
    """Give a Python that has nbgrader, or skip loudly."""
    python = os.environ.get("FER_NBGRADER") or (importlib.util.find_spec("nbgrader") and sys.executable)
    if not python:
        message = "NOT TESTED with nbgrader: install nbgrader==0.9.6 anywhere, set FER_NBGRADER to its Python"
        warnings.warn(message, stacklevel=1)
        pytest.skip(message)
    return str(python)


def run_nbgrader(python: str, *arguments: object, **options: Any) -> subprocess.CompletedProcess:
    settings = os.environ | {"PATH": f"{Path(python).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        [python, *map(str, arguments)], capture_output=True, text=True, env=settings, check=False, **options
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def test_nbgrader_makes_the_same_notebooks_of_what_the_teacher_gets(nbgrader, dist, tmp_path):
    shutil.copytree(dist / "nbgrader", tmp_path / "course")
    run_nbgrader(
        nbgrader,
        "-m",
        "nbgrader",
        "generate_assignment",
        release.ASSIGNMENT,
        "--no-db",
        cwd=tmp_path / "course",
    )
    for path in sorted((dist / "student" / "notebooks").glob("*.ipynb")):
        theirs = tmp_path / "course" / "release" / release.ASSIGNMENT / path.name
        assert nbformat.read(theirs, 4) == nbformat.read(path, 4), path.name


def test_nbgrader_validates_what_was_handed_out(nbgrader, tmp_path):
    variants = {"untouched": source(), "solved": source(), "changed": source()}
    for name, given in variants.items():
        notebook = release.for_students(given)
        if name != "untouched":
            for own in ("double", "why"):
                named(notebook)[own].source = SOLVED[own]
        if name == "changed":
            named(notebook)["check-double"].source = "pass"
        (tmp_path / name).mkdir()
        variants[name] = str(saved(tmp_path / name, notebook))
    files = sorted(tmp_path.glob("untouched/*.ipynb"))
    done = run_nbgrader(nbgrader, "-c", COMPARE, json.dumps([*variants.values()]), *files)
    seen, found = json.loads(done.stdout.splitlines()[-1])
    assert all(recorded == theirs for pairs in seen.values() for recorded, theirs in pairs)
    assert [found[variants[name]] for name in ("untouched", "solved", "changed")] == [
        ["failed"],
        [],
        ["changed"],
    ]
