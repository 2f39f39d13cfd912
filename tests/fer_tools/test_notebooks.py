"""The notebooks: readable, honest about the test set, and with outputs that belong to their code."""

import ast
import statistics

import nbformat
import pytest

from fer_lib.files import UsageError, sha256_of
from fer_tools import environment, paths, pipeline, stages
from fer_tools.run import source_code

NOTEBOOKS = {name: stage.path for name, stage in stages.STAGES.items()}
REFERENCES = {path.stem: path for path in (paths.ROOT / "tests" / "references").glob("*.ipynb")}


def read(path):
    return nbformat.read(path, as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def code_stamp(path):
    return sha256_of(source_code.notebook_code(read(path)))


@pytest.mark.parametrize("path", NOTEBOOKS.values(), ids=lambda path: path.stem)
def test_a_notebook_is_valid_and_begins_with_prose(path):
    notebook = read(path)
    nbformat.validate(notebook)
    assert notebook.cells[0].cell_type == "markdown" and notebook.cells[0].source.startswith("# ")
    tagged = [cell for cell in code_cells(notebook) if "parameters" in cell.metadata.get("tags", [])]
    assert len(tagged) == 1


def test_the_median_code_cell_has_at_most_five_lines():
    lengths = [
        sum(bool(line.strip()) and not line.strip().startswith("#") for line in cell.source.splitlines())
        for path in NOTEBOOKS.values()
        for cell in code_cells(read(path))
    ]
    print(f"median code cell: {statistics.median(lengths)} lines")
    assert statistics.median(lengths) <= 5


def test_nothing_is_rounded_before_it_is_kept():
    """Numbers are rounded where a reader reads them: twice would make 83.4 % of 0.833484."""
    for path in NOTEBOOKS.values():
        for call in ast.walk(ast.parse(source_code.notebook_code(read(path)))):
            if isinstance(call, ast.Call) and getattr(call.func, "attr", "") in {"save_table", "record"}:
                kept = "".join(map(ast.unparse, [*call.args, *call.keywords]))
                assert "round(" not in kept and ":." not in kept, f"{path.name}: {kept}"


def test_no_function_is_defined_in_two_notebooks():
    defined = [
        node.name
        for path in NOTEBOOKS.values()
        for node in ast.walk(ast.parse(source_code.notebook_code(read(path))))
        if isinstance(node, ast.FunctionDef)
    ]
    assert len(defined) == len(set(defined))


# What gives test images together with their classes, if asked for the test part.
READERS = {"load_test", "load_faces", "_groups", "read"}
# Who may name them: the notebook that evaluates, the module in which they are defined, and what tells of
# somebody else's network, which no notebook names.
LOAD, DIAGNOSIS = "fer_lib/data/load.py", "fer_tools/grading/diagnosis.py"


def named(source):
    """All names that a source uses, whether it calls them, hands them on, or takes them from a text."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.alias):
            yield node.name.rpartition(".")[2]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value  # getattr(load, "load_test")


def sources():
    """Code by name: of the notebooks by their stage, of everything else by its file."""
    found = {stage: source_code.notebook_code(read(path)) for stage, path in NOTEBOOKS.items()}
    for folder in ("fer_lib", "fer_tools", "notebooks"):
        for path in (paths.ROOT / folder).rglob("*.py"):
            found[path.relative_to(paths.ROOT).as_posix()] = path.read_text(encoding="utf-8")
    return found


def test_notebook_04_alone_names_a_reader_of_the_test_set():
    users = {name for name, source in sources().items() if READERS - {"read"} & set(named(source))}
    assert users == {"evaluation", LOAD, DIAGNOSIS}
    for stage, path in NOTEBOOKS.items():
        assert "grading" not in source_code.notebook_code(read(path)), stage


def test_no_source_of_data_is_read_but_where_faces_are_loaded():
    """`resolve(data).read("test", ...)` would give test labels, too; files are read without arguments."""
    for name, source in sources().items():
        calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
        read = [
            c
            for c in calls
            if isinstance(c.func, ast.Attribute) and c.func.attr == "read" and len(c.args) > 1
        ]
        assert not read or name == LOAD, name


def test_a_way_around_is_found():
    for source in (
        "from fer_lib.data.load import load_test as faces",
        "faces = load.load_test",
        "getattr(load, 'load_faces')(data, classes, 'test')",
        "for faces in (load.load_training, load.load_test): faces(data)",
    ):
        assert READERS & set(named(source)), source


# In a kernel, before the first cell: whoever asks for test images with their classes fails. Notebooks 01
# to 03 may know how many there are of each class and in what files, and the digests of their pixels, sorted.
GUARD = """
import sys
from fer_lib.data import load
from fer_lib.data.readers import bundled, csv_file, source

def guard(owner, name, is_test):
    real = getattr(owner, name)
    def guarded(*arguments):
        if is_test(arguments):
            frame, callers = sys._getframe(1), set()
            while frame is not None:
                callers.add(frame.f_code.co_name)
                frame = frame.f_back
            if not callers & {"pixel_digests_of_test_images", "kinds"}:
                raise RuntimeError("TEST LABELS ARE READ")
        return real(*arguments)
    setattr(owner, name, guarded)

guard(load, "load_test", lambda given: True)
guard(load, "load_faces", lambda given: given[2] == "test")
guard(load, "_groups", lambda given: given[2] == "test")
for kind in (source.ImageFiles, csv_file.Csv, bundled.Bundled):
    guard(kind, "read", lambda given: given[1] == "test")
"""


@pytest.mark.slow
def test_notebooks_01_to_03_run_where_test_labels_cannot_be_read(face_folder, tmp_path, monkeypatch):
    """And notebook 04 does not, which shows that the guard is awake."""
    startup = tmp_path / "ipython" / "profile_default" / "startup"
    startup.mkdir(parents=True)
    (startup / "guard.py").write_text(GUARD)
    clean = environment.of_tool  # which would leave out the variable, and the file with it
    guarded = {"IPYTHONDIR": str(tmp_path / "ipython")}
    monkeypatch.setattr(environment, "of_tool", lambda *home: clean(*home) | guarded)
    monkeypatch.setenv("FER_RESULTS", str(tmp_path / "results"))
    monkeypatch.setenv("FER_CACHE", str(tmp_path / "cache"))
    run = pipeline.start(
        "smoke", {"data": str(face_folder), "train_samples": 60, "epochs": 2, "batch_size": 16}
    )
    with pytest.raises(UsageError, match=r"04_evaluation, cell .*TEST LABELS ARE READ"):
        pipeline.execute(run)
    done = [name for name, entry in run.document["stages"].items() if entry["status"] == "done"]
    assert sorted(done) == ["exploration", "overfitting", "training"]
    assert run.metrics["data.test.total"] == 60


@pytest.mark.parametrize("path", NOTEBOOKS.values(), ids=lambda path: path.stem)
def test_committed_outputs_are_of_the_committed_code(path):
    notebook = read(path)
    outputs = [output for cell in code_cells(notebook) for output in cell.outputs]
    if path == NOTEBOOKS["optimisation"] and not outputs:
        pytest.skip("no study has been made yet: `fer sweep notebooks/05_optimisation.yaml`")
    assert outputs, f"{path.name} has no outputs: `make notebooks`"
    assert notebook.metadata.fer.code == code_stamp(path), f"{path.name} has changed: `make notebooks`"
    assert not any(output.output_type == "error" for output in outputs)
    assert not any(output.get("name") == "stderr" for output in outputs)


@pytest.mark.parametrize("path", NOTEBOOKS.values(), ids=lambda path: path.stem)
def test_a_reference_has_the_code_of_its_notebook(path):
    reference = REFERENCES[path.stem]
    assert code_stamp(reference) == code_stamp(path), f"{path.name} has changed: `make references`"
