"""Other people's networks on the same images: accuracies and p as scikit-learn and statsmodels have them."""

import importlib.util
import re

import numpy as np
import pandas as pd
import pytest

from fer_lib.data.readers.source import FER2013_CLASSES
from fer_lib.files import ROOT
from fer_tools import pretrained

OURS = ("neutral", "happy", "surprise")


def test_peers_are_compared_on_the_same_images(make_face_folder, tmp_path, capsys):
    import keras

    metrics = pytest.importorskip("sklearn.metrics")
    tables = pytest.importorskip("statsmodels.stats.contingency_tables")
    spec = importlib.util.spec_from_file_location("peers", ROOT / "docs" / "peers.py")
    peers = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(peers)

    data = make_face_folder(tmp_path / "faces", dict.fromkeys(FER2013_CLASSES, 24))
    files = sorted(path.relative_to(data / "test") for path in (data / "test").rglob("*.jpg"))
    rng, labels = np.random.default_rng(0), [file.parent.name for file in files]
    given = rng.random((len(files), 7)) + 0.8 * np.equal.outer(labels, FER2013_CLASSES)
    answers = pd.DataFrame(given.round(4), columns=[f"peer.{name}" for name in FER2013_CLASSES])
    answers.assign(file=[file.as_posix() for file in files]).sample(frac=1, random_state=0).to_csv(
        tmp_path / "answers.csv", index=False
    )
    peers.main(str(tmp_path / "answers.csv"), str(data))
    said = capsys.readouterr().out

    seven = np.array(FER2013_CLASSES)[given.argmax(axis=1)]
    ours = pd.Series(labels).isin(OURS).to_numpy()
    columns = [FER2013_CLASSES.index(name) for name in OURS]
    three, true = np.array(OURS)[given[ours][:, columns].argmax(axis=1)], np.array(labels)[ours]
    there = [data / "test" / file for file, known in zip(files, ours, strict=True) if known]
    loaded = [keras.utils.load_img(path, color_mode="grayscale") for path in there]
    faces = np.stack([keras.utils.img_to_array(face) for face in loaded])
    expected, tests, peer = [], [], three == true
    for name in ("optimized_model", "small_model"):
        network = keras.models.load_model(pretrained.path(name), compile=False)
        size = network.input_shape[1]
        answer = network.predict(keras.ops.image.resize(faces, (size, size)), verbose=0).argmax(axis=1)
        right = np.array(OURS)[answer] == true
        table = [[np.sum(a & b) for b in (peer, ~peer)] for a in (right, ~right)]
        tests.append(f"p = {tables.mcnemar(table, exact=True).pvalue:.1g} ({name})")
        expected.append((name, true, np.array(OURS)[answer]))
    expected += [("peer", true, three), ("peer", labels, seven)]
    found = re.findall(r"^(\w+) +([\d.]+)% .* balanced ([\d.]+)%", said, re.MULTILINE)
    for row, (name, actual, told) in zip(found, expected, strict=True):
        shares = metrics.accuracy_score(actual, told), metrics.balanced_accuracy_score(actual, told)
        assert row == (name, *(f"{100 * share:.1f}" for share in shares))
    assert ", ".join(tests) in said and f"{ours.sum()} images" in said
