"""Look at somebody else's `.keras` file before Keras does: nothing of it is run, built or unpacked here.

Keras' safe mode refuses Python code in a file; not a zip bomb, a layer of a thousand million units, a layer
that reads other files (TFSMLayer, StringLookup), or links from HDF5 to elsewhere. So a model may consist
only of layers that a network for faces is made of, and its sizes have to be sane.
"""

import io
import json
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from fer_lib.files import UsageError

MEGABYTE = 2**20
LARGEST_FILE = 256 * MEGABYTE  # the assignment's network has 0.6
LARGEST_CONFIG = 4 * MEGABYTE
# And how long each may be unpacked.
MEMBERS = {"config.json": LARGEST_CONFIG, "metadata.json": LARGEST_CONFIG, "model.weights.h5": LARGEST_FILE}
MOST_VALUES = 2**26  # of all weights, or of one image's feature maps: 256 MB as float32
DEEPEST = 60
# Layers whose configuration holds numbers and names of functions only, and what belongs to them.
LAYERS = set(
    "InputLayer Rescaling Normalization CenterCrop Resizing RandomFlip RandomRotation RandomZoom "
    "RandomTranslation RandomContrast RandomBrightness RandomCrop GaussianNoise GaussianDropout "
    "Conv2D DepthwiseConv2D SeparableConv2D BatchNormalization LayerNormalization GroupNormalization "
    "Activation ReLU LeakyReLU PReLU ELU Softmax MaxPooling2D AveragePooling2D GlobalAveragePooling2D "
    "GlobalMaxPooling2D Flatten Dense Dropout SpatialDropout2D Add Multiply Average Maximum "
    "Concatenate Reshape Permute ZeroPadding2D Cropping2D".split()
)
ALLOWED = LAYERS | set(
    "Functional Sequential Model __keras_tensor__ __tuple__ DTypePolicy Policy Zeros Ones Constant "
    "RandomNormal RandomUniform TruncatedNormal VarianceScaling GlorotUniform GlorotNormal HeUniform "
    "HeNormal LecunUniform LecunNormal Orthogonal L1 L2 L1L2 MaxNorm NonNeg UnitNorm MinMaxNorm".split()
)
SIZES = (
    "filters units depth_multiplier kernel_size pool_size strides height width target_shape padding groups "
    "output_dim dilation_rate cropping".split()
)
OURS = "fer_lib>"  # prefix of layers that fer_lib registers
OUR_MODULES = (None, "fer_lib.layers", "fer_lib.augmentation")  # all were in the first once
# What zipfile, json and h5py raise at what they cannot read; RecursionError is a RuntimeError, and JSON may
# say Infinity.
UNREADABLE = (OSError, ValueError, RuntimeError, KeyError, EOFError, OverflowError, zipfile.BadZipFile)


def inspect(path: str | Path) -> str:
    """Make sure that a model file is harmless, as far as that can be seen without loading it.

    Parameters
    ----------
    path : path of a file.

    Returns
    -------
    "keras", the zip archive of Keras 3, or "hdf5", the older format under whatever name.

    Raises
    ------
    UsageError
        In one line: no such file, too large, neither format, other members than Keras writes, a ratio of
        compression or sizes beyond reason, layers that a network for faces has no use for, or links out
        of the file.
    """
    path = Path(path)
    try:
        if not path.is_file():
            raise UsageError(f"{path}: no such model; run 03_overfitting, which saves it")
        _require(path.stat().st_size <= LARGEST_FILE, f"larger than {LARGEST_FILE // MEGABYTE} MB")
        with open(path, "rb") as handle:
            start = handle.peek()
            if start.startswith(b"\x89HDF\r\n\x1a\n"):
                _check_hdf5(handle, needs_config=True)
                return "hdf5"
            _require(start.startswith(b"PK\3\4"), "neither a zip archive nor HDF5")
            _check_archive(handle)
            return "keras"
    except _Refused as error:
        raise refused(path, str(error)) from error
    except (*UNREADABLE, zlib.error) as error:
        raise refused(path, " ".join(str(error).split())[:200] or type(error).__name__) from error


