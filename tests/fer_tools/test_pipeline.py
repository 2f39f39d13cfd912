"""The whole way, at smoke size, as a user goes it: `fer run`, `fer report`, again, together, interrupted."""

import asyncio
import gc
import itertools
import json
import logging
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lavish
import nbformat
import pytest
from processes import SMALL, alive, begun, command, descendants, fer, wait_for

from fer_lib.files import UsageError, sha256_of_file
from fer_lib.tensorflow_import import stderr_to
from fer_tools import checking, locks, paths, pipeline, stages
from fer_tools.checks import check
from fer_tools.json_files import read_json, write_json
from fer_tools.run import find
from fer_tools.run.edges import stale_reason
from fer_tools.run.run import Run

pytestmark = pytest.mark.slow

OF_THE_SOURCE = {
    *("data.source", "data.digest", "data.verdict", "data.verdict_detail", "data.remarks", "data.test_part"),
    *("test.source", "test.verdict"),
}


@dataclass
class Interrupted:
    """What was left when Ctrl-C had ended a run: of the process, and of its folder."""

    code: int
    said: str
    children: list[int]
    reason: str | None
    hidden: list[str]


@dataclass
class Pair:
    """Two runs started together: one to its end, the other interrupted, resumed, killed in its training."""

    results: Path
    faces: Path
    done: subprocess.CompletedProcess
    whole: Run
    killed: Run
    interrupted: Interrupted


@pytest.fixture(scope="module")
def pair(tmp_path_factory, make_face_folder, make_face_csv) -> Iterator[Pair]:
    """Start two runs at once into one results folder, on one set of faces in two layouts; stop one twice."""
    folder = tmp_path_factory.mktemp("mit Leerzeichen und ümläuten 表情")
    faces = make_face_folder(folder / "faces", dict.fromkeys(("neutral", "happy", "surprise"), 40))
    table = make_face_csv(folder / "icml_face_data.csv", faces)
    results = folder / "results of all"
    piped = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    whole = subprocess.Popen(**command(results, "run", "--data", faces, *SMALL, "--report"), **piped)
    other = subprocess.Popen(**command(results, "run", "--data", table, *SMALL), **piped)
    try:
        killed = Run(Path(other.stdout.readline().rstrip("\n")))
        wait_for(lambda: "exploration" in killed.document["stages"], other)  # its kernel is at work
        children = descendants(other.pid)
        os.killpg(other.pid, signal.SIGINT)
        _, err = other.communicate()
        reason = stale_reason(find.open_run(killed.path), "exploration")
        hidden = [path.name for path in killed.path.rglob(".*")]
        interrupted = Interrupted(other.returncode, err, children, reason, hidden)
        other = subprocess.Popen(**command(results, "run", "--resume", killed.name), **piped)
        wait_for((killed.path / "checkpoints" / "state.npz").exists, other)  # the first epoch has ended
        assert killed.document["stages"]["training"]["status"] == "running"
        for pid in [*descendants(other.pid), other.pid]:
            os.kill(pid, signal.SIGKILL)
        out, err = whole.communicate()
    finally:
        for process in (whole, other):
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
            process.communicate()
    done = subprocess.CompletedProcess(whole.args, whole.returncode, out, err)
    assert done.returncode == 0, err
    yield Pair(results, faces, done, Run(Path(out.splitlines()[0])), killed, interrupted)


def test_a_run_fills_its_directory(pair):
    run, out = pair.whole, pair.done.stdout
    assert not pair.done.stderr
    assert out.count("epoch ") == 3 and "left" in out and "Traceback" not in out
    assert run.name.startswith("basic_model_3_epochs_timestamp_") and run.path.parent == pair.results
    for stage, kind in ((name, stages.STAGES[name]) for name in stages.REQUIRED):
        assert run.document["stages"][stage]["status"] == "done" and stale_reason(run, stage) is None
        executed = nbformat.read(run.path / "notebooks" / f"{kind.notebook}.ipynb", as_version=4)
        cells = [cell for cell in executed.cells if cell.cell_type == "code"]
        assert all(cell.execution_count for cell in cells)
        assert not [o for cell in cells for o in cell.outputs if o.get("name") == "stderr"]
    assert run.model_path.is_file()
    assert run.metrics["model.parameters"] == 118_531 and run.metrics["training.samples"] == 60
    for name in ("report.html", "report.pdf", "report.tex", "history.csv"):
        assert (run.path / name).stat().st_size > 50
    assert not list(run.path.rglob(".*-*"))  # no temporary file is left
    assert {edge.state for edge in check.edges(run)} == {"ok"}


