"""Compile and fit; a checkpoint per epoch; going on after an interruption as if there had been none."""

import inspect
import io
import json
import os
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from fer_lib import quiet
from fer_lib.files import UsageError, atomic_path, write_text

HISTORY_COLUMNS = ("epoch", "loss", "accuracy", "val_loss", "val_accuracy")


def prepare(images: np.ndarray, size: int) -> np.ndarray:
    """Bring faces to the network's input.

    Parameters
    ----------
    images : ndarray of uint8, shape (n, height, width)
        Grey images.
    size : int
        Height and width (pixels) to resize to, bilinearly.

    Returns
    -------
    ndarray of float32, shape (n, size, size, 1)
        Still in [0, 255]: scaling is the network's own first layer, so that a saved model takes photographs.
    """
    quiet.import_tensorflow()
    import tensorflow as tf

    prepared = np.empty((len(images), size, size, 1), np.float32)
    for start in range(0, len(images), 1024):  # in pieces: a whole set at once would be held twice over
        part = images[start : start + 1024, ..., np.newaxis]
        prepared[start : start + 1024] = tf.image.resize(part, (size, size)).numpy()
    return prepared


def one_hot(labels: np.ndarray, classes: int) -> np.ndarray:
    """Labels (n,) as rows of the identity matrix, float32 (n, classes), for categorical cross-entropy."""
    return np.eye(classes, dtype=np.float32)[labels]


def seed_everything(seed: int) -> None:
    """Make what follows repeatable to the byte on one machine: random numbers and order of summation."""
    quiet.import_tensorflow()
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()


def compile_model(
    model: Any,
    learning_rate: float = 1e-3,
    weight_average: float = 0.0,
    weight_decay: float = 0.0,
    label_smoothing: float = 0.0,
    warm_up: float = 0.0,
    cosine_steps: int = 0,
) -> Any:
    """Adam and categorical cross-entropy, as the assignment asks; the rest is off unless it is given.

    Parameters
    ----------
    model : keras.Model
    learning_rate : float
        Of Adam; the highest, where there is a schedule.
    weight_average : float
        Momentum of an exponential moving average of the weights, which Adam keeps beside them. It changes
        nothing in the steps it takes; `fit` validates and keeps the averaged weights.
    weight_decay : float
        Above 0 the optimizer is AdamW (Loshchilov and Hutter, 2019).
    label_smoothing : float
        Share of the target spread over all classes. Loss is reported without it.
    warm_up : float
        Share of `cosine_steps` in which the learning rate rises from a 25th.
    cosine_steps : int
        Steps of the whole training, over which the learning rate falls along a cosine; 0 keeps it constant.

    Returns
    -------
    keras.Model
        The same, compiled.
    """
    import keras

    if cosine_steps:
        rising = int(warm_up * cosine_steps)
        learning_rate = keras.optimizers.schedules.CosineDecay(
            learning_rate / 25 if rising else learning_rate,
            max(cosine_steps - rising, 1),
            alpha=1e-4,
            warmup_target=learning_rate if rising else None,
            warmup_steps=rising,
        )
    options = {"name": "adamw" if weight_decay else "adam"}
    if weight_average:
        options |= {"use_ema": True, "ema_momentum": weight_average}
    if weight_decay:
        optimizer = keras.optimizers.AdamW(learning_rate, weight_decay=weight_decay, **options)
    else:
        optimizer = keras.optimizers.Adam(learning_rate, **options)
    model.compile(
        optimizer=optimizer,
        loss=keras.losses.CategoricalCrossentropy(label_smoothing=label_smoothing),
        metrics=["accuracy", keras.metrics.CategoricalCrossentropy(name="cross_entropy")],
    )
    return model


