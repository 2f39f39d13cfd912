"""The committed data set: how it is stored, written, read and checked."""

import csv
import io
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as Pillow
from PIL import UnidentifiedImageError

from fer_lib.files import UsageError, atomic_path, sha256_of_file, write_text
from fer_tools.json_files import read_json, write_json

BUNDLED = Path(__file__).parent.parent / "data" / "bundled"
SIZE, COLUMNS = 48, 60
SPLITS = ("train", "test")
FACTORS = (
    *("split", "index", "label", "identity", "age", "gender", "african", "asian", "european"),
    *("yaw", "pitch", "roll", "intensity", "smile", "mouth_open", "brow_raise", "eye_wide", "brow_lower"),
    *("eye_closed", "teeth", "glasses", "hat", "hand", "beard", "hair", "light", "contrast", "seed"),
)


def to_sheet(images: np.ndarray) -> np.ndarray:
    """Sheet (rows * 48, 60 * 48) of images (n, 48, 48), row by row; unused tiles are black."""
    rows = -(-len(images) // COLUMNS)
    tiles = np.zeros((rows * COLUMNS, SIZE, SIZE), np.uint8)
    tiles[: len(images)] = images
    return tiles.reshape(rows, COLUMNS, SIZE, SIZE).swapaxes(1, 2).reshape(rows * SIZE, COLUMNS * SIZE)


def from_sheet(sheet: np.ndarray, count: int) -> np.ndarray:
    """Images (count, 48, 48) of a sheet; the opposite of `to_sheet`."""
    tiles = sheet.reshape(-1, SIZE, COLUMNS, SIZE).swapaxes(1, 2).reshape(-1, SIZE, SIZE)
    return np.ascontiguousarray(tiles[:count])


def factors_text(rows: list[dict[str, Any]]) -> str:
    """Factors table as CSV."""
    text = io.StringIO()
    writer = csv.DictWriter(text, FACTORS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def write(folder: Path, splits: dict[str, np.ndarray], factors: str, digests: dict[str, Any]) -> None:
    """Write the sheets of `splits`, the factors table, and `digests` completed with the files' SHA-256."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, images in splits.items():
        with atomic_path(folder / f"{split}.png") as temporary:
            Pillow.fromarray(to_sheet(images)).save(temporary, optimize=True)
    write_text(folder / "factors.csv", factors)
    names = sorted([f"{split}.png" for split in splits] + ["factors.csv"])
    write_json(
        folder / "digests.json", digests | {"files": {name: sha256_of_file(folder / name) for name in names}}
    )


def read_digests(folder: Path = BUNDLED) -> dict[str, Any]:
    """Contents of digests.json.

    Raises
    ------
    UsageError
        If it is missing or not of this format.
    """
    digests = read_json(folder / "digests.json")
    try:
        ok = all(
            isinstance(digests["splits"][s]["images"], int) and f"{s}.png" in digests["files"] for s in SPLITS
        )
    except (KeyError, TypeError):
        ok = False
    if not ok:
        raise UsageError(f"{folder / 'digests.json'}: not the digests of the bundled faces; restore the file")
    return digests


def _checked(folder: Path, name: str, digests: dict[str, Any]) -> Path:
    path = folder / name
    if not path.is_file():
        raise UsageError(
            f"{path}: missing; restore it or rebuild the set with `python -m faces.build --write`"
        )
    if sha256_of_file(path) != digests["files"][name]:
        raise UsageError(
            f"{path}: altered or cut short (its SHA-256 is not that in digests.json); restore it"
        )
    return path


def load(split: str, folder: Path = BUNDLED) -> tuple[np.ndarray, list[dict[str, str]]]:
    """Load a split.

    Returns
    -------
    images : (n, 48, 48) uint8
    factors : list of n dict
        Row of the factors table, as text.

    Raises
    ------
    UsageError
        If the split is unknown or a file is missing, altered or cut short.
    """
    if split not in SPLITS:
        raise UsageError(f"unknown split '{split}'; the bundled faces have {' and '.join(SPLITS)}")
    digests = read_digests(folder)
    path = _checked(folder, f"{split}.png", digests)
    try:
        sheet = np.asarray(Pillow.open(path))
        images = from_sheet(sheet, digests["splits"][split]["images"])
    except (OSError, ValueError, UnidentifiedImageError, zlib.error) as error:
        raise UsageError(f"{path}: not a sheet of 48x48 tiles ({error}); restore it") from error
    table = _checked(folder, "factors.csv", digests)
    with open(table, encoding="utf-8", newline="") as handle:
        rows = [row for row in csv.DictReader(handle) if row["split"] == split]
    if len(rows) != len(images):
        raise UsageError(f"{table}: {len(rows)} rows for {len(images)} {split} images; restore it")
    return images, rows
