"""What is tried by hand: the answers, one line where there is none, and that no executed notebook has any."""

import io
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from asserting import refusal
from jupyter_client.manager import start_new_kernel
from made import encoded
from PIL import Image

from fer_lib.data import load
from fer_lib.data.faces import FaceDataset
from fer_lib.data.picture import MAX_BYTES
from fer_lib.files import ROOT
from fer_tools import environment, notebooks
from fer_tools.stages import STAGES
from fer_tools.widgets import face_browser, mistake_browser, onset_sliders, own_picture, panel

SETTINGS = SimpleNamespace(window=5, patience=5, min_delta=0.0)
CLASSES = ("neutral", "happy", "surprise")


def pixels(figure: Any) -> np.ndarray:
    """Return a figure as it is shown."""
    return np.asarray(Image.open(io.BytesIO(figure._repr_png_())))


# ------------------------------------------------------------------------------------------------ the onset


@pytest.fixture(scope="module")
def history() -> pd.DataFrame:
    """Give a loss that falls up to epoch 20 and rises from then on, with one jump down at epoch 33."""
    epochs = np.arange(1, 51)
    loss = 1 + np.where(epochs <= 20, 0.02 * (20 - epochs), 0.01 * (epochs - 20))
    loss[32] = 0.5
    return pd.DataFrame({"loss": loss - 0.1, "val_loss": loss})


@pytest.mark.parametrize(
    ("window", "patience", "told"),
    [
        (5, 5, "over-fitting begins at epoch 23 of 50, and epoch 20 is kept, as in the run."),
        # Without smoothing, the jump is the minimum.
        (1, 5, "over-fitting begins at epoch 34 of 50, and epoch 33 is kept, where the run kept epoch 20."),
        (15, 15, "over-fitting begins at epoch 2"),
        (29, 15, "50 epochs are too few to tell over-fitting, and epoch"),
    ],
)
def test_the_sentence_says_what_the_rule_says_and_whether_the_run_chose_it(history, window, patience, told):
    sentence, figure = onset_sliders.answer(history, SETTINGS, window, patience)
    assert sentence.startswith(f"Window {window}, patience {patience}: {told}")
    assert figure is not None


def test_the_curve_is_drawn_anew_and_a_loss_without_a_rise_has_no_onset(history):
    drawn = [pixels(onset_sliders.answer(history, SETTINGS, window, 5)[1]) for window in (5, 5, 1)]
    assert (drawn[0] == drawn[1]).all() and (drawn[0] != drawn[2]).any()
    falling = history.assign(val_loss=np.linspace(2, 1, 50))
    sentence, _ = onset_sliders.answer(falling, SETTINGS, 3, 4)
    assert sentence.startswith("Window 3, patience 4: no over-fitting is seen within 50 epochs, and epoch 50")


def test_a_value_that_the_rule_refuses_is_one_line(history):
    sentence, figure = panel.settled(
        onset_sliders.answer, history=history, settings=SETTINGS, window=2, patience=1
    )
    assert sentence.startswith("window: 2 is not an odd number") and figure is None


# ------------------------------------------------------------------------------------------------ the faces


@pytest.fixture(scope="module")
def faces() -> FaceDataset:
    """Give the bundled test faces."""
    return load.load_test("bundled", CLASSES)


def test_every_face_is_in_one_group_and_groups_of_numbers_are_in_order(faces):
    for name in face_browser.factors(faces):
        values = faces.factors[name]
        groups = face_browser.grouped(values)
        assert len(groups) == len(faces) and not pd.isna(groups).any(), name
        if values.nunique() > 5:
            bounds = [values[groups == group].agg(["min", "max"]).tolist() for group in groups.categories]
            assert np.ravel(bounds).tolist() == sorted(np.ravel(bounds)), name
            sizes = groups.value_counts()
            assert len(sizes) == 4 or values.value_counts(normalize=True).max() > 0.25, name
    assert not {"identity", "index", "seed"} & set(face_browser.factors(faces))


