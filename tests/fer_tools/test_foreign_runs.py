"""Somebody else's run: nothing in it is executed, followed out of it, waited for, or read without end."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
from staged import two_thousand_runs, write_run
from synthetic import make_run, synthetic_run

from fer_tools import commands, environment, locks, metrics, paths, pipeline, scratch, stages
from fer_tools.game import played, recognised
from fer_tools.json_files import read_json, sha256_of_json, write_json
from fer_tools.play import trace as traces
from fer_tools.run import document, find, tree
from fer_tools.run.run import Run
from fer_tools.run.stage import KEEPS_NOTEBOOK

COMMANDS = (["check"], ["report"], ["run", "--resume"], ["verify"], ["compare"], ["list"])
OPENING = COMMANDS[:-1]  # `fer list` reads two files of a run, and looks at no others


@pytest.fixture(scope="module")
def original(make_face_folder, tmp_path_factory) -> Iterator[Run]:
    """Return a run that is done, without having executed a notebook; do not write into it."""
    folder = tmp_path_factory.mktemp("original")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FER_RESULTS", str(folder / "results"))
        patch.setenv(KEEPS_NOTEBOOK, "1")
        yield make_run(synthetic_run(folder / "template"), make_face_folder(folder / "faces"))


@pytest.fixture
def run(original: Run, results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return a copy of it which no command may execute, and another run beside it."""
    shutil.copytree(original.path.parent, results)
    shutil.copytree(original.path, results / "other")
    write_json(results / "other" / "run.json", read_json(results / "other" / "run.json") | {"name": "other"})
    shutil.copy(original.model_path, results / "other.keras")

    def executed(run: Run, stage: str) -> None:
        raise AssertionError(f"{stage} was executed")

    monkeypatch.setattr(pipeline, "execute_stage", executed)
    monkeypatch.setattr(pipeline, "interruptible", lambda: None)
    (tmp_path / "outside").mkdir()
    for name in ("mine", "epoch_001.keras", "loss.svg", "02_training.ipynb", "counts.csv"):
        (tmp_path / "outside" / name).write_text(f"{name} of mine")
    return Run(results / original.name)


def state_of(folder: Path) -> dict[str, tuple]:
    """What of a folder may be seen from outside."""
    found = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        readable = path.is_file() and not path.is_symlink() and status.st_size < 1 << 20
        content = path.read_bytes() if readable else b""
        found[str(path)] = (status.st_mode, status.st_size, status.st_mtime_ns, content)
    return found


def answer(capsys, command: list[str], run: Run) -> tuple[int, list[str]]:
    """Return exit code and lines of standard error of a command on a run."""
    other = [str(run.path.with_name("other"))] if command == ["compare"] else []
    code = commands.main([*command, *([] if command == ["list"] else [run.name]), *other])
    return code, capsys.readouterr().err.splitlines()


def instead(path: Path, make: Callable[[Path], object]) -> None:
    """Put something else in the place of a file or folder."""
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    path.parent.mkdir(exist_ok=True)
    make(path)


def hole(path: Path) -> None:
    """Make a file of three gigabytes which take no place."""
    path.touch()
    os.truncate(path, 3 << 30)


