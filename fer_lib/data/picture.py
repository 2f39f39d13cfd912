"""From a picture to the network's input, in one place: grey, crop, 48x48 pixels, then the network's size.

Training, evaluation and prediction come here; who has to do the same elsewhere, in a browser for example,
finds pictures and the right numbers for them in `tests/references/face_to_input.json`.
"""

import io
import warnings
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from fer_lib import tensorflow_import
from fer_lib.files import UsageError

SIDE = 48  # pixels
AS_IT_SHOULD_BE = f" {SIDE}x{SIDE} L"  # what stands after the format, where nothing had to be converted
MAX_BYTES = 64 << 20  # of one image file
FORMATS = ("JPEG", "PNG", "BMP")
SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp")
FULL_PIXELS = 4096**2  # of a picture decoded at its full size; a larger JPEG is scaled down meanwhile
JPEG_PIXELS = (10 * FULL_PIXELS, 4 * FULL_PIXELS)  # of one scan, of several: all coefficients are kept then
MOST_SCANNED = 2 * 10**10  # pixels times scans, of a JPEG: some eleven seconds of processor
ORIENTATION = 0x0112  # tag of EXIF: how the camera was held
# Bits of grey values that 16 bits hold: by the largest value, from where it tells the white that was meant.
DEPTHS = {8: (0, 255), 12: (1024, 4095), 16: (16384, 65535)}


def decode_image(content: bytes, where: str, square: bool = False) -> tuple[np.ndarray, str]:
    """Decode one image of a face; see `decode_picture`, and `to_face`, which brings it to 48x48 grey.

    With `square`, the largest square in its middle is taken, so that the aspect is kept: half of what is too
    much is cut off at either end.

    Returns
    -------
    (48, 48) uint8, and what the file holds.
    """
    picture, said = decode_picture(content, where)
    x, y = ((side - min(picture.size)) / 2 for side in picture.size)
    return to_face(picture, (x, y, picture.width - x, picture.height - y) if square else None)[0], said


def decode_picture(content: bytes, where: str) -> tuple[Image.Image, str]:
    """Decode one JPEG, PNG or BMP image, and turn it upright where it says how it lies (EXIF orientation).

    Returns
    -------
    Picture of 8 bits, in grey or RGB, and what the file holds: format, size and mode, and "turned" if it was,
    as in "JPEG 48x48 L", "PNG 640x480 RGB turned", "PNG 48x48 I;16/12" (12 bits in 16).

    Raises
    ------
    UsageError
        If it is empty, damaged, not an image, absurdly large or of unclear depth; names `where`.
    """
    try:
        if not content:
            raise UsageError("an empty file (0 bytes); restore or remove it")
        if len(content) > MAX_BYTES:
            raise UsageError(f"larger than {MAX_BYTES >> 20} MiB; no image of a face needs that, remove it")
        with warnings.catch_warnings(action="ignore"):  # Pillow's, of what it passes over in a file
            return _decode(content)
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from None
    except Image.DecompressionBombError as error:
        raise UsageError(f"{where}: more pixels than any photograph has; scale it down") from error
    except UnidentifiedImageError as error:
        raise UsageError(f"{where}: not a JPEG, PNG or BMP image; restore, convert or remove it") from error
    except Exception as error:  # Pillow raises anything from OSError to struct.error for a damaged file
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UsageError(f"{where}: a damaged image ({reason}); restore or remove it") from error


def _decode(content: bytes) -> tuple[Image.Image, str]:
    image = Image.open(io.BytesIO(content), formats=FORMATS)
    said = [image.format, f"{image.width}x{image.height}", image.mode]
    deep = ";16" in str(image.tile[:1])  # what Pillow makes of it may have 8 bits
    _scale_while_decoding(image, content)
    image.load()
    try:
        turned = image.getexif().get(ORIENTATION) in range(2, 9)
    except Exception:  # whatever is wrong with it, it is as if it were not there
        turned = False
    if turned:
        image.info.clear()  # what has been read of it is known; the rest would be written anew, if it can be
        image, said = ImageOps.exif_transpose(image), [*said, "turned"]
    if deep:
        image, bits = _eight_bits(image)
        said[2] = f"{said[2].partition(';')[0]};16/{bits}"
    return image if image.mode == "L" else image.convert("RGB"), " ".join(said)


