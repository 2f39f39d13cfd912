"""Look at somebody else's `.keras` file before Keras does: nothing of it is run, built or unpacked here.

Keras' safe mode refuses Python code in a file; not a zip bomb, a layer of a thousand million units, a layer
that reads other files (TFSMLayer, StringLookup), or links from HDF5 to elsewhere. So a model may consist
only of layers that a network for faces is made of, and its sizes have to be sane.
"""

import io
import json
import math
import re
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from fer_lib.files import UsageError, open_regular
from fer_tools.model_files import configuration
from fer_tools.model_files.configuration import DEEPEST, MOST_VALUES, Refused, require

MEGABYTE = 2**20
LARGEST_FILE = 256 * MEGABYTE  # the assignment's network has 0.6
LARGEST_CONFIG = 2 * MEGABYTE  # that of DenseNet121 has 0.3
# And how long each may be unpacked.
MEMBERS = {"config.json": LARGEST_CONFIG, "metadata.json": LARGEST_CONFIG, "model.weights.h5": LARGEST_FILE}
MOST_OBJECTS = 20_000  # groups, arrays and attributes in HDF5
MOST_NAMES = 5_000  # of layers and weights, in lists
LARGEST_TEXTS = 64 * MEGABYTE  # of all of these
POINTER = "this is a pointer of Git LFS, not the model: run git lfs pull"
# What zipfile, json and h5py raise at what they cannot read; RecursionError is a RuntimeError, and JSON may
# say Infinity.
UNREADABLE = (
    OSError,
    ValueError,
    RuntimeError,
    LookupError,
    EOFError,
    OverflowError,
    MemoryError,
    TypeError,
    NotImplementedError,
    zipfile.BadZipFile,
    zlib.error,
)


@dataclass(frozen=True)
class Contents:
    """What a model file holds, once it was found harmless.

    Attributes
    ----------
    kind : str
        "keras 3 zip" or "keras 2 zip", the archives of Keras 3 and of 2.13 to 2.15, or "hdf5", the format of
        older ones, under whatever name.
    config : dict
        Of the model.
    values : int
        How many numbers its arrays hold.
    keras : str or None
        The version that wrote it.
    """

    kind: str
    config: dict[str, Any]
    values: int
    keras: str | None = None


def inspect(path: str | Path) -> str:
    """Make sure that a model file is harmless, as far as that can be seen without loading it.

    Parameters
    ----------
    path : path of a file.

    Returns
    -------
    str
        As `Contents.kind`.

    Raises
    ------
    UsageError
        In one line: no such file, too large, neither format, other members than Keras writes, a ratio of
        compression or sizes beyond reason, layers that a network for faces has no use for, or links out
        of the file.
    """
    with opened(path) as handle:
        return look(path, handle).kind


def opened(path: str | Path) -> BinaryIO:
    """Open a model file, as nothing but bytes.

    Raises
    ------
    UsageError
        If there is none, it is no regular file, or it is too large.
    """
    if not Path(path).exists() or Path(path).is_dir():
        raise UsageError(f"{path}: no such model; run 03_overfitting, which saves it")
    if Path(path).is_file() and Path(path).stat().st_size > LARGEST_FILE:
        raise refused(path, f"larger than {LARGEST_FILE // MEGABYTE} MB")
    return open_regular(path, LARGEST_FILE, follow=True)


def look(path: str | Path, handle: BinaryIO) -> Contents:
    """Look at an open model file, and return what it holds; see `inspect`. Messages call it `path`."""
    try:
        start = handle.read(8)
        handle.seek(0)
        if start == b"\x89HDF\r\n\x1a\n":
            return _checked_hdf5(handle)
        require(not start.startswith(b"version "), POINTER)
        require(start.startswith(b"PK\3\4"), "neither a zip archive nor HDF5")
        return _checked_archive(handle)
    except Refused as error:
        raise refused(path, str(error)) from error
    except UNREADABLE as error:
        raise refused(path, " ".join(str(error).split())[:200] or type(error).__name__) from error


def refused(path: str | Path, reason: str) -> UsageError:
    """Make the error for a file that is not opened."""
    return UsageError(f"{path}: not a model that can be opened safely ({reason})")


def _checked_archive(handle: BinaryIO) -> Contents:
    with zipfile.ZipFile(handle) as archive:
        names = [member.filename for member in archive.infolist()]
        foreign = ", ".join([repr(name[:60]) for name in names if name not in MEMBERS][:3])
        others = f"members {foreign or 'missing or twice'}; Keras writes {', '.join(sorted(MEMBERS))}"
        require(sorted(names) == sorted(MEMBERS), others)
        for member in archive.infolist():
            _check_member(member)
        config = json.loads(unpacked(archive, archive.getinfo("config.json")))
        metadata = json.loads(unpacked(archive, archive.getinfo("metadata.json")))
        version = metadata.get("keras_version") if isinstance(metadata, dict) else None
        version = _version(version)
        require(version is not None, "metadata.json names no version 2 or 3 of Keras")
        configuration.check(config, old=version[0] == "2")
        values = _checked_arrays(io.BytesIO(unpacked(archive, archive.getinfo("model.weights.h5"))))[1]
        return Contents(f"keras {version[0]} zip", config, values, version)


