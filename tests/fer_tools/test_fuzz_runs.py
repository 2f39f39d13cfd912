"""Fuzz tests of runs: parameters, the files of a run, the numbers in them; see `fuzzing`."""

import ast
import csv
import json
import os
import shutil
import stat
from dataclasses import asdict
from pathlib import Path

import fuzzing
import numpy as np
import pytest
from fuzzing import COUNTS, DAMAGE, FUZZ, JSON_VALUES, KEEP, answer, damaged, edited, watched
from hypothesis import example, given
from hypothesis import strategies as st
from synthetic import make_run, synthetic_run

from fer_lib import evaluation, models, overfitting
from fer_lib.data.readers.source import FER2013_CLASSES
from fer_lib.files import UsageError
from fer_tools import checking, commands, json_files
from fer_tools.report import build
from fer_tools.run import provenance
from fer_tools.run.run import Run
from fer_tools.run.stage import KEEPS_NOTEBOOK, begin
from fer_tools.stages import STAGES

pytestmark = pytest.mark.filterwarnings("ignore")
sandbox, summary = fuzzing.sandbox, fuzzing.summary
small = fuzzing.small


# -- parameters --------------------------------------------------------------------------------------------

VALUE = (
    JSON_VALUES
    | st.lists(st.sampled_from(FER2013_CLASSES) | st.text(max_size=5), max_size=8)
    | st.sampled_from([np.int64(3), np.float32(0.5), float("nan"), 1e-3, "1e-3", ("happy", "sad")])
)
PARAMETER = st.sampled_from(checking.names()) | st.text(max_size=8)


@FUZZ
@given(
    st.sampled_from(list(STAGES)),
    st.dictionaries(PARAMETER, VALUE | st.binary(max_size=4), max_size=5),
)
def test_parameters_built(stage: str, values: dict):
    if built := answer("parameters, built", checking.build, stage, values):
        plain = checking.plain(built)
        assert (
            checking.plain(checking.build(stage, plain))
            == plain
            == json.loads(json.dumps(plain, allow_nan=False))
        )


@FUZZ
@given(
    st.lists(
        st.text(max_size=30)
        | st.tuples(PARAMETER, st.text(max_size=30) | st.integers().map(str) | st.floats().map(str)).map(
            "=".join
        ),
        max_size=4,
    )
)
def test_parameters_of_the_command_line(given_: list[str]):
    resolved = answer("parameters, command line", lambda: checking.resolve("smoke", checking.parse(given_)))
    assert resolved is None or json.loads(json.dumps(resolved, allow_nan=False)) == resolved


@FUZZ
@given(
    st.sampled_from(list(STAGES)),
    st.dictionaries(st.sampled_from(checking.names()), VALUE, max_size=4),
)
def test_parameter_cells(stage: str, values: dict):
    """What papermill writes into the cell is the value itself, and the next cell builds or refuses it.

    Of bytes papermill makes what is no Python; they are left out, for `checking.build` lets none come to it.
    """
    from papermill.translators import PythonTranslator

    cell = PythonTranslator.codify(values)
    variables = asdict(STAGES[stage].parameters())
    for node in ast.parse(cell).body:
        assert isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
        # float('nan') and float('inf') are the only calls that papermill writes.
        names = {each.id for each in ast.walk(node.value) if isinstance(each, ast.Name)}
        assert names <= {"float"}
    exec(cell, variables)
    answer("parameter cells", checking.collect, stage, variables)


