"""The pictures of another topic: digits, folders and zips of two classes, and what is refused of them."""

import importlib.util
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from made import draw_dish, draw_face, encoded, make_dishes, make_folder, zipped
from PIL import Image

from fer_lib.files import UsageError, sha256_of_file
from fer_tools import checking
from fer_tools.transfer import sources, topics


def settings(data: Path | str, **values):
    return checking.build("transfer", {"data": str(data), **values})


def refused(data: Path | str, **values) -> str:
    with pytest.raises(UsageError) as caught:
        topics.read(settings(data, **values))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_digits_are_those_of_scikit_learn():
    datasets = pytest.importorskip("sklearn.datasets")
    made = importlib.util.spec_from_file_location("make", topics.DIGITS.with_name("make.py"))
    make = importlib.util.module_from_spec(made)
    made.loader.exec_module(make)
    assert topics.DIGITS.read_bytes() == make.content()
    readme = topics.DIGITS.with_name("README.md").read_text(encoding="utf-8")
    assert sha256_of_file(topics.DIGITS) in readme and "CC BY 4.0" in readme
    topic = topics.read(settings("digits"))
    digits = datasets.load_digits()
    parts = [topic.split.train, topic.split.validation, topic.test]
    names = np.concatenate([part.names for part in parts])
    removed = topic.split.removed["total"]
    assert len(set(names)) == len(names) == 1797 - removed
    for part in parts:
        for name, label, image in zip(part.names, part.labels, part.images, strict=True):
            _, digit, i = name.split("/")
            assert digits.target[int(i)] == int(digit) and label == int(digit) % 2
            small = np.asarray(Image.fromarray(image).resize((8, 8), Image.Resampling.BOX), float)
            grey = digits.images[int(i)] * 255 / 16
            assert np.corrcoef(small.ravel(), grey.ravel())[0, 1] > 0.95


def test_the_seed_decides_which_digits_are_tested():
    one, same, other = (topics.read(settings("digits", seed=seed)) for seed in (0, 0, 1))
    assert one.test.names.tolist() == same.test.names.tolist() != other.test.names.tolist()
    assert one.split.train.names.tolist() == same.split.train.names.tolist()
    shares = np.array([len(one.test), len(one.split.validation), len(one.split.train)]) / 1797
    assert shares == pytest.approx([0.25, 0.15, 0.6], abs=0.005)


@pytest.mark.parametrize("packed", [False, True])
def test_a_folder_of_two_dishes_is_read_and_its_broken_files_named(tmp_path, packed):
    folder = make_dishes(tmp_path / "dishes", pizza=60, sushi=48)
    (folder / "pizza" / "007.jpg").write_bytes(b"no picture")
    (folder / "sushi" / "011.jpg").write_bytes(b"")
    (folder / "notes.txt").write_text("beside the classes")
    data = zipped(folder, tmp_path / "dishes.zip", "some/where/") if packed else folder
    topic = topics.read(settings(data))
    assert topic.title == "Pizza and Sushi" and topic.test.classes == ("pizza", "sushi")
    assert topic.test.counts() == {"pizza": 15, "sushi": 12} or len(topic.test) in (25, 26)
    assert len(topic.test) + len(topic.training) == 106
    (remark,) = [line for line in topic.remarks if "cannot be read" in line]
    assert "2 images" in remark and "pizza/007.jpg" in remark and "sushi/011.jpg" in remark
    assert topic.facts()["images.total"] == 106 == topic.counts().iloc[-1, 1:].sum()


def test_a_folder_and_a_zip_of_it_are_the_same(tmp_path):
    folder = make_dishes(tmp_path / "dishes", pizza=30, sushi=30)
    archive = zipped(folder, tmp_path / "dishes.zip")
    a, b = (topics.read(settings(data)) for data in (folder, archive))
    for one, other in ((a.split.train, b.split.train), (a.test, b.test)):
        assert (one.images == other.images).all() and one.names.tolist() == other.names.tolist()
    assert topics.digest(str(folder)) == topics.digest(str(archive))
    (folder / "pizza" / "000.png").write_bytes(encoded(draw_dish("pizza", 99)))
    assert topics.digest(str(folder)) != topics.digest(str(archive))


