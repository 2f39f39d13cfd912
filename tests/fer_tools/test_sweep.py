"""Studies: what a file asks for, who trains it, what is left after a kill, what the table says."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
from asserting import within
from processes import alive, command, descendants, wait_for

from fer_lib.files import UsageError
from fer_tools import checking, commands, paths, pipeline
from fer_tools.json_files import read_json, write_json
from fer_tools.run import find, provenance
from fer_tools.run.edges import stale_reason
from fer_tools.study import effects, read, sweep, worker

pytestmark = pytest.mark.slow

STUDY = """
name: tiny
preset: smoke
base: {{data: {data}, epochs: 1, train_samples: 60, batch_size: 16}}
seeds: [{seeds}]
one_at_a_time: {{learning_rate: [1e-3, 3e-4]}}
points: [{{train_samples: 5000}}]    # more than there are
"""


def write(folder: Path, text: str) -> Path:
    """Write a study file."""
    path = folder / "study.yaml"
    path.write_text(text, encoding="utf-8")
    return path


# -- what a file asks for ----------------------------------------------------------------------------------


def test_points_are_the_base_once_each_value_alone_and_the_product(tmp_path):
    text = """
    base: {epochs: 12, train_samples: null}
    seeds: [0, 7]
    one_at_a_time: {learning_rate: [1e-4, 1e-3, "3e-3"], dropout: [0, 0.3]}
    grid: {learning_rate: [3e-4, 1e-3], dropout: [0.0, 0.5]}
    points: [{epochs: 30}, {dropout: 0}]
    """
    study = read.read(write(tmp_path, text))
    assert study.name == "study" and study.varied == ["learning_rate", "dropout", "epochs"]
    found = [tuple(map(point.value, [*study.varied, "seed"])) for point in study.points]
    alone = [(1e-3, 0.3, 12), (1e-4, 0.3, 12), (3e-3, 0.3, 12), (1e-3, 0.0, 12)]
    grid = [(3e-4, 0.0, 12), (3e-4, 0.5, 12), (1e-3, 0.5, 12)]  # (1e-3, 0.0) is there already
    assert found == [(*point, seed) for point in [*alone, *grid, (1e-3, 0.3, 30)] for seed in (0, 7)]
    assert [study.is_base(point) for point in study.points] == [True] * 2 + [False] * 14
    assert study.label(study.points[-1]) == "epochs 30, seed 7"
    assert study.points[0].resolved == checking.resolve("section5", {"epochs": 12, "train_samples": None})
    again = read.read(write(tmp_path, json.dumps(study.document)))  # what study.json will say
    assert [point.key for point in again.points] == [point.key for point in study.points]


def test_without_sections_the_base_is_the_only_point_and_a_product_goes_without_it(tmp_path):
    (point,) = read.read(write(tmp_path, "preset: smoke\ngrid:\n")).points
    assert point.resolved == checking.resolve("smoke", {})
    points = read.read(write(tmp_path, "grid: {dropout: [0, 0.5]}")).points
    assert [point.value("dropout") for point in points] == [0, 0.5]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("base: {epoch: 3}", "base.epoch: parameter 'epoch': unknown"),
        ("base: {epochs: 1.5}", "base.epochs: parameter epochs = 1.5: expected a whole number"),
        ("grid: {dropout: [0, 2]}", "grid.dropout: parameter dropout = 2: expected 0 to 0.95"),
        ("grid: {dropout: [0, yes]}", "grid.dropout: parameter dropout = True: expected a number"),
        ("one_at_a_time: {learning_rate: [fast]}", "one_at_a_time.learning_rate: parameter learning_rate"),
        ("one_at_a_time: {dropout: 0.5}", "one_at_a_time.dropout: 0.5 is not a list"),
        ("one_at_a_time: [dropout]", "one_at_a_time: ['dropout'] is not of the form"),
        ("points: [dropout]", "points[0]: 'dropout' is not of the form"),
        ("points: [{seed: 3}]", "points[0].seed: seeds have a key of their own"),
        ("base: {run: x}", "base.run: parameter 'run': unknown"),
        ("base: {data: no/such/place}", "base.data: no/such/place"),
        ("grid: {model: [no_model]}", "grid.model: parameter model"),
        ("seeds: [-1]", "seeds: parameter seed = -1"),
        ("seeds: 3", "seeds: 3 is not a list"),
        ("seeds: []", "seeds: [] is not a list"),
        ("name: ../up", "name: '../up' is not of plain letters"),
        ("name: 5", "name: 5 is not of plain letters"),
        ("preset: best", "preset: 'best' is unknown"),
        ("sedes: [1]", "sedes: unknown; valid keys are"),
        ("grid: {dropout: [0]}\ngrid: {dropout: [1]}", "not valid YAML (a key is given twice"),
        ("base: {epochs: 3", "not valid YAML"),
        ("!!python/object/apply:os.getcwd []", "not valid YAML"),
        ("base: {seed: &a [1]}\nseeds: *a", "not valid YAML (references (*name) are not read"),
        (
            f"seeds: {[*range(400)]}\ngrid: {{epochs: {[*range(1, 400)]}}}",
            "399 points of 400 seeds, more than",
        ),
        (f"grid: {{epochs: {[*range(1, 999)]}, window: {[*range(1, 999, 2)]}}}", "498,002 points of 1 seeds"),
        ("? [1, 2]\n: 3", "[1, 2]: unknown"),
        ("- base", "not a study"),
        ("", "not a study"),
    ],
)
def test_anything_wrong_is_one_line_that_names_file_and_key(tmp_path, monkeypatch, capsys, text, said):
    monkeypatch.setenv("FER_RESULTS", str(tmp_path / "results"))
    monkeypatch.setattr(pipeline, "interruptible", lambda: None)
    path = write(tmp_path, text)
    assert commands.main(["sweep", str(path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"fer: {path}: {said}")
    assert not (tmp_path / "results").exists()


def test_a_file_or_a_scheduler_that_is_not_there_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("FER_RESULTS", str(tmp_path))
    with pytest.raises(UsageError, match=r"none\.yaml: cannot be read"):
        sweep.sweep(tmp_path / "none.yaml")
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match=r"bytes\.yaml: not valid YAML"):
        read.read(tmp_path / "bytes.yaml")
    os.mkfifo(tmp_path / "pipe.yaml")
    with within(20), pytest.raises(UsageError, match=r"pipe\.yaml: a pipe, not a regular file"):
        read.read(tmp_path / "pipe.yaml")
    path = write(tmp_path, "#" * (1 << 20) + "\npreset: smoke")
    with pytest.raises(UsageError, match=r"study\.yaml: 1 MB, more than the 1"):
        read.read(path)
    path = write(tmp_path, "preset: smoke")
    monkeypatch.setattr(sweep, "TIMEOUT", 1)
    for address in ("tcp://127.0.0.1:9", "nowhere", "tcp://"):
        with pytest.raises(UsageError, match="no dask scheduler answers there"):
            sweep.sweep(path, scheduler=address)
    with pytest.raises(UsageError, match="--jobs"):
        sweep.sweep(path, jobs=0)


# -- a real cluster ----------------------------------------------------------------------------------------


@dataclass
class Cluster:
    """A scheduler and two workers, processes of their own, and what became of a study there."""

    results: Path
    data: Path
    path: Path
    scheduler: str
    workers: list[subprocess.Popen]
    done: subprocess.CompletedProcess
    killed: str

    @property
    def table(self) -> pd.DataFrame:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("FER_RESULTS", str(self.results))
            return effects.table("tiny")


def dask(*arguments: object) -> subprocess.Popen:
    """Start `dask scheduler` or `dask worker` in a session of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "dask", *map(str, arguments), "--host", "127.0.0.1", "--no-dashboard"],
        cwd=paths.ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def trains(results: Path) -> bool:
    """Return whether a run of the folder is in the midst of its training."""
    files = results.glob("*_timestamp_*/run.json")
    stages = [read_json(file)["stages"].get("training", {}) for file in files]
    return any(stage.get("status") == "running" for stage in stages)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory, make_face_folder) -> Iterator[Cluster]:
    """Run the tiny study on two `dask worker`s, one of which is killed while it trains."""
    folder = tmp_path_factory.mktemp("sweep")
    data = make_face_folder(folder / "faces", dict.fromkeys(("neutral", "happy", "surprise"), 30))
    results, file = folder / "results", folder / "scheduler.json"
    path = write(folder, STUDY.format(data=data, seeds=0))
    started = [dask("scheduler", "--scheduler-file", file, "--port", "0")]
    options = ("--scheduler-file", file, "--nthreads", 1, "--no-nanny", "--local-directory", folder)
    started += [dask("worker", *options) for _ in range(2)]
    process = None
    try:
        wait_for(file.exists, started[0])
        address = read_json(file)["address"]
        piped = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        process = subprocess.Popen(**command(results, "sweep", path, "--scheduler", address), **piped)
        wait_for(lambda: trains(results), process)
        victim = next(worker for worker in started[1:] if descendants(worker.pid))
        kernels = descendants(victim.pid)
        victim.kill()
        out, err = process.communicate(timeout=1800)
        wait_for(lambda: not alive(kernels))  # they see that they are alone
        done = subprocess.CompletedProcess(process.args, process.returncode, out, err)
        yield Cluster(results, data, path, address, started[1:], done, str(victim.pid))
    finally:
        for each in [*started, *([process] if process else [])]:
            with suppress(ProcessLookupError):
                os.killpg(each.pid, signal.SIGKILL)
            each.communicate()


