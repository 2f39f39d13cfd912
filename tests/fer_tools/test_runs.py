"""A run: names that never collide, metrics that belong to a stage, and what makes a stage stale."""

import json
import math
import os
import shutil
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from fer_lib import runs
from fer_lib.files import UsageError, read_json, write_json
from fer_tools import checking, paths, stages
from fer_tools.run import find, provenance, stage
from fer_tools.run.run import Run

TRAINING_METRICS = {"samples": 24, "final_loss": 1.25}


@pytest.fixture(scope="module")
def faces(make_face_folder, tmp_path_factory) -> Path:
    """Give a folder of a few faces."""
    return make_face_folder(tmp_path_factory.mktemp("faces") / "set")


@pytest.fixture(autouse=True)
def results(tmp_path, monkeypatch) -> Path:
    """Give an empty results folder of this test."""
    folder = tmp_path / "results"
    monkeypatch.setenv("FER_RESULTS", str(folder))
    return folder


def settings(stage: str, run: Run | None = None, **values):
    return checking.build(stage, values | ({"run": str(run.path)} if run else {}))


def train(faces: Path, run: Run | None = None, **values) -> Run:
    """Go through what notebook 02 does to a run, without training."""
    run = stage.begin("training", settings("training", run, data=str(faces), **values))
    for epoch in (1, 2):
        path = run.path / "checkpoints" / f"epoch_{epoch:03d}.keras"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"weights %d" % epoch)
        run.keep(path)
    (run.path / "history.csv").write_text("epoch,loss\n1,1.0\n2,0.9\n")
    run.keep(run.path / "history.csv")
    run.record("model", {"name": "basic_model", "parameters": 118_531})
    run.record("training", TRAINING_METRICS)
    run.finish()
    return run


def choose(run: Run | None = None, epoch: int = 2) -> Run:
    """Go through what notebook 03 does to a run."""
    run = stage.begin("overfitting", settings("overfitting", run))
    run.keep_model(epoch)
    for suffix in (".svg", ".pdf"):
        path = run.path / "figures" / f"loss{suffix}"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"a curve {suffix}")
        run.keep(path)
    run.record("overfitting", {"best_epoch": epoch, "found": True, "onset_epoch": None})
    run.finish()
    return run


@pytest.fixture
def run(faces) -> Run:
    """Give a run that is trained and whose model is chosen."""
    return choose(train(faces))


def reasons(run: Run) -> dict[str, str | None]:
    """Why each stage would have to be executed, as somebody finds who opens the run afresh."""
    return {stage: find.open_run(run.path).stale_reason(stage) for stage in ("training", "overfitting")}


FRESH = {"training": None, "overfitting": None}


# -- names -------------------------------------------------------------------------------------------------


def test_a_run_is_named_after_its_label_and_the_time(results):
    before = int(time.time())
    run = find.create("basic_model_50_epochs")
    created = run.document["created"]
    assert run.path == results / f"basic_model_50_epochs_timestamp_{created}"
    assert before <= created <= time.time() + 1
    assert run.document == {"name": run.name, "created": created, "parameters": {}, "stages": {}}
    assert run.model_path == results / f"{run.name}.keras"


def test_many_runs_at_once_get_different_names(results, monkeypatch):
    monkeypatch.setattr(runs.time, "time", lambda: 1_760_000_000.5)  # all in the same second
    barrier = threading.Barrier(8)

    def several(_):
        barrier.wait()
        return [find.create("same") for _ in range(12)]

    with ThreadPoolExecutor(8) as pool:
        made = [run for part in pool.map(several, range(8)) for run in part]
    assert len({run.name for run in made}) == 96 == len(os.listdir(results))
    assert all(run.document["name"] == run.name for run in made)  # no one wrote into another's


