"""What is stale or altered in a run is found and named; runs are verified and compared."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from synthetic import TABLES_OF, make_run, synthetic_run, synthetic_tables

from fer_lib.files import UsageError, sha256_of_file
from fer_tools import checking, commands, paths, pipeline, scratch
from fer_tools.checks import verify
from fer_tools.json_files import read_json, write_json
from fer_tools.report import build
from fer_tools.run import find, provenance
from fer_tools.run.edges import stale_reason
from fer_tools.run.run import Run
from fer_tools.run.stage import KEEPS_NOTEBOOK, begin, keep_notebook


@pytest.fixture(scope="module")
def template(tmp_path_factory) -> Path:
    """Return figures and tables."""
    assert set(synthetic_tables()) | {"predictions"} == {
        name for names in TABLES_OF.values() for name in names
    }
    return synthetic_run(tmp_path_factory.mktemp("template") / "run")


@pytest.fixture(scope="module")
def original(template, make_face_folder, tmp_path_factory) -> Iterator[Run]:
    """Return a run with its report; do not write into it."""
    folder = tmp_path_factory.mktemp("original")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FER_RESULTS", str(folder / "results"))
        patch.setenv(KEEPS_NOTEBOOK, "1")  # as `fer run` does
        run = make_run(template, make_face_folder(folder / "faces"))
        build.build(run.path)
        yield run


@pytest.fixture
def run(original, tmp_path, monkeypatch) -> Run:
    """Return a copy of a run with its report, and of its data."""
    folder = tmp_path / "results"
    shutil.copytree(original.path.parent, folder)
    monkeypatch.setenv("FER_RESULTS", str(folder))
    monkeypatch.setattr(pipeline, "interruptible", lambda: None)
    return Run(folder / original.name)


def edit(path: Path, **values) -> None:
    write_json(path, read_json(path) | {key.replace("__", "."): value for key, value in values.items()})


def append(path: Path, text: str = "\n") -> None:
    with open(path, "a", encoding="utf-8") as handle:
        handle.write(text)


# -- check -------------------------------------------------------------------------------------------------


def test_a_run_that_is_well_has_every_edge_from_report_to_data(run, capsys):
    assert commands.main(["check"]) == 0 == commands.main(["check", run.name])
    out, err = capsys.readouterr()
    assert not err and "stale" not in out and "altered" not in out
    rows = {tuple(re.split(r"  +(?:<-  )?", line)) for line in out.splitlines() if "  <-  " in line}
    assert {
        ("report.pdf", "fer report", "ok"),
        ("report", "text, metrics.json, tables, figures", "ok"),
        ("metrics.json (test.*)", "04_evaluation", "ok"),
        ("figures/ (10 files)", "04_evaluation", "ok"),
        ("tables/ (3 files)", "04_evaluation", "ok"),
        ("notebooks/04_evaluation.ipynb", "04_evaluation", "ok"),
        ("04_evaluation", "03_overfitting", "ok"),
        ("model.keras", "03_overfitting", "ok"),
        ("model.keras", "checkpoints/epoch_002.keras", "ok"),
        ("03_overfitting", "02_training", "ok"),
        ("checkpoints/ (2 files)", "02_training", "ok"),
        ("history.csv", "02_training", "ok"),
        *(("02_training", name, "ok") for name in ("code", "parameters", "data", "environment")),
    } <= rows


def test_checking_needs_no_tensorflow(run):
    code = "import sys; from fer_tools import commands; code = commands.main(['check']);"
    code += "print(code, [n for n in ('tensorflow', 'keras', 'pandas', 'matplotlib') if n in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=paths.ROOT, check=True
    )
    assert done.stdout.splitlines()[-1] == "0 []"


def swap_two_figures(run: Run) -> None:
    one, other = run.path / "figures" / "loss.svg", run.path / "figures" / "accuracy.svg"
    shutil.copy(other, run.path / "x")
    shutil.copy(one, other)
    shutil.move(run.path / "x", one)


def set_window(run: Run) -> None:
    parameters = run.document["parameters"]
    parameters["overfitting"]["window"] = 7
    run.update(parameters=parameters)


def swap_model_and_digest(run: Run) -> None:
    run.model_path.write_bytes(b"weights of another run")
    stages = run.document["stages"]
    stages["overfitting"]["outputs"]["model.keras"] = sha256_of_file(run.model_path)
    run.update(stages=stages)


@pytest.mark.parametrize(
    ("tamper", "said"),
    [
        (
            lambda run: edit(run.path / "metrics.json", test__accuracy=0.99),
            ["metrics.json (test.*)", "built from different files"],
        ),
        (lambda run: edit(run.path / "metrics.json", best=1), ["metric best", "built from different files"]),
        (
            lambda run: append(run.path / "figures/loss.svg"),
            ["figures/loss.svg", "built from different files"],
        ),
        (swap_two_figures, ["figures/accuracy.svg", "figures/loss.svg", "built from different files"]),
        (
            lambda run: (run.path / "figures/loss.pdf").unlink(),
            ["figures/loss.pdf", "built from different files"],
        ),
        (lambda run: shutil.copy(run.path / "figures/loss.svg", run.path / "figures/new.svg"), ["new.svg"]),
        (
            lambda run: append(run.path / "tables/counts.csv", "x,1,1,1,1,1\n"),
            ["tables/counts.csv", "built from different files"],
        ),
        (lambda run: run.model_path.write_bytes(b"weights 1"), ["model.keras is not what 03_overfitting"]),
        (lambda run: run.model_path.unlink(), ["model.keras is missing"]),
        (
            swap_model_and_digest,
            ["03_overfitting has new results", "none of the checkpoints", "built from different files"],
        ),
        (lambda run: append(run.path / "checkpoints/epoch_001.keras"), ["checkpoints/epoch_001.keras"]),
        (lambda run: append(run.path / "history.csv", "3,0.1\n"), ["history.csv"]),
        (lambda run: append(run.path / "notebooks/04_evaluation.ipynb"), ["notebooks/04_evaluation.ipynb"]),
        (lambda run: (run.path / "notebooks/01_exploration.ipynb").unlink(), ["notebooks/01_exploration"]),
        (lambda run: append(run.path / "report.html"), ["report.html is not what was built"]),
        (lambda run: append(run.path / "report.pdf"), ["report.pdf is not what was built"]),
        (lambda run: (run.path / "report.tex").unlink(), ["report.tex is missing"]),
        (lambda run: (run.path / "report.json").unlink(), ["report.json"]),
        (lambda run: (run.path / "report.json").write_text('{"inputs": 1}'), ["report.json"]),
        (lambda run: run.update(name="other"), ["name is 'other'", "built from different files"]),
        (
            lambda run: run.update(model_file="results/other.keras"),
            ["other.keras", "built from different files"],
        ),
        (set_window, ["its parameters have changed", "built from different files"]),
    ],
)
def test_what_was_altered_is_found_and_named(run, capsys, tamper, said):
    tamper(run)
    assert commands.main(["check", run.name]) == 2
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert len(lines) == len(said) and all(line.startswith(f"fer: {run.name}: ") for line in lines), err
    for text in said:
        assert any(text in line for line in lines), text
    assert sum(out.count(f"{state}\n") for state in ("altered", "stale", "missing")) == len(said)


def test_files_missing_from_one_folder_share_a_line(run, capsys):
    """A run without its checkpoints, of which there may be hundreds, is told from one that was altered."""
    first, *_, last = gone = sorted((run.path / "checkpoints").glob("*.keras"))
    for path in gone:
        path.unlink()
    assert commands.main(["check", run.name]) == 2
    out, err = capsys.readouterr()
    (line,) = err.splitlines()
    assert line.startswith(f"fer: {run.name}: checkpoints/: ") and "files are missing" in line
    assert first.name in line and last.name in line
    assert out.count("missing\n") == 1


def test_every_file_missing_from_a_folder_is_named(run, capsys):
    gone = sorted((run.path / "figures").iterdir())[1:9:3]  # three that are no neighbours
    for path in gone:
        path.unlink()
    assert commands.main(["check", run.name]) == 2
    line = next(x for x in capsys.readouterr().err.splitlines() if "files are missing" in x)
    assert all(path.name in line for path in gone) and "3 files" in line


@pytest.mark.parametrize(
    ("key", "other"),
    [("versions", {"keras": "9.9"}), ("git", {"commit": "0" * 40}), ("machine", {"cores": 99})],
)
def test_software_that_no_notebook_ran_with_is_found_and_not_reported(run, capsys, key, other):
    run.update(**{key: run.document[key] | other})
    build.build(run.path)  # so that it is not its contents that are found to be others
    assert commands.main(["check", run.name]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"run.json: `{key}` matches none of its notebooks' records" in line
    assert commands.main(["report", run.name]) == 2


def test_an_exploration_of_other_data_than_were_trained_on_is_found_and_not_reported(run, capsys):
    """Each stage is well in itself, but the report would describe other data than the model has seen."""
    document = run.document
    document["parameters"]["exploration"] |= {"seed": 7, "train_samples": 9}
    write_json(run.path / "run.json", document)
    document["stages"]["exploration"]["inputs"] = provenance.inputs(run, "exploration")
    write_json(run.path / "run.json", document)
    build.build(run.path)
    assert commands.main(["check", run.name]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "01_exploration has other data than 02_training (seed, train_samples)" in line
    assert commands.main(["report", run.name]) == 2


def test_a_report_with_anything_foreign_is_refused(run, capsys):
    (run.path / "figures" / "factors.svg").write_text("<svg/>")  # the text shows it where it exists
    (run.path / "figures" / "factors.pdf").write_text("a drawing")
    assert commands.main(["report", run.name]) == 2
    assert "figures/factors.pdf was not written by any notebook" in capsys.readouterr().err


def test_a_foreign_metric_is_one_line_whatever_its_name(run, capsys):
    write_json(run.path / "metrics.json", run.metrics | {"a\x1eb\n\x1b[2J": 1})
    assert commands.main(["check", run.name]) == 2
    said = capsys.readouterr()
    lines = said.err.splitlines()
    assert all(line.startswith(f"fer: {run.name}: ") for line in lines), lines
    assert sum("is no notebook's" in line for line in lines) == 1 and "\x1b" not in said.out + said.err


@pytest.mark.parametrize("what", ["code", "data", "environment"])
def test_what_is_stale_is_found_and_named(run, capsys, monkeypatch, what, tmp_path):
    code, versions = provenance.code_digest, provenance.versions
    if what == "code":
        monkeypatch.setattr(provenance, "code_digest", lambda *given: code(*given) + "x")
    elif what == "data":
        monkeypatch.setattr(provenance, "data_digests", lambda *given: ["another set"])
    else:
        monkeypatch.setattr(provenance, "versions", lambda: versions() | {"numpy": "9.9"})
    assert commands.main(["check", run.name]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == (3 if what == "data" else 4)  # 03 reads no data
    assert all(f"its {what} " in line for line in lines)


def test_data_that_are_gone_are_one_line_a_stage(run, capsys, monkeypatch):
    def gone(*_):
        raise UsageError("no such folder")

    monkeypatch.setattr(provenance, "data_digests", gone)
    assert commands.main(["check", run.name]) == 2
    err = capsys.readouterr().err
    assert err.count("no such folder") == len(err.splitlines()) == 3


def test_without_a_report_a_run_may_be_well(run, capsys):
    for path in run.path.glob("report.*"):
        path.unlink()
    assert commands.main(["check", run.name]) == 0
    assert "absent" in capsys.readouterr().out


def excerpt_of(run: Run, *kept: str) -> Run:
    """Keep some files of a run under another name, as results/reference does."""
    there = [path for path in run.path.rglob("*") if path.is_file()]
    for path in there:
        if not any(path.match(pattern) for pattern in (*kept, "run.json", "metrics.json", "tables/*")):
            path.unlink()
    shutil.move(run.model_path, run.path / "model.keras")
    run.update(excerpt=True)
    return Run(run.path.rename(run.path.with_name("reference")))


@pytest.mark.parametrize("kept", [("report.*",), ("report.json", "report.pdf"), ("figures/*",)])
def test_what_an_excerpt_left_out_is_said_and_is_no_fault(run, capsys, kept):
    written = {path.relative_to(run.path) for path in run.path.rglob("*") if path.is_file()}
    excerpt = excerpt_of(run, *kept)
    gone = written - {path.relative_to(excerpt.path) for path in excerpt.path.rglob("*")}
    if kept == ("figures/*",):  # without report.json, nobody knows what else there was of the report
        gone -= {Path(f"report.{kind}") for kind in ("html", "tex", "pdf", "json")}
    assert commands.main(["check", "reference"]) == 0
    out, err = capsys.readouterr()
    assert not err and f"an excerpt: {len(gone)} files of the run were left out, as its run.json says" in out
    assert "left out" in out and "missing" not in out and "stale" not in out


def test_a_report_without_its_record_is_not_taken_for_checked(run, capsys):
    excerpt_of(run, "report.pdf", "report.tex")
    assert commands.main(["check", "reference"]) == 0
    assert re.search(r"report.json +<- +fer report +left out\n", capsys.readouterr().out)


@pytest.mark.parametrize("name", ["report.pdf", "model.keras", "tables/counts.csv", "figures/loss.svg"])
def test_what_was_altered_in_an_excerpt_is_found(run, capsys, name):
    append(excerpt_of(run, "report.*", "figures/*.svg").path / name)
    assert commands.main(["check", "reference"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert any(f"{name} is not what" in line for line in lines)


def test_a_run_that_is_not_finished_is_not_well(run, capsys):
    stages = run.document["stages"]
    stages["evaluation"] = {"status": "running", "inputs": {}, "replaces": []}
    run.update(stages=stages)
    assert commands.main(["check", run.name]) == 2
    assert "not finished" in capsys.readouterr().err


def test_killed_between_last_cell_and_notebook_a_stage_is_not_done_and_training_is_not_lost(run, monkeypatch):
    monkeypatch.setenv(KEEPS_NOTEBOOK, "1")
    state = run.path / "checkpoints" / "state.npz"
    begun = run.parameters("training")
    chosen = checking.build("training", checking.plain(begun) | {"run": str(run.path)})
    again = begin("training", chosen)  # it was done: an output had been altered, nothing is trusted
    assert not list(state.parent.iterdir())
    state.write_bytes(b"all epochs")
    measured = {"model": {"parameters": 118_531}, "training": {"samples": 24}}
    for prefix, values in measured.items():
        again.record(prefix, values)
    again.finish()
    assert state.exists() and "killed" in stale_reason(Run(run.path), "training")
    again = begin("training", chosen)
    for prefix, values in measured.items():
        again.record(prefix, values)
    again.finish()
    assert state.exists()
    (run.path / "notebooks" / "02_training.ipynb").write_text("{}")
    keep_notebook(again, "training")
    assert not state.exists() and stale_reason(Run(run.path), "training") is None


def test_what_an_earlier_execution_wrote_and_this_one_did_not_is_removed(run):
    again = begin("overfitting", checking.build("overfitting", {"run": str(run.path), "window": 3}))
    again.keep_model(2)
    again.finish()
    left = {path.name for path in (run.path / "figures").iterdir()}
    assert "loss.svg" not in left and "counts.svg" in left


def test_a_hostile_run_json_removes_nothing_outside(run, tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    stages = run.document["stages"]
    stages["overfitting"]["outputs"]["../../victim"] = "0" * 64
    edit(run.path / "run.json", stages=stages)
    with pytest.raises(UsageError, match="stage 'overfitting' names a file that no notebook writes"):
        begin("overfitting", checking.build("overfitting", {"run": str(run.path), "window": 3}))
    assert victim.read_text() == "mine"


# -- verify ------------------------------------------------------------------------------------------------


@pytest.fixture
def executed(monkeypatch, original, tmp_path):
    """Copy instead of executing, with the changes that a test asks for; collect the runs so made."""
    made = []

    def execute_with(change=lambda run: None):
        def execute(run: Run) -> None:
            made.append(run)
            for folder in ("figures", "tables", "checkpoints", "history.csv", "metrics.json"):
                copy = shutil.copytree if (original.path / folder).is_dir() else shutil.copy
                copy(original.path / folder, run.path / folder)
            shutil.copy(original.model_path, run.model_path)
            document = original.document
            file = f"results/{run.model_path.name}"
            run.update(stages=document["stages"], versions=document["versions"], model_file=file)
            change(run)

        monkeypatch.setattr(pipeline, "execute", execute)
        return made

    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    return execute_with


def test_the_same_again_is_identical_and_leaves_nothing(run, executed, capsys, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    (made,) = [executed()]
    assert commands.main(["verify", run.name]) == 0
    out = capsys.readouterr().out
    assert out.endswith("\nidentical\n") and "0 not" in out and "report.pdf: 1 of 1 identical" in out
    assert sorted(tmp_path.rglob("*")) == before and not made[0].path.exists()
    assert made[0].document if made[0].path.exists() else True
    assert paths.results_folder() == run.path.parent


def test_files_that_were_given_away_are_compared_by_what_run_json_says_of_them(run, executed, capsys):
    executed()
    for gone in (run.path / "figures" / "loss.pdf", run.path / "report.json", run.model_path):
        gone.unlink()
    assert commands.main(["verify", run.name]) == 0
    out = capsys.readouterr().out
    assert "before: figures/loss.pdf is missing" in out and out.endswith("\nidentical\n")
    executed(lambda again: append(again.path / "figures" / "loss.pdf"))
    assert commands.main(["verify", run.name]) == 0
    out = capsys.readouterr().out
    assert "\n  figures/loss.pdf\n" in out and out.endswith("\nequal within tolerance\n")


def test_an_excerpt_is_compared_by_what_run_json_says_of_the_rest(run, executed, capsys):
    executed()
    excerpt_of(run, "report.pdf", "figures/*.svg")
    assert commands.main(["verify", "reference"]) == 0
    out = capsys.readouterr().out
    assert "before: an excerpt: " in out and out.endswith("\nidentical\n")
    executed(lambda again: append(again.path / "figures" / "loss.pdf"))
    assert commands.main(["verify", "reference"]) == 0
    out = capsys.readouterr().out
    assert "\n  figures/loss.pdf\n" in out and out.endswith("\nequal within tolerance\n")


def test_a_report_of_another_text_is_not_compared_and_an_altered_one_is(run, executed, capsys):
    """What notebooks write decides; the text and the templates of a report are no notebook's."""
    executed()
    (run.path / "report.pdf").write_bytes(b"of another text")
    record = read_json(run.path / "report.json")
    digest = sha256_of_file(run.path / "report.pdf")
    changed = {"inputs": "0" * 64, "outputs": record["outputs"] | {"report.pdf": digest}}
    write_json(run.path / "report.json", changed)
    assert commands.main(["verify", run.name]) == 0
    out = capsys.readouterr().out
    assert "report.pdf, report.tex: not compared (the report was built from different files)" in out
    assert out.endswith("\nidentical\n")
    write_json(run.path / "report.json", record)  # of this text, but other bytes
    assert commands.main(["verify", run.name]) == 0
    out = capsys.readouterr().out
    assert "not compared" not in out and out.endswith("\nequal within tolerance\n")


