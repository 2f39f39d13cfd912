"""What is committed of runs is renewed: in copies of the checkout, without executing a notebook."""

import copy
import shutil
from pathlib import Path

import nbformat
import pytest
from synthetic import make_run, synthetic_run

from fer_lib.files import ROOT, UsageError, sha256_of, sha256_of_file
from fer_tools import checking, model_card, paths, pretrained, renew
from fer_tools.json_files import read_json
from fer_tools.run import find, provenance, source_code
from fer_tools.run.edges import stage_edges
from fer_tools.run.run import Run
from fer_tools.run.stage import KEEPS_NOTEBOOK, begin, keep_notebook
from fer_tools.stages import REQUIRED, STAGES

OPTIONAL = {
    "optimisation": {"study": "example"},
    "game": {"trace": "example"},
    "transfer": {"source": "optimized_model"},
}


@pytest.fixture
def checkout(tmp_path, monkeypatch) -> Path:
    """Return a copy of what of the checkout is renewed, and of the code that it belongs to."""
    folder = tmp_path / "checkout"
    only_code = shutil.ignore_patterns("__pycache__", "*.keras", "*.npz", "*.svg")
    for name in ("fer_lib", "fer_tools", "notebooks", "tests/references", "results/reference"):
        shutil.copytree(ROOT / name, folder / name, ignore=only_code)
    (folder / "game").mkdir()
    shutil.copy(ROOT / "game" / "example_trace.json", folder / "game")
    monkeypatch.setattr(paths, "ROOT", folder)
    monkeypatch.setenv("FER_RESULTS", str(tmp_path / "results"))
    return folder


def read(path):
    return nbformat.read(path, as_version=4)


def stamp(path) -> str:
    return sha256_of(source_code.notebook_code(read(path)))


def is_numbered_without_gaps(notebook) -> bool:
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    results = [
        (number, output.execution_count)
        for number, cell in enumerate(code, 1)
        for output in cell.outputs
        if "execution_count" in output
    ]
    return [cell.execution_count for cell in code] == list(range(1, len(code) + 1)) and all(
        shown == number for number, shown in results
    )


def code_is_stale(run: Run) -> set[str]:
    return {
        stage
        for stage in run.document["stages"]
        for edge in stage_edges(run, stage)
        if edge.source == "code" and edge.state != "ok"
    }


# -------------------------------------------------------------------------------------------------- digests


def test_digests_alone_are_renewed(checkout, capsys):
    reference = Run(checkout / "results" / "reference")
    before, environment = (
        reference.document,
        reference.document["stages"][REQUIRED[0]]["inputs"]["environment"],
    )
    with open(checkout / "fer_lib" / "files.py", "a", encoding="utf-8") as handle:
        handle.write("\n\ndef another():\n    pass\n")  # plumbing: no notebook's numbers depend on it
    with open(checkout / "fer_lib" / "data" / "load.py", "a", encoding="utf-8") as handle:
        handle.write("\n\ndef another():\n    pass\n")
    changed = STAGES[REQUIRED[0]].path
    source = read(changed)
    [cell for cell in source.cells if cell.cell_type == "code"][1].source += "\nanother = 1"
    nbformat.write(source, changed)
    assert code_is_stale(reference)

    assert renew.main(["digests"]) == 0
    assert not code_is_stale(reference) and reference.excerpt
    after = reference.document
    assert after["stages"][REQUIRED[0]]["inputs"]["environment"] == environment
    for entry in (*before["stages"].values(), *after["stages"].values()):
        entry["inputs"].pop("code")
    assert after == before | {"excerpt": True}
    for kind in STAGES.values():
        committed, compared = read(kind.path), read(checkout / "tests" / "references" / kind.path.name)
        assert stamp(kind.path) == committed.metadata.fer.code == compared.metadata.fer.code
        own = [cell for cell in compared.cells if "injected-parameters" not in cell.metadata.get("tags", [])]
        assert [cell.source for cell in own] == [cell.source for cell in committed.cells]
        assert is_numbered_without_gaps(committed) and is_numbered_without_gaps(compared)
        outputs = [cell.get("outputs") for cell in read(ROOT / "notebooks" / kind.path.name).cells]
        without_numbers(outputs), without_numbers(kept := [cell.get("outputs") for cell in committed.cells])
        assert kept == outputs
    written = {path.read_bytes() for path in checkout.rglob("*.ipynb")}
    assert renew.main(["digests"]) == 0
    assert {path.read_bytes() for path in checkout.rglob("*.ipynb")} == written


def without_numbers(cells) -> None:
    for output in (output for outputs in cells for output in outputs or []):
        output.pop("execution_count", None)


