"""A cache of decoded images: <stamp>.txt tells the digest of the content, <digest>.npz holds the images."""

import os
from pathlib import Path

import numpy as np
import PIL

from fer_lib.archives import read_arrays
from fer_lib.data.picture import SIDE
from fer_lib.data.readers.source import Group
from fer_lib.files import UsageError, atomic_path, read_regular, sha256_of, write_text

VERSION = "2"  # of how pictures are decoded
CACHE_BYTES = 4 << 30  # of decoded images kept on disk


def folder() -> Path:
    """Return the folder of the cache: FER_CACHE, or fer_lab in the user's cache."""
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(os.path.expanduser(os.environ.get("FER_CACHE") or f"{home}/fer_lab"))


def _note(stamp: str) -> Path:
    # Another Pillow may decode a JPEG to other pixels.
    return folder() / f"{sha256_of(VERSION, PIL.__version__, stamp)}.txt"


def known_digest(stamp: str) -> str | None:
    """Return the digest of unchanged content without reading it; None where it is not known."""
    try:
        text = read_regular(_note(stamp), 1000).decode("ascii").strip()
    except (UsageError, ValueError):
        return None
    return text if len(text) == 64 else None


def remember(stamp: str, digest: str) -> None:
    """Note the digest of the content that has a stamp."""
    try:
        write_text(_note(stamp), digest + "\n")
    except UsageError:  # a read-only or full disk: everything works without the cache
        pass


def _images_file(stamp: str, digest: str) -> Path:
    place = stamp.partition("\n")[0]
    return folder() / f"{sha256_of(VERSION, PIL.__version__, place, digest)}.npz"


def load(stamp: str) -> Group | None:
    """Return the images that have a stamp; None where they are not kept."""
    digest = known_digest(stamp)
    if digest is None:
        return None
    try:
        stored = read_arrays(_images_file(stamp, digest), CACHE_BYTES)
        images, names, kinds = stored["images"], stored["names"], stored["kinds"]
        shapes = images.shape == (len(names), SIDE, SIDE) and kinds.shape in (names.shape, (0,))
        if not shapes or [images.dtype, names.dtype.kind, kinds.dtype.kind] != [np.uint8, "U", "U"]:
            return None
    except Exception:  # whatever is wrong with a cache file, it can be made anew
        return None
    return Group(names, images, digest, kinds.tolist())


def keep(stamp: str, group: Group) -> None:
    """Keep images, and remove the oldest of all where they are too many."""
    path = _images_file(stamp, group.digest)
    try:
        with atomic_path(path) as temporary:
            np.savez(temporary, images=group.images, names=group.names, kinds=np.array(group.kinds, str))
        remember(stamp, group.digest)
        kept = sorted(path.parent.glob("*.npz"), key=lambda file: file.stat().st_mtime, reverse=True)
        total = 0
        for file in kept:
            total += file.stat().st_size
            if total > CACHE_BYTES and file != path:
                file.unlink()
    except (UsageError, OSError):  # as above; or another process tidied up first
        pass
