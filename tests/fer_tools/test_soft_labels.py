"""The shipped soft labels: whole, of Training alone, and as good as their README says."""

import re

import numpy as np
import pytest

from fer_lib.data.faces import DEFAULT_CLASSES, pixel_digests
from fer_lib.data.load import load_faces
from fer_lib.data.readers.source import FER2013_CLASSES
from fer_lib.files import ROOT

FOLDER = ROOT / "data" / "teachers"
FILE = FOLDER / "fer2013_soft_labels.npz"


@pytest.fixture(scope="module")
def shipped() -> dict[str, np.ndarray]:
    with np.load(FILE, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


@pytest.fixture(scope="module")
def photographs(fer2013):
    return {part: load_faces(fer2013, FER2013_CLASSES, part) for part in ("train", "test")}


def keys_of(images: np.ndarray) -> np.ndarray:
    return np.array([int(digest[:16], 16) for digest in pixel_digests(images)], np.uint64)


def test_each_image_has_one_row_of_probabilities(shipped):
    keys, said = shipped["keys"], shipped["probabilities"].astype(float)
    assert FILE.stat().st_size < 1_000_000
    assert keys.dtype.itemsize == 8 and len(keys) == len(said) == len(shipped["fold"])
    assert (keys[1:] > keys[:-1]).all()
    assert tuple(shipped["classes"]) == FER2013_CLASSES and said.shape[1] == len(FER2013_CLASSES)
    assert (said >= 0).all()
    # float16 rounds by at most 2**-11 of a number, below 2**-14 by at most 2**-25; the numbers sum to 1.
    assert np.abs(said.sum(axis=1) - 1).max() <= 2**-11 + 7 * 2**-25
    shares = np.bincount(shipped["fold"]) / len(keys)
    assert len(shares) == 5 and np.abs(shares - 0.2).max() < 0.01


def test_what_is_labelled_is_training(shipped, photographs):
    trained, tested = (keys_of(photographs[part].images) for part in ("train", "test"))
    assert np.array_equal(np.unique(trained), shipped["keys"])
    common = np.intersect1d(tested, shipped["keys"])
    assert np.isin(common, trained).all()
    assert f"({len(common)} of the rows" in (FOLDER / "README.md").read_text()


def test_accuracies_of_the_readme_are_those_of_the_file(shipped, photographs):
    metrics = pytest.importorskip("sklearn.metrics")
    faces = photographs["train"]
    said = shipped["probabilities"][np.searchsorted(shipped["keys"], keys_of(faces.images))].astype(float)
    names = np.array(FER2013_CLASSES)
    true, told = names[faces.labels], names[said.argmax(axis=1)]
    three = np.isin(true, DEFAULT_CLASSES)
    columns = [FER2013_CLASSES.index(name) for name in DEFAULT_CLASSES]
    restricted = np.array(DEFAULT_CLASSES)[said[three][:, columns].argmax(axis=1)]
    shares = metrics.accuracy_score(true, told), metrics.accuracy_score(true[three], restricted)
    row = re.search(r"^\| mean of the four \|.*$", (FOLDER / "README.md").read_text(), re.MULTILINE)[0]
    assert re.findall(r"([\d.]+) %", row)[:2] == [f"{100 * share:.1f}" for share in shares]