def test_under_another_name_a_run_comes_out_the_same(run, executed, capsys):
    executed()
    run.path.rename(run.path.with_name("reference"))
    assert commands.main(["verify", "reference"]) == 0
    assert capsys.readouterr().out.endswith("\nidentical\n")


@pytest.mark.parametrize("name", ["../../outside", "/", "", "a\0b"])
def test_a_name_that_somebody_made_up_leads_nowhere(run, executed, capsys, tmp_path, name):
    made = executed()
    run.update(name=name)
    before = sorted(tmp_path.rglob("*"))
    assert commands.main(["verify", run.name]) == 0
    assert made[0].path.parent.name.startswith("fer-lab-") and sorted(tmp_path.rglob("*")) == before


def test_within_tolerance_is_said_metric_by_metric(run, executed, capsys):
    accuracy = run.metrics["test.accuracy"] + 0.01
    executed(lambda again: edit(again.path / "metrics.json", test__accuracy=accuracy))
    assert commands.main(["verify", run.name]) == 0
    out = capsys.readouterr().out
    assert re.search(r"test.accuracy +0.73913 -> 0.74913 +equal within tolerance", out)
    assert ", 1 not" in out and out.endswith("\nequal within tolerance\n")


@pytest.mark.parametrize(
    "change",
    [
        lambda again: edit(again.path / "metrics.json", test__accuracy=0.5),
        lambda again: edit(again.path / "metrics.json", data__digest="another"),
        lambda again: edit(again.path / "metrics.json", test__invented=1),
    ],
)
def test_what_is_different_has_exit_code_1_and_is_kept(run, executed, capsys, change):
    made = executed(change)
    assert commands.main(["verify", run.name]) == 1
    out = capsys.readouterr().out
    kept = Path(re.search(r"the other run is kept in (.*)", out)[1])
    assert out.endswith("\ndifferent\n") and kept.name == made[0].name and Run(kept).metrics
    scratch.remove_abandoned()
    assert kept.exists() and not made[0].path.exists()