def unpacked(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    """Return a member of an archive: no more is unpacked than it declares; its checksum is compared."""
    with archive.open(member) as handle:  # ZipFile.read would unpack 2 GB of a member that declares less
        return handle.read(member.file_size)


def _version(said: Any) -> str | None:
    """Return a version of Keras, if it is one."""
    fine = isinstance(said, str) and re.fullmatch(r"[23](\.\w{1,10}){1,4}", said)
    return said if fine else None


def _check_member(member: zipfile.ZipInfo) -> None:
    name, size, packed = member.filename, member.file_size, member.compress_size
    stored = member.compress_type == zipfile.ZIP_STORED
    usual = (stored or member.compress_type == zipfile.ZIP_DEFLATED) and not member.flag_bits & 1
    require(usual, f"{name} is encrypted or packed in an unusual way")
    require(not stored or size == packed, f"{name} is not as long as it says")
    require(size <= MEMBERS[name], f"{name} would be {size / MEGABYTE:,.0f} MB unpacked")
    require(size <= max(MEGABYTE, 100 * packed), f"{name} is packed more than a hundredfold, a zip bomb")


def _checked_hdf5(handle: BinaryIO) -> Contents:
    attributes, values = _checked_arrays(handle)
    config = attributes.get("model_config")
    fine = isinstance(config, str | bytes) and len(config) <= LARGEST_CONFIG
    require(fine, "HDF5 without model_config; save the whole model, not its weights")
    config = json.loads(config)
    version = attributes.get("keras_version")
    version = _version(version.decode("ascii", "replace") if isinstance(version, bytes) else version)
    configuration.check(config, old=not str(version).startswith("3"))
    return Contents("hdf5", config, values, version)


def _checked_arrays(handle: BinaryIO) -> tuple[dict[str, Any], int]:
    """Return what HDF5 says of the model, and how many numbers its arrays hold."""
    import h5py

    with h5py.File(handle, "r") as file:
        weights = _Weights(handle)
        weights.walk(file)
        attributes = {name: file.attrs.get(name) for name in ("model_config", "keras_version")}
        return attributes, weights.values


class _Weights:
    """A walk through the groups: hard links, arrays of plain numbers inside the file, not too many.

    HDF5 makes much of little: an array that is nowhere filled, one chunk that is larger than its array, a
    filter that unpacks to any length, a list of texts of which each is the same long one, a list of names
    that names one array often.
    """

    def __init__(self, handle: BinaryIO) -> None:
        self.values, self.objects, self.names, self.texts = 0, 0, 0, 0
        self.longest = _longest_text(handle)
        self.listed = 0  # values of the arrays that lists of names name
        self.packed = ""

    def walk(self, file: Any) -> None:
        """Look at all that is reached from a file.

        Raises
        ------
        Refused
            If any of it is not as it should be.
        """
        import h5py

        waiting = [(file, 0)]
        self._look_at_attributes(file)
        while waiting:
            group, depth = waiting.pop()
            for name in group:
                self._count(1)
                hard = isinstance(group.get(name, getlink=True), h5py.HardLink)
                require(hard, f"{name[:60]!r} links out of its group")
                require(depth <= DEEPEST, "too many or too deep groups")
                item = group[name]
                self._look_at_attributes(item)
                if isinstance(item, h5py.Group):
                    waiting.append((item, depth + 1))
                else:
                    self._look_at_array(name, item)
        for values in (self.values, self.listed):
            require(values <= MOST_VALUES, f"{values:,} weights; at most {MOST_VALUES:,} are opened")
        require(not self.packed, f"{self.packed!r} is packed within HDF5; save the model with Keras")

    def _count(self, more: int) -> None:
        self.objects += more
        require(self.objects <= MOST_OBJECTS, "too many or too deep groups")

    def _look_at_array(self, name: str, item: Any) -> None:
        import h5py

        inside = isinstance(item, h5py.Dataset) and not (item.is_virtual or item.external)
        require(inside, f"{name[:60]!r} is not an array inside the file")
        numbers = item.dtype.kind in "fiub" and item.dtype.itemsize <= 8
        require(numbers or item.shape == (), f"{name[:60]!r} is not an array of numbers")
        self.values += item.size or 0
        chunk = math.prod(item.chunks or (0,))
        if item.id.get_create_plist().get_nfilters() or chunk > max(item.size or 0, MEGABYTE):
            self.packed = name[:60]

    def _look_at_attributes(self, item: Any) -> None:
        import h5py

        count = h5py.h5a.get_num_attrs(item.id)
        self._count(count)
        for index in range(count):
            attribute = h5py.h5a.open(item.id, index=index)
            kind, size = attribute.dtype, math.prod(attribute.shape or ())
            listed = attribute.shape != () and kind.kind in "OSUV"
            self.names += size if listed else 0
            self.texts += size * (self.longest if kind.kind == "O" and listed else kind.itemsize)
        fine = self.names <= MOST_NAMES and self.texts <= LARGEST_TEXTS
        require(fine, "too many or too long names of layers or weights")
        if isinstance(item, h5py.Group):
            lists = [item.attrs[key] for key in item.attrs if key.startswith("weight_names")]
            for name in (name for each in lists for name in getattr(each, "flat", ())):
                self.listed += getattr(item.get(name), "size", 0) or 0


def _longest_text(handle: BinaryIO) -> int:
    """Return an upper bound of the length of a text of free length: they lie in heaps, which have a size."""
    handle.seek(0)
    content = handle.read()
    handle.seek(0)
    heaps = re.findall(rb"GCOL\x01\0\0\0(.{8})", content, re.DOTALL)
    return max((int.from_bytes(size, "little") for size in heaps), default=0)