def _scale_while_decoding(image: Image.Image, content: bytes) -> None:
    """Bound what decoding takes, of memory and of time: a large JPEG is scaled down by 2 or 4 meanwhile."""
    pixels, limit = image.width * image.height, FULL_PIXELS
    if jpeg := image.format not in ("PNG", "BMP"):  # it may be MPO, of several JPEGs
        mark = b"\xff\xda"  # start of a scan; other segments may hold whole pictures
        scans = content.count(mark) - sum(segment.count(mark) for _, segment in image.applist)
        limit = min(JPEG_PIXELS[scans > 1], MOST_SCANNED // max(scans, 1))
    if pixels > limit:
        size = f"{image.width}x{image.height} pixels"
        raise UsageError(f"{size}, more than the {limit / 1e6:.1f} million that it may have; scale it down")
    if jpeg and pixels > FULL_PIXELS:
        factor = 2 if pixels <= 4 * FULL_PIXELS else 4
        image.draft(None, (image.width // factor, image.height // factor))


def _eight_bits(image: Image.Image) -> tuple[Image.Image, int]:
    """Scale 16 bits to 8 by the depth that is used, and return that, too.

    Values of 8, 12 or 16 bits are told apart by their maximum. Where a dark image of more bits may have the
    same, there is no telling. Of colours Pillow has already dropped the lower 8 bits.
    """
    values = np.asarray(image)
    grey = values.dtype != np.uint8
    most = int(values.max()) if grey else 257 * int(np.asarray(image.convert("RGB")).max())
    for bits, (least, white) in DEPTHS.items():
        if least <= most <= white and (grey or bits == 16):
            return Image.fromarray((values * (255 / white) + 0.5).astype(np.uint8)) if grey else image, bits
    raise UsageError(f"16 bits that hold values up to {most:,}: of how many bits? save it with 8")


def to_face(
    image: Image.Image, box: tuple[float, float, float, float] | None = None
) -> tuple[np.ndarray, bool]:
    """Bring a picture to 48x48 8-bit grey.

    What is that already is taken as it is. Anything else is converted: colour to grey by ITU-R 601 luma
    (transparency is ignored), other sizes to 48x48 with bilinear interpolation (a pixel is the mean, weighted
    by a triangle, of all that it covers; the aspect is not kept).

    Parameters
    ----------
    image : PIL.Image.Image
        Loaded, of 8 bits.
    box : (left, top, right, bottom), optional
        Of the face, in pixels; the whole picture, if not given.

    Returns
    -------
    (48, 48) uint8, and whether the image had to be converted.
    """
    other = image.mode != "L" or image.size != (SIDE, SIDE) or box is not None
    if image.mode != "L":
        image = image.convert("RGB").convert("L")
    if other:
        image = image.resize((SIDE, SIDE), Image.Resampling.BILINEAR, box)
    return np.asarray(image), other


def resized(images: Any, size: int) -> Any:
    """Resize faces (n, height, width) to (n, size, size, 1) float32, bilinearly, as a tensor.

    Neighbours are interpolated at the centres of pixels, without smoothing. Values stay in [0, 255]: scaling
    is the network's own first layer, so that a saved model takes photographs.
    """
    import tensorflow as tf

    return tf.image.resize(images[..., tf.newaxis], (size, size))


def network_input(images: np.ndarray, size: int) -> np.ndarray:
    """Bring faces to the network's input; see `resized`.

    Parameters
    ----------
    images : ndarray of uint8, shape (n, height, width)
        Grey images.
    size : int
        Height and width (pixels) of the input.

    Returns
    -------
    ndarray of float32, shape (n, size, size, 1)
    """
    tensorflow_import.import_tensorflow()
    prepared = np.empty((len(images), size, size, 1), np.float32)
    for start in range(0, len(images), 1024):  # in pieces: a whole set at once would be held twice over
        prepared[start : start + 1024] = resized(images[start : start + 1024], size).numpy()
    return prepared
