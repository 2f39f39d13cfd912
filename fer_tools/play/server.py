"""The page of game/, served on 127.0.0.1 alone: with a network, and a place for its traces."""

import hashlib
import hmac
import json
import secrets
import threading
import webbrowser
from collections.abc import Sequence
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from fer_lib.files import UsageError, read_regular
from fer_tools import paths, pretrained
from fer_tools.console import complain, say
from fer_tools.json_files import LARGEST_JSON
from fer_tools.play import trace
from fer_tools.run.run import Run

LARGEST = 64 << 20  # bytes of a file of the page
NETWORK = "networks/network.onnx"
KINDS = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".onnx": "application/octet-stream",
    ".gzip": "application/octet-stream",
}
# What the page may do stands in itself, so that it holds on any host; who may show it can only be said here.
HEADERS = {
    "Content-Security-Policy": "frame-ancestors 'self' http://127.0.0.1:* http://localhost:*",
    "Cache-Control": "no-cache",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def files_of_page() -> dict[str, Path]:
    """Return the files of the page by their addresses, which begin with a slash."""
    game = paths.checkout("the game") / "game"
    files = (*game.glob("*"), *game.glob("networks/*"), *game.glob("runtime/*"))
    return {f"/{path.relative_to(game).as_posix()}": path for path in files if path.suffix in KINDS}


class Server(ThreadingHTTPServer):
    """A server of the page on 127.0.0.1.

    Parameters
    ----------
    port : int
        0 for any that is free.
    network : bytes
        ONNX, as `fer export` writes it.
    folder : Path, optional
        Where traces are saved; nowhere, if not given.

    Attributes
    ----------
    url : str
        Of the page, with the token for saving the first trace, if traces are saved. Each token is good for
        one trace; the answer holds the next.
    """

    daemon_threads = True

    def __init__(self, port: int, network: bytes, folder: Path | None = None) -> None:
        self.network, self.folder = network, folder
        self.files = files_of_page()
        self._lock, self._token = threading.Lock(), secrets.token_urlsafe(24)
        super().__init__(("127.0.0.1", port), _Handler)
        self.hosts = {f"{name}:{self.server_port}" for name in ("127.0.0.1", "localhost")}

    @property
    def url(self) -> str:
        """See the class."""
        return f"http://127.0.0.1:{self.server_port}/" + (f"#save={self._token}" if self.folder else "")

    def save(self, token: str, content: bytes) -> dict[str, str]:
        """Save a trace, and say where, and by which token the next one is.

        Raises
        ------
        UsageError
            If it is no trace of a game with this network.
        PermissionError
            If the token is not the one that is due.
        """
        with self._lock:
            if not self.folder or not hmac.compare_digest(token.encode(), self._token.encode()):
                raise PermissionError("this page may not save; open it by the address that `fer play` says")
            try:
                document = json.loads(content)
            except (ValueError, RecursionError) as error:
                raise UsageError(f"not JSON ({error})") from error
            trace.checked(document, "what was sent")
            if document["network"]["sha256"] != hashlib.sha256(self.network).hexdigest():
                raise UsageError("played with another network than this run's")
            name = "trace_" + "".join(filter(str.isdigit, document["started"]))[:14] + ".json"
            trace.write(self.folder / name, document)
            self._token = secrets.token_urlsafe(24)
            return {"saved": f"{self.folder.parent.name}/{self.folder.name}/{name}", "token": self._token}


class _Handler(BaseHTTPRequestHandler):
    """Answers for the files of the page, and takes traces."""

    server: Server
    server_version, sys_version = "fer", ""
    protocol_version = "HTTP/1.1"
    timeout = 60  # seconds without a byte

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: the terminal shows the address."""

    def do_GET(self) -> None:
        """Answer with a file of the page."""
        path = "/index.html" if self.path in ("/", "") else self.path.partition("?")[0]
        if not self._addressed():
            self._answer(HTTPStatus.FORBIDDEN, b"not this machine", "text/plain")
        elif path == f"/{NETWORK}":
            self._answer(HTTPStatus.OK, self.server.network, KINDS[".onnx"])
        elif (file := self.server.files.get(path)) is None:
            self._answer(HTTPStatus.NOT_FOUND, b"no such file", "text/plain")
        else:
            self._answer(HTTPStatus.OK, read_regular(file, LARGEST), KINDS[file.suffix])

    do_HEAD = do_GET

    def do_POST(self) -> None:
        """Save a trace."""
        status, said = self._saved()
        self._answer(status, json.dumps(said).encode(), "application/json")

    def _saved(self) -> tuple[HTTPStatus, dict[str, str]]:
        length = self.headers.get("Content-Length", "")
        short = length.isascii() and length.isdigit() and len(length) < 12 and int(length) <= LARGEST_JSON
        own = self.headers.get("Origin") == f"http://{self.headers.get('Host')}"
        if not short:
            self.close_connection = True  # what was sent stays unread
            return HTTPStatus.REQUEST_ENTITY_TOO_LARGE, {"error": f"not of 0 to {LARGEST_JSON >> 20} MB"}
        content = self.rfile.read(int(length))
        if not self._addressed() or not own or self.path != "/trace":
            return HTTPStatus.FORBIDDEN, {"error": "not from this page"}
        try:
            return HTTPStatus.OK, self.server.save(self.headers.get("X-Token", ""), content)
        except PermissionError as error:
            return HTTPStatus.FORBIDDEN, {"error": str(error)}
        except UsageError as error:
            return HTTPStatus.BAD_REQUEST, {"error": str(error)}

    def _addressed(self) -> bool:
        """Return whether it is this server that is asked, and not a name that leads to it."""
        return self.headers.get("Host") in self.server.hosts

    def _answer(self, status: HTTPStatus, content: bytes, kind: str) -> None:
        self.send_response(status)
        for name, value in ({"Content-Type": kind, "Content-Length": str(len(content))} | HEADERS).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            with suppress(ConnectionError):  # the browser has what it wanted
                self.wfile.write(content)


def make(
    model: str | None = None,
    classes: Sequence[str] | None = None,
    port: int = 0,
    scale: str | None = None,
) -> Server:
    """Make a server that plays with a network.

    Parameters
    ----------
    model : str, optional
        A shipped network, a run, or a `.keras` file; `pretrained.NAME`, if not given.
    classes : sequence of str, optional
        Of a file that belongs to no run.
    port : int
        0 for any that is free.
    scale : str, optional
        Of the pixels that such a file takes.

    Raises
    ------
    UsageError
        If there is no such network, it is refused, or does not know the three expressions; or the port is
        taken.
    """
    network = read_regular(paths.checkout("the game") / "game" / NETWORK, LARGEST)
    folder = None
    if model is not None:
        network, run = _exported(model, classes, scale)
        folder = run.path / trace.FOLDER if run and not run.excerpt else None
    try:
        return Server(port, network, folder)
    except (OSError, OverflowError) as error:
        raise UsageError(f"--port {port}: cannot be served there ({error}); leave it out") from error


def _exported(model: str, classes: Sequence[str] | None, scale: str | None) -> tuple[bytes, Run | None]:
    """Return a network as the browser takes it, and the run that it is of, if any."""
    from fer_tools import predict_files, scratch
    from fer_tools.model_files import export, limits
    from fer_tools.run import find

    with limits.bounded(model):
        predictor, known = predict_files.choose(model, classes, scale)
    if missing := [name for name in trace.EXPRESSIONS if name not in known]:
        told = f"knows {', '.join(known)}, not {' and '.join(missing)}"
        raise UsageError(f"{model}: {told}; train one with neutral, happy and surprise")
    for note in predictor.notes:
        complain(note)
    with scratch.folder() as folder:
        source, target = Path(predictor.name), folder / "network.onnx"
        made = export.export(predictor.model, source, known, target, scale=predictor.scale)
        network = made.path.read_bytes()
    own = classes is None and model not in pretrained.names()
    return network, find.open_run(model) if own else None


def play(
    model: str | None,
    classes: Sequence[str] | None = None,
    port: int = 0,
    scale: str | None = None,
    browser: bool = True,
) -> None:
    """Serve the page until interrupted, and open the browser; see `make`."""
    with make(model, classes, port, scale) as server:
        say(f"the game is at {server.url}")
        say(f"traces are saved into {server.folder}" if server.folder else "traces are downloaded")
        say("Ctrl-C ends it")
        if browser:
            webbrowser.open(server.url)
        with suppress(KeyboardInterrupt):
            server.serve_forever()


def in_notebook(model: str | None = None, height: int = 760) -> Any:
    """Show the page in a cell of a notebook on this machine, as an `IPython.display.IFrame`; see `make`.

    It is served as long as the kernel lives.
    """
    from IPython.display import IFrame

    server = make(model)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return IFrame(server.url, "100%", height, extras=['allow="camera"'])
