"""From a picture to the network's input, in one place: grey, crop, 48x48 pixels, then the network's size.

Training, evaluation and prediction come here; who has to do the same elsewhere, in a browser for example,
finds pictures and the right numbers for them in `tests/references/face_to_input.json`.
"""

import io
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from fer_lib import tensorflow_import
from fer_lib.files import UsageError

SIDE = 48  # pixels
MAX_SIDE = 4096  # pixels; no photograph of one face needs more
MAX_BYTES = 64 << 20  # of one image file


def decode_image(content: bytes, where: str) -> tuple[np.ndarray, bool]:
    """Decode one JPEG, PNG or BMP image.

    Returns
    -------
    (48, 48) uint8, and whether the image had to be converted; see `to_face`.

    Raises
    ------
    UsageError
        If it is empty, damaged, not an image or absurdly large; names `where`.
    """
    if not content:
        raise UsageError(f"{where}: an empty file (0 bytes); restore or remove it")
    if len(content) > MAX_BYTES:
        raise UsageError(
            f"{where}: larger than {MAX_BYTES >> 20} MiB; no image of a face needs that, remove it"
        )
    try:
        image = Image.open(io.BytesIO(content), formats=("JPEG", "PNG", "BMP"))
        if max(image.size) > MAX_SIDE:
            size = f"{image.width}x{image.height}"
            raise UsageError(
                f"{where}: {size} pixels, more than {MAX_SIDE} a side; scale it down or remove it"
            )
        image.load()
        return to_face(image)
    except UsageError:
        raise
    except UnidentifiedImageError as error:
        raise UsageError(f"{where}: not a JPEG, PNG or BMP image; restore or remove it") from error
    except Exception as error:  # Pillow raises anything from OSError to struct.error for a damaged file
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UsageError(f"{where}: a damaged image ({reason}); restore or remove it") from error


def to_face(
    image: Image.Image, box: tuple[float, float, float, float] | None = None
) -> tuple[np.ndarray, bool]:
    """Bring a picture to 48x48 8-bit grey.

    What is that already is taken as it is. Anything else is converted: colour to grey by ITU-R 601 luma
    (transparency is ignored), 16 bits to 8 by scaling, other sizes to 48x48 with bilinear interpolation (a
    pixel is the mean, weighted by a triangle, of all that it covers; the aspect is not kept).

    Parameters
    ----------
    image : PIL.Image.Image
        Loaded.
    box : (left, top, right, bottom), optional
        Of the face, in pixels; the whole picture, if not given.

    Returns
    -------
    (48, 48) uint8, and whether the image had to be converted.
    """
    if image.mode == "L" and image.size == (SIDE, SIDE) and box is None:
        return np.asarray(image), False
    if image.mode.startswith("I"):  # 16 bits: 65,535 is white
        image = Image.fromarray((np.asarray(image).clip(0, 65535) / 257 + 0.5).astype(np.uint8))
    elif image.mode != "L":
        image = image.convert("RGB").convert("L")
    if image.size != (SIDE, SIDE) or box is not None:
        image = image.resize((SIDE, SIDE), Image.Resampling.BILINEAR, box)
    return np.asarray(image), True


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
