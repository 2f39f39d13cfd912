"""Make what the page of game/ takes from others, out of the packages in which they publish it.

python -m fer_tools.play.vendor mediapipe-0.10.21-cp311-cp311-manylinux_2_28_x86_64.whl \
    onnxruntime-web-1.30.0.tgz

Both come from the registries: `pip download --no-deps mediapipe==0.10.21` (later wheels have no networks),
`npm pack onnxruntime-web@1.30.0`. What is made of them is committed: setting up needs neither, nor node.
"""

import argparse
import gzip
import hashlib
import logging
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from fer_lib.files import UsageError, atomic_path
from fer_tools import paths, scratch
from fer_tools.model_files.export import IR, OPSET


def finder(content: bytes) -> bytes:
    """Convert the face finder from TFLite to ONNX; its weights of 16 bits become such of 32."""
    import onnx
    import tf2onnx

    logging.getLogger("tf2onnx").setLevel(logging.ERROR)
    with scratch.folder() as folder:
        path = folder / "finder.tflite"
        path.write_bytes(content)
        made, _ = tf2onnx.convert.from_tflite(str(path), opset=OPSET)
    made = onnx.helper.make_model(made.graph, opset_imports=made.opset_import, producer_name="fer_lab")
    made.ir_version = IR
    made.doc_string = "BlazeFace, short range. Apache-2.0, The MediaPipe Authors. Converted from TFLite."
    onnx.checker.check_model(made, full_check=True)
    return made.SerializeToString(deterministic=True)


def _packed(content: bytes) -> bytes:
    """Pack a file, so that it is small wherever the page lies; the page unpacks it."""
    return gzip.compress(content, 9, mtime=0)


def _same(content: bytes) -> bytes:
    return content


# File of a package, its SHA-256, what is made of it in game/, and how.
TAKEN: tuple[tuple[str, str, str, Callable[[bytes], bytes]], ...] = (
    (
        "mediapipe/modules/face_detection/face_detection_short_range.tflite",
        "bbff11cebd1eb27a1e004cae0b0e63ec8c551cbf34a4451148b4908b8db3eca8",
        "networks/finder.onnx",
        finder,
    ),
    (
        "mediapipe-0.10.21.dist-info/LICENSE",
        "8707eef0533987efc5b155d64761eeb6e20793f50b9bd1a68dad1cf4719d0ed8",
        "networks/LICENSE.finder",
        _same,
    ),
    (
        "package/dist/ort.wasm.bundle.min.mjs",
        "11e64bd8ffe11bd1a2a2f0d6275fdfbbba7262f0b76b99b53d228a8a22ef3d90",
        "runtime/ort.js",
        _same,
    ),
    (
        "package/dist/ort-wasm-simd-threaded.wasm",
        "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
        "runtime/ort.wasm.gzip",
        _packed,
    ),
)


def make(packages: list[Path], game: Path) -> None:
    """Write the files of `TAKEN` below a folder.

    Raises
    ------
    UsageError
        If a package lacks one, or it is not the one that is meant.
    """
    held = {}
    for package in packages:
        if package.suffix == ".whl":
            with zipfile.ZipFile(package) as archive:
                names = set(archive.namelist())
                held |= {name: archive.read(name) for name, *_ in TAKEN if name in names}
        else:
            with tarfile.open(package) as archive:
                names = set(archive.getnames())
                held |= {name: archive.extractfile(name).read() for name, *_ in TAKEN if name in names}
    for name, digest, target, made in TAKEN:
        if hashlib.sha256(held.get(name, b"")).hexdigest() != digest:
            what = "another one than is meant" if name in held else "in none of the packages"
            raise UsageError(f"{name}: {what}; download those that this module names")
        with atomic_path(game / target) as temporary:
            temporary.write_bytes(made(held[name]))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("packages", nargs=2, type=Path, metavar="PACKAGE")
    make(parser.parse_args().packages, paths.checkout("the game") / "game")
