"""Whatever comes in: an answer, or a refusal of one line. No other exception, no hang, bounded memory.

`make test` tries a few inputs a target, always the same; `make fuzz` 10,000 new ones (FER_FUZZ chooses the
number). Hypothesis keeps what failed in .hypothesis/ and tries it first the next time, and prints how to
reproduce it; what was found once stands here as an `@example`. The targets without Hypothesis, of which a
crash would end Python itself, run in child processes and print their seed (FER_SEED).
"""

import ast
import csv
import faulthandler
import io
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from made import draw_face, make_csv, make_folder
from PIL import Image
from synthetic import make_run, synthetic_run

from fer_lib import datasets, evaluation, files, models, overfitting, pipeline, report, runs
from fer_lib.data import load, published
from fer_lib.data.faces import DEFAULT_CLASSES
from fer_lib.data.readers.source import FER2013_CLASSES
from fer_lib.files import UsageError
from fer_tools import checking, commands, paths, stages
from fer_tools.report import build, values
from fer_tools.run import provenance
from fer_tools.run.run import Run

INPUTS = int(os.environ.get("FER_FUZZ", "50"))
SECONDS = 60  # for one input; thousandths are usual, but the machine may be busy
MEMORY = 1 << 30  # bytes beyond what the process has at the start of a test
COUNTS: Counter[tuple[str, str]] = Counter()  # of inputs, by target and outcome

FUZZ = settings(
    max_examples=INPUTS,
    deadline=None,  # see SECONDS
    derandomize="FER_FUZZ" not in os.environ,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)
pytestmark = pytest.mark.filterwarnings("ignore")


# -- the bounds --------------------------------------------------------------------------------------------

WATCH: dict[str, Any] = {"allowed": None, "seen": []}  # where may be written now (None: anywhere)
WITHIN = {"os.remove", "os.rmdir"}
WRITES = {
    "os.mkdir",
    "os.remove",
    "os.rename",
    "os.rmdir",
    "os.link",
    "os.symlink",
    "os.truncate",
    "os.chmod",
}


def _audit(event: str, arguments: tuple) -> None:
    """Note what is written outside the folder of the test, and every process and connection."""
    if WATCH["allowed"] is None:
        return
    paths: tuple = ()
    if event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR):
        paths = tuple(each for each in arguments[:1] if isinstance(each, str | bytes | os.PathLike))
    elif event in WRITES:
        paths = [each for each in arguments[:2] if isinstance(each, str | bytes | os.PathLike)]
    elif event in ("subprocess.Popen", "os.system", "socket.connect"):
        WATCH["seen"].append((event, str(arguments)[:200]))
    for path in paths:
        if os.fsdecode(path) != os.devnull:
            # shutil.rmtree names what is within a folder that it has opened.
            opened = [each for each in arguments[1:] if isinstance(each, int) and each > 2]
            base = os.readlink(f"/proc/self/fd/{opened[-1]}") if opened and event in WITHIN else ""
            text = os.path.realpath(os.path.join(base, os.fsdecode(path)))
            if not text.startswith(WATCH["allowed"]) and "__pycache__" not in text:
                WATCH["seen"].append((event, text))


sys.addaudithook(_audit)


def _hang(*_: object) -> None:
    raise TimeoutError(f"no answer after {SECONDS} s")