def test_a_network_that_is_sure_and_wrong_gets_a_report(pair, tmp_path):
    """Of all faces it is sure that they are of one class: to the others it gives probabilities of nought.

    It is that of another training of the run: its exploration stays.
    """
    import keras

    from fer_lib.data import load, picture
    from fer_tools.model_files import loading

    run = Run(shutil.copytree(pair.whole.path, tmp_path / pair.whole.name))
    parameters = run.document["parameters"]
    parameters["training"] |= {"model": "optimized_model", "learning_rate": 0.3, "epochs": 1}
    parameters["training"] |= {"recalibration_images": 0, "weight_average": 0}
    run.update(parameters=parameters)
    done = fer(tmp_path, "run", "--resume", run.name, "--report")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("unchanged") == 1
    faces = load.load_test(str(pair.faces), run.parameters("training").classes)
    model = loading.load(run.model_path)
    images = picture.network_input(faces.images, 48)
    chosen = model.predict(images, verbose=0)[range(len(images)), faces.labels]
    assert chosen.min() == 0
    model.compile(loss=keras.losses.CategoricalCrossentropy())
    loss = model.evaluate(images, keras.utils.to_categorical(faces.labels, 3), verbose=0)
    assert run.metrics["test.loss"] == pytest.approx(loss, rel=1e-4) and loss > 100
    shown = (run.path / "report.tex").read_text(encoding="utf-8")
    assert r"& {}100.0\%~(" in shown and r"& {}0.0\%~(0.0--" in shown


def test_each_stage_writes_the_metrics_of_its_own(pair):
    prefixes = {prefix for stage in stages.REQUIRED for prefix in stages.STAGES[stage].prefixes}
    assert {key.partition(".")[0] + "." for key in pair.whole.metrics} == prefixes


def test_what_is_unchanged_is_skipped(pair):
    def used() -> float:
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        return children.ru_utime + children.ru_stime

    before, files = used(), {p: p.stat().st_mtime_ns for p in pair.whole.path.rglob("*.*") if p.is_file()}
    again = fer(pair.results, "run", "--data", pair.faces, *SMALL, "--reuse", "--report")
    seconds = used() - before
    assert again.returncode == 0 and again.stdout.count("unchanged") == 4
    assert Path(again.stdout.splitlines()[0]) == pair.whole.path  # not the other run, of other data
    print(f"fer run --reuse --report, nothing changed: {seconds:.1f} s CPU")
    assert seconds < 5, f"{seconds:.1f} s CPU"
    assert {path: path.stat().st_mtime_ns for path in files if path.name != ".lock"} == {
        path: time for path, time in files.items() if path.name != ".lock"
    }


@dataclass
class Resumed:
    """The run that was interrupted and killed: killed once more, perhaps, and gone on with to its end."""

    killed: str | None
    out: str


@pytest.fixture(scope="module")
def resumed(pair) -> Resumed:
    """Go on with the killed run, kill it once more at a random moment, and go on to its end."""
    process, run = begun(pair.results, "run", "--resume", pair.killed.name)
    killed = kill_somewhere(random.Random(os.environ.get("FER_SEED")), process, run, 8)
    process.communicate()
    done = fer(pair.results, "run", "--resume", run.name)
    assert done.returncode == 0, done.stderr
    return Resumed(killed, done.stdout)


def test_killed_and_resumed_on_the_same_faces_in_another_layout_it_is_the_same_to_the_byte(pair, resumed):
    whole, run = pair.whole, pair.killed
    assert run.path != whole.path and run.path.parent == whole.path.parent
    assert "01_exploration     unchanged" in resumed.out
    differing = {key for key in whole.metrics | run.metrics if whole.metrics.get(key) != run.metrics.get(key)}
    assert {"data.source", "data.digest"} <= differing <= OF_THE_SOURCE
    # The names of the test images are those of the layout.
    assert differing_files(run, whole) <= {"metrics.json", "tables/predictions.csv"}


