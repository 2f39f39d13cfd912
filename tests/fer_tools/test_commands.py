"""The command line: quick answers, and one clear line for every mistake."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import keras2
import pytest
from staged import two_thousand_runs, write_run

from fer_tools import checking, commands, paths, pipeline, stages
from fer_tools.commands import list_runs
from fer_tools.json_files import read_json
from fer_tools.run import find

HEAVY = ("tensorflow", "keras", "pandas", "matplotlib", "papermill", "PIL", "h5py", "IPython")


@pytest.fixture(autouse=True)
def _signals_stay_with_pytest(results, monkeypatch):
    monkeypatch.setattr(pipeline, "interruptible", lambda: None)


def fer(*arguments: str | Path, **options) -> tuple[subprocess.CompletedProcess, float, set[str]]:
    """Run `fer` in a process of its own: what it says, its CPU seconds, the heavy modules it imported."""
    code = f"""
import resource, sys
from fer_tools.commands import main
try:
    code = main(sys.argv[1:])
finally:
    used = resource.getrusage(resource.RUSAGE_SELF)
    heavy = [name for name in {HEAVY!r} if name in sys.modules]
    print("\\n" + " ".join([f"{{used.ru_utime + used.ru_stime}}", *heavy]))
sys.exit(code)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(paths.ROOT)},
        check=False,
        **options,
    )
    done.stdout, _, last = done.stdout.rstrip("\n").rpartition("\n")
    seconds, *heavy = last.split()
    return done, float(seconds), set(heavy)


# -- quick answers -----------------------------------------------------------------------------------------


def test_help_is_quick_and_names_every_command():
    (done, seconds, heavy) = min((fer("--help") for _ in range(3)), key=lambda answer: answer[1])
    print(f"fer --help: {seconds:.2f} s CPU")
    assert done.returncode == 0 and not done.stderr and not heavy
    assert seconds < 0.5, f"{seconds:.2f} s CPU"
    for command in ("run", "report", "check", "verify", "compare", "list", "data", "bench", "summary"):
        assert f"\n    {command} " in done.stdout


@pytest.mark.parametrize(
    "command",
    [*"run report check verify compare list data bench summary".split(), "data fetch", "data verify"],
)
def test_every_command_explains_itself(command, capsys):
    with pytest.raises(SystemExit) as caught:
        commands.main([*command.split(), "--help"])
    assert caught.value.code == 0 and f"usage: fer {command}" in capsys.readouterr().out


def test_a_list_without_runs_says_so(results):
    done, seconds, heavy = min((fer("list") for _ in range(3)), key=lambda answer: answer[1])
    print(f"fer list: {seconds:.2f} s CPU")
    assert done.returncode == 0 and not done.stderr and not heavy
    assert seconds < 0.5, f"{seconds:.2f} s CPU"
    assert "no runs yet" in done.stdout and str(results) in done.stdout
    assert not results.exists()


def test_a_list_shows_runs_side_by_side(results):
    metrics = {"test.accuracy": 0.7391, "training.samples": 5000, "model.parameters": 118_531}
    write_run(results, 2000, metrics=metrics, data="/some where/fer2013", epochs=50)
    write_run(results, 1000, train_samples=None)
    (results / "notes.txt").write_text("mine")
    done, _, heavy = fer("list")
    assert done.returncode == 0 and not done.stderr and not heavy
    header, first, second = done.stdout.splitlines()
    assert header.split() == ["run", "data", "samples", "epochs", "parameters", "test", "accuracy"]
    assert first.split() == [
        "basic_model_3_epochs_timestamp_2000",
        "fer2013",
        "5,000",
        "50",
        "118,531",
        "73.9%",
    ]
    assert second.split() == ["basic_model_3_epochs_timestamp_1000", "bundled", "-", "3", "-", "-"]
    assert len({len(line) for line in (header, first, second)}) == 1


