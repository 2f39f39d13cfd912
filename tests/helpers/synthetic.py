"""Runs without training: invented numbers and placeholder figures in the shape of a real run."""

import csv
import json
import shutil
from pathlib import Path

from fer_tools import checking
from fer_tools.run import find
from fer_tools.run.run import Run
from fer_tools.run.stage import begin, keep_notebook
from fer_tools.stages import REQUIRED, STAGES

CLASSES = ("neutral", "happy", "surprise")
CREATED = 1_760_000_000
NAME = f"basic_model_50_epochs_timestamp_{CREATED}"
MODEL = "a1b2c3d4" * 8
FIGURES = (
    "counts mean_faces brightness augmentation loss accuracy gap confusion_matrix per_class calibration "
    "mistakes attention"
).split()
HOSTILE = (
    "<script>alert(1)</script>",
    r"$\input{/etc/passwd}$",
    '#eval("1") #panic()',
    "a_b^c % d & e ~ f {g} \\ h",
    "= heading",
    "- item",
    "1. one",
    "/ term: x",
    "*bold* `raw` @nobody <label> [link](x)",
    "//comment /*open",
    ".field",
    "(call)(1)[content]",
    "naïve façade Ωδ 漢字 😀 עברית",
    '"><img src=x onerror=alert(1)>',
    "]{metric=test.accuracy} :::",
    "_" * 70,
)
FIGURES_OF = {
    "exploration": ("counts", "mean_faces", "brightness", "augmentation"),
    "training": (),
    "overfitting": ("loss", "accuracy", "gap"),
    "evaluation": ("confusion_matrix", "per_class", "calibration", "mistakes", "attention"),
}
TABLES_OF = {
    "exploration": ("counts",),
    "training": ("summary", "configuration"),
    "overfitting": (),
    "evaluation": ("per_class", "requirements", "predictions"),
}


def synthetic_metrics() -> dict:
    """Invented metrics under the keys of a real run."""
    shares = {"images": 4000, "validation_images": 1000, "samples": 5000}
    metrics = {
        "data.source": "FER2013 image folder /home/student/fer2013",
        "data.verdict": "authentic",
        "data.remarks": "nothing",
        "data.test_part": "those of its folder test",
        "data.verdict_detail": "all 3 classes equal the published digests",
        "data.digest": "9f2c" * 16,
        "data.classes": ", ".join(CLASSES),
        "data.image_size": 48,
        "data.available.total": 15351,
        "data.test.total": 3838,
        "data.removed.duplicates_within_training": 812,
        "data.removed.leaks_into_test": 193,
        "data.removed.label_conflicts": 24,
        "data.removed.total": 1029,
        "data.seed": 0,
        "model.name": "basic_model",
        "model.parameters": 118531,
        "model.trainable": 118083,
        "model.non_trainable": 448,
        "model.limit": 150000,
        "model.input": "64x64x1",
        "training.optimizer": "Adam",
        "training.learning_rate": 0.001,
        "training.loss": "categorical cross-entropy",
        "training.epochs": 50,
        "training.batch_size": 128,
        "training.steps_per_epoch": 32,
        "training.validation_share": 0.2,
        "training.targets": "labels",
        "training.final_loss": 0.5123,
        "training.final_accuracy": 0.7911,
        "training.final_val_loss": 0.6034,
        "training.final_val_accuracy": 0.7431,
        "overfitting.found": True,
        "overfitting.onset_epoch": 43,
        "overfitting.best_epoch": 41,
        "overfitting.rule": "Over-fitting begins at the first epoch after the minimum of the smoothed "
        "validation loss from which it stays above that minimum for 5 epochs.",
        "overfitting.loss": 0.5432,
        "overfitting.accuracy": 0.7788,
        "overfitting.val_loss": 0.5871,
        "overfitting.val_accuracy": 0.7524,
        "overfitting.gap": 0.0439,
        "overfitting.final_gap": -0.0911,
        "overfitting.sentence": "Over-fitting begins at epoch 43: from there the validation loss stays up.",
        "test.images": 3838,
        "test.source": "FER2013 image folder /home/student/fer2013",
        "test.verdict": "authentic",
        "test.seen_in_training": 0,
        "test.accuracy": 0.73913,
        "test.accuracy_low": 0.72504,
        "test.accuracy_high": 0.75279,
        "test.loss": 0.61234,
        "test.loss_low": 0.58991,
        "test.loss_high": 0.63477,
        "test.balanced_accuracy": 0.7312,
        "test.majority_class": "happy",
        "test.majority_accuracy": 0.4622,
        "test.macro_f1": 0.72817,
        "test.ece": 0.03219,
        "test.target": 0.6,
        "test.target_reached": True,
        "test.target_sentence": "The target of 60% is reached: the whole interval lies above it.",
        "test.twins.images": 204,
        "test.twins.accuracy": None,
        "test.without_twins.images": 3634,
        "test.without_twins.accuracy": 0.7367,
    }
    return metrics | {f"training.{key}": value for key, value in shares.items()}


