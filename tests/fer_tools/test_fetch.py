"""Everything around the download, with a made-up kagglehub and a server on this machine."""

import hashlib
import http.server
import io
import json
import sys
import tarfile
import threading
import types
from pathlib import Path

import pytest
from asserting import within
from made import make_csv, make_folder, put

from fer_lib.data import load
from fer_lib.data.readers.source import FER2013_CLASSES, files_digest
from fer_lib.files import UsageError
from fer_tools import fetch as module
from fer_tools.fetch import fetch
from fer_tools.published import verdict as published


@pytest.fixture
def faces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a small image folder that passes for the published one."""
    folder = make_folder(
        tmp_path / "published", dict.fromkeys(FER2013_CLASSES, 2), dict.fromkeys(FER2013_CLASSES, 1)
    )
    digests: dict[str, dict] = {}
    for part, usage in (("train", "Training"), ("test", "PublicTest")):
        for name in FER2013_CLASSES:
            files = list((folder / part / name).iterdir())
            lines = [f"{file.name} {hashlib.sha256(file.read_bytes()).hexdigest()}\n" for file in files]
            entry = {"count": len(files), "sha256": files_digest(lines)}
            digests.setdefault(usage, {})[name] = entry
    (tmp_path / "digests.json").write_text(json.dumps(digests))
    monkeypatch.setattr(published, "DIGESTS", tmp_path / "digests.json")
    return folder


@pytest.fixture
def kaggle(monkeypatch: pytest.MonkeyPatch):
    """Put a made-up kagglehub in place; `give` decides what its download does with the target folder."""

    def install(give):
        def dataset_download(handle: str) -> str:
            assert handle == "msambare/fer2013"
            target = Path(module.os.environ["KAGGLEHUB_CACHE"]) / "datasets/msambare/fer2013/versions/1"
            target.parent.mkdir(parents=True, exist_ok=True)
            give(target)
            return str(target)

        monkeypatch.setitem(
            sys.modules, "kagglehub", types.SimpleNamespace(dataset_download=dataset_download)
        )

    monkeypatch.setitem(sys.modules, "kagglehub", None)  # importing it fails, as if not installed
    return install


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch):
    """Serve `body` on loopback, with ranges; `cut` ends each answer after so many bytes."""
    state = types.SimpleNamespace(body=b"", cut=None, status=None, requests=[])

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            state.requests.append(self.headers.get("Range"))
            start = int((self.headers.get("Range") or "bytes=0-")[6:-1])
            self.send_response(state.status or (206 if start else 200))
            self.send_header("Content-Length", str(len(state.body) - start))
            self.end_headers()
            self.wfile.write(state.body[start:][: state.cut])

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        monkeypatch.setattr(module, "ARCHIVE", f"http://127.0.0.1:{running.server_port}/fer2013.tar.gz")
        yield state
        running.shutdown()
        thread.join()


@pytest.fixture
def archive(faces: Path, tmp_path: Path, server, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """Serve the archive of the challenge: a tar with a CSV that passes for the published one."""
    path = make_csv(tmp_path / "fer2013.csv", faces, "fer2013")
    monkeypatch.setattr(published, "CSV_MD5", {hashlib.md5(path.read_bytes()).hexdigest(): "fer2013.csv"})
    return serve(server, monkeypatch, {"fer2013/README": b"", "fer2013/fer2013.csv": path.read_bytes()})


def serve(server, monkeypatch: pytest.MonkeyPatch, members: dict[str, bytes]) -> bytes:
    handle = io.BytesIO()
    with tarfile.open(fileobj=handle, mode="w:gz") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    server.body = handle.getvalue()
    monkeypatch.setattr(module, "ARCHIVE_MD5", hashlib.md5(server.body).hexdigest())
    return server.body


def test_from_kaggle(faces: Path, kaggle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("KAGGLEHUB_CACHE", "/elsewhere")
    kaggle(lambda target: faces.rename(target))
    said: list[str] = []
    verdict = fetch(tmp_path / "data" / "fer2013", said.append)
    assert verdict.status == "authentic" and len(load.load_training(tmp_path / "data" / "fer2013")) == 6
    assert [file.name for file in (tmp_path / "data").iterdir()] == ["fer2013"], "something is left over"
    assert module.os.environ["KAGGLEHUB_CACHE"] == "/elsewhere"
    assert fetch(tmp_path / "data" / "fer2013", said.append).status == "authentic"
    assert "already there" in said[-1]


def test_from_hugging_face_where_kagglehub_is_not_installed(archive, kaggle, server, tmp_path: Path):
    (tmp_path / "data" / "fer2013").mkdir(parents=True)  # empty is as good as absent
    said: list[str] = []
    assert fetch(tmp_path / "data" / "fer2013", said.append).status == "authentic"
    assert any("pip install kagglehub" in line for line in said)
    assert [file.name for file in (tmp_path / "data" / "fer2013").iterdir()] == ["fer2013.csv"]
    assert [file.name for file in (tmp_path / "data").iterdir()] == ["fer2013"]
    assert len(load.load_training(tmp_path / "data" / "fer2013")) == 6


@pytest.mark.parametrize("failure", ["altered", "half", "error"])
def test_kaggle_fails_and_the_second_source_serves(
    failure: str, archive, faces: Path, kaggle, tmp_path: Path
):
    def give(target: Path) -> None:
        if failure == "error":
            raise RuntimeError("503\nService unavailable")
        next(faces.glob("train/happy/*")).unlink()
        if failure == "altered":
            next(faces.glob("train/sad/*")).write_bytes(b"other")
        faces.rename(target)

    kaggle(give)
    said: list[str] = []
    assert fetch(tmp_path / "data" / "fer2013", said.append).status == "authentic"
    assert (tmp_path / "data" / "fer2013" / "fer2013.csv").exists()
    assert any(line.startswith("Kaggle: ") and "\n" not in line for line in said[1:])


def test_a_broken_download_goes_on(archive: bytes, kaggle, server, tmp_path: Path):
    server.cut = len(archive) // 2
    with pytest.raises(UsageError, match="bytes are missing"):
        fetch(tmp_path / "data" / "fer2013", print)
    assert not (tmp_path / "data" / "fer2013").exists()
    server.cut = None
    assert fetch(tmp_path / "data" / "fer2013", print).status == "authentic"
    assert server.requests == [None, f"bytes={len(archive) // 2}-"]


def test_what_was_kept_is_of_no_use(archive: bytes, kaggle, server, tmp_path: Path):
    part = tmp_path / "data" / ".fer2013.part" / "fer2013.tar.gz.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"garbage")
    with pytest.raises(UsageError, match="MD5"):
        fetch(tmp_path / "data" / "fer2013", print)
    assert fetch(tmp_path / "data" / "fer2013", print).status == "authentic"
    assert server.requests == ["bytes=7-", None]


@pytest.mark.parametrize("kind", ["pipe", "hole"])
def test_what_lies_in_place_of_the_archive(archive: bytes, kaggle, server, tmp_path: Path, kind: str):
    kept = tmp_path / "data" / ".fer2013.part" / "fer2013.tar.gz"
    kept.parent.mkdir(parents=True)
    if kind == "pipe":
        put(kept, "pipe")
    else:
        with open(kept, "wb") as handle:
            handle.truncate(1 << 40)
    with within(20), pytest.raises(UsageError, match=r"a pipe, not a regular file|more than the 1,024"):
        fetch(tmp_path / "data" / "fer2013", print)


@pytest.mark.parametrize(
    "members",
    [{"fer2013/fer2013.txt": b"x"}, {"../../fer2013.csv": b"emotion,pixels\n"}, {"/tmp/fer2013.csv": b""}],
)
def test_bad_archives(members: dict, kaggle, server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    serve(server, monkeypatch, members)
    with pytest.raises(UsageError, match=r"could not be fetched"):
        fetch(tmp_path / "a" / "b" / "fer2013", print)
    assert not list(tmp_path.rglob("*.csv"))


def test_no_network(kaggle, server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "ARCHIVE", "http://127.0.0.1:9/fer2013.tar.gz")  # nobody listens
    kaggle(lambda target: (_ for _ in ()).throw(ConnectionError("no route to host")))
    with pytest.raises(UsageError) as caught:
        fetch(tmp_path / "data" / "fer2013", print)
    message = str(caught.value)
    assert "\n" not in message and "no route to host" in message and "no connection" in message
    assert "https://www.kaggle.com/datasets/msambare/fer2013" in message
    assert not (tmp_path / "data" / "fer2013").exists()


@pytest.mark.parametrize("status", [404, 416, 500])
def test_the_server_refuses(status: int, archive, kaggle, server, tmp_path: Path):
    server.status = status
    with pytest.raises(UsageError, match=f"answers {status}"):
        fetch(tmp_path / "data" / "fer2013", print)


def test_what_is_there_is_left_alone(faces: Path, kaggle, tmp_path: Path):
    next(faces.glob("train/happy/*")).unlink()
    with pytest.raises(UsageError, match="holds something else"):
        fetch(faces, print)
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "letter.txt").write_text("dear")
    with pytest.raises(UsageError, match="no data set found"):
        fetch(tmp_path / "home", print)
    assert (tmp_path / "home" / "letter.txt").read_text() == "dear"


def test_interrupted(faces: Path, kaggle, tmp_path: Path):
    def give(target: Path) -> None:
        target.mkdir()
        raise KeyboardInterrupt

    kaggle(give)
    with pytest.raises(KeyboardInterrupt):
        fetch(tmp_path / "data" / "fer2013", print)
    assert not (tmp_path / "data" / "fer2013").exists()
    kaggle(lambda target: (target.rmdir(), faces.rename(target)))
    assert fetch(tmp_path / "data" / "fer2013", print).status == "authentic"


def test_a_folder_one_may_not_write_to(kaggle, tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="could not be fetched"):
        fetch(tmp_path / "file" / "fer2013", print)