def test_two_thousand_runs_are_listed_quickly(results):
    """Of the size of real ones: the committed run has fifty checkpoints and a hundred metrics."""
    reference = paths.ROOT / "results" / "reference"
    two_thousand_runs(results)
    done, seconds, _ = min((fer("list") for _ in range(2)), key=lambda answer: answer[1])
    lines = done.stdout.splitlines()
    accuracy = f"{read_json(reference / 'metrics.json')['test.accuracy']:.1%}"
    assert len(lines) == 2001 and "a_timestamp_1001999" in lines[1] and accuracy in lines[1]
    print(f"fer list, 2,000 runs: {seconds:.2f} s CPU")
    assert seconds < 2, f"{seconds:.2f} s CPU"  # 0.8 s where it was measured


@pytest.mark.parametrize(
    "text", ["{", "[]", "{}", '{"created": 1}', json.dumps({"parameters": {"training": 3}})]
)
def test_one_broken_run_does_not_hide_the_others(results, text):
    metrics = {"test.accuracy": 0.5, "training.samples": 300, "model.parameters": 9}
    good = write_run(results, 1000, tuple(stages.STAGES), metrics=metrics)
    broken = write_run(results, 2000, metrics=metrics)
    (broken.path / "run.json").write_text(text)
    done, _, _ = fer("list")
    assert done.returncode == 0 and "Traceback" not in done.stderr
    assert good.name in done.stdout and "50.0%" in done.stdout
    assert broken.name in done.stdout + done.stderr  # it is named, not passed over
    assert find.newest(("training",)).name == good.name


def test_a_closed_pipe_is_no_error(results):
    for created in range(1000, 1040):
        write_run(results, created)
    command = f"{sys.executable} -m fer_tools list | head -n 1; exit ${{PIPESTATUS[0]}}"
    environment = os.environ | {"PYTHONPATH": str(paths.ROOT), "PYTHONUNBUFFERED": "1"}
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0 and not done.stderr and done.stdout.startswith("run ")


def test_verifying_needs_no_tensorflow(face_folder):
    done, seconds, heavy = fer("data", "verify", face_folder)
    print(f"fer data verify: {seconds:.2f} s CPU")
    assert not heavy & {"tensorflow", "keras"} and "Traceback" not in done.stderr
    *rows, verdict = done.stdout.splitlines()
    assert done.returncode == 2 and rows and ": " in verdict
    assert not verdict.startswith("authentic")


