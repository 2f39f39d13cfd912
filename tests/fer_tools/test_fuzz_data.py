"""Fuzz tests of data: pictures, folders, CSV, archives, bundled faces; see `fuzzing`."""

import io
import json
import shutil
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fuzzing
import numpy as np
import pytest
from fuzzing import DAMAGE, FUZZ, KEEP, answer, damaged, edited
from hypothesis import assume, given
from hypothesis import strategies as st
from made import draw_face, made_up_network
from made import put as put_other
from PIL import Image

from fer_lib import files
from fer_lib.checkpoints import HISTORY_COLUMNS, restore
from fer_lib.data import load
from fer_lib.data.faces import DEFAULT_CLASSES
from fer_lib.data.picture import decode_image
from fer_lib.data.readers.source import FER2013_CLASSES
from fer_tools import data_check, metrics
from fer_tools.published.verdict import judge

pytestmark = pytest.mark.filterwarnings("ignore")
sandbox, summary = fuzzing.sandbox, fuzzing.summary
small = fuzzing.small


def _encoded(mode: str, format_: str, **options: Any) -> bytes:
    handle = io.BytesIO()
    Image.fromarray(draw_face("sad", 1)).convert(mode).save(handle, format_, **options)
    return handle.getvalue()


PICTURES = [
    _encoded("L", "JPEG"),
    _encoded("RGB", "JPEG", progressive=True),
    _encoded("CMYK", "JPEG"),
    _encoded("L", "PNG"),
    _encoded("P", "PNG"),
    _encoded("LA", "PNG"),
    _encoded("I;16", "PNG"),
    _encoded("1", "PNG"),
    _encoded("L", "BMP"),
    _encoded("RGB", "BMP"),
    _encoded("L", "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0"),
    _encoded("L", "PNG", exif=b"MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0"),
]


@FUZZ
@given(st.sampled_from(PICTURES) | st.binary(max_size=64), DAMAGE, KEEP)
def test_images(picture: bytes, damage: list, keep: float):
    if found := answer("images", decode_image, damaged(picture, damage, keep), "x"):
        assert found[0].shape == (48, 48) and found[0].dtype == np.uint8


def read_everything(target: str, data: Any, classes: tuple[str, ...] = DEFAULT_CLASSES) -> None:
    """Do to a data set all that commands and notebooks do."""
    faces = answer(target, load.load_training, data, classes)
    if faces is not None:
        assert faces.images.shape == (len(faces.labels), 48, 48) and faces.images.dtype == np.uint8
        assert set(faces.labels.tolist()) == set(range(len(classes)))
        assert len(faces.names) == len(faces)
    for action in (load.load_test, load.pixel_digests_of_test_images):
        answer(target, action, data, classes, count=False)
    for part in ("train", "test"):
        answer(target, load.class_counts, data, classes, part, count=False)
    for action in (load.describe, load.data_digest, judge, data_check.remarks_of_copy):
        answer(target, action, data, count=False)
    settings = SimpleNamespace(data=data, test_data="", classes=classes)
    if facts := answer(target, data_check.facts, settings, count=False):
        assert not any(metrics.wrong(f"data.{key}", value) for key, value in facts.items())


NAMES = st.sampled_from(
    [
        "Training_1.jpg",
        "PublicTest_2.PNG",
        "x.bmp",
        ".hidden.jpg",
        "a\nb.jpg",
        "ü 表.jpg",
        "Thumbs.db",
        "c:.jpg",
    ]
) | st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=20).map(
    lambda text: f"{text}.jpg"
)
PARTS = st.sampled_from(
    ["train", "train", "train", "test", "test", "validation", "Train", "val", "train/train", "x"]
)
# Any folder may be a class.
CLASSES = st.sampled_from(
    [
        *DEFAULT_CLASSES,
        *DEFAULT_CLASSES,
        "sad",
        "Happy",
        "joy",
        "ü 表",
        "total",
        ".x",
        "a,b",
        "a\nb",
        "x" * 99,
    ]
)
OTHER = ["folder", "circle", "broken link", "pipe", "socket", "device"]
KINDS = st.sampled_from(["image"] * 15 + ["empty", "junk", "large", *OTHER])


def put(path: Path, kind: str) -> None:
    """Write what stands under the name of an image."""
    if kind in OTHER:
        put_other(path, kind)
    elif kind == "large":
        with open(path, "wb") as handle:
            handle.truncate(1 << 30)  # takes no room on the disk
    else:
        path.write_bytes({"image": PICTURES[0], "empty": b"", "junk": b"\xff\xd8\xff"}[kind])


