"""A stage that is open: metrics that are its own, outputs that are kept, and how it is begun again."""

import dataclasses
import math
import os

import numpy as np
import pytest
from staged import choose, settings, train

from fer_lib.files import UsageError
from fer_tools import checking, pipeline
from fer_tools.json_files import read_json
from fer_tools.run import find, provenance, stage
from fer_tools.run.edges import stale_reason
from fer_tools.run.stage import begin
from fer_tools.stages import STAGES

pytestmark = pytest.mark.usefixtures("results")


# -- open, or not --------------------------------------------------------------------------------------------


def test_a_run_that_is_only_read_has_nothing_to_write_with(run):
    """Of a run found by name no stage is open: what would write into one is not there at all."""
    read = find.open_run(run.path)
    writing = [name for name in vars(stage.OpenStage) if not name.startswith("_")]
    assert set(writing) == {"record", "keep", "save_figure", "save_table", "keep_model", "finish"}
    for name in writing:
        with pytest.raises(AttributeError, match=name):
            getattr(read, name)
    with pytest.raises(AttributeError):
        read.record("test", {"accuracy": 1.0})
    assert "test.accuracy" not in read.metrics


def test_what_begin_opens_is_a_run_and_more(faces):
    opened = begin("training", settings("training", data=str(faces)))
    assert isinstance(opened, stage.OpenStage) and opened.stage == "training"
    opened.record("training", {"samples": 24})
    (opened.path / "history.csv").write_text("epoch\n1\n")
    opened.keep(opened.path / "history.csv")
    opened.finish()
    read = find.open_run(opened.path)
    assert type(read) is not stage.OpenStage and read.metrics == {"training.samples": 24}
    assert set(read.require("training")["outputs"]) == {"history.csv", "metrics.json"}


# -- metrics -----------------------------------------------------------------------------------------------


def test_metrics_are_plain_and_flat(faces):
    run = train(faces)
    run.record(
        "training", {"a": np.float32(0.5), "b": np.int64(3), "c": np.bool_(True), "d": None, "e": "text"}
    )
    kept = read_json(run.path / "metrics.json")
    assert {key: kept[f"training.{key}"] for key in "abcde"} == {
        "a": 0.5,
        "b": 3,
        "c": True,
        "d": None,
        "e": "text",
    }
    assert kept["training.c"] is True and kept["training.samples"] == 24 and kept == run.metrics


@pytest.mark.parametrize(
    "value", [math.nan, math.inf, np.float32("nan"), [1], {"a": 1}, np.zeros(2), 1j, b"x"]
)
def test_what_no_report_can_state_is_refused_and_keeps_what_was_there(faces, value):
    run = train(faces)
    with pytest.raises(UsageError, match=r"training.bad"):
        run.record("training", {"good": 1, "bad": value})
    assert "training.good" not in run.metrics and run.metrics["training.samples"] == 24


@pytest.mark.parametrize("prefix", ["test", "data", "overfitting", "train", "training.final", ""])
def test_a_stage_writes_no_metrics_of_another(faces, prefix):
    run = train(faces)
    with pytest.raises(UsageError, match="another notebook"):
        run.record(prefix, {"accuracy": 1.0})


def test_a_stage_begun_again_forgets_its_metrics_and_keeps_the_others(run):
    before = run.metrics
    again = begin("overfitting", settings("overfitting", run))
    assert again.metrics == {
        key: value for key, value in before.items() if not key.startswith("overfitting.")
    }


def test_run_json_says_what_it_was_made_with(run, faces):
    document = run.document
    assert document["parameters"]["training"] == checking.plain(settings("training", data=str(faces)))
    assert set(provenance.PACKAGES) < set(document["versions"])
    assert document["versions"]["python"].startswith("3.")
    assert set(document["git"]) == {"commit", "dirty"} and document["machine"]["cores"] == os.cpu_count()
    entry = document["stages"]["training"]
    assert entry["status"] == "done" and entry["seconds"] >= 0
    assert set(entry["outputs"]) == {
        "checkpoints/epoch_001.keras",
        "checkpoints/epoch_002.keras",
        "history.csv",
        "metrics.json",
    }
    assert run.parameters("training") == settings("training", data=str(faces))
    with pytest.raises(UsageError, match="no evaluation yet"):
        run.parameters("evaluation")