def other_data(checkout):
    run = Run(checkout / "results" / "reference")
    entry = run.document["stages"][REQUIRED[0]]
    run.set_stage(REQUIRED[0], entry | {"inputs": entry["inputs"] | {"data": ["0" * 64]}})
    return "not only the code has changed (data)"


def another_cell(checkout):
    path = STAGES[REQUIRED[-1]].path
    notebook = read(path)
    notebook.cells.append(nbformat.v4.new_code_cell("1"))
    nbformat.write(notebook, path)
    return f"{path.name}: the one in {checkout / 'tests' / 'references'} has other cells"


@pytest.mark.parametrize("change", [other_data, another_cell])
def test_digests_are_refused_where_more_has_changed(checkout, capsys, change):
    said = change(checkout)
    before = {path: path.read_bytes() for path in checkout.rglob("*") if path.is_file()}
    assert renew.main(["digests"]) == 2
    err = capsys.readouterr().err
    assert said in err and len(err.splitlines()) == 1
    assert before == {path: path.read_bytes() for path in checkout.rglob("*") if path.is_file()}


# ------------------------------------------------------------------------------------------------ notebooks


def executed(stage: str, text: str):
    """Return a stage's notebook as papermill leaves it, each code cell having printed and shown `text`."""
    notebook = copy.deepcopy(read(STAGES[stage].path))
    injected = nbformat.v4.new_code_cell("run = 1", metadata={"tags": ["injected-parameters"]})
    notebook.cells.insert(2, injected)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for number, cell in enumerate(code, 1):
        cell.execution_count = number
        cell.metadata["papermill"] = {"start_time": "2026-01-01T00:00:00"}
        shown = nbformat.v4.new_output("execute_result", {"text/plain": text}, execution_count=number)
        cell.outputs = [nbformat.v4.new_output("stream", text=f"{text}\n"), shown]
    return notebook


def keep_executed(run: Run, stage: str, text: str) -> None:
    path = run.path / provenance.executed_notebook(stage)
    path.parent.mkdir(exist_ok=True)
    nbformat.write(executed(stage, text), path)
    keep_notebook(run, stage)


@pytest.fixture
def full(checkout, make_face_folder, tmp_path, monkeypatch) -> Run:
    """Return a run whose parameters pass for the default ones."""
    monkeypatch.setenv(KEEPS_NOTEBOOK, "1")
    run = make_run(synthetic_run(tmp_path / "template"), make_face_folder(tmp_path / "faces"))
    for stage in REQUIRED:
        keep_executed(run, stage, "of the full run")
    for name in ("report.pdf", "report.tex", "report.json", "report.html"):
        (run.path / name).write_text("{}")
    monkeypatch.setattr(checking, "resolve", lambda preset, given: run.document["parameters"])
    return run


def outputs_of(stage: str) -> set[str]:
    cells = (cell for cell in read(STAGES[stage].path).cells if cell.cell_type == "code")
    return {output.text for cell in cells for output in cell.outputs if output.output_type == "stream"}


def test_notebooks_show_the_newest_full_run(checkout, full, capsys):
    studies = {stage: outputs_of(stage) for stage in OPTIONAL}
    assert renew.main(["notebooks"]) == 0
    for stage in REQUIRED:
        notebook = read(STAGES[stage].path)
        nbformat.validate(notebook)
        assert outputs_of(stage) == {"of the full run\n"} and is_numbered_without_gaps(notebook)
        assert notebook.metadata.fer.code == stamp(STAGES[stage].path)
        assert not any("papermill" in cell.metadata for cell in notebook.cells)
    assert {stage: outputs_of(stage) for stage in OPTIONAL} == studies  # no run has them
    excerpt = Run(checkout / "results" / "reference")
    kept = {path.relative_to(excerpt.path).as_posix() for path in excerpt.path.rglob("*") if path.is_file()}
    assert {"run.json", "model.keras", "history.csv", "report.json", "tables/predictions.csv"} < kept
    assert {name for name in kept if name.startswith("figures/")} == {
        f"figures/{name}.svg" for name in ("loss", "accuracy", "confusion_matrix", "per_class")
    }
    assert not any(name.startswith(("checkpoints", "notebooks")) for name in kept)
    assert excerpt.document == full.document | {"excerpt": True}
    assert excerpt.model_path.read_bytes() == full.model_path.read_bytes()


def test_every_optional_stage_is_tried():
    assert set(OPTIONAL) == {name for name in STAGES if name not in REQUIRED}


