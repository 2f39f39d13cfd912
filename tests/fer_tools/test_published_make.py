"""The table of FER2013's images is made of authentic classes only; `fer data verify` names what differs."""

import hashlib
import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from made import make_csv, make_folder

from fer_lib.data.readers.source import FER2013_CLASSES
from fer_lib.files import ROOT, UsageError
from fer_tools.commands import main
from fer_tools.published import images as published_images
from fer_tools.published import make as digests_of_images
from fer_tools.published import verdict as published


@pytest.fixture
def faces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give an image folder that passes for the published one, as far as whole classes go."""
    train = {name: 8 for name in FER2013_CLASSES} | {"sad": 3}
    folder = make_folder(tmp_path / "faces", train, dict.fromkeys(FER2013_CLASSES, 1))
    digests: dict[str, dict] = {"PrivateTest": {name: {"count": 1, "sha256": ""} for name in FER2013_CLASSES}}
    for part, usage in (("train", "Training"), ("test", "PublicTest")):
        for name in FER2013_CLASSES:
            lines = [
                f"{file.name} {hashlib.sha256(file.read_bytes()).hexdigest()}\n"
                for file in sorted((folder / part / name).iterdir())
            ]
            entry = {"count": len(lines), "sha256": hashlib.sha256("".join(lines).encode()).hexdigest()}
            digests.setdefault(usage, {})[name] = entry
    (tmp_path / "digests.json").write_text(json.dumps(digests))
    monkeypatch.setattr(published, "DIGESTS", tmp_path / "digests.json")
    monkeypatch.setattr(published_images, "IMAGES", tmp_path / "images.npz")
    digests_of_images.write(folder, tmp_path / "images.npz")
    return folder


def test_the_table_is_of_the_images(faces: Path, tmp_path: Path):
    with np.load(tmp_path / "images.npz", allow_pickle=False) as arrays:
        assert {name.partition("_")[0] for name in arrays} == {"Training", "PublicTest"}
        for usage, part in (("Training", "train"), ("PublicTest", "test")):
            files = []
            for name in FER2013_CLASSES:
                files += sorted(
                    (faces / part / name).iterdir(), key=lambda file: int(file.stem.split("_")[1])
                )
            assert arrays[f"{usage}_ids"].tolist() == [int(file.stem.split("_")[1]) for file in files]
            assert [bytes(row) for row in arrays[f"{usage}_sha256"]] == [
                hashlib.sha256(file.read_bytes()).digest()[:8] for file in files
            ]
        assert arrays["Training_counts"].tolist() == [8, 8, 8, 8, 3, 8, 8]


def test_the_same_images_give_the_same_bytes(faces: Path, tmp_path: Path):
    archive = Path(shutil.make_archive(str(tmp_path / "faces"), "zip", faces))
    digests_of_images.write(archive, tmp_path / "again.npz")
    assert (tmp_path / "again.npz").read_bytes() == (tmp_path / "images.npz").read_bytes()
    with zipfile.ZipFile(tmp_path / "again.npz") as entries:
        assert {info.date_time for info in entries.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert {info.compress_type for info in entries.infolist()} == {zipfile.ZIP_STORED}


@pytest.mark.parametrize("change", ["altered", "incomplete", "none of FER2013", "csv"])
def test_what_is_not_as_published_gets_into_no_table(faces: Path, tmp_path: Path, change: str):
    file, source = next(faces.glob("train/fear/*")), faces
    if change == "altered":
        file.write_bytes(file.read_bytes() + b"x")
    elif change == "incomplete":
        file.unlink()
    elif change == "csv":
        source = make_csv(tmp_path / "icml_face_data.csv", faces)
    else:
        for i, image in enumerate(sorted(faces.rglob("*.jpg"))):
            image.rename(image.with_name(f"{i}.jpg"))
    before = (tmp_path / "images.npz").read_bytes()
    with pytest.raises(UsageError) as caught:
        digests_of_images.write(source, tmp_path / "images.npz")
    assert "\n" not in str(caught.value)
    assert ("Training fear" in str(caught.value)) == (change in ("altered", "incomplete"))
    assert (tmp_path / "images.npz").read_bytes() == before


def test_it_is_run_as_a_module(tmp_path: Path, face_folder: Path):
    command = [sys.executable, "-m", "fer_tools.published.make", face_folder, tmp_path / "x.npz"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 1 and "Training angry is not as published" in done.stderr
    assert "Traceback" not in done.stderr and not (tmp_path / "x.npz").exists()


def test_verify_names_what_differs(faces: Path, capsys: pytest.CaptureFixture[str]):
    files = sorted((faces / "train/happy").iterdir())
    for file in files[:7]:
        file.write_bytes(file.read_bytes() + b"x")
    shutil.copy(files[0], faces / "train/sad/cat.jpg")
    files[7].unlink()
    assert main(["data", "verify", str(faces)]) == 2
    place, header, *rows, extra, altered, foreign, missing, verdict = capsys.readouterr().out.splitlines()
    assert place == f"image folder {faces}"
    assert header.split() == "usage class found as published altered foreign missing state".split()
    (happy,) = [row for row in rows if row.split()[:2] == ["Training", "happy"]]
    assert happy.split() == "Training happy 7 of 8 0 7 0 1 altered".split()
    (sad,) = [row for row in rows if row.split()[:2] == ["Training", "sad"]]
    assert sad.split() == "Training sad 3 of 3 3 0 0 0 authentic".split()
    assert extra.split() == "train sad 1 of 0 0 0 1 0 altered".split()
    named = ", ".join(f"train/happy/{file.name}" for file in files[:5])
    assert altered == f"altered: {named} and 2 more"
    assert foreign == "foreign: train/sad/cat.jpg"
    assert missing == f"missing: train/happy/{files[7].name}"
    assert verdict.startswith("altered: Not as published; altered: Training (happy), 7 of 7 images; 1 images")


def test_the_real_table_can_be_made_again(fer2013: Path, tmp_path: Path):
    digests_of_images.write(fer2013, tmp_path / "images.npz")
    with np.load(tmp_path / "images.npz") as again, np.load(published_images.IMAGES) as committed:
        for name in committed.files:
            assert again[name].dtype == committed[name].dtype
            assert np.array_equal(again[name], committed[name])