def differing_files(one: Run, other: Run) -> set[str]:
    """Files whose bytes differ between two runs, or that one has alone: all that notebooks write."""

    def kept(run: Run) -> dict[str, str]:
        names = ("history.csv", "metrics.json", "checkpoints/*", "figures/*", "tables/*")
        found = {path.relative_to(run.path): path for name in names for path in run.path.glob(name)}
        assert len(found) > 25
        return {str(key): sha256_of_file(path) for key, path in found.items()} | {
            "model.keras": sha256_of_file(run.model_path)
        }

    ours, theirs = kept(one), kept(other)
    return {name for name in ours | theirs if ours.get(name) != theirs.get(name)}


@dataclass
class Again:
    """A verification that was killed, and then fresh runs and another verification, all at once."""

    temporary: Path
    left: list[Path]
    fresh: list[tuple[Run, subprocess.CompletedProcess]]
    verified: subprocess.CompletedProcess
    left_by_lavish: list[Path]


@pytest.fixture(scope="module")
def again(pair, tmp_path_factory) -> Again:
    """Make the run once more in all these ways; `FER_RUNS=8` starts eight at once.

    The first of the fresh runs is made by somebody with settings of their own for everything, of few letters.
    """
    temporary = tmp_path_factory.mktemp("tmp")

    def ended(process: subprocess.Popen) -> subprocess.CompletedProcess:
        out, err = process.communicate()
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def documents() -> Iterator[Path]:
        return temporary.glob("fer-lab-*/*_timestamp_*/run.json")

    long = tmp_path_factory.mktemp("x" * 100)  # sockets do not fit into a folder with a long name
    results, home = tmp_path_factory.mktemp("lavish"), lavish.make_home(tmp_path_factory.mktemp("home"))
    shell = lavish.lavish(results, home) | {"TMPDIR": str(long), "PYTHONUNBUFFERED": "1"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(temporary))
        verify = command(pair.results, "verify", pair.whole.name)
        killed = subprocess.Popen(**verify, stdout=subprocess.DEVNULL)
        wait_for(lambda: any("exploration" in read_json(path)["stages"] for path in documents()), killed)
        killed.kill()
        killed.wait()
        left = list(temporary.glob("fer-lab-*"))
        count = int(os.environ.get("FER_RUNS", "2")) - 2
        given = ("run", "--data", str(pair.faces), *SMALL, "--report")
        started = [begun(results, args=lavish.command(*given), env=shell)]
        started += [begun(pair.results, *given) for _ in range(count)]
        verifying = subprocess.Popen(**verify, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    verified, fresh = ended(verifying), [(run, ended(process)) for process, run in started]
    return Again(temporary, left, fresh, verified, list(long.iterdir()))


def test_the_same_again_at_the_same_time_is_the_same_to_the_byte(pair, again):
    assert again.verified.returncode == 0, again.verified.stderr
    assert again.verified.stdout.endswith("\nidentical\n") and "epoch 3/3" in again.verified.stdout
    for run, done in again.fresh:
        assert done.returncode == 0, done.stderr
        assert differing_files(run, pair.whole) == set()
        for name in ("report.pdf", "report.tex"):
            assert (run.path / name).read_bytes() == (pair.whole.path / name).read_bytes()
        documents = [each.document for each in (run, pair.whole)]
        for document in documents:
            for key in ("name", "created", "model_file"):
                document.pop(key)
            for entry in document["stages"].values():
                del entry["seconds"], entry["notebook"]
        assert documents[0] == documents[1]
    assert len({run.path for run, _ in again.fresh}) == len(again.fresh) > 0


def test_a_lavish_home_and_shell_change_no_byte(pair, again):
    """Figures, tables, history, weights, metrics and the report; and no setting reached a kernel."""
    lavish_run, _ = again.fresh[0]
    assert again.left_by_lavish == []
    ours, theirs = (recorded(run) for run in (pair.whole, lavish_run))
    assert [key for key in ours | theirs if ours.get(key) != theirs.get(key)] == []
    assert sum(key.startswith("figures/") for key in ours) > 20
    stages = [
        {name: entry["machine"] for name, entry in run.document["stages"].items()}
        for run in (pair.whole, lavish_run)
    ]
    assert stages[0] == stages[1] and {entry["settings"] for entry in stages[0].values()} == {""}
    assert {entry["threads"] for entry in stages[0].values()} == {1}
    assert pair.whole.document["git"] == lavish_run.document["git"]


def recorded(run: Run) -> dict[str, str]:
    """Return the digests of what notebooks wrote, and of the report."""
    entries = run.document["stages"].values()
    written = {key: digest for entry in entries for key, digest in entry["outputs"].items()}
    return written | {name: run.digest(name) for name in ("report.pdf", "report.tex")}


def test_a_killed_verification_leaves_nothing_for_ever(again):
    assert again.left and again.verified.returncode == 0
    assert not list(again.temporary.glob("*fer*"))  # the kernel whose parent was killed has ended by itself


def test_killed_at_random_moments_and_resumed_it_is_the_same_to_the_byte(pair, resumed):
    """SIGKILL to kernel or parent or both, at random moments, up to five times in one run.

    One kill is that of `resumed`. `FER_KILLS=25 FER_SEED=1 pytest -s -k random tests/fer_tools`
    does it thoroughly, and with -s it says what was killed when.
    """
    kills, chance = int(os.environ.get("FER_KILLS", "1")), random.Random(os.environ.get("FER_SEED"))
    done, numbers = int(resumed.killed is not None), itertools.count(1)
    print(f"resumed run: {resumed.killed}", flush=True)
    require_whole(pair.killed)
    while done < kills:
        process, run = begun(pair.results, "run", "--data", pair.faces, *SMALL)
        number, in_this_run = next(numbers), 0
        while done < kills and in_this_run < 5 and (what := kill_somewhere(chance, process, run, 45)):
            done, in_this_run = done + 1, in_this_run + 1
            print(f"run {number}, kill {done}: {what}", flush=True)
            process, _ = begun(pair.results, "run", "--resume", run.name)
        _, err = process.communicate()
        assert process.returncode == 0, err
        assert differing_files(run, pair.whole) == set()
        require_whole(run)
        print(f"run {number}: finished after {in_this_run} kills, the same to the byte", flush=True)


def require_whole(run: Run) -> None:
    """Fail if a file is not what its stage wrote, or one is left that was only begun."""
    assert {edge.state for edge in check.edges(run)} <= {"ok", "absent"}
    assert not list(run.path.rglob(".*-*")) and not list(run.path.parent.glob(f".{run.name}*"))


def being_written(run: Run) -> list[str]:
    """Temporary files that are not yet renamed to what they are to be."""
    places = (run.path, *(run.path / name for name in ("checkpoints", "figures", "tables")))
    return sorted(path.name for place in places for path in place.glob(".*-*"))


def kill_somewhere(chance: random.Random, process: subprocess.Popen, run: Run, most: float) -> str | None:
    """Kill a process of a run within seconds, or while something is being written; say which and when."""
    clock, writing = time.monotonic(), chance.random() < 0.3
    delay = chance.uniform(0, most)
    while time.monotonic() < clock + delay or (writing and not being_written(run)):
        if process.poll() is not None:
            return None
        time.sleep(0.005 if writing and time.monotonic() > clock + delay else 0.1)
    kernels = [pid for pid in descendants(process.pid) if alive([pid])]
    victim = chance.choice(["kernel", "parent", "both"]) if kernels else "parent"
    caught = " ".join(being_written(run))
    for pid in {"kernel": kernels, "parent": [process.pid], "both": [*kernels, process.pid]}[victim]:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    if process.wait() == 0:  # it was quicker
        return None
    state = {name: entry["status"] for name, entry in run.document["stages"].items()}
    seconds = time.monotonic() - clock
    return f"{victim} after {seconds:.1f} s, {state}" + (f", writing {caught}" if caught else "")


def test_ctrl_c_is_one_line_and_leaves_no_process(pair):
    found = pair.interrupted
    assert found.code == 130 and len(found.said.splitlines()) == 1, found.said
    assert found.said.startswith("fer: interrupted") and "--resume" in found.said
    assert found.children
    wait_for(lambda: not alive(found.children))
    assert found.reason == "not finished"
    assert found.hidden == [".lock"]  # no temporary file


def test_of_what_an_interruption_leaves_asyncio_says_nothing(pair, tmp_path, monkeypatch, caplog):
    """Sometimes the task that waits for a cell sees that its kernel is dead, when nobody waits for it."""
    run = Run(shutil.copytree(pair.whole.path, tmp_path / pair.whole.name))
    left: list[asyncio.Task] = []

    async def dying() -> None:
        raise RuntimeError("Kernel died")

    async def interrupted() -> None:
        left.append(asyncio.ensure_future(dying()))
        await asyncio.sleep(0)
        raise KeyboardInterrupt

    def execute(*_: Any, **__: Any) -> None:
        with ThreadPoolExecutor() as thread:  # in this one a browser of other tests may have an event loop
            thread.submit(asyncio.run, interrupted()).result()

    monkeypatch.setattr("papermill.execute_notebook", execute)
    caplog.set_level(logging.WARNING, "asyncio")
    with pytest.raises(KeyboardInterrupt):
        pipeline.execute_stage(run, "training")
    assert left.pop().done()
    gc.collect()
    assert "never retrieved" not in caplog.text


def test_a_run_keeps_its_number_of_threads(pair):
    """On it the bytes depend: whoever goes on with a run, or verifies it, takes the same."""
    assert pair.whole.document["threads"] == pair.killed.document["threads"] == 1  # as TF_NUM_INTRAOP_THREADS
    code = "import os; print([os.environ[name] for name in ('TF_NUM_INTRAOP_THREADS', 'OMP_NUM_THREADS')])"
    seen = []

    def look(run: Run, stage: str) -> None:
        seen.append(subprocess.check_output([sys.executable, "-c", code], text=True).strip())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "execute_stage", look)
        patch.setattr(pipeline, "stale_reason", lambda run, stage, anywhere=True: "to be executed")
        patch.setenv("TF_NUM_INTRAOP_THREADS", "2")
        pipeline.execute(pair.whole, ["training", "overfitting"])
        assert os.environ["TF_NUM_INTRAOP_THREADS"] == "2"
    assert seen == ["['1', '1']"] * 2