def test_numbers_that_were_invented_together_with_their_digest_are_found_by_executing_again(
    run, executed, capsys
):
    edit(run.path / "metrics.json", test__accuracy=0.99)
    stages = run.document["stages"]
    stages["evaluation"]["outputs"]["metrics.json"] = run.metrics_digest("evaluation")
    run.update(stages=stages)
    build.build(run.path)
    assert commands.main(["check", run.name]) == 0  # nothing is signed
    executed()
    assert commands.main(["verify", run.name]) == 1
    assert "different" in capsys.readouterr().out


def test_other_bytes_alone_are_not_identical(run, executed, capsys):
    executed(lambda again: append(again.path / "figures" / "loss.svg"))
    assert commands.main(["verify", run.name]) == 0
    out = capsys.readouterr().out
    assert "\n  figures/loss.svg\n" in out and out.endswith("\nequal within tolerance\n")


def test_a_failed_execution_leaves_nothing(run, executed, capsys, tmp_path):
    def fail(_):
        raise UsageError("02_training, cell 3: no")

    made = executed(fail)
    assert commands.main(["verify", run.name]) == 2
    assert not made[0].path.exists() and not list(tmp_path.glob("fer-verify-*"))
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_run_that_is_not_finished_is_not_verified(run, capsys):
    stages = run.document["stages"]
    del stages["evaluation"]
    run.update(stages=stages)
    assert commands.main(["verify", run.name]) == 2
    assert "04_evaluation is not finished" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("key", "a", "b", "near"),
    [
        ("test.accuracy", 0.85, 0.8699, True),
        ("test.accuracy", 0.85, 0.8701, False),
        ("test.accuracy_low", 0.85, 0.86, True),
        ("test.recall.happy", 0.80, 0.89, True),
        ("test.recall.happy", 0.80, 0.91, False),
        ("test.ece", 0.02, 0.06, True),
        ("test.ece", 0.02, 0.08, False),
        ("test.recall.happy", None, 0.8, False),
        ("test.loss", 0.400, 0.418, True),
        ("test.loss", 0.400, 0.425, False),
        ("training.final_val_loss", 1.0, 1.04, True),
        ("training.final_accuracy", 0.5, 0.51, True),
        ("training.learning_rate", 0.001, 0.0012, False),
        ("training.images", 4000, 4001, False),
        ("overfitting.best_epoch", 40, 44, True),
        ("overfitting.best_epoch", 40, 46, False),
        ("overfitting.onset_epoch", None, 46, False),
        ("overfitting.found", True, False, False),
        ("overfitting.gap", -0.01, 0.01, True),
        ("overfitting.gap", -0.05, 0.05, False),
        ("overfitting.sentence", "epoch 40", "epoch 41", True),
        ("overfitting.rule", "a", "b", False),
        ("overfitting.rule", "more than 0.0017 above it", "more than 0.0021 above it", True),
        ("test.images", 1500, 1499, False),
        ("test.majority_class", "happy", "neutral", False),
        ("data.digest", "a", "b", False),
        ("data.counts", 1.0, 1.01, False),
    ],
)
def test_the_tolerance(key, a, b, near):
    assert verify.tolerated(key, a, b, 50) is near is verify.tolerated(key, b, a, 50)