def test_a_killed_worker_s_point_is_trained_by_another_and_one_that_fails_is_a_row(cluster):
    table, done = cluster.table, cluster.done
    assert done.returncode == 1, done.stderr  # one failed
    assert list(table.learning_rate) == [1e-3, 3e-4, 1e-3] and list(table.base) == [True, False, False]
    assert list(table.state) == ["done", "done", "failed"]
    assert effects.varied(table) == ["learning_rate", "train_samples"]
    assert list(table.error[:2]) == ["", ""]
    (line,) = done.stderr.splitlines()
    assert line == f"fer: train_samples 5000, seed 0: {table.error[2]}" and "02_training, cell" in line
    assert "0/3 points, 2 running" in done.stdout and "3/3 points, 1 failed, best" in done.stdout
    assert done.stdout.splitlines()[-1] == str(cluster.results / "tiny_study" / "results.csv")
    assert len(list(cluster.results.glob("*_timestamp_*/run.json"))) == 3  # the killed one was gone on with
    assert not (cluster.results / "tiny_study" / ".starts").exists()


def test_a_row_says_what_its_run_says_and_the_test_set_was_not_opened(cluster):
    for row in cluster.table[:2].itertuples():
        run = find.open_run(cluster.results / row.run)
        assert set(run.document["stages"]) == {"training", "overfitting"}
        assert not [key for key in run.metrics if key.startswith("test.")]
        assert not any(stale_reason(run, stage) for stage in worker.EXECUTED)
        assert row.val_accuracy == run.metrics["overfitting.val_accuracy"]
        assert row.val_loss == run.metrics["overfitting.val_loss"]
        assert (row.best_epoch, row.parameters) == (1, 118_531) and pd.isna(row.onset_epoch)
        assert row.threads == run.document["threads"] >= 1 and row.seconds > 0
        assert run.document["parameters"]["training"]["learning_rate"] == row.learning_rate