def test_two_processes_do_not_fill_one_run(pair):
    with locks.exclusive(pair.whole.path):
        done = fer(pair.results, "run", "--resume", pair.whole.name)
    assert done.returncode == 2 and "another process" in done.stderr and len(done.stderr.splitlines()) == 1


def test_an_orphaned_kernel_is_waited_for_before_its_temporary_files_are_removed(pair, tmp_path, monkeypatch):
    """The parent of a kernel is killed; the kernel goes on writing until it sees that, or is ended."""
    run = Run(tmp_path / pair.whole.name)
    shutil.copytree(pair.whole.path, run.path)
    half_written = run.path / "checkpoints" / ".epoch_002-abcdefgh.keras"
    script = f"import time; open({str(half_written)!r}, 'w').close(); time.sleep({{}})"

    def kernel(seconds: float) -> subprocess.Popen:
        with stderr_to(run.path / pipeline.KERNEL_LOG):
            assert locks.lock(2)
            return subprocess.Popen([sys.executable, "-c", script.format(seconds)])

    monkeypatch.setattr(pipeline, "stale_reason", lambda run, stage, anywhere=True: None)
    with kernel(2) as orphan:
        pipeline.execute(run, ["training"])
        assert orphan.poll() is not None and not half_written.exists()
    with kernel(1000) as orphan:
        with pytest.raises(UsageError, match="still at work"):
            pipeline.tidy(run, 0.5)
        orphan.kill()