def batches(images: np.ndarray, labels: np.ndarray, batch_size: int, seed: int, epochs: range) -> Any:
    """Batches of the given epochs, each epoch in an order that depends on (seed, epoch) alone.

    Returns
    -------
    tf.data.Dataset
        Of (images (batch, size, size, 1), labels (batch, classes)); an epoch's last batch may be smaller.
    """
    import tensorflow as tf

    images, labels = tf.constant(images), tf.constant(labels)

    def one_epoch(epoch: Any) -> Any:
        key = tf.stack([tf.constant(seed, tf.int64), epoch])
        order = tf.random.experimental.stateless_shuffle(tf.range(len(images)), seed=key)
        chosen = tf.data.Dataset.from_tensor_slices(order).batch(batch_size)
        return chosen.map(lambda index: (tf.gather(images, index), tf.gather(labels, index)))

    return tf.data.Dataset.range(epochs.start, epochs.stop).flat_map(one_epoch).prefetch(2)


def fit(
    model: Any,
    training: tuple[np.ndarray, np.ndarray],
    validation: tuple[np.ndarray, np.ndarray],
    *,
    epochs: int,
    batch_size: int,
    seed: int,
    folder: Path,
    recalibration_images: int = 512,
    progress: Callable[[list[dict[str, float]], float], None] | None = None,
) -> list[dict[str, float]]:
    """Train a compiled model; a run that was interrupted goes on where its last whole epoch ended.

    After each epoch `folder` holds `checkpoints/epoch_<n>.keras`, `history.csv`, and
    `checkpoints/state.npz` (weights, optimizer, history) from which the next call goes on. Shuffling,
    dropout and augmentation are keyed by (seed, epoch), so the interrupted run ends with the bytes of
    the uninterrupted one.

    Parameters
    ----------
    model : keras.Model
        Compiled.
    training, validation : tuple of ndarray
        Images (n, size, size, 1) float32 in [0, 255] and one-hot labels (n, classes) float32.
    epochs, batch_size, seed : int
        As they say.
    folder : Path
        The run's folder.
    recalibration_images : int
        Training images from which the statistics of batch normalisation are taken anew after each epoch;
        0 leaves the moving ones. See `BatchNormStatistics`.
    progress : callable, optional
        Called after each epoch with the history so far and the seconds the epoch took.

    Returns
    -------
    list of dict
        One row an epoch: epoch (from 1), loss, accuracy, val_loss, val_accuracy.

    Raises
    ------
    UsageError
        If the loss is no longer a number, or the saved state is of another network.
    """
    import keras

    checkpoints = folder / "checkpoints"
    history = _restore(model, checkpoints / "state.npz")
    statistics = BatchNormStatistics(model, training[0][:recalibration_images])
    clock = time.perf_counter()

    class EpochEnd(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            _key_random_layers(model, seed, epoch)

        def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
            nonlocal clock
            row = {"epoch": epoch + 1} | _loss_and_accuracy(logs)
            with _averaged_weights(model):
                statistics.renew()
                validated = model.evaluate(*validation, batch_size=batch_size, verbose=0, return_dict=True)
                row |= {f"val_{name}": value for name, value in _loss_and_accuracy(validated).items()}
                if not np.isfinite([row["loss"], row["val_loss"]]).all():
                    raise UsageError(
                        f"epoch {epoch + 1}: the loss is not a number any more; lower learning_rate"
                    )
                save_model(model, checkpoints / f"epoch_{epoch + 1:03d}.keras")
            history.append(row)
            write_history(folder / "history.csv", history)
            _save_state(model, history, checkpoints / "state.npz")
            seconds, clock = time.perf_counter() - clock, time.perf_counter()
            if progress:
                progress(history, seconds)

    if len(history) < epochs:
        model.fit(
            batches(*training, batch_size, seed, range(len(history), epochs)),
            initial_epoch=len(history),
            epochs=epochs,
            steps_per_epoch=-(-len(training[0]) // batch_size),
            callbacks=[EpochEnd()],
            shuffle=False,  # `batches` does it, keyed by epoch
            verbose=0,
        )
    return history


def _loss_and_accuracy(logs: dict[str, Any]) -> dict[str, float]:
    """Of what Keras reports: the loss that is cross-entropy whatever else was minimised."""
    return {"loss": float(logs["cross_entropy"]), "accuracy": float(logs["accuracy"])}


class BatchNormStatistics:
    """Take the means and variances of batch normalisation anew for the weights as they are.

    The moving statistics that training leaves behind are of augmented images and of weights some steps
    old. A small network at Adam's 1e-3 pays dearly: here the validation accuracy of one and the same
    weights was 14 to 49 % with them, and 66 to 68 % with statistics of clean training images.

    All layers in one pass: each part of the images is normalised by its own statistics on the way, and what
    the layers get to see is averaged over the parts. Layer after layer would need a pass for each.

    Source: Wu and Johnson (2021), Rethinking "Batch" in BatchNorm, arXiv:2105.07576, section 3.

    Parameters
    ----------
    model : keras.Model
        Functional.
    images : ndarray, shape (n, size, size, 1)
        Training images; none leaves the statistics alone.
    """

    PART = 256  # images; large, so that its own statistics are near those of all

    def __init__(self, model: Any, images: np.ndarray) -> None:
        import keras
        import tensorflow as tf

        self.model, self.images = model, images
        self.layers: list[Any] = []
        maps: list[Any] = []  # what each of them gets to see

        def call(layer: Any, *arguments: Any, **options: Any) -> Any:
            normalises = isinstance(layer, keras.layers.BatchNormalization)
            if normalises:
                self.layers.append(model.get_layer(layer.name))
                maps.append(arguments[0])
            # Said to all: Keras' augmentation is on unless it is told otherwise.
            if "training" in inspect.signature(layer.call).parameters:
                options["training"] = normalises
            return layer(*arguments, **options)

        self.copy = keras.models.clone_model(model, call_function=call)
        to_maps = keras.Model(self.copy.inputs, maps)

        def over_places(m: Any) -> Any:
            return tf.reduce_mean(m, list(range(len(m.shape) - 1)))  # all but channels

        @tf.function(reduce_retracing=True)
        def moments(part: Any) -> list[tuple[Any, Any]]:
            seen = tf.nest.flatten(to_maps(part))  # of one layer, Keras gives no list
            return [(over_places(m), over_places(m * m)) for m in seen]

        self._moments = moments

    def renew(self) -> None:
        """Set the statistics of every layer for the weights as they are now."""
        if not len(self.images):
            return
        self.copy.set_weights(self.model.get_weights())
        parts = [self.images[start : start + self.PART] for start in range(0, len(self.images), self.PART)]
        found = [self._moments(part) for part in parts]
        shares = np.array([len(part) for part in parts], float)[:, np.newaxis] / len(self.images)
        for i, layer in enumerate(self.layers):
            mean, square = (
                (shares * np.array([np.asarray(moments[i][k], float) for moments in found])).sum(0)
                for k in (0, 1)
            )
            layer.moving_mean.assign(mean.astype(np.float32))
            layer.moving_variance.assign(np.maximum(square - mean**2, 0).astype(np.float32))


@contextmanager
def _averaged_weights(model: Any) -> Iterator[None]:
    """Put the optimizer's moving average of the weights in place of the weights for a while."""
    if not model.optimizer.use_ema:
        yield
        return
    averages = model.optimizer._model_variables_moving_average  # Keras has no public way to them
    weights = [np.asarray(variable) for variable in model.trainable_variables]
    for variable, average in zip(model.trainable_variables, averages, strict=True):
        variable.assign(average)
    yield
    for variable, weight in zip(model.trainable_variables, weights, strict=True):
        variable.assign(weight)


def _key_random_layers(model: Any, seed: int, epoch: int) -> None:
    """Start the stream of every random layer, dropout and augmentation, at (seed and place, epoch)."""
    states = [variable for variable in model.variables if "seed_generator_state" in variable.path]
    for place, state in enumerate(states):
        state.assign(np.array([1000 * seed + place, epoch * 1_000_000], state.dtype))


def _variables(model: Any) -> list[Any]:
    return [*model.weights, *model.optimizer.variables]


def _save_state(model: Any, history: list[dict[str, float]], path: Path) -> None:
    arrays = {f"v{i}": np.asarray(variable) for i, variable in enumerate(_variables(model))}
    with atomic_path(path) as temporary:
        np.savez(temporary, history=np.array(json.dumps(history)), **arrays)


def _restore(model: Any, path: Path) -> list[dict[str, float]]:
    if not path.exists():
        return []
    model.optimizer.build(model.trainable_variables)
    variables = _variables(model)
    try:
        with np.load(path, allow_pickle=False) as state:
            arrays = [state[f"v{i}"] for i in range(len(variables))]
            history = json.loads(str(state["history"]))
        for variable, array in zip(variables, arrays, strict=True):
            variable.assign(array)
    except (KeyError, ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise UsageError(f"{path}: not a state of this network ({error}); start a new run") from error
    return history


def write_history(path: Path, history: list[dict[str, float]]) -> None:
    """Write one line an epoch, floats in full, so that equal runs give equal bytes."""
    lines = [
        ",".join(HISTORY_COLUMNS),
        *(",".join(repr(row[name]) for name in HISTORY_COLUMNS) for row in history),
    ]
    write_text(path, "\n".join(lines) + "\n")


def save_model(model: Any, path: Path) -> None:
    """Save a `.keras` file whose bytes depend on the model alone (Keras writes the time of day into it)."""
    from fer_lib.layers import as_keras

    with atomic_path(path) as temporary:
        # Of a compiled model Keras saves the optimizer, too, whatever it is told: four times the size.
        as_keras(model).save(temporary)
        with zipfile.ZipFile(temporary) as archive:
            members = {name: archive.read(name) for name in sorted(archive.namelist())}
        metadata = json.loads(members["metadata.json"])
        metadata.pop("date_saved", None)
        members["metadata.json"] = json.dumps(metadata, sort_keys=True).encode()
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for name, data in members.items():
                archive.writestr(zipfile.ZipInfo(name), data)
        temporary.write_bytes(buffer.getvalue())


def check_evaluation(model: Any, images: np.ndarray, labels: np.ndarray, metrics: dict[str, Any]) -> None:
    """Compare Keras' own evaluation with ours; they are computed along different ways.

    Parameters
    ----------
    model : keras.Model
    images : ndarray, shape (n, size, size, 1)
    labels : ndarray of int, shape (n,)
    metrics : dict
        Of `fer_lib.evaluation.evaluate`.

    Raises
    ------
    RuntimeError
        If accuracy differs by an image, or loss by more than float32 can explain.
    """
    compile_model(model)
    keras_says = model.evaluate(
        images, one_hot(labels, model.output_shape[-1]), batch_size=256, verbose=0, return_dict=True
    )
    keras_says = _loss_and_accuracy(keras_says)
    same = np.isclose(keras_says["accuracy"], metrics["accuracy"], rtol=0, atol=1e-6)
    if not (same and np.isclose(keras_says["loss"], metrics["loss"], rtol=1e-3, atol=1e-4)):
        raise RuntimeError(
            f"Keras' evaluation {keras_says} is not ours {metrics['accuracy'], metrics['loss']}"
        )
    print("Keras' own evaluation agrees")


class EpochProgress:
    """Show training as it goes: a live line in the notebook, and a line an epoch for the one who waits.

    `fer run` names a file in the environment variable FER_PROGRESS and prints what is written there.
    """

    def __init__(self, epochs: int) -> None:
        from IPython.display import display

        self.epochs = epochs
        self.seconds: list[float] = []
        self.handle = display(_Text("waiting for the first epoch"), display_id=True)

    def __call__(self, history: list[dict[str, float]], seconds: float) -> None:
        """Take the history so far and the seconds of its last epoch."""
        self.seconds.append(seconds)
        row, done, digits = history[-1], len(history), len(str(self.epochs))
        left = round((self.epochs - done) * sum(self.seconds[-5:]) / len(self.seconds[-5:]))
        line = (
            f"epoch {done:>{digits}}/{self.epochs}  loss {row['loss']:.3f}"
            f"  accuracy {row['accuracy']:.3f}  val_loss {row['val_loss']:.3f}"
            f"  val_accuracy {row['val_accuracy']:.3f}"
        )
        if file := os.environ.get("FER_PROGRESS"):
            with open(file, "a", encoding="utf-8") as handle:
                handle.write(f"{line}  {seconds:.1f} s, {left // 60}:{left % 60:02} left\n")
        if self.handle:
            bar = "█" * round(30 * done / self.epochs)
            self.handle.update(_Text(f"{bar:░<30}  {line}"))


class _Text:
    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text