# -- compare -----------------------------------------------------------------------------------------------


@pytest.fixture
def several(template, face_folder, tmp_path, monkeypatch):
    """Make runs by their hits and seeds."""
    monkeypatch.setenv("FER_RESULTS", str(tmp_path / "several"))

    def make(*given: tuple[str, dict]) -> list[str]:
        return [make_run(template, face_folder, hits, **values).name for hits, values in given]

    return make


def test_two_runs_are_compared_image_by_image(several, capsys):
    names = several(("+" * 30 + "-" * 10, {}), ("+" * 20 + "-" * 20, {"dropout": 0.5}))
    capsys.readouterr()
    assert commands.main(["compare", *names]) == 0
    out = capsys.readouterr().out
    assert f"A  {names[0]}  seed 0  75.0% (59.8% to 85.8%)" in out and "40 test images" in out
    assert "differing: dropout\n" in out
    assert (
        "A is better than B by 25.0 percentage points: A alone is right on 10 of 40 images, B alone on 0"
        in out
    )
    assert "p = 0.002" in out and "mean" not in out


def test_a_difference_that_may_be_chance_is_none(several, capsys):
    names = several(("+" * 30 + "-" * 10, {}), ("-" + "+" * 29 + "+" + "-" * 9, {"dropout": 0.5}))
    assert commands.main(["compare", *names]) == 0
    assert "No difference between A and B is shown" in capsys.readouterr().out