def test_the_middle_square_is_taken(tmp_path):
    folder = make_dishes(tmp_path / "dishes", pizza=30, sushi=30)
    for path in sorted((folder / "pizza").iterdir()):
        wide = np.zeros((48, 96), np.uint8)
        wide[:, 24:72] = draw_face("pizza", int(path.stem))
        path.unlink()
        Image.fromarray(wide if int(path.stem) % 2 else wide.T).save(path.with_suffix(".png"))
    test = topics.read(settings(folder)).test
    assert set(test.labels) == {0, 1}
    for name, image in zip(test.names[test.labels == 0], test.images[test.labels == 0], strict=True):
        number = int(name.split("/")[1].removesuffix(".png"))
        face = draw_face("pizza", number)
        assert (image == (face if number % 2 else face.T)).all()


def test_train_and_test_stay_what_they_are_and_copies_leave(tmp_path):
    folder = make_folder(tmp_path / "pets", {"cat": 40, "dog": 40})
    tested = sorted((folder / "test" / "cat").iterdir())[0]
    (folder / "train" / "cat" / "copy.jpg").write_bytes(tested.read_bytes())
    topic = topics.read(settings(folder))
    assert all(name.startswith("test/") for name in topic.test.names)
    assert topic.split.removed == Counter(leaks_into_test=1, total=1) | dict.fromkeys(
        ("label_conflicts", "duplicates_within_training"), 0
    )
    assert "1 copies left the training side" in topic.remarks
    assert not {"train/cat/copy.jpg"} & {*topic.split.train.names, *topic.split.validation.names}


def test_of_more_than_2000_images_a_balanced_sample_is_used(tmp_path, monkeypatch):
    monkeypatch.setattr(topics, "MOST", 100)
    folder = make_dishes(tmp_path / "dishes", pizza=150, sushi=70)
    topic = topics.read(settings(folder))
    counts = {name: count + topic.training.counts()[name] for name, count in topic.test.counts().items()}
    assert max(counts.values()) - min(counts.values()) <= 1 and 98 <= sum(counts.values()) <= 100
    assert any("of 220 images a balanced sample" in line for line in topic.remarks)


def test_two_of_three_classes_can_be_chosen(tmp_path):
    folder = make_dishes(tmp_path / "dishes", pizza=24, ramen=24, sushi=24)
    assert topics.read(settings(folder, classes=["sushi", "pizza"])).test.classes == ("sushi", "pizza")
    said = refused(folder)
    assert "3 classes (pizza, ramen, sushi), not two" in said and "-p classes=pizza,ramen" in said
    assert "no images of class 'soup'" in refused(folder, classes=["soup", "pizza"])


def test_what_cannot_be_a_topic_is_refused_in_a_line(tmp_path):
    assert "1 classes (pizza), not two" in refused(make_dishes(tmp_path / "one", pizza=30))
    few = refused(make_dishes(tmp_path / "few", pizza=30, sushi=19))
    assert "19 images of class 'sushi'; at least 20" in few
    folder = make_dishes(tmp_path / "broken", pizza=30, sushi=30)
    for path in sorted((folder / "sushi").iterdir())[:8]:
        path.write_bytes(b"no picture")
    assert re.search(r"\d+ of \d+ images of class 'sushi' cannot be read \(.*sushi/", refused(folder))
    assert "no such file or folder" in refused(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    assert "no data set found" in refused(tmp_path / "empty")
    table = tmp_path / "fer2013.csv"
    table.write_text("emotion,pixels,Usage\n")
    assert "pixels in a table" in refused(table)
    assert "the digits are even and odd" in refused("digits", classes=["three", "eight"])


def test_a_source_is_a_shipped_network_a_run_or_a_file(results):
    results.mkdir()
    for name in ("optimized_model", "small_model"):
        shipped = sources.path(name)
        assert shipped.name == f"{name}.keras" and sources.path(str(shipped)) == shipped
    assert sources.path("reference").parent.name == "reference"
    (results / "x_timestamp_1.keras").write_bytes(b"")
    assert (
        sources.path("x_timestamp_1")
        == sources.path("x_timestamp_1.keras")
        == results / "x_timestamp_1.keras"
    )
    for name in ("nothing", "", "~", "a\0b"):
        with pytest.raises(UsageError, match="no network; give"):
            sources.path(name)