def test_many_processes_at_once_get_different_names(results):
    code = "from fer_lib import runs\nfor _ in range(20): print(runs.create('same').name)"
    environment = os.environ | {"PYTHONPATH": str(paths.ROOT)}
    started = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment)
        for _ in range(4)
    ]
    names = [name for process in started for name in process.communicate()[0].split()]
    assert len(names) == len(set(names)) == 80 == len(os.listdir(results))


@pytest.mark.parametrize("place", ["itself", "above"])
def test_a_file_in_place_of_the_results_folder_is_refused(results, monkeypatch, place):
    """And does not make it try one second after the other for ever."""
    results.write_text("mine")
    if place == "above":
        monkeypatch.setenv("FER_RESULTS", str(results / "deeper"))
    tries = iter(range(1_760_000_000, 1_760_000_100))
    mkdir = Path.mkdir

    def counted(self, *arguments, **options):
        next(tries)  # StopIteration after a hundred
        return mkdir(self, *arguments, **options)

    monkeypatch.setattr(Path, "mkdir", counted)
    with pytest.raises(UsageError) as caught:
        find.create("x")
    assert str(results) in str(caught.value) and "\n" not in str(caught.value)
    assert results.read_text() == "mine"


def test_a_full_disk_is_an_error_of_one_line(results, monkeypatch):
    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "mkdir", fail)
    with pytest.raises(UsageError, match="No space left"):
        find.create("x")


# -- finding -----------------------------------------------------------------------------------------------


def test_a_run_is_found_by_name_directory_or_model_file(results, monkeypatch):
    run = find.create("a")
    for name in (run.name, run.path, str(run.path), f"{run.path}/", run.model_path, run.model_path.name):
        assert find.open_run(name).path == run.path
    monkeypatch.chdir(results)
    assert find.open_run(f"./{run.name}").path == run.path


@pytest.mark.parametrize("name", ["", "nothing", ".keras", "x" * 5000, "a\nb", "a\0b"])
def test_what_does_not_exist_is_no_run(name):
    with pytest.raises(UsageError) as caught:
        find.open_run(name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "document",
    [
        None,
        "",
        "{",
        "[]",
        "3",
        "{}",
        '{"name": "x", "created": 1, "parameters": {}}',
        '{"name": "x", "created": "now", "parameters": {}, "stages": {}}',
        '{"name": "x", "created": 1, "parameters": [], "stages": {}}',
        '{"name": "x", "created": 1, "parameters": {}, "stages": {"training": 5}}',
        '{"name": "x", "created": 1, "parameters": {}, "stages": {"training": {}}}',
        '{"name": "x", "created": 1, "parameters": {"training": 5}, "stages": {}}',
    ],
)
def test_a_directory_that_is_not_a_run_is_refused(tmp_path, document):
    folder = tmp_path / "results" / "x_timestamp_1"
    folder.mkdir(parents=True)
    if document is not None:
        (folder / "run.json").write_text(document)
    with pytest.raises(UsageError) as caught:
        find.open_run(folder)
    assert str(folder) in str(caught.value) and "\n" not in str(caught.value)


def make_cheap(results: Path, created: int, done: tuple[str, ...] = (), label: str = "a") -> Run:
    """Write a run directory by hand."""
    name = f"{label}_timestamp_{created}"
    (results / name).mkdir(parents=True)
    stages = {stage: {"status": "done", "digest": "0", "seconds": 1.0, "outputs": {}} for stage in done}
    values = checking.resolve("smoke", {})
    write_json(
        results / name / "run.json",
        {"name": name, "created": created, "parameters": values, "stages": stages},
    )
    write_json(
        results / name / "metrics.json",
        {"test.accuracy": 0.5, "training.samples": 300, "model.parameters": 9},
    )
    return Run(results / name)


