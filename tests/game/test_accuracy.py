"""What the page's own way from a picture to an answer costs, against the face as it is."""

import base64
import os

import numpy as np
import pytest
from camera import EXPRESSIONS, NETWORK, bundled, frame, jpeg

from fer_lib.data.picture import decode_image

SEEN = """(async () => {
  const { Engine, fetched, loadNetwork } = await import(new URL("network.js", location.href));
  if (!globalThis.parts) {
    const engine = new Engine(await fetched("runtime/ort.wasm.gzip"));
    await engine.start();
    await engine.load("finder", await fetched("networks/finder.onnx"));
    const network = await loadNetwork(engine, await fetched("networks/network.onnx"));
    globalThis.parts = [(input) => engine.run("finder", "input", input, [1, 128, 128, 3]), network];
  }
  const answers = [];
  for (const text of given) {
    const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0)), see = m.eyes(...globalThis.parts);
    const picture = await createImageBitmap(new Blob([bytes], { type: "image/jpeg" }));
    let seen = null;
    for (let look = 0; look < 9 && !seen?.face; look++) seen = await see(picture, 640, 480);
    answers.push(seen.face && { p: seen.three, ...seen.face });
  }
  return answers;
})()"""


def seen(page, pictures, at_once=50):
    """Return what the page sees in each picture, null where it finds no face."""
    texts = [base64.b64encode(jpeg(picture)).decode() for picture in pictures]
    parts = [texts[i : i + at_once] for i in range(0, len(texts), at_once)]
    return [answer for part in parts for answer in page.module("eyes.js", f"await {SEEN}", part)]


def put(faces, sizes, tilt, seed):
    """Put each face somewhere in a picture; return pictures, and places as (x, y, size, degrees)."""
    rng = np.random.default_rng(seed)
    places = []
    for _ in faces:
        size = rng.uniform(*sizes)
        x, y = rng.uniform(0.7 * size, 640 - 0.7 * size), rng.uniform(0.6 * size, 480 - 0.6 * size)
        places.append((size, x, y, rng.uniform(-tilt, tilt)))
    both = enumerate(zip(faces, places, strict=True))
    return [frame((face, *place), wall=i % 50) for i, (face, place) in both], places


def direct(faces):
    """Return what the network makes of faces as they are."""
    import onnxruntime

    session = onnxruntime.InferenceSession(NETWORK, providers=["CPUExecutionProvider"])
    inputs = faces[..., np.newaxis].astype(np.float32)
    return np.concatenate([session.run(None, {"face": face[np.newaxis]})[0] for face in inputs])


def compared(page, faces, labels, sizes, tilt, seed):
    """Return the shares of faces found, right as they are, and right by the page, found or not."""
    pictures, places = put(faces, sizes, tilt, seed)
    answers = seen(page, pictures)
    near = [
        bool(answer) and np.hypot(answer["x"] - x, answer["y"] - y) < 0.5 * size
        for answer, (size, x, y, _) in zip(answers, places, strict=True)
    ]
    right = [
        ok and int(np.argmax(answer["p"])) == label
        for ok, answer, label in zip(near, answers, labels, strict=True)
    ]
    found, by_page = np.mean(near), np.mean(right)
    as_it_is = np.mean(direct(faces).argmax(1) == labels)
    print(
        f"{len(faces)} faces of {sizes[0]} to {sizes[1]} px, tilted up to {tilt}: found {found:.1%}, "
        f"right {by_page:.1%}, as they are {as_it_is:.1%}"
    )
    return found, as_it_is, by_page


@pytest.mark.slow
def test_rendered_faces_are_found_and_told_as_well_as_they_are_without_a_frame(page):
    images, labels = bundled()
    chosen = np.random.default_rng(0).choice(len(images), 240, replace=False)
    found, as_it_is, by_page = compared(page, images[chosen], labels[chosen], (100, 280), 25, 1)
    assert found >= 0.96
    assert by_page >= as_it_is - 0.06  # two standard errors of such a difference


@pytest.mark.slow
def test_photographs_are_found_and_told_as_well_as_they_are_without_a_frame(page, fer2013):
    """They stay in memory; none is committed."""
    faces, labels = [], []
    for label, name in enumerate(EXPRESSIONS):
        for path in sorted((fer2013 / "test" / name).glob("PublicTest_*")):
            faces.append(decode_image(path.read_bytes(), str(path))[0])
            labels.append(label)
    chosen = np.random.default_rng(0).choice(
        len(faces), int(os.environ.get("FER_FACES", "300")), replace=False
    )
    faces, labels = np.stack(faces)[chosen], np.array(labels)[chosen]
    found, as_it_is, by_page = compared(page, faces, labels, (100, 280), 25, 2)
    assert found >= 0.96
    assert by_page >= as_it_is - 0.04
