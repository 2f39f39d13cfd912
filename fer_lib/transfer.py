"""Far transfer: a network that has learnt one thing takes its layers along to another.

Source: Yosinski et al. (2014), How transferable are features in deep neural networks? arXiv:1411.1792.
"""

from itertools import chain
from typing import Any

import numpy as np

from fer_lib.files import UsageError


def blocks(network: Any) -> list[list[str]]:
    """Return the names of the layers with weights, block by block, without the last layer, the head.

    A block ends where maps are pooled: what comes before sees finer detail than what comes after.
    """
    found: list[list[str]] = [[]]
    for layer in network.layers[:-1]:
        if "Pooling" in type(layer).__name__:
            found.append([])
        elif layer.weights:
            found[-1].append(layer.name)
    return [names for names in found if names]


def for_topic(network: Any, classes: int, strength: float = 0.0, dropout: float = 0.0, seed: int = 0) -> Any:
    """Build a network of the same layers with random weights and a new head, for other classes.

    Parameters
    ----------
    network : keras.Model
        From a grey image to a row of probabilities, the last layer with softmax.
    classes : int
        Of the topic.
    strength : float
        Of `augmentation.RandomPhotograph`, which replaces what the network has in its place: digits and
        animals change in other ways than faces.
    dropout : float
        Share of units dropped before the head.
    seed : int
        Where dropout and augmentation start; the weights follow Keras' global seed.

    Raises
    ------
    UsageError
        If the network takes no square grey images, or has no blocks to take over or no dense head.
    """
    import keras

    from fer_lib.augmentation import RandomPhotograph
    from fer_lib.layers import BatchNormalization

    shape, head = network.input_shape, network.layers[-1]
    if not isinstance(shape, tuple) or shape != (None, shape[1], shape[1], 1) or shape[1] is None:
        raise UsageError(f"{network.name}: takes {shape}, not square grey images; give another network")
    if not isinstance(head, keras.layers.Dense) or len(head.input.shape) != 2 or not blocks(network):
        raise UsageError(f"{network.name}: does not end with blocks and a Dense layer; give another network")
    augment = RandomPhotograph(strength, seed=seed, name="random_photograph")

    def own(layer: Any) -> Any:
        kind = BatchNormalization if type(layer) is keras.layers.BatchNormalization else type(layer)
        return kind.from_config(layer.get_config())

    def call(layer: Any, *arguments: Any, **options: Any) -> Any:
        if layer.name.startswith("random_"):
            return arguments[0]
        if layer.name == head.name:
            dropped = keras.layers.Dropout(dropout, seed=seed + 1, name="dropout_topic")(arguments[0])
            return keras.layers.Dense(classes, activation="softmax", name="dense_topic")(dropped)
        done = layer(*arguments, **options)
        return augment(done) if isinstance(layer, keras.layers.Rescaling) else done

    # The layers of a Sequential are not called when it is cloned.
    whole = keras.Model(network.inputs, head.output) if type(network) is keras.Sequential else network
    return keras.models.clone_model(whole, call_function=call, clone_function=own)


def take_over(network: Any, source: Any, count: int) -> None:
    """Give the first `count` blocks of a network the weights of the source's; the others stay."""
    for name in chain(*blocks(source)[:count]):
        network.get_layer(name).set_weights(source.get_layer(name).get_weights())


def features(network: Any, images: np.ndarray) -> np.ndarray:
    """Return what the head gets to see of images (n, size, size, 1): (n, units) float32."""
    import keras

    inner = keras.Model(network.input, network.layers[-1].input)
    parts = (images[start : start + 256] for start in range(0, len(images), 256))
    return np.concatenate([np.asarray(inner(part, training=False)) for part in parts])
