"""Verdicts on copies of a data set: as published, partial, altered, split otherwise, or something else."""

import hashlib
import json
import shutil
import subprocess
import sys
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from made import draw_face, make_csv
from PIL import Image

from fer_lib.data import published
from fer_lib.data.published import Verdict
from fer_lib.data.readers.source import FER2013_CLASSES
from fer_lib.files import UsageError

USAGES = {"Training": ("train", 4), "PublicTest": ("test", 2), "PrivateTest": ("test", 3)}


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a data set of seven classes and three usages, with digests made by the published recipe."""
    root = tmp_path_factory.mktemp("published")
    digests: dict[str, dict] = {}
    for usage, (part, count) in USAGES.items():
        for name in FER2013_CLASSES:
            folder = root / "fer2013" / part / name
            folder.mkdir(parents=True, exist_ok=True)
            lines = []
            for i in range(count):
                file = folder / f"{usage}_{i * 77 % 100}.jpg"
                Image.fromarray(draw_face(name, i, usage)).save(file)
                lines.append(f"{file.name} {hashlib.sha256(file.read_bytes()).hexdigest()}\n")
            digest = hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()
            digests.setdefault(usage, {})[name] = {"count": count, "sha256": digest}
    (root / "digests.json").write_text(json.dumps(digests))
    return root


@pytest.fixture
def copy(published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a copy of the data set that a test may spoil."""
    monkeypatch.setattr(module, "DIGESTS", published / "digests.json")
    return shutil.copytree(published / "fer2013", tmp_path / "copy")


def states(verdict: Verdict) -> Counter:
    return Counter(row["state"] for row in verdict.rows)


def test_authentic(copy: Path):
    (copy / "train/happy/Thumbs.db").write_text("ignored")
    verdict = published.judge(copy)
    assert verdict.status == "authentic" and "All 63 images" in verdict.detail and "\n" not in verdict.detail
    assert states(verdict) == {"authentic": 21}
    assert verdict.rows[0] == {
        "usage": "Training",
        "class": "angry",
        "expected": 4,
        "found": 4,
        "state": "authentic",
    }


def test_authentic_zip(copy: Path, tmp_path: Path):
    path = tmp_path / "archive.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in copy.rglob("*.jpg"):
            archive.write(file, file.relative_to(copy))
    assert published.judge(path) == published.judge(copy)
    assert published.judge(path).status == "authentic"


def test_partial(copy: Path):
    for file in copy.glob("test/*/PrivateTest_*"):
        file.unlink()
    verdict = published.judge(copy)
    assert verdict.status == "partial" and "missing: PrivateTest (all classes)" in verdict.detail
    assert states(verdict) == {"authentic": 14, "missing": 7}
    shutil.rmtree(copy / "train/sad")
    next(copy.glob("train/happy/*.jpg")).unlink()
    verdict = published.judge(copy)
    assert verdict.status == "partial" and "Training (sad)" in verdict.detail
    assert "incomplete: Training (happy)" in verdict.detail


