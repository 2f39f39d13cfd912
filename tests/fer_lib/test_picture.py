"""From a picture to the network's input: by the stated rule, and refused where it is none."""

import struct
import time
import warnings
import zlib
from base64 import b64decode
from io import BytesIO

import numpy as np
import pytest
from asserting import refusal
from made import draw_face, encoded
from PIL import Image

from fer_lib.data.picture import AS_IT_SHOULD_BE, decode_image, network_input, to_face
from fer_lib.files import ROOT
from fer_tools.json_files import read_json


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


# --- what a file says of its pixels ---

# How an upright picture lies in a file with each tag: EXIF 2.3, 4.6.4, by the side that its first row and
# column show, in NumPy's terms.
STORED = {
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: np.transpose,
    6: lambda a: np.rot90(a, 1),
    7: lambda a: np.rot90(np.transpose(a), 2),
    8: lambda a: np.rot90(a, 3),
}


def with_tag(values: np.ndarray, format_: str, tag: int | None, **options) -> bytes:
    """Return the bytes of an image file with an orientation, or without."""
    exif = Image.Exif()
    exif[0x0112] = tag
    handle = BytesIO()
    Image.fromarray(np.ascontiguousarray(values)).save(
        handle, format_, **options | ({"exif": exif} if tag else {})
    )
    return handle.getvalue()


@pytest.mark.parametrize("format_", ["PNG", "JPEG"])
@pytest.mark.parametrize("tag", STORED)
@pytest.mark.parametrize("shape", [(48, 48), (90, 60)])
def test_a_picture_is_turned_as_its_file_says(format_, tag, shape):
    upright = np.asarray(Image.fromarray(draw_face("happy", 2)).resize(shape[::-1]))
    options = {"quality": 100} if format_ == "JPEG" else {}
    expected, _ = decode_image(with_tag(upright, format_, None, **options), "x")
    content = with_tag(STORED[tag](upright), format_, tag, **options)
    found, kind = decode_image(content, "x")
    assert abs(found.astype(int) - expected).max() <= (3 if format_ == "JPEG" else 0)  # blocks lie otherwise
    assert kind.endswith(" turned") == (tag > 1)


def test_a_large_turned_jpeg_is_scaled_and_turned():
    upright = np.asarray(Image.fromarray(draw_face("happy", 2)).resize((4400, 4000)))
    expected, _ = decode_image(encoded(Image.fromarray(upright[:4000:2, ::2]), "JPEG"), "x")
    for tag in (5, 6, 8):
        found, kind = decode_image(with_tag(STORED[tag](upright), "JPEG", tag), "x")
        assert kind == "JPEG 4000x4400 L turned"
        assert abs(found.astype(int) - expected).max() <= 3


@pytest.mark.parametrize("tag", [9, 255, 65535])
def test_tags_that_do_not_exist_turn_nothing(tag):
    face = draw_face("sad", 1)
    assert np.array_equal(decode_image(with_tag(face, "PNG", tag), "x")[0], face)


def test_exif_that_cannot_be_read_is_as_none():
    face = Image.fromarray(draw_face("sad", 1))
    for exif in (
        b"Exif\0\0",
        b"Exif\0\0II*\0",
        b"Exif\0\0MM\0*\xff\xff\xff\xff",
        b"Exif\0\0" + b"\x12" * 99,
        b"x",
    ):
        for format_ in ("JPEG", "PNG"):
            plain = decode_image(encoded(face, format_), "x")
            handle = BytesIO()
            face.save(handle, format_, exif=exif)
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                found = decode_image(handle.getvalue(), "x")
            assert np.array_equal(found[0], plain[0]) and found[1] == plain[1]


# --- depth ---


@pytest.mark.parametrize(("bits", "most"), [(8, 255), (12, 4095), (16, 65535)])
def test_grey_values_in_16_bits_are_scaled_by_the_bits_that_are_used(bits, most):
    grey = draw_face("happy", 0)
    values = np.round(grey / 255 * most).astype(np.uint16)
    found, kind = decode_image(encoded(Image.fromarray(values)), "x")
    assert kind == f"PNG 48x48 I;16/{bits}"
    assert abs(found.astype(int) - grey).max() <= 1
    black, _ = decode_image(encoded(Image.fromarray(np.zeros((48, 48), np.uint16))), "x")
    assert not black.any()


@pytest.mark.parametrize("most", [300, 1023, 4096, 16383])
def test_a_depth_that_cannot_be_told_is_refused(most):
    values = np.round(draw_face("happy", 0) / 255.0 * most).astype(np.uint16)
    values[0, 0] = most
    message = refusal(decode_image, encoded(Image.fromarray(values)), "a.png")
    assert message.startswith("a.png: ") and f"values up to {most:,}" in message and "8" in message


def png_of_16_bit_colours(values: np.ndarray) -> bytes:
    """Return a PNG of (height, width, 3) uint16, which Pillow does not write, by the format's description."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    height, width, _ = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    head = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def test_colours_of_16_bits_of_which_pillow_drops_what_counts_are_refused():
    grey = draw_face("happy", 0)
    colours = np.repeat(grey[:, :, np.newaxis], 3, axis=2).astype(np.uint16)
    found, kind = decode_image(png_of_16_bit_colours(colours * 257), "x")
    assert kind == "PNG 48x48 RGB;16/16" and np.array_equal(found, grey)
    for factor in (1, 4, 16):
        assert "16 bits" in refusal(decode_image, png_of_16_bit_colours(colours * factor), "x")


# --- size ---


def test_a_large_jpeg_is_scaled_while_it_is_decoded():
    face = Image.fromarray(draw_face("surprise", 3))
    small, _ = decode_image(encoded(face.resize((600, 600)), "JPEG"), "x")
    large = encoded(face.resize((6000, 6000)), "JPEG")
    found, kind = decode_image(large, "x")
    assert kind == "JPEG 6000x6000 L" and abs(found.astype(int) - small).max() <= 3
    handle = BytesIO()
    face.resize((5000, 5000)).save(handle, "JPEG", progressive=True)
    assert abs(decode_image(handle.getvalue(), "x")[0].astype(int) - small).max() <= 3


def test_what_would_take_too_much_memory_is_refused_before():
    assert "16.8 million" in refusal(decode_image, encoded(Image.new("L", (4097, 4097))), "x")
    handle = BytesIO()
    Image.new("L", (8300, 8300)).save(handle, "JPEG", progressive=True)
    assert "67.1 million" in refusal(decode_image, handle.getvalue(), "x")
    assert "more pixels than any" in refusal(decode_image, encoded(Image.new("1", (20_000, 20_000))), "x")


def test_a_jpeg_of_scans_without_end_takes_no_time():
    """330 kilobytes that libjpeg would be at work on for a minute."""
    handle = BytesIO()
    Image.new("RGB", (4096, 4096), (9, 9, 200)).save(handle, "JPEG", progressive=True)
    content = handle.getvalue()
    last = content[content.rindex(b"\xff\xda") : -2]
    before = time.process_time()
    assert "scale it down" in refusal(decode_image, content[:-2] + last * 7000 + content[-2:], "x")
    assert time.process_time() - before < 1


def test_pillow_warns_of_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        palette = Image.fromarray(draw_face("sad", 1)).convert("P")
        handle = BytesIO()
        palette.save(handle, "PNG", transparency=bytes(range(200)))
        decode_image(handle.getvalue(), "x")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            large = encoded(Image.new("L", (9700, 9700)), "JPEG")  # of which Pillow warns as of a bomb
        decode_image(large, "x")


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
