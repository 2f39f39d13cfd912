"""From a picture to the network's input: by the stated rule, and refused where it is none."""

from base64 import b64decode
from io import BytesIO

import numpy as np
import pytest
from asserting import refusal
from made import draw_face, encoded
from PIL import Image

from fer_lib.data.picture import AS_IT_SHOULD_BE, decode_image, network_input, to_face
from fer_lib.files import ROOT, read_json


def test_conversion_by_the_stated_rule():
    grey = draw_face("happy", 0)
    image = Image.fromarray(grey)
    plain, kind = decode_image(encoded(image), "x")
    assert np.array_equal(plain, grey) and kind == "PNG 48x48 L"
    for other in (image.convert("RGB"), image.convert("RGBA"), image.convert("P"), image.convert("LA")):
        pixels, kind = decode_image(encoded(other), "x")
        assert kind == f"PNG 48x48 {other.mode}" and np.array_equal(pixels, grey), other.mode
    sixteen = Image.fromarray(grey.astype(np.uint16) * 257)
    assert np.array_equal(decode_image(encoded(sixteen), "x")[0], grey)
    assert decode_image(encoded(Image.new("1", (48, 48), 1)), "x")[0].tolist() == [[255] * 48] * 48
    large, kind = decode_image(encoded(image.resize((96, 96), Image.Resampling.NEAREST), "JPEG"), "x")
    assert kind == "JPEG 96x96 L" and abs(large.astype(int) - grey).mean() < 12
    assert decode_image(encoded(image.convert("CMYK"), "JPEG"), "x")[0].shape == (48, 48)


def test_a_truncated_jpeg_is_refused_wherever_it_was_cut():
    whole = encoded(Image.fromarray(draw_face("happy", 1)), "JPEG")
    for length in range(len(whole) - 2):  # without the end marker alone, every pixel is still there
        refusal(decode_image, whole[:length], "x.jpg")


# --- the network's input ---


def test_the_networks_input_has_the_size_and_range_that_it_takes():
    images = np.random.default_rng(0).integers(0, 256, (5, 48, 48), dtype=np.uint8)
    images[0], images[1] = 0, 255
    prepared = network_input(images, 64)
    assert prepared.shape == (5, 64, 64, 1) and prepared.dtype == np.float32
    assert prepared.min() == 0 and prepared.max() == 255
    assert (prepared[0] == 0).all() and (prepared[1] == 255).all()
    np.testing.assert_allclose(prepared.mean((1, 2, 3)), images.mean((1, 2)), atol=1.5)


def test_the_same_size_changes_nothing():
    images = np.random.default_rng(0).integers(0, 256, (3, 48, 48), dtype=np.uint8)
    np.testing.assert_array_equal(network_input(images, 48)[..., 0], images)


def test_the_networks_input_is_interpolated():
    ramp = np.tile(np.arange(0, 96, 2, dtype=np.uint8), (1, 48, 1))
    prepared = network_input(ramp, 96)[0, 0, :, 0]
    np.testing.assert_allclose(prepared[2:-2], np.arange(96)[2:-2] - 0.5, atol=1e-3)


def test_pieces_fit_together():
    images = np.random.default_rng(0).integers(0, 256, (1030, 12, 12), dtype=np.uint8)
    prepared = network_input(images, 16)
    for start in (0, 1000, 1020, 1024):
        np.testing.assert_array_equal(
            prepared[start : start + 6], network_input(images[start : start + 6], 16)
        )


def test_no_images_are_no_images():
    assert network_input(np.empty((0, 48, 48), np.uint8), 64).shape == (0, 64, 64, 1)


# --- the numbers for those who do the same elsewhere ---