@pytest.fixture(autouse=True)
def sandbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Keep the test in a folder of its own, and its memory in bounds."""
    monkeypatch.setenv("FER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("FER_RESULTS", str(tmp_path / "results"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(pipeline, "interruptible", lambda: None)
    before = resource.getrlimit(resource.RLIMIT_AS)
    pages = (
        int(Path("/proc/self/statm").read_text().split()[0]) if Path("/proc/self/statm").exists() else None
    )
    if pages is not None:
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY, before[1]))
    alarm = signal.signal(signal.SIGALRM, _hang)
    yield tmp_path
    signal.signal(signal.SIGALRM, alarm)
    resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.fixture(scope="module", autouse=True)
def _summary(request: pytest.FixtureRequest) -> Iterator[None]:
    """Say how many inputs there were, and what came of them."""
    yield
    manager = request.config.pluginmanager.getplugin("capturemanager")
    with manager.global_and_fixture_disabled():
        print()
        for target in dict.fromkeys(name for name, _ in COUNTS):
            found = {outcome: n for (name, outcome), n in COUNTS.items() if name == target}
            said = ", ".join(f"{n:,} {outcome}" for outcome, n in sorted(found.items()))
            print(f"fuzz  {target:<28} {sum(found.values()):>7,} inputs: {said}")


@contextmanager
def watched() -> Iterator[None]:
    """Bound the time of an input, and see where it is written to."""
    # Where no signal is heeded, within C:
    faulthandler.dump_traceback_later(10 * SECONDS, exit=True, file=sys.__stderr__)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    WATCH.update(allowed=os.path.realpath(tempfile.gettempdir()), seen=[])
    try:
        yield
    finally:
        WATCH["allowed"] = None
        signal.setitimer(signal.ITIMER_REAL, 0)
        faulthandler.cancel_dump_traceback_later()
    assert not WATCH["seen"], WATCH["seen"]


def answer(target: str, action: Callable, *arguments: Any, count: bool = True) -> Any:
    """Give the answer, or None where it is refused in one line; an input of several actions counts once."""
    try:
        with watched():
            found = action(*arguments)
    except UsageError as error:
        assert str(error) and "\n" not in str(error) and "\r" not in str(error), repr(str(error))
        COUNTS[target, "refused"] += count
        return None
    COUNTS[target, "answered"] += count
    return found


# -- strategies --------------------------------------------------------------------------------------------

DAMAGE = st.lists(
    st.tuples(
        st.floats(0, 1, exclude_max=True),  # where
        st.binary(max_size=8),  # what is put there
        st.sampled_from([0, 0, 0, 1, 2, 40]),  # how many bytes it pushes aside, more or less
    ),
    max_size=6,
)
KEEP = st.sampled_from([1.0, 1.0, 1.0, 0.99, 0.9, 0.5, 0.1])

JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=12)
    | st.sampled_from(["done", "running", "0" * 64, "../../x", "a\nb", "\ud800", 10**400, -1, 0, 1]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=5,
)


def damaged(content: bytes, damage: list[tuple[float, bytes, int]], keep: float = 1.0) -> bytes:
    """Change some bytes, put some in, take some out, and cut the end off."""
    changed = bytearray(content)
    for place, new, aside in damage:
        start = int(place * len(changed))
        changed[start : start + len(new) + aside * (1 if len(new) % 2 else -1)] = new
    return bytes(changed[: int(keep * len(changed)) + 1])


def places(value: Any, prefix: tuple = ()) -> Iterator[tuple]:
    """Give the way to every entry of a JSON document."""
    entries = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for key, inner in entries:
        yield (*prefix, key)
        yield from places(inner, (*prefix, key))


@st.composite
def edited(draw: st.DrawFn, document: Any) -> Any:
    """Give a JSON document with some entries replaced, removed or added."""
    document = json.loads(json.dumps(document))
    for _ in range(draw(st.integers(0, 4))):
        ways = sorted(places(document), key=repr)
        if not ways:
            return draw(JSON_VALUES)
        *way, last = draw(st.sampled_from(ways))
        inner = document
        for key in way:
            inner = inner[key]
        match draw(st.sampled_from(["replace", "replace", "remove", "add"])):
            case "replace":
                inner[last] = draw(JSON_VALUES)
            case "remove":
                del inner[last]
            case "add" if isinstance(inner, dict):
                inner[draw(st.text(max_size=8))] = draw(JSON_VALUES)
    return document


# -- images, and the four layouts --------------------------------------------------------------------------


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
]


@FUZZ
@given(st.sampled_from(PICTURES) | st.binary(max_size=64), DAMAGE, KEEP)
def test_images(picture: bytes, damage: list, keep: float):
    if found := answer("images", picture.decode_image, damaged(picture, damage, keep), "x"):
        assert found[0].shape == (48, 48) and found[0].dtype == np.uint8


def read_everything(target: str, data: Any, classes: tuple[str, ...] = DEFAULT_CLASSES) -> None:
    """Do to a data set all that commands and notebooks do."""
    faces = answer(target, load.load_training, data, classes)
    if faces is not None:
        assert faces.images.shape == (len(faces.labels), 48, 48) and faces.images.dtype == np.uint8
        assert set(faces.labels.tolist()) == set(range(len(classes)))
        assert len(faces.names) == len(faces)
    for action in (load.load_test, load.pixel_digests_of_test_images, load.class_counts):
        answer(target, action, data, classes, count=False)
    for action in (load.describe, load.data_digest, published.judge):
        answer(target, action, data, count=False)


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
PARTS = st.sampled_from(["train", "train", "train", "test", "test", "validation", "Train", "x"])
CLASSES = st.sampled_from([*DEFAULT_CLASSES, *DEFAULT_CLASSES, "sad", "Happy", "joy"])
KINDS = st.sampled_from(["image"] * 12 + ["empty", "junk", "folder", "circle", "nowhere", "pipe", "large"])


def put(path: Path, kind: str) -> None:
    """Write what stands under the name of an image."""
    if kind == "folder":
        path.mkdir()
    elif kind == "circle":
        path.symlink_to(path)
    elif kind == "nowhere":
        path.symlink_to("nowhere")
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "large":
        with open(path, "wb") as handle:
            handle.truncate(1 << 30)  # takes no room on the disk
    else:
        path.write_bytes({"image": PICTURES[0], "empty": b"", "junk": b"\xff\xd8\xff"}[kind])


@FUZZ
@given(
    entries=st.dictionaries(st.tuples(PARTS, CLASSES, NAMES), KINDS, max_size=12),
    whole=st.booleans(),
    classes=st.permutations(FER2013_CLASSES).flatmap(lambda p: st.integers(2, 3).map(lambda n: tuple(p[:n])))
    | st.just(DEFAULT_CLASSES),
)
def test_folders(sandbox: Path, entries: dict, whole: bool, classes: tuple[str, ...]):
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
    read_everything("folders", root, classes)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder of a few faces, a CSV and an archive of it; do not write into them."""
    folder = tmp_path_factory.mktemp("small")
    counts = dict.fromkeys(DEFAULT_CLASSES, 2)
    make_csv(folder / "icml_face_data.csv", make_folder(folder / "faces", counts))
    with zipfile.ZipFile(folder / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted((folder / "faces").rglob("*.jpg")):
            archive.write(file, file.relative_to(folder / "faces"))
    return folder


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
    """Give a small data/bundled; its files may be written."""
    folder = sandbox / "root" / "data" / "bundled"
    folder.mkdir(parents=True)
    monkeypatch.setattr(datasets, "ROOT", sandbox / "root")
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


# -- parameters --------------------------------------------------------------------------------------------

VALUE = (
    JSON_VALUES
    | st.lists(st.sampled_from(FER2013_CLASSES) | st.text(max_size=5), max_size=8)
    | st.sampled_from([np.int64(3), np.float32(0.5), float("nan"), 1e-3, "1e-3", ("happy", "sad")])
)
PARAMETER = st.sampled_from(checking.names()) | st.text(max_size=8)


@FUZZ
@given(
    st.sampled_from(list(stages.STAGES)),
    st.dictionaries(PARAMETER, VALUE | st.binary(max_size=4), max_size=5),
)
def test_parameters_built(stage: str, values: dict):
    if built := answer("parameters, built", checking.build, stage, values):
        plain = checking.plain(built)
        assert (
            checking.plain(checking.build(stage, plain))
            == plain
            == json.loads(json.dumps(plain, allow_nan=False))
        )


@FUZZ
@given(
    st.lists(
        st.text(max_size=30)
        | st.tuples(PARAMETER, st.text(max_size=30) | st.integers().map(str) | st.floats().map(str)).map(
            "=".join
        ),
        max_size=4,
    )
)
def test_parameters_of_the_command_line(given_: list[str]):
    resolved = answer("parameters, command line", lambda: checking.resolve("smoke", checking.parse(given_)))
    assert resolved is None or json.loads(json.dumps(resolved, allow_nan=False)) == resolved


@FUZZ
@given(
    st.sampled_from(list(stages.STAGES)),
    st.dictionaries(st.sampled_from(checking.names()), VALUE, max_size=4),
)
def test_parameter_cells(stage: str, values: dict):
    """What papermill writes into the cell is the value itself, and the next cell builds or refuses it.

    Of bytes papermill makes what is no Python; they are left out, for `params.build` lets none come to it.
    """
    from papermill.translators import PythonTranslator

    cell = PythonTranslator.codify(values)
    variables = checking.defaults(stage)
    for node in ast.parse(cell).body:
        assert isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
        # float('nan') and float('inf') are the only calls that papermill writes.
        names = {each.id for each in ast.walk(node.value) if isinstance(each, ast.Name)}
        assert names <= {"float"}
    exec(cell, variables)
    answer("parameter cells", checking.collect, stage, variables)


# -- the files of a run ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(small: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Give a run that is done, without having executed a notebook; do not write into it."""
    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FER_RESULTS", str(folder / "results"))
        patch.setenv("FER_PROGRESS", "/dev/null")
        return make_run(synthetic_run(folder / "template"), small / "faces")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out what takes long and does not depend on the files of a run; no notebook, no pandoc."""

    def refuse(*_: object) -> None:
        raise UsageError("not executed")

    environment, code = provenance.versions(), {}

    def digest(stage: str, model: str | None = None) -> str:
        assert isinstance(stage, str)
        return code.setdefault((stage, repr(model)), now(stage, model))

    now = provenance.code_digest
    monkeypatch.setattr(runs, "code_digest", digest)
    monkeypatch.setattr(runs, "versions", lambda: environment)
    monkeypatch.setattr(runs, "git_state", lambda: {"commit": None, "dirty": None})
    monkeypatch.setattr(pipeline, "_execute_stage", refuse)
    monkeypatch.setattr(report, "_pandoc", lambda *_: "text")
    monkeypatch.setattr(report, "_compile", lambda *_: b"pdf")
    networks = models.names()
    monkeypatch.setattr(models, "names", lambda: networks)


COMMANDS = (["list"], ["check"], ["report"], ["compare"], ["verify"], ["run", "--resume"])


@FUZZ
@given(
    data=st.data(),
    name=st.sampled_from(["run.json", "run.json", "metrics.json", "report.json", "tables/predictions.csv"]),
    how=st.sampled_from(["edited", "edited", "bytes"]),
    command=st.sampled_from(COMMANDS),
    honest=st.booleans(),
)
def test_files_of_a_run(sandbox: Path, quick, finished: Run, capsys, data, name, how, command, honest):
    results = sandbox / "results"
    shutil.rmtree(results, ignore_errors=True)
    shutil.copytree(finished.path.parent, results)
    run = Run(results / finished.name)
    file = run.path / name
    if name == "report.json":
        file.write_text(
            json.dumps({"inputs": "0" * 64, "outputs": dict.fromkeys(("report.html",), "0" * 64)})
        )
    if how == "edited" and name.endswith(".json"):
        text = json.dumps(data.draw(edited(json.loads(file.read_text()))))
        file.write_bytes(text.encode("utf-8", "surrogatepass"))
    else:
        file.write_bytes(damaged(file.read_bytes(), data.draw(DAMAGE), data.draw(KEEP)))
    if honest and name in ("metrics.json", "tables/predictions.csv"):  # their digest is altered with them
        document = run.document
        outputs = document["stages"]["evaluation"]["outputs"]
        outputs["tables/predictions.csv"] = run.digest("tables/predictions.csv")
        files.write_json(run.path / "run.json", document)
    other = [str(finished.path)] if command == ["compare"] else []
    arguments = [*command, *([] if command == ["list"] else [run.name]), *other]
    try:
        with watched():
            code = commands.main(arguments)
    finally:
        out, err = capsys.readouterr()
    assert code in (0, 1, 2) and "Traceback" not in out + err
    lines = err.splitlines()
    assert all(line.startswith("fer: ") for line in lines), err
    assert command == ["check"] or len(lines) <= 1, err
    COUNTS["files of a run", {0: "answered", 1: "answered", 2: "refused"}[code]] += 1


@FUZZ
@given(data=st.data(), stage=st.sampled_from(list(stages.STAGES)))
def test_notebooks_that_continue_a_run(sandbox: Path, quick, finished: Run, capsys, data, stage: str):
    results = sandbox / "results"
    shutil.rmtree(results, ignore_errors=True)
    shutil.copytree(finished.path.parent, results)
    file = results / finished.name / "run.json"
    text = json.dumps(data.draw(edited(json.loads(file.read_text()))))
    file.write_bytes(text.encode("utf-8", "surrogatepass"))

    def notebook() -> None:
        run = stage.begin(stage, checking.build(stage, {"run": finished.name}))
        run.parameters("training")
        run.finish()

    answer("run.json, continued", notebook)
    capsys.readouterr()


@FUZZ
@given(
    st.binary(max_size=60)
    | st.text(max_size=40).map(lambda t: t.encode(errors="replace"))
    | JSON_VALUES.map(json.dumps).map(str.encode)
)
@example(b"[" * 100_000)
@example(b"1" * 6000)
def test_json(sandbox: Path, content: bytes):
    (sandbox / "a.json").write_bytes(content)
    answer("JSON", files.read_json, sandbox / "a.json")


# -- numbers -----------------------------------------------------------------------------------------------

NUMBERS = (
    st.floats()
    | st.floats(0, 3)
    | st.integers(-3, 10**18)
    | st.sampled_from(["", "x", "1e999", "nan", "0x1"])
)


@FUZZ
@given(
    rows=st.lists(st.tuples(NUMBERS, NUMBERS), max_size=40),
    window=st.integers(-2, 60),
    patience=st.integers(-2, 60),
    min_delta=st.floats(),
    damage=DAMAGE,
)
def test_history(sandbox: Path, rows: list, window: int, patience: int, min_delta: float, damage: list):
    import pandas as pd

    path = sandbox / "history.csv"
    text = "\n".join(["epoch,loss,val_loss", *(f"{i},{a},{b}" for i, (a, b) in enumerate(rows, 1)), ""])
    path.write_bytes(damaged(text.encode(), damage))
    try:
        history = pd.read_csv(path)
    except (ValueError, UnicodeError):  # pandas says so, and notebook 03 with it
        COUNTS["history.csv", "no table"] += 1
        return
    if not {"loss", "val_loss"} <= set(history):
        COUNTS["history.csv", "no column"] += 1
        return
    arguments = history["val_loss"], window, patience, min_delta
    if onset := answer("history.csv", overfitting.find_onset, *arguments):
        assert 1 <= onset.best_epoch <= len(history)
        assert onset.onset_epoch is None or onset.best_epoch < onset.onset_epoch
    answer("history.csv", overfitting.gap, history, count=False)


@FUZZ
@given(
    rows=st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS, st.integers(-1, 4) | NUMBERS), max_size=20),
    classes=st.integers(1, 4),
    fair=st.booleans(),
)
def test_predictions(sandbox: Path, rows: list, classes: int, fair: bool):
    """Probabilities and labels as a table has them, and as a network would give them."""
    import pandas as pd

    path = sandbox / "predictions.csv"
    with open(path, "w", newline="") as handle:
        csv.writer(handle).writerows([("a", "b", "c", "label"), *rows])
    table = pd.read_csv(path)
    probabilities, labels = table[["a", "b", "c"]].to_numpy(), table["label"].to_numpy()
    if fair and rows:
        rng = np.random.default_rng(len(rows))
        probabilities, labels = (
            rng.dirichlet(np.ones(classes), len(rows)),
            rng.integers(0, classes, len(rows)),
        )
    names = [f"c{i}" for i in range(classes)]
    if metrics := answer("predictions", evaluation.evaluate, probabilities, labels, names):
        assert metrics["accuracy_low"] <= metrics["accuracy"] <= metrics["accuracy_high"]
        assert all(value is None or isinstance(value, int | float | str) for value in metrics.values())


# -- models of others: in a process of their own, for HDF5 and TensorFlow are C ---------------------------

CHILD = f"""
import faulthandler, resource, sys
from fer_lib import safe_model
from fer_lib.files import UsageError

def main():
    action = getattr(safe_model, sys.argv[1])
    action(sys.argv[2])  # imports what it needs before the memory is bounded
    pages = int(open("/proc/self/statm").read().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + {2 * MEMORY},) * 2)
    print("ready", flush=True)
    for line in sys.stdin:
        faulthandler.dump_traceback_later({SECONDS}, exit=True)
        try:
            action(line.rstrip("\\n"))
            said = "answered"
        except UsageError as error:
            said = "refused" if "\\n" not in str(error) else f"two lines: {{error}}"
        except BaseException as error:
            said = f"{{type(error).__name__}}: {{error}}"
        faulthandler.cancel_dump_traceback_later()
        print(repr(said), flush=True)

