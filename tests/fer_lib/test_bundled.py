"""The reader of the bundled faces, and the committed ones."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from asserting import refusal
from made import draw_face
from PIL import Image

from fer_lib.data import load
from fer_lib.data.faces import DEFAULT_CLASSES
from fer_lib.data.load import load_test, load_training
from fer_lib.files import ROOT, sha256_of, sha256_of_file

BUNDLED = ("train.png", "test.png", "factors.csv", "digests.json")


@pytest.fixture
def bundled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write a data/bundled of 2 x 66 faces in the documented format."""
    folder = tmp_path / "data" / "bundled"
    folder.mkdir(parents=True)
    rows, index = ["split,index,label,identity,age"], {"size": 48, "columns": 60, "splits": {}, "files": {}}
    for part in ("train", "test"):
        tiles = np.zeros((120, 48, 48), np.uint8)
        for i in range(66):
            name = DEFAULT_CLASSES[i % 3]
            tiles[i] = draw_face(name, i, part)
            rows.append(f"{part},{i},{name},{i // 3},{20 + i}.5")
        sheet = tiles.reshape(2, 60, 48, 48).swapaxes(1, 2).reshape(96, 60 * 48)
        Image.fromarray(sheet).save(folder / f"{part}.png")
        index["splits"][part] = {"images": 66, "pixels": sha256_of(tiles[:66].tobytes())}
    (folder / "factors.csv").write_text("\n".join(rows) + "\n")
    for name in ("train.png", "test.png", "factors.csv"):
        index["files"][name] = sha256_of_file(folder / name)
    (folder / "digests.json").write_text(json.dumps(index))
    monkeypatch.setattr(load, "ROOT", tmp_path)
    return folder


def test_bundled(bundled: Path):
    faces = load_training("bundled", ("surprise", "neutral"))
    assert faces.counts() == {"surprise": 22, "neutral": 22} and faces.names[1] == "bundled/train/5"
    assert np.array_equal(faces.images[21], draw_face("surprise", 65, "train"))
    assert faces.factors["index"].tolist()[:3] == [2, 5, 8] and faces.factors["age"][1] == 25.5
    taken = faces.take(np.array([30, 1]))
    assert taken.factors["index"].tolist() == [int(name.split("/")[2]) for name in taken.names]
    assert load.describe("bundled") == "bundled faces"
    assert load.class_counts("bundled", DEFAULT_CLASSES, "test") == {
        "neutral": 22,
        "happy": 22,
        "surprise": 22,
    }
    assert "'sad'" in refusal(load_training, "bundled", ("happy", "sad"))
    digest = load.data_digest("bundled")
    (bundled / "factors.csv").write_text((bundled / "factors.csv").read_text().replace("20.5", "21.5"))
    assert "altered" in refusal(load_training, "bundled")
    assert len(digest) == 64


@pytest.mark.parametrize("name", BUNDLED)
def test_bundled_faces_cut_short_or_missing(bundled: Path, name: str):
    content = (bundled / name).read_bytes()
    (bundled / name).write_bytes(content[:-9])
    assert "git checkout" in refusal(load_training, "bundled")
    (bundled / name).unlink()
    assert "git checkout" in refusal(load_training, "bundled")


@pytest.mark.parametrize("digest", [None, [None], "", "not hexadecimal", 7])
def test_a_digest_of_bundled_faces_that_is_none(bundled: Path, digest: object):
    index = json.loads((bundled / "digests.json").read_text())
    index["splits"]["test"]["pixels"] = digest
    (bundled / "digests.json").write_text(json.dumps(index))
    assert "git checkout" in refusal(load_test, "bundled")


def test_the_committed_bundled_faces():
    if not (ROOT / "data/bundled/digests.json").exists():
        pytest.skip("data/bundled is not there")
    faces, test = load_training("bundled"), load_test("bundled")
    assert len(set(faces.counts().values())) == 1 and len(faces) > 1000
    assert set(faces.factors["identity"]).isdisjoint(test.factors["identity"])
    index = json.loads((ROOT / "data/bundled/digests.json").read_text())
    for part, loaded in (("train", faces), ("test", test)):
        order = np.argsort(loaded.factors["index"])
        pixels = hashlib.sha256(loaded.images[order].tobytes()).hexdigest()
        assert pixels == index["splits"][part]["pixels"]
