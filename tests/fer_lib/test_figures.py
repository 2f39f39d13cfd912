import itertools
import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import matplotlib.text
import numpy as np
import pandas as pd
import pytest

from fer_lib import evaluation
from fer_lib.data.faces import DEFAULT_CLASSES, FaceDataset
from fer_lib.data.readers.source import FER2013_CLASSES
from fer_lib.figures import data, style, training
from fer_lib.figures import evaluation as figures
from fer_lib.files import UsageError, sha256_of_file
from fer_lib.overfitting import find_onset


def faces_of(classes, each=24):
    """Noise around a grey level of its own per class; in each class one image occurs twice."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(len(classes)), each)
    images = np.clip(
        90 + 15 * labels[:, None, None] + 30 * rng.standard_normal((len(labels), 48, 48)), 0, 255
    )
    images = images.astype(np.uint8)
    images[1::each] = images[::each]
    names = np.array([f"train/{classes[label]}/{i}.jpg" for i, label in enumerate(labels)])
    return FaceDataset(images, labels, tuple(classes), names)


def history_of(epochs=50, turn=22, jump=None):
    rng = np.random.default_rng(0)
    epoch = np.arange(epochs)
    val_loss = 0.62 + 0.55 * np.exp(-epoch / 12) + 0.012 * np.clip(epoch - turn, 0, None)
    val_loss += 0.02 * rng.standard_normal(epochs)
    if jump is not None:
        val_loss[jump] = 6.0
    loss = 0.4 + 0.7 * np.exp(-epoch / 14)
    return pd.DataFrame(
        {
            "epoch": epoch + 1,
            "loss": loss,
            "accuracy": 1 - 0.45 * loss,
            "val_loss": val_loss,
            "val_accuracy": np.clip(1 - 0.45 * val_loss, 0, 1),
        }
    )


def predictions_of(faces):
    rng = np.random.default_rng(0)
    k = len(faces.classes)
    probabilities = rng.dirichlet(np.ones(k), len(faces)) + 0.7 * np.eye(k)[faces.labels]
    return probabilities / probabilities.sum(axis=1, keepdims=True)


def tables_of(faces, probabilities):
    correct = probabilities.argmax(axis=1) == faces.labels
    rng = np.random.default_rng(0)
    values = {
        "yaw (degrees)": rng.normal(0, 20, len(faces)),
        "age (years)": rng.uniform(3, 80, len(faces)),
        "occluder": rng.choice(["none", "glasses", "hat"], len(faces)),
    }
    return {name: evaluation.accuracy_by(value, correct) for name, value in values.items()}, correct.mean()


def every_figure(classes):
    faces = faces_of(classes)
    conflict = faces.images.copy()
    conflict[-1] = conflict[0]
    doubled = FaceDataset(conflict, faces.labels, faces.classes, faces.names)
    p = predictions_of(faces)
    wrong = evaluation.most_confident_mistakes(p, faces.labels, 12)
    parts = {part: faces.counts() for part in ("available", "training", "validation", "test")}
    maps = np.random.default_rng(0).random((len(faces), 16, 16)).astype(np.float32)
    yield "counts", data.counts(parts)
    yield "gallery", data.gallery(faces)
    yield "mean_faces", data.mean_faces(faces)
    yield "brightness", data.brightness(faces)
    yield "duplicates", data.duplicates(doubled)
    yield "no_duplicates", data.duplicates(faces.take(np.arange(5, 9)))
    yield "augmentation", data.augmentation(faces.images[:2], np.stack([faces.images[:7]] * 2))
    cases = {
        "": history_of(),
        "_early": history_of(turn=3),
        "_late": history_of(turn=38),
        "_never": history_of(turn=99),
        "_jump": history_of(jump=30),
        "_close": history_of().assign(
            val_loss=lambda h: h["loss"] + 0.01, val_accuracy=lambda h: h["accuracy"]
        ),
        "_one": history_of(1),
        "_two": history_of(2),
    }
    for name, history in cases.items() if len(classes) == 3 else ():  # these know nothing of classes
        onset = find_onset(history["val_loss"].to_numpy())
        yield f"loss{name}", training.loss(history, onset)
        yield f"accuracy{name}", training.accuracy(history, onset)
        yield f"gap{name}", training.gap(history, onset)
    predicted = p.argmax(axis=1)
    matrix = evaluation.confusion_matrix(faces.labels, predicted, len(classes))
    yield "confusion_matrix", figures.confusion_matrix(matrix, classes)
    yield "per_class", figures.per_class(evaluation.per_class(faces.labels, predicted, classes))
    yield "calibration", figures.calibration(evaluation.calibration(p, faces.labels))
    yield "mistakes", figures.mistakes(faces.images[wrong], faces.labels[wrong], p[wrong], classes)
    yield "no_mistakes", figures.mistakes(faces.images[:0], faces.labels[:0], p[:0], classes)
    yield "attention", figures.attention(faces.images, maps, faces.labels, p, classes)
    yield "factors", figures.factors(*tables_of(faces, p))


@pytest.mark.parametrize(
    "classes", [DEFAULT_CLASSES, FER2013_CLASSES], ids=["three classes", "seven classes"]
)
def test_every_figure_is_readable_at_column_width(classes, monkeypatch):
    """At most 6.3 inches wide, no text under 8 pt, none outside the figure, none over another."""
    drawn = {}
    draw = matplotlib.text.Text.draw

    def record(text, renderer):
        if text.get_text().strip():
            drawn[text] = text.get_window_extent(renderer)
        draw(text, renderer)

    monkeypatch.setattr(matplotlib.text.Text, "draw", record)
    for name, figure in every_figure(classes):
        assert figure.get_figwidth() <= 6.3, name
        drawn.clear()
        figure.draw_without_rendering()
        assert drawn, name
        for text, box in drawn.items():
            assert text.get_fontsize() >= 8, (name, text)
            outside = max(-box.x0, -box.y0, box.x1 - figure.bbox.x1, box.y1 - figure.bbox.y1)
            assert outside < 2, (name, text, outside)  # pixels, of 100 an inch
        for (one, a), (other, b) in itertools.combinations(drawn.items(), 2):
            width, height = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
            assert width < 1 or height < 2, (name, one, other)


def curves(figure):
    return {line.get_label(): line for ax in figure.axes for line in ax.lines}


def test_training_curves_hold_the_history_and_mark_the_epochs():
    history = history_of()
    onset = find_onset(history["val_loss"].to_numpy())
    assert onset.found
    lines = curves(training.loss(history, onset))
    np.testing.assert_array_equal(lines["training"].get_xydata(), history[["epoch", "loss"]])
    np.testing.assert_array_equal(lines["_each epoch"].get_ydata(), history["val_loss"])
    np.testing.assert_array_equal(lines["validation\n(thin: each epoch)"].get_ydata(), onset.smoothed)
    kept = history["val_loss"][onset.best_epoch - 1]
    assert lines["_value kept"].get_xydata().tolist() == [[onset.best_epoch, kept]]
    texts = {text.get_text() for text in training.loss(history, onset).axes[0].texts}
    assert f"over-fitting from epoch {onset.onset_epoch}" in texts
    assert f"epoch {onset.best_epoch} is kept: loss {kept:.2f}" in texts

    lines = curves(training.accuracy(history, onset))
    np.testing.assert_array_equal(lines["training"].get_ydata(), history["accuracy"])
    np.testing.assert_array_equal(lines["_each epoch"].get_ydata(), history["val_accuracy"])
    lines = curves(training.gap(history, onset))
    np.testing.assert_allclose(lines["_each epoch"].get_ydata(), history["val_loss"] - history["loss"])

    calm = history_of(turn=99)
    texts = {t.get_text() for t in training.loss(calm, find_onset(calm["val_loss"])).axes[0].texts}
    assert "no over-fitting seen" in texts and not any("over-fitting from" in text for text in texts)


def test_a_jump_is_cut_off_and_its_height_given():
    history = history_of(jump=30)
    ax = training.loss(history, find_onset(history["val_loss"].to_numpy())).axes[0]
    assert ax.get_ylim()[1] < 3
    assert "up to 6.0" in {text.get_text() for text in ax.texts}


def test_a_gap_around_zero_is_not_cut_off():
    """Most of it is below zero, as dropout and augmentation make it; a little above is no jump."""
    history = history_of(turn=99)
    history["loss"] = history["val_loss"] + np.where(np.arange(len(history)) < 3, -0.03, 0.04)
    ax = training.gap(history, find_onset(history["val_loss"])).axes[0]
    texts = {text.get_text() for text in ax.texts}
    assert not any("up to" in text for text in texts) and any(text.endswith("gap −0.040") for text in texts)


def test_pictures_hold_the_pixels():
    faces = faces_of(DEFAULT_CLASSES)
    means = data.mean_faces(faces)
    images = [ax.images[0].get_array() for ax in means.axes if ax.images and ax.get_title()]
    for i, image in enumerate(images):
        np.testing.assert_allclose(image, faces.images[faces.labels == i].mean(axis=0), rtol=1e-5)
    assert len(images) == 3

    known = {image.tobytes() for image in faces.images[faces.labels == 2]}
    row = data.gallery(faces, n=10, seed=3).axes[2].images[0].get_array()
    tiles = [row[:, i * 50 : i * 50 + 48] for i in range(10)]
    assert len({np.asarray(tile).tobytes() for tile in tiles} & known) >= 9

    p = predictions_of(faces)
    wrong = evaluation.most_confident_mistakes(p, faces.labels, 5)
    figure = figures.mistakes(faces.images[wrong], faces.labels[wrong], p[wrong], faces.classes)
    for ax, i in zip(figure.axes, wrong, strict=False):
        np.testing.assert_array_equal(ax.images[0].get_array(), faces.images[i])
        true, predicted = (faces.classes[k] for k in (faces.labels[i], p[i].argmax()))
        assert ax.get_xlabel() == f"{true}\n→ {predicted} {100 * p[i].max():.0f} %"


def test_duplicates_are_counted_by_label():
    faces = faces_of(DEFAULT_CLASSES)
    images = faces.images.copy()
    images[-1] = images[0]  # surprise, but pixels of a neutral face
    figure = data.duplicates(FaceDataset(images, faces.labels, faces.classes, faces.names))
    titles = [text.get_text() for text in figure.findobj(matplotlib.text.Text)]
    assert "identical images with the same label: 3 pairs" in titles
    assert "identical images with conflicting labels: 1 pair" in titles
    assert "neutral | surprise" in titles


def test_attention_lays_the_map_over_the_whole_face():
    faces = faces_of(DEFAULT_CLASSES)
    p = predictions_of(faces)
    maps = np.random.default_rng(0).random((len(faces), 16, 16)).astype(np.float32)
    figure = figures.attention(faces.images, maps, faces.labels, p, faces.classes, n=4)
    right = np.flatnonzero(p.argmax(axis=1) == faces.labels)[:4]
    overlays = [ax for ax in figure.axes if len(ax.images) == 2]
    assert len(overlays) == 8
    for ax, i in zip(overlays, right, strict=False):
        face, heat = ax.images
        np.testing.assert_array_equal(face.get_array(), faces.images[i])
        np.testing.assert_array_equal(heat.get_array(), maps[i])
        assert face.get_extent() == heat.get_extent()


def test_numbers_in_the_evaluation_figures():
    matrix = np.array([[30, 10], [5, 15]])
    ax = figures.confusion_matrix(matrix, ("neutral", "happy")).axes[0]
    np.testing.assert_allclose(ax.collections[0].get_array(), [[0.75, 0.25], [0.25, 0.75]])
    assert [text.get_text() for text in ax.texts] == ["75 %\n30", "25 %\n10", "25 %\n5", "75 %\n15"]

    parts = {"training": {"neutral": 12, "happy": 34}, "test": {"neutral": 5, "happy": 6}}
    widths = [[bar.get_width() for bar in ax.patches] for ax in data.counts(parts).axes]
    assert widths == [[12, 34], [5, 6]]

    faces = faces_of(DEFAULT_CLASSES)
    p = predictions_of(faces)
    table = evaluation.per_class(faces.labels, p.argmax(axis=1), faces.classes)
    for ax, key in zip(figures.per_class(table).axes, ("precision", "recall", "f1"), strict=True):
        lines, dots = ax.collections
        np.testing.assert_allclose(dots.get_offsets()[:, 0], table[key])
        ends = np.array([segment[:, 0] for segment in lines.get_segments()])
        np.testing.assert_allclose(ends, table[[f"{key}_low", f"{key}_high"]])

    table = evaluation.calibration(p, faces.labels)
    full = table[table["count"] > 0]
    above, below = figures.calibration(table).axes
    np.testing.assert_allclose(above.collections[1].get_offsets(), full[["confidence", "accuracy"]])
    assert [bar.get_height() for bar in below.patches] == full["count"].tolist()

    tables, overall = tables_of(faces, p)
    shown = {ax.get_title(loc="left"): ax for ax in figures.factors(tables, overall).axes}
    for name, table in tables.items():
        np.testing.assert_allclose(shown[name].collections[1].get_offsets()[:, 0], table["accuracy"])


def test_a_class_has_one_colour_everywhere():
    colours = style.class_colours(FER2013_CLASSES)
    assert len(set(colours)) == 7
    assert style.class_colours(("surprise", "cat", "happy", "dog"))[::2] == [
        style.CLASS_COLOURS["surprise"],
        style.CLASS_COLOURS["happy"],
    ]
    assert len(set(style.class_colours(("surprise", "cat", "happy", "dog")))) == 4
    assert len(style.class_colours([str(i) for i in range(30)])) == 30


def save_some(folder):
    faces, history = faces_of(DEFAULT_CLASSES), history_of()
    onset = find_onset(history["val_loss"].to_numpy())
    drawn = {"gallery": data.gallery(faces), "loss": training.loss(history, onset)}
    return {name: style.save(figure, folder / name) for name, figure in drawn.items()}


def test_saved_figures_have_the_same_bytes_in_another_process(tmp_path, pytestconfig):
    here = save_some(tmp_path / "here")
    script = "import sys, pathlib, test_figures; test_figures.save_some(pathlib.Path(sys.argv[1]))"
    path = os.pathsep.join([str(pytestconfig.rootpath), os.path.dirname(__file__)])
    environment = os.environ | {"PYTHONPATH": path, "PYTHONHASHSEED": "1"}  # another order of sets
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "there")], check=True, env=environment)
    for digests in here.values():
        for name, digest in digests.items():
            assert sha256_of_file(tmp_path / "there" / name) == digest


def test_save_writes_whole_files_and_gives_their_digests(tmp_path):
    figure = data.counts({"training": {"neutral": 1, "happy": 2}})
    digests = style.save(figure, tmp_path / "figures" / "counts")
    assert sorted(digests) == ["counts.pdf", "counts.svg"]
    for name, digest in digests.items():
        assert sha256_of_file(tmp_path / "figures" / name) == digest
    assert style.save(figure, tmp_path / "again") == {
        n.replace("counts", "again"): d for n, d in digests.items()
    }
    svg = (tmp_path / "again.svg").read_text()
    ElementTree.fromstring(svg)
    assert "<dc:date>" not in svg and b"CreationDate" not in (tmp_path / "again.pdf").read_bytes()
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be written"):
        style.save(figure, tmp_path / "file" / "counts")


def test_a_notebook_shows_a_figure_once_and_no_state_is_left_behind():
    core = pytest.importorskip("IPython.core.formatters")
    import matplotlib.pyplot as plt

    plt.switch_backend("agg")
    before = plt.rcParams.copy()
    figure = data.counts({"training": {"neutral": 1, "happy": 2}})
    shown, _ = core.DisplayFormatter().format(figure)
    assert [kind for kind in shown if kind.startswith("image/")] == ["image/png"]
    assert shown["image/png"][:4] == b"\x89PNG"
    assert plt.get_fignums() == [] and plt.rcParams == before