@pytest.mark.parametrize("change", ["equalised", "one byte", "renamed", "added", "relabelled"])
def test_altered(copy: Path, change: str):
    file = next(copy.glob("train/happy/*.jpg"))
    if change == "equalised":
        for image in copy.glob("train/happy/*.jpg"):
            values = np.asarray(Image.open(image))
            Image.fromarray((values.argsort(None).argsort() // 10).reshape(48, 48).astype(np.uint8)).save(
                image
            )
    elif change == "one byte":
        data = bytearray(file.read_bytes())
        data[-9] ^= 1
        file.write_bytes(data)
    elif change == "renamed":
        file.rename(file.with_name("Training_5000.jpg"))
    elif change == "added":
        shutil.copy(file, file.with_name("Training_5000.jpg"))
    else:
        next(copy.glob("train/sad/*.jpg")).rename(file.with_name("Training_5000.jpg"))
    verdict = published.judge(copy)
    assert verdict.status == "altered" and "altered: Training (happy)" in verdict.detail
    assert states(verdict)["altered"] == 1


def test_foreign_images_among_the_published(copy: Path):
    shutil.copy(next(copy.glob("train/happy/*.jpg")), copy / "train/happy/selfie.jpg")
    verdict = published.judge(copy)
    assert verdict.status == "altered" and "1 images that FER2013 does not have" in verdict.detail


def test_another_split(copy: Path):
    moved = next(copy.glob("test/happy/PublicTest*"))
    moved.rename(copy / "train/happy" / moved.name)
    verdict = published.judge(copy)
    assert verdict.status == "another split" and "1 images lie in another part" in verdict.detail
    shutil.rmtree(copy / "train/happy")
    (copy / "test").rename(copy / "validation")
    for i, file in enumerate(sorted(copy.rglob("*.jpg"))):
        file.rename(file.with_name(f"{i}.jpg"))
    verdict = published.judge(copy)
    assert verdict.status == "another split" and "train and validation (24 and 34" in verdict.detail


def test_what_cannot_be_compared(copy: Path):
    for i, file in enumerate(sorted(copy.rglob("*.jpg"))):
        file.rename(file.with_name(f"{i}.jpg"))
    verdict = published.judge(copy)
    assert verdict.status == "unverified" and "renamed" in verdict.detail
    next(copy.rglob("*.jpg")).unlink()
    assert published.judge(copy).status == "not FER2013"


def test_a_few_images_under_the_right_names(face_folder: Path):
    verdict = published.judge(face_folder)  # against the real digests
    assert verdict.status == "unverified" and "no class is complete" in verdict.detail


def test_csv(copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = make_csv(tmp_path / "icml_face_data.csv", copy)
    verdict = published.judge(path)
    assert verdict.status == "unverified" and "counts of all classes are FER2013's" in verdict.detail
    assert states(verdict) == {"count agrees": 21}
    md5 = hashlib.md5(path.read_bytes()).hexdigest()
    monkeypatch.setattr(module, "CSV_MD5", {md5: "icml_face_data.csv"})
    assert published.judge(path).status == "authentic" and states(published.judge(path)) == {"authentic": 21}
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(line for line in lines if "PrivateTest" not in line))
    verdict = published.judge(path)
    assert verdict.status == "unverified" and "missing: PrivateTest (all classes)" in verdict.detail
    path.write_text("".join(lines + lines[1:2]))
    assert published.judge(path).status == "altered"
    path.write_text("emotion,pixels\n")
    with pytest.raises(UsageError, match="row 1"):
        published.judge(path)


def test_the_committed_digests_are_whole():
    digests = json.loads((ROOT / "data/fer2013.digests.json").read_text())
    totals = {usage: sum(entry["count"] for entry in group.values()) for usage, group in digests.items()}
    assert totals == {"Training": 28_709, "PublicTest": 3_589, "PrivateTest": 3_589}
    assert all(set(group) == set(FER2013_CLASSES) for group in digests.values())


def test_bundled_faces():
    if not (ROOT / "data/bundled/digests.json").exists():
        pytest.skip("data/bundled is not there")
    verdict = published.judge("bundled")
    assert verdict.status == "authentic" and states(verdict) == {"authentic": 6}


def test_bundled_faces_cut_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("fer_lib.datasets.ROOT", tmp_path)
    verdict = published.judge("bundled")
    assert verdict.status == "altered" and "git checkout" in verdict.detail


def test_nothing_heavy_is_imported(face_folder: Path):
    code = (
        "import sys; from fer_lib.verify import verify; verify(sys.argv[1]); "
        "print(*{'tensorflow', 'pandas', 'matplotlib', 'kagglehub'} & set(sys.modules))"
    )
    command = [sys.executable, "-c", code, str(face_folder)]
    assert subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout == "\n"


def test_real_fer2013(fer2013: Path):
    verdict = published.judge(fer2013)
    assert verdict.status in ("authentic", "partial")
    found = {state for row in verdict.rows if row["usage"] != "PrivateTest" for state in [row["state"]]}
    assert found == {"authentic"}
    assert sum(row["found"] for row in verdict.rows if row["usage"] != "PrivateTest") == 32_298
