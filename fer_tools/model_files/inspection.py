"""Look at somebody else's `.keras` file before Keras does: nothing of it is run, built or unpacked here.

Keras' safe mode refuses Python code in a file; not a zip bomb, a layer of a thousand million units, a layer
that reads other files (TFSMLayer, StringLookup), or links from HDF5 to elsewhere. So a model may consist
only of layers that a network for faces is made of, and its sizes have to be sane.
"""

import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from fer_lib.files import UsageError

MEMBERS = {"config.json", "metadata.json", "model.weights.h5"}
MEGABYTE = 2**20
LARGEST_FILE = 256 * MEGABYTE  # the assignment's network has 0.6
LARGEST_CONFIG = 4 * MEGABYTE
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
OTHERS = set(
    "Functional Sequential Model __keras_tensor__ __tuple__ DTypePolicy Policy Zeros Ones Constant "
    "RandomNormal RandomUniform TruncatedNormal VarianceScaling GlorotUniform GlorotNormal HeUniform "
    "HeNormal LecunUniform LecunNormal Orthogonal L1 L2 L1L2 MaxNorm NonNeg UnitNorm MinMaxNorm".split()
)
OURS = "fer_lib>"  # prefix of layers that fer_lib registers
OUR_MODULES = (None, "fer_lib.layers", "fer_lib.augmentation")  # all were in the first once


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
        if path.stat().st_size > LARGEST_FILE:
            raise refused(path, f"larger than {LARGEST_FILE // MEGABYTE} MB")
        with open(path, "rb") as handle:
            start = handle.read(8)
            handle.seek(0)
            if start == b"\x89HDF\r\n\x1a\n":
                _check_hdf5(path, handle, needs_config=True)
                return "hdf5"
            if start[:4] != b"PK\3\4":
                raise refused(path, "neither a zip archive nor HDF5")
            _check_archive(path, handle)
            return "keras"
    except UsageError:
        raise
    except (
        OSError,
        ValueError,
        RuntimeError,
        KeyError,
        EOFError,
        OverflowError,
        zipfile.BadZipFile,
    ) as error:
        # What zipfile, json and h5py raise at what they cannot read; RecursionError is a RuntimeError, and
        # JSON may say Infinity.
        raise refused(path, " ".join(str(error).split())[:200] or type(error).__name__) from error


def refused(path: str | Path, reason: str) -> UsageError:
    """Make the error for a file that is not opened."""
    return UsageError(f"{path}: not a model that can be opened safely ({reason})")


def _check_archive(path: Path, handle: BinaryIO) -> None:
    with zipfile.ZipFile(handle) as archive:
        members = archive.infolist()
        names = [member.filename for member in members]
        if sorted(names) != sorted(MEMBERS):
            foreign = ", ".join(repr(name[:60]) for name in names if name not in MEMBERS)
            raise refused(
                path, f"members {foreign or 'missing or twice'}; Keras writes {', '.join(sorted(MEMBERS))}"
            )
        for member in members:
            if member.flag_bits & 1 or member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise refused(path, f"{member.filename} is encrypted or packed in an unusual way")
            if member.compress_type == zipfile.ZIP_STORED and member.file_size != member.compress_size:
                raise refused(path, f"{member.filename} is not as long as it says")
            largest = LARGEST_FILE if member.filename.endswith(".h5") else LARGEST_CONFIG
            if member.file_size > largest:
                raise refused(
                    path, f"{member.filename} would be {member.file_size / MEGABYTE:,.0f} MB unpacked"
                )
            if member.file_size > MEGABYTE and member.file_size > 100 * member.compress_size:
                raise refused(path, f"{member.filename} is packed more than a hundredfold, a zip bomb")
        # zipfile reads no more than the declared size, and compares the checksum.
        _check_config(path, json.loads(archive.read("config.json")))
        metadata = json.loads(archive.read("metadata.json"))
        if not isinstance(metadata, dict) or not str(metadata.get("keras_version", "")).startswith("3."):
            raise refused(path, "metadata.json names no version 3 of Keras")
        _check_hdf5(path, io.BytesIO(archive.read("model.weights.h5")))


def _check_hdf5(path: Path, handle: BinaryIO, needs_config: bool = False) -> None:
    """Walk through the groups: hard links only, arrays of plain numbers inside the file, not too many."""
    import h5py

    with h5py.File(handle, "r") as file:
        if needs_config:
            config = file.attrs.get("model_config")
            if not isinstance(config, str | bytes) or len(config) > LARGEST_CONFIG:
                raise refused(path, "HDF5 without model_config; save the whole model, not its weights")
            _check_config(path, json.loads(config))
        waiting, values, count = [(file, 0)], 0, 0
        while waiting:
            group, depth = waiting.pop()
            for name in group:
                count += 1
                if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                    raise refused(path, f"{name[:60]!r} links out of its group")
                if depth > DEEPEST or count > 20_000:
                    raise refused(path, "too many or too deep groups")
                item = group[name]
                if isinstance(item, h5py.Group):
                    waiting.append((item, depth + 1))
                    continue
                if not isinstance(item, h5py.Dataset) or item.is_virtual or item.external:
                    raise refused(path, f"{name[:60]!r} is not an array inside the file")
                if item.dtype.kind not in "fiub" and item.shape != ():
                    raise refused(path, f"{name[:60]!r} is not an array of numbers")
                values += item.size or 0
        if values > MOST_VALUES:
            raise refused(path, f"{values:,} weights; at most {MOST_VALUES:,} are opened")


