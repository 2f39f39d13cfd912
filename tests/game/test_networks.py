"""Networks in the browser: they answer as Keras does, and broken ones are refused in one line."""

import base64
import gzip
import hashlib
import json
import threading

import networks
import numpy as np
import pytest
from browser import Page
from camera import bundled, clear, frame

from fer_lib.data.picture import network_input
from fer_lib.files import ROOT
from fer_tools import pretrained
from fer_tools.model_files import export, loading
from fer_tools.play import server, vendor

GAME = ROOT / "game"
SEVEN = ["surprise", "angry", "disgust", "happy", "fear", "sad", "neutral"]
ANSWERS = """(async () => {
  const engine = new m.Engine(await m.fetched("runtime/ort.wasm.gzip"));
  await engine.start();
  const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer;
  const network = await m.loadNetwork(engine, bytes(given.network));
  const all = new Float32Array(bytes(given.images)), one = network.input.size ** 2, rows = [];
  for (let at = 0; at < all.length; at += one) rows.push(await network.predict(all.slice(at, at + one)));
  return { rows, facts: network.facts };
})()"""


def text(content: bytes) -> str:
    return base64.b64encode(content).decode()


@pytest.fixture(scope="module")
def seven(tmp_path_factory):
    """Give a network of seven classes in another order."""
    path = tmp_path_factory.mktemp("seven") / "seven.keras"
    layers = [("Rescaling", {"scale": 1 / 255, "offset": 0}), ("Conv2D", {"filters": 8, "kernel_size": 3})]
    layers += [networks.GLOBAL, ("Dense", {"units": 7, "activation": "softmax"})]
    return networks.held(path, networks.chain(*layers, side=40))


@pytest.mark.parametrize("name", ["optimized_model", "basic_model", "seven"])
def test_the_browser_answers_as_keras_does(open_page, seven, tmp_path, name):
    source, classes = {
        "optimized_model": (pretrained.path(), pretrained.facts()["classes"]),
        "basic_model": (ROOT / "results" / "reference" / "model.keras", ["neutral", "happy", "surprise"]),
        "seven": (seven, SEVEN),
    }[name]
    model = loading.load(source)
    made = export.export(model, source, classes, tmp_path / "network.onnx")
    images = network_input(bundled()[0][:64], model.input_shape[1])
    page = open_page(False)
    given = {"network": text(made.path.read_bytes()), "images": text(images.astype("<f4").tobytes())}
    said = page.module("network.js", f"await {ANSWERS}", given)
    difference = abs(np.array(said["rows"]) - model(images, training=False).numpy()).max()
    print(f"{name}: browser against Keras, {difference:.1g} at most")
    assert difference <= 1e-5
    assert said["facts"]["classes"] == classes and said["facts"]["size"] == model.input_shape[1]
    assert said["facts"]["sha256"] == hashlib.sha256(made.path.read_bytes()).hexdigest()


def test_a_runs_network_plays_by_its_own_metadata(open_page, tmp_path):
    with server.make(str(ROOT / "results" / "reference")) as served:
        threading.Thread(target=served.serve_forever, daemon=True).start()
        page = open_page(False, url=served.url)
        assert "64×64" in page.text("plays")
        assert page.trace()["network"]["size"] == 64
        served.shutdown()


# -- hostile files -----------------------------------------------------------------------------------------

WHOLE = (GAME / "networks" / "network.onnx").read_bytes()


def saying(**facts) -> bytes:
    """Return the shipped network, which says other things of itself."""
    import onnx

    made = onnx.load_from_string(WHOLE)
    said = json.loads(made.metadata_props[0].value) | facts
    onnx.helper.set_model_props(made, {"fer_lab": json.dumps(said)})
    return made.SerializeToString()


def silent() -> bytes:
    import onnx

    made = onnx.load_from_string(WHOLE)
    del made.metadata_props[:]
    return made.SerializeToString()


def endless() -> bytes:
    """Return a network that never comes to an end."""
    import onnx
    from onnx import TensorProto, helper

    body = helper.make_graph(
        [helper.make_node("Identity", ["on"], ["still"]), helper.make_node("Identity", ["x"], ["y"])],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3]),
        ],
        [
            helper.make_tensor_value_info("still", TensorProto.BOOL, []),
            helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3]),
        ],
    )
    third = helper.make_tensor("third", TensorProto.FLOAT, [1, 3], [1 / 3] * 3)
    yes = helper.make_tensor("yes", TensorProto.BOOL, [], [True])
    graph = helper.make_graph(
        [
            helper.make_node("ReduceSum", ["face"], ["sum"], keepdims=0),
            helper.make_node("Mul", ["sum", "zero"], ["nothing"]),
            helper.make_node("Add", ["third", "nothing"], ["start"]),
            helper.make_node("Loop", ["", "yes", "start"], ["probabilities"], body=body),
        ],
        "endless",
        [helper.make_tensor_value_info("face", TensorProto.FLOAT, [1, 48, 48, 1])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [1, 3])],
        [third, yes, helper.make_tensor("zero", TensorProto.FLOAT, [], [0.0])],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    facts = json.loads(onnx.load_from_string(WHOLE).metadata_props[0].value) | {"name": "endless"}
    helper.set_model_props(made, {"fer_lab": json.dumps(facts)})
    onnx.checker.check_model(made)
    return made.SerializeToString()