@FUZZ
@given(
    entries=st.dictionaries(st.tuples(PARTS, CLASSES, NAMES), KINDS, max_size=12),
    instead=st.dictionaries(
        PARTS.flatmap(lambda p: (CLASSES | NAMES).map(lambda name: f"{p}/{name}")) | PARTS, KINDS
    )
    | st.just({}),
    whole=st.booleans(),
    classes=st.permutations(FER2013_CLASSES).flatmap(lambda p: st.integers(2, 3).map(lambda n: tuple(p[:n])))
    | st.lists(CLASSES, min_size=2, max_size=3, unique=True).map(tuple)
    | st.just(DEFAULT_CLASSES),
)
def test_folders(sandbox: Path, entries: dict, instead: dict, whole: bool, classes: tuple[str, ...]):
    root = sandbox / "set"
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    if whole:
        entries = {(part, name, "0.jpg"): "image" for part in ("train", "test") for name in classes} | entries
    for (part, name, file), kind in entries.items():
        path = root / part / name / file
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            put(path, kind)
        except OSError:  # too long, or there already in another way of writing it
            assume(False)
    for name, kind in instead.items():  # of a part, or of a class
        path = root / name
        shutil.rmtree(path, ignore_errors=True)
        try:
            path.parent.mkdir(exist_ok=True)
            put(path, kind)
        except OSError:
            pass
    read_everything("folders", root, classes)


@FUZZ
@given(damage=DAMAGE, keep=KEEP)
def test_damaged_csv(sandbox: Path, small: Path, damage: list, keep: float):
    path = sandbox / "a.csv"
    path.write_bytes(damaged((small / "icml_face_data.csv").read_bytes(), damage, keep))
    read_everything("CSV, damaged", path)


PIXELS = st.sampled_from(["7 " * 2304, " ".join(["255"] * 2304), "256 " * 2304, "1e3 " * 2304, "1 2 3", ""])
FIELDS = (
    st.integers(-1, 8).map(str)
    | st.sampled_from(["Training", "PublicTest", "x", "3.0", '"3"', "３"])
    | PIXELS
)


@FUZZ
@given(
    header=st.permutations(["emotion", " Usage", " pixels", "extra"])
    | st.lists(st.text(max_size=8), max_size=4),
    rows=st.lists(
        st.tuples(st.integers(0, 7), st.sampled_from(["Training", "PublicTest"]), PIXELS), max_size=9
    ),
    odd=st.lists(st.lists(FIELDS | st.text(max_size=8), max_size=5), max_size=2),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    whole=st.booleans(),
)
def test_made_up_csv(sandbox: Path, header: list, rows: list, odd: list, end: str, whole: bool):
    path = sandbox / "a.csv"
    if whole:  # everything needed is there, and perhaps more
        header = ["emotion", " Usage", " pixels"]
        codes = [FER2013_CLASSES.index(name) for name in DEFAULT_CLASSES]
        rows = [(code, usage, "7 " * 2304) for code in codes for usage in ("Training", "PublicTest")] + rows
    names = [name.strip() for name in header]
    lines = [",".join(header)]
    for code, usage, pixels in rows:
        values = {"emotion": code, "Usage": usage, "pixels": pixels}
        lines.append(",".join(str(values.get(name, "")) for name in names))
    lines += [",".join(row) for row in odd]
    path.write_bytes(end.join(lines).encode(errors="replace"))
    read_everything("CSV, made up", path)


CHEAP = st.sampled_from(
    [
        "\n",
        "\r\n",
        " \n",
        '""\n',
        ",",
        " ",
        "\x00",
        "7",
        "7 ",
        "255 ",
        "3,",
        "3,Training,",
        "emotion,",
        "\n,,\n",
        "3,Training,\n",
        "3,Training,1 2 3\n",
        f"6,Training,{'7 ' * 2304}\n",
        f"3,PublicTest,{'x ' * 2304}\n",
        f"3,Training,{'7 ' * 2304}{',' * 9000}\n",
        f"3,Training,{'7 ' * 2304}{' ' * 9000}\n",
    ]
)


