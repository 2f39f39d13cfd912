"""Learning soft labels: the right row for each face, and no default without a word."""

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fer_lib.data import load
from fer_lib.data.faces import DEFAULT_CLASSES, FaceDataset, pixel_digests
from fer_lib.data.readers.source import FER2013_CLASSES
from fer_lib.data.split import Split
from fer_lib.files import UsageError
from fer_tools import checking, teachers

NAMES = ("happy", "angry", "surprise", "neutral")  # in another order than ours


def faces_of(count: int, classes: tuple[str, ...] = DEFAULT_CLASSES) -> FaceDataset:
    images = np.random.default_rng(1).integers(0, 256, (count, 48, 48), np.uint8)
    return FaceDataset(images, np.arange(count) % len(classes), classes, np.arange(count).astype(str))


def write(path, faces: FaceDataset, said: np.ndarray, other: Mapping[str, Any] | None = None) -> None:
    digests = [hashlib.sha256(image.tobytes()).digest()[:8] for image in faces.images]
    order = np.argsort(keys := np.array([int.from_bytes(digest, "big") for digest in digests], ">u8"))
    arrays = {"keys": keys[order], "probabilities": said[order].astype(np.float16)}
    np.savez(path, **(arrays | {"classes": np.array(NAMES)} | (other or {})))


def learnt(faces: FaceDataset, teacher: str) -> tuple[np.ndarray, str]:
    """Give targets, and what is said of them, of faces of which no others are there."""
    settings = checking.build("training", {"teacher": teacher, "train_samples": max(len(faces), 100)})
    lesson = teachers.lesson(settings, Split(faces, faces.take(np.arange(0)), {}))
    assert np.array_equal(lesson.images, faces.images)
    return lesson.targets, lesson.said


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    path = tmp_path / "soft.npz"
    monkeypatch.setitem(teachers.FILES, "shipped", path)
    return path


def test_without_a_teacher_targets_are_labels():
    faces = faces_of(7)
    found, said = learnt(faces, "")
    assert said == "labels" and (found.argmax(axis=1) == faces.labels).all()
    assert set(np.unique(found)) == {0, 1} and teachers.files("") == {}


def test_soft_labels_are_those_of_the_face_for_the_classes_asked(shipped):
    faces = faces_of(9)
    rng = np.random.default_rng(2)
    told = rng.dirichlet(np.ones(4), 9).astype(np.float16)
    told[5] = [0, 1, 0, 0]  # it is angry, of which it can say nothing here
    write(shipped, faces, told)
    found, said = learnt(faces, "shipped")
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
    found, said = learnt(faces, "shipped")
    assert said == "soft labels of 4 training images, labels of 5"
    assert found[:4] == pytest.approx(1 / 3) and (found[4:].max(axis=1) == 1).all()


def test_what_cannot_teach_is_refused_in_one_line(shipped):
    faces = faces_of(6)
    with pytest.raises(UsageError, match=r"soft\.npz: cannot be read"):
        learnt(faces, "shipped")
    write(shipped, faces, np.full((6, 4), 0.25))
    others = FaceDataset(255 - faces.images, faces.labels, faces.classes, faces.names)
    with pytest.raises(UsageError, match="knows none of the 6 training images"):
        learnt(others, "shipped")
    with pytest.raises(UsageError, match="not bored; leave teacher empty"):
        learnt(faces_of(6, ("happy", "bored")), "shipped")
    keys = np.arange(6, dtype=">u8")
    for wrong in (
        {"keys": keys[::-1]}, {"keys": keys[:5]}, {"probabilities": np.full((6, 4), np.nan)},
        {"probabilities": np.full((6, 3), 0.3)}, {"classes": np.array(["happy"] * 4)}, {"keys": np.array(3)},
        {"probabilities": np.full((6, 4), -1.0)},
    ):  # fmt: skip
        write(shipped, faces, np.full((6, 4), 0.25), wrong)
        with pytest.raises(UsageError, match="damaged"):
            learnt(faces, "shipped")
    shipped.write_bytes(b"PK\3\4 and so on")
    with pytest.raises(UsageError, match="damaged"):
        learnt(faces, "shipped")


def saved(folder, faces: FaceDataset) -> None:
    for i, (image, label) in enumerate(zip(faces.images, faces.labels, strict=True)):
        place = folder / faces.classes[label]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(place / f"{i}.png")