def test_the_summary_of_a_network(capsys):
    assert commands.main(["summary", "basic_model"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("Model: basic_model\n") and len(out.splitlines()) == 26
    assert out.endswith("Total 118,531   Trainable 118,083   Non-trainable 448\n")


def test_the_summary_of_a_file(capsys):
    assert commands.main(["summary", str(keras2.NESTED["h5"])]) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert not err and lines[:2] == ["File: hdf5, written by Keras 2.21.0", "Pixels: 0..255"]
    assert ["base", "Functional", "(None,", "3)", "466"] in [line.split() for line in lines]
    assert lines[-1].startswith("Total 519 ")


@pytest.mark.slow
def test_the_summary_is_all_that_tensorflow_lets_be_seen():
    done, _, heavy = fer("summary", "basic_model")
    assert "tensorflow" in heavy and done.returncode == 0 and not done.stderr


# -- mistakes ----------------------------------------------------------------------------------------------


def refused(capsys: pytest.CaptureFixture[str], results: Path, *arguments: str | Path) -> str:
    """Run `fer` with a mistake; return the one line that it says."""
    before = sorted(results.rglob("*")) if results.is_dir() else None
    assert commands.main([str(argument) for argument in arguments]) == 2
    out, err = capsys.readouterr()
    assert err.startswith("fer: ") and err.endswith("\n") and len(err.splitlines()) == 1, err
    assert not out
    assert (sorted(results.rglob("*")) if results.is_dir() else None) == before  # nothing begun, nothing lost
    return err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--preset", "section9"], "section5, section6, section8, sim2real, smoke"),
        (["--preset", "smoke", "-p", "model=resnet"], "basic_model"),
        (["-p", "model=\"); import os; os.system('touch owned')"], "basic_model"),
        (["-p", "epoch=3"], "epochs"),
        (["-p", "run=x"], "valid names"),
        (["-p", "epochs"], "name=value"),
        (["-p", "epochs=three"], "a whole number"),
        (["-p", "epochs=1.5"], "a whole number"),
        (["-p", "epochs=0"], "1 to"),
        (["-p", "epochs=1" + "0" * 400], "1 to"),
        (["-p", "learning_rate=nan"], "a number"),
        (["-p", "learning_rate=inf"], "a number"),
        (["-p", "classes=happy"], "two or more"),
        (["-p", "classes=happy,joy"], "no train images of class 'joy'"),
        (["-p", "window=4"], "odd"),
        (["-p", "study=none_such"], "fer sweep"),
        (["-p", "study=../x"], "plain letters"),
        (["-p", "a\nb=1"], "unknown"),
        (["-p", "a\nb"], "name=value"),
        (["--data", "no/such/folder"], "no/such/folder"),
        (["--data", ""], "data"),
        (["--data", "a\nb"], "one line of text"),
        (["--data", "x" * 5000], "x" * 5000),
        (["-p", "test_data=no/such/folder"], "no/such/folder"),
        (["--resume", "nothing"], "fer list"),
        (["--resume", ""], "fer list"),
        (["--resume", "x" * 5000], "fer list"),
        (["--resume", "x", "-p", "epochs=3"], "--resume"),
        (["--resume", "x", "--data", "bundled"], "--resume"),
        (["--resume", "x", "--preset", "smoke"], "--resume"),
        (["--resume", "x", "--reuse"], "--resume"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else "",
)
def test_a_mistake_in_a_run_is_refused_before_anything_begins(capsys, results, arguments, said):
    assert said in refused(capsys, results, "run", *arguments)


def test_an_injected_text_was_not_executed(capsys, results, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in checking.names():
        if name not in ("data", "test_data"):
            refused(capsys, results, "run", "-p", f"{name}=__import__('os').mkdir('owned')")
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("kind", ["empty folder", "text file", "no classes", "not an image set", "link loop"])
def test_data_that_are_none_are_refused(capsys, results, tmp_path, kind):
    path = tmp_path / "Daten mit Lücke"
    if kind == "text file":
        path.write_text("hello")
    elif kind == "link loop":
        path.symlink_to(path)
    else:
        path.mkdir()
        if kind == "no classes":
            (path / "train" / "dogs").mkdir(parents=True)
        elif kind == "not an image set":
            (path / "letter.txt").write_text("dear reader")
    assert path.name in refused(capsys, results, "run", "--preset", "smoke", "--data", path)


@pytest.mark.parametrize("train", ["none", "empty", "empty classes", "no images"])
def test_a_set_without_training_images_is_refused_before_anything_begins(
    capsys, results, tmp_path, make_face_folder, train
):
    data = make_face_folder(tmp_path / "set", {}, {"neutral": 4, "happy": 4, "surprise": 4})
    for name in ("neutral", "happy", "surprise") if train in ("empty classes", "no images") else ():
        (data / "train" / name).mkdir(parents=True)
        if train == "no images":
            (data / "train" / name / "letter.txt").write_text("dear reader")
    if train == "empty":
        (data / "train").mkdir()
    for given in (["--data", data], ["--data", data, "-p", "test_data=bundled"], ["-p", f"data={data}"]):
        said = refused(capsys, results, "run", "--preset", "smoke", *given)
        assert str(data) in said and "train" in said
    archive = shutil.make_archive(str(tmp_path / "packed"), "zip", data)
    said = refused(capsys, results, "run", "--preset", "smoke", "--data", archive)
    assert archive in said and "train" in said


def test_a_set_without_training_images_may_be_tested_on(results, tmp_path, face_folder, make_face_folder):
    data = make_face_folder(tmp_path / "set", {}, {"neutral": 4, "happy": 4, "surprise": 4})
    run = pipeline.start("smoke", {"data": str(face_folder), "test_data": str(data), "train_samples": None})
    assert run.path.parent == results and run.document["parameters"]["training"]["test_data"] == str(data)


@pytest.mark.parametrize("name", ["data", "test_data"])
def test_a_class_that_the_test_images_lack_is_refused_before_anything_begins(
    capsys, results, tmp_path, face_folder, make_face_folder, name
):
    lacking = make_face_folder(tmp_path / "lacking", {"neutral": 4, "happy": 4, "surprise": 4}, {"happy": 4})
    given = ["-p", f"data={face_folder}", "-p", f"{name}={lacking}"]
    said = refused(capsys, results, "run", "--preset", "smoke", *given)
    assert "no test images of class 'neutral'" in said and str(lacking) in said


def test_the_current_folder_is_no_data_set_by_accident(results, tmp_path, face_folder, monkeypatch):
    """`-p test_data=` and the names of known sets mean what they say, wherever one stands."""
    monkeypatch.chdir(face_folder)
    assert pipeline.absolute("") == ""
    (tmp_path / "bundled").mkdir()
    monkeypatch.chdir(tmp_path)
    assert pipeline.absolute("bundled") == "bundled"
    (tmp_path / "x").mkdir()
    assert pipeline.absolute("x") == str(tmp_path / "x")


def test_a_results_folder_that_cannot_be_written_is_refused(results, face_folder):
    results.write_text("a file in its place")
    given = "--preset", "smoke", "--data", face_folder, "-p", "train_samples=null"
    done, _, _ = fer("run", *given, timeout=120)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("fer: ") and str(results) in done.stderr
    assert results.read_text() == "a file in its place"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_results_folder_is_refused(capsys, results, face_folder):
    results.mkdir(mode=0o500)
    given = "--preset", "smoke", "--data", face_folder, "-p", "train_samples=null"
    assert str(results) in refused(capsys, results, "run", *given)


@pytest.mark.parametrize("command", [["run", "--resume"], ["report"], ["check"], ["verify"], ["compare"]])
def test_a_directory_that_is_not_a_run_is_refused(capsys, results, tmp_path, command):
    (tmp_path / "photos").mkdir()
    assert "not a run" in refused(capsys, results, *command, tmp_path / "photos")
    (tmp_path / "photos" / "run.json").write_text("[]")
    assert "not a run" in refused(capsys, results, *command, tmp_path / "photos")


@pytest.mark.parametrize("obstacle", ["notebooks", ".lock"])
def test_a_run_directory_that_cannot_be_filled_is_an_error_of_one_line(
    capsys, results, face_folder, obstacle
):
    path = write_run(results, 1000, data=str(face_folder)).path
    (path / obstacle).write_text("a file in its place")
    if obstacle == ".lock":
        (path / obstacle).unlink()
        (path / obstacle).mkdir()
    assert commands.main(["run", "--resume", str(path)]) == 2
    err = capsys.readouterr().err
    assert err.startswith("fer: ") and len(err.splitlines()) == 1 and obstacle in err


def test_a_report_of_a_run_that_is_not_finished_is_refused(capsys, results, face_folder):
    for command in ("report", "check"):
        assert "no run" in refused(capsys, results, command)
    run = write_run(results, 1000, data=str(face_folder))
    said = refused(capsys, results, "report", run.path)
    assert "exploration is stale (not finished)" in said and f"fer run --resume {run.name}" in said


@pytest.mark.parametrize("command", [["report"], ["run", "--resume"]])
def test_nothing_is_added_to_an_excerpt(capsys, results, command):
    run = write_run(results, 1000, tuple(stages.REQUIRED))
    run.update(excerpt=True)
    excerpt = run.path.rename(results / "excerpt")
    said = refused(capsys, results, *command, excerpt)
    assert "excerpt: an excerpt of a run" in said and "`fer verify excerpt`" in said


def test_an_unknown_model_has_no_summary(capsys, results):
    assert "basic_model" in refused(capsys, results, "summary", "resnet")


@pytest.mark.parametrize(
    "arguments", [[], ["paint"], ["run", "--fast"], ["data"], ["summary"], ["report", "a", "b"]]
)
def test_an_unknown_command_or_option_has_exit_code_2(capsys, arguments):
    with pytest.raises(SystemExit) as caught:
        commands.main(arguments)
    assert caught.value.code == 2 and "fer" in capsys.readouterr().err


def test_verifying_nothing_is_refused(capsys, results, tmp_path):
    assert "nowhere" in refused(capsys, results, "data", "verify", tmp_path / "nowhere")


def test_an_interruption_is_one_line_and_130(capsys, monkeypatch):
    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(list_runs, "action", interrupted)
    assert commands.main(["list"]) == 130
    err = capsys.readouterr().err
    assert err.startswith("fer: interrupted") and len(err.splitlines()) == 1


def test_the_terminal_is_not_steered_by_what_others_wrote(capsys, results, tmp_path):
    clear = "\x1b[2J\x9b2K\u202e"
    write_run(results, 1000, data=f"/some where/{clear}faces")
    broken = results / f"{clear}_timestamp_2000"
    broken.mkdir()
    (broken / "run.json").write_text("{")
    calls = (
        ["list"],
        ["check", clear],
        ["compare", clear, clear],
        ["run", "--resume", clear],
        ["run", "--data", f"{tmp_path}/{clear}"],
        ["data", "verify", f"{tmp_path}/{clear}"],
        ["predict", f"{tmp_path}/{clear}.jpg"],
    )
    for arguments in calls:
        commands.main(arguments)
        said = "".join(capsys.readouterr())
        assert "[2J" in said, said
        assert all(character.isprintable() or character == "\n" for character in said), said


# -- what is said of data ----------------------------------------------------------------------------------


def test_remarks_on_data_stand_on_the_console_before_a_run_begins(
    capsys, results, tmp_path, make_face_folder, monkeypatch
):
    data = make_face_folder(tmp_path / "set", dict.fromkeys(("neutral", "happy", "surprise"), 40))
    (data / "train/happy/more").mkdir()
    shutil.move(next(data.glob("train/happy/*.jpg")), data / "train/happy/more/a.jpg")
    monkeypatch.setattr(pipeline, "execute", lambda run: print("BEGINS"))
    commands.main(["run", "--preset", "smoke", "--data", str(data), "-p", "train_samples=60"])
    out = capsys.readouterr().out
    said = "data: train/happy/more: 1 image is not used"
    assert said in out and out.index(said) < out.index("BEGINS")
    assert commands.main(["data", "verify", str(data)]) == 2
    out = capsys.readouterr().out
    assert out.startswith(f"image folder {data}\n") and said in out
    assert commands.main(["data", "verify", "bundled"]) == 0


def test_the_advice_for_too_few_images_works_as_it_is_printed(capsys, results, tmp_path, make_face_folder):
    data = make_face_folder(tmp_path / "set", {"neutral": 40, "happy": 40, "surprise": 12})
    given = ["run", "--preset", "smoke", "--data", data, "-p", "batch_size=16"]
    said = refused(capsys, results, *given, "-p", "train_samples=90")
    (advice,) = re.findall(r"\((-p [^)]*)\)", said)
    assert advice == "-p train_samples=36"
    resolved = checking.resolve("smoke", {"data": str(data)} | checking.parse(advice.split()[1:]))
    pipeline.check_data(resolved)
    pipeline.check_data(checking.resolve("smoke", {"data": str(data), "train_samples": None}))


def test_a_home_in_a_setting_is_followed_and_an_unknown_one_refused(capsys, results, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("FER_RESULTS", "~/runs of mine")
    assert paths.results_folder() == tmp_path / "runs of mine"
    (tmp_path / "faces").mkdir()
    assert pipeline.absolute("~/faces") == str(tmp_path / "faces")
    monkeypatch.setenv("FER_RESULTS", "~nobody.at.all/runs")
    assert commands.main(["list"]) == 2
    err = capsys.readouterr().err
    assert "FER_RESULTS = '~nobody.at.all/runs'" in err and len(err.splitlines()) == 1
