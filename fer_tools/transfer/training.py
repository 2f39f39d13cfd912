"""Train one network again and again: from what another has learnt, or from nothing; on all images, or few."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fer_lib import training, transfer
from fer_lib.archives import read_arrays
from fer_lib.batch_norm import BatchNormStatistics
from fer_lib.data.faces import FaceDataset
from fer_lib.data.picture import network_input
from fer_lib.evaluation import predict
from fer_lib.files import MEGABYTE, UsageError, atomic_path

# An epoch of few images counts as so many batches, which are seen more often: 25 up to 100 in all, then 4.
SHORT, FEW, LONG = 25, 100, 4
HEAD_EPOCHS, HEAD_RATE = 30, 1e-2  # of a new head on frozen features
VALIDATED = 5  # times in a training on all images; of one on fewer, the end alone counts
STATISTICS = 512  # images from which the statistics of batch normalisation are taken
LARGEST = 16 * MEGABYTE  # of what is kept of a training


@dataclass(frozen=True)
class Condition:
    """A training: from where, of what, on how many images.

    Attributes
    ----------
    blocks : int
        How many of the source's are taken over; the rest is random.
    frozen : bool
        Whether the head alone is trained.
    per_class : int
        Images of each class; 0 takes all.
    repeat : int
        Number of the seed, from 0.
    decay : float
        Of the learning rate from a block to the one before; the head has the full one.
    """

    blocks: int
    frozen: bool = False
    per_class: int = 0
    repeat: int = 0
    decay: float = 1.0

    @property
    def key(self) -> str:
        """Name of the file in which it is kept."""
        how = "frozen" if self.frozen else f"tuned_{self.decay:g}"
        return f"{how}_{self.blocks}_blocks_{self.per_class or 'all'}_images_{self.repeat}"


@dataclass(frozen=True)
class Trained:
    """What a training left: the network's weights, and a row an epoch."""

    weights: list[np.ndarray]
    history: list[dict[str, float]]

    @property
    def val_accuracy(self) -> float:
        """Share of the validation images that the network at the end has right."""
        return self.history[-1]["val_accuracy"]

    @property
    def val_loss(self) -> float:
        """Cross-entropy of the validation images."""
        return self.history[-1]["val_loss"]


class Trainer:
    """A network for a topic, compiled once: each training begins with other weights.

    Parameters
    ----------
    source : keras.Model
        Whose blocks are taken over.
    train, validation : FaceDataset
    settings : fer_tools.parameters.Transfer
    epochs : int
        On all images; on few there are more, see `steps`.
    folder : Path
        Where finished trainings are kept, from which an interrupted stage goes on.

    Attributes
    ----------
    made_of : tuple
        What it was made of, beside the source.
    """

    def __init__(
        self,
        source: Any,
        train: FaceDataset,
        validation: FaceDataset,
        settings: Any,
        epochs: int,
        folder: Path,
    ) -> None:
        import keras

        self.source, self.settings, self.epochs, self.folder = source, settings, epochs, folder
        self.made_of = train, validation, settings, epochs, folder
        self.size = source.input_shape[1]
        training.seed_everything(settings.seed)
        self.model = self._fresh(settings.seed)
        self._compile(self.model, settings.learning_rate)
        self._decay = keras.Variable(1.0, trainable=False)
        self._slow_down()
        self._faces, self._labels = train, training.one_hot(train.labels, 2)
        self._images = network_input(train.images, self.size)
        self._validation = (
            network_input(validation.images, self.size),
            training.one_hot(validation.labels, 2),
        )
        self._statistics = BatchNormStatistics(self.model, self._images[:STATISTICS])
        self._head: Any = None

    def _fresh(self, seed: int) -> Any:
        import keras

        keras.utils.set_random_seed(seed)
        given = self.settings
        return transfer.for_topic(self.source, 2, given.augmentation_strength, given.dropout, given.seed)

    def _compile(self, model: Any, rate: float) -> None:
        given = self.settings
        training.compile_model(model, rate, given.weight_average, given.weight_decay, given.label_smoothing)

    def _slow_down(self) -> None:
        """Multiply the rate of each block by `decay` once more for every block between it and the head."""
        found = transfer.blocks(self.model)
        depth = {name: len(found) - i for i, names in enumerate(found) for name in names}
        depths = {
            variable.value.ref(): float(depth.get(layer.name, 0))
            for layer in self.model.layers
            for variable in layer.trainable_variables
        }
        step = self.model.optimizer.update_step

        def slower(gradient: Any, variable: Any, rate: Any) -> None:
            step(gradient, variable, rate * self._decay ** depths[variable.ref()])

        self.model.optimizer.update_step = slower

    def path(self, condition: Condition) -> Path:
        """Return where a finished training is kept."""
        return self.folder / f"{condition.key}.npz"

    def finished(self, condition: Condition) -> Trained:
        """Train, unless that was done before an interruption; keep what came out."""
        path = self.path(condition)
        if path.exists():
            return _kept(path)
        trained = self._train(condition)
        with atomic_path(path) as temporary:
            arrays = {f"w{i}": weight for i, weight in enumerate(trained.weights)}
            np.savez(temporary, history=np.array(json.dumps(trained.history)), **arrays)
        return trained

    def _train(self, condition: Condition) -> Trained:
        seed = self.settings.seed + condition.repeat
        begun = self._fresh(seed)
        transfer.take_over(begun, self.source, condition.blocks)
        self.model.set_weights(begun.get_weights())
        index = self._drawn(condition.per_class, seed)
        images, labels = self._images[index], self._labels[index]
        self._statistics.images = images[:STATISTICS]
        if condition.frozen:
            if condition.blocks == 0:  # those of a network that has seen nothing are no statistics at all
                self._statistics.renew()
            return self._train_head(images, labels, seed)
        epochs = self.steps(condition) // self._batches(condition)
        self._decay.assign(condition.decay)
        rate = self.settings.learning_rate
        renew = self._statistics.renew
        looks = 1 if condition.per_class else VALIDATED
        history = _fit(
            self.model, (images, labels), self._validation, epochs, self.settings, seed, rate, renew, looks
        )
        return Trained(self.model.get_weights(), history)

    def _batches(self, condition: Condition) -> int:
        each = condition.per_class
        counts = (min(count, each or count) for count in self._faces.counts().values())
        return math.ceil(sum(counts) / self.settings.batch_size)

    def steps(self, condition: Condition) -> int:
        """Return how many steps all layers are trained for, in whole epochs; 0 where the head alone is."""
        if condition.frozen:
            return 0
        batches = self._batches(condition)
        least = max(LONG * self.epochs, min(SHORT * self.epochs, FEW) if condition.per_class else 0)
        return batches * max(self.epochs, math.ceil(least / batches))

    def _drawn(self, per_class: int, seed: int) -> np.ndarray:
        """Return the places of the first images of each class in an order of the seed; all for 0."""
        order = np.random.default_rng(seed).permutation(len(self._faces))
        if not per_class:
            return order
        chosen = [order[self._faces.labels[order] == label][:per_class] for label in (0, 1)]
        return np.sort(np.concatenate(chosen))

    def _train_head(self, images: np.ndarray, labels: np.ndarray, seed: int) -> Trained:
        """Train a head on features of zero mean and unit variance, and put it on the network."""
        import keras

        seen, held = (transfer.features(self.model, each) for each in (images, self._validation[0]))
        mean, scale = seen.mean(axis=0), seen.std(axis=0) + 1e-3
        if self._head is None:
            inputs = keras.Input(seen.shape[1:])
            outputs = keras.layers.Dense(2, activation="softmax")(inputs)
            self._head = keras.Model(inputs, outputs)
            self._compile(self._head, HEAD_RATE)
        self._head.set_weights([np.zeros((seen.shape[1], 2)), np.zeros(2)])
        seen, held = (seen - mean) / scale, (held - mean) / scale
        parts = (seen, labels), (held, self._validation[1])
        history = _fit(self._head, *parts, HEAD_EPOCHS, self.settings, seed, HEAD_RATE, lambda: None)
        kernel, bias = self._head.get_weights()
        kernel = kernel / scale[:, None]
        self.model.layers[-1].set_weights([kernel, bias - mean @ kernel])
        return Trained(self.model.get_weights(), history)

    def probabilities(self, trained: Trained, images: np.ndarray, mirrored: bool = False) -> np.ndarray:
        """Return what a trained network says of images (n, 48, 48): (n, 2).

        With `mirrored` it is the mean of what it says of an image and of its mirror image.
        """
        self.model.set_weights(trained.weights)
        said = predict(self.model, network_input(images, self.size))
        return (said + self.probabilities(trained, images[:, :, ::-1])) / 2 if mirrored else said