def test_photographs_of_other_classes_count_by_what_the_teacher_gives_to_ours(shipped, tmp_path):
    """Where all are trained on; not one that is validated or tested with, nor one twice."""
    faces = faces_of(60, ("happy", "angry", "surprise", "neutral"))
    angry = np.flatnonzero(faces.labels == 1)  # 15 of them
    faces.images[angry[1]] = faces.images[angry[0]]  # a copy
    tests = FaceDataset(255 - faces.images[:8], faces.labels[:8], faces.classes, faces.names[:8])
    tests.images[tests.labels == 1] = faces.images[angry[2]]  # angry in training and in test
    saved(tmp_path / "data/train", faces)
    saved(tmp_path / "data/test", tests)
    told = np.random.default_rng(3).dirichlet(np.ones(4), 60).astype(np.float16)
    told[angry] = [0.25, 0.5, 0.125, 0.125]
    told[angry[3]] = [0.0625, 0.9375, 0, 0]  # too little of ours
    known = np.setdiff1d(np.arange(60), angry[[1, 4]])
    write(shipped, faces.take(known), told[known])

    def lesson(**more: Any) -> tuple[Split, teachers.Lesson]:
        given = {"data": str(tmp_path / "data"), "teacher": "shipped", "classes": list(DEFAULT_CLASSES)}
        settings = checking.build("training", given | {"train_samples": None} | more)
        _, split = load.load_split(settings)
        return split, teachers.lesson(settings, split)

    split, found = lesson()
    own = len(split.train)
    assert own == 36 and len(found.images) == own + 11  # of 15: one copy, tested, little, not known
    expected = {pixel_digests(faces.images[[i]])[0] for i in np.setdiff1d(angry, angry[[1, 2, 3, 4]])}
    theirs = ~np.isin(pixel_digests(found.images), split.train.pixel_digests())
    assert set(pixel_digests(found.images[theirs])) == expected
    assert theirs[:24].sum() > 2 and theirs[-24:].sum() > 2  # mixed: statistics are taken from the first
    assert found.targets.sum(axis=1).mean() == pytest.approx(1)
    weights = np.where(theirs, 0.5, 1.0) * (own + 11) / (own + 5.5)
    assert found.targets.sum(axis=1) == pytest.approx(weights, abs=1e-6)
    ours = np.array([0.125, 0.25, 0.125]) / 0.5  # neutral, happy, surprise
    assert found.targets[theirs] == pytest.approx(np.outer(weights[theirs], ours), abs=1e-6)
    rows = {digest: row for digest, row in zip(faces.pixel_digests(), told, strict=True)}
    for digest, target in zip(pixel_digests(found.images[~theirs]), found.targets[~theirs], strict=True):
        row = rows[digest].astype(float)[[3, 0, 2]]
        assert target == pytest.approx(row / row.sum() * weights.max(), rel=1e-3)
    assert found.said == (
        "soft labels of 36 training images, labels of 0; beside them 11 of 13 images of other classes, "
        "which count as 6"
    )
    some, few = lesson(train_samples=30, label_smoothing=0.1)
    assert few.targets.sum(axis=1) == pytest.approx(1, abs=1e-6)  # so that smoothing keeps what each counts
    assert len(few.images) == len(some.train) and "other classes" not in few.said
    _, plain = lesson(teacher="")
    assert plain.said == "labels" and len(plain.images) == own


def test_what_is_shipped_is_for_photographs_and_not_for_rendered_faces(fer2013):
    given = {"data": str(fer2013), "teacher": "shipped", "train_samples": None, "validation_share": 0.1}
    settings = checking.build("training", given)
    _, split = load.load_split(settings)
    found = teachers.lesson(settings, split)
    own = dict(zip(split.train.pixel_digests(), split.train.labels, strict=True))
    assert found.said.startswith(f"soft labels of {len(own):,} training images, labels of 0; beside them ")
    digests = pixel_digests(found.images)
    theirs = ~np.isin(digests, [*own])
    right = found.targets[~theirs].argmax(axis=1) == [own[digest] for digest in digests[~theirs]]
    assert 0.85 < right.mean() < 0.95  # 90.9 % out of fold
    aside = np.concatenate([split.validation.images, load.load_test(fer2013, FER2013_CLASSES).images])
    assert not np.isin(digests[theirs], pixel_digests(aside)).any()
    assert theirs[:1024].mean() == pytest.approx(theirs.mean(), abs=0.05)  # three standard errors
    assert len(set(pixel_digests(found.images))) == len(found.images)
    with pytest.raises(UsageError, match="only FER2013's"):
        learnt(faces_of(3), "shipped")
