"""Verdicts on copies of a data set: as published, partial, altered, split otherwise, or something else."""

import hashlib
import json
import random
import re
import shutil
import subprocess
import sys
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from asserting import within
from made import draw_face, make_csv, put
from PIL import Image

from fer_lib.data.readers.source import FER2013_CLASSES
from fer_lib.files import ROOT, UsageError
from fer_tools.published import images as published_images
from fer_tools.published import verdict as published
from fer_tools.published.images import DEVIATIONS, KINDS
from fer_tools.published.verdict import Verdict

USAGES = {"Training": ("train", 4), "PublicTest": ("test", 2), "PrivateTest": ("test", 3)}


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a data set of seven classes and three usages, with digests made by the published recipe.

    As in FER2013, two different images of Training have one id, and PrivateTest has no digests of images.
    """
    root = tmp_path_factory.mktemp("original")
    digests: dict[str, dict] = {}
    arrays: dict[str, list] = {}
    for usage, (part, count) in USAGES.items():
        for k, name in enumerate(FER2013_CLASSES):
            folder = root / "fer2013" / part / name
            folder.mkdir(parents=True, exist_ok=True)
            lines = []
            ids = sorted((i * 77 % 100 + 100 * k) * (k < 6 or i > 0) for i in range(count))
            for i, number in enumerate(ids):
                file = folder / f"{usage}_{number}.jpg"
                Image.fromarray(draw_face(name, i, usage)).save(file)
                sha256 = hashlib.sha256(file.read_bytes())
                lines.append(f"{file.name} {sha256.hexdigest()}\n")
                arrays.setdefault(f"{usage}_ids", []).append(number)
                arrays.setdefault(f"{usage}_sha256", []).append(list(sha256.digest()[:8]))
            digest = hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()
            digests.setdefault(usage, {})[name] = {"count": count, "sha256": digest}
            arrays.setdefault(f"{usage}_counts", []).append(count)
    assert {0, 31, 54, 77} < set(arrays["Training_ids"]) and arrays["Training_ids"].count(0) == 2
    (root / "digests.json").write_text(json.dumps(digests))
    compared = {key: np.array(value) for key, value in arrays.items() if "PrivateTest" not in key}
    compared |= {key: value.astype(np.uint8) for key, value in compared.items() if "sha256" in key}
    np.savez(root / "images.npz", **compared)
    return root


@pytest.fixture
def copy(original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a copy of the data set that a test may spoil."""
    monkeypatch.setattr(published, "DIGESTS", original / "digests.json")
    monkeypatch.setattr(published_images, "IMAGES", original / "images.npz")
    return shutil.copytree(original / "fer2013", tmp_path / "copy")


def states(verdict: Verdict) -> Counter:
    return Counter(row["state"] for row in verdict.rows)


def row_of(verdict: Verdict, usage: str, name: str) -> dict:
    (row,) = [row for row in verdict.rows if (row["usage"], row["class"]) == (usage, name)]
    return row


def kinds(verdict: Verdict) -> dict[str, int]:
    """Sum the counts of the rows; those that are zero are left out."""
    for row in verdict.rows:
        assert row["found"] == sum(row[kind] for kind in KINDS if kind != "missing")
    total = {kind: sum(row[kind] for row in verdict.rows) for kind in KINDS}
    for kind in DEVIATIONS:
        assert len(verdict.files.get(kind, [])) == total[kind]
    return {kind: count for kind, count in total.items() if count}