PLACES = (
    "run.json metrics.json history.csv report.json report.pdf .lock figures tables checkpoints notebooks "
    "figures/loss.svg tables/counts.csv tables/predictions.csv checkpoints/epoch_001.keras "
    "checkpoints/state.npz notebooks/02_training.ipynb notebooks/kernel.log figures/foreign ../{name}.keras"
).split()
KINDS = {
    "link to a file": (lambda path, outside: path.symlink_to(outside / "mine"), "a link"),
    "link to a folder": (lambda path, outside: path.symlink_to(outside), "a link"),
    "broken link": (lambda path, outside: path.symlink_to(outside / "none"), "a link"),
    "pipe": (lambda path, outside: os.mkfifo(path), "a pipe"),
    "hole": (lambda path, outside: hole(path), "MB, more than the"),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", PLACES)
def test_a_run_is_a_tree_of_regular_files(run, capsys, tmp_path, place, kind):
    make, said = KINDS[kind]
    path = run.path / place.format(name=run.name)
    outside = state_of(tmp_path / "outside")
    instead(path, lambda path: make(path, tmp_path / "outside"))
    before = state_of(run.path)
    for command in OPENING:
        clock = time.monotonic()
        code, lines = answer(capsys, command, run)
        assert code == 2 and len(lines) == 1 and said in lines[0], (command, lines)
        assert os.path.normpath(path) in lines[0]
        assert time.monotonic() - clock < 5
    assert state_of(tmp_path / "outside") == outside and state_of(run.path) == before


def test_a_link_in_place_of_a_run_is_not_followed(run, capsys, results):
    link = results / "linked_timestamp_5"
    link.symlink_to(run.path)
    for command in OPENING:
        code, lines = answer(capsys, command, Run(link))
        assert code == 2 and len(lines) == 1 and "a link" in lines[0], (command, lines)
    code, lines = answer(capsys, ["list"], Run(link))
    assert code == 0 and len(lines) == 1 and "passed over" in lines[0] and "a link" in lines[0]


def test_sockets_and_devices_are_refused(run, capsys, monkeypatch):
    monkeypatch.chdir(run.path)  # names of sockets have to be short
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("figures/a.svg")
        assert "a socket" in answer(capsys, ["check"], run)[1][0]
    os.unlink("figures/a.svg")
    try:
        os.mknod("figures/a.svg", 0o600 | 0o020000, os.makedev(1, 5))  # /dev/zero
    except PermissionError:
        pytest.skip("NOT TESTED: no right to make a device")
    assert "a device" in answer(capsys, ["check"], run)[1][0]


def test_the_second_name_of_a_file_elsewhere_is_not_written_to(run, tmp_path, monkeypatch):
    """A hard link looks like a file. What we open to write is replaced, and a lock is not cut to nothing."""
    outside = tmp_path / "outside"
    for name, theirs in ((".lock", "mine"), (pipeline.KERNEL_LOG, "loss.svg")):
        instead(run.path / name, lambda path, theirs=theirs: os.link(outside / theirs, path))
    monkeypatch.setattr(pipeline, "stale_reason", lambda run, stage, anywhere=True: None)
    pipeline.execute(run)
    assert (outside / "mine").read_text() == "mine of mine" and not (run.path / pipeline.KERNEL_LOG).exists()


def test_more_files_than_a_run_can_have_are_refused(run, capsys, monkeypatch):
    monkeypatch.setattr(tree, "MOST_FILES", 20)
    assert "more than 20 files" in answer(capsys, ["check"], run)[1][0]
    monkeypatch.setattr(tree, "MOST_FILES", 1000)
    monkeypatch.setattr(tree, "LARGEST_RUN", 1000)
    assert "not a run (more than" in answer(capsys, ["check"], run)[1][0]


def test_folders_within_folders_without_end_are_refused_in_one_line(run, capsys):
    deep = run.path / "figures"
    for _ in range(100):
        deep = deep / ("x" * 200)
        try:
            deep.mkdir()
        except OSError:
            break
    with_name = os.open(deep.parent, os.O_RDONLY)
    try:  # what no path reaches is made from within
        for name in ("a" * 250, "b" * 250):
            os.mkdir(name, dir_fd=with_name)
    except OSError:
        pass
    finally:
        os.close(with_name)
    code, lines = answer(capsys, ["check"], run)
    assert code == 2 and all(line.startswith("fer: ") for line in lines)


# -- run.json ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "key",
    [
        "../../outside/mine", "/etc/passwd", "figures/../../x", "figures/a/b", "figures\\..\\x", "run.json",
        "report.pdf", "notebooks/02_training.ipynb", "figures/.", "figures/..", "", "figures/",
        "figures/a\0b",
        "figures/\ud800", "../other/history.csv", ".lock", "checkpoints/.hidden",
    ],
)  # fmt: skip
@pytest.mark.parametrize("field", ["outputs", "replaces"])
def test_an_output_is_a_name_that_a_stage_writes(run, capsys, tmp_path, key, field):
    before, entries = state_of(tmp_path / "outside"), run.document["stages"]
    known = entries["overfitting"]["outputs"]
    entries["overfitting"][field] = known | {key: "0" * 64} if field == "outputs" else [*known, key]
    text = json.dumps(run.document | {"stages": entries})
    (run.path / "run.json").write_text(text)
    for command in OPENING:
        code, lines = answer(capsys, command, run)
        assert code == 2 and len(lines) == 1 and "names a file that no notebook writes" in lines[0]
    assert state_of(tmp_path / "outside") == before


