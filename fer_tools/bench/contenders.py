"""Ways of doing the same work, each in a process of its own that trains or predicts when told to."""

import logging
import math
import multiprocessing
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fer_lib import models, tensorflow_import
from fer_lib.files import UsageError
from fer_tools import checking
from fer_tools.parameters import Training

PLAIN = "plain_150"  # the network of the plain way, `plain_network`
PLAIN_SIZE = 150
OUR_SETTINGS = ("TF_ENABLE_ONEDNN_OPTS", "TF_CPU_ALLOCATOR_USE_BFC")  # of fer_lib/__init__.py
COMPARED = ("train", "evaluate", "predict")
PREDICTIONS = {  # of one face
    "predict": "fer_lib.predict.Predictor",
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
        """Tell what it is asked for in each round."""
        if self.threads is not None:
            return ("sgemm",)
        return COMMANDS[1:] if self.ours else COMPARED


SGEMM = (Way("sgemm_one_thread", threads=1), Way("sgemm_all_threads", threads=0))


def ways(names: Sequence[str]) -> list[Way]:
    """List the ways for some of our networks, the plain ones first."""
    plain = [Way(PLAIN, PLAIN), Way("plain_basic_model", "basic_model")]
    return plain + [Way(name, name, ours=True) for name in dict.fromkeys(names)]


def plain_network(classes: int) -> Any:
    """Build a network as tutorials do for 150 x 150 RGB photographs: 143,491 parameters at three classes.

    Four blocks of Conv2D 3 x 3 (32, 64, 64, 64 filters, no padding), ReLU and MaxPooling2D 2, then Flatten,
    Dense 16, and the softmax. No augmentation, no normalisation: nothing that costs time without need.
    """
    import keras
    from keras import layers

    blocks = [
        layer
        for filters in (32, 64, 64, 64)
        for layer in (layers.Conv2D(filters, 3, activation="relu"), layers.MaxPooling2D(2))
    ]
    return keras.Sequential(
        [
            keras.Input((PLAIN_SIZE, PLAIN_SIZE, 3)),
            layers.Rescaling(1 / 255),
            *blocks,
            layers.Flatten(),
            layers.Dense(16, activation="relu"),
            layers.Dense(classes, activation="softmax"),
        ],
        name=PLAIN,
    )


def multiply_adds(model: Any) -> int:
    """Count the multiply-adds of one image's forward pass in convolutions and dense layers.

    A kernel is applied once at every place of its output, at the border as anywhere else. What has no
    weights (augmentation, pooling, fixed filters) and normalisation are not counted.

    Raises
    ------
    UsageError
        At a layer with a matrix of weights whose arithmetic is not known here.
    """
    import keras

    total = 0
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2D | keras.layers.DepthwiseConv2D | keras.layers.Dense):
            total += math.prod(layer.output.shape[1:-1]) * math.prod(layer.kernel.shape)
        elif any(len(weight.shape) > 1 for weight in layer.weights):
            raise UsageError(
                f"layer {layer.name!r}: multiply-adds of {type(layer).__name__} are not counted; "
                "add it to fer_tools.bench.contenders.multiply_adds"
            )
    return total


def _serve(pipe: Any, way: Way, size: Size, folder: Path) -> None:
    """Do what the pipe says until it is closed; see `Way.commands`."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the one who asks, who then ends this process
    try:
        if way.threads:
            os.environ["TF_NUM_INTRAOP_THREADS"] = str(way.threads)
        if not way.ours and way.threads is None:
            for name in OUR_SETTINGS:  # fer_lib, imported to get here, has set them
                os.environ.pop(name, None)
        tensorflow_import.import_tensorflow()
        logging.getLogger("tensorflow").setLevel(logging.ERROR)  # it warns of what is traced on purpose
        if way.threads is not None:
            _serve_sgemm(pipe, size)
        (_serve_ours if way.ours else _serve_plain)(pipe, way, size, folder)
    except EOFError:  # the one who asks has heard enough, or is gone
        pass
    except Exception as error:
        pipe.send(error if isinstance(error, UsageError) else RuntimeError(f"{way.name}: {error!r}"))


def _timed(work: Callable[[], Any]) -> tuple[float, float]:
    """Wall and CPU seconds, the latter of all threads of this process."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def _serve_sgemm(pipe: Any, size: Size) -> None:
    import tensorflow as tf

    a, b = (tf.random.normal((size.matrix, size.matrix)) for _ in range(2))
    pipe.send({})
    while True:
        pipe.recv()
        pipe.send([_timed(lambda: tf.matmul(a, b).numpy()) for _ in range(4)])