def test_counts_of_groups_are_those_of_pandas(faces):
    happy = faces.labels == CLASSES.index("happy")
    sentence, figure = face_browser.answer(faces, "happy", "light", 0)
    counted = faces.factors["light"][happy].value_counts().sort_index()
    assert (
        sentence
        == "500 faces of class happy, by light: "
        + ", ".join(f"{name} ({count:,})" for name, count in counted.items())
        + "."
    )
    assert [ax.get_ylabel() for ax in figure.axes] == list(counted.index)
    with_hat = faces.factors["hat"].sum()
    told = face_browser.answer(faces, "", "hat", 0)[0]
    assert told == f"1,500 faces of all classes, by hat: no ({1500 - with_hat:,}), yes ({with_hat:,})."


def test_rows_show_faces_of_their_group_alone_and_another_seed_draws_others(faces):
    ids = np.arange(len(faces), dtype=np.int64)
    marked = np.zeros_like(faces.images)  # the first pixels of an image say which it is
    marked[:, 0, 0], marked[:, 0, 1] = ids // 256, ids % 256
    told = FaceDataset(marked, faces.labels, faces.classes, faces.names, faces.factors)

    def shown(which: str, factor: str, seed: int) -> list[np.ndarray]:
        figure = face_browser.answer(told, which, factor, seed)[1]
        rows = [np.asarray(ax.images[0].get_array()) for ax in figure.axes]
        return [row[0, 0::50].astype(int) * 256 + row[0, 1::50] for row in rows]

    for name, row in zip(("clear", "none", "sun"), shown("", "glasses", 0), strict=True):
        assert (faces.factors["glasses"][row] == name).all() and len(set(row)) == 10
    for row, label in zip(shown("", "", 0), range(3), strict=True):
        assert (faces.labels[row] == label).all()
    rows = np.concatenate(shown("happy", "", 0))
    assert (faces.labels[rows] == 1).all() and len(set(rows)) == 40
    assert set(rows) != set(np.concatenate(shown("happy", "", 1)))


def test_photographs_are_shown_by_class_alone(faces):
    photographs = FaceDataset(faces.images, faces.labels, faces.classes, faces.names)
    assert face_browser.factors(photographs) == []
    sentence, figure = face_browser.answer(photographs, "", "", 3)
    assert sentence == "1,500 faces of all classes: neutral (500), happy (500), surprise (500)."
    assert len(figure.axes) == 3


# --------------------------------------------------------------------------------------------- the mistakes