# -- the files of a run ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(small: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Return a run that is done, without having executed a notebook; do not write into it."""
    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FER_RESULTS", str(folder / "results"))
        patch.setenv(KEEPS_NOTEBOOK, "1")
        return make_run(synthetic_run(folder / "template"), small / "faces")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out what takes long and does not depend on the files of a run; no notebook, no pandoc."""

    def refuse(*_: object, **__: object) -> None:
        raise UsageError("not executed")

    environment, code = provenance.versions(), {}

    def digest(stage: str, model: str | None = None) -> str:
        assert isinstance(stage, str)
        return code.setdefault((stage, repr(model)), now(stage, model))

    now = provenance.code_digest
    monkeypatch.setattr(provenance, "code_digest", digest)
    monkeypatch.setattr(provenance, "versions", lambda: environment)
    monkeypatch.setattr(provenance, "git_state", lambda: {"commit": None, "dirty": None})
    monkeypatch.setattr("papermill.execute_notebook", refuse)
    monkeypatch.setattr(build, "convert", lambda *_: b"text")
    monkeypatch.setattr(build, "compile_pdf", lambda *_: b"pdf")
    networks = models.names()
    monkeypatch.setattr(models, "names", lambda: networks)


COMMANDS = (["list"], ["check"], ["report"], ["compare"], ["verify"], ["run", "--resume"])


def _asked(
    command: list[str], run: Run, other: Run, capsys: pytest.CaptureFixture[str]
) -> tuple[int, list[str]]:
    """Return exit code and lines of standard error of a command on a run; `compare` takes another, too."""
    others = [str(other.path)] if command == ["compare"] else []
    arguments = [*command, *([] if command == ["list"] else [run.name]), *others]
    try:
        with watched():
            code = commands.main(arguments)
    finally:
        out, err = capsys.readouterr()
    assert code in (0, 1, 2) and "Traceback" not in out + err
    lines = err.splitlines()
    assert all(line.startswith("fer: ") for line in lines), err
    return code, lines


@FUZZ
@given(
    data=st.data(),
    name=st.sampled_from(["run.json", "run.json", "metrics.json", "report.json", "tables/predictions.csv"]),
    how=st.sampled_from(["edited", "edited", "bytes"]),
    command=st.sampled_from(COMMANDS),
    honest=st.booleans(),
)
def test_files_of_a_run(sandbox: Path, quick, finished: Run, capsys, data, name, how, command, honest):
    results = sandbox / "results"
    shutil.rmtree(results, ignore_errors=True)
    shutil.copytree(finished.path.parent, results)
    run = Run(results / finished.name)
    file = run.path / name
    if name == "report.json":
        file.write_text(
            json.dumps({"inputs": "0" * 64, "outputs": dict.fromkeys(("report.html",), "0" * 64)})
        )
    if how == "edited" and name.endswith(".json"):
        text = json.dumps(data.draw(edited(json.loads(file.read_text()))))
        file.write_bytes(text.encode("utf-8", "surrogatepass"))
    else:
        file.write_bytes(damaged(file.read_bytes(), data.draw(DAMAGE), data.draw(KEEP)))
    if honest and name in ("metrics.json", "tables/predictions.csv"):  # their digest is altered with them
        document = run.document
        outputs = document["stages"]["evaluation"]["outputs"]
        outputs["tables/predictions.csv"] = run.digest("tables/predictions.csv")
        json_files.write_json(run.path / "run.json", document)
    code, lines = _asked(command, run, finished, capsys)
    assert command == ["check"] or len(lines) <= 1, lines
    COUNTS["files of a run", {0: "answered", 1: "answered", 2: "refused"}[code]] += 1


PLACES = st.sampled_from(
    "run.json metrics.json history.csv report.json report.html .lock figures tables checkpoints notebooks "
    "figures/loss.svg tables/predictions.csv checkpoints/epoch_001.keras checkpoints/state.npz "
    "notebooks/03_overfitting.ipynb notebooks/kernel.log figures/new tables/new.csv new new/new".split()
)


def _put(path: Path, what: str, target: Path) -> None:
    """Put something in the place of a file or folder of a run."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    path.parent.mkdir(exist_ok=True)
    match what:
        case "link":
            path.symlink_to(target)
        case "second name" if target.is_file():
            path.hardlink_to(target)
        case "pipe":
            os.mkfifo(path)
        case "hole":
            path.touch()
            os.truncate(path, 1 << 40)
        case "folder":
            path.mkdir()
        case "file":
            path.write_bytes(b"x")


def _state(folder: Path) -> dict[Path, tuple[int, int, bytes]]:
    """What lies in a folder; of files with holes, their size alone."""
    found = {path: path.lstat() for path in folder.rglob("*")}
    small = {
        path for path, status in found.items() if stat.S_ISREG(status.st_mode) and status.st_size < 1 << 20
    }
    return {
        path: (status.st_mode, status.st_size, path.read_bytes() if path in small else b"")
        for path, status in found.items()
    }


@FUZZ
@given(
    puts=st.lists(
        st.tuples(PLACES, st.sampled_from([*"link pipe hole folder file none".split(), "second name"])),
        min_size=1,
        max_size=3,
    ),
    target=st.sampled_from(["mine", "folder", "folder/mine", "none", "results", "/dev/zero"]),
    entry=st.none() | st.sampled_from(["../../mine", "../mine", "/etc/passwd", "figures/mine", "new"]),
    command=st.sampled_from(COMMANDS),
)
def test_what_is_put_into_a_run(sandbox: Path, quick, finished: Run, capsys, puts, target, entry, command):
    """Links, pipes, holes, second names of files elsewhere: what lies outside stays as it was."""
    results, mine = sandbox / "results", sandbox / "outside"
    for folder in (results, mine):
        shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(finished.path.parent, results)
    (mine / "folder").mkdir(parents=True)
    for name in ("mine", "folder/mine", "folder/epoch_001.keras", "folder/loss.svg"):
        (mine / name).write_text("mine")
    run = Run(results / finished.name)
    if entry:
        document = run.document
        document["stages"]["overfitting"]["outputs"][entry] = "0" * 64
        document["stages"]["overfitting"]["replaces"] = [entry]
        json_files.write_json(run.path / "run.json", document)
    for place, what in puts:
        try:
            _put(run.path / place, what, mine / target)
        except OSError:  # in the place of its folder something else was put
            continue
    before = _state(mine)  # where a link was put first, the rest has gone through it
    code, _ = _asked(command, run, finished, capsys)
    assert _state(mine) == before
    COUNTS["what is put into a run", "refused" if code == 2 else "answered"] += 1