@pytest.mark.parametrize("stage", OPTIONAL)
def test_an_optional_stage_is_shown_from_the_newest_run_that_has_it(
    checkout, full, tmp_path, monkeypatch, stage
):
    required = full.document["parameters"]
    monkeypatch.setattr(checking, "resolve", lambda preset, given: required)
    shutil.copytree(
        checkout / "tests" / "references" / "example_study", tmp_path / "results" / "example_study"
    )
    for text in ("an older study", "a study"):
        run = full if STAGES[stage].reads else find.create("study")
        chosen = OPTIONAL[stage] | {"run": str(run.path)}
        begin(stage, checking.build(stage, chosen)).finish()
        keep_executed(run, stage, text)
    assert renew.main(["notebooks"]) == 0
    assert outputs_of(stage) == {"a study\n"}
    assert outputs_of(REQUIRED[0]) == {"of the full run\n"}


def test_nothing_stale_is_shown(checkout, full, capsys):
    before = {path: path.read_bytes() for path in checkout.rglob("*") if path.is_file()}
    (full.path / "history.csv").write_text("epoch,loss\n")
    assert renew.main(["notebooks"]) == 2
    err = capsys.readouterr().err
    assert "history.csv is not what" in err and f"`fer run --resume {full.name}` first" in err
    assert before == {path: path.read_bytes() for path in checkout.rglob("*") if path.is_file()}


def test_without_a_run_nothing_is_shown(checkout, capsys):
    assert renew.main(["notebooks"]) == 2
    assert "no run of the preset section5; `fer run` first" in capsys.readouterr().err


# --------------------------------------------------------------------------------------- vectors, the network


def test_vectors_are_written_where_the_tests_look(checkout):
    path = checkout / "tests" / "references" / "face_to_input.json"
    path.unlink()
    assert renew.main(["vectors"]) == 0
    assert len(read_json(path)["vectors"]) == len(
        read_json(ROOT / "tests" / "references" / path.name)["vectors"]
    )


@pytest.fixture
def trained(tmp_path, monkeypatch) -> list[Run]:
    """Return two runs that differ in their seeds: copies of the reference run, taken for up to date."""
    monkeypatch.setenv("FER_RESULTS", str(tmp_path))
    monkeypatch.setattr(renew, "stale_reason", lambda run, stage, anywhere=True: None)
    monkeypatch.setattr(
        pretrained, "path", lambda name=pretrained.NAME: tmp_path / "shipped" / f"{name}.keras"
    )
    (tmp_path / "shipped").mkdir()
    runs = []
    for seed in (0, 1):
        run = Run(shutil.copytree(ROOT / "results" / "reference", tmp_path / f"basic_timestamp_{seed}"))
        parameters = run.document["parameters"]
        parameters["training"]["seed"] = seed
        run.update(parameters=parameters)
        runs.append(run)
    return runs


def test_a_network_is_shipped_with_its_card(trained):
    assert renew.main(["model", *(run.name for run in trained)]) == 0
    path = pretrained.path("basic_model")
    facts = read_json(path.with_suffix(".json"))
    assert facts["sha256"] == sha256_of_file(path)
    assert [seed["seed"] for seed in facts["seeds"]] == [0, 1]
    assert facts["metrics"]["test.accuracy"] == trained[0].metrics["test.accuracy"]
    assert not {"data", "test_data"} & set(facts["parameters"]) and "data.source" not in facts["metrics"]
    assert path.with_suffix(".md").read_text(encoding="utf-8") == model_card.card(facts)
    assert path.with_suffix(".svg").read_text(encoding="utf-8").startswith("<?xml")


def test_a_network_of_other_settings_or_a_stale_one_is_not_shipped(trained, capsys, monkeypatch):
    parameters = copy.deepcopy(trained[1].document["parameters"])
    parameters["training"]["epochs"] = 51
    trained[1].update(parameters=parameters)
    names = [run.name for run in trained]
    assert renew.main(["model", *names]) == 2
    assert f"{names[1]}: differs from {names[0]} in more than its seed" in capsys.readouterr().err
    monkeypatch.setattr(renew, "stale_reason", lambda run, stage, anywhere=True: "its data have changed")
    assert renew.main(["model", names[0]]) == 2
    assert "is stale (its data have changed)" in capsys.readouterr().err
    assert not list(pretrained.path().parent.iterdir())


@pytest.mark.parametrize("arguments", [[], ["model"], ["digests", "a_run"], ["everything"]])
def test_usage(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        renew.main(arguments)
    assert caught.value.code == 2 and "usage: renew" in capsys.readouterr().err


def test_an_installed_package_has_nothing_to_renew(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    with pytest.raises(UsageError, match="renew digests: needs the checkout"):
        paths.checkout("renew digests")
    assert renew.main(["digests"]) == 2