main()
"""


class Child:
    """Answers whether a model file is opened; started again after a crash."""

    def __init__(self, action: str, honest: Path, folder: Path) -> None:
        self.arguments = [sys.executable, "-c", CHILD, action, str(honest)]
        self.folder = folder
        self.process: subprocess.Popen | None = None

    def ask(self, path: Path) -> str:
        if self.process is None or self.process.poll() is not None:
            self.process = subprocess.Popen(
                self.arguments,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=open(self.folder / "stderr", "ab"),
                text=True,
                cwd=self.folder,
                env=os.environ | {"PYTHONPATH": str(paths.ROOT), "TMPDIR": str(self.folder / "tmp")},
            )
            while (line := self.process.stdout.readline()) != "ready\n":
                assert line, (self.folder / "stderr").read_text()
        self.process.stdin.write(f"{path}\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            return f"crashed with {self.process.wait()}: {(self.folder / 'stderr').read_text()[-2000:]}"
        return ast.literal_eval(line)

    def end(self) -> None:
        if self.process is not None:
            self.process.stdin.close()
            self.process.wait()


@pytest.fixture(scope="module", params=["inspect", "load"])
def child(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Child]:
    """Start the process that looks at models, or loads them."""
    folder = tmp_path_factory.mktemp(request.param)
    (folder / "tmp").mkdir()
    started = Child(request.param, paths.ROOT / "results" / "reference" / "model.keras", folder)
    yield started
    started.end()


def _archive(members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def honest() -> list[bytes | dict[str, bytes]]:
    """Give real models: the members of the archive of the reference run, and a file of Keras 2."""
    with zipfile.ZipFile(paths.ROOT / "results" / "reference" / "model.keras") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    return [members, paths.ROOT / "tests" / "references" / "keras2.h5".read_bytes()]


@st.composite
def altered_model(draw: st.DrawFn, honest: list) -> bytes:
    """Give a model file, some of it changed: bytes, configuration, weights, members."""
    members, old = honest
    what = draw(st.sampled_from(["bytes", "config", "config", "weights", "metadata", "members", "old"]))
    damage, keep = draw(DAMAGE), draw(KEEP)
    if what == "old":
        return damaged(old, damage, keep)
    if what == "config":
        config = json.dumps(draw(edited(json.loads(members["config.json"]))))
        return _archive(members | {"config.json": config.encode("utf-8", "surrogatepass")})
    if what == "metadata":
        return _archive(
            members | {"metadata.json": json.dumps(draw(edited({"keras_version": "3.15.1"}))).encode()}
        )
    if what == "weights":
        return _archive(members | {"model.weights.h5": damaged(members["model.weights.h5"], damage, keep)})
    if what == "members":
        foreign = draw(st.dictionaries(st.text(min_size=1, max_size=8), st.binary(max_size=8), max_size=2))
        return _archive(members | foreign, draw(st.sampled_from([zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA])))
    return damaged(_archive(members), damage, keep)


def test_models(sandbox: Path, child: Child, honest: list):
    action = child.arguments[3]
    resource.setrlimit(
        resource.RLIMIT_AS, (resource.getrlimit(resource.RLIMIT_AS)[1],) * 2
    )  # the child has its own

    @settings(FUZZ, max_examples=INPUTS if action == "inspect" else max(5, INPUTS // 10))
    @given(altered_model(honest))
    def each(content: bytes):
        path = sandbox / "a.keras"
        path.write_bytes(content)
        said = child.ask(path)
        assert said in ("answered", "refused"), said
        COUNTS[f"models, {action}", said] += 1

    each()
    assert not list((child.folder / "tmp").iterdir()) and path_names(child.folder) == {"tmp", "stderr"}


def path_names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


# -- the report: many inputs in one pandoc -----------------------------------------------------------------

WORDS = (
    "< > \\ { } $ # @ ` * _ [ ] ( ) ::: ! & ; = - + ~ ^ | \" ' % / // /* */ {{ }} ]{ []{metric=k.0} --- ... "
    "1. <script>alert(1)</script> <img/src=x/onerror=alert(1)> \\input{/etc/passwd} \\end{document} #panic() "
    "#eval $$ <!-- --> ]]> &amp; &#0; {=html} ```{=latex} @fig:loss [x](javascript:y) - x é Ω 漢字 עברית 😀 "
    "﷽ 0 1e5 -0 True None nan .5 1,000 _low _high"
)
PIECES = [
    *WORDS.split(" "),
    " ",
    "\n",
    "\t",
    "\0",
    "\x1b[31m",
    "\u202e",
    "\u200d",
    "\ud800",
    "\u2028",
    "\U0010ffff",
    "\\",
    "\\\\",
]


def hostile(chance: random.Random) -> str:
    def piece() -> str:
        return chr(chance.randrange(0x110000)) if chance.random() < 0.1 else chance.choice(PIECES)

    return "".join(piece() for _ in range(chance.randrange(9)))


class Values(HTMLParser):
    """Collects the printed values by key, all kinds of elements, and the names of their attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.values: dict[str, str] = {}
        self.elements: set[str] = set()
        self.key: str | None = None

    def handle_starttag(self, tag: str, attributes: list) -> None:
        given_ = dict(attributes)
        self.elements |= {tag} | {f"{tag} {name}" for name in given_}
        if tag == "span" and given_.get("class") == "value":
            self.key = given_["title"]
            self.values[self.key] = ""

    def handle_endtag(self, tag: str) -> None:
        self.key = None if tag == "span" else self.key

    def handle_data(self, data: str) -> None:
        if self.key is not None:
            self.values[self.key] += data


