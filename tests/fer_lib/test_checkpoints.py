"""The state that training goes on from: somebody else's is bounded by the network that it is for."""

import io
import json
import os
import tracemalloc
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from asserting import refusal, within
from made import made_up_network as network
from made import put

from fer_lib.checkpoints import HISTORY_COLUMNS, restore, save_state

HISTORY = [dict(zip(HISTORY_COLUMNS, (epoch, 1.5, 0.25, 2.0, 0.125), strict=True)) for epoch in (1, 2)]


def arrays(model: SimpleNamespace) -> list:
    return [np.asarray(each).tolist() for each in (*model.weights, *model.optimizer.variables)]


def write(path: Path, save: Any = np.savez, **other: Any) -> None:
    """Write a state of `network(7)` with some arrays replaced, added or, by None, left out."""
    state = {"v0": np.full((3, 4), 7, np.float32), "v1": np.full(4, 7, np.float32), "v2": np.int64(7)}
    state = state | {"history": np.array(json.dumps(HISTORY))} | other
    save(path, **{name: array for name, array in state.items() if array is not None})


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state.npz"


def test_a_state_comes_back(state: Path):
    assert restore(network(), state) == []
    save_state(network(7), HISTORY, state)
    model = network()
    assert restore(model, state) == HISTORY and arrays(model) == arrays(network(7))
    write(state)
    model = network()
    assert restore(model, state) == HISTORY and arrays(model) == arrays(network(7))


def rows(**other: Any) -> np.ndarray:
    return np.array(json.dumps([HISTORY[0], HISTORY[1] | other]))


@pytest.mark.parametrize(
    "other",
    [
        {"v0": np.zeros((4, 3), np.float32)},
        {"v0": np.zeros((3, 4, 1), np.float32)},
        {"v0": np.zeros((3, 4))},
        {"v0": np.zeros((3, 4), "U1")},
        {"v0": np.zeros((3, 4), "c8")},
        {"v1": None},
        {"v3": np.zeros(4, np.float32)},
        {"history": None},
        {"history": np.array("[")},
        {"history": np.array("3")},
        {"history": np.array("null")},
        {"history": np.array("[" * 100_000)},
        {"history": np.array('{"epoch": 1}')},
        {"history": np.array("[3]")},
        {"history": np.zeros(3)},
        {"history": rows(epoch=3)},
        {"history": rows(epoch=True)},
        {"history": rows(loss="../../x")},
        {"history": rows(loss=None)},
        {"history": rows(loss=float("nan"))},
        {"history": rows(loss=10**400)},
        {"history": np.array(json.dumps([{"epoch": 1}]))},
    ],
    ids=lambda other: "".join(f"{name} {str(array)[:40]}" for name, array in other.items()),
)
def test_a_state_of_something_else_changes_nothing(state: Path, other: dict):
    write(state, **other)
    model = network()
    assert "not a state of this network" in refusal(restore, model, state)
    assert arrays(model) == arrays(network())


def test_a_state_that_unpacks_to_gigabytes(state: Path):
    large = np.zeros(30_000_000, np.float32)  # 120 MB; 120 kB packed
    for other in ({"v0": large}, {"v9": large}, {"history": np.array("x" * 30_000_000)}):
        write(state, np.savez_compressed, **other)
        assert state.stat().st_size < 1_000_000
        tracemalloc.start()
        try:
            assert "not a state of this network" in refusal(restore, network(), state)
            assert tracemalloc.get_traced_memory()[1] < 10_000_000
        finally:
            tracemalloc.stop()
    write(state, v9=np.zeros(10_000_000))
    assert "76 MB, more than the 16" in refusal(restore, network(), state)


def member(shape: str, descr: str = "'<f4'", version: bytes = b"\1\0", length: int | None = None) -> bytes:
    """Return an .npy file by its description (numpy.lib.format) that has a header and nothing else."""
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}\n".encode()
    size = (len(header) if length is None else length).to_bytes(2 if version[0] == 1 else 4, "little")
    return b"\x93NUMPY" + version + size + header


@pytest.mark.parametrize(
    "content",
    [
        member("(3, 4)"),
        member("(30000000,)"),
        member("(10**30,)"),
        member("(1000000000000000000000000,)"),
        member("(-1,)"),
        member("(3, 4)", "'|O'"),
        member("(3, 4)", "'<U0'"),
        member("(3, 4)", "[('a', '|O')]"),
        member("(3, 4)", "'<f4'", b"\1\0", 0xFFFF),
        member("(3, 4)", "'<f4'", b"\2\0", 0xFFFFFFFF),
        member("(3, 4)", "'<f4'", b"\3\0"),
        member("(" * 3000),
        member("(3, 4)", "'" + "x" * 30_000 + "'"),
        b"",
        b"\x93NUMPY",
    ],
)
def test_a_header_that_lies(state: Path, content: bytes):
    write(state, v0=None)
    with zipfile.ZipFile(state, "a") as archive:
        archive.writestr("v0.npy", content)
    tracemalloc.start()
    try:
        assert "not a state of this network" in refusal(restore, network(), state)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


def test_arrays_that_lie_over_each_other(state: Path):
    """A hundred entries of the directory for the same megabyte."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("v0.npy", bytes(1 << 20))
        first = archive.infolist()[0]
        for i in range(1, 100):
            other = zipfile.ZipInfo(f"v{i}.npy")
            other.file_size, other.compress_size, other.CRC = first.file_size, first.compress_size, first.CRC
            other.header_offset = 0
            archive.filelist.append(other)
    state.write_bytes(buffer.getvalue())
    assert "declares more than it has" in refusal(restore, network(), state)


@pytest.mark.parametrize("kind", ["pipe", "socket", "device", "broken link", "circle", "folder", "link"])
def test_only_a_file_is_read(tmp_path: Path, state: Path, kind: str):
    if kind == "link":
        write(tmp_path / "elsewhere.npz")
        os.symlink(tmp_path / "elsewhere.npz", state)
    else:
        put(state, kind)
    expected = "a link" if kind in ("device", "broken link", "circle") else f"a {kind}"
    with within(20):
        assert f"state.npz: {expected}, not a regular file" in refusal(restore, network(), state)
