"""Readers of the layouts, a file each: an image folder, a zip of it, a CSV of pixels, the bundled faces.

Every reader gives, for one part ("train" or "test") and one class, a `Group`: names, 48x48 grey images and a
digest of the content. The order within a group never depends on the file system: images of folders and
archives are sorted by file name (code points), rows of a CSV keep their order, bundled faces that of index.
"""

import os
from pathlib import Path

from fer_lib.data.readers.archive import Archive
from fer_lib.data.readers.csv_file import Csv
from fer_lib.data.readers.folder import Folder
from fer_lib.data.readers.source import PART_NAMES, Source, parts_of
from fer_lib.files import UsageError

CSV_NAMES = ("icml_face_data.csv", "fer2013.csv")


def find(path: Path) -> Source | None:
    """Recognise what is there: a folder with `train`, else a CSV, a single archive, a folder with `test`.

    A pipe or a broken link of such a name is refused when it is opened, not passed over.
    """
    if not path.is_dir():
        return {".csv": Csv, ".zip": Archive}.get(path.suffix.lower(), lambda _: None)(path)
    try:
        there = [name for name in os.listdir(path) if name.lower() in PART_NAMES]
        parts = parts_of(name for name in there if (path / name).is_dir())
        if "train" in parts:
            return Folder(path)
        for name in CSV_NAMES:
            if os.path.lexists(path / name) and not (path / name).is_dir():
                return Csv(path / name)
        archives = sorted(file for file in path.glob("*.zip") if not file.is_dir())
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from error
    if len(archives) > 1:
        raise UsageError(f"{path}: holds {len(archives)} archives; name one, such as {archives[0]}")
    if archives:
        return Archive(archives[0])
    return Folder(path) if parts else None
