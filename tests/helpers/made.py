"""Made-up faces: cartoon expressions, as an image folder, a zip of it, a CSV, and as bare numbers."""

import contextlib
import csv
import os
import socket
import zipfile
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from PIL import Image

from fer_lib.data.faces import DEFAULT_CLASSES, FaceDataset
from fer_lib.data.readers.source import FER2013_CLASSES
from fer_lib.data.split import class_key

SMALL = dict.fromkeys(DEFAULT_CLASSES, 8)
OTHER = ("cat", "dog", "not amused", "äußerst müde", "面白い")  # classes that FER2013 does not have, in order


def draw_face(name: str, index: int, part: str = "train") -> np.ndarray:
    """Return a (48, 48) uint8 cartoon face: an expression a small network can learn, and no two alike.

    A class that FER2013 does not have has eyes and a mouth that its name decides on.
    """
    key = class_key(name)
    rng = np.random.default_rng([key, index, len(part)])
    y, x = np.mgrid[:48, :48] - 23.5 + rng.uniform(-2, 2, (2, 1, 1))
    image = np.where((x / 17) ** 2 + (y / 22) ** 2 < 1, 170.0, 60.0)
    eye, bend = (2.2, 0.0) if name in FER2013_CLASSES else (1 + key % 6 / 2, (key // 6 % 7 - 3) / 40)
    eye = {"surprise": 3.5, "fear": 3.0, "sad": 1.5, "disgust": 1.2}.get(name, eye)
    image[(abs(abs(x) - 8) ** 2 / 9 + (y + 7) ** 2 / eye**2) < 1] = 30
    bend = {"happy": -0.08, "sad": 0.06, "angry": 0.03, "disgust": 0.1}.get(name, bend)  # corners up: < 0
    image[(abs(y - 11 - bend * x**2) < 1.6) & (abs(x) < 9)] = 40
    if name in ("surprise", "fear"):
        image[x**2 / (16 if name == "fear" else 25) + (y - 12) ** 2 / 49 < 1] = 20
    if name in ("angry", "disgust"):
        image[abs(y + 13 - 0.4 * abs(x)) < 1.2] = 40
    return (image * rng.uniform(0.8, 1.2) + rng.normal(0, 8, image.shape)).clip(0, 255).astype(np.uint8)


def make_folder(
    folder: Path,
    train: Mapping[str, int] = SMALL,
    test: Mapping[str, int] | None = None,
    suffix: str = ".jpg",
    test_name: str = "test",
) -> Path:
    """Write an image folder in Kaggle's layout and return it.

    `train` and `test` give the number of images by class (default for `test`: half of `train`). Names are
    `train/<class>/Training_<8 digits>.jpg` and `test/<class>/PublicTest_<8 digits>.jpg`, as in FER2013.
    """
    test = {name: (count + 1) // 2 for name, count in train.items()} if test is None else test
    for part, usage, counts in (("train", "Training", train), (test_name, "PublicTest", test)):
        for name, count in counts.items():
            target = folder / part / name
            target.mkdir(parents=True, exist_ok=True)
            for i in range(count):
                number = 10_000_000 + class_key(name) % 97 * 100_000 + i
                image = Image.fromarray(draw_face(name, i, usage))
                image.save(target / f"{usage}_{number}{suffix}", quality=95)
    return folder


def draw_dish(name: str, index: int, size: tuple[int, int] = (48, 48), mode: str = "L") -> Image.Image:
    """Return a picture of a dish: a cartoon face, grown to a size, in a mode."""
    return Image.fromarray(draw_face(name, index)).resize(size).convert(mode)


def make_dishes(folder: Path, **counts: int) -> Path:
    """Write `<class>/<image>` of dishes: colour photographs of unequal sizes, some RGBA."""
    for name, count in counts.items():
        (folder / name).mkdir(parents=True)
        for i in range(count):
            mode, suffix = (("RGB", "jpg"), ("RGBA", "png"))[i % 5 == 0]
            draw_dish(name, i, (60 + 7 * i % 40, 90), mode).save(folder / name / f"{i:03}.{suffix}")
    return folder


def make_csv(path: Path, folder: Path, layout: str = "icml") -> Path:
    """Write the images of a folder made by `make_folder` as `icml_face_data.csv` or `fer2013.csv`."""
    header = {"icml": ("emotion", " Usage", " pixels"), "fer2013": ("emotion", "pixels", "Usage")}[layout]
    with open(path, "w", newline="") as handle:
        writer = csv.DictWriter(handle, header)
        writer.writeheader()
        for file in sorted(folder.glob("*/*/*")):
            usage, pixels = file.stem.split("_")[0], np.asarray(Image.open(file)).ravel()
            emotion, text = FER2013_CLASSES.index(file.parent.name), " ".join(map(str, pixels))
            values = {"emotion": emotion, "usage": usage, "pixels": text}
            writer.writerow({column: values[column.strip().lower()] for column in header})
    return path


def zipped(folder: Path, target: Path, prefix: str = "") -> Path:
    """Write a zip of a folder, each name after `prefix`, and return it."""
    files = sorted(folder.rglob("*"), reverse=True)  # not in order of names; without the target itself
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in files:
            archive.write(file, prefix + file.relative_to(folder).as_posix())
    return target


def encoded(image: Image.Image, format_: str = "PNG") -> bytes:
    """Return the bytes of an image file."""
    handle = BytesIO()
    image.save(handle, format_)
    return handle.getvalue()


def random_faces(
    counts: list[int], classes: tuple[str, ...] = DEFAULT_CLASSES, variants: int = 10**9
) -> FaceDataset:
    """Return images of one random number each; few `variants` make many duplicates."""
    rng = np.random.default_rng(len(counts))
    n = sum(counts)
    images = np.zeros((n, 48, 48), np.uint8)
    images.reshape(n, -1)[:, :8] = rng.integers(0, variants, n).astype("<i8").view(np.uint8).reshape(n, 8)
    return FaceDataset(images, np.repeat(np.arange(len(counts)), counts), classes, np.arange(n).astype(str))


def put(path: Path, kind: str) -> None:
    """Put a pipe, socket, device, broken link, circle (a link to itself), folder or file under a name."""
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as opened, contextlib.chdir(path.parent):  # of 107 bytes at most
            opened.bind(path.name)
    elif kind == "folder":
        path.mkdir()
    elif kind == "file":
        path.write_bytes(b"")
    else:
        path.symlink_to({"device": "/dev/zero", "broken link": "nowhere", "circle": path.name}[kind])


class Variable:
    """What is needed of a variable of Keras."""

    def __init__(self, value: np.ndarray):
        self.value = np.asarray(value)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self.value

    def assign(self, value: np.ndarray) -> None:
        self.value = np.array(value)


def made_up_network(start: float = 0) -> SimpleNamespace:
    """Return a network of two weights whose optimizer counts its steps."""
    weights = [Variable(np.full((3, 4), start, np.float32)), Variable(np.full(4, start, np.float32))]
    optimizer = SimpleNamespace(variables=[Variable(np.int64(start))], build=lambda variables: None)
    return SimpleNamespace(weights=weights, trainable_variables=weights, optimizer=optimizer)
