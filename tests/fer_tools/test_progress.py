"""The one progress display: what it counts, the time left, and where a line is shown."""

import sys

import pytest

from fer_lib.files import ROOT
from fer_tools import environment, progress
from fer_tools.progress import EpochProgress, Progress


class Clock:
    """A clock that is set by hand."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch) -> Clock:
    monkeypatch.setattr(progress, "time", Clock())
    monkeypatch.delenv(progress.FILE, raising=False)
    return progress.time


def row(loss: float = 1.0) -> dict[str, float]:
    return {"epoch": 1, "loss": loss, "accuracy": 0.5, "val_loss": 1.0, "val_accuracy": 0.5}


@pytest.mark.parametrize(
    ("seconds", "done", "left"),
    [
        (1.0, 1, ", 0:49 left"),
        (59.6, 49, ", 1:00 left"),
        (60.0, 48, ", 2:00 left"),
        (1.2, 1, ", 0:59 left"),
        (119.6, 49, ", 2:00 left"),
        (2.0, 50, ""),  # nothing is
    ],
)
def test_the_time_left_of_training_is_minutes_and_seconds(clock, capsys, seconds, done, left):
    shown = EpochProgress(50)
    clock.now += seconds
    shown([row()] * done, seconds)  # gone on from an earlier epoch, where there is more than one
    line = f"epoch {done:>2}/50  loss 1.000  accuracy 0.500  val_loss 1.000  val_accuracy 0.500"
    assert capsys.readouterr().out == f"{line}  {seconds:.1f} s{left}\n"


def test_the_time_left_follows_the_last_epochs(clock, capsys):
    shown = EpochProgress(16)
    for done, seconds in enumerate([100, 1, 1, 1, 1, 1], 1):  # the first compiles
        clock.now += seconds
        shown([row()] * done, seconds)
    assert capsys.readouterr().out.splitlines()[-1].endswith(", 0:10 left")


def test_the_time_left_is_of_all_steps_and_runs_down_between_them(clock):
    shown = Progress(5)
    shown.done = 1  # before
    assert shown.left == ""
    clock.now += 30
    shown.step()
    clock.now += 10
    shown.step()  # two at once, and none for long
    assert shown.left == ", 0:40 left"
    clock.now += 15
    assert shown.left == ", 0:25 left"
    clock.now += 100
    assert shown.left == ", 0:00 left"


def test_where_a_line_stays_only_news_are_printed(clock, capsys):
    with Progress(3) as shown:
        for line, news in [("a", 1), ("b", 1), ("c", 2), ("d", None), ("d", None), ("e", None)]:
            shown.show(line, news)
    assert capsys.readouterr().out == "a\nc\nd\ne\n"


def test_a_terminal_has_one_line_in_place_cut_to_its_width(clock, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "20")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    with Progress(3) as shown:
        shown.show("a line that is longer than twenty", 1)
        shown.show("the same news", 1)
    assert capsys.readouterr().out == "\r\033[Ka line that is long\r\033[Kthe same news\n"
    with Progress(3):
        pass
    assert capsys.readouterr().out == ""


def test_a_kernel_writes_its_lines_to_the_file_that_fer_run_prints(clock, tmp_path, monkeypatch):
    monkeypatch.setenv(progress.FILE, str(tmp_path / "lines"))
    shown = Progress(2)
    for line in ("one", "one", "two"):
        shown.show(line)
    assert (tmp_path / "lines").read_text() == "one\ntwo\n"


def test_a_notebook_has_one_display_with_a_bar(clock, monkeypatch, capsys):
    seen = []

    class Handle:
        def update(self, shown) -> None:
            seen.append(shown.data)

    kernelapp = pytest.importorskip("ipykernel.kernelapp")  # imported, it is not yet a kernel
    Progress(2).show("no kernel")
    assert capsys.readouterr().out == "no kernel\n"
    monkeypatch.setattr(kernelapp.IPKernelApp, "initialized", lambda: True)
    monkeypatch.setattr(
        "IPython.display.display", lambda shown, display_id: seen.append(shown.data) or Handle()
    )
    shown = Progress(2)
    shown.step()
    shown.show("half")
    shown.step()
    shown.show("whole")
    assert seen == ["waiting for the first step", f"{'█' * 15}{'░' * 15}  half", f"{'█' * 30}  whole"]
    assert not capsys.readouterr().out


@pytest.mark.parametrize("followed", [False, True])
def test_in_an_open_notebook_the_curves_grow_and_their_last_picture_stays(followed, tmp_path, monkeypatch):
    """In a run that is followed from a terminal, the notebook has the line alone, as ever."""
    nbformat, nbclient = (pytest.importorskip(name) for name in ("nbformat", "nbclient"))
    if followed:
        monkeypatch.setenv(progress.FILE, str(tmp_path / "lines"))
    code = f"""
from fer_tools.progress import EpochProgress
shown, row = EpochProgress(3), {row()}
for done in (1, 2):
    shown([row] * done, 1.0)
"""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    client = nbclient.NotebookClient(
        notebook, kernel_name="python3", resources={"metadata": {"path": str(ROOT)}}
    )
    with environment.for_kernels(tmp_path):
        client.execute()
    line, *pictures = (output["data"] for output in notebook.cells[0].outputs)
    assert "epoch 2/3" in line["text/plain"]
    assert [set(each) for each in pictures] == ([] if followed else [{"image/png", "text/plain"}])
