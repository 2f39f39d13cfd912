"""A network as a file describes it: its layers, weights and input, and what it answers to faces."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from fer_lib.files import UsageError, sha256_of
from fer_tools.model_files.pixels import leaves

MOST_AT_ONCE = 2**29  # bytes of maps of all faces that are computed at once
PART = 64  # faces at once
WEIGHTED = ("Conv2D", "SeparableConv2D", "DepthwiseConv2D", "Dense")
POOLING = ("MaxPooling2D", "AveragePooling2D", "GlobalAveragePooling2D", "GlobalMaxPooling2D")
FLAT = ("Flatten", "GlobalAveragePooling2D", "GlobalMaxPooling2D", "Reshape")
ACTIVATIONS = ("Activation", "ReLU", "LeakyReLU", "PReLU", "ELU", "Softmax")


class NotFinite(Exception):
    """An output is no number."""


def kind(layer: Any) -> str:
    """Return the class of a layer."""
    return type(layer).__name__


def activation(layer: Any) -> str | None:
    """Return the name of a layer's activation: "relu", "softmax"; None if it has none."""
    if kind(layer) in ACTIVATIONS[1:]:
        return kind(layer).lower()
    function = getattr(layer, "activation", None)
    return None if function is None else getattr(function, "__name__", kind(function).lower())


def table(model: Any) -> list[dict[str, Any]]:
    """Return class, name, parameters and output shape of each layer."""
    return [
        {
            "class": kind(layer),
            "name": str(layer.name),
            "parameters": int(layer.count_params()),
            "output_shape": _output_shape(layer),
        }
        for layer in leaves(model)
    ]


def _output_shape(layer: Any) -> list[int | None] | None:
    try:
        return list(layer.output.shape)
    except (AttributeError, ValueError):  # of a layer that is called more than once, there are several
        return None


def weights_digest(model: Any) -> str:
    """Digest all weights in order, each with type and shape: the same in whatever file they lie."""
    values = [np.ascontiguousarray(value) for value in model.get_weights()]
    return sha256_of(
        *(part for value in values for part in (f"{value.dtype} {value.shape}", value.tobytes()))
    )


def missing_layers(model: Any) -> list[str]:
    """Return what the assignment asks of a network's layers and this one lacks, in words."""
    found = list(leaves(model))
    kinds = [kind(layer) for layer in found]
    fine = {
        "a convolution (Conv2D)": any("Conv2D" in name for name in kinds),
        "a pooling layer (MaxPooling2D)": any(name in POOLING for name in kinds),
        "a layer that makes a row of numbers of the maps (Flatten)": any(name in FLAT for name in kinds),
        "a dense layer (Dense)": "Dense" in kinds,
        "relu after each convolution": all(
            _followed(found, i) for i, name in enumerate(kinds) if "Conv2D" in name
        ),
    }
    return [words for words, there in fine.items() if not there]


def _followed(found: list[Any], i: int) -> bool:
    """Return whether a convolution is followed by an activation before the next weights."""
    if activation(found[i]) not in (None, "linear"):
        return True
    for layer in found[i + 1 :]:
        if kind(layer) in WEIGHTED:
            return False
        if kind(layer) in ACTIVATIONS:
            return True
    return False


class Answers:
    """A network as a function of grey faces 0..255, brought to its input in one way.

    Faces are resized bilinearly to the network's input (neighbours interpolated at the centres of pixels,
    without smoothing), repeated for each channel, and then scaled.

    Parameters
    ----------
    model : keras.Model
        From an image of one or three channels to three numbers.
    memory : int
        Bytes of maps that an image takes.

    Attributes
    ----------
    seen : int
        How many images it has been given.
    """

    def __init__(self, model: Any, memory: int) -> None:
        import tensorflow as tf

        self.sides, self.channels = model.input_shape[1:3], model.input_shape[3]
        self._kept: dict[tuple, np.ndarray] = {}
        self.seen, self._part = 0, max(1, min(PART, MOST_AT_ONCE // max(1, memory)))

        @tf.function(autograph=False, reduce_retracing=True)
        def computed(images: Any, black: Any, white: Any) -> Any:
            return tf.cast(model(images * ((white - black) / 255) + black, training=False), tf.float32)

        self._computed = computed

    def of_test(
        self, faces: np.ndarray, black: float, white: float, repeated: Sequence[int] | None = None
    ) -> np.ndarray:
        """Return the outputs for the test images, always the same faces; those once computed are kept."""
        key = black, white, None if repeated is None else tuple(repeated)
        if key not in self._kept:
            self._kept[key] = self(faces, black, white, repeated)
        return self._kept[key]

    def __call__(
        self, faces: np.ndarray, black: float = 0, white: float = 255, repeated: Sequence[int] | None = None
    ) -> np.ndarray:
        """Return the outputs (n, 3) for faces (n, 48, 48).

        Parameters
        ----------
        faces : (n, 48, 48) uint8
        black, white : float
            What 0 and 255 become.
        repeated : sequence of int, optional
            A shape to which faces are brought as `numpy.resize` does, which repeats their bytes.

        Raises
        ------
        UsageError
            If the network cannot be computed.
        NotFinite
            If an output is no number.
        """
        import tensorflow as tf

        ends = tf.constant(black, tf.float32), tf.constant(white, tf.float32)
        found = [np.empty((0, 3), np.float32)]
        for start in range(0, len(faces), self._part):
            part = self._prepared(faces[start : start + self._part], repeated)
            padding = np.zeros((self._part - len(part), *part.shape[1:]), np.float32)
            whole = tf.constant(np.concatenate([part, padding]))  # one shape: traced once
            try:
                found.append(self._computed(whole, *ends).numpy()[: len(part)])
            except Exception as error:  # layers and kernels raise whatever they like
                reason = " ".join(str(error).split())[:200]
                raise UsageError(f"cannot be computed ({reason})") from error
        self.seen += len(faces)
        outputs = np.concatenate(found)
        if not np.isfinite(outputs).all():
            raise NotFinite
        return outputs

    def _prepared(self, faces: np.ndarray, repeated: Sequence[int] | None) -> np.ndarray:
        """Return faces as the input of the network, (n, height, width, channels) float32, 0..255."""
        import tensorflow as tf

        if repeated is None:
            images = tf.image.resize(faces[..., np.newaxis], self.sides).numpy()
        else:
            images = np.stack([np.resize(face, repeated) for face in faces]).astype(np.float32)
            images = images.reshape(len(faces), *self.sides, -1)
        missing = self.channels // images.shape[-1]
        return np.repeat(images, missing, axis=-1)
