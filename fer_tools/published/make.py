"""Write the digests of FER2013's images: `python -m fer_tools.published.make FOLDER`."""

import sys
from pathlib import Path

import numpy as np

from fer_lib.data.load import Data, resolve
from fer_lib.data.readers.source import FER2013_CLASSES, PART_OF, ImageFiles
from fer_lib.files import UsageError, atomic_path
from fer_tools.published.images import IMAGES, PREFIX, Image
from fer_tools.published.verdict import files_of, read_digests, whole_groups


def write(data: Data, path: str | Path = IMAGES) -> None:
    """Write the digests of the images of every usage that is there, as `verdict.judge` reads them.

    They are arrays: `<usage>_counts` (7,), images by class; `<usage>_ids` (n,), the numbers in their names,
    by class and ascending; `<usage>_sha256` (n, 8), the first bytes of the SHA-256 of their files. Equal
    images give equal bytes: the archive's entries have a fixed date and are not compressed, as zlibs differ.

    Parameters
    ----------
    data : str, Path or Source
        An image folder, or a zip of one.
    path : str or Path
        The npz file to write.

    Raises
    ------
    UsageError
        If a class is not as published, by the digest of the whole class, or no image has a published name.
    """
    source = resolve(data)
    if not isinstance(source, ImageFiles):
        raise UsageError(f"{source.path}: holds no image files; give the image folder msambare/fer2013")
    found = [file for file in files_of(source) if file.in_its_part and file.label in FER2013_CLASSES]
    if not found:
        raise UsageError(f"{source.path}: no image has a name of FER2013; give the folder msambare/fer2013")
    published, usages = read_digests(), {file.usage for file in found}
    whole = whole_groups(found, published)
    for usage, label in published:
        if usage in usages and (usage, label) not in whole:
            raise UsageError(f"{source.path}: {usage} {label} is not as published; see `fer data verify`")
    arrays: dict[str, np.ndarray] = {}
    for usage in filter(usages.__contains__, PART_OF):
        ordered = sorted(_class_number_digest(file) for file in found if file.usage == usage)
        labels, numbers, digests = zip(*ordered, strict=True)
        prefixes = bytes.fromhex("".join(digest[: 2 * PREFIX] for digest in digests))
        arrays[f"{usage}_counts"] = np.bincount(labels, minlength=len(FER2013_CLASSES)).astype("<u2")
        arrays[f"{usage}_ids"] = np.array(numbers, "<u4")
        arrays[f"{usage}_sha256"] = np.frombuffer(prefixes, np.uint8).reshape(-1, PREFIX)
    with atomic_path(path) as temporary:
        np.savez(temporary, **arrays)


def _class_number_digest(file: Image) -> tuple[int, int, str]:
    return FER2013_CLASSES.index(file.label), int(file.stem.partition("_")[2]), file.sha256


if __name__ == "__main__":
    try:
        write(*sys.argv[1:])
    except UsageError as error:
        sys.exit(f"make: {error}")