def vectors() -> list[dict]:
    """Return the test vectors with arrays in place of base64."""
    stored = read_json(ROOT / "tests" / "references" / "face_to_input.json")["vectors"]
    for vector in stored:
        vector["picture"] = Image.open(BytesIO(b64decode(vector["png"])))
        vector["grey"] = np.frombuffer(b64decode(vector["grey"]), np.uint8).reshape(48, 48)
        for size, values in vector["input"].items():
            array = np.frombuffer(b64decode(values), "<f4")
            vector["input"][size] = array.reshape(int(size), int(size))
    return stored


VECTORS = {vector["name"]: vector for vector in vectors()}


def luma(colour: np.ndarray) -> np.ndarray:
    """Return the grey values by ITU-R 601 of colours (height, width, 3) uint8, in whole numbers."""
    return (colour @ np.array([19595, 38470, 7471]) + (1 << 15)) >> 16


def triangle_weights(length: int, start: float, end: float) -> np.ndarray:
    """Return what each of `length` pixels adds to each of 48 between `start` and `end`: (48, length).

    Whole numbers, as Pillow takes them: of 2**-22.
    """
    scale = (end - start) / 48
    centre = start + (np.arange(48) + 0.5) * scale
    distance = (np.arange(length) + 0.5 - centre[:, np.newaxis]) / max(scale, 1)
    weights = np.maximum(1 - abs(distance), 0)
    return np.floor(weights / weights.sum(axis=1, keepdims=True) * 2**22 + 0.5).astype(int)


def interpolated(grey: np.ndarray, size: int) -> np.ndarray:
    """Return an image at another size: neighbours interpolated at the centres of pixels."""
    at = np.clip((np.arange(size) + 0.5) * len(grey) / size - 0.5, 0, len(grey) - 1)
    low = at.astype(int)
    high, share = np.minimum(low + 1, len(grey) - 1), at - low
    rows = grey[low] * (1 - share)[:, np.newaxis] + grey[high] * share[:, np.newaxis]
    return rows[:, low] * (1 - share) + rows[:, high] * share


def test_the_vectors_are_of_several_modes_and_sizes():
    assert {vector["picture"].mode for vector in VECTORS.values()} == {"RGB", "L"}
    assert sum(vector["box"] is not None for vector in VECTORS.values()) == 1
    assert len({vector["picture"].size for vector in VECTORS.values()}) == len(VECTORS) >= 5
    assert all(set(vector["input"]) == {"48", "64"} for vector in VECTORS.values())


@pytest.mark.parametrize("vector", VECTORS.values(), ids=VECTORS)
def test_the_vectors_are_what_this_package_computes(vector):
    if vector["box"] is None:
        grey, kind = decode_image(b64decode(vector["png"]), vector["name"])
        assert kind.endswith(AS_IT_SHOULD_BE) == (vector["name"] == "grey as it should be")
    else:
        grey, converted = to_face(vector["picture"], vector["box"])
        assert converted
    np.testing.assert_array_equal(grey, vector["grey"])
    for size, values in vector["input"].items():
        np.testing.assert_array_equal(network_input(grey[np.newaxis], int(size))[0, ..., 0], values)


@pytest.mark.parametrize("vector", VECTORS.values(), ids=VECTORS)
def test_the_vectors_follow_from_the_stated_rules(vector):
    """Computed here once more, with NumPy alone: the rules are enough to do the same in a browser."""
    values = np.asarray(vector["picture"])
    if values.ndim == 3:
        exact = values @ np.array([0.299, 0.587, 0.114])
        values = luma(values)
        assert abs(values - exact).max() < 0.51
    left, top, right, bottom = vector["box"] or (0, 0, *vector["picture"].size)
    height, width = values.shape
    for weights in (triangle_weights(width, left, right), triangle_weights(height, top, bottom)):
        values = (values @ weights.T + 2**21 >> 22).T  # across, then along, each rounded to 8 bits
    np.testing.assert_array_equal(values, vector["grey"])
    for size, expected in vector["input"].items():
        np.testing.assert_allclose(interpolated(vector["grey"], int(size)), expected, atol=1e-4)