def report_of(folder: Path, template: Path, texts: list[str]) -> Values:
    """Build a report of metrics, names and a table that say these texts; read the HTML."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(template, folder)
    document = json.loads((folder / "run.json").read_text())
    document["hostile"] = {text: text for text in texts}
    (folder / "run.json").write_text(json.dumps(document))
    (folder / "metrics.json").write_text(json.dumps({f"k.{i}": text for i, text in enumerate(texts)}))
    with open(
        folder / "tables" / "hostile.csv", "w", encoding="utf-8", errors="replace", newline=""
    ) as handle:
        csv.writer(handle).writerows([("first", "second"), *((text or "-", text) for text in texts)])
    cited = "\n\n".join(f"[]{{metric=k.{i}}} and []{{metric=k.{i} .code}}" for i in range(len(texts)))
    source = folder / "text.md"
    tables = "::: {.table name=hostile #tbl:a}\nA.\n:::\n\n::: {.table run=hostile #tbl:b}\nB.\n:::\n"
    source.write_text(f"---\ntitle: Fuzz\nlang: en-GB\n---\n\n# First\n\n{cited}\n\n{tables}")
    built = build.build(folder, source)
    assert built["pdf"].read_bytes().startswith(b"%PDF")
    found = Values()
    found.feed(built["html"].read_text(encoding="utf-8"))
    return found


def test_text_in_reports(sandbox: Path, tmp_path_factory: pytest.TempPathFactory):
    """Whatever metrics, names and tables say stands in the report as text, letter by letter."""
    resource.setrlimit(
        resource.RLIMIT_AS, (resource.getrlimit(resource.RLIMIT_AS)[1],) * 2
    )  # pandoc wants 1 TB
    seed = os.environ.get("FER_SEED", "0" if "FER_FUZZ" not in os.environ else str(time.time_ns()))
    chance = random.Random(seed)
    print(f"FER_SEED={seed}")
    template = synthetic_run(sandbox / "template")
    plain = report_of(sandbox / "run", template, ["a", "b"])
    done = 0
    while done < INPUTS:
        texts = [hostile(chance) for _ in range(min(1000, INPUTS - done))]
        found = report_of(sandbox / "run", template, texts)
        for i, text in enumerate(texts):
            printed = values.clean(text).encode(errors="replace").decode()
            assert " ".join(found.values[f"k.{i}"].split()) == printed, (seed, text)
        assert found.elements <= plain.elements | {"code", "p", "td", "th"}, (
            seed,
            found.elements - plain.elements,
        )
        done += len(texts)
        COUNTS["text in reports", "answered"] += len(texts)


def test_texts_of_reports(sandbox: Path):
    """The text itself, damaged: a report, or one line that says what is wrong with it."""
    resource.setrlimit(resource.RLIMIT_AS, (resource.getrlimit(resource.RLIMIT_AS)[1],) * 2)
    seed = os.environ.get("FER_SEED", "0" if "FER_FUZZ" not in os.environ else str(time.time_ns()))
    chance = random.Random(seed)
    print(f"FER_SEED={seed}")
    run = synthetic_run(sandbox / "run")
    data = values.read(run)
    whole = build.SOURCE.read_text(encoding="utf-8")
    for _ in range(max(5, INPUTS // 100)):
        text = whole
        for _ in range(chance.randrange(4)):
            at = chance.randrange(len(text))
            text = text[:at] + hostile(chance) + text[at + chance.choice([0, 0, 1, 30]) :]
        (sandbox / "text.md").write_text(text, encoding="utf-8", errors="replace")
        try:
            build._pandoc("html", sandbox / "text.md", run, data)
            COUNTS["texts of reports", "answered"] += 1
        except UsageError as error:
            assert str(error) and "\n" not in str(error), (seed, text)
            COUNTS["texts of reports", "refused"] += 1
