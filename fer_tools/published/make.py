"""Write the digests of FER2013's images: `python -m fer_tools.published.make FOLDER`."""

import sys
from pathlib import Path

import numpy as np

from fer_lib.data import load
from fer_lib.data.readers.source import FER2013_CLASSES, PART_OF, ImageFiles, files_digest
from fer_lib.files import UsageError, atomic_path, read_json
from fer_tools.published import images as published_images
from fer_tools.published import verdict as published


def write(data: load.Data, path: str | Path = published_images.IMAGES) -> None:
    """Write the digests of the images of every usage that is there, as `published.judge` reads them.

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
    source = load.resolve(data)
    if not isinstance(source, ImageFiles):
        raise UsageError(f"{source.path}: holds no image files; give the image folder msambare/fer2013")
    arrays: dict[str, np.ndarray] = {}
    for usage, classes in read_json(published.DIGESTS).items():
        groups = [
            [item for item in source.hashes(PART_OF[usage], label) if item[0].startswith(f"{usage}_")]
            for label in FER2013_CLASSES
        ]
        if not any(groups):
            continue
        for label, group in zip(FER2013_CLASSES, groups, strict=True):
            if files_digest(f"{file} {sha256}\n" for file, sha256 in group) != classes[label]["sha256"]:
                raise UsageError(f"{source.path}: {usage} {label} is not as published; see `fer data verify`")
            group[:] = sorted((int(Path(file).stem.partition("_")[2]), sha256) for file, sha256 in group)
        images = [image for group in groups for image in group]
        prefixes = b"".join(bytes.fromhex(sha256)[: published_images.PREFIX] for _, sha256 in images)
        arrays[f"{usage}_counts"] = np.array([len(group) for group in groups], "<u2")
        arrays[f"{usage}_ids"] = np.array([number for number, _ in images], "<u4")
        arrays[f"{usage}_sha256"] = np.frombuffer(prefixes, np.uint8).reshape(-1, published_images.PREFIX)
    if not arrays:
        raise UsageError(f"{source.path}: no image has a name of FER2013; give the folder msambare/fer2013")
    with atomic_path(path) as temporary:
        np.savez(temporary, **arrays)


if __name__ == "__main__":
    try:
        write(*sys.argv[1:])
    except UsageError as error:
        sys.exit(f"make: {error}")
