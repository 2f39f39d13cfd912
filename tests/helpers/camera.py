"""Rendered faces in pictures as a camera takes them, and films of these."""

import io
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from faces import dataset
from fer_lib.files import ROOT

WIDTH, HEIGHT = 640, 480
EXPRESSIONS = ("neutral", "happy", "surprise")
COLOURS = ((0, 0, 255), (0, 255, 0), (255, 0, 0))  # of the corner, which says what is shown
NETWORK = ROOT / "game" / "networks" / "network.onnx"


@lru_cache
def bundled() -> tuple[np.ndarray, np.ndarray]:
    """Return the bundled test faces (n, 48, 48) and their labels, 0 to 2 as in EXPRESSIONS."""
    with Image.open(dataset.BUNDLED / "test.png") as sheet:
        images = dataset.from_sheet(np.asarray(sheet), 1500)
    rows = (dataset.BUNDLED / "factors.csv").read_text().splitlines()
    columns = rows[0].split(",")
    cells = [row.split(",") for row in rows[1:]]
    names = [row[columns.index("label")] for row in cells if row[columns.index("split")] == "test"]
    return images, np.array([EXPRESSIONS.index(name) for name in names])


@lru_cache
def answers() -> np.ndarray:
    """Return what the committed network says of the bundled test faces, by Python's runtime."""
    import onnxruntime

    session = onnxruntime.InferenceSession(NETWORK, providers=["CPUExecutionProvider"])
    faces = bundled()[0][..., np.newaxis].astype(np.float32)
    return np.concatenate([session.run(None, {"face": face[np.newaxis]})[0] for face in faces])


def clear(expression: int, number: int = 0) -> np.ndarray:
    """Return a face of which the committed network is sure, and rightly so."""
    images, labels = bundled()
    return images[np.flatnonzero((labels == expression) & (answers()[:, expression] > 0.85))[number]]


@lru_cache
def _wall(seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(40, 200, (HEIGHT // 16, WIDTH // 16)).astype(np.uint8)
    return np.asarray(Image.fromarray(noise).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC))


def frame(
    *faces: tuple[np.ndarray, float, float, float, float], corner: int | None = None, wall: int = 0
) -> np.ndarray:
    """Return a picture (480, 640, 3) with faces, each (image, size, x, y, degrees clockwise) in pixels."""
    picture = _wall(wall).copy()
    for number, (face, size, x, y, angle) in enumerate(faces):
        around = Image.fromarray(np.pad(face, 48, "edge")).filter(ImageFilter.GaussianBlur(6))
        around.paste(Image.fromarray(face), (48, 48))
        k, a = 48 / size, np.deg2rad(angle)
        cos, sin = k * np.cos(a), k * np.sin(a)
        back = (cos, sin, 72 - cos * x - sin * y, -sin, cos, 72 + sin * x - cos * y)
        args = ((WIDTH, HEIGHT), Image.Transform.AFFINE, back)
        pasted = around.transform(*args, Image.Resampling.BICUBIC)
        mask = Image.new("L", around.size, 0 if number else 255)  # the first has the wall to itself
        mask.paste(255, (40, 40, 104, 104))
        mask = mask.transform(*args)
        picture = np.where(np.asarray(mask) > 127, np.asarray(pasted), picture)
    colour = np.repeat(picture[..., np.newaxis], 3, 2)
    if corner is not None:
        colour[:24, :24] = COLOURS[corner]
    return colour


def jpeg(picture: np.ndarray) -> bytes:
    """Return a picture as JPEG."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=92)
    return buffer.getvalue()


def film(path: Path, pictures: Iterable[np.ndarray]) -> Path:
    """Write a film of 30 pictures a second, as Chromium's fake camera shows it over and over."""
    path.write_bytes(b"".join(map(jpeg, pictures)))
    return path


def looks(order: Iterable[int], seconds: float, seed: int = 0, sure: float = 0.85) -> Iterable[np.ndarray]:
    """Yield the pictures of faces that each look so for some seconds, moving a little as people do."""
    rng = np.random.default_rng(seed)
    images, labels = bundled()
    for number, expression in enumerate(order):
        fit = np.flatnonzero((labels == expression) & (answers()[:, expression] > sure))
        face = images[rng.choice(fit)]
        size, tilt, x, y = (
            rng.uniform(150, 230),
            rng.uniform(-10, 10),
            rng.uniform(250, 390),
            rng.uniform(200, 280),
        )
        for k in range(round(30 * seconds)):
            moved = size * (1 + 0.02 * np.sin(k / 12)), x + 6 * np.sin(k / 15), y + 4 * np.cos(k / 17)
            yield frame((face, *moved, tilt + 2 * np.sin(k / 20)), corner=expression, wall=number)
