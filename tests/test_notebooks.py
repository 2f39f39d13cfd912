"""The notebooks: readable, honest about the test set, and with outputs that belong to their code."""

import ast
import statistics

import nbformat
import pytest

from fer_lib import runs
from fer_lib.files import sha256_of

NOTEBOOKS = {stage: runs.notebook_path(stage) for stage in runs.STAGES}
REFERENCES = {path.stem: path for path in (runs.ROOT / "tests" / "references").glob("*.ipynb")}


def read(path):
    return nbformat.read(path, as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def code_stamp(path):
    return sha256_of(runs.notebook_code(read(path)))


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


def test_no_function_is_defined_in_two_notebooks():
    defined = [
        node.name
        for path in NOTEBOOKS.values()
        for node in ast.walk(ast.parse(runs.notebook_code(read(path))))
        if isinstance(node, ast.FunctionDef)
    ]
    assert len(defined) == len(set(defined))


def test_notebook_04_alone_opens_the_test_set():
    sources = {stage: runs.notebook_code(read(path)) for stage, path in NOTEBOOKS.items()}
    for path in [*(runs.ROOT / "fer_lib").rglob("*.py"), *(runs.ROOT / "notebooks").glob("*.py")]:
        sources[path.name] = path.read_text(encoding="utf-8")
    users = {
        name
        for name, source in sources.items()
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call)
        and getattr(node.func, "attr", getattr(node.func, "id", "")) in ("load_test", "load_faces", "_groups")
    }
    # datasets.py: load_test and load_training call the reader that they share.
    assert users == {"evaluation", "datasets.py"}


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
