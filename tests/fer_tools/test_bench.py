"""The benchmark: its arithmetic by hand, its ratios, a whole quick run."""

import collections
import csv
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from fer_lib import models
from fer_lib.data import load
from fer_lib.files import UsageError
from fer_tools import commands, paths
from fer_tools.bench import contenders, figure, machine, measure, table
from fer_tools.bench.contenders import Way
from fer_tools.bench.process import Child

pytestmark = pytest.mark.slow

# -- counted by hand -----------------------------------------------------------------------------------------

BASIC_MODEL = (
    64 * 64 * (3 * 3 * 1 * 32)  # places of the output x kernel x channels in x filters
    + 32 * 32 * (3 * 3 * 32 * 64)
    + 16 * 16 * (3 * 3 * 64 * 128)
    + 128 * 128
    + 128 * 64
    + 64 * 3
)
PLAIN_FIRST = 148 * 148 * (3 * 3 * 3 * 32)
PLAIN = (
    148 * 148 * (3 * 3 * 3 * 32)  # without padding: 150 -> 148, halved to 74; 72, 36; 34, 17; 15, 7
    + 72 * 72 * (3 * 3 * 32 * 64)
    + 34 * 34 * (3 * 3 * 64 * 64)
    + 15 * 15 * (3 * 3 * 64 * 64)
    + 7 * 7 * 64 * 16
    + 16 * 3
)


def test_multiply_adds_by_hand():
    assert BASIC_MODEL == 38_953_152
    assert PLAIN_FIRST / (3 * PLAIN - PLAIN_FIRST) == pytest.approx(0.0396, abs=5e-5)  # too much, if counted
    for model, forward, first in (
        (models.build("basic_model"), BASIC_MODEL, 64 * 64 * (3 * 3 * 1 * 32)),
        (contenders.plain_network(3), PLAIN, PLAIN_FIRST),
    ):
        counted = contenders.multiply_adds(model)
        assert (counted.forward, counted.step) == (forward, 3 * forward - first)


def executed(graph) -> int:
    """Count the multiply-adds of what a graph computes on the way to its outputs, of a batch of one."""
    found, waiting = {}, [tensor.op for tensor in graph.outputs if tensor is not None]
    while waiting:
        operation = waiting.pop()
        if operation.name not in found:
            found[operation.name] = 0
            waiting += [tensor.op for tensor in operation.inputs]
            shapes = [tensor.shape for tensor in operation.inputs]
            match operation.type:
                case "Conv2D":  # image, kernel
                    found[operation.name] = np.prod(operation.outputs[0].shape[1:3]) * np.prod(shapes[1])
                case "Conv2DBackpropInput":  # size, kernel, gradient of the output
                    found[operation.name] = np.prod(shapes[2][1:3]) * np.prod(shapes[1])
                case "Conv2DBackpropFilter":  # image, size, gradient of the output
                    found[operation.name] = np.prod(shapes[2][1:3]) * np.prod(operation.outputs[0].shape)
                case "MatMul":
                    inner = shapes[0][0 if operation.get_attr("transpose_a") else 1]
                    found[operation.name] = np.prod(operation.outputs[0].shape) * inner
    return int(sum(found.values()))


@pytest.mark.parametrize("name", ["basic_model", "optimized_model", "plain_150", "two_inputs"])
def test_multiply_adds_are_those_that_tensorflow_computes(name):
    """Of a step: in the graph of the loss and of its gradients by all that is trained."""
    import keras
    import tensorflow as tf

    if name == "two_inputs":  # two layers with nothing to learn before them
        images = keras.Input((12, 12, 2))
        branches = [keras.layers.Conv2D(n, 3, activation="relu")(images) for n in (3, 5)]
        pooled = keras.layers.GlobalAveragePooling2D()(keras.layers.Concatenate()(branches))
        model = keras.Model(images, keras.layers.Dense(4)(keras.layers.Dense(6)(pooled)))
    else:
        model = contenders.plain_network(3) if name == "plain_150" else models.build(name)

    @tf.function
    def step(images):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(model(images, training=False) ** 2)
        return [loss, *tape.gradient(loss, [variable.value for variable in model.trainable_variables])]

    @tf.function
    def forward(images):
        return model(images, training=False)

    counted, spec = contenders.multiply_adds(model), tf.TensorSpec((1, *model.input_shape[1:]))
    assert counted.forward == executed(forward.get_concrete_function(spec).graph)
    assert counted.step == executed(step.get_concrete_function(spec).graph)


