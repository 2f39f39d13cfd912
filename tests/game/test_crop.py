"""One way in: the page makes of a picture what fer_lib makes of it."""

import base64

import numpy as np
import pytest
from camera import bundled
from PIL import Image

from fer_lib.data.picture import network_input, to_face
from fer_lib.files import ROOT
from fer_tools.json_files import read_json

VECTORS = read_json(ROOT / "tests" / "references" / "face_to_input.json")["vectors"]


def array(text: str, kind: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), kind)


def text(values: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode()


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_grey_crop_and_size_are_those_of_the_vectors(page, vector):
    code = """(async () => {
      const bytes = Uint8Array.from(atob(given.png), (c) => c.charCodeAt(0));
      const picture = await createImageBitmap(new Blob([bytes]));
      const { width, height } = picture, context = new OffscreenCanvas(width, height).getContext("2d");
      context.drawImage(picture, 0, 0);
      const grey = m.greyOf(context.getImageData(0, 0, width, height).data);
      const face = m.toFace(grey, width, height, given.box ?? [0, 0, width, height]);
      const input = (size) => Array.from(m.networkInput(face, { size, black: 0, white: 255 }));
      const inputs = Object.keys(given.input).map((size) => [size, input(Number(size))]);
      return { grey: Array.from(face), input: Object.fromEntries(inputs) };
    })()"""
    made = page.module("crop.js", f"await {code}", vector)
    expected = array(vector["grey"], np.uint8).astype(int)
    print(vector["name"], "differs by", abs(np.array(made["grey"]) - expected).max())
    assert abs(np.array(made["grey"]) - expected).max() <= 1
    for size, values in vector["input"].items():
        assert abs(np.array(made["input"][size]) - array(values, "<f4")).max() <= 1


def test_a_face_becomes_the_networks_input_number_for_number(page):
    face = bundled()[0][7]
    one = "Array.from(m.networkInput(Uint8Array.from(given), {size, black: 0, white: 255}))"
    code = f"[48, 64, 100].map((size) => {one})"
    for size, values in zip((48, 64, 100), page.module("crop.js", code, face.ravel().tolist()), strict=True):
        expected = network_input(face[np.newaxis], size).ravel()
        assert np.allclose(values, expected, atol=1e-4)


def test_black_and_white_are_what_the_network_says(page):
    one = "Array.from(m.networkInput(new Uint8Array(48 * 48).fill(51), {size: 8, black, white}))"
    code = f"[[0, 1], [-1, 1], [1, 0]].map(([black, white]) => {one})"
    for values, expected in zip(page.module("crop.js", code), (0.2, -0.6, 0.8), strict=True):
        assert np.allclose(values, expected)


@pytest.mark.parametrize("angle", [0, 25, -40, 180])
@pytest.mark.parametrize(("x", "y", "side"), [(120.25, 90.5, 75.0), (150, 20, 160.0), (100, 80, 30.0)])
def test_a_square_is_turned_upright_as_pillow_turns_it(page, angle, x, y, side):
    """Beyond the edge of the picture it goes on as it ends."""
    rng = np.random.default_rng(1)
    small = Image.fromarray(rng.integers(0, 256, (12, 16), np.uint8))
    picture = np.asarray(small.resize((240, 180), Image.Resampling.BICUBIC))
    given = {"grey": text(picture), "square": {"x": x, "y": y, "side": side, "angle": angle}}
    code = """(() => {
      const grey = Uint8Array.from(atob(given.grey), (c) => c.charCodeAt(0));
      const turned = m.upright(grey, 240, 180, given.square), n = turned.size;
      return { n, face: Array.from(m.toFace(turned.grey, n, n, [0, 0, n, n])) };
    })()"""
    made = page.module("crop.js", code, given)
    n, margin = max(round(side), 48), 300
    wide = Image.fromarray(np.pad(picture, margin, "edge"))
    a, k = np.deg2rad(angle), side / n
    cos, sin = k * np.cos(a), k * np.sin(a)
    back = (cos, -sin, margin + x - n / 2 * (cos - sin), sin, cos, margin + y - n / 2 * (sin + cos))
    upright = wide.transform((n, n), Image.Transform.AFFINE, back, Image.Resampling.BILINEAR)
    assert made["n"] == n
    assert abs(np.array(made["face"]) - to_face(upright)[0].ravel().astype(int)).max() <= 1