def synthetic_tables() -> dict[str, list[tuple]]:
    layers = [("input_layer", "InputLayer", "(None, 64, 64, 1)", 0)]
    layers += [
        (name, kind, "(None, 64, 64, 1)", 0)
        for name, kind in (("rescaling", "Rescaling"), ("random_flip", "RandomFlip"))
    ]
    for i, (size, filters, count) in enumerate(((64, 32, 320), (32, 64, 18496), (16, 128, 73856))):
        suffix = f"_{i}" if i else ""
        shape = f"(None, {size}, {size}, {filters})"
        layers.append((f"conv2d{suffix}", "Conv2D", shape, count))
        layers.append((f"batch_normalization{suffix}", "BatchNormalization", shape, 4 * filters))
        layers.append((f"activation{suffix}", "Activation", shape, 0))
        layers.append(
            (f"max_pooling2d{suffix}", "MaxPooling2D", f"(None, {size // 2}, {size // 2}, {filters})", 0)
        )
    layers.append(("global_average_pooling2d", "GlobalAveragePooling2D", "(None, 128)", 0))
    layers += [("dense", "Dense", "(None, 128)", 16512), ("dropout", "Dropout", "(None, 128)", 0)]
    layers += [("dense_1", "Dense", "(None, 64)", 8256), ("dropout_1", "Dropout", "(None, 64)", 0)]
    layers.append(("dense_2", "Dense", "(None, 3)", 195))
    values = (0.7123456, 0.68, 0.7402)
    interval = [f"{name}{end}" for name in ("precision", "recall", "f1") for end in ("", "_low", "_high")]
    return {
        "summary": [("layer", "type", "output shape", "parameters"), *layers],
        "configuration": [
            ("setting", "value"),
            ("input", "64x64x1"),
            ("optimiser", "Adam"),
            ("learning rate", 0.001),
            ("loss", "categorical cross-entropy"),
            ("epochs", 50),
            ("batch size", 128),
            ("augmentation", "horizontal flip, rotation up to 0.05 turns, zoom up to 0.1"),
        ],
        "counts": [
            ("class", "available", "removed", "training", "validation", "test"),
            ("neutral", 4965, 301, 1333, 333, 1233),
            ("happy", 7215, 402, 1333, 333, 1774),
            ("surprise", 3171, 326, 1334, 334, 831),
            ("total", 15351, 1029, 4000, 1000, 3838),
        ],
        "per_class": [
            ("class", "images", "predicted", *interval),
            *((name, 1233 + i, 1200 + i, *(values * 3)) for i, name in enumerate(CLASSES)),
        ],
        "requirements": [
            ("requirement", "required", "measured", "passed"),
            ("parameters", "at most 150,000", "118,531", True),
            ("images for training and validation", "5,000", "5,000", True),
            ("model saved before over-fitting", "yes", "epoch 41, over-fitting from epoch 43", True),
            ("test accuracy", "at least 60%", "73.9% (72.5% to 75.3%)", False),
        ],
    }


