"""Fuzz tests of models of others, in a child process, for HDF5 and TensorFlow are C; see `fuzzing`."""

import ast
import io
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import fuzzing
import pytest
from fuzzing import COUNTS, DAMAGE, FUZZ, INPUTS, KEEP, MEMORY, SECONDS, damaged, edited, unbounded
from hypothesis import given, settings
from hypothesis import strategies as st

from fer_tools import paths

pytestmark = pytest.mark.filterwarnings("ignore")
sandbox, summary = fuzzing.sandbox, fuzzing.summary

CHILD = f"""
import faulthandler, resource, sys
from fer_lib.files import UsageError
from fer_tools.model_files import inspection, loading

def main():
    action = {{"inspect": inspection.inspect, "load": loading.load}}[sys.argv[1]]
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
    """Return real models: the members of the archive of the reference run, and a file of Keras 2."""
    with zipfile.ZipFile(paths.ROOT / "results" / "reference" / "model.keras") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    return [members, (paths.ROOT / "tests" / "references" / "keras2.h5").read_bytes()]


@st.composite
def altered_model(draw: st.DrawFn, honest: list) -> bytes:
    """Return a model file, some of it changed: bytes, configuration, weights, members."""
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
    unbounded()  # the child has its own bound

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
