"""The cache of decoded images: used where it is right, never trusted, never needed."""

import io
import os
import stat
import subprocess
import sys
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from asserting import same, within
from made import encoded, make_folder, put
from PIL import Image

from fer_lib.data import cache as module
from fer_lib.data import load
from fer_lib.data.faces import DEFAULT_CLASSES
from fer_lib.data.load import load_test, load_training
from fer_lib.data.picture import decode_image
from fer_lib.data.readers import source
from fer_lib.files import ROOT


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("FER_CACHE", str(folder))
    return folder


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record which images are decoded."""
    names: list[str] = []

    def spy(content: bytes, where: str):
        names.append(where)
        return decode_image(content, where)

    monkeypatch.setattr(source, "decode_image", spy)
    return names


def test_decoded_once_and_only_what_is_asked_for(face_folder: Path, cache: Path, decoded: list[str]):
    first = load_training(face_folder, ("happy", "surprise"))
    assert len(decoded) == 80 and not any("test" in Path(name).parts or "neutral" in name for name in decoded)
    assert same(first, load_training(face_folder, ("happy", "surprise"))) and len(decoded) == 80
    load_training(face_folder)  # another subset uses what is there
    assert len(decoded) == 120
    assert not list(cache.glob(".*")), "temporary files are left"


def test_changed_content_is_noticed(cache: Path, decoded: list[str], tmp_path: Path):
    folder = make_folder(tmp_path / "faces")
    before, digest = load_training(folder), load.data_digest(folder)
    file = folder / before.names[0]
    status = file.stat()
    other = Image.open(file).transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    file.write_bytes(encoded(other, "BMP")[: status.st_size].ljust(status.st_size, b"\0"))
    file.write_bytes(encoded(other, "BMP"))
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))  # as `cp -p` would leave it
    after = load_training(folder)
    assert not np.array_equal(before.images[0], after.images[0])
    assert np.array_equal(before.images[1:], after.images[1:])
    assert load.data_digest(folder) != digest
    (folder / before.names[1]).unlink()
    assert len(load_training(folder)) == len(before) - 1


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x03\x04", b"\x80\x04\x95pickle"])
def test_a_damaged_cache_is_ignored_and_mended(
    face_folder: Path, cache: Path, decoded: list[str], content: bytes
):
    first = load_training(face_folder)
    for file in cache.glob("*.npz"):
        file.write_bytes(content)
    assert same(first, load_training(face_folder)) and len(decoded) == 240
    assert same(first, load_training(face_folder)) and len(decoded) == 240
    for file in cache.glob("*.npz"):  # one flipped bit in the pixels
        data = bytearray(file.read_bytes())
        data[len(data) // 2] ^= 1
        file.write_bytes(bytes(data))
    assert same(first, load_training(face_folder)) and len(decoded) == 360
    for file in cache.glob("*.txt"):
        file.write_text("nonsense")
    assert same(first, load_training(face_folder)) and len(decoded) == 480


def test_no_pickle_is_ever_opened(face_folder: Path, cache: Path):
    load_training(face_folder)
    file = next(cache.glob("*.npz"))
    np.savez(file, images=np.array([print], dtype=object), names=np.array(["x"]), converted=0)
    assert load_training(face_folder).counts() == dict.fromkeys(DEFAULT_CLASSES, 40)


def test_works_without_a_cache(face_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    blocked = tmp_path / "file"
    blocked.write_text("a file where the cache folder should be")
    monkeypatch.setenv("FER_CACHE", str(blocked / "cache"))
    assert len(load_training(face_folder)) == 120
    assert load.data_digest(face_folder)
    folder = tmp_path / "read-only"
    folder.mkdir()
    folder.chmod(stat.S_IRUSR | stat.S_IXUSR)
    monkeypatch.setenv("FER_CACHE", str(folder))
    assert len(load_training(face_folder)) == 120


def test_the_cache_does_not_grow_for_ever(face_folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "CACHE_BYTES", 200_000)
    load_training(face_folder)
    load_test(face_folder)
    assert sum(file.stat().st_size for file in cache.glob("*.npz")) < 300_000
    assert len(load_training(face_folder)) == 120


def test_several_processes_at_once(face_folder: Path, cache: Path):
    code = (
        "import sys; from fer_lib.data.load import load_training as load; faces = load(sys.argv[1]); "
        "print(faces.images.sum(), len(faces))"
    )
    commands = [[sys.executable, "-c", code, str(face_folder)]] * 4
    running = [subprocess.Popen(c, stdout=subprocess.PIPE, cwd=ROOT, text=True) for c in commands]
    answers = {process.communicate()[0] for process in running}
    faces = load_training(face_folder)
    assert answers == {f"{faces.images.sum()} 120\n"}
    assert len(list(cache.glob("*.npz"))) == 3


def test_a_cache_file_that_declares_more_than_it_has_fills_no_memory(face_folder: Path, cache: Path):
    first = load_training(face_folder)
    names, images = np.full(40_000, "x"), np.zeros((40_000, 48, 48), np.uint8)  # 92 MB

    def packed(file: Path) -> None:
        np.savez_compressed(file, images=images, names=names, converted=0)

    def lying(file: Path) -> None:
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(
            header, {"shape": (40_000, 48, 48), "fortran_order": False, "descr": "|u1"}
        )
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("images.npy", header.getvalue())
            for name, array in (("names", names), ("converted", np.int64(0))):
                with archive.open(f"{name}.npy", "w") as member:
                    np.lib.format.write_array(member, np.asarray(array))

    for write in (packed, lying):
        for file in cache.glob("*.npz"):
            write(file)
        tracemalloc.start()
        try:
            assert same(first, load_training(face_folder))
            assert tracemalloc.get_traced_memory()[1] < 40_000_000
        finally:
            tracemalloc.stop()


@pytest.mark.parametrize("ending", ["txt", "npz"])
@pytest.mark.parametrize("kind", ["pipe", "device", "circle", "folder"])
def test_what_is_no_file_in_the_cache_is_passed_over(face_folder: Path, cache: Path, ending: str, kind: str):
    first = load_training(face_folder)
    for file in list(cache.glob(f"*.{ending}")):
        file.unlink()
        put(file, kind)
    with within(20):
        assert same(first, load_training(face_folder))
        assert load.data_digest(face_folder)