def test_what_an_interrupted_kernel_had_begun_to_write_is_removed_at_once(pair, tmp_path, monkeypatch):
    """Ctrl-C ends the kernel in the middle of a file; a little later than it ends the wait for it."""
    run = Run(tmp_path / pair.whole.name)
    shutil.copytree(pair.whole.path, run.path)
    half_written = run.path / ".metrics-abcdefgh.json"

    def interrupted(run: Run, stage: str) -> None:
        script = f"import time; time.sleep(1); open({str(half_written)!r}, 'w').close()"
        with stderr_to(run.path / pipeline.KERNEL_LOG):
            assert locks.lock(2)
            started.append(subprocess.Popen([sys.executable, "-c", script]))
        raise KeyboardInterrupt

    started: list[subprocess.Popen] = []
    monkeypatch.setattr(pipeline, "stale_reason", lambda run, stage, anywhere=True: "to be executed")
    monkeypatch.setattr(pipeline, "execute_stage", interrupted)
    with pytest.raises(KeyboardInterrupt):
        pipeline.execute(run, ["training"])
    assert started[0].wait() == 0 and not half_written.exists()


def test_a_cell_that_fails_is_named_and_the_notebook_kept(face_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("FER_RESULTS", str(tmp_path))
    run = find.create("basic_model_3_epochs")
    run.update(parameters=checking.resolve("smoke", {"data": str(face_folder), "train_samples": 5000}))
    done = fer(tmp_path, "run", "--resume", run.name)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("fer: 01_exploration, cell ") and "train_samples" in line and "--resume" in line
    (executed,) = tmp_path.glob("*/notebooks/01_exploration.ipynb")
    assert "UsageError" in executed.read_text(encoding="utf-8")


def test_a_later_notebook_that_fails_keeps_what_was_done(pair, tmp_path, monkeypatch, capsys):
    shutil.copytree(pair.whole.path, tmp_path / pair.whole.name)
    shutil.copy(pair.whole.model_path, tmp_path)
    run = Run(tmp_path / pair.whole.name)
    shutil.copytree(paths.ROOT / "notebooks", tmp_path / "notebooks")
    path = tmp_path / "notebooks" / "03_overfitting.ipynb"
    notebook = read_json(path)
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    code[1]["source"] += ["\nraise ValueError('first line\\nsecond line')"]
    write_json(path, notebook)
    copied = property(lambda stage: tmp_path / "notebooks" / f"{stage.notebook}.ipynb")
    monkeypatch.setattr(stages.Stage, "path", copied)
    with pytest.raises(UsageError) as caught:
        pipeline.execute(run)
    out = capsys.readouterr().out
    assert out.count("unchanged") == 2 and "[3/4] 03_overfitting" in out and "[4/4]" not in out
    said = str(caught.value)
    assert said.startswith("03_overfitting, cell 3: ValueError: first line second line") and "\n" not in said
    executed = nbformat.read(run.path / "notebooks" / "03_overfitting.ipynb", as_version=4)
    assert any(o.output_type == "error" for cell in executed.cells for o in cell.get("outputs", []))
    assert run.metrics["test.accuracy"] == pair.whole.metrics["test.accuracy"]


def test_a_report_of_an_altered_run_is_refused(pair, tmp_path):
    copy = tmp_path / pair.whole.name
    shutil.copytree(pair.whole.path, copy)
    shutil.copy(pair.whole.model_path, tmp_path)
    assert fer(tmp_path, "report", copy.name).returncode == 0
    metrics = json.loads((copy / "metrics.json").read_text())
    (copy / "metrics.json").write_text(json.dumps(metrics | {"test.accuracy": 0.99}))
    done = fer(tmp_path, "report", copy.name)
    assert done.returncode == 2 and "metrics.json" in done.stderr and len(done.stderr.splitlines()) == 1


def test_a_run_from_another_machine(pair, tmp_path):
    """`fer check` says so and finds no fault; `fer compare` says so; resumed here, it is executed anew."""
    results = tmp_path / "results"
    results.mkdir()
    theirs = results / pair.whole.name
    shutil.copytree(pair.whole.path, theirs)
    shutil.copy(pair.whole.model_path, results)
    for report in theirs.glob("report.*"):  # it tells the machine
        report.unlink()
    path = theirs / "run.json"
    document = json.loads(path.read_text())
    for entry in [document, *document["stages"].values()]:
        entry["machine"]["processor"] = "Abacus"
    path.write_text(json.dumps(document))
    checked = fer(results, "check", theirs.name)
    assert checked.returncode == 0 and checked.stderr == ""
    assert "made on another machine (processor Abacus, now " in checked.stdout
    compared = fer(results, "compare", str(theirs), str(pair.whole.path))
    assert (
        compared.returncode == 0 and "differing: machine of 01_exploration, machine of 02_" in compared.stdout
    )
    said = "made on another machine (processor Abacus, now "
    for stage in document["stages"]:
        run = Run(theirs)
        assert stale_reason(run, stage) is None and stale_reason(run, stage, anywhere=False).startswith(said)
