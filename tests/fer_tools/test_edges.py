"""What makes a stage stale, and what is said of it."""

import os
import shutil

import pytest
from staged import TRAINING_METRICS, choose, settings, train

from fer_lib.files import UsageError
from fer_tools import paths, stages
from fer_tools.json_files import read_json, write_json
from fer_tools.run import find, provenance
from fer_tools.run.edges import stage_edges, stale_reason, strays
from fer_tools.run.run import Run
from fer_tools.run.stage import begin

pytestmark = pytest.mark.usefixtures("results")


def reasons(run: Run) -> dict[str, str | None]:
    """Why each stage would have to be executed, as somebody finds who opens the run afresh."""
    return {stage: stale_reason(find.open_run(run.path), stage) for stage in ("training", "overfitting")}


FRESH = {"training": None, "overfitting": None}


def test_what_is_unchanged_is_not_stale(run):
    assert reasons(run) == FRESH


def test_what_was_not_finished_is_stale(faces):
    run = train(faces)
    assert stale_reason(run, "overfitting") == "not finished"
    begin("overfitting", settings("overfitting", run))
    assert stale_reason(find.open_run(run.path), "overfitting") == "not finished"


def test_time_and_place_do_not_count(run, tmp_path):
    for path in [*run.path.rglob("*"), run.model_path]:
        os.utime(path, (1, 1))
    moved = tmp_path / "elsewhere"
    shutil.move(run.path.parent, moved)
    assert reasons(Run(moved / run.name)) == FRESH


def edit_metric(run, key, value):
    write_json(run.path / "metrics.json", run.metrics | {key: value})