@FUZZ
@given(data=st.data(), stage=st.sampled_from(list(STAGES)))
def test_notebooks_that_continue_a_run(sandbox: Path, quick, finished: Run, capsys, data, stage: str):
    results = sandbox / "results"
    shutil.rmtree(results, ignore_errors=True)
    shutil.copytree(finished.path.parent, results)
    file = results / finished.name / "run.json"
    text = json.dumps(data.draw(edited(json.loads(file.read_text()))))
    file.write_bytes(text.encode("utf-8", "surrogatepass"))

    def notebook() -> None:
        run = begin(stage, checking.build(stage, {"run": finished.name}))
        run.parameters("training")
        run.finish()

    answer("run.json, continued", notebook)
    capsys.readouterr()


@FUZZ
@given(
    st.binary(max_size=60)
    | st.text(max_size=40).map(lambda t: t.encode(errors="replace"))
    | JSON_VALUES.map(json.dumps).map(str.encode)
)
@example(b"[" * 100_000)
@example(b"1" * 6000)
def test_json(sandbox: Path, content: bytes):
    (sandbox / "a.json").write_bytes(content)
    answer("JSON", json_files.read_json, sandbox / "a.json")


# -- numbers -----------------------------------------------------------------------------------------------

NUMBERS = (
    st.floats()
    | st.floats(0, 3)
    | st.integers(-3, 10**18)
    | st.sampled_from(["", "x", "1e999", "nan", "0x1"])
)


@FUZZ
@given(
    rows=st.lists(st.tuples(NUMBERS, NUMBERS), max_size=40)
    | st.lists(st.tuples(st.floats(0, 3), st.floats(0, 3)), min_size=1, max_size=80),
    window=st.integers(-2, 60) | st.sampled_from([1, 3, 5]),
    patience=st.integers(-2, 60) | st.integers(1, 9),
    min_delta=st.floats() | st.floats(0, 1),
    damage=st.just([]) | DAMAGE,
)
def test_history(sandbox: Path, rows: list, window: int, patience: int, min_delta: float, damage: list):
    import pandas as pd

    path = sandbox / "history.csv"
    text = "\n".join(["epoch,loss,val_loss", *(f"{i},{a},{b}" for i, (a, b) in enumerate(rows, 1)), ""])
    path.write_bytes(damaged(text.encode(), damage))
    try:
        history = pd.read_csv(path)
    except (ValueError, UnicodeError):  # pandas says so, and notebook 03 with it
        COUNTS["history.csv", "no table"] += 1
        return
    if not {"loss", "val_loss"} <= set(history):
        COUNTS["history.csv", "no column"] += 1
        return
    arguments = history["val_loss"], window, patience, min_delta
    if onset := answer("history.csv", overfitting.find_onset, *arguments):
        assert 1 <= onset.best_epoch <= len(history)
        assert onset.onset_epoch is None or onset.best_epoch < onset.onset_epoch
    answer("history.csv", overfitting.gap, history, count=False)


@FUZZ
@given(
    rows=st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS, st.integers(-1, 4) | NUMBERS), max_size=20),
    classes=st.integers(1, 4),
    fair=st.booleans(),
)
def test_predictions(sandbox: Path, rows: list, classes: int, fair: bool):
    """Probabilities and labels as a table has them, and as a network would give them."""
    import pandas as pd

    path = sandbox / "predictions.csv"
    with open(path, "w", newline="") as handle:
        csv.writer(handle).writerows([("a", "b", "c", "label"), *rows])
    table = pd.read_csv(path)
    probabilities, labels = table[["a", "b", "c"]].to_numpy(), table["label"].to_numpy()
    if fair and rows:
        rng = np.random.default_rng(len(rows))
        probabilities, labels = (
            rng.dirichlet(np.ones(classes), len(rows)),
            rng.integers(0, classes, len(rows)),
        )
    names = [f"c{i}" for i in range(classes)]
    if metrics := answer("predictions", evaluation.evaluate, probabilities, labels, names):
        assert metrics["accuracy_low"] <= metrics["accuracy"] <= metrics["accuracy_high"]
        assert all(value is None or isinstance(value, int | float | str) for value in metrics.values())
