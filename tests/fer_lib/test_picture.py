"""From a picture to the network's input: by the stated rule, and refused where it is none."""

import numpy as np
from asserting import refusal
from made import draw_face, encoded
from PIL import Image

from fer_lib.data.picture import decode_image


def test_conversion_by_the_stated_rule():
    grey = draw_face("happy", 0)
    image = Image.fromarray(grey)
    plain, converted = decode_image(encoded(image), "x")
    assert np.array_equal(plain, grey) and not converted
    for other in (image.convert("RGB"), image.convert("RGBA"), image.convert("P"), image.convert("LA")):
        pixels, converted = decode_image(encoded(other), "x")
        assert converted and np.array_equal(pixels, grey), other.mode
    sixteen = Image.fromarray(grey.astype(np.uint16) * 257)
    assert np.array_equal(decode_image(encoded(sixteen), "x")[0], grey)
    assert decode_image(encoded(Image.new("1", (48, 48), 1)), "x")[0].tolist() == [[255] * 48] * 48
    large, converted = decode_image(encoded(image.resize((96, 96), Image.Resampling.NEAREST), "JPEG"), "x")
    assert converted and abs(large.astype(int) - grey).mean() < 12
    assert decode_image(encoded(image.convert("CMYK"), "JPEG"), "x")[0].shape == (48, 48)


def test_a_truncated_jpeg_is_refused_wherever_it_was_cut():
    whole = encoded(Image.fromarray(draw_face("happy", 1)), "JPEG")
    for length in range(len(whole) - 2):  # without the end marker alone, every pixel is still there
        refusal(decode_image, whole[:length], "x.jpg")