def refused(path: str | Path, reason: str) -> UsageError:
    """Make the error for a file that is not opened."""
    return UsageError(f"{path}: not a model that can be opened safely ({reason})")


class _Refused(Exception):
    """Why a file is not opened."""


def _require(fine: bool, otherwise: str) -> None:
    if not fine:
        raise _Refused(otherwise)


def _check_archive(handle: BinaryIO) -> None:
    with zipfile.ZipFile(handle) as archive:
        names = [member.filename for member in archive.infolist()]
        foreign = ", ".join(repr(name[:60]) for name in names if name not in MEMBERS)
        others = f"members {foreign or 'missing or twice'}; Keras writes {', '.join(sorted(MEMBERS))}"
        _require(sorted(names) == sorted(MEMBERS), others)
        for member in archive.infolist():
            _check_member(member)
        # zipfile reads no more than the declared size, and compares the checksum.
        _check_config(json.loads(archive.read("config.json")))
        metadata = json.loads(archive.read("metadata.json"))
        version = metadata.get("keras_version") if isinstance(metadata, dict) else None
        _require(str(version).startswith("3."), "metadata.json names no version 3 of Keras")
        _check_hdf5(io.BytesIO(archive.read("model.weights.h5")))


def _check_member(member: zipfile.ZipInfo) -> None:
    name, size, packed = member.filename, member.file_size, member.compress_size
    stored = member.compress_type == zipfile.ZIP_STORED
    usual = (stored or member.compress_type == zipfile.ZIP_DEFLATED) and not member.flag_bits & 1
    _require(usual, f"{name} is encrypted or packed in an unusual way")
    _require(not stored or size == packed, f"{name} is not as long as it says")
    _require(size <= MEMBERS[name], f"{name} would be {size / MEGABYTE:,.0f} MB unpacked")
    _require(size <= max(MEGABYTE, 100 * packed), f"{name} is packed more than a hundredfold, a zip bomb")


def _check_hdf5(handle: BinaryIO, needs_config: bool = False) -> None:
    """Walk through the groups: hard links only, arrays of plain numbers inside the file, not too many."""
    import h5py

    with h5py.File(handle, "r") as file:
        if needs_config:
            config = file.attrs.get("model_config")
            fine = isinstance(config, str | bytes) and len(config) <= LARGEST_CONFIG
            _require(fine, "HDF5 without model_config; save the whole model, not its weights")
            _check_config(json.loads(config))
        waiting, values, count = [(file, 0)], 0, 0
        while waiting:
            group, depth = waiting.pop()
            for name in group:
                count += 1
                hard = isinstance(group.get(name, getlink=True), h5py.HardLink)
                _require(hard, f"{name[:60]!r} links out of its group")
                _require(depth <= DEEPEST and count <= 20_000, "too many or too deep groups")
                item = group[name]
                if isinstance(item, h5py.Group):
                    waiting.append((item, depth + 1))
                    continue
                inside = isinstance(item, h5py.Dataset) and not (item.is_virtual or item.external)
                _require(inside, f"{name[:60]!r} is not an array inside the file")
                numbers = item.dtype.kind in "fiub" or item.shape == ()
                _require(numbers, f"{name[:60]!r} is not an array of numbers")
                values += item.size or 0
        _require(values <= MOST_VALUES, f"{values:,} weights; at most {MOST_VALUES:,} are opened")


def _check_config(config: Any) -> None:
    """Refuse layers that are not for faces, and sizes that would fill the memory before a weight is read."""
    is_model = isinstance(config, dict) and isinstance(config.get("config"), dict)
    _require(is_model, "no configuration of a model")
    estimate = _Estimate()
    # What Keras would compile the model with is not used.
    for entry in entries({key: value for key, value in config.items() if key != "compile_config"}):
        name, own, ours = entry["class_name"], entry.get("config"), _is_ours(entry)
        allowed = ours or _is_of_keras(entry)
        _require(allowed, f"layer or object {str(name)[:60]!r} is not among those allowed here")
        if isinstance(own, dict) and (ours or name in LAYERS):
            estimate.add(name, _checked_sizes(name, own), _checked_shape(name, own))


