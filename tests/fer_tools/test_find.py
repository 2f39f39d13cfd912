"""Runs are made under names that never collide, and found by name or by what they hold."""

import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from staged import choose, settings, train, write_run

from fer_lib.files import UsageError
from fer_tools import paths
from fer_tools.run import find
from fer_tools.run.stage import begin

pytestmark = pytest.mark.usefixtures("results")


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
    monkeypatch.setattr(find.time, "time", lambda: 1_760_000_000.5)  # all in the same second
    barrier = threading.Barrier(8)

    def several(_):
        barrier.wait()
        return [find.create("same") for _ in range(12)]

    with ThreadPoolExecutor(8) as pool:
        made = [run for part in pool.map(several, range(8)) for run in part]
    assert len({run.name for run in made}) == 96 == len(os.listdir(results))
    assert all(run.document["name"] == run.name for run in made)  # no one wrote into another's


def test_many_processes_at_once_get_different_names(results):
    code = "from fer_tools.run import find\nfor _ in range(20): print(find.create('same').name)"
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


def test_a_full_disk_is_an_error_of_one_line(monkeypatch):
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


def test_all_runs_are_listed_newest_first_and_newest_has_the_stages(results):
    assert find.all_runs() == []
    with pytest.raises(UsageError, match="fer run"):
        find.newest()
    made = [write_run(results, created, done) for created, done in [(9, ()), (1000, ("training",)), (80, ())]]
    write_run(results, 500, ("training", "overfitting"), label="z")
    (results / "half_timestamp_5000").mkdir()  # a directory just made
    (results / "notes").mkdir()
    assert [document["created"] for _, document in find.all_runs()] == [1000, 500, 80, 9]
    assert find.newest().name == made[1].name
    assert find.newest(("training",)).name == made[1].name
    assert find.newest(("training", "overfitting")).document["created"] == 500
    with pytest.raises(UsageError, match="training and evaluation"):
        find.newest(("training", "evaluation"))


def test_a_notebook_alone_starts_a_run_or_takes_the_newest_that_fits(faces):
    trained = train(faces, epochs=2)
    assert trained.name.startswith("basic_model_2_epochs_timestamp_")
    explored = begin("exploration", settings("exploration", data=str(faces)))
    assert explored.path != trained.path and explored.name.startswith("exploration_timestamp_")
    assert choose().path == trained.path  # though the exploration is newer
    with pytest.raises(UsageError, match="no training yet"):
        begin("overfitting", settings("overfitting", explored))