def test_mistakes_are_those_of_the_kind_the_surest_first_page_by_page(faces):
    probabilities = np.random.default_rng(0).dirichlet(np.ones(3), len(faces))
    predicted, sure = probabilities.argmax(axis=1), probabilities.max(axis=1)
    wrong = predicted != faces.labels
    kind = wrong & (faces.labels == 0) & (predicted == 2) & (sure >= 0.8)
    pages, seen = -(-kind.sum() // 12), []
    for page in range(1, pages + 1):
        told, figure = mistake_browser.answer(faces, probabilities, "neutral", "surprise", 0.8, page)
        what = f"{kind.sum()} of {wrong.sum():,} mistakes are neutral taken for surprise, at least 80% sure"
        assert told == f"{what}; page {page} of {pages}."
        seen += [ax.get_xlabel() for ax in figure.axes if ax.get_xlabel()]
    expected = np.flatnonzero(kind)[np.argsort(-sure[kind], kind="stable")]
    assert seen == [f"neutral\n→ surprise {100 * sure[i]:.0f} %" for i in expected] and len(seen) > 12
    last = mistake_browser.answer(faces, probabilities, "neutral", "surprise", 0.8, 99)[0]
    assert last == told
    every = mistake_browser.answer(faces, probabilities, "", "", 0.0, 1)[0]
    assert every.startswith(f"{wrong.sum():,} of {wrong.sum():,} mistakes are any class taken for another")


def test_where_there_is_no_mistake_there_is_no_picture(faces):
    right = np.eye(3)[faces.labels]
    told, figure = mistake_browser.answer(faces, right, "happy", "", 0.5, 1)
    assert told == "0 of 0 mistakes are happy taken for another, at least 50% sure." and figure is None


# ------------------------------------------------------------------------------------- a picture of one's own


@pytest.fixture(scope="module")
def network() -> Any:
    """Give the network of the committed run."""
    from fer_tools.model_files import loading

    return loading.load(ROOT / "results/reference/model.keras")


def large(faces: FaceDataset, index: int, side: int = 600) -> Image.Image:
    return Image.fromarray(faces.images[index]).resize((side, side), Image.Resampling.BICUBIC)


def uploaded(content: bytes, name: str = "me.png") -> list[dict[str, Any]]:
    return [{"name": name, "content": memoryview(content)}]


def test_a_face_gets_the_probabilities_that_fer_predict_gives_it(faces, network, tmp_path):
    from fer_tools import predict_files
    from fer_tools.predictor import Predictor

    picture = Image.new("RGB", (1500, 800), (128, 128, 128))
    picture.paste(large(faces, 7), (60, 100))
    picture.paste(large(faces, 4, 500), (800, 150))
    (tmp_path / "two.png").write_bytes(encoded(picture))
    found, _ = predict_files.predict_files(Predictor(network), CLASSES, [str(tmp_path / "two.png")])
    told, figure = own_picture.answer(network, CLASSES, uploaded(encoded(picture), "two.png"))
    answers = "; ".join(f"{row['class']} {row['probabilities'][row['class']]:.0%}" for row in found)
    assert told == f"two.png: {answers}. 2 faces were found on it; they are shown, from left to right."
    widths = [[bar.get_width() for bar in ax.patches] for ax in figure.axes[3::4]]
    np.testing.assert_allclose(widths, [list(row["probabilities"].values()) for row in found], atol=1e-5)


def test_a_small_picture_without_a_face_is_taken_for_one_and_cropped_ones_are_not_searched(network):
    grey = encoded(Image.new("L", (90, 70), 90))
    told, figure = own_picture.answer(network, CLASSES, uploaded(grey))
    assert told.endswith("%. No face was found on it; as it is small, all of it was taken for one.")
    assert figure is not None
    told, _ = own_picture.answer(
        network, CLASSES, uploaded(encoded(Image.new("L", (900, 700), 90))), crop=True
    )
    assert "face" not in told


def test_what_is_no_picture_of_a_face_is_one_line(network):
    bomb = encoded(Image.fromarray(np.zeros((12_000, 12_000), np.uint8)))
    for content, told in (
        (b"words", "not a JPEG, PNG or BMP image; "),
        (b"", "an empty file"),
        (bytes(MAX_BYTES + 1), "larger than 64 MiB"),
        (bomb, "12000x12000 pixels, more than "),
        (encoded(Image.new("L", (900, 700), 90))[:-40], "a damaged image"),
        (encoded(Image.new("L", (900, 700), 90)), "no face was found on it"),
    ):
        said, figure = panel.settled(
            own_picture.answer, network=network, classes=CLASSES, file=uploaded(content)
        )
        assert said.startswith(f"me.png: {told}") and "\n" not in said and figure is None
    said = refusal(own_picture.answer, network, CLASSES, uploaded(b"words", "a\u202e\nb" * 100))
    assert said.isprintable() and len(said) < 250
    assert own_picture.answer(network, CLASSES, ()) == (own_picture.NONE, None)


def test_a_crowd_is_shown_in_part(faces, network):
    crowd = Image.new("L", (2400, 600), 128)
    for i in range(5):
        crowd.paste(large(faces, 3 * i + 1, 400), (40 + 470 * i, 100))
    told, figure = own_picture.answer(network, CLASSES, uploaded(encoded(crowd)))
    assert "5 faces were found on it; the first 4 are shown, from left to right." in told
    assert len(figure.axes) == 16


def test_of_many_classes_the_likeliest_are_shown():
    rows = np.random.default_rng(0).dirichlet(np.ones(20), 1)
    blank = np.zeros((1, 48, 48), np.uint8)
    names = [f"class {i}" for i in range(20)]
    figure = own_picture.looked_at(Image.new("L", (9, 9)), blank, blank / 1.0, rows, names)
    shown = [text.get_text() for text in figure.axes[3].get_yticklabels()]
    assert shown == [names[i] for i in sorted(np.argsort(-rows[0])[:7])]


# ----------------------------------------------------------------------------------------- where it is shown


def test_a_notebook_counts_as_the_same_without_its_widgets():
    """They stand where the stage is closed, and reach for nothing of it."""
    shown = {}
    for stage, kind in STAGES.items():
        notebook = notebooks.read(kind.path)
        widgets = [cell for cell in notebook["cells"] if "widget" in cell["metadata"].get("tags", [])]
        others = [cell for cell in notebook["cells"] if cell not in widgets]
        assert notebooks.deciding(notebook) == notebooks.deciding(notebook | {"cells": others})
        assert not any("run." in "".join(cell["source"]) for cell in widgets)
        shown[stage] = len(widgets)
    assert {stage: number for stage, number in shown.items() if number} == {
        "exploration": 1,
        "overfitting": 1,
        "evaluation": 2,
    }


SHOWN = """
from types import SimpleNamespace
from fer_tools.widgets import onset_sliders
history = {"loss": [2.0, 1.0, 0.5], "val_loss": [2.0, 1.5, 1.6]}
onset_sliders.show(history, SimpleNamespace(window=3, patience=2, min_delta=0.0))
import sys
print("ipywidgets" in sys.modules)
"""


def test_a_page_gets_controls_that_answer_and_a_notebook_that_is_executed_gets_nothing(tmp_path):
    with environment.for_kernels(tmp_path):
        manager, client = start_new_kernel(kernel_name="python3")
    try:
        told: list[Any] = []

        def ask(code: str, **metadata: str) -> list[Any]:
            """Execute as a page does, which says the cell, or as others do; return what came."""
            told.clear()
            content = {"code": code, "silent": False, "store_history": True, "user_expressions": {}}
            content |= {"allow_stdin": False, "stop_on_error": True}
            sent = client.session.msg("execute_request", content, metadata=metadata)
            client.shell_channel.send(sent)
            while True:
                message = client.get_iopub_msg(timeout=60)
                if message["parent_header"].get("msg_id") != sent["header"]["msg_id"]:
                    continue
                if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
                    return [each["content"] for each in told]
                if message["msg_type"] in ("stream", "display_data", "error", "comm_open", "comm_msg"):
                    told.append(message)

        assert ask(SHOWN) == [{"name": "stdout", "text": "False\n"}]  # not even imported
        *made, shown, said = ask(SHOWN, cellId="some-cell")
        assert said == {"name": "stdout", "text": "True\n"}
        assert "application/vnd.jupyter.widget-view+json" in shown["data"]
        states = {each["comm_id"]: each["data"]["state"] for each in made if "target_name" in each}
        (slider,) = (comm for comm, state in states.items() if state.get("description") == "window")
        moved = {"comm_id": slider, "data": {"method": "update", "state": {"value": 1}, "buffer_paths": []}}
        sent = client.session.msg("comm_msg", moved)
        client.shell_channel.send(sent)
        texts = []
        while not any("Window 1, patience 2: " in text for text in texts):
            message = client.get_iopub_msg(timeout=60)
            if message["msg_type"] == "comm_msg":
                texts.append(message["content"]["data"].get("state", {}).get("value", ""))
                texts = [text for text in texts if isinstance(text, str)]
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def test_outside_of_a_kernel_nothing_is_shown(capsys):
    panel.show(lambda: pytest.fail("asked"), lambda: pytest.fail("made"))
    assert capsys.readouterr().out == ""