def test_multiply_adds_of_strides_groups_and_depthwise_kernels():
    import keras
    from keras import layers

    x = inputs = keras.Input((9, 9, 4))
    x = layers.Conv2D(8, 3, strides=2, padding="same", groups=2)(x)  # (5, 5, 8), two channels a kernel
    x = layers.DepthwiseConv2D(3, depth_multiplier=2)(x)  # (3, 3, 16)
    x = layers.BatchNormalization()(x)
    model = keras.Model(inputs, x)
    first, second = 5 * 5 * (3 * 3 * 2 * 8), 3 * 3 * (3 * 3 * 8 * 2)
    assert contenders.multiply_adds(model) == contenders.Arithmetic(first + second, 2 * first + 3 * second)


def test_arithmetic_that_is_not_known_is_not_left_out():
    import keras

    model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.SeparableConv2D(4, 3, name="odd")])
    with pytest.raises(UsageError, match=r"'odd'.* SeparableConv2D"):
        contenders.multiply_adds(model)


def test_the_plain_network_keeps_the_limit_of_the_assignment():
    model = contenders.plain_network(3)
    assert model.input_shape == (None, 150, 150, 3)
    assert model.count_params() == 143_491 <= models.PARAMETER_LIMIT
    assert "143,491" in contenders.plain_network.__doc__


def rounds(*values: tuple[float, float]) -> list[np.ndarray]:
    return [np.array([value]) for value in values]


def test_ratios_are_taken_within_a_round():
    slow, quick = rounds((2, 4), (30, 6), (8, 8)), rounds((1, 2), (10, 1), (2, 2))
    assert table.ratios(slow, quick) == {
        "wall": 3, "wall_low": 2, "wall_high": 4, "cpu": 4, "cpu_low": 2, "cpu_high": 6,
    }  # fmt: skip
    # Several calls a round: their median, so that one that was held up does not count.
    assert table.ratios([np.array([[9, 9], [2, 2], [1, 1.0]])], rounds((1, 1)))["wall"] == 2


def test_milliseconds_and_shares():
    chosen = contenders.ways(["basic_model"])
    known = {"multiply_adds": 10**6, "step_multiply_adds": 29 * 10**5, "parameters": 1, "input": "1x1x1"}
    facts = {way.name: known for way in chosen}
    samples = {(way.name, command): rounds((0.5, 1)) for way in chosen for command in way.commands}
    samples["plain_150", "train"] = rounds((4, 6))
    flop = 2 * 100**3
    samples["sgemm_one_thread", "sgemm"] = rounds((flop / 5e8, flop / 4e8))  # 0.5 and 0.4 GFLOP/s
    samples["sgemm_all_threads", "sgemm"] = rounds((flop / 8e8, flop / 3e8))
    found = table.summarise(chosen, facts, samples, images=10, matrix=100)
    ours = found["ways"]["basic_model"]
    assert ours["train"]["wall_ms"] == pytest.approx(50) and ours["train"]["cpu_ms"] == pytest.approx(100)
    assert ours["predict"]["wall_ms"] == pytest.approx(500)
    # 10 images x 2.9e6 multiply-adds x 2 in training: 5.8e7 in 0.5 s are 0.116 GFLOP/s.
    assert ours["train"]["gflops"] == pytest.approx(0.116)
    assert ours["train"]["wall_share"] == pytest.approx(0.116 / 0.8)
    assert ours["train"]["cpu_share"] == pytest.approx(0.058 / 0.4)
    assert ours["evaluate"]["cpu_share"] == pytest.approx(0.02 / 0.4)
    assert found["ratios"]["plain_150 / basic_model"]["train"]["wall"] == pytest.approx(8)
    assert found["ratios"]["plain_150 / plain_basic_model"]["train"]["cpu"] == pytest.approx(6)
    assert found["ratios"]["plain_basic_model / basic_model"]["train"]["cpu"] == pytest.approx(1)


