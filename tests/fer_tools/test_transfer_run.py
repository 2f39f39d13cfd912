"""Section 8 as a user goes it: `fer run --preset section8`, a report, an interruption, what is refused."""

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import networks
import pandas as pd
import pytest
from made import make_dishes
from processes import alive, begun, descendants, fer, one_core, wait_for

from fer_tools import commands, pipeline
from fer_tools.checks import check
from fer_tools.json_files import write_json
from fer_tools.run.edges import stale_reason
from fer_tools.run.run import Run
from fer_tools.transfer import figures

pytestmark = pytest.mark.slow
FEW = ("--preset", "section8", "-p", "epochs=1", "-p", "repeats=1")


@dataclass
class Pair:
    """Two runs of the same, one to its end, the other killed and resumed."""

    results: Path
    whole: Run
    resumed: Run
    said: tuple[str, str]


@pytest.fixture(scope="module")
def pair(tmp_path_factory) -> Iterator[Pair]:
    folder = tmp_path_factory.mktemp("far transfer")
    data = make_dishes(folder / "dishes", pizza=61, sushi=60)
    (data / "pizza" / "007.jpg").write_bytes(b"no picture")
    results = folder / "results"
    source = networks.held(folder / "small.keras", networks.chain(*networks.SMALL))
    few = (*FEW, "-p", f"source={source}")
    process, killed = begun(results, "run", *few, "--data", data)
    try:
        wait_for(lambda: len(list((killed.path / "checkpoints").glob("[!.]*.npz"))) >= 3, process)
        pids = [*descendants(process.pid), process.pid]
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
    finally:
        process.kill()
        process.communicate()
    wait_for(lambda: not alive(pids))
    kept = {path.name: path.stat().st_mtime_ns for path in (killed.path / "checkpoints").glob("[!.]*.npz")}
    with one_core():
        resumed = fer(results, "run", "--resume", killed.name)
        whole = fer(results, "run", *few, "--data", data, "--report")
    assert resumed.returncode == 0, resumed.stderr
    assert len(kept) >= 3
    assert whole.returncode == 0, whole.stderr
    assert "1 images that cannot be read are left out: pizza/007.jpg" in whole.stdout.splitlines()[0]
    said = resumed.stdout, whole.stdout
    yield Pair(results, Run(Path(whole.stdout.splitlines()[1])), Run(killed.path), said)


def test_it_runs_what_it_needs_and_no_more(pair):
    assert pair.whole.stages == ["transfer"] == pair.whole.finished
    assert "[1/1] 07_transfer" in pair.said[1] and pair.said[1].count("val_accuracy") > 6
    assert {key.split(".")[0] for key in pair.whole.metrics} == {"transfer"}
    assert pair.said[1].splitlines()[-1] == pair.whole.metrics["transfer.tuned.sentence"].removesuffix(".")
    assert "pizza/007.jpg" in pair.whole.metrics["transfer.remarks"]
    assert pair.whole.metrics["transfer.images.total"] == 120
    assert stale_reason(pair.whole, "transfer") is None
    assert not list((pair.whole.path / "checkpoints").glob("*.npz"))  # nothing is kept of trainings


def test_interrupted_and_resumed_gives_the_same_bytes(pair):
    ours, theirs = (run.document["stages"]["transfer"]["outputs"] for run in (pair.whole, pair.resumed))
    assert ours == theirs and len(ours) > 12
    for key in ours:
        if key != "metrics.json":
            assert (pair.whole.path / key).read_bytes() == (pair.resumed.path / key).read_bytes()


def test_the_report_has_all_that_the_assignment_asks_for(pair):
    page = (pair.whole.path / "report.html").read_text(encoding="utf-8")
    assert "Far Transfer from Facial Recognition to Pizza and Sushi" in page
    numbers = pair.whole.metrics
    for name in ("frozen_transfer", "frozen_random", "tuned_transfer", "tuned_random"):
        assert f"{numbers[f'transfer.{name}.accuracy']:.1%}" in page.replace("\N{NARROW NO-BREAK SPACE}", "")
    for said in ("dense_topic", "m3", "McNemar", "frozen transfer", "trained from random"):
        assert said in page
    assert (pair.whole.path / "report.pdf").stat().st_size > 10_000
    assert {edge.state for edge in check.edges(pair.whole)} == {"ok"}


def test_the_plot_has_the_title_of_the_assignment(pair):
    curves = pd.read_csv(pair.whole.path / "tables" / "curves.csv")
    numbers = {key.removeprefix("transfer."): value for key, value in pair.whole.metrics.items()}
    figure = figures.far_transfer(curves, numbers, "Pizza and Sushi")
    assert figure.get_suptitle() == "Far Transfer from Facial Recognition to Pizza and Sushi"


def test_other_commands_know_such_a_run(pair, tmp_path):
    listed = fer(pair.results, "list")
    assert pair.whole.name in listed.stdout and not listed.stderr
    assert f"{pair.whole.metrics['transfer.chosen_accuracy']:.1%}" in listed.stdout
    compared = fer(pair.results, "compare", pair.whole.name, pair.resumed.name)
    accuracy = pd.read_csv(pair.whole.path / "tables" / "predictions.csv")["tuned_transfer 0"].mean()
    assert compared.stdout.count(f"seed 0  {accuracy:.1%}") == 2 and "differing: nothing" in compared.stdout
    checked = fer(pair.results, "check", pair.whole.name)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    again = fer(pair.results, "run", "--resume", pair.whole.name)
    assert again.returncode == 0 and "unchanged" in again.stdout
    write_json(pair.resumed.path / "metrics.json", pair.resumed.metrics | {"transfer.tuned.difference": 0.3})
    altered = fer(pair.results, "check", pair.resumed.name)
    assert altered.returncode and "metrics.json (transfer.*) is not what 07_transfer wrote" in altered.stderr


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--data", "{one}"), "1 classes (cat), not two"),
        (("--data", "{three}"), "3 classes (cat, dog, pig), not two; choose two with -p classes=cat,dog"),
        (("--data", "{few}"), "at least 20 are needed"),
        (("--data", "nowhere"), "nowhere: no such file or folder"),
        (("-p", "source=nothing"), "source 'nothing': no network"),
        (("-p", "augmentation=1"), "unknown; valid names are"),
        (("-p", "classes=three,eight"), "the digits are even and odd"),
        (("-p", "source=pyproject.toml"), "no network"),
    ],
)
def test_what_cannot_work_is_refused_in_one_line_before_a_kernel_starts(
    results, tmp_path, make_face_folder, given, said, monkeypatch, capsys
):
    monkeypatch.setattr(pipeline, "interruptible", lambda: None)
    folders = {"one": {"cat": 30}, "three": {"cat": 30, "dog": 30, "pig": 30}, "few": {"cat": 30, "dog": 12}}
    places = {name: make_face_folder(tmp_path / name, counts) for name, counts in folders.items()}
    arguments = [text.format(**places) for text in given]
    assert commands.main(["run", "--preset", "section8", *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("fer: ") and said in line
    assert not list(results.glob("*"))


def test_a_source_without_images_is_refused_in_one_line(tmp_path):
    import keras

    inputs = keras.Input((10,))
    outputs = keras.layers.Dense(2, activation="softmax")(keras.layers.Dense(3)(inputs))
    keras.Model(inputs, outputs, name="table").save(tmp_path / "table.keras")
    done = fer(tmp_path / "results", "run", *FEW, "-p", f"source={tmp_path / 'table.keras'}")
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1
    assert "not square grey images" in done.stderr and "Traceback" not in done.stderr
