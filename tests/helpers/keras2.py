"""What Keras 2 says of files that it wrote, for tests that have Keras 3 only.

Made with tf_keras 2.21, Keras 2 as it goes on, in an environment of its own:

    uv venv OTHER; uv pip install --python OTHER/bin/python tf_keras==2.21
    OTHER/bin/python tests/helpers/keras2.py [FOLDER OF MODELS OF STUDENTS]

It writes tests/references/keras2_nested.keras, the same as .h5, and keras2_says.json: the answers to `image`.
"""

import io
import json
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np

REFERENCES = Path(__file__).parents[1] / "references"
NESTED = {kind: REFERENCES / f"keras2_nested.{kind}" for kind in ("keras", "h5")}
SAYS = REFERENCES / "keras2_says.json"
# What Keras 2.21 calls the groups that other versions, or Windows, called otherwise.
CONTIGUOUS = {"conv2d_2": "conv2d_1", "conv2d_4": "conv2d_2", "dense_2": "dense_1", "dense_4": "dense_2"}
RENAMED = {"model_04": {}, "model_05": CONTIGUOUS}


def image(height: int, width: int, channels: int) -> np.ndarray:
    """Return a picture of a wave, (1, height, width, channels) float32, from 27 to 237."""
    y, x = np.mgrid[:height, :width]
    wave = 127.5 + 100 * np.sin(x / 7 + y / 11)
    return (wave[np.newaxis, ..., np.newaxis] + 5 * np.arange(channels)).astype(np.float32)


def arrays(content: bytes) -> dict[str, np.ndarray | None]:
    """Return the arrays of an HDF5 file by their names, and its groups, as None."""
    found = {}
    with h5py.File(io.BytesIO(content)) as file:
        file.visititems(lambda name, item: found.update({name: item[()] if hasattr(item, "shape") else None}))
    return found


def hdf5(held: dict[str, np.ndarray | None]) -> bytes:
    """Return an HDF5 file of arrays and groups."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        for name, array in held.items():
            if array is None:
                file.require_group(name)
            else:
                file[name] = array
    return buffer.getvalue()


def rewritten(source: Path, target: Path, change: Callable[[dict], dict], config: Callable = str) -> Path:
    """Write an archive anew, with other arrays, or another text of the configuration."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "config.json":
                content = config(content.decode())
            new.writestr(name, hdf5(change(arrays(content))) if name.endswith(".h5") else content)
    return target


def _without_windows(held: dict[str, np.ndarray], names: dict[str, str]) -> dict[str, np.ndarray]:
    found = {}
    for name, array in held.items():
        root, *within = name.replace("\\", "/").split("/")
        root = "layers" if root == "_layer_checkpoint_dependencies" else root
        found["/".join([root, *(names.get(part, part) for part in within)])] = array
    return found


def _nested(keras: object) -> object:
    """Make a network as for Section 8: networks within, of which some layers are frozen."""
    layers = keras.layers
    random = keras.Sequential([layers.RandomFlip("horizontal"), layers.RandomRotation(0.1)], name="random")
    start = keras.Input((20, 16, 3))
    scaled = layers.Normalization(name="scaled")
    scaled.adapt(np.random.default_rng(1).uniform(0, 255, (8, 20, 16, 3)).astype(np.float32))
    x = layers.ZeroPadding2D()(scaled(start))
    x = layers.Conv2D(4, 3, kernel_regularizer="l2")(x)
    x = layers.BatchNormalization()(x)
    x = layers.LeakyReLU(alpha=0.25)(layers.SpatialDropout2D(0.2)(x))
    y = layers.DepthwiseConv2D(3, padding="same")(x)
    z = layers.PReLU(shared_axes=[1, 2])(layers.SeparableConv2D(4, 3, padding="same")(x))
    x = layers.Concatenate()([layers.Add()([x, y]), z])
    x = layers.BatchNormalization()(layers.Conv2D(3, 3)(layers.MaxPooling2D()(x)))
    base = keras.Model(start, layers.GlobalAveragePooling2D()(x), name="base")
    for layer in base.layers[:4]:
        layer.trainable = False
    head = [keras.Input((6,)), layers.Dense(5, "swish"), layers.Dropout(0.5), layers.Dense(3, "softmax")]
    head = keras.Sequential(head, name="head")
    inputs = keras.Input((20, 16, 3))
    x = random(inputs)
    both = [base(x, training=False), base(layers.Rescaling(0.5)(x), training=False)]
    return keras.Model(inputs, head(layers.Concatenate()(both)))


def _randomise(model: object) -> None:
    rng = np.random.default_rng(0)
    for weight in model.weights:
        if weight.dtype.is_floating and weight.name not in (
            "mean:0",
            "variance:0",
        ):  # Normalization has these
            values = rng.normal(0, 0.4, weight.shape)
            weight.assign(np.abs(values) + 0.5 if "variance" in weight.name else values)


def main(students: Path | None) -> None:
    """Write the files."""
    import tf_keras as keras

    def answer(model: object) -> list[float]:
        return model(image(*model.input_shape[1:]), training=False).numpy()[0].tolist()

    model = _nested(keras)
    _randomise(model)
    for path in NESTED.values():
        model.save(path)
    said = {"tf_keras": keras.__version__, "nested": answer(model)}
    for path in sorted(students.glob("*.keras")) if students else ():
        with tempfile.TemporaryDirectory() as folder:
            content = path.read_bytes()
            copy = Path(folder) / f"a.{'keras' if content[:2] == b'PK' else 'h5'}"
            copy.write_bytes(content)
            if path.stem in RENAMED:
                names = RENAMED[path.stem]
                rewritten(path, copy, lambda held, names=names: _without_windows(held, names))
            try:
                said[path.stem] = answer(keras.models.load_model(copy, compile=False))
            except (ValueError, TypeError) as error:
                print(path.stem, "is not opened by Keras 2:", str(error)[:100])
    SAYS.write_text(json.dumps(said, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