def test_the_chosen_model_is_the_epoch_asked_for(faces):
    run = choose(train(faces), epoch=1)
    assert run.model_path.read_bytes() == b"weights 1"
    assert run.document["model_file"] == f"results/{run.name}.keras"


def test_figures_and_tables_are_kept(faces):
    pd = pytest.importorskip("pandas")
    from matplotlib.figure import Figure

    run = begin("training", settings("training", data=str(faces)))
    table = pd.DataFrame({"class": ["ü", "b"], "n": [1, 2]})
    assert run.save_table("counts", table) is table
    figure = Figure()
    assert run.save_figure("loss", figure) is figure
    run.finish()
    assert (run.path / "tables" / "counts.csv").read_text(encoding="utf-8") == "class,n\nü,1\nb,2\n"
    assert {"tables/counts.csv", "figures/loss.svg", "figures/loss.pdf"} < set(
        run.document["stages"]["training"]["outputs"]
    )


# -- begun again ---------------------------------------------------------------------------------------------


def test_a_stage_begun_again_keeps_its_checkpoints_only_for_the_same_inputs(faces):
    run = begin("training", settings("training", data=str(faces)))
    checkpoint = run.path / "checkpoints" / "state.npz"
    checkpoint.parent.mkdir()
    checkpoint.write_bytes(b"state")
    begin("training", settings("training", run, data=str(faces)))
    assert checkpoint.exists()
    begin("training", settings("training", run, data=str(faces), seed=1))
    assert not checkpoint.exists()


def test_the_time_of_an_interrupted_training_counts_until_its_last_whole_epoch(faces):
    run = begin("training", settings("training", data=str(faces)))
    state = run.path / "checkpoints" / "state.npz"
    for seconds in (100, 20):  # interrupted twice
        state.parent.mkdir(exist_ok=True)
        state.write_bytes(b"state")
        begun = run.document["stages"]["training"]["begun"]
        os.utime(state, (begun + seconds, begun + seconds))
        run = begin("training", settings("training", run, data=str(faces)))
    run.finish()
    entry = run.document["stages"]["training"]
    assert 120 <= entry["seconds"] < 125 and not {"begun", "spent"} & set(entry)


def test_a_finished_stage_begun_again_starts_afresh(faces):
    """It is executed because an output was damaged: nothing of it may be trusted."""
    run = train(faces)
    (run.path / "checkpoints" / "epoch_001.keras").write_bytes(b"swapped")
    begin("training", settings("training", run, data=str(faces)))
    assert not list((run.path / "checkpoints").glob("*"))


def test_a_name_of_a_parameter_in_run_json_is_never_code(faces, results, tmp_path):
    resolved = checking.resolve("smoke", {"data": str(faces)})
    mark = tmp_path / "executed"
    resolved["overfitting"] |= {f"__import__('pathlib').Path({str(mark)!r}).touch(); patience": 5}
    run = find.create("basic_model_3_epochs")
    run.update(parameters=resolved)
    with pytest.raises(UsageError, match=r"^parameter .*: unknown; valid names are"):
        pipeline.execute(run)
    assert not mark.exists() and not (run.path / "notebooks").exists()


def test_a_file_outside_the_run_counts_whether_or_not_its_stage_is_optional(faces, tmp_path, monkeypatch):
    outside = tmp_path / "outside.txt"
    outside.write_text("one")
    kind = dataclasses.replace(STAGES["training"], files=lambda chosen: {"outside": outside})
    monkeypatch.setitem(STAGES, "training", kind)
    run = train(faces)
    assert stale_reason(run, "training") is None
    outside.write_text("two")
    assert stale_reason(run, "training") == "its outside have changed"