def _kept(path: Path) -> Trained:
    try:
        arrays = read_arrays(path, LARGEST)
        history = json.loads(str(arrays.pop("history")))
        return Trained([arrays[f"w{i}"] for i in range(len(arrays))], history)
    except (KeyError, ValueError) as error:
        raise UsageError(f"{path}: damaged ({error}); remove it, and that training is done again") from error


def _fit(
    model: Any,
    train: tuple[np.ndarray, np.ndarray],
    validation: tuple[np.ndarray, np.ndarray],
    epochs: int,
    settings: Any,
    seed: int,
    rate: float,
    renew: Callable[[], None],
    looks: int = VALIDATED,
) -> list[dict[str, float]]:
    """Train a compiled model from its first step on; the learning rate falls along a cosine.

    At the end, and whenever validation images are looked at, so many times, the weights are their moving
    average, and statistics are renewed for these.
    """
    import keras

    for variable in model.optimizer.variables:
        variable.assign(np.zeros(variable.shape, variable.dtype))
    steps = math.ceil(len(train[0]) / settings.batch_size)
    total, history = epochs * steps, []
    shown = {math.ceil(epochs * (i + 1) / looks) for i in range(looks)}

    class Schedule(keras.callbacks.Callback):
        done = 0

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            training.key_random_layers(model, seed, epoch)

        def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
            model.optimizer.learning_rate.assign(rate * (1 + math.cos(math.pi * self.done / total)) / 2)
            self.done += 1

        def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
            row = {"epoch": epoch + 1, "loss": logs["cross_entropy"], "accuracy": logs["accuracy"]}
            if epoch + 1 in shown:
                with training.averaged_weights(model):
                    renew()
                    said = model.evaluate(*validation, batch_size=256, verbose=0, return_dict=True)
                row |= {"val_loss": said["cross_entropy"], "val_accuracy": said["accuracy"]}
            history.append({name: float(value) for name, value in row.items()})

    model.fit(
        training.batches(*train, settings.batch_size, seed, range(epochs)),
        epochs=epochs,
        steps_per_epoch=steps,
        callbacks=[Schedule()],
        shuffle=False,
        verbose=0,
    )
    if not np.isfinite(history[-1]["loss"]):
        raise UsageError("the loss is no number; lower learning_rate")
    return history