@FUZZ
@given(
    repeated=st.lists(st.tuples(CHEAP, st.integers(0, 1 << 21)), max_size=6),
    hole=st.sampled_from([0, 0, 0, 1 << 24, 1 << 40]),
    whole=st.booleans(),
)
def test_csv_of_cheap_repetitions(sandbox: Path, repeated: list, hole: int, whole: bool):
    path = sandbox / "a.csv"
    with open(path, "w", newline="") as handle:
        handle.write("emotion,Usage,pixels\n")
        if whole:
            codes = [FER2013_CLASSES.index(name) for name in DEFAULT_CLASSES]
            usages = ("Training", "PublicTest")
            handle.writelines(f"{code},{usage},{'7 ' * 2304}\n" for code in codes for usage in usages)
        for text, size in repeated:
            handle.write(text * (size // len(text)))
        if hole:
            handle.truncate(handle.tell() + hole)
    read_everything("CSV, cheap", path)


@FUZZ
@given(damage=DAMAGE, keep=KEEP)
def test_damaged_archives(sandbox: Path, small: Path, damage: list, keep: float):
    path = sandbox / "a.zip"
    path.write_bytes(damaged((small / "a.zip").read_bytes(), damage, keep))
    read_everything("zip, damaged", path)


MEMBERS = st.tuples(
    st.lists(st.sampled_from(["", "..", "a", "C:", "__MACOSX", "train"]), max_size=2),
    PARTS,
    CLASSES,
    NAMES,
    st.sampled_from(["/", "/", "/", "\\"]),
)


@FUZZ
@given(
    members=st.lists(st.tuples(MEMBERS, st.sampled_from(PICTURES) | st.binary(max_size=9)), max_size=12),
    method=st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]),
    sizes=st.none() | st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1)),
)
def test_made_up_archives(sandbox: Path, members: list, method: int, sizes: tuple | None):
    path = sandbox / "a.zip"
    whole = [
        (([], part, name, "0.jpg", "/"), PICTURES[0])
        for part in ("train", "test")
        for name in DEFAULT_CLASSES
    ]
    with zipfile.ZipFile(path, "w", method) as archive:
        for (above, part, name, file, slash), content in whole + members:
            info = zipfile.ZipInfo(slash.join([*above, part, name, file]))
            info.compress_type = method
            archive.writestr(info, content)
    if sizes:  # a lie in the directory: packed and unpacked size of the first member
        data = bytearray(path.read_bytes())
        at = data.index(b"PK\1\2")
        data[at + 20 : at + 28] = b"".join(size.to_bytes(4, "little") for size in sizes)
        path.write_bytes(data)
    read_everything("zip, made up", path)


