"""Networks as others open them, without this package: as plain Keras, and as browsers and phones run them."""

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fer_lib.files import UsageError, atomic_path, sha256_of_file
from fer_lib.layers import as_keras
from fer_tools.model_files import pixels
from fer_tools.model_files.inspection import LARGEST_FILE

INPUT, OUTPUT = "face", "probabilities"
METADATA = "fer_lab"  # under which the file says what it is
CHECKED = 64  # images on which it has to answer as the Keras file does
TOLERANCE = 1e-5  # between probabilities
OPSET, IR = 18, 9  # of ONNX: what runtimes in use read


def without_augmentation(model: Any) -> Any:
    """Copy a model with nothing in place of the layers that change training images, in Keras' own layers.

    Such a copy opens wherever Keras is, whether or not this package is installed.
    """
    config = as_keras(model).get_config()
    for layer in config["layers"]:
        if layer["name"].startswith("random_"):
            layer |= {"module": "keras.layers", "class_name": "Activation", "registered_name": None}
            layer["config"] = {"name": layer["name"], "activation": "linear"}
    copy = type(model).from_config(config)
    for layer in copy.layers:
        layer.set_weights(model.get_layer(layer.name).get_weights() if layer.weights else [])
    return copy


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes
    ----------
    path : Path
    metadata : dict
        Of the file: name, classes, input (its size, and the values of black and white), keras_sha256.
    difference : float
        Largest between its probabilities and those of Keras.
    """

    path: Path
    metadata: dict[str, Any]
    difference: float


def export(
    model: Any,
    source: Path,
    classes: Sequence[str],
    target: Path,
    form: str = "onnx",
    scale: str = "0..255",
) -> Exported:
    """Write a network for browsers ("onnx") or phones ("tflite"), if it answers there as it does in Keras.

    It takes one face at a time, `face` float32 (1, size, size, 1) from 0 black to 255 white, whatever the
    network takes, and gives `probabilities` (1, classes). Augmentation is left out. Its metadata, JSON under
    the name `fer_lab`, say classes and input, so that who runs it has to know nothing else.

    Parameters
    ----------
    model : keras.Model
        From a square image, grey or of three channels, to class probabilities.
    source : path of the `.keras` file that it was loaded from.
    classes : sequence of str
        Of its outputs, in order.
    target : path of the file to write.
    form : str
        One of `FORMS`.
    scale : str
        Of the pixels that the network takes, one of `pixels.SCALES`.

    Raises
    ------
    UsageError
        If the network takes no squares, cannot be converted, or answers otherwise than in Keras.
    """
    _, size, width, channels = model.input_shape
    if width != size:
        raise UsageError(f"{source}: takes {size}x{width} pixels, not squares; give another")
    metadata = {
        "format": 1,
        "name": source.stem[:100],
        "classes": list(classes),
        "input": {"size": size, "black": 0, "white": 255},
        "keras_sha256": sha256_of_file(source, LARGEST_FILE),
    }
    try:
        content, run = FORMS[form](_function(model, size, channels, scale), json.dumps(metadata))
    except Exception as error:  # converters raise whatever they like
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UsageError(
            f"{source}: cannot be written as {form} ({reason}); choose another format"
        ) from error
    difference = _difference(
        lambda face: model(pixels.brought(face, channels, scale), training=False), size, run
    )
    if not difference <= TOLERANCE:
        told = f"answers as {form} otherwise than in Keras, by {difference:.2g}; more than {TOLERANCE:g}"
        raise UsageError(f"{source}: {told} is not accepted, nothing was written")
    with atomic_path(target) as temporary:
        temporary.write_bytes(content)
    return Exported(target, metadata, difference)


def _difference(keras: Callable, size: int, run: Callable[[np.ndarray], np.ndarray]) -> float:
    """Return how far apart the probabilities are at most, on images of waves with more and more noise."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:size, :size] / size
    waves = [np.sin(a * x + b * y + c) for a, b, c in rng.uniform(-20, 20, (CHECKED, 3))]
    noise = rng.normal(0, 1, (CHECKED, size, size)) * np.linspace(0, 1, CHECKED)[:, np.newaxis, np.newaxis]
    images = (127.5 + 100 * (waves + noise)).clip(0, 255).round().astype(np.float32)[..., np.newaxis]
    answers = [(run(image), keras(image)) for image in images[:, np.newaxis]]
    return max(float(np.abs(ours - np.asarray(theirs)).max()) for ours, theirs in answers)


def _function(model: Any, size: int, channels: int, scale: str) -> Any:
    import tensorflow as tf

    signature = [tf.TensorSpec((1, size, size, 1), tf.float32, name=INPUT)]

    @tf.function(input_signature=signature, autograph=False)
    def probabilities(face: Any) -> Any:
        return tf.cast(model(pixels.brought(face, channels, scale), training=False), tf.float32)

    return probabilities


def _onnx(function: Any, metadata: str) -> tuple[bytes, Callable[[np.ndarray], np.ndarray]]:
    import onnx
    import onnxruntime
    import tf2onnx

    logging.getLogger("tf2onnx").setLevel(logging.ERROR)
    made, _ = tf2onnx.convert.from_function(function, function.input_signature, opset=OPSET)
    made = onnx.helper.make_model(made.graph, opset_imports=made.opset_import, producer_name="fer_lab")
    made.ir_version = IR
    last = made.graph.output[0].name
    for node in made.graph.node:
        for names in (node.input, node.output):
            names[:] = [OUTPUT if name == last else name for name in names]
    made.graph.output[0].name = OUTPUT
    onnx.helper.set_model_props(made, {METADATA: metadata})
    onnx.checker.check_model(made, full_check=True)
    content = made.SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return content, lambda face: session.run([OUTPUT], {INPUT: face})[0]


def _tflite(function: Any, metadata: str) -> tuple[bytes, Callable[[np.ndarray], np.ndarray]]:
    import warnings

    import flatbuffers
    import tensorflow as tf
    from tensorflow.lite.python import schema_py_generated as schema

    logging.getLogger("absl").setLevel(logging.ERROR)  # with the model given, weights stay variables, unset
    content = bytes(
        tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()]).convert()
    )
    made = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(content, 0))
    buffer, entry = schema.BufferT(), schema.MetadataT()
    buffer.data = np.frombuffer(metadata.encode(), np.uint8)
    entry.name, entry.buffer = METADATA, len(made.buffers)
    made.buffers.append(buffer)
    made.metadata = [*(made.metadata or []), entry]
    graph = made.subgraphs[0]
    graph.tensors[graph.inputs[0]].name, graph.tensors[graph.outputs[0]].name = INPUT, OUTPUT
    builder = flatbuffers.Builder(len(content))
    builder.Finish(made.Pack(builder), b"TFL3")
    content = bytes(builder.Output())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it goes to a package of its own one day
        interpreter = tf.lite.Interpreter(model_content=content)
    interpreter.allocate_tensors()
    given, answer = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]

    def run(face: np.ndarray) -> np.ndarray:
        interpreter.set_tensor(given, face)
        interpreter.invoke()
        return interpreter.get_tensor(answer)

    return content, run


FORMS = {"onnx": _onnx, "tflite": _tflite}
