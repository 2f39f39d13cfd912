"""The contenders: ways of doing the same work, what is measured of each, and the plain network."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fer_lib import models
from fer_lib.files import UsageError
from fer_tools import checking
from fer_tools.parameters import Training

PLAIN = "plain_150"  # the network of the plain way, `plain_network`
PLAIN_SIZE = 150
COMPARED = ("train", "evaluate", "predict")
PREDICTIONS = {  # of one face
    "predict": "fer_tools.predictor.Predictor",
    "model_call": "model(x)",
    "model_predict": "model.predict(x)",
}
COMMANDS = ("sgemm", "train", "evaluate", *PREDICTIONS, "epoch_end")


@dataclass(frozen=True)
class Size:
    """How much is measured."""

    images: int = 1024  # an epoch
    batch_size: int = 128
    rounds: int = 5
    calls: int = 40  # single predictions a round
    matrix: int = 2048  # rows and columns of the matrices multiplied


QUICK = Size(images=32, batch_size=16, rounds=1, calls=3, matrix=512)


@dataclass(frozen=True)
class Way:
    """A process that measures: a network trained our way or the plain one, or (`threads`) sgemm."""

    name: str
    network: str = ""
    ours: bool = False
    threads: int | None = None  # 0: as many as TensorFlow takes by itself

    @property
    def commands(self) -> tuple[str, ...]:
        """What it is asked for in each round."""
        if self.threads is not None:
            return ("sgemm",)
        return COMMANDS[1:] if self.ours else COMPARED


SGEMM = (Way("sgemm_one_thread", threads=1), Way("sgemm_all_threads", threads=0))


def ways(names: Sequence[str]) -> list[Way]:
    """Return the ways for some of our networks, the plain ones first."""
    plain = [Way(PLAIN, PLAIN), Way("plain_basic_model", "basic_model")]
    return plain + [Way(name, name, ours=True) for name in dict.fromkeys(names)]


# A model, options of its `fit`, and what else there is to do, by command.
Work = tuple[Any, dict[str, Any], dict[str, Callable[[], Any]]]


def prepare(way: Way, size: Size, folder: Path) -> Work:
    """Prepare the work of a way, with the faces that `measure.write_faces` wrote to a folder."""
    if way.threads is None:
        return (_ours if way.ours else _plain)(way.network, size, folder)
    import tensorflow as tf

    a, b = (tf.random.normal((size.matrix, size.matrix)) for _ in range(2))
    return None, {}, {"sgemm": lambda: tf.matmul(a, b).numpy()}


def _ours(name: str, size: Size, folder: Path) -> Work:
    """Do as notebook 02 and `training.fit` do."""
    from fer_lib import checkpoints, training
    from fer_lib.batch_norm import BatchNormStatistics
    from fer_lib.data import picture
    from fer_tools.model_files import loading
    from fer_tools.predictor import Predictor

    with np.load(folder / "faces.npz") as faces:
        images, labels, classes = faces["images"], faces["labels"], int(faces["classes"])
    settings = Training(model=name)
    training.seed_everything(settings.seed)
    network = models.build(name, **checking.plain(settings) | {"classes": classes})
    model = training.compile_model(network, settings.learning_rate, settings.weight_average)
    prepared = picture.network_input(images, models.image_size(name))
    targets = training.one_hot(labels, classes)
    statistics = BatchNormStatistics(model, prepared[: settings.recalibration_images])
    file = folder / f"{name}.keras"
    checkpoints.save_model(model, file)
    predictor = Predictor(loading.load(file), name)

    def epoch_end() -> None:
        statistics.renew()
        checkpoints.save_model(model, file)
        checkpoints.save_state(model, [], folder / f"{name}.npz")

    commands = {
        "evaluate": lambda: model.evaluate(prepared, targets, batch_size=size.batch_size, verbose=0),
        "predict": lambda: predictor(images[:1]),
        "model_call": lambda: predictor.model(prepared[:1], training=False).numpy(),
        "model_predict": lambda: predictor.model.predict(prepared[:1], verbose=0),
        "epoch_end": epoch_end,
    }
    batches = training.batches(prepared, targets, size.batch_size, settings.seed, range(10**6))
    return model, {"x": batches, "steps_per_epoch": -(-len(images) // size.batch_size)}, commands


def _plain(name: str, size: Size, folder: Path) -> Work:
    """Do as tutorials do: files from a folder, Keras' own layers, the defaults of all but the batch size.

    That is the one of our way, as the assignment sets it. With Keras' default of 32 images, training the
    plain network takes about a tenth less CPU time than with 128.
    """
    import keras

    from fer_lib.layers import as_keras

    large = name == PLAIN
    side = PLAIN_SIZE if large else models.image_size(name)
    training, evaluation = (
        keras.utils.image_dataset_from_directory(
            folder / "faces",
            label_mode="categorical",
            color_mode="rgb" if large else "grayscale",
            batch_size=size.batch_size,
            image_size=(side, side),
            shuffle=shuffle,
            verbose=False,
        )
        for shuffle in (True, False)
    )
    classes = len(training.class_names)
    model = plain_network(classes) if large else as_keras(models.build(name, classes=classes))
    model.compile("adam", "categorical_crossentropy", metrics=["accuracy"])
    image = next(iter(evaluation))[0][:1].numpy()
    commands = {
        "evaluate": lambda: model.evaluate(evaluation, verbose=0),
        "predict": lambda: model.predict(image, verbose=0),
    }
    return model, {"x": training}, commands


def plain_network(classes: int) -> Any:
    """Build a network as tutorials do for 150 x 150 RGB photographs: 143,491 parameters at three classes.

    Four blocks of Conv2D 3 x 3 (32, 64, 64, 64 filters, no padding), ReLU and MaxPooling2D 2, then Flatten,
    Dense 16, and the softmax. No augmentation, no normalisation: nothing that costs time without need.
    """
    import keras
    from keras import layers

    stack = [keras.Input((PLAIN_SIZE, PLAIN_SIZE, 3)), layers.Rescaling(1 / 255)]
    for filters in (32, 64, 64, 64):
        stack += [layers.Conv2D(filters, 3, activation="relu"), layers.MaxPooling2D(2)]
    stack += [layers.Flatten(), layers.Dense(16, activation="relu")]
    return keras.Sequential([*stack, layers.Dense(classes, activation="softmax")], name=PLAIN)


@dataclass(frozen=True)
class Arithmetic:
    """Multiply-adds of one image in convolutions and dense layers.

    Attributes
    ----------
    forward : int
        Of a prediction.
    step : int
        Of a training step: forward, the gradient of the weights, and that of the layer's input, each as much.
        A layer with nothing to learn before it, such as the first, needs no gradient of its input.
    """

    forward: int
    step: int


def multiply_adds(model: Any) -> Arithmetic:
    """Count the multiply-adds of one image in convolutions and dense layers.

    A kernel is applied once at every place of its output, at the border as anywhere else. What has no
    weights (augmentation, pooling, fixed filters) and normalisation are not counted.

    Raises
    ------
    UsageError
        At a layer with a matrix of weights whose arithmetic is not known here.
    """
    import keras

    forward = step = 0
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2D | keras.layers.DepthwiseConv2D | keras.layers.Dense):
            once = math.prod(layer.output.shape[1:-1]) * math.prod(layer.kernel.shape)
            learnt_before = keras.Model(model.inputs, layer.input).trainable_weights
            forward += once
            step += (3 if learnt_before else 2) * once
        elif any(len(weight.shape) > 1 for weight in layer.weights):
            raise UsageError(
                f"layer {layer.name!r}: multiply-adds of {type(layer).__name__} are not counted; "
                "add it to fer_tools.bench.contenders.multiply_adds"
            )
    return Arithmetic(forward, step)