def synthetic_run(folder: Path, figures: tuple[str, ...] = tuple(FIGURES)) -> Path:
    """Write a run directory of invented numbers and placeholder figures; return it."""
    import matplotlib
    from matplotlib.figure import Figure

    for part in ("figures", "tables"):
        (folder / part).mkdir(parents=True)
    write_json(folder / "metrics.json", synthetic_metrics())
    run = {
        "name": NAME,
        "created": CREATED,
        "model_file": f"results/{NAME}.keras",
        "parameters": {
            "exploration": {"classes": list(CLASSES), "data": "fer2013", "seed": 0},
            "training": {
                "epochs": 50,
                "learning_rate": 0.001,
                "seed": 0,
                "momentum": 0.9,
                "train_samples": None,
            },
        },
        "stages": {"overfitting": {"status": "done", "outputs": {"model.keras": MODEL}, "seconds": 4.7}},
        "versions": {"keras": "3.15.0", "numpy": "2.4.0", "python": "3.11.9", "tensorflow": "2.21.0"},
        "git": {"commit": "0123456789abcdef0123456789abcdef01234567", "dirty": False},
        "data": {"source": "fer2013", "digest": "9f2c" * 16, "verdict": "authentic", "detail": "x"},
    }
    write_json(folder / "run.json", run)
    for name, rows in synthetic_tables().items():
        with open(folder / "tables" / f"{name}.csv", "w", encoding="utf-8", newline="") as handle:
            csv.writer(handle).writerows(rows)
    with matplotlib.rc_context({"svg.hashsalt": "fixed"}):
        for first, height in enumerate((3.2, 2.4, 4.2)):
            figure = Figure(figsize=(6.2, height), layout="constrained")
            axes = figure.subplots()
            axes.plot(range(1, 51), [0.5 + 1 / (1 + x / 9) for x in range(50)])
            axes.set(xlabel="epoch", ylabel="value", title="placeholder figure of a test")
            for kind, date in (("svg", "Date"), ("pdf", "CreationDate")):
                drawn = folder / "figures" / f"{figures[first]}.{kind}"
                figure.savefig(drawn, metadata={date: None})
                for name in figures[first + 3 :: 3]:
                    shutil.copy(drawn, folder / "figures" / f"{name}.{kind}")
    return folder


def write_json(path: Path, value: dict) -> None:
    path.write_text(json.dumps(value), encoding="utf-8")


def predictions(hits: str) -> str:
    """Return predictions.csv of a test set of happy faces: `+` is right, `-` is wrong."""
    lines = [f"f{i},happy,{'happy' if hit == '+' else 'neutral'}" for i, hit in enumerate(hits)]
    return "\n".join(["name,label,predicted", *lines]) + "\n"


def make_run(template: Path, faces: Path, hits: str = "++-", **values) -> Run:
    """Go through what `fer run` does to a run, without executing a notebook."""
    resolved = checking.resolve("smoke", {"data": str(faces), "train_samples": None} | values)
    run = find.create("basic_model_3_epochs")
    run.update(parameters=resolved)
    for stage, kind in ((name, STAGES[name]) for name in REQUIRED):
        opened = begin(stage, checking.build(stage, resolved[stage] | {"run": str(run.path)}))
        for epoch in (1, 2) if stage == "training" else ():
            path = run.path / "checkpoints" / f"epoch_{epoch:03d}.keras"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(b"weights %d" % epoch)
            (run.path / "history.csv").write_text("epoch,loss\n1,1.0\n2,0.9\n")
            opened.keep(path, run.path / "history.csv")
        if stage == "overfitting":
            opened.keep_model(2)
        for folder, kinds, names in (
            ("figures", ("svg", "pdf"), FIGURES_OF[stage]),
            ("tables", ("csv",), TABLES_OF[stage]),
        ):
            (run.path / folder).mkdir(exist_ok=True)
            for file in [run.path / folder / f"{name}.{end}" for name in names for end in kinds]:
                if file.stem == "predictions":
                    file.write_text(predictions(hits))
                else:
                    shutil.copy(template / folder / file.name, file)
                opened.keep(file)
        for prefix in kind.prefixes:
            found = {k: v for k, v in synthetic_metrics().items() if k.startswith(prefix)}
            opened.record(prefix[:-1], {key.removeprefix(prefix): value for key, value in found.items()})
        opened.finish()
        executed = run.path / "notebooks" / f"{kind.notebook}.ipynb"
        executed.parent.mkdir(exist_ok=True)
        executed.write_text("{}")
        keep_notebook(run, stage)
    return run