def test_every_lists_the_newest_first_and_newest_has_the_stages(results):
    assert find.all_runs() == []
    with pytest.raises(UsageError, match="fer run"):
        find.newest()
    made = [
        make_cheap(results, created, done) for created, done in [(9, ()), (1000, ("training",)), (80, ())]
    ]
    make_cheap(results, 500, ("training", "overfitting"), label="z")
    (results / "half_timestamp_5000").mkdir()  # a directory just made
    (results / "notes").mkdir()
    assert [document["created"] for _, document in find.all_runs()] == [1000, 500, 80, 9]
    assert find.newest().name == made[1].name
    assert find.newest(("training",)).name == made[1].name
    assert find.newest(("training", "overfitting")).document["created"] == 500
    with pytest.raises(UsageError, match="training and evaluation"):
        find.newest(("training", "evaluation"))


def test_a_notebook_alone_starts_a_run_or_takes_the_newest_that_fits(faces, results):
    trained = train(faces, epochs=2)
    assert trained.name.startswith("basic_model_2_epochs_timestamp_")
    explored = stage.begin("exploration", settings("exploration", data=str(faces)))
    assert explored.path != trained.path and explored.name.startswith("exploration_timestamp_")
    assert choose().path == trained.path  # though the exploration is newer
    with pytest.raises(UsageError, match="no training yet"):
        stage.begin("overfitting", settings("overfitting", explored))


# -- metrics -----------------------------------------------------------------------------------------------


def test_metrics_are_plain_and_flat(faces):
    run = train(faces)
    run.stage = "training"
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
    run.stage = "training"
    with pytest.raises(UsageError, match=r"training.bad"):
        run.record("training", {"good": 1, "bad": value})
    assert "training.good" not in run.metrics and run.metrics["training.samples"] == 24


@pytest.mark.parametrize("prefix", ["test", "data", "overfitting", "train", "training.final", ""])
def test_a_stage_writes_no_metrics_of_another(faces, prefix):
    run = train(faces)
    run.stage = "training"
    with pytest.raises(UsageError, match="another notebook"):
        run.record(prefix, {"accuracy": 1.0})


def test_a_stage_begun_again_forgets_its_metrics_and_keeps_the_others(faces, run):
    before = run.metrics
    again = stage.begin("overfitting", settings("overfitting", run))
    assert again.metrics == {
        key: value for key, value in before.items() if not key.startswith("overfitting.")
    }


def test_run_json_says_what_it_was_made_with(run, faces):
    document = run.document
    assert document["parameters"]["training"] == checking.plain(settings("training", data=str(faces)))
    assert set(provenance.PACKAGES) < set(document["versions"]) and document["versions"]["python"].startswith(
        "3."
    )
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

    run = stage.begin("training", settings("training", data=str(faces)))
    table = pd.DataFrame({"class": ["ü", "b"], "n": [1, 2]})
    assert run.save_table("counts", table) is table
    figure = Figure()
    assert run.save_figure("loss", figure) is figure
    run.finish()
    assert (run.path / "tables" / "counts.csv").read_text(encoding="utf-8") == "class,n\nü,1\nb,2\n"
    assert {"tables/counts.csv", "figures/loss.svg", "figures/loss.pdf"} < set(
        run.document["stages"]["training"]["outputs"]
    )


# -- staleness ---------------------------------------------------------------------------------------------


def test_what_is_unchanged_is_not_stale(run):
    assert reasons(run) == FRESH


def test_what_was_not_finished_is_stale(faces):
    run = train(faces)
    assert run.stale_reason("overfitting") == "not finished"
    stage.begin("overfitting", settings("overfitting", run))
    assert find.open_run(run.path).stale_reason("overfitting") == "not finished"


def test_time_and_place_do_not_count(run, tmp_path, monkeypatch):
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
    again = stage.begin("training", settings("training", run, data=str(faces), seed=2))
    again.record("training", TRAINING_METRICS | {"final_loss": 0.5})
    again.finish()
    assert reasons(again)["overfitting"] == "02_training has other results now"