def offer(page: Page, content: bytes) -> None:
    page.page.set_input_files(
        "#network", {"name": "theirs.onnx", "mimeType": "application/octet-stream", "buffer": content}
    )


HOSTILE = {
    "empty": (lambda: b"", "does not say its classes"),
    "noise": (lambda: np.random.default_rng(0).bytes(5000), "theirs.onnx cannot play"),
    "all ones": (lambda: b"\xff" * 5000, "no ONNX file"),
    "cut": (lambda: WHOLE[: len(WHOLE) // 2], "ends too early"),
    "silent": (silent, "does not say its classes"),
    "broken": (lambda: WHOLE[:200_000] + bytes(200_000) + WHOLE[400_000:], "theirs.onnx cannot play"),
    "other classes": (
        lambda: saying(classes=["happy", "sad", "angry"]),
        "does not know neutral and surprise",
    ),
    "more classes": (
        lambda: saying(classes=["neutral", "happy", "surprise", "sad"]),
        "no probabilities of 4",
    ),
    "twice": (lambda: saying(classes=["neutral", "happy", "surprise", "happy"]), "no list of names"),
    "markup": (lambda: saying(name="<img src=x onerror=alert(1)>\n"), "no list of names"),
    "another size": (lambda: saying(input={"size": 64, "black": 0, "white": 255}), "theirs.onnx cannot play"),
    "huge": (lambda: saying(input={"size": 10**9, "black": 0, "white": 255}), "what input it takes"),
    "no range": (lambda: saying(input={"size": 48}), "what input it takes"),
    "another version": (lambda: saying(format=2), "another version"),
    "endless": (endless, "takes too long"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_network_is_refused_in_one_line_and_play_goes_on(page, name):
    make, reason = HOSTILE[name]
    offer(page, make())
    page.wait("hint", reason, 40)
    assert "\n" not in page.text("hint") and len(page.text("hint")) < 320
    assert "optimized_model" in page.text("plays")
    page.show(frame((clear(1), 200, 320, 240, 0)), "happy")
    page.page.click("#new")
    page.page.click("#camera")
    page.wait("bars", "%")  # the old one still answers
    page.page.click("#stop-camera")
    page.check_quiet()


def test_a_camera_that_is_on_goes_on_and_the_reason_stays(page):
    page.show(frame((clear(1), 200, 320, 240, 0)), "happy")
    page.page.click("#camera")
    page.wait("bars", "%")
    offer(page, b"")
    page.wait("hint", "theirs.onnx cannot play", 40)
    page.page.wait_for_function("document.querySelector('#view').classList.contains('live')")
    page.wait("bars", "%")
    assert "theirs.onnx cannot play" in page.text("hint")
    page.page.click("#stop-camera")
    page.check_quiet()


def test_what_was_asked_of_an_engine_that_is_begun_anew_does_not_end_the_new_one(page):
    """Such a request waited on; after its ten seconds it ended the worker that had come after its own."""
    left, error = page.module(
        "network.js",
        """await (async () => {
          const timers = new Set(), { setTimeout, clearTimeout } = globalThis;
          const kept = (timer) => { timers.add(timer); return timer; };
          globalThis.setTimeout = (...given) => kept(setTimeout(...given));
          globalThis.clearTimeout = (timer) => { timers.delete(timer); clearTimeout(timer); };
          try {
            const engine = new m.Engine(await m.fetched("runtime/ort.wasm.gzip"));
            await engine.start();
            await engine.load("network", await m.fetched("networks/network.onnx"));
            const run = engine.run("network", "face", new Float32Array(48 * 48), [1, 48, 48, 1]);
            const asked = run.catch((error) => error.message);
            await Promise.resolve();
            await engine.start();
            return [timers.size, await asked];
          } finally { Object.assign(globalThis, { setTimeout, clearTimeout }); }
        })()""",
    )
    assert (left, error) == (0, "It was begun anew.")


def test_another_network_plays_from_then_on(open_page, seven, tmp_path):
    made = export.export(loading.load(seven), seven, SEVEN, tmp_path / "seven.onnx")
    page = open_page(False)
    offer(page, made.path.read_bytes())
    page.wait("hint", "Now seven plays.")
    assert page.trace()["network"]["classes"] == SEVEN


# -- what comes from others --------------------------------------------------------------------------------


def test_what_comes_from_others_is_what_they_published():
    for _, digest, target, made in vendor.TAKEN:
        content = (GAME / target).read_bytes()
        if target.endswith(".gzip"):
            content = gzip.decompress(content)
        if made is not vendor.finder:
            assert hashlib.sha256(content).hexdigest() == digest, target
    readme = (GAME / "README.md").read_text()
    for path in (*GAME.glob("networks/*.onnx"), *GAME.glob("runtime/ort*")):
        if path.name != "network.onnx":
            assert hashlib.sha256(path.read_bytes()).hexdigest()[:16] in readme, path


def test_the_first_load_is_small():
    size = sum(path.stat().st_size for path in GAME.rglob("*") if path.suffix in server.KINDS)
    print(f"first load: {size / 1e6:.2f} MB")
    assert size <= 6_000_000