def test_several_seeds_are_mean_and_spread_never_the_best(several, capsys):
    names = several(("++++------", {"seed": 1}), ("+++++-----", {"seed": 2}), ("++++++----", {"seed": 3}))
    capsys.readouterr()
    assert commands.main(["compare", *names]) == 0
    out = capsys.readouterr().out
    assert "differing: seed\n" in out and "best" not in out
    expected = "over 3 seeds: mean 50.0%, standard deviation 10.0 percentage points, 40.0% to 60.0%"
    assert expected in out


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([("++", {}), ("+++", {})], "test images are not those"),
        ([("++", {"seed": 1}), ("++", {"seed": 2}), ("++", {"seed": 2})], "seed occurs twice"),
        ([("++", {}), ("++", {"seed": 2}), ("++", {"dropout": 0.1})], "must differ only in the seed"),
        ([("++", {})], "two or more"),
    ],
)
def test_what_cannot_be_compared_is_refused(several, capsys, given, said):
    names = several(*given)
    capsys.readouterr()
    assert commands.main(["compare", *names]) == 2
    out, err = capsys.readouterr()
    assert said in err and len(err.splitlines()) == 1
    assert "%" not in out  # a table of accuracies invites to take the best


def test_another_test_set_with_the_same_names_is_refused(
    several, capsys, make_face_folder, tmp_path, template
):
    names = several(("++", {}))
    names.append(make_run(template, make_face_folder(tmp_path / "other"), "++").name)
    assert commands.main(["compare", *names]) == 2
    assert "test images are not those" in capsys.readouterr().err


def test_altered_predictions_are_not_compared(several, capsys):
    names = several(("++-", {}), ("++-", {"seed": 1}))
    append(find.open_run(names[1]).path / "tables" / "predictions.csv", "f3,happy,happy\n")
    assert commands.main(["compare", *names]) == 2
    assert "predictions.csv is not what 04_evaluation wrote" in capsys.readouterr().err
    document = find.open_run(names[1]).document
    del document["stages"]["evaluation"]
    (find.open_run(names[1]).path / "run.json").write_text(json.dumps(document))
    assert commands.main(["compare", *names]) == 2
    assert "04_evaluation is not finished" in capsys.readouterr().err