def test_a_changed_notebook_makes_its_stage_stale(run, monkeypatch, tmp_path):
    for stage in ("training", "overfitting"):
        shutil.copy(stages.notebook_path(stage), tmp_path)
    monkeypatch.setattr(
        runs, "notebook_path", lambda stage: tmp_path / f"{stages.STAGES[stage].notebook}.ipynb"
    )
    assert reasons(run) == FRESH
    path = stages.notebook_path("training")
    notebook = read_json(path)
    markdown = next(cell for cell in notebook["cells"] if cell["cell_type"] == "markdown")
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    markdown["source"] = "# Other words"
    parameters = next(cell for cell in code if "parameters" in cell["metadata"].get("tags", []))
    parameters["source"] = "".join(parameters["source"]) + "\n# the values are recorded apart"
    code[-1]["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "42"}]
    write_json(path, notebook)
    assert reasons(run) == FRESH  # words, parameters and outputs are not the code
    code[-1]["source"] = "".join(code[-1]["source"]) + "\nprint(42)"
    write_json(path, notebook)
    assert reasons(run) == {"training": "its code has changed", "overfitting": None}


def test_another_version_of_a_package_makes_every_stage_stale(run, monkeypatch):
    now = provenance.versions()
    monkeypatch.setattr(runs, "versions", lambda: now | {"keras": "9.9", "python": "3.99.0"})
    said = f"its environment has changed (python {now['python']}, now 3.99.0, keras {now['keras']}, now 9.9)"
    assert reasons(run) == {"training": said, "overfitting": said}


@pytest.fixture
def checkout(tmp_path, monkeypatch) -> Path:
    """Give a copy of the code and the notebooks, whose digests count instead of the real ones'."""
    for folder in ("fer_lib", "notebooks"):
        shutil.copytree(paths.ROOT / folder, tmp_path / "checkout" / folder)
    monkeypatch.setattr(runs, "ROOT", tmp_path / "checkout")
    return tmp_path / "checkout"


@pytest.mark.parametrize(
    ("module", "stale", "fresh"),
    [
        ("report.py", "", "exploration training overfitting evaluation"),
        ("cli.py", "", "exploration training overfitting evaluation"),
        ("pipeline.py", "", "exploration training overfitting evaluation"),
        ("fetch.py", "", "exploration training overfitting evaluation"),
        ("figures.py", "exploration overfitting evaluation", "training optimisation"),
        ("drawing.py", "exploration overfitting evaluation optimisation", "training"),
        ("effects.py", "optimisation", "exploration training overfitting evaluation"),
        ("training.py", "training evaluation", "exploration overfitting"),
        ("models/basic_model.py", "exploration training evaluation", "overfitting"),
        ("models/__init__.py", "exploration training evaluation", "overfitting"),
        ("augmentation.py", "exploration training", "overfitting"),
        ("datasets.py", "exploration training evaluation", ""),
        ("_readers.py", "exploration training evaluation", ""),
        ("verify.py", "exploration evaluation", "training overfitting"),
        ("overfitting.py", "overfitting", "training"),
        ("evaluation.py", "evaluation", "training overfitting"),
    ],
)
def test_a_changed_module_makes_those_stages_stale_that_reach_it(checkout, module, stale, fresh):
    before = {stage: provenance.code_digest(stage, "basic_model") for stage in stages.STAGES}
    with open(checkout / "fer_lib" / module, "a") as handle:
        handle.write("\n_CHANGED = True\n")
    changed = {
        stage for stage, digest in before.items() if provenance.code_digest(stage, "basic_model") != digest
    }
    assert set(stale.split()) <= changed and not changed & set(fresh.split())


def test_another_network_makes_nothing_stale(checkout):
    before = {stage: provenance.code_digest(stage, "basic_model") for stage in stages.STAGES}
    source = (checkout / "fer_lib" / "models" / "basic_model.py").read_text()
    (checkout / "fer_lib" / "models" / "other_model.py").write_text(
        source.replace("32, 64, 128", "8, 16, 32")
    )
    assert before == {stage: provenance.code_digest(stage, "basic_model") for stage in stages.STAGES}
    assert provenance.code_digest("training", "other_model") != before["training"]


def test_a_stage_begun_again_keeps_its_checkpoints_only_for_the_same_inputs(faces):
    run = stage.begin("training", settings("training", data=str(faces)))
    checkpoint = run.path / "checkpoints" / "state.npz"
    checkpoint.parent.mkdir()
    checkpoint.write_bytes(b"state")
    stage.begin("training", settings("training", run, data=str(faces)))
    assert checkpoint.exists()
    stage.begin("training", settings("training", run, data=str(faces), seed=1))
    assert not checkpoint.exists()


def test_the_time_of_an_interrupted_training_counts_until_its_last_whole_epoch(faces):
    run = stage.begin("training", settings("training", data=str(faces)))
    state = run.path / "checkpoints" / "state.npz"
    for seconds in (100, 20):  # interrupted twice
        state.parent.mkdir(exist_ok=True)
        state.write_bytes(b"state")
        begun = run.document["stages"]["training"]["begun"]
        os.utime(state, (begun + seconds, begun + seconds))
        run = stage.begin("training", settings("training", run, data=str(faces)))
    run.finish()
    entry = run.document["stages"]["training"]
    assert 120 <= entry["seconds"] < 125 and not {"begun", "spent"} & set(entry)


def test_a_finished_stage_begun_again_starts_afresh(faces):
    """It is executed because an output was damaged: nothing of it may be trusted."""
    run = train(faces)
    (run.path / "checkpoints" / "epoch_001.keras").write_bytes(b"swapped")
    stage.begin("training", settings("training", run, data=str(faces)))
    assert not list((run.path / "checkpoints").glob("*"))


# -- two thousand runs -------------------------------------------------------------------------------------


def fer(*arguments: str) -> tuple[subprocess.CompletedProcess, float]:
    """Run the command line, and give its CPU seconds."""
    code = "import sys, resource; from fer_lib.cli import main; c = main(sys.argv[1:]); "
    code += "u = resource.getrusage(resource.RUSAGE_SELF); print(u.ru_utime + u.ru_stime); sys.exit(c)"
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(paths.ROOT)},
        check=False,
    )
    *_, seconds = done.stdout.split() or ["nan"]
    return done, float(seconds)


