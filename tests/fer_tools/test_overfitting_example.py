"""The training that over-fits, which notebook 03 shows: committed, and still what it is said to be."""

import copy
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from asserting import refusal
from staged import write_run

from fer_lib import models, overfitting, training
from fer_lib.data import load
from fer_lib.data.picture import network_input
from fer_lib.files import sha256_of_file
from fer_tools import checking, commands, notebooks, renew, stages
from fer_tools.json_files import read_json, write_json
from fer_tools.overfit import committed, example, figures
from fer_tools.run import machine
from fer_tools.run.run import Run

PARAMETERS = checking.resolve(example.PRESET, {})["training"]


@pytest.fixture(scope="module")
def about() -> dict[str, Any]:
    """Give what history.json says."""
    return read_json(committed.path().with_suffix(".json"))


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a copy of the committed history, beside how it was made, that takes its place."""
    for path in (committed.path(), committed.path().with_suffix(".json")):
        shutil.copy(path, tmp_path)
    path = tmp_path / committed.path().name
    monkeypatch.setattr(committed, "path", lambda: path)
    return path


def by_pandas(losses: Any, window: int = 5, patience: int = 5) -> tuple[int, int, float]:
    """Return onset, epoch kept, and how far the last epochs stay above the minimum, in deviations of noise.

    Of the rule's three parts the first two, in other words; the third, simulated there, is here a plain
    estimate of noise: the standard deviation of what smoothing takes away.
    """
    loss = pd.Series(np.asarray(losses), index=range(1, len(losses) + 1))
    smooth = loss.rolling(window, center=True, min_periods=1).median()
    lowest = smooth[smooth == smooth.min()].index[-1]
    above = (smooth > smooth.min()).astype(int)[::-1].rolling(patience).min()[::-1]  # from here on, so many
    onset = above.loc[lowest + 1 :].eq(1).idxmax()
    kept = loss.loc[max(1, onset - 1 - window // 2) : onset - 1].idxmin()
    return onset, kept, (smooth.iloc[-patience:].min() - smooth.min()) / (loss - smooth).std()


# -- is it what it is said to be? ---------------------------------------------------------------------------


def test_it_is_of_the_preset_and_of_the_bundled_faces(about):
    assert about["parameters"] == PARAMETERS and about["command"] == f"fer run --preset {example.PRESET}"
    assert about["data"] == [load.data_digest("bundled")]
    history = example.history()
    assert list(history["epoch"]) == list(range(1, PARAMETERS["epochs"] + 1))
    assert np.isfinite(history.to_numpy()).all()
    default = checking.resolve("section5", {})["training"]
    shared = ("data", "model", "classes", "learning_rate", "weight_average", "seed")
    assert all(PARAMETERS[name] == default[name] for name in shared)
    assert {PARAMETERS[name] for name in ("dropout", "rotation", "zoom", "weight_decay")} == {0}


def test_its_first_epoch_comes_out_again(about, tmp_path):
    """To the last digit on the machine that it was made on, and elsewhere nearly."""
    chosen = checking.build("training", PARAMETERS)
    training.seed_everything(chosen.seed)
    _, split = load.load_split(chosen)
    parts = [
        (
            network_input(part.images, models.image_size(chosen.model)),
            np.eye(3, dtype=np.float32)[part.labels],
        )
        for part in (split.train, split.validation)
    ]
    network = models.build(chosen.model, **PARAMETERS | {"classes": 3})
    assert network.count_params() == 118_531
    training.compile_model(network, chosen.learning_rate, chosen.weight_average)
    again = training.fit(
        network, *parts, epochs=1, batch_size=chosen.batch_size, seed=chosen.seed, folder=tmp_path
    )
    first = example.history().iloc[0].to_dict()
    here = machine.describe()
    if not machine.differences(about["machine"], here):
        assert again == [first]
    assert again[0] == pytest.approx(first, abs=0.01)


# -- what notebook 03 says of it ----------------------------------------------------------------------------


def test_the_onset_is_what_pandas_finds():
    history = example.history()
    onset, kept, risen = by_pandas(history["val_loss"])
    said = overfitting.find_onset(history["val_loss"])
    assert (said.found, said.onset_epoch, said.best_epoch) == (True, onset, kept)
    assert risen > 2  # clear of noise by another measure of it
    assert 5 < kept < onset < len(history) - 5  # it falls before, and there is a rise to look at


def test_what_the_notebook_concludes_of_it_holds():
    history = example.history().set_index("epoch")
    onset, kept, _ = by_pandas(history["val_loss"])
    first, then, last = (history.loc[epoch] for epoch in (1, kept, history.index[-1]))
    assert history["loss"].iloc[-10:].max() < 0.5 * then["loss"]  # training loss falls to the end
    assert abs(last["val_accuracy"] - then["val_accuracy"]) < 0.03  # as many are right
    assert then["val_loss"] + 0.1 < last["val_loss"] < first["val_loss"] - 0.1  # better than the beginning
    gap = history["val_loss"] - history["loss"]
    assert gap.loc[: onset - 10].iloc[-5:].min() > 0.1  # it opens long before


@pytest.fixture(scope="module")
def cells() -> dict[str, str]:
    """Give the code cells of notebook 03 by name."""
    return {
        cell["id"]: "".join(cell["source"])
        for cell in notebooks.of_stage("overfitting")["cells"]
        if cell["cell_type"] == "code"
    }


def test_the_notebook_says_the_numbers_of_both(cells, results, capsys):
    run = write_run(results, 1, ("training",), train_samples=None)
    falling = pd.DataFrame({"epoch": range(1, 51), "loss": np.linspace(1.2, 0.5, 50), "val_accuracy": 0.5})
    falling["val_loss"] = falling["loss"]
    names: dict[str, Any] = {
        "run": run,
        "settings": SimpleNamespace(window=5, patience=5, min_delta=0.0),
        "history": falling,
        "onset": overfitting.find_onset(falling["val_loss"]),
        "overfitting": overfitting,
        "example": example,
        "side_by_side": figures.side_by_side,
    }
    table = eval(cells["overfit-differences"], names)
    body, _, drawn = cells["overfit-figure"].rpartition("\n")
    exec(body, names)
    figure = eval(drawn, names)
    exec(cells["about-overfit"], names)

    ours = run.document["parameters"]["training"]
    differing = {name: value for name, value in PARAMETERS.items() if value != ours[name]}
    assert table["overfit"].to_dict() == differing and "epochs" in differing
    history = example.history().set_index("epoch")
    onset, kept, _ = by_pandas(history["val_loss"])
    said = capsys.readouterr().out
    assert f"Over-fitting begins at epoch {onset} of {len(history)}: " in said
    assert f"the model of epoch {kept} is kept" in said
    for name in ("loss", "val_loss", "val_accuracy"):
        then, last = history.loc[kept, name], history[name].iloc[-1]
        assert f"\n{name}: {then:.3f} after the epoch kept, {last:.3f} after the last\n" in said

    left, right = figure.axes
    assert left.get_ylim() == right.get_ylim() and left.get_xlim() == right.get_xlim()
    assert "no over-fitting seen" in left.get_title("left")
    assert f"from epoch {onset}" in right.get_title("left")
    for ax, columns in ((left, falling), (right, history)):
        lines = {line.get_label(): line.get_ydata() for line in ax.lines}
        assert np.array_equal(lines["training"], columns["loss"])
        assert any(np.array_equal(values, columns["val_loss"]) for values in lines.values())


# -- files that are missing, or not what they were ----------------------------------------------------------


def changed(path: Path) -> None:
    path.write_text(path.read_text().replace("0", "1", 1))


def replaced_by_link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


FAULTS = {
    "another history": (changed, ".csv", "not the history that history.json describes"),
    "no history": (Path.unlink, ".csv", "history.csv: cannot be read (No such file or directory)"),
    "a link": (replaced_by_link, ".csv", "history.csv: a link"),
    "a large file": (lambda path: path.open("ab").truncate(1 << 30), ".csv", "MB, more than"),
    "no description": (Path.unlink, ".json", "history.json: cannot be read (No such file or directory)"),
    "no object": (lambda path: path.write_text("[]"), ".json", "not the history that history.json describes"),
    "no JSON": (lambda path: path.write_text("{"), ".json", "history.json: not valid JSON"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_other_files_are_refused_in_a_line(name, files):
    example.history()
    spoil, suffix, said = FAULTS[name]
    spoil(files.with_suffix(suffix))
    assert said in refusal(example.history)
    assert said in refusal(stages.STAGES["overfitting"].files, None)


def test_a_run_that_would_show_another_history_is_refused_before_it_begins(files, results, capsys):
    changed(files)
    assert commands.main(["run", "--preset", "smoke"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert FAULTS["another history"][2] in line
    assert not results.exists()


def test_another_history_makes_the_stage_stale(files, run):
    from fer_tools.run.edges import stale_reason

    assert stale_reason(run, "overfitting") is None
    content = files.read_text().replace("0.", "0.1", 1)
    files.write_text(content)
    write_json(files.with_suffix(".json"), {"sha256": sha256_of_file(files)})
    assert stale_reason(run, "overfitting") == "its example have changed"


# -- renewed ------------------------------------------------------------------------------------------------


def made(results: Path, **given: Any) -> Run:
    """Return a run of the preset as it is after training, with a history of its own."""
    run = write_run(results, 7, ("training",), label="basic_model_50_epochs")
    (run.path / "history.csv").write_text("epoch,loss\n1,0.5\n")
    inputs = {"data": ["d"], "environment": {"keras": "3"}}
    entry = {"status": "done", "seconds": 2.5, "outputs": {}, "inputs": inputs}
    run.update(parameters=checking.resolve(example.PRESET, given), threads=2, machine={"cores": 2})
    run.set_stage("training", entry)
    return run


def test_it_is_renewed_from_the_newest_run_of_the_preset(files, results, monkeypatch, capsys):
    monkeypatch.setattr(renew, "stale_reason", lambda run, stage, anywhere=True: None)
    assert renew.main(["overfit"]) == 2
    assert "no run of the preset overfit; `fer run --preset overfit` first" in capsys.readouterr().err
    run = made(results)
    assert renew.main(["overfit"]) == 0
    assert files.read_bytes() == (run.path / "history.csv").read_bytes() and len(example.history()) == 1
    assert read_json(files.with_suffix(".json")) == {
        "command": "fer run --preset overfit",
        "parameters": PARAMETERS,
        "sha256": sha256_of_file(files),
        "data": ["d"],
        "environment": {"keras": "3"},
        "git": None,
        "machine": {"cores": 2},
        "threads": 2,
        "seconds": 2.5,
    }


def test_of_a_run_that_will_not_do_nothing_is_taken(files, results, monkeypatch, capsys):
    before = files.read_bytes()
    other = made(results, seed=1)
    assert "not of the preset overfit" in refusal(example.commit, other)
    document = copy.deepcopy(other.document)
    other.update(parameters=checking.resolve(example.PRESET, {}), stages={})
    assert "is not finished" in refusal(example.commit, other)
    other.update(stages=document["stages"])
    monkeypatch.setattr(renew, "stale_reason", lambda run, stage, anywhere=True: "its data have changed")
    assert renew.main(["overfit"]) == 2
    assert "training is stale (its data have changed)" in capsys.readouterr().err
    assert files.read_bytes() == before
