"""Learning soft labels: the right row for each face, and no default without a word."""

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from fer_lib.data.faces import DEFAULT_CLASSES, FaceDataset
from fer_lib.files import UsageError
from fer_tools import teachers

NAMES = ("happy", "angry", "surprise", "neutral")  # in another order than ours


def faces_of(count: int, classes: tuple[str, ...] = DEFAULT_CLASSES) -> FaceDataset:
    images = np.random.default_rng(1).integers(0, 256, (count, 48, 48), np.uint8)
    return FaceDataset(images, np.arange(count) % len(classes), classes, np.arange(count).astype(str))


def write(path, faces: FaceDataset, said: np.ndarray, other: Mapping[str, Any] | None = None) -> None:
    digests = [hashlib.sha256(image.tobytes()).digest()[:8] for image in faces.images]
    order = np.argsort(keys := np.array([int.from_bytes(digest, "big") for digest in digests], ">u8"))
    arrays = {"keys": keys[order], "probabilities": said[order].astype(np.float16)}
    np.savez(path, **(arrays | {"classes": np.array(NAMES)} | (other or {})))


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    path = tmp_path / "soft.npz"
    monkeypatch.setitem(teachers.FILES, "shipped", path)
    return path


def test_without_a_teacher_targets_are_labels():
    faces = faces_of(7)
    found, said = teachers.targets(faces, "")
    assert said == "labels" and (found.argmax(axis=1) == faces.labels).all()
    assert set(np.unique(found)) == {0, 1} and teachers.files("") == {}


def test_soft_labels_are_those_of_the_face_for_the_classes_asked(shipped):
    faces = faces_of(9)
    rng = np.random.default_rng(2)
    told = rng.dirichlet(np.ones(4), 9).astype(np.float16)
    told[5] = [0, 1, 0, 0]  # it is angry, of which it can say nothing here
    write(shipped, faces, told)
    found, said = teachers.targets(faces, "shipped")
    assert found.dtype == np.float32 and said == "soft labels of 8 training images, labels of 1"
    for i in range(9):
        ours = {name: float(value) for name, value in zip(NAMES, told[i], strict=True) if name != "angry"}
        expected = [
            ours[name] / sum(ours.values()) if i != 5 else float(name == DEFAULT_CLASSES[5 % 3])
            for name in DEFAULT_CLASSES
        ]
        assert found[i] == pytest.approx(expected, abs=1e-6), i


def test_faces_that_it_does_not_know_keep_their_labels(shipped):
    faces = faces_of(9)
    known = FaceDataset(faces.images[:4], faces.labels[:4], faces.classes, faces.names[:4])
    write(shipped, known, np.full((4, 4), 0.25))
    found, said = teachers.targets(faces, "shipped")
    assert said == "soft labels of 4 training images, labels of 5"
    assert found[:4] == pytest.approx(1 / 3) and (found[4:].max(axis=1) == 1).all()


def test_what_cannot_teach_is_refused_in_one_line(shipped):
    faces = faces_of(6)
    with pytest.raises(UsageError, match=r"soft\.npz: cannot be read"):
        teachers.targets(faces, "shipped")
    write(shipped, faces, np.full((6, 4), 0.25))
    others = FaceDataset(255 - faces.images, faces.labels, faces.classes, faces.names)
    with pytest.raises(UsageError, match="knows none of the 6 training images"):
        teachers.targets(others, "shipped")
    with pytest.raises(UsageError, match="not bored; leave teacher empty"):
        teachers.targets(faces_of(6, ("happy", "bored")), "shipped")
    keys = np.arange(6, dtype=">u8")
    for wrong in (
        {"keys": keys[::-1]}, {"keys": keys[:5]}, {"probabilities": np.full((6, 4), np.nan)},
        {"probabilities": np.full((6, 3), 0.3)}, {"classes": np.array(["happy"] * 4)}, {"keys": np.array(3)},
        {"probabilities": np.full((6, 4), -1.0)},
    ):  # fmt: skip
        write(shipped, faces, np.full((6, 4), 0.25), wrong)
        with pytest.raises(UsageError, match="damaged"):
            teachers.targets(faces, "shipped")
    shipped.write_bytes(b"PK\3\4 and so on")
    with pytest.raises(UsageError, match="damaged"):
        teachers.targets(faces, "shipped")


def test_what_is_shipped_is_for_photographs_and_not_for_rendered_faces(fer2013):
    from fer_lib.data import load
    from fer_tools import checking

    _, split = load.load_split(checking.build("training", {"data": str(fer2013)}))
    found, said = teachers.targets(split.train, "shipped")
    assert said == f"soft labels of {len(split.train):,} training images, labels of 0"
    assert 0.85 < (found.argmax(axis=1) == split.train.labels).mean() < 0.95  # 90.3 % out of fold
    with pytest.raises(UsageError, match="only FER2013's"):
        teachers.targets(faces_of(3), "shipped")