@pytest.mark.parametrize("threads", [0, -1, 1025, 100_000, 10**12, 10**400, True, 1.5, "2", [1], {}])
def test_threads_are_a_few(run, capsys, threads):
    write_json(run.path / "run.json", run.document | {"threads": threads})
    for command in OPENING:
        code, lines = answer(capsys, command, run)
        assert (code == 2 and len(lines) == 1 and '"threads" is' in lines[0] and "1 to 1024" in lines[0]) or (
            "a whole number" in lines[0]
        )


@pytest.mark.parametrize("threads", ["0", "100000", "-1", "many"])
def test_threads_of_the_shell_are_a_few(faces, results, monkeypatch, capsys, threads):
    monkeypatch.setenv(environment.THREADS[0], threads)
    monkeypatch.setattr(pipeline, "interruptible", lambda: None)
    assert commands.main(["run", "--preset", "smoke", "--data", str(faces)]) == 2
    err = capsys.readouterr().err
    assert f"TF_NUM_INTRAOP_THREADS = {threads!r}" in err and len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("key", "value"),
    [("begun", 10**400), ("spent", "long"), ("seconds", float("inf")), ("seconds", True), ("notebook", 3)],
)
def test_what_a_stage_took_is_a_number(run, capsys, key, value):
    stages_ = run.document["stages"]
    stages_["training"][key] = value
    (run.path / "run.json").write_text(json.dumps(run.document | {"stages": stages_}))
    code, lines = answer(capsys, ["check"], run)
    assert code == 2 and len(lines) == 1 and f"has {key} of the wrong kind" in lines[0]


def test_what_real_runs_write_are_names_that_a_stage_writes():
    for entry in read_json(paths.ROOT / "results" / "reference" / "run.json")["stages"].values():
        assert all(document.OUTPUT.fullmatch(key) for key in entry["outputs"])


# -- metrics -----------------------------------------------------------------------------------------------


def with_metric(run: Run, key: str, value: object) -> None:
    """Change a metric together with its digest; ... takes it out."""
    found = {k: v for k, v in (run.metrics | {key: value}).items() if v is not ...}
    write_json(run.path / "metrics.json", found)
    entries = run.document["stages"]
    for stage, entry in entries.items():
        own = {k: v for k, v in found.items() if k.startswith(stages.STAGES[stage].prefixes)}
        entry["outputs"]["metrics.json"] = sha256_of_json(own)
    run.update(stages=entries)


WRONG = [
    ("test.accuracy", 10**400), ("test.accuracy", None), ("test.accuracy", "84 %"), ("test.accuracy", ...),
    ("test.accuracy", True), ("test.accuracy", 1.5), ("test.accuracy", -0.1), ("test.loss", "low"),
    ("overfitting.best_epoch", 2.5), ("overfitting.found", 1), ("model.parameters", -1),
    ("training.samples", ...), ("training.final_loss", 10**310), ("data.verdict", 3),
    ("test.target_sentence", "x" * 10_001), ("data.train.happy", 0.5),
]  # fmt: skip


@pytest.mark.parametrize(("key", "value"), WRONG)
def test_a_metric_has_a_type_and_a_wrong_one_is_named(run, capsys, key, value):
    with_metric(run, key, value)
    code, lines = answer(capsys, ["check"], run)
    assert code == 2 and any(f"metric {key} is" in line for line in lines), lines
    code, lines = answer(capsys, ["report"], run)
    assert code == 2 and len(lines) == 1 and f"metric {key} is" in lines[0]
    with pytest.raises(AssertionError, match="was executed"):  # its notebook writes it anew
        answer(capsys, ["run", "--resume"], run)


