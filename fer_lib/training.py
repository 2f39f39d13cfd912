"""Compile and fit; a checkpoint per epoch; going on after an interruption as if there had been none."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from fer_lib import tensorflow_import
from fer_lib.batch_norm import BatchNormStatistics
from fer_lib.checkpoints import restore, save_model, save_state, write_history
from fer_lib.files import UsageError


def one_hot(labels: np.ndarray, classes: int) -> np.ndarray:
    """Labels (n,) as rows of the identity matrix, float32 (n, classes), for categorical cross-entropy."""
    return np.eye(classes, dtype=np.float32)[labels]


def seed_everything(seed: int) -> None:
    """Make what follows repeatable to the byte on one machine: random numbers and order of summation."""
    tensorflow_import.import_tensorflow()
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
    """Compile with Adam and categorical cross-entropy, as the assignment asks; all else is off by default.

    Parameters
    ----------
    model : keras.Model
    learning_rate : float
        Of Adam; the highest, where there is a schedule.
    weight_average : float
        Momentum r of an exponential moving average of the weights, a <- r a + (1 - r) w after each step,
        which Adam keeps beside the weights w. It changes nothing in the steps it takes; `fit` validates and
        keeps the averaged weights.
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

    Raises
    ------
    UsageError
        If there is a warm-up without a cosine to warm up for.
    """
    import keras

    from fer_lib.layers import CrossEntropy

    if warm_up and not cosine_steps:
        raise UsageError(f"warm_up {warm_up:g}: has no effect without cosine_steps; leave it at 0")
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
        loss=CrossEntropy(label_smoothing=label_smoothing),
        metrics=["accuracy", keras.metrics.CategoricalCrossentropy(name="cross_entropy")],
    )
    return model


def mixed_epochs(epochs: int) -> int:
    """Return in how many epochs images are mixed: in the last ones the network sees faces as they are."""
    return int(0.85 * epochs)


def batches(
    images: np.ndarray, labels: np.ndarray, batch_size: int, seed: int, epochs: range, mixing: float = 0.0
) -> Any:
    """Batches of the given epochs, each epoch in an order that depends on (seed, epoch) alone.

    `mixing` is the share of images that `augmentation.mixed` mixes with others, in the first `mixed_epochs`.

    Returns
    -------
    tf.data.Dataset
        Of (images (batch, size, size, 1), labels (batch, classes)); an epoch's last batch may be smaller.
    """
    import tensorflow as tf

    from fer_lib.augmentation import mixed

    images, labels = tf.constant(images), tf.constant(labels)

    def one_epoch(epoch: Any) -> Any:
        key = tf.stack([tf.constant(seed, tf.int64), epoch])
        order = tf.random.experimental.stateless_shuffle(tf.range(len(images)), seed=key)
        chosen = tf.data.Dataset.from_tensor_slices(order).batch(batch_size)
        taken = chosen.map(lambda index: (tf.gather(images, index), tf.gather(labels, index)))
        if not mixing:
            return taken
        share = tf.where(epoch < mixed_epochs(epochs.stop), mixing, 0.0)
        fold = tf.random.experimental.stateless_fold_in
        return taken.enumerate().map(lambda step, taken: mixed(*taken, share, fold(key, step)))

    dataset = tf.data.Dataset.range(epochs.start, epochs.stop).flat_map(one_epoch).prefetch(2)
    options = tf.data.Options()
    options.autotune.enabled = False  # its thread sleeps ever longer, and at the end `fit` waits for it
    return dataset.with_options(options)


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
    mixing: float = 0.0,
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
        Images (n, size, size, 1) float32 in [0, 255], those of training in random order, and one-hot labels
        (n, classes) float32.
    epochs, batch_size, seed : int
        As they say.
    folder : Path
        The run's folder.
    recalibration_images : int
        From so many training images, the first, the statistics of batch normalisation are taken anew after
        each epoch; 0 leaves the moving ones. See `BatchNormStatistics`.
    mixing : float
        Share of training images that are mixed with others; see `batches`. Training loss and accuracy are
        those of the mixtures.
    progress : callable, optional
        Called after each epoch with the history so far and the seconds the epoch took.

    Returns
    -------
    list of dict
        One row per epoch: epoch (from 1), loss, accuracy, val_loss, val_accuracy.

    Raises
    ------
    UsageError
        If the loss is no longer a number, or the saved state is of another network.
    """
    import keras

    checkpoints = folder / "checkpoints"
    history = restore(model, checkpoints / "state.npz")
    statistics = BatchNormStatistics(model, training[0][:recalibration_images])
    clock = time.perf_counter()

    class EpochEnd(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            key_random_layers(model, seed, epoch)

        def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
            nonlocal clock
            row = {"epoch": epoch + 1} | _loss_and_accuracy(logs)
            with averaged_weights(model):
                statistics.renew()
                validated = model.evaluate(*validation, batch_size=batch_size, verbose=0, return_dict=True)
                row |= {f"val_{name}": value for name, value in _loss_and_accuracy(validated).items()}
                if not np.isfinite([row["loss"], row["val_loss"]]).all():
                    raise UsageError(f"epoch {epoch + 1}: the loss is no number; lower learning_rate")
                save_model(model, checkpoints / f"epoch_{epoch + 1:03d}.keras")
            history.append(row)
            write_history(folder / "history.csv", history)
            save_state(model, history, checkpoints / "state.npz")
            seconds, clock = time.perf_counter() - clock, time.perf_counter()
            if progress:
                progress(history, seconds)

    if len(history) < epochs:
        model.fit(
            batches(*training, batch_size, seed, range(len(history), epochs), mixing),
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


@contextmanager
def averaged_weights(model: Any) -> Iterator[None]:
    """Put the optimizer's moving average of the weights in place of the weights for a while."""
    if not model.optimizer.use_ema:
        yield
        return
    weights = [np.asarray(variable) for variable in model.trainable_variables]
    model.optimizer.finalize_variable_values(model.trainable_variables)
    yield
    for variable, weight in zip(model.trainable_variables, weights, strict=True):
        variable.assign(weight)


def key_random_layers(model: Any, seed: int, epoch: int) -> None:
    """Start the stream of every random layer, dropout and augmentation, at (seed and place, epoch)."""
    states = [variable for variable in model.variables if "seed_generator_state" in variable.path]
    for place, state in enumerate(states):
        state.assign(np.array([1000 * seed + place, epoch * 1_000_000], state.dtype))