@pytest.mark.parametrize(
    ("tamper", "stage", "said"),
    [
        (lambda run: edit_metric(run, "training.final_loss", 0.1), "training", "metrics.json"),
        (lambda run: edit_metric(run, "training.invented", 1), "training", "metrics.json"),
        (lambda run: edit_metric(run, "overfitting.best_epoch", 1), "overfitting", "metrics.json"),
        (lambda run: (run.path / "metrics.json").unlink(), "training", "metrics.json"),
        (
            lambda run: (run.path / "figures" / "loss.svg").write_text("drawn"),
            "overfitting",
            "figures/loss.svg",
        ),
        (lambda run: (run.path / "figures" / "loss.pdf").unlink(), "overfitting", "figures/loss.pdf"),
        (lambda run: run.model_path.write_bytes(b"weights 1"), "overfitting", "model.keras"),
        (lambda run: run.model_path.unlink(), "overfitting", "model.keras"),
        (lambda run: (run.path / "history.csv").write_text("epoch,loss\n1,0\n"), "training", "history.csv"),
        (
            lambda run: (run.path / "checkpoints" / "epoch_001.keras").write_bytes(b"x"),
            "training",
            "checkpoints/epoch_001.keras",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_output_that_was_changed_is_found_and_named(run, tamper, stage, said):
    tamper(run)
    found = reasons(run)
    assert said in found[stage] and stages.STAGES[stage].notebook in found[stage]


def test_a_changed_metric_is_found_at_its_own_stage_only(run):
    edit_metric(run, "overfitting.best_epoch", 1)
    assert reasons(run)["training"] is None


def test_a_changed_parameter_makes_its_stage_stale(run):
    document = run.document
    document["parameters"]["overfitting"]["window"] = 7
    write_json(run.path / "run.json", document)
    assert reasons(run) == {"training": None, "overfitting": "its parameters have changed"}


def test_changed_data_make_the_stages_that_read_them_stale(make_face_folder, tmp_path):
    own = make_face_folder(tmp_path / "own")
    run = choose(train(own))
    assert reasons(run) == FRESH
    picture = next(own.glob("train/happy/*"))
    picture.write_bytes(next(own.glob("train/neutral/*")).read_bytes())
    assert reasons(run) == {"training": "its data have changed", "overfitting": None}
    shutil.rmtree(own)
    assert "no such file" in reasons(run)["training"]


def test_other_results_upstream_make_what_reads_them_stale(run, faces):
    again = train(faces, run, seed=1)  # the same weights: what follows need not be repeated
    assert reasons(again)["overfitting"] is None
    again = begin("training", settings("training", run, data=str(faces), seed=2))
    again.record("training", TRAINING_METRICS | {"final_loss": 0.5})
    again.finish()
    assert reasons(again)["overfitting"] == "02_training has new results"


def test_a_changed_notebook_makes_its_stage_stale(run, monkeypatch, tmp_path):
    checkout = tmp_path / "checkout"
    (checkout / "notebooks").mkdir(parents=True)
    for folder in ("fer_lib", "fer_tools"):
        (checkout / folder).symlink_to(paths.ROOT / folder)
    for stage in ("training", "overfitting"):
        shutil.copy(stages.STAGES[stage].path, checkout / "notebooks")
    monkeypatch.setattr(paths, "ROOT", checkout)
    assert reasons(run) == FRESH
    path = stages.STAGES["training"].path
    notebook = read_json(path)
    markdown = next(cell for cell in notebook["cells"] if cell["cell_type"] == "markdown")
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    markdown["source"] = "# Other words"
    parameters = next(cell for cell in code if "parameters" in cell["metadata"].get("tags", []))
    parameters["source"] = "".join(parameters["source"]) + "\n# the values are recorded apart"
    code[-1]["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "42"}]
    write_json(path, notebook)
    assert reasons(run) == FRESH  # words, parameters and outputs are not the code
    assert "check" in code[-1]["metadata"]["tags"]  # of an exercise, after the end of the stage
    code[-1]["source"] = "".join(code[-1]["source"]) + "\nprint(42)"
    write_json(path, notebook)
    assert reasons(run) == FRESH
    code[2]["source"] = "".join(code[2]["source"]) + "\nprint(42)"
    write_json(path, notebook)
    assert reasons(run) == {"training": "its code has changed", "overfitting": None}


def test_another_version_of_a_package_makes_every_stage_stale(run, monkeypatch):
    now = provenance.versions()
    monkeypatch.setattr(provenance, "versions", lambda: now | {"keras": "9.9", "python": "3.99.0"})
    said = f"its environment has changed (python {now['python']}, now 3.99.0, keras {now['keras']}, now 9.9)"
    assert reasons(run) == {"training": said, "overfitting": said}


# -- excerpts ------------------------------------------------------------------------------------------------


@pytest.fixture
def excerpt(run) -> Run:
    """Give what was kept of a run under another name: no checkpoints, one figure, the model inside."""
    shutil.rmtree(run.path / "checkpoints")
    (run.path / "figures" / "loss.pdf").unlink()
    run.model_path.rename(run.path / "model.keras")
    run.update(excerpt=True)
    return Run(run.path.rename(run.path.with_name("excerpt")))


def states(run: Run) -> dict[str, str]:
    """Return the state of what is not ok, by file."""
    found = [*stage_edges(run, "training"), *stage_edges(run, "overfitting"), *strays(run)]
    return {edge.target.partition(" ")[0]: edge.state for edge in found if edge.state != "ok"}


LEFT_OUT = {
    "checkpoints/epoch_001.keras": "left out",
    "checkpoints/epoch_002.keras": "left out",
    "figures/loss.pdf": "left out",
}


def test_an_excerpt_lacks_files_and_has_another_name_and_is_well(excerpt):
    assert states(excerpt) == LEFT_OUT
    (excerpt.path / "metrics.json").unlink()
    assert states(excerpt) == LEFT_OUT | {"metrics.json": "left out"}


def test_only_run_json_makes_it_an_excerpt(excerpt):
    excerpt.update(excerpt=False)
    found = states(excerpt)
    assert set(found.values()) == {"missing", "altered"}
    assert found["run.json"] == "altered" and found["model.keras"] == "missing"
    excerpt.update(excerpt="yes")
    with pytest.raises(UsageError, match="\"excerpt\" is 'yes', neither true nor false"):
        states(excerpt)


@pytest.mark.parametrize("name", ["model.keras", "history.csv", "figures/loss.svg"])
def test_an_altered_file_of_an_excerpt_is_found(excerpt, name):
    with open(excerpt.path / name, "ab") as handle:
        handle.write(b" ")
    assert states(excerpt) == LEFT_OUT | {name: "altered"}


def test_an_altered_metric_and_a_foreign_file_of_an_excerpt_are_found(excerpt):
    edit_metric(excerpt, "training.final_loss", 0.1)
    (excerpt.path / "figures" / "mine.svg").write_text("drawn")
    assert states(excerpt) == LEFT_OUT | {"metrics.json": "altered", "figures/mine.svg": "altered"}


def test_the_model_of_a_whole_run_lies_beside_it_whatever_lies_in_it(run):
    (run.path / "model.keras").write_bytes(b"planted")
    assert run.model_path == run.path.with_name(f"{run.name}.keras") and reasons(run) == FRESH


def test_nothing_is_added_to_an_excerpt(excerpt):
    before = {path: path.stat().st_mtime_ns for path in excerpt.path.rglob("*")}
    with pytest.raises(UsageError, match=r"excerpt: an excerpt of a run, .*; `fer verify excerpt` executes"):
        begin("overfitting", settings("overfitting", excerpt))
    assert {path: path.stat().st_mtime_ns for path in excerpt.path.rglob("*")} == before
