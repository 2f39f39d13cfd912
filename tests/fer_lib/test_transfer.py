"""Layers taken along to another topic: which they are, that they arrive whole, and the rest is random."""

import keras
import numpy as np
import pytest
from keras import layers

from fer_lib import models, transfer
from fer_lib.batch_norm import BatchNormStatistics
from fer_lib.files import UsageError

IMAGES = np.random.default_rng(0).uniform(0, 255, (4, 48, 48, 1)).astype(np.float32)


def small(size: int = 48, augmented: bool = True) -> keras.Model:
    """A network of two blocks and a dense layer before its head."""
    inputs = keras.Input((size, size, 1))
    x = layers.Rescaling(1 / 255)(inputs)
    x = layers.RandomFlip(name="random_flip")(x) if augmented else x
    x = layers.Conv2D(4, 3, name="first")(x)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.MaxPooling2D(4)(x)
    x = layers.Conv2D(6, 3, name="second")(x)
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dense(5, activation="relu", name="third")(x)
    outputs = layers.Dense(3, activation="softmax", name="head")(x)
    model = keras.Model(inputs, outputs, name="small")
    rng = np.random.default_rng(1)
    model.set_weights([rng.uniform(0.1, 0.9, weight.shape) for weight in model.get_weights()])
    return model


def test_blocks_end_where_maps_are_pooled():
    assert transfer.blocks(small()) == [["first", "norm"], ["second"], ["third"]]
    numbers = {name: len(transfer.blocks(models.build(name))) for name in models.names()}
    assert numbers["basic_model"] == 4 and numbers["optimized_model"] == 4
    for name in models.names():
        network = models.build(name)
        named = [layer for block in transfer.blocks(network) for layer in block]
        assert named == [layer.name for layer in network.layers[:-1] if layer.weights]


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_the_first_blocks_are_taken_over_and_the_rest_is_left(count):
    source = small()
    network = transfer.for_topic(source, 2)
    before = {layer.name: layer.get_weights() for layer in network.layers if layer.weights}
    transfer.take_over(network, source, count)
    taken = ["first", "norm", "second", "third"][: [0, 2, 3, 4][count]]
    for name, weights in before.items():
        expected = source.get_layer(name).get_weights() if name in taken else weights
        for weight, other in zip(network.get_layer(name).get_weights(), expected, strict=True):
            assert (weight == other).all()


def test_the_network_for_a_topic_computes_the_features_of_its_source():
    source = small()
    network = transfer.for_topic(source, 2, strength=0.7, dropout=0.4)
    transfer.take_over(network, source, 3)
    inner = keras.Model(source.input, source.layers[-2].output)
    assert transfer.features(network, IMAGES) == pytest.approx(
        inner(IMAGES, training=False).numpy(), rel=1e-5
    )
    answers = network(IMAGES, training=False).numpy()
    assert answers.shape == (4, 2) and answers.sum(axis=1) == pytest.approx(np.ones(4), abs=1e-6)
    names = [layer.name for layer in network.layers]
    assert "random_photograph" in names and "random_flip" not in names and "head" not in names
    assert (network(IMAGES, training=True).numpy() != answers).any()


def test_random_weights_follow_the_global_seed():
    def kernel(seed: int) -> np.ndarray:
        keras.utils.set_random_seed(seed)
        return transfer.for_topic(small(), 2).get_layer("first").get_weights()[0]

    assert (kernel(1) == kernel(1)).all() and (kernel(1) != kernel(2)).any()
    assert (kernel(1) != small().get_layer("first").get_weights()[0]).all()


def no_image() -> keras.Model:
    inputs = keras.Input((10,))
    return keras.Model(inputs, layers.Dense(2, activation="softmax")(layers.Dense(3)(inputs)), name="table")


def coloured() -> keras.Model:
    inputs = keras.Input((48, 48, 3))
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(2, 3)(inputs))
    return keras.Model(inputs, layers.Dense(2, activation="softmax")(x), name="colour")


def without_dense_head() -> keras.Model:
    inputs = keras.Input((48, 48, 1))
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(2, 3)(inputs))
    return keras.Model(inputs, layers.Softmax()(x), name="softmax")


def without_blocks() -> keras.Model:
    inputs = keras.Input((48, 48, 1))
    return keras.Model(inputs, layers.Dense(2, activation="softmax")(layers.Flatten()(inputs)), name="linear")


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (no_image, "table: takes (None, 10), not square grey images"),
        (coloured, "colour: takes (None, 48, 48, 3), not square grey"),
        (without_dense_head, "softmax: does not end with blocks and a Dense layer"),
        (without_blocks, "linear: does not end with blocks and a Dense layer"),
    ],
)
def test_a_network_that_nothing_can_be_taken_from_is_refused(build, said):
    with pytest.raises(UsageError) as caught:
        transfer.for_topic(build(), 2)
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_a_source_may_be_a_chain_without_batch_normalisation():
    layers = [
        keras.layers.Conv2D(4, 3, activation="relu", name="seen"),
        keras.layers.MaxPooling2D(),
        keras.layers.Conv2D(8, 3, activation="relu", name="deeper"),
        keras.layers.GlobalAveragePooling2D(),
        keras.layers.Dense(3, activation="softmax"),
    ]
    source = keras.Sequential([keras.Input((48, 48, 1)), *layers])
    network = transfer.for_topic(source, 2)
    transfer.take_over(network, source, 2)
    images = np.random.default_rng(0).random((3, 48, 48, 1)).astype(np.float32)
    expected = keras.Sequential(layers[:-1])(images)
    before = network.get_weights()
    BatchNormStatistics(network, images).renew()  # of nothing
    assert all((a == b).all() for a, b in zip(before, network.get_weights(), strict=True))
    np.testing.assert_allclose(transfer.features(network, images), expected, rtol=1e-6)