@pytest.fixture
def bundled(sandbox: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a small data/bundled; its files may be written."""
    folder = sandbox / "root" / "data" / "bundled"
    folder.mkdir(parents=True)
    monkeypatch.setattr(load, "ROOT", sandbox / "root")
    return folder


def write_bundled(folder: Path, sheets: dict[str, bytes], table: bytes, index: Any = None) -> Any:
    """Write the bundled faces with digests that fit; give digests.json, or write another."""
    for name, content in [(f"{part}.png", data) for part, data in sheets.items()] + [("factors.csv", table)]:
        (folder / name).write_bytes(content)
    digests = {name: files.sha256_of_file(folder / name) for name in ("train.png", "test.png", "factors.csv")}
    if index is None:
        parts = {part: {"images": 12, "pixels": "0" * 64} for part in sheets}
        index = {"size": 48, "columns": 6, "splits": parts, "files": digests}
    elif isinstance(index, dict) and isinstance(index.get("files"), dict):
        index["files"] = digests
    text = json.dumps(index)
    (folder / "digests.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    return index


def _sheet(part: str) -> bytes:
    tiles = np.stack([draw_face(DEFAULT_CLASSES[i % 3], i, part) for i in range(12)])
    handle = io.BytesIO()
    image = Image.fromarray(tiles.reshape(2, 6, 48, 48).swapaxes(1, 2).reshape(96, 288))
    image.save(handle, "PNG")
    return handle.getvalue()


SHEETS = {part: _sheet(part) for part in ("train", "test")}
ROWS = [f"{part},{i},{DEFAULT_CLASSES[i % 3]},{i // 3},{20 + i}.5" for part in SHEETS for i in range(12)]
TABLE = "\n".join(["split,index,label,identity,age", *ROWS, ""]).encode()


@FUZZ
@given(
    damage=DAMAGE, keep=KEEP, name=st.sampled_from(["train.png", "test.png", "factors.csv", "digests.json"])
)
def test_damaged_bundled_faces(bundled: Path, damage: list, keep: float, name: str):
    write_bundled(bundled, SHEETS, TABLE)
    (bundled / name).write_bytes(damaged((bundled / name).read_bytes(), damage, keep))
    read_everything("bundled, damaged", "bundled")


@FUZZ
@given(data=st.data(), damage=DAMAGE, what=st.sampled_from(["train", "test", "table", "index", "none"]))
def test_bundled_faces_altered_together_with_their_digests(bundled: Path, data, damage: list, what: str):
    index = write_bundled(bundled, SHEETS, TABLE)
    if what == "index":
        write_bundled(bundled, SHEETS, TABLE, data.draw(edited(index)))
    elif what == "table":
        write_bundled(bundled, SHEETS, damaged(TABLE, damage))
    elif what != "none":
        write_bundled(bundled, SHEETS | {what: damaged(SHEETS[what], damage)}, TABLE)
    read_everything("bundled, altered", "bundled")


# -- arrays: what training goes on from, and decoded images ------------------------------------------------

MEMBER_NAMES = st.sampled_from(["v0", "v1", "v2", "history", "images", "names", "converted"]) | st.text(
    max_size=9
)
DTYPES = st.sampled_from(
    ["<f4", "<f4", "<i8", "|u1", "<U1", "<U0", "|O", "<f8", "|V9", "<M8[s]", "x", ">f4", "<U99"]
)
SHAPES = st.lists(st.sampled_from([0, 1, 3, 4, 12, 48, 10**6, 2**31, 2**63, 10**30, -1]), max_size=4).map(
    tuple
)
ARRAY_HEADERS = st.builds(
    "{{'descr': '{}', 'fortran_order': {}, 'shape': {}}}\n".format, DTYPES, st.booleans(), SHAPES
) | st.text(max_size=40)


@st.composite
def made_up_arrays(draw: st.DrawFn) -> bytes:
    """Return an .npz with members that say of themselves what they like."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in draw(st.lists(MEMBER_NAMES, max_size=5)):
            header = draw(ARRAY_HEADERS).encode(errors="replace")
            version = draw(st.sampled_from([b"\1\0", b"\1\0", b"\2\0", b"\3\0", b"\0\0"]))
            length = draw(st.just(len(header)) | st.sampled_from([0, 9, 0xFFFF]))
            content = draw(st.binary(max_size=60) | st.integers(0, 1 << 20).map(bytes))
            info = zipfile.ZipInfo(f"{name}.npy")
            info.compress_type = draw(st.sampled_from([0, 0, 0, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA]))
            size = length.to_bytes(2 if version == b"\1\0" else 4, "little")
            archive.writestr(info, b"\x93NUMPY" + version + size + header + content)
    return buffer.getvalue()


def a_state() -> bytes:
    buffer, rows = io.BytesIO(), [dict.fromkeys(HISTORY_COLUMNS, 1)]
    weights = {"v0": np.zeros((3, 4), np.float32), "v1": np.zeros(4, np.float32), "v2": np.int64(0)}
    np.savez(buffer, history=np.array(json.dumps(rows)), **weights)
    return buffer.getvalue()


STATE = a_state()


@FUZZ
@given(
    content=made_up_arrays() | st.just(STATE),
    damage=DAMAGE,
    keep=KEEP,
    history=edited([{"epoch": 1}]) | st.none(),
)
def test_states(sandbox: Path, content: bytes, damage: list, keep: float, history: Any):
    path = sandbox / "state.npz"
    path.write_bytes(damaged(content, damage, keep))
    if history is not None:
        weights = {"v0": np.zeros((3, 4), np.float32), "v1": np.zeros(4, np.float32), "v2": np.int64(0)}
        text = json.dumps(history).replace("\0", "")
        np.savez(path, history=np.array(text), **weights)
    found = answer("states", restore, made_up_network(), path)
    assert found is None or all(row.keys() >= set(HISTORY_COLUMNS) for row in found)


@FUZZ
@given(
    content=made_up_arrays() | st.just(None),
    damage=DAMAGE,
    keep=KEEP,
    note=st.none() | st.binary(max_size=80),
)
def test_caches(
    sandbox: Path, small: Path, content: bytes | None, damage: list, keep: float, note: bytes | None
):
    expected = load.load_training(small / "faces")
    for file in (sandbox / "cache").glob("*.npz"):
        file.write_bytes(damaged(file.read_bytes() if content is None else content, damage, keep))
    for file in (sandbox / "cache").glob("*.txt") if note is not None else ():
        file.write_bytes(note)
    found = answer("caches", load.load_training, small / "faces")
    assert found is not None and (found.images.shape, found.names.tolist()) == (
        expected.images.shape,
        expected.names.tolist(),
    )