def test_other_processes_are_told_from_our_own(monkeypatch):
    """By hand: of 12 s of processors in 10 s of time, 5 s were ours or those of children that have ended."""
    kinds = collections.namedtuple("kinds", "user nice system idle iowait irq steal guest")
    times = [kinds(50, 1, 9, 500, 7, 1, 0, 40), kinds(59, 1, 11, 508, 9, 1, 1, 45)]
    ours, clock = [(1, 1, 4, 2, 99), (2, 1, 7, 3, 999)], [100.0, 110.0]
    monkeypatch.setattr(psutil, "cpu_times", lambda: times.pop(0))
    monkeypatch.setattr(machine.os, "times", lambda: ours.pop(0))
    monkeypatch.setattr(machine.time, "monotonic", lambda: clock.pop(0))
    assert machine.cores_of_others(machine.used_by_others()) == pytest.approx(0.7)
    assert "BUSY" in machine.busy(0.7) and "0.7 cores" in machine.busy(0.7) and not machine.busy(0.05)


def test_another_process_at_work_is_seen():
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as other:
        try:
            before = machine.used_by_others()
            time.sleep(1)
            assert machine.cores_of_others(before) > machine.BUSY
        finally:
            other.kill()


# -- a whole run ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def quick(tmp_path_factory, face_folder) -> tuple[Path, str, float]:
    """Run `fer bench --quick` once: its folder, what it prints, seconds."""
    results = tmp_path_factory.mktemp("results")
    clock = time.perf_counter()
    done = subprocess.run(
        [
            sys.executable,
            *"-m fer_tools bench --quick --model basic_model --data".split(),
            str(face_folder),
        ],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(paths.ROOT), "FER_RESULTS": str(results)},
        check=False,
    )
    assert done.returncode == 0 and not done.stderr, done.stderr
    return results / "bench", done.stdout, time.perf_counter() - clock


def test_a_quick_run_writes_what_it_prints(quick, face_folder):
    folder, out, seconds = quick
    print(f"fer bench --quick: {seconds:.0f} s")
    assert sorted(path.name for path in folder.iterdir()) == [
        f"bench.{k}" for k in ("csv", "json", "png", "svg")
    ]
    document = json.loads((folder / "bench.json").read_text())
    assert document["quick"] and document["size"]["images"] == 32 and str(face_folder) in document["data"]
    assert table.table(document).split() != [] and "NUMBERS MEAN NOTHING" in out
    others = document["machine"]["cores_of_others"]
    assert 0 <= others <= os.cpu_count()
    *_, last_but_two, _, _ = out.splitlines()  # the last one says where it is written
    assert ("BUSY" in last_but_two) == (others > machine.BUSY)
    found = document["ways"]
    assert found.keys() == {"plain_150", "plain_basic_model", "basic_model"}
    assert [found[name]["input"] for name in ("plain_150", "plain_basic_model")] == ["150x150x3", "64x64x1"]
    assert found["basic_model"]["multiply_adds"] == found["plain_basic_model"]["multiply_adds"] == BASIC_MODEL
    for name, entry in found.items():
        assert all(
            entry[command][how] > 0 for command in contenders.COMPARED for how in ("wall_ms", "cpu_ms")
        )
        assert 2e8 < entry["peak_memory"] < 2e10  # bytes
        assert f"{entry['parameters']:,}" in out and name in out
    ratio = document["ratios"]["plain_150 / basic_model"]["train"]["cpu"]
    assert f"{ratio:.1f}" in next(line for line in out.splitlines() if line.startswith("plain_150 / basic"))


def test_the_plain_way_runs_without_our_settings(quick):
    found = json.loads((quick[0] / "bench.json").read_text())["ways"]
    for name, entry in found.items():
        assert all(bool(value) == entry["ours"] for value in entry["settings"].values()), name
        assert entry["ours"] == (name == "basic_model")


