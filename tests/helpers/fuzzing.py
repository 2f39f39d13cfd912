"""What the fuzz tests share: bounds of time, memory and places, inputs damaged or made up, and their count.

Whatever comes in: an answer, or a refusal of one line. No other exception, no hang, bounded memory.

`make test` tries a few inputs per target, always the same; `make fuzz` 10,000 new ones (FER_FUZZ chooses the
number). Hypothesis keeps what failed in .hypothesis/ and tries it first the next time, and prints how to
reproduce it; what was found once stands in the tests as an `@example`. The targets without Hypothesis, of
which a crash would end Python itself, run in child processes and print their seed (FER_SEED).

A module of fuzz tests takes the fixtures `sandbox` and `summary` into its own names.
"""

import faulthandler
import json
import os
import random
import resource
import signal
import sys
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from made import make_csv, make_folder

from fer_lib.data.faces import DEFAULT_CLASSES
from fer_lib.files import UsageError
from fer_tools import pipeline

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
def summary(request: pytest.FixtureRequest) -> Iterator[None]:
    """Print how many inputs there were, and what came of them."""
    yield
    manager = request.config.pluginmanager.getplugin("capturemanager")
    with manager.global_and_fixture_disabled():
        print()
        for target in dict.fromkeys(name for name, _ in COUNTS):
            found = {outcome: n for (name, outcome), n in COUNTS.items() if name == target}
            said = ", ".join(f"{n:,} {outcome}" for outcome, n in sorted(found.items()))
            print(f"fuzz  {target:<28} {sum(found.values()):>7,} inputs: {said}")
    COUNTS.clear()


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
    """Return the answer, or None where it is refused in one line; an input of several actions counts once."""
    try:
        with watched():
            found = action(*arguments)
    except UsageError as error:
        assert str(error) and "\n" not in str(error) and "\r" not in str(error), repr(str(error))
        COUNTS[target, "refused"] += count
        return None
    COUNTS[target, "answered"] += count
    return found


def unbounded() -> None:
    """Lift the bound of memory, for a test whose child processes have their own or reserve a lot."""
    resource.setrlimit(resource.RLIMIT_AS, (resource.getrlimit(resource.RLIMIT_AS)[1],) * 2)


def seeded() -> tuple[str, random.Random]:
    """Return a seed, which is printed, and the chance that it makes."""
    seed = os.environ.get("FER_SEED", "0" if "FER_FUZZ" not in os.environ else str(time.time_ns()))
    print(f"FER_SEED={seed}")
    return seed, random.Random(seed)


# -- inputs ------------------------------------------------------------------------------------------------

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
    """Return the way to every entry of a JSON document."""
    entries = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for key, inner in entries:
        yield (*prefix, key)
        yield from places(inner, (*prefix, key))


@st.composite
def edited(draw: st.DrawFn, document: Any) -> Any:
    """Return a JSON document with some entries replaced, removed or added."""
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


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of a few faces, a CSV and an archive of it; do not write into them."""
    folder = tmp_path_factory.mktemp("small")
    counts = dict.fromkeys(DEFAULT_CLASSES, 2)
    make_csv(folder / "icml_face_data.csv", make_folder(folder / "faces", counts))
    with zipfile.ZipFile(folder / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted((folder / "faces").rglob("*.jpg")):
            archive.write(file, file.relative_to(folder / "faces"))
    return folder