def _is_ours(entry: dict[str, Any]) -> bool:
    """Return whether an object is called as one that fer_lib registers."""
    name = entry["class_name"]
    full = str(entry.get("registered_name") or name)  # HDF5 has the full name alone
    short = full.removeprefix(OURS)
    named = full != short and short.isidentifier() and name in (full, short)
    return named and entry.get("module") in OUR_MODULES


def _is_of_keras(entry: dict[str, Any]) -> bool:
    """Return whether an object is one of Keras of which networks for faces are made."""
    name, module = entry["class_name"], entry.get("module")
    known = isinstance(name, str) and name in ALLOWED and entry.get("registered_name") in (None, name)
    return known and (module is None or (isinstance(module, str) and f"{module}.".startswith("keras.")))


def _checked_sizes(name: str, own: dict[str, Any]) -> dict[str, int]:
    """Return the largest whole number of each entry of a layer's configuration that is a size."""
    sizes = {}
    for key in SIZES:
        values = _walk(own.get(key), (list,))
        if numbers := [int(n) for n in values if isinstance(n, int | float) and not isinstance(n, bool)]:
            # -1 in target_shape is "what is left". Of two as large, 2 and -2, the last counts.
            sizes[key] = max(numbers) if key == "target_shape" else max(reversed(numbers), key=abs)
    for key, size in sizes.items():
        _require(0 <= size <= MOST_VALUES, f"{name} with {key} {size:,}")
    return sizes


def _checked_shape(name: str, own: dict[str, Any]) -> list[int]:
    """Return the shape of a layer's input without the batch, 1 for an open size; [1] if none is given."""
    shape = own.get("batch_shape") or own.get("batch_input_shape") or []
    fine = isinstance(shape, list) and all(n is None or type(n) is int for n in shape)
    _require(fine, f"{name} of shape {str(shape)[:60]}")
    return [n or 1 for n in shape[1:]] or [1]


class _Estimate:
    """How large a network is at least, layer by layer in the order of its configuration."""

    def __init__(self) -> None:
        self.side, self.channels, self.flat, self.weights = 1, 1, False, 0

    def add(self, name: str, sizes: dict[str, int], shape: list[int]) -> None:
        """Take in a layer with its sizes and the shape of its input."""
        self.channels = max(self.channels, shape[-1])
        grown = (sizes.get(key, 1) for key in ("height", "width", "target_shape", "padding"))
        self.side = max(self.side, *shape, *grown)
        width = max(sizes.get(key, 1) for key in ("filters", "units", "depth_multiplier"))
        self.flat = self.flat or name in ("Flatten", "Reshape")
        area = self.side**2 if self.flat else 1
        self.weights += sizes.get("kernel_size", 1) ** 2 * width * self.channels * area
        if not self.flat:
            self.side = max(1, self.side // max(1, sizes.get("strides", 1), sizes.get("pool_size", 1)))
        self.channels = max(self.channels, width)
        largest = max(self.weights, self.side**2 * self.channels)
        _require(largest <= MOST_VALUES, f"{name} makes it absurdly large")


def entries(config: Any) -> Iterator[dict[str, Any]]:
    """Yield every object that a configuration names, in order."""
    dicts = (value for value in _walk(config) if isinstance(value, dict))
    return (value for value in dicts if "class_name" in value)


def _walk(root: Any, within: tuple[type, ...] = (dict, list)) -> Iterator[Any]:
    """Yield a value of JSON and, in order, what is in it and in those of its values that are `within`."""
    waiting, count = [(root, 0)], 0
    while waiting:
        value, depth = waiting.pop()
        count += 1
        if depth > DEEPEST or count > 200_000:
            raise ValueError("its configuration is nested too deeply or too long")
        yield value
        if isinstance(value, within):
            inside = value.values() if isinstance(value, dict) else value
            waiting += [(inner, depth + 1) for inner in reversed(inside)]