def test_every_measurement_is_kept_and_gives_the_summary(quick):
    with open(quick[0] / "bench.csv", encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    document = json.loads((quick[0] / "bench.json").read_text())
    cpu = {
        row["way"]: float(row["cpu_seconds"])
        for row in rows
        if row["measured"] == "train" and row["round"] == "1"
    }
    for way, entry in document["ways"].items():
        assert 1000 * cpu[way] / 32 == pytest.approx(entry["train"]["cpu_ms"], rel=1e-3)
    calls = [row for row in rows if (row["way"], row["measured"]) == ("basic_model", "predict")]
    assert len(calls) == document["size"]["calls"]


def test_the_figure_is_of_the_house(quick):
    drawn = figure.draw(json.loads((quick[0] / "bench.json").read_text()))
    assert drawn.get_size_inches()[0] <= 6.3
    labels = [label.get_text() for label in drawn.axes[0].get_yticklabels()]
    assert len(labels) == 3 and sum(label.startswith("ours") for label in labels) == 1
    with Image.open(quick[0] / "bench.png") as picture:
        assert picture.width > 600


def test_other_commands_do_not_mind_its_results(quick, monkeypatch, capsys):
    monkeypatch.setenv("FER_RESULTS", str(quick[0].parent))
    assert commands.main(["list"]) == 0 and "no runs yet" in capsys.readouterr().out
    assert commands.main(["check"]) == 2 and "no run" in capsys.readouterr().err


def test_files_of_the_data_set_are_used_as_they_are(face_folder, tmp_path):
    faces = measure.write_faces(load.resolve(face_folder), 30, tmp_path)
    written = {path.read_bytes() for path in (tmp_path / "faces").glob("*/*.jpg")}
    assert len(faces) == len(written) == 30
    assert written <= {path.read_bytes() for path in (face_folder / "train").glob("*/*.jpg")}
    assert sorted(path.name for path in (tmp_path / "faces").iterdir()) == [
        "0_neutral",
        "1_happy",
        "2_surprise",
    ]


def test_other_data_are_written_as_jpeg(face_csv, tmp_path):
    faces = measure.write_faces(load.resolve(face_csv), 30, tmp_path)
    for i in (0, 29):
        (file,) = (tmp_path / "faces").glob(f"*/{i}.jpg")
        with Image.open(file) as image:
            assert image.format == "JPEG" and image.size == (48, 48) and image.mode == "L"
            assert np.abs(np.asarray(image, float) - faces.images[i]).mean() < 5
        assert file.parent.name == f"{faces.labels[i]}_{faces.classes[faces.labels[i]]}"


# -- mistakes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--model", "resnet"], "basic_model"),
        (["--model", "basic_model", "../models"], "'../models'"),
        (["--data", "no/such/folder"], "no/such/folder"),
        (["--data", ""], "data"),
        (["--data", "a\nb"], "one line"),
    ],
)
def test_a_mistake_is_one_line_before_anything_begins(arguments, said, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("FER_RESULTS", str(tmp_path / "results"))
    assert commands.main(["bench", *arguments]) == 2
    out, err = capsys.readouterr()
    assert not out and err.startswith("fer: ") and len(err.splitlines()) == 1 and said in err
    assert not (tmp_path / "results").exists()


def test_a_folder_that_cannot_be_written_to_is_found_at_once(tmp_path, monkeypatch, capsys):
    (tmp_path / "results").write_text("a file")
    monkeypatch.setenv("FER_RESULTS", str(tmp_path / "results"))
    assert commands.main(["bench"]) == 2
    out, err = capsys.readouterr()
    assert not out and len(err.splitlines()) == 1 and "cannot be written" in err


def test_a_process_that_is_killed_is_named(tmp_path):
    child = Child(contenders.SGEMM[0], contenders.QUICK, tmp_path)
    try:
        child.process.kill()
        with pytest.raises(UsageError, match=r"sgemm_one_thread ended .exit code -9.*--model"):
            child.answer()
    finally:
        child.close()


def test_what_goes_wrong_in_a_process_is_told(tmp_path):
    child = Child(Way("resnet", "resnet", ours=True), contenders.QUICK, tmp_path)
    np.savez(tmp_path / "faces.npz", images=np.zeros((1, 48, 48), np.uint8), labels=[0], classes=3)
    try:
        with pytest.raises(UsageError, match=r"resnet.*choose one of"):
            child.answer()
    finally:
        child.close()