def _serve_network(
    pipe: Any, model: Any, data: Any, steps: int | None, calls: int, commands: dict[str, Callable[[], Any]]
) -> None:
    """Train epoch by epoch, each when told to; other commands are obeyed between epochs."""
    import keras

    class Served(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            while (command := pipe.recv()) != "train":
                if command == "memory":
                    unit = 1 if sys.platform == "darwin" else 1024
                    pipe.send(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)
                else:
                    times = calls if command in PREDICTIONS else 1
                    pipe.send([_timed(commands[command]) for _ in range(times)])
            self.clock = time.perf_counter(), time.process_time()

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            now = time.perf_counter(), time.process_time()
            pipe.send([(now[0] - self.clock[0], now[1] - self.clock[1])])

    facts = {
        "input": "x".join(map(str, model.input_shape[1:])),
        "parameters": model.count_params(),
        "multiply_adds": multiply_adds(model),
        "settings": {name: os.environ.get(name) for name in OUR_SETTINGS},
    }
    pipe.send(facts)
    model.fit(data, epochs=10**6, steps_per_epoch=steps, callbacks=[Served()], shuffle=False, verbose=0)


def _serve_ours(pipe: Any, way: Way, size: Size, folder: Path) -> None:
    """Do as notebook 02 and `training.fit` do."""
    from fer_lib import checkpoints, training
    from fer_lib.batch_norm import BatchNormStatistics
    from fer_lib.data import picture
    from fer_lib.predict import Predictor

    with np.load(folder / "faces.npz") as faces:
        images, labels, classes = faces["images"], faces["labels"], int(faces["classes"])
    settings = Training(model=way.network)
    training.seed_everything(settings.seed)
    network = models.build(way.network, **checking.plain(settings) | {"classes": classes})
    model = training.compile_model(network, settings.learning_rate, settings.weight_average)
    prepared = picture.network_input(images, models.image_size(way.network))
    targets = training.one_hot(labels, classes)
    statistics = BatchNormStatistics(model, prepared[: settings.recalibration_images])
    file = folder / f"{way.name}.keras"
    checkpoints.save_model(model, file)
    predictor = Predictor(file)

    def epoch_end() -> None:
        statistics.renew()
        checkpoints.save_model(model, file)
        checkpoints.save_state(model, [], folder / f"{way.name}.npz")

    commands = {
        "evaluate": lambda: model.evaluate(prepared, targets, batch_size=size.batch_size, verbose=0),
        "predict": lambda: predictor(images[:1]),
        "model_call": lambda: predictor.model(prepared[:1], training=False).numpy(),
        "model_predict": lambda: predictor.model.predict(prepared[:1], verbose=0),
        "epoch_end": epoch_end,
    }
    data = training.batches(prepared, targets, size.batch_size, settings.seed, range(10**6))
    _serve_network(pipe, model, data, -(-len(images) // size.batch_size), size.calls, commands)


def _serve_plain(pipe: Any, way: Way, size: Size, folder: Path) -> None:
    """Do as tutorials do: files from a folder, Keras' own layers, the defaults of all but the batch size.

    That is the one of our way, as the assignment sets it. With Keras' default of 32 images, training the
    plain network takes about a tenth less CPU time than with 128.
    """
    import keras

    from fer_lib.layers import as_keras

    large = way.network == PLAIN
    side = PLAIN_SIZE if large else models.image_size(way.network)

    def stream(shuffle: bool) -> Any:
        return keras.utils.image_dataset_from_directory(
            folder / "faces",
            label_mode="categorical",
            color_mode="rgb" if large else "grayscale",
            batch_size=size.batch_size,
            image_size=(side, side),
            shuffle=shuffle,
            verbose=False,
        )

    training, evaluation = stream(True), stream(False)
    classes = len(training.class_names)
    model = plain_network(classes) if large else as_keras(models.build(way.network, classes=classes))
    model.compile("adam", "categorical_crossentropy", metrics=["accuracy"])
    image = next(iter(evaluation))[0][:1].numpy()
    commands = {
        "evaluate": lambda: model.evaluate(evaluation, verbose=0),
        "predict": lambda: model.predict(image, verbose=0),
    }
    _serve_network(pipe, model, training, None, size.calls, commands)


class Child:
    """A process that measures one way, seen from the one who asks."""

    def __init__(self, way: Way, size: Size, folder: Path) -> None:
        context = multiprocessing.get_context("spawn")  # TensorFlow does not survive a fork
        self.way = way
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, way, size, folder), daemon=True)
        self.process.start()
        theirs.close()

    def answer(self) -> Any:
        """Wait for what the process has to say; raise what it raised."""
        try:
            answer = self.pipe.recv()
        except (EOFError, ConnectionError):
            self.process.join(10)
            raise UsageError(
                f"bench: the process of {self.way.name} ended (exit code {self.process.exitcode}), for want "
                "of memory perhaps; name fewer networks with --model"
            ) from None
        if isinstance(answer, Exception):
            raise answer
        return answer

    def ask(self, command: str) -> Any:
        """Send a command of `Way.commands`, or "memory" for the peak of its resident memory in bytes.

        Returns
        -------
        list of (wall, CPU) seconds, one a call
        """
        self.pipe.send(command)
        return self.answer()

    def close(self) -> None:
        """End the process."""
        self.pipe.close()
        self.process.kill()  # it has nothing to keep
        self.process.join()