@pytest.mark.parametrize(("key", "value"), [pair for pair in WRONG if pair[0] == "test.accuracy"])
def test_a_wrong_accuracy_does_not_hide_other_runs(run, capsys, key, value):
    with_metric(run, key, value)
    good = write_run(run.path.parent, 7, tuple(stages.STAGES), metrics={"test.accuracy": 0.5})
    assert commands.main(["list"]) == 0
    out, err = capsys.readouterr()
    assert "50.0%" in next(line for line in out.splitlines() if good.name in line)
    if value is not ...:
        assert len(err.splitlines()) == 1 and "passed over" in err and "metric test.accuracy is" in err
    else:  # a run without a test is none that is broken
        assert run.name in out and not err


def test_kinds_of_metrics_are_those_of_real_runs():
    found = read_json(paths.ROOT / "results" / "reference" / "metrics.json")
    trace, reference = traces.read(paths.trace_file(paths.EXAMPLE)), Run(paths.ROOT / "results" / "reference")
    table = recognised.prompts(trace)
    compared = recognised.facts(table, *recognised.tested(trace, reference))
    of_game = played.facts(trace) | compared | recognised.sentences(table, compared)
    found |= {f"game.{key}": value for key, value in of_game.items()}  # not every run has one
    assert not [reason for key, value in found.items() if (reason := metrics.wrong(key, value))]
    # Those of far transfer, which is a run of its own, are looked at in test_recomputed.py.
    required = {key for keys in metrics.REQUIRED.values() for key in keys if not key.startswith("transfer.")}
    assert required <= set(found)
    unused = [pattern for pattern in metrics.KINDS if not any(fnmatchcase(key, pattern) for key in found)]
    optional = "overfitting.temperature"  # of a run that is calibrated, see test_temperature.py
    assert not [pattern for pattern in unused if not pattern.startswith(("transfer.", optional))]


# -- one bad run among many --------------------------------------------------------------------------------

BAD = {
    "pipe for run.json": lambda run: instead(run.path / "run.json", os.mkfifo),
    "pipe for metrics.json": lambda run: instead(run.path / "metrics.json", os.mkfifo),
    "hole in run.json": lambda run: instead(run.path / "run.json", hole),
    "hole in metrics.json": lambda run: instead(run.path / "metrics.json", hole),
    "link to a device": lambda run: instead(run.path / "metrics.json", lambda p: p.symlink_to("/dev/zero")),
    "8 MB of brackets": lambda run: (run.path / "run.json").write_text("[" * (8 << 20)),
    "8 MB of objects": lambda run: (run.path / "metrics.json").write_text(
        '{"a":[' + "{}," * (8 * 340_000) + "{}]}"
    ),
    "digits": lambda run: (run.path / "metrics.json").write_text('{"a":' + "1" * (7 << 20) + "}"),
}


@pytest.mark.parametrize("bad", BAD)
def test_one_bad_run_does_not_hide_the_others(results, capsys, bad):
    good = write_run(results, 1000, tuple(stages.STAGES), metrics={"test.accuracy": 0.5})
    broken = write_run(results, 2000, metrics={})
    BAD[bad](broken)
    clock = time.process_time()
    assert commands.main(["list"]) == 0
    out, err = capsys.readouterr()
    assert good.name in out and len(err.splitlines()) == 1 and broken.name in err, err
    assert time.process_time() - clock < 3
    assert find.newest(("training",)).name == good.name