def test_two_thousand_runs_are_listed_quickly(results):
    """Of the size of real ones: the committed run has fifty checkpoints and a hundred metrics."""
    reference = paths.ROOT / "results" / "reference"
    for created in range(1_000_000, 1_002_000):
        (results / f"a_timestamp_{created}").mkdir(parents=True)
        for name in ("run.json", "metrics.json"):
            shutil.copy(reference / name, results / f"a_timestamp_{created}")
    done, seconds = min((fer("list") for _ in range(2)), key=lambda pair: pair[1])
    lines = done.stdout.splitlines()[:-1]
    accuracy = f"{read_json(reference / 'metrics.json')['test.accuracy']:.1%}"
    assert len(lines) == 2001 and "a_timestamp_1001999" in lines[1] and accuracy in lines[1]
    print(f"fer list, 2,000 runs: {seconds:.2f} s CPU")
    assert seconds < 2, f"{seconds:.2f} s CPU"  # 0.8 s where it was measured


@pytest.mark.parametrize(
    "text", ["{", "[]", "{}", '{"created": 1}', json.dumps({"parameters": {"training": 3}})]
)
def test_one_broken_run_does_not_hide_the_others(results, text):
    good = make_cheap(results, 1000, tuple(stages.STAGES))
    broken = make_cheap(results, 2000)
    (broken.path / "run.json").write_text(text)
    done, _ = fer("list")
    assert done.returncode == 0 and "Traceback" not in done.stderr
    assert good.name in done.stdout and "50.0%" in done.stdout
    assert broken.name in done.stdout + done.stderr  # it is named, not passed over
    assert find.newest(("training",)).name == good.name