def _check_config(path: Path, config: Any) -> None:
    """Refuse layers that are not for faces, and sizes that would fill the memory before a weight is read."""
    if not isinstance(config, dict) or not isinstance(config.get("config"), dict):
        raise refused(path, "no configuration of a model")
    estimate = _Estimate()
    # What Keras would compile the model with is not used.
    for entry in entries({key: value for key, value in config.items() if key != "compile_config"}):
        name, own = entry["class_name"], entry.get("config")
        ours = _is_ours(entry)
        if not ours and not _is_of_keras(entry):
            raise refused(path, f"layer or object {str(name)[:60]!r} is not among those allowed here")
        if isinstance(own, dict) and (ours or name in LAYERS):
            estimate.add(name, _checked_sizes(path, name, own), _checked_shape(path, name, own))
            if estimate.is_absurd:
                raise refused(path, f"{name} makes it absurdly large")


def _is_ours(entry: dict[str, Any]) -> bool:
    """Return whether an object is called as one that fer_lib registers."""
    name = entry["class_name"]
    full = entry.get("registered_name") or name  # HDF5 has the full name alone
    if not isinstance(full, str) or not full.startswith(OURS):
        return False
    short = full.removeprefix(OURS)
    return short.isidentifier() and name in (full, short) and entry.get("module") in OUR_MODULES


def _is_of_keras(entry: dict[str, Any]) -> bool:
    """Return whether an object is one of Keras of which networks for faces are made."""
    name, module, registered = entry["class_name"], entry.get("module"), entry.get("registered_name")
    if not isinstance(name, str) or not (name in LAYERS or name in OTHERS) or registered not in (None, name):
        return False
    return module is None or (isinstance(module, str) and (module == "keras" or module.startswith("keras.")))


def _checked_sizes(path: Path, name: str, own: dict[str, Any]) -> dict[str, int]:
    """Return the sizes in a layer's configuration; refuse those beyond reason."""
    sizes = dict(_sizes(own))
    for key, size in sizes.items():
        if not 0 <= size <= MOST_VALUES:
            raise refused(path, f"{name} with {key} {size:,}")
    return sizes


def _checked_shape(path: Path, name: str, own: dict[str, Any]) -> list[int]:
    """Return the shape of a layer's input without the batch, 1 for an open size; empty if none is given."""
    shape = own.get("batch_shape") or own.get("batch_input_shape")
    if not shape:
        return []
    if not isinstance(shape, list) or not all(n is None or type(n) is int for n in shape):
        raise refused(path, f"{name} of shape {str(shape)[:60]}")
    return [n or 1 for n in shape[1:]] or [1]


class _Estimate:
    """How large a network is at least, layer by layer in the order of its configuration."""

    def __init__(self) -> None:
        self.side, self.channels, self.flat, self.weights = 1, 1, False, 0

    @property
    def is_absurd(self) -> bool:
        return self.weights > MOST_VALUES or self.side**2 * self.channels > MOST_VALUES

    def add(self, name: str, sizes: dict[str, int], shape: list[int]) -> None:
        """Take in a layer with its sizes, and the shape of its input where one is given."""
        if shape:
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


def entries(config: Any) -> Iterator[dict[str, Any]]:
    """Yield every object that a configuration names, in order."""
    waiting, count = [(config, 0)], 0
    while waiting:
        value, depth = waiting.pop()
        count += 1
        if depth > DEEPEST or count > 200_000:
            raise ValueError("its configuration is nested too deeply or too long")
        if isinstance(value, dict):
            if "class_name" in value:
                yield value
            waiting += [(inner, depth + 1) for inner in reversed(value.values())]
        elif isinstance(value, list):
            waiting += [(inner, depth + 1) for inner in reversed(value)]


SIZES = (
    "filters units depth_multiplier kernel_size pool_size strides height width target_shape padding groups "
    "output_dim dilation_rate cropping".split()
)


def _sizes(config: dict[str, Any]) -> Iterator[tuple[str, int]]:
    """Yield the largest whole number of each entry that is a size."""
    for key in SIZES:
        numbers, waiting = [], [config.get(key)]
        while waiting:
            value = waiting.pop()
            if isinstance(value, list):
                waiting += value
            elif isinstance(value, int | float) and not isinstance(value, bool):
                numbers.append(int(value))
        if numbers:
            # -1 in target_shape is "what is left".
            yield key, max(numbers) if key == "target_shape" else max(numbers, key=abs)