def test_one_bad_run_among_two_thousand(results):
    two_thousand_runs(results)
    instead(results / "a_timestamp_1000777" / "metrics.json", os.mkfifo)
    code = (
        "import sys, time; from fer_tools import commands; commands.main(['list']);"
        "print(time.process_time(), file=sys.stderr)"
    )
    environment = os.environ | {"FER_RESULTS": str(results)}
    command = [sys.executable, "-c", code]
    done = [
        subprocess.run(command, env=environment, cwd=paths.ROOT, capture_output=True, text=True, check=True)
        for _ in range(2)
    ]
    assert len(done[0].stdout.splitlines()) == 2000  # and the header in place of the bad one
    line, _ = done[0].stderr.splitlines()
    assert "passed over" in line and "a_timestamp_1000777/metrics.json: a pipe" in line
    seconds = min(float(each.stderr.splitlines()[-1]) for each in done)
    print(f"fer list, 2,000 runs, a bad one among them: {seconds:.2f} s CPU")
    assert seconds < 2


# -- at work, and killed -----------------------------------------------------------------------------------


def test_beside_a_run_at_work_that_is_said_and_its_files_are_no_strays(run, capsys):
    entries = run.document["stages"]
    finished = entries["evaluation"]
    entries["evaluation"] = {"status": "running", "inputs": {}, "replaces": []}
    run.update(stages=entries)
    (run.path / "figures" / "being_written.svg").write_text("<svg/>")
    with locks.exclusive(run.path):
        code, lines = answer(capsys, ["check"], run)
        assert code == 2 and len(lines) == 1 and "at work: another process is filling this run" in lines[0]
        code, lines = answer(capsys, ["report"], run)
        assert code == 2 and len(lines) == 1 and "another process is filling this run" in lines[0]
    code, lines = answer(capsys, ["check"], run)  # interrupted, or at work in a notebook that is open
    assert code == 2 and any("04_evaluation: not finished" in line for line in lines)
    assert not any("being_written" in line for line in lines)
    run.update(stages=entries | {"evaluation": finished})
    code, lines = answer(capsys, ["check"], run)
    assert code == 2 and any("being_written.svg was not written by any notebook" in line for line in lines)


def test_who_looks_whether_a_run_is_at_work_does_not_keep_it_from_working(run):
    handle = open(run.path / locks.NAME, "w")
    assert locks.lock(handle, shared=True)
    script = "import sys, time; time.sleep(0.3)"
    with subprocess.Popen([sys.executable, "-c", script]):
        handle.close()
        with locks.exclusive(run.path):
            assert locks.at_work(run.path)
    assert not locks.at_work(run.path)


def test_a_temporary_folder_of_a_killed_process_is_removed_by_the_next(tmp_path):
    script = (
        "import os, signal; from fer_tools import scratch\n"
        "with scratch.folder() as folder:\n"
        "    (folder / 'results').mkdir(); (folder / 'results' / 'a').touch(); print(folder, flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)"
    )
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    command = [sys.executable, "-c", script]
    done = subprocess.run(
        command, env=environment, cwd=paths.ROOT, capture_output=True, text=True, check=False
    )
    left = Path(done.stdout.strip())
    assert left.parent == tmp_path and (left / "results" / "a").exists()
    for name in ("fer-lab-of_another_program", "fer-labyrinth"):
        (tmp_path / name).mkdir()
    (tmp_path / "fer-lab-link").symlink_to(tmp_path / "fer-labyrinth")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scratch.tempfile, "tempdir", str(tmp_path))
        with scratch.folder() as mine:
            assert not left.exists() and mine.exists()
            with scratch.folder():
                assert mine.exists()  # it is at work
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"fer-lab-of_another_program", "fer-labyrinth", "fer-lab-link"}


# -- the terminal ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["ascii:strict", "latin-1:strict", "utf-8:strict"])
def test_names_that_a_terminal_cannot_show_are_no_failure(results, monkeypatch, encoding):
    write_run(results, 1000, label="basic_\N{SNOWMAN}é").path.joinpath("metrics.json").write_text("{")
    write_run(results, 2000, label="basic_\N{SNOWMAN}é")
    monkeypatch.setenv("PYTHONIOENCODING", encoding)
    done = subprocess.run(
        [sys.executable, "-m", "fer_tools", "list"],
        env=os.environ | {"FER_RESULTS": str(results)},
        cwd=paths.ROOT,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0 and b"_timestamp_2000" in done.stdout and b"Traceback" not in done.stderr