def change_byte(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[-9] ^= 1
    file.write_bytes(data)


def rotate(file: Path) -> None:
    Image.open(file).rotate(7).crop((2, 2, 46, 46)).resize((48, 48)).save(file)


def rename_all(copy: Path) -> None:
    for i, file in enumerate(sorted(copy.rglob("*.jpg"))):
        file.rename(file.with_name(f"{i}.jpg"))


def test_authentic(copy: Path):
    (copy / "train/happy/Thumbs.db").write_text("ignored")
    verdict = published.judge(copy)
    assert verdict.status == "authentic" and "\n" not in verdict.detail
    assert verdict.detail == "All 63 images are FER2013's as published, byte for byte."
    assert states(verdict) == {"authentic": 21}
    assert verdict.rows[0] == {
        "usage": "Training",
        "class": "angry",
        "expected": 4,
        "found": 4,
        "state": "authentic",
        "as published": 4,
        "altered": 0,
        "misplaced": 0,
        "renamed": 0,
        "foreign": 0,
        "not compared": 0,
        "missing": 0,
    }
    assert verdict.files == {}


def zip_of(copy: Path, path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for file in copy.rglob("*.jpg"):
            archive.write(file, file.relative_to(copy))
    return path


def test_authentic_zip(copy: Path, tmp_path: Path):
    path = zip_of(copy, tmp_path / "archive.zip")
    assert published.judge(path) == published.judge(copy)
    assert published.judge(path).status == "authentic"


def test_altered_zip(copy: Path, tmp_path: Path):
    rotate(copy / "train/fear/Training_200.jpg")
    path = zip_of(copy, tmp_path / "archive.zip")
    assert published.judge(path) == published.judge(copy)
    assert published.judge(path).files == {"altered": ["train/fear/Training_200.jpg"]}


def test_partial(copy: Path):
    for file in copy.glob("test/*/PrivateTest_*"):
        file.unlink()
    verdict = published.judge(copy)
    assert verdict.status == "partial" and verdict.detail == (
        "42 images are FER2013's as published, byte for byte; missing: PrivateTest (all classes)."
    )
    assert states(verdict) == {"authentic": 14, "missing": 7}
    shutil.rmtree(copy / "train/sad")
    (copy / "train/happy/Training_331.jpg").unlink()
    verdict = published.judge(copy)
    assert verdict.status == "partial" and "Training (sad)" in verdict.detail
    assert "incomplete: Training (happy)" in verdict.detail
    assert verdict.detail.startswith("37 images are FER2013's as published, byte for byte; ")
    assert kinds(verdict) == {"as published": 37, "missing": 4 + 1 + 21}
    assert verdict.files == {"missing": ["train/happy/Training_331.jpg"]}


def test_partial_though_no_class_is_complete(copy: Path):
    for folder in copy.glob("*/*"):
        for file in folder.glob("PublicTest_*"):
            file.unlink()
        next(folder.iterdir()).unlink()
    verdict = published.judge(copy)
    assert verdict.status == "partial" and states(verdict) == {"incomplete": 14, "missing": 7}
    assert verdict.detail.startswith(
        "21 images are FER2013's as published, byte for byte; missing: PublicTest"
    )
    assert "14 images could not be compared" in verdict.detail, "of PrivateTest"
    assert kinds(verdict) == {"as published": 21, "not compared": 14, "missing": 28}
    for file in copy.glob("train/*/*"):
        file.unlink()
    verdict = published.judge(copy)
    assert (
        verdict.status == "unverified" and "no class is complete and none can be compared" in verdict.detail
    )


@pytest.mark.parametrize(("part", "lost"), [("train", "PublicTest"), ("test", "Training")])
def test_one_part_only(copy: Path, part: str, lost: str):
    shutil.rmtree(copy / ("test" if part == "train" else "train"))
    verdict = published.judge(copy)
    assert verdict.status == "partial" and f"{lost} (all classes)" in verdict.detail
    assert (
        states(verdict)
        == {"train": {"authentic": 7, "missing": 14}, "test": {"authentic": 14, "missing": 7}}[part]
    )


ALTERED = {  # what is said of each change
    "equalised": "altered: Training (happy), 4 of 4 images",
    "one byte": "altered: Training (happy), 1 of 4 images",
    "renamed": "renamed: Training (happy), 1 of 4 images",
    "added": "renamed: Training (happy), 1 of 5 images",
    "relabelled": "misplaced: Training (happy), 1 of 5 images",
    "exchanged": "renamed: Training (happy), 2 of 4 images",
    "as PNG": "altered: Training (happy), 1 of 4 images",
    "suffix": "renamed: Training (happy), 1 of 4 images",
}


@pytest.mark.parametrize("change", ALTERED)
def test_altered(copy: Path, change: str):
    file = next(copy.glob("train/happy/*.jpg"))
    if change == "equalised":
        for image in copy.glob("train/happy/*.jpg"):
            values = np.asarray(Image.open(image))
            Image.fromarray((values.argsort(None).argsort() // 10).reshape(48, 48).astype(np.uint8)).save(
                image
            )
    elif change == "one byte":
        change_byte(file)
    elif change == "renamed":
        file.rename(file.with_name("Training_5000.jpg"))
    elif change == "added":
        shutil.copy(file, file.with_name("Training_5000.jpg"))
    elif change == "relabelled":
        next(copy.glob("train/sad/*.jpg")).rename(file.with_name("Training_5000.jpg"))
    elif change == "exchanged":
        one, two = list(copy.glob("train/happy/*.jpg"))[:2]
        content = one.read_bytes()
        one.write_bytes(two.read_bytes())
        two.write_bytes(content)
    elif change == "as PNG":
        Image.open(file).save(file.with_suffix(".png"))
        file.unlink()
    else:
        file.rename(file.with_suffix(".jpeg"))
    verdict = published.judge(copy)
    assert verdict.status == "altered" and ALTERED[change] in verdict.detail
    assert states(verdict)["altered"] == 1 and row_of(verdict, "Training", "happy")["state"] == "altered"
    assert verdict.detail == f"Not as published; {ALTERED[change]}.", "nothing is missing, nothing foreign"


def test_one_altered_image_in_what_is_left_of_a_copy(copy: Path):
    for file in sorted(copy.rglob("*.jpg")):
        if file.name not in ("Training_331.jpg", "Training_354.jpg", "PublicTest_500.jpg"):
            file.unlink()
    assert published.judge(copy).status == "partial"
    rotate(copy / "train/happy/Training_354.jpg")
    verdict = published.judge(copy)
    assert verdict.status == "altered" and "\n" not in verdict.detail
    assert verdict.detail.startswith("Not as published; altered: Training (happy), 1 of 2 images; missing: ")
    assert verdict.detail.endswith(" and incomplete: Training (happy); PublicTest (surprise).")
    assert kinds(verdict) == {"as published": 2, "altered": 1, "missing": 39 + 21}
    assert verdict.files["altered"] == ["train/happy/Training_354.jpg"]
    assert verdict.files["missing"] == [
        "train/happy/Training_300.jpg",
        "train/happy/Training_377.jpg",
        "test/surprise/PublicTest_577.jpg",
    ]


def test_all_images_altered_in_what_is_left_of_a_copy(copy: Path):
    shutil.rmtree(copy / "test")
    for folder in copy.glob("train/*"):
        next(folder.iterdir()).unlink()
        for file in folder.iterdir():
            rotate(file)
    verdict = published.judge(copy)
    assert verdict.status == "altered"
    assert "altered: Training (all classes), 21 of 21 images; missing: PublicTest (all" in verdict.detail
    assert kinds(verdict) == {"altered": 21, "missing": 63 - 21}


def test_altered_class_of_private_test(copy: Path):
    change_byte(next(copy.glob("test/sad/PrivateTest*")))
    verdict = published.judge(copy)
    assert verdict.status == "altered" and states(verdict) == {"authentic": 20, "altered": 1}
    assert verdict.detail == "Not as published; altered: PrivateTest (sad), by the digest of the whole class."
    assert kinds(verdict) == {"as published": 60, "not compared": 3}


def test_foreign_images_among_the_published(copy: Path):
    Image.fromarray(draw_face("happy", 99)).save(copy / "train/happy/selfie.jpg")
    verdict = published.judge(copy)
    assert verdict.status == "altered" and "1 images that FER2013 does not have" in verdict.detail
    assert kinds(verdict) == {"as published": 63, "foreign": 1}
    assert row_of(verdict, "Training", "happy")["state"] == "authentic", "all of it is there"
    assert row_of(verdict, "train", "happy") == dict.fromkeys(KINDS, 0) | {
        "usage": "train",
        "class": "happy",
        "expected": 0,
        "found": 1,
        "foreign": 1,
        "state": "altered",
    }
    (copy / "train/happy/selfie.jpg").rename(copy / "train/happy/Training_5000.jpg")
    verdict = published.judge(copy)
    assert verdict.status == "altered" and row_of(verdict, "Training", "happy")["foreign"] == 1
    assert verdict.files == {"foreign": ["train/happy/Training_5000.jpg"]}


def test_foreign_class(copy: Path):
    (copy / "train/contempt").mkdir()
    Image.fromarray(draw_face("happy", 99)).save(copy / "train/contempt/1.jpg")
    verdict = published.judge(copy)
    assert verdict.status == "altered" and kinds(verdict) == {"as published": 63, "foreign": 1}
    assert verdict.files == {"foreign": ["train/contempt/1.jpg"]}
    assert row_of(verdict, "train", "contempt")["found"] == 1


@pytest.mark.parametrize("file", ["Training_300.jpg", "Training_0.jpg"])  # of the second there are two
def test_misplaced_in_another_class(copy: Path, file: str):
    (path,) = copy.glob(f"train/[ah][na][gp][rp]y/{file}")
    path.rename(copy / "train/fear" / file)
    verdict = published.judge(copy)
    assert verdict.status == "altered"
    assert verdict.detail == "Not as published; misplaced: Training (fear), 1 of 5 images."
    assert kinds(verdict) == {"as published": 62, "misplaced": 1}, "nothing is missing"
    assert row_of(verdict, "Training", path.parent.name)["state"] == "incomplete"
    assert verdict.files == {"misplaced": [f"train/fear/{file}"]}
    change_byte(copy / "train/fear" / file)
    assert kinds(published.judge(copy)) == {"as published": 62, "altered": 1}


def test_renamed_copy_is_recognised_by_its_content(copy: Path):
    for file in copy.glob("test/*/PrivateTest_*"):
        file.unlink()
    rename_all(copy)
    verdict = published.judge(copy)
    assert verdict.status == "altered"
    assert "renamed: Training (all classes) and PublicTest (all classes), 42 of 42 images" in verdict.detail
    assert kinds(verdict) == {"renamed": 42, "missing": 21}
    lost, changed, *_ = copy.glob("train/happy/*.jpg")
    lost.unlink()
    change_byte(changed)
    verdict = published.judge(copy)
    assert kinds(verdict) == {"renamed": 40, "foreign": 1, "missing": 2 + 21}
    assert verdict.files["foreign"] == [f"train/happy/{changed.name}"]
    assert len(verdict.files["missing"]) == 2 and "train/happy/Training_3" in verdict.files["missing"][0]


def test_images_published_twice(copy: Path, original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Of two files with the same bytes, each is found under its own name, and one may be missing."""
    with np.load(original / "images.npz") as stored:
        arrays = dict(stored)
    arrays["Training_sha256"][1] = arrays["Training_sha256"][0]
    np.savez(tmp_path / "twice.npz", **arrays)
    monkeypatch.setattr(published_images, "IMAGES", tmp_path / "twice.npz")
    one, two = copy / "train/angry/Training_0.jpg", copy / "train/angry/Training_31.jpg"
    shutil.copy(one, two)  # as published, by this table
    for name in ("Training_54.jpg", "Training_77.jpg"):
        (copy / "train/angry" / name).unlink()
    assert row_of(published.judge(copy), "Training", "angry")["as published"] == 2
    two.unlink()
    verdict = published.judge(copy)
    assert "train/angry/Training_31.jpg" in verdict.files["missing"]
    assert row_of(verdict, "Training", "angry")["missing"] == 3
    one.rename(two.with_name("x.jpg"))
    row = row_of(published.judge(copy), "Training", "angry")
    assert (row["renamed"], row["missing"]) == (1, 3)
    shutil.copy(two.with_name("x.jpg"), two.with_name("y.jpg"))
    row = row_of(published.judge(copy), "Training", "angry")
    assert (row["renamed"], row["missing"]) == (2, 2)


def test_another_split(copy: Path):
    moved = next(copy.glob("test/happy/PublicTest*"))
    moved.rename(copy / "train/happy" / moved.name)
    verdict = published.judge(copy)
    assert verdict.status == "another split" and "1 images lie in another part" in verdict.detail
    assert kinds(verdict) == {"as published": 62, "misplaced": 1}
    moved = copy / "train/happy" / moved.name
    rotate(moved)
    verdict = published.judge(copy)
    assert (
        verdict.status == "another split" and "altered: PublicTest (happy), 1 of 2 images" in verdict.detail
    )
    shutil.rmtree(copy / "train/happy")
    (copy / "test").rename(copy / "validation")
    rename_all(copy)
    verdict = published.judge(copy)
    assert verdict.status == "another split" and "train and validation (24 and 34" in verdict.detail


@pytest.mark.parametrize("renamed", [False, True])
def test_another_split_by_content(copy: Path, renamed: bool):
    target = copy / "train/happy"
    source = next(copy.glob("test/happy/P[ur][bi][lv]*" if not renamed else "test/happy/PublicTest*"))
    source.rename(target / ("1.jpg" if renamed else source.name))
    verdict = published.judge(copy)
    assert verdict.status == "another split"
    assert "1 images lie in another part than published" in verdict.detail


def test_what_cannot_be_compared(copy: Path):
    rename_all(copy)
    verdict = published.judge(copy)  # Training and PublicTest are known by their bytes
    assert verdict.status == "altered" and "renamed" in verdict.detail
    assert "21 images that FER2013 does not have (21 in test may be PrivateTest's" in verdict.detail
    for file in copy.rglob("*.jpg"):
        Image.open(file).save(file, quality=50)
    verdict = published.judge(copy)
    assert verdict.status == "unverified" and "nothing can be compared" in verdict.detail
    assert kinds(verdict) == {"foreign": 63, "missing": 63}
    next(copy.rglob("*.jpg")).unlink()
    assert published.judge(copy).status == "not FER2013"


def test_a_few_images_under_the_right_names(face_folder: Path):
    verdict = published.judge(face_folder)  # against the real digests, which have neither names nor bytes
    assert verdict.status == "not FER2013" and "neither by its name nor by its bytes" in verdict.detail


def test_validation_of_something_else(make_face_folder: Callable[..., Path], tmp_path: Path):
    folder = make_face_folder(tmp_path / "pets", {"cat": 3, "dog": 3}, test_name="validation")
    assert published.judge(folder).status == "not FER2013"


@pytest.mark.parametrize("damage", ["absent", "garbage", "half", "array lost", "pickle", "packed", "pipe"])
def test_damaged_table(copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str):
    table = shutil.copy(published_images.IMAGES, tmp_path / "images.npz")
    monkeypatch.setattr(published_images, "IMAGES", table)
    if damage in ("absent", "pipe"):
        table.unlink()
        if damage == "pipe":
            put(table, "pipe")
    elif damage in ("garbage", "half"):
        table.write_bytes(b"x" * 99 if damage == "garbage" else table.read_bytes()[:2000])
    else:
        with np.load(table) as stored:
            arrays = dict(stored)
        if damage == "packed":  # 80 MB
            arrays["Training_sha256"] = np.zeros((10_000_000, 8), np.uint8)
        elif damage == "pickle":
            arrays["Training_counts"] = np.array([print], dtype=object)
        else:
            del arrays["Training_sha256"]
        (np.savez_compressed if damage == "packed" else np.savez)(table, **arrays)
    assert published.judge(copy).status == "authentic", "no need of the table"
    change_byte(next(copy.glob("train/sad/*")))
    with within(20), pytest.raises(UsageError, match=r"images\.npz: cannot be read") as caught:
        published.judge(copy)
    assert damage != "packed" or "is packed" in str(caught.value) or "more than it has" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_csv(copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = make_csv(tmp_path / "icml_face_data.csv", copy)
    verdict = published.judge(path)
    assert verdict.status == "unverified" and "counts of all classes are FER2013's" in verdict.detail
    assert states(verdict) == {"count agrees": 21}
    md5 = hashlib.md5(path.read_bytes()).hexdigest()
    monkeypatch.setattr(published, "CSV_MD5", {md5: "icml_face_data.csv"})
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
    digests = json.loads((ROOT / "fer_tools/published/fer2013.digests.json").read_text())
    totals = {usage: sum(entry["count"] for entry in group.values()) for usage, group in digests.items()}
    assert totals == {"Training": 28_709, "PublicTest": 3_589, "PrivateTest": 3_589}
    assert all(set(group) == set(FER2013_CLASSES) for group in digests.values())
    with np.load(ROOT / "fer_tools/published/fer2013.images.npz", allow_pickle=False) as arrays:
        for usage in ("Training", "PublicTest"):
            counts = [digests[usage][name]["count"] for name in FER2013_CLASSES]
            assert arrays[f"{usage}_counts"].tolist() == counts
            assert arrays[f"{usage}_ids"].shape == (totals[usage],)
            assert arrays[f"{usage}_sha256"].shape == (totals[usage], 8)
    assert (ROOT / "fer_tools/published/fer2013.images.npz").stat().st_size <= 400_000


def test_bundled_faces():
    if not (ROOT / "data/bundled/digests.json").exists():
        pytest.skip("data/bundled is not there")
    verdict = published.judge("bundled")
    assert verdict.status == "authentic" and states(verdict) == {"authentic": 6}
    assert verdict.detail == "All 12,000 bundled faces are as committed."


def test_bundled_faces_cut_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("fer_lib.data.load.ROOT", tmp_path)
    verdict = published.judge("bundled")
    assert verdict.status == "altered" and "git checkout" in verdict.detail


def test_nothing_heavy_is_imported(face_folder: Path):
    code = (
        "import sys; from fer_tools.published.verdict import judge; judge(sys.argv[1]); "
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


@pytest.fixture(scope="module")
def real(fer2013: Path) -> Mapping[Path, bytes]:
    """Give the content of all files of the real Training and PublicTest."""
    files = [file for file in fer2013.glob("t*/*/*.jpg") if not file.name.startswith("PrivateTest")]
    return {file: file.read_bytes() for file in files}


def test_the_committed_table_is_of_the_real_images(real: Mapping[Path, bytes]):
    there = []
    for file, content in real.items():
        usage, number = re.fullmatch(r"(Training|PublicTest)_(\d+)\.jpg", file.name).groups()
        there.append((usage, file.parent.name, int(number), hashlib.sha256(content).digest()[:8]))
    stored = []
    with np.load(ROOT / "fer_tools/published/fer2013.images.npz", allow_pickle=False) as arrays:
        for usage in ("Training", "PublicTest"):
            ids, digests = arrays[f"{usage}_ids"], arrays[f"{usage}_sha256"]
            ends = arrays[f"{usage}_counts"].astype(int).cumsum()
            for name, group, of in zip(
                FER2013_CLASSES, np.split(ids, ends[:-1]), np.split(digests, ends[:-1]), strict=True
            ):
                stored += [(usage, name, int(i), d.tobytes()) for i, d in zip(group, of, strict=True)]
    assert len(there) == 32_298 and sorted(there) == sorted(stored)


def test_what_is_left_of_the_real_images(real: Mapping[Path, bytes], tmp_path: Path):
    """A random part of FER2013, of which some images are rotated crops, and some lie elsewhere."""
    rng = random.Random(1)
    part = rng.sample(sorted(real), 1500)
    for file in part:
        target = tmp_path / file.parent.parent.name / file.parent.name / file.name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(real[file])
    verdict = published.judge(tmp_path)
    assert verdict.status == "partial" and kinds(verdict)["as published"] == 1500
    assert verdict.detail.startswith(
        "1,500 images are FER2013's as published, byte for byte; missing: PrivateT"
    )
    altered = set()
    for file in sorted(tmp_path.glob("train/*/*"))[::10]:
        rotate(file)
        altered.add(str(file.relative_to(tmp_path)))
    verdict = published.judge(tmp_path)
    assert verdict.status == "altered" and set(verdict.files["altered"]) == altered
    trained = sum(row["found"] for row in verdict.rows if row["altered"])
    assert f", {len(altered)} of {trained:,} images" in verdict.detail
    contents = Counter(real.values())
    alone = [file for file in part if contents[real[file]] == 1 and file.parent.name == "happy"]
    renamed = [tmp_path / file.parent.parent.name / "happy" / file.name for file in alone]
    renamed = [file for file in renamed if str(file.relative_to(tmp_path)) not in altered]
    for i, file in enumerate(renamed):
        file.rename(file.with_name(f"im{i}.png"))
    verdict = published.judge(tmp_path)
    assert kinds(verdict)["renamed"] == len(renamed) and kinds(verdict)["altered"] == len(altered)
    assert kinds(verdict)["as published"] == 1500 - len(altered) - len(renamed)
    assert kinds(verdict)["missing"] == 35_887 - 1500


def test_comparing_takes_about_as_long_as_hashing(real: Mapping[Path, bytes], tmp_path: Path):
    """One altered image in each class: every image is compared."""
    with zipfile.ZipFile(tmp_path / "faces.zip", "w") as archive:
        changed = set()
        for file, content in real.items():
            place = file.parent.parent.name, file.parent.name
            archive.writestr(f"{place[0]}/{place[1]}/{file.name}", content + b"x" * (place not in changed))
            changed.add(place)
    start = time.process_time()
    with zipfile.ZipFile(tmp_path / "faces.zip") as archive:
        for info in archive.infolist():
            hashlib.sha256(archive.read(info)).hexdigest()
    hashing = time.process_time() - start
    start = time.process_time()
    verdict = published.judge(tmp_path / "faces.zip")
    comparing = time.process_time() - start
    print(f"hashing {hashing:.2f} s, judging {comparing:.2f} s of CPU time")
    assert kinds(verdict) == {"as published": 32_298 - 14, "altered": 14, "missing": 3_589}
    assert comparing < 4 * hashing + 1


# --- the same images in folders of other names ---


@pytest.mark.parametrize("how", ["title", "codes", "upper parts", "zip"])
def test_a_copy_whose_folders_are_written_otherwise_is_recognised(copy: Path, tmp_path: Path, how: str):
    expected = published.judge(copy)
    for part in ("train", "test"):
        for code, name in enumerate(FER2013_CLASSES):
            other = str(code) if how == "codes" else name.title()
            (copy / part / name).rename(copy / part / other)
        if how == "upper parts":
            (copy / part).rename(copy / part.upper())
    data = zip_of(copy, tmp_path / "a.zip") if how == "zip" else copy
    assert published.judge(data) == expected and expected.status == "authentic"
    rotate(next(copy.glob("*/*/Training_331.jpg")))
    data = zip_of(copy, tmp_path / "b.zip") if how == "zip" else copy
    verdict = published.judge(data)
    assert verdict.status == "altered" and ALTERED["one byte"] in verdict.detail
    (place,) = verdict.files["altered"]
    assert (copy / place).is_file()


@pytest.mark.parametrize("name", ["validation", "val", "valid"])
def test_images_for_validation_beside_test_are_not_missing(copy: Path, name: str):
    for file in sorted(copy.glob("test/*/PublicTest_*")):
        (copy / name / file.parent.name).mkdir(parents=True, exist_ok=True)
        file.rename(copy / name / file.parent.name / file.name)
    assert published.judge(copy).status == "authentic"
    change_byte(copy / name / "surprise/PublicTest_500.jpg")
    verdict = published.judge(copy)
    assert verdict.status == "altered"
    assert verdict.files == {"altered": [f"{name}/surprise/PublicTest_500.jpg"]}


@pytest.mark.parametrize("layout", ["folder", "zip"])
def test_a_copy_without_folders_of_classes_is_not_called_foreign(copy: Path, tmp_path: Path, layout: str):
    for folder in list(copy.glob("*/*")):
        for file in list(folder.iterdir()):
            file.rename(folder.parent / f"{file.stem}_{folder.name}.jpg")
        folder.rmdir()
    if layout == "zip":
        with pytest.raises(UsageError, match="its files lie in test, train"):
            published.judge(zip_of(copy, tmp_path / "a.zip"))
        return
    verdict = published.judge(copy)
    assert verdict.status == "unverified" and "but Training_" in verdict.detail
    assert "sort them into such folders" in verdict.detail and "\n" not in verdict.detail