def test_again_only_what_is_new_is_run_now_on_this_machine(cluster):
    """A second seed, one worker process, and a kernel that is killed: it is tried once more."""
    before = {path: path.stat().st_mtime_ns for path in cluster.results.glob("*/history.csv")}
    text = STUDY.format(data=cluster.data, seeds="0, 1").replace(", 3e-4", "")
    write(cluster.path.parent, text[: text.index("points:")])
    piped = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen(**command(cluster.results, "sweep", cluster.path, "--jobs", 1), **piped)
    try:
        wait_for(lambda: kernel_of_seed(cluster.results, 1, process), process)
        os.kill(kernel_of_seed(cluster.results, 1, process), signal.SIGKILL)
        out, err = process.communicate(timeout=1800)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    table = cluster.table
    assert process.returncode == 0 and not err
    assert out.startswith("tiny  1/2 points, 1 running, best")
    assert list(table.state) == ["done", "done"] and list(table.seed) == [0, 1]
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert len(list(cluster.results.glob("*_timestamp_*/run.json"))) == 4
    assert table.threads[1] == max(1, len(os.sched_getaffinity(0)))


def kernel_of_seed(results: Path, seed: int, process: subprocess.Popen) -> int | None:
    """Find the kernel that trains with a seed just now."""
    for file in results.glob("*_timestamp_*/run.json"):
        document = read_json(file)
        training = document["parameters"].get("training", {})
        running = document["stages"].get("training", {}).get("status") == "running"
        if (training.get("seed"), training.get("train_samples")) == (seed, 60) and running:
            for pid in descendants(process.pid):
                with suppress(OSError):
                    if b"ipykernel_launcher" in Path(f"/proc/{pid}/cmdline").read_bytes():
                        return pid
    return None


