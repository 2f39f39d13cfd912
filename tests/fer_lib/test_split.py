"""The split: duplicates out, a balanced sample, stratified validation; the facts about real FER2013."""

import hashlib
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from asserting import refusal
from hypothesis import given, settings
from hypothesis import strategies as st
from made import OTHER, make_folder, random_faces

from fer_lib.data import load
from fer_lib.data.faces import DEFAULT_CLASSES, FaceDataset
from fer_lib.data.load import load_test, load_training
from fer_lib.data.readers.source import FER2013_CLASSES
from fer_lib.data.split import class_key, find_duplicates, split
from fer_lib.files import UsageError

NONE = np.array([], "S64")


def test_the_balanced_draw_of_the_assignment():
    result = split(random_faces([1800, 2500, 1700]), NONE)
    assert result.train.counts() == {"neutral": 1333, "happy": 1333, "surprise": 1334}
    assert result.validation.counts() == {"neutral": 333, "happy": 333, "surprise": 334}
    assert len(result.train) == 4000 and result.removed["total"] == 0


def test_the_order_of_removal():
    a, b, c, d, e, f = random_faces([6]).images
    images = np.stack([a, a, b, c, c, d, e, b, c, d, f])
    labels = np.array([0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1])
    faces = FaceDataset(images, labels, ("sad", "happy"), np.arange(11).astype(str))
    test = faces.take([3, 6]).pixel_digests()  # c and e
    # b, c and d have two labels; e leaks; a is there twice.
    removed = find_duplicates(faces, test)
    assert np.flatnonzero(removed["label_conflicts"]).tolist() == [2, 3, 4, 5, 7, 8, 9]
    assert np.flatnonzero(removed["leaks_into_test"]).tolist() == [6]
    assert np.flatnonzero(removed["duplicates_within_training"]).tolist() == [1]


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    counts=st.lists(st.integers(5, 80), min_size=2, max_size=5),
    variants=st.integers(30, 400),
    share=st.floats(0.05, 0.6),
    samples=st.none() | st.integers(10, 60),
    seed=st.integers(0, 5),
    duplicates=st.sampled_from(["remove", "keep"]),
)
def test_properties_of_the_split(counts, variants, share, samples, seed, duplicates):
    faces = random_faces(counts, FER2013_CLASSES[: len(counts)], variants)
    test = random_faces([30, 30, 30, 30, 30, 30], variants=variants).pixel_digests()
    try:
        result = split(faces, test, samples, share, seed, duplicates)
    except UsageError as error:
        assert "samples" in str(error) or "share" in str(error)
        return
    train, validation = result.train.pixel_digests(), result.validation.pixel_digests()
    names = [*result.train.names, *result.validation.names]
    assert len(set(names)) == len(names), "an image is used twice"
    for part in (result.train, result.validation):
        assert np.array_equal(part.labels, faces.labels[part.names.astype(int)])
        assert np.array_equal(part.images, faces.images[part.names.astype(int)])
    assert result.removed["total"] == sum(v for k, v in result.removed.items() if k != "total")
    if duplicates == "remove":
        both = [*train, *validation]
        assert len(set(both)) == len(both) and not set(both) & set(test)
        if samples is None:
            assert len(names) == len(faces) - result.removed["total"]
    else:
        assert result.removed["total"] == 0
    if samples is not None:
        assert len(names) == samples
        got = np.array(list(result.train.counts().values())) + list(result.validation.counts().values())
        assert got[:-1].tolist() == [samples // len(counts)] * (len(counts) - 1)
    assert len(validation) == round(share * len(names))
    again = split(faces, test, samples, share, seed, duplicates)
    assert again.train.names.tolist() == result.train.names.tolist()


def test_another_seed_or_another_order_of_classes():
    faces = random_faces([60, 60, 60])
    one, two = split(faces, NONE, 90, seed=1), split(faces, NONE, 90, seed=2)
    assert one.train.names.tolist() != two.train.names.tolist()
    turned = faces.take(np.r_[60:180, 0:60])
    turned = FaceDataset(
        turned.images, np.repeat([0, 1, 2], 60), ("happy", "surprise", "neutral"), turned.names
    )
    assert set(split(turned, NONE, 90, seed=1).train.names) == set(one.train.names)


def test_bad_splits():
    faces = random_faces([60, 20, 60])
    message = refusal(split, faces, NONE)
    assert "5,000" in message and "1,666" in message and "'neutral'" in message and "at most 60" in message
    assert "'happy'" in refusal(split, faces, NONE, 90)
    split(faces, NONE, 60)
    for samples in (0, 2, -5, 1.5, True, "90"):
        assert "train_samples" in refusal(split, faces, NONE, samples)
    for share in (0, 1, -0.1, float("nan"), 0.001):
        assert "validation_share" in refusal(split, faces, NONE, 60, share)
    assert "remove, keep" in refusal(split, faces, NONE, duplicates="some")


def settings_of(data: Path | str, classes: tuple[str, ...], train_samples: int, **other) -> SimpleNamespace:
    others = {"test_data": "", "validation_share": 0.25, "seed": 0, "duplicates": "remove"} | other
    return SimpleNamespace(data=data, classes=classes, train_samples=train_samples, **others)


@pytest.mark.parametrize(
    ("classes", "train_samples", "seed", "train", "validation"),
    [
        (DEFAULT_CLASSES, 12, 3, [4160, 3774, 669, 8241, 9031, 9785, 4480, 1201, 9572], [6877, 2082, 1460]),
        (("surprise", "happy"), 8, 0, [1147, 10442, 4942, 2935, 2147, 9368], [1015, 8489]),
    ],
)
def test_the_sample_of_bundled_faces_is_what_it_was(classes, train_samples, seed, train, validation):
    """Drawn when FER2013's classes were all there could be: results that were reported rest on these."""
    _, drawn = load.load_split(settings_of("bundled", classes, train_samples, seed=seed))
    assert drawn.train.names.tolist() == [f"bundled/train/{i}" for i in train]
    assert drawn.validation.names.tolist() == [f"bundled/train/{i}" for i in validation]


def test_the_sample_of_the_default_parameters_is_what_it_was():
    chosen = settings_of("bundled", DEFAULT_CLASSES, 5000)
    _, drawn = load.load_split(chosen)
    names = [*drawn.train.names, *drawn.validation.names]
    digest = hashlib.sha256("\n".join(names).encode()).hexdigest()
    assert digest == "2f41555a7b7cbc1823a8a4f54cd17cd7b3708a45b52f24f4e105eb53a665ae4a"
    images = hashlib.sha256(drawn.train.images.tobytes() + drawn.validation.images.tobytes()).hexdigest()
    assert images == "d92fe87941624d494de20e3e29852d634247901015624f120f254c4ebc1bffdc"


def test_the_sample_of_all_known_classes_is_what_it_was_whatever_else_is_there(tmp_path: Path):
    folder = make_folder(tmp_path, dict.fromkeys(FER2013_CLASSES, 8), suffix=".png")
    make_folder(folder, {"cat": 3, "Zebra": 3}, suffix=".png")
    chosen = settings_of(folder, FER2013_CLASSES, 14, validation_share=0.5, seed=4)
    _, drawn = load.load_split(chosen)
    train, validation = (
        [int(name.split("_")[1][:-4]) for name in part.names] for part in (drawn.train, drawn.validation)
    )
    assert train == [10100005, 10200000, 10000002, 10500007, 10400002, 10300004, 10600005]
    assert validation == [10100004, 10000001, 10400007, 10200004, 10500003, 10300001, 10600000]


def test_which_images_of_another_class_are_drawn_depends_on_seed_and_name_alone(tmp_path: Path):
    folder = make_folder(tmp_path, dict.fromkeys((*OTHER, "happy"), 20))

    def of_cats(classes: tuple[str, ...], seed: int) -> set[str]:
        _, drawn = load.load_split(settings_of(folder, classes, 8 * len(classes), seed=seed))
        assert drawn.train.counts() == dict.fromkeys(classes, 6)
        assert drawn.validation.counts() == dict.fromkeys(classes, 2)
        return {name for name in [*drawn.train.names, *drawn.validation.names] if "/cat/" in name}

    cats = of_cats(("cat", "dog"), 1)
    assert len(cats) == 8
    for classes in (("dog", "cat"), ("happy", "cat"), OTHER, (*OTHER[::-1], "happy")):
        assert of_cats(classes, 1) == cats
    assert of_cats(("cat", "dog"), 2) != cats
    # The same images under another name are another draw, and every name has one of its own.
    (folder / "train/cat").rename(folder / "train/tiger")
    (folder / "test/cat").rename(folder / "test/tiger")
    _, drawn = load.load_split(settings_of(folder, ("tiger", "dog"), 16, seed=1))
    tigers = {name for name in [*drawn.train.names, *drawn.validation.names] if "/tiger/" in name}
    assert {name.replace("tiger", "cat") for name in tigers} != cats
    assert len({class_key(name) for name in (*FER2013_CLASSES, *OTHER)}) == 12


def test_real_fer2013(fer2013: Path):
    faces, test = load_training(fer2013), load_test(fer2013)
    assert faces.counts() == {"neutral": 4965, "happy": 7215, "surprise": 3171}
    digests = faces.pixel_digests()
    assert len(digests) - len(np.unique(digests)) == 711
    public = test.take(np.array(["PublicTest" in name for name in test.names]))
    assert public.counts() == {"neutral": 607, "happy": 895, "surprise": 415}
    assert np.isin(public.pixel_digests(), digests).sum() == 161
    result = split(faces, public.pixel_digests(), None)
    assert len(result.train) + len(result.validation) == 14_484
    assert result.removed == {
        "label_conflicts": 5,
        "leaks_into_test": 184,  # 161 images of the test part, some of them several times in training
        "duplicates_within_training": 678,
        "total": 867,
    }
    result = split(faces, load.pixel_digests_of_test_images(fer2013))
    assert result.train.counts() == {"neutral": 1333, "happy": 1333, "surprise": 1334}
    started = time.process_time()
    load_training(fer2013)
    assert time.process_time() - started < 0.5  # seconds of this process; wall time when nothing else runs
