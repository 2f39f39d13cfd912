"""`fer play`: a server for this machine alone, and traces that are checked before they are kept."""

import contextlib
import copy
import hashlib
import http.client
import json
import signal
import subprocess
import threading
import urllib.request

import networks
import numpy as np
import processes
import pytest
from staged import write_run

from fer_lib.files import ROOT, UsageError
from fer_tools import commands, paths, pretrained
from fer_tools.json_files import LARGEST_JSON
from fer_tools.play import server, trace

EXAMPLE = ROOT / "game" / "example_trace.json"
NETWORK = (ROOT / "game" / server.NETWORK).read_bytes()


@pytest.fixture
def served(tmp_path):
    """Give a server that saves traces into a run."""
    with server.Server(0, NETWORK, tmp_path / "a_run" / "game") as made:
        threading.Thread(target=made.serve_forever, daemon=True).start()
        yield made
        made.shutdown()


@pytest.fixture
def example():
    return trace.read(EXAMPLE)


def ask(served, path, method="GET", body=None, **headers):
    """Return status, headers and content of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", served.server_port, timeout=20)
    with contextlib.closing(connection):
        connection.request(
            method, path, body, {name.replace("_", "-"): value for name, value in headers.items()}
        )
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()


def post(served, body, token=None, **headers):
    """Return status and content of the answer to a trace."""
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    due = served.url.partition("#save=")[2] if token is None else token
    given = {"Origin": f"http://127.0.0.1:{served.server_port}", "X_Token": due} | headers
    status, _, content = ask(served, given.pop("path", "/trace"), "POST", body, **given)
    return status, json.loads(content)


# -- the page ----------------------------------------------------------------------------------------------


def test_the_page_and_what_it_needs_are_served_whole(served):
    for path, file in (("/", "index.html"), ("/main.js", "main.js"), ("/runtime/ort.js", "runtime/ort.js")):
        status, headers, content = ask(served, path)
        assert status == 200 and content == (ROOT / "game" / file).read_bytes()
        assert headers["X-Content-Type-Options"] == "nosniff" and headers["Referrer-Policy"] == "no-referrer"
        assert "frame-ancestors 'self'" in headers["Content-Security-Policy"]
    assert ask(served, "/main.js")[1]["Content-Type"].startswith("text/javascript")
    assert ask(served, "/networks/network.onnx")[2] == NETWORK
    assert ask(served, "/", "HEAD")[2] == b""


def test_it_listens_on_this_machine_alone(served):
    assert served.server_address[0] == "127.0.0.1" and served.url.startswith("http://127.0.0.1:")


@pytest.mark.parametrize(
    "path",
    [
        "/../pyproject.toml",
        "/%2e%2e/pyproject.toml",
        "//etc/passwd",
        "/networks/../../README.md",
        "/README.md",
        "/trace.schema.json",
        "/networks",
        "/nowhere.js",
    ],
)
def test_nothing_else_is_served(served, path):
    assert ask(served, path)[0] == 404


def test_a_name_that_leads_here_is_refused(served):
    """A page elsewhere may let its name point to 127.0.0.1, and would then be of the same origin."""
    assert ask(served, "/", Host="evil.example")[0] == 403
    assert ask(served, "/", Host=f"evil.example:{served.server_port}")[0] == 403
    assert ask(served, "/", Host=f"localhost:{served.server_port}")[0] == 200


# -- traces ------------------------------------------------------------------------------------------------


def test_a_trace_is_saved_into_the_run_once_a_token(served, example, tmp_path):
    first = served.url.partition("#save=")[2]
    status, said = post(served, example)
    assert status == 200
    (saved,) = (tmp_path / "a_run" / "game").iterdir()
    assert said["saved"] == f"a_run/game/{saved.name}" and trace.read(saved) == example
    assert post(served, example, token=first)[0] == 403
    assert said["token"] != first and post(served, example, token=said["token"])[0] == 200
    assert len(list(saved.parent.iterdir())) == 1, "the same trace, grown, replaces its beginning"


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({"token": "guessed"}, 403),
        ({"token": ""}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Host": "evil.example"}, 403),
        ({"path": "/other"}, 403),
    ],
    ids=str,
)
def test_only_the_page_saves(served, example, tmp_path, changed, status):
    assert post(served, example, **changed)[0] == status
    assert not (tmp_path / "a_run").exists()


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[" * 100_000, b"\xff\xfe", b"null", b"[]", b'{"format": 1}', b"NaN"]
)
def test_what_is_no_trace_is_refused_and_the_token_stays(served, example, tmp_path, body):
    status, said = post(served, body)
    assert status == 400 and said["error"] and "\n" not in said["error"] and "Traceback" not in said["error"]
    assert not (tmp_path / "a_run").exists()
    assert post(served, example)[0] == 200


@pytest.mark.parametrize("length", [str(LARGEST_JSON + 1), "-1", "many", "1e3", "9" * 5000, "²"])
def test_a_length_out_of_bounds_is_refused_unread(served, length):
    connection = http.client.HTTPConnection("127.0.0.1", served.server_port, timeout=20)
    with contextlib.closing(connection):
        connection.putrequest("POST", "/trace")
        connection.putheader("Content-Length", length.encode())
        connection.endheaders()
        assert connection.getresponse().status == 413


def test_a_trace_of_another_network_is_refused(served, example):
    example["network"]["sha256"] = "0" * 64
    assert post(served, example) == (400, {"error": "played with another network than this run's"})


def test_the_command_says_where_it_is_and_ends_by_an_interruption(results):
    process = subprocess.Popen(**processes.command(results, "play", "--no-browser"), stdout=subprocess.PIPE)
    address = process.stdout.readline().split()[-1]
    with urllib.request.urlopen(address, timeout=20) as answer:
        assert b"<title>Noughts and crosses with your face</title>" in answer.read()
    process.send_signal(signal.SIGINT)
    assert "traces are downloaded" in process.stdout.read() and process.wait(20) == 0


def test_without_a_run_nothing_is_saved(example):
    with server.make() as served:
        threading.Thread(target=served.serve_forever, daemon=True).start()
        assert "#" not in served.url
        assert post(served, example, token="")[0] == 403
        served.shutdown()


# -- which network -----------------------------------------------------------------------------------------


def test_a_runs_network_plays_and_an_excerpt_gets_no_traces():
    with server.make(str(ROOT / "results" / "reference")) as served:
        assert served.folder is None
        assert b'"name": "model"' in served.network and b'"size": 64' in served.network


def test_the_small_network_plays_and_gets_no_traces():
    with server.make("small_model") as served:
        assert served.folder is None
        assert pretrained.facts("small_model")["sha256"].encode() in served.network


def test_a_run_keeps_its_traces(results):
    run = write_run(results, 1, ("training", "overfitting"))
    classes = run.parameters("training").classes
    layers = networks.GLOBAL, ("Dense", {"units": len(classes), "activation": "softmax"})
    networks.held(run.model_path, networks.chain(*layers))
    with server.make(run.name) as served:
        assert served.folder == run.path / "game"
        digest = hashlib.sha256(served.network).hexdigest()
        assert len(digest) == 64 and "#save=" in served.url


def test_a_network_without_the_expressions_is_refused_in_one_line(tmp_path, capsys):
    path = networks.held(tmp_path / "other.keras", networks.chain(networks.GLOBAL, networks.SOFTMAX))
    assert commands.main(["play", str(path), "--classes", "happy,sad,angry", "--no-browser"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "knows happy, sad, angry, not neutral and surprise; train one with" in said


def test_a_network_of_colour_on_another_scale_plays_with_grey_faces(tmp_path, capsys):
    import keras
    import onnxruntime

    path, classes = tmp_path / "colour.keras", ["happy", "neutral", "surprise"]
    layers = [keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(3, activation="softmax")]
    model = keras.Sequential([keras.Input((24, 24, 3)), *layers])
    model.save(path)
    with server.make(str(path), classes, scale="0..1") as served:
        session = onnxruntime.InferenceSession(served.network, providers=["CPUExecutionProvider"])
    grey = np.full((1, 24, 24, 1), 204, np.float32)
    expected = model(np.full((1, 24, 24, 3), 0.8, np.float32), training=False)
    np.testing.assert_allclose(session.run(None, {"face": grey})[0], expected, atol=1e-5)
    order = "does not say the order of its outputs (fer diagnose finds it)"
    assert capsys.readouterr().err == f"fer: {path}: {order}; {', '.join(classes)} is assumed\n"


@pytest.mark.parametrize("port", ["70000", "-1"])
def test_a_port_that_is_none_is_refused(capsys, port):
    assert commands.main(["play", "--port", port, "--no-browser"]) == 2
    assert f"--port {port}" in capsys.readouterr().err


def test_a_port_that_is_taken_is_refused(served):
    with pytest.raises(UsageError, match=r"cannot be served there .*; leave it out"):
        server.make(port=served.server_port)


def test_an_installed_package_says_that_it_needs_the_checkout(monkeypatch):
    monkeypatch.setattr(paths, "in_checkout", lambda: False)
    with pytest.raises(UsageError, match="the game: needs the checkout"):
        server.make()


# -- what a trace is ---------------------------------------------------------------------------------------


def changed(document, path, value):
    """Return a copy with another value at a path, or without it where the value is `...`."""
    made = copy.deepcopy(document)
    *above, last = path
    inner = made
    for key in above:
        inner = inner[key]
    if value is ...:
        del inner[last]
    else:
        inner[last] = value
    return made


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (["format"], "other", "format"),
        (["version"], 2, "version"),
        (["started"], "yesterday", "started"),
        (["network"], ..., "network"),
        (["network", "sha256"], "0" * 63, "network.sha256"),
        (["network", "classes"], ["neutral", "happy"], "without surprise"),
        (["network", "classes"], ["neutral", "happy", "happy"], "network.classes"),
        (["network", "name"], "a\x1b[2Jb", "network.name"),
        (["settings", "dwell"], -1, "settings.dwell"),
        (["picture"], "data:image/png;base64,AAAA", "picture"),
        (["frames", 3, "picture"], "AAAA", "picture"),
        (["frames", 3, "p"], [0.5, 0.5], "frames[3].p: 2 numbers for 3 classes"),
        (["frames", 3, "p"], [2, -1, 0], "frames[3]"),
        (["frames", 3, "t"], 0, "frames[3].t: 0 after"),
        (["frames", 3, "t"], float("nan"), "not JSON compliant"),
        (["frames", 3, "t"], True, "frames[3].t"),
        (["frames", 3, "face"], [1, 2], "frames[3].face"),
        (["frames", 3, "phase"], "elsewhere", "frames[3].phase"),
        (["events", 2, "type"], "unknown", "events[2]"),
        (["events", 0, "level"], "impossible", "events[0]"),
        (["events", 1, "t"], 1e308, "events[1]"),
        (["events"], {}, "events"),
    ],
    ids=str,
)
def test_a_broken_trace_is_refused_in_one_line(example, tmp_path, path, value, said):
    file = tmp_path / "trace.json"
    file.write_text(json.dumps(changed(example, path, value)))
    with pytest.raises(UsageError) as error:
        trace.read(file)
    message = str(error.value)
    assert message.startswith(f"{file}: not a trace of the game (") and said in message
    assert "\n" not in message and message.isprintable() and len(message) < 500


def test_the_example_is_a_trace_and_holds_what_the_notebook_needs(example):
    kinds = {event["type"] for event in example["events"]}
    assert {"new_game", "choice", "move", "undo", "result", "measure", "answer", "measure_end"} <= kinds
    assert sum(event["type"] == "answer" for event in example["events"]) == 30
    assert example["network"]["sha256"] == hashlib.sha256(NETWORK).hexdigest()
    assert EXAMPLE.stat().st_size < 1_000_000