def test_runs_that_are_done_are_known_without_a_worker(cluster, monkeypatch, capsys):
    monkeypatch.setenv("FER_RESULTS", str(cluster.results))
    monkeypatch.setattr(sweep, "cluster", lambda *_: pytest.fail("nothing is to be done"))
    text = STUDY.format(data=cluster.data, seeds=0).replace("name: tiny", "name: other")
    text = text[: text.index("points:")]
    assert sweep.sweep(write(cluster.results.parent, text)) == 0
    assert capsys.readouterr().out.startswith("other  2/2 points, best")
    table = effects.table("other")
    assert table.run[0] == cluster.table.run[0] and (cluster.results / table.run[1]).is_dir()
    assert commands.main(["list"]) == 0
    out, err = capsys.readouterr()
    assert out.count("basic_model_1_epochs") == 4 and not err


def test_a_worker_that_sees_another_results_folder_is_refused(cluster, tmp_path, monkeypatch):
    """It sees the folder, but not this study in it: as on a machine with a folder of its own there."""
    monkeypatch.setenv("FER_RESULTS", str(tmp_path))
    digest = worker.sha256_if_there
    monkeypatch.setattr(
        worker, "sha256_if_there", lambda path: "0" if str(path).startswith(str(tmp_path)) else digest(path)
    )
    with pytest.raises(UsageError, match=r"^worker tcp://\S+: does not see the results folder"):
        sweep.sweep(cluster.path, scheduler=cluster.scheduler)
    monkeypatch.undo()
    monkeypatch.setenv("FER_RESULTS", str(tmp_path))
    now = provenance.versions()
    monkeypatch.setattr(provenance, "versions", lambda: now | {"keras": "9.9"})
    with pytest.raises(UsageError, match=rf"has other software \(keras {now['keras']}, not 9\.9\)"):
        sweep.sweep(cluster.path, scheduler=cluster.scheduler)
    assert not list(tmp_path.glob("*_timestamp_*"))


def test_a_point_whose_worker_was_killed_twice_is_not_tried_a_third_time(face_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("FER_RESULTS", str(tmp_path / "results"))
    study = read.read(write(tmp_path, f"preset: smoke\nbase: {{data: {face_folder}}}"))
    study.folder.mkdir(parents=True)
    write_json(study.folder / "study.json", study.document)
    needs = worker.needs_of(study) | {"threads": {}}
    tried = []
    monkeypatch.setattr(worker.pipeline, "execute", lambda run, stages: tried.append(run.name))
    found = [worker.work("smoke", study.points[0].given, needs) for _ in range(3)]
    assert len(tried) == 2 and len({name for name, _ in found}) == 1
    assert [error for _, error in found[:2]] == ["", ""] and "killed again" in found[2][1]


@pytest.mark.parametrize(("number", "given"), [(signal.SIGINT, ()), (signal.SIGTERM, ("--jobs", 1))])
def test_interrupted_nothing_goes_on(face_folder, tmp_path, number, given):
    path = write(tmp_path, STUDY.format(data=face_folder, seeds=0))
    piped = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen(**command(tmp_path / "results", "sweep", path, *given), **piped)
    try:
        wait_for(lambda: trains(tmp_path / "results"), process)
        children = descendants(process.pid)
        if number == signal.SIGINT:
            os.killpg(process.pid, number)  # as a terminal does
        else:
            process.send_signal(number)
        clock = time.monotonic()
        _, err = process.communicate(timeout=300)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    print(f"gone after {time.monotonic() - clock:.1f} s")
    if number == signal.SIGINT:
        (line,) = err.splitlines()
        assert process.returncode == 130 and line.startswith("fer: interrupted")
    else:
        assert process.returncode == 143 and not err
    assert len(children) >= 2
    wait_for(lambda: not alive(children))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FER_RESULTS", str(tmp_path / "results"))
        assert set(effects.table("tiny").state) == {"waiting"}
