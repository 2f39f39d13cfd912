"""Layers of our own: equal to what they replace, repeatable, and saved so that anybody can open them."""

import numpy as np
import pytest

from fer_lib import augmentation, checkpoints, models
from fer_lib.augmentation import RandomPhotograph, mixed
from fer_lib.layers import BatchNormalization, CrossEntropy
from fer_tools.model_files import export, loading


@pytest.fixture(scope="module")
def maps() -> np.ndarray:
    """Give maps (6, 8, 8, 4) far from mean 0 and variance 1."""
    return np.random.default_rng(0).normal(3, 5, (6, 8, 8, 4)).astype(np.float32)


def faces(n: int = 16) -> np.ndarray:
    """Give smooth images (n, 48, 48, 1) in [0, 1], light on the left."""
    rng = np.random.default_rng(1)
    ramp = np.linspace(0.8, 0.2, 48, dtype=np.float32)
    return (ramp[None, None, :] + rng.uniform(-0.1, 0.1, (n, 48, 1)).astype(np.float32))[..., None]


def test_batch_normalisation_gives_the_numbers_of_keras(maps):
    import keras
    import tensorflow as tf

    ours, theirs = BatchNormalization(momentum=0.7), keras.layers.BatchNormalization(momentum=0.7)
    results = []
    for layer in (ours, theirs):
        layer.build(maps.shape)
        layer.gamma.assign([1.0, 2.0, 0.5, 3.0])
        layer.beta.assign([0.0, 1.0, -1.0, 2.0])
        with tf.GradientTape() as tape:
            x = tf.constant(maps)
            tape.watch(x)
            trained = layer(x, training=True)
            loss = tf.reduce_sum(trained**3)
        gradients = tape.gradient(loss, [x, layer.gamma.value, layer.beta.value])
        results.append([trained, *gradients, layer.moving_mean])
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(np.array(a), np.array(b), rtol=2e-3, atol=2e-3)
    np.testing.assert_allclose(ours.moving_variance, theirs.moving_variance, rtol=1e-5)
    assert not np.allclose(ours.moving_variance, 1)
    np.testing.assert_allclose(ours(maps), theirs(maps), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("shape", [(64, 1, 1, 3), (1, 2, 1, 3), (1, 1, 1, 3), (32, 16, 16, 3)])
@pytest.mark.parametrize("contrast", [1, 0.01, 0.001])
def test_moving_statistics_are_those_of_keras_and_of_float64(shape, contrast):
    """After two batches, of few values and of many, with means of up to a thousand times the spread."""
    import keras

    rng = np.random.default_rng(0)
    batches = [(4 + 4 * contrast * rng.standard_normal(shape)).astype(np.float32) for _ in range(2)]
    ours, theirs = BatchNormalization(momentum=0.6), keras.layers.BatchNormalization(momentum=0.6)
    mean, variance = np.zeros(3), np.ones(3)
    for batch in batches:
        for layer in (ours, theirs):
            layer(batch, training=True)
        mean = 0.6 * mean + 0.4 * batch.mean((0, 1, 2), float)
        variance = 0.6 * variance + 0.4 * batch.astype(float).var((0, 1, 2))
    for moving, exact in (("moving_mean", mean), ("moving_variance", variance)):
        a, b = (np.array(getattr(layer, moving), float) for layer in (ours, theirs))
        np.testing.assert_allclose(a, b, rtol=2e-5)
        np.testing.assert_allclose(a, exact, rtol=2e-5)


@pytest.mark.parametrize("contrast", [1, 0.01, 0.001])
def test_statistics_taken_anew_are_exact_at_low_contrast(contrast):
    import keras

    from fer_lib.batch_norm import BatchNormStatistics

    inputs = keras.Input((16, 16, 2))
    x = keras.layers.BatchNormalization(name="maps")(inputs)
    x = keras.layers.GlobalAveragePooling2D()(inputs + 0 * x)
    model = keras.Model(inputs, keras.layers.BatchNormalization(name="values")(x))
    images = np.random.default_rng(0).standard_normal((300, 16, 16, 2))  # more than one part
    images = (4 + 4 * contrast * images).astype(np.float32)
    BatchNormStatistics(model, images).renew()
    exact = images.astype(float)
    for name, values in (("maps", exact.reshape(-1, 2)), ("values", exact.mean((1, 2)))):
        layer = model.get_layer(name)
        np.testing.assert_allclose(np.array(layer.moving_mean), values.mean(0), rtol=1e-5)
        # Averages over 256 places differ by a 16th of the contrast; float32 holds them to 6e-8.
        spread = np.sqrt(values.var(0))
        np.testing.assert_allclose(np.sqrt(np.array(layer.moving_variance)), spread, rtol=1e-4, atol=5e-7)


@pytest.mark.parametrize("name", ["basic_model", "optimized_model"])
def test_a_saved_network_needs_nothing_of_ours_that_keras_has(tmp_path, name):
    import keras

    network = models.build(name)
    assert any(isinstance(layer, BatchNormalization) for layer in network.layers)
    checkpoints.save_model(network, tmp_path / "a.keras")
    loaded = loading.load(tmp_path / "a.keras")
    assert not any(isinstance(layer, BatchNormalization) for layer in loaded.layers)
    kept = sum(isinstance(layer, keras.layers.BatchNormalization) for layer in loaded.layers)
    assert kept == sum(isinstance(layer, keras.layers.Conv2D) for layer in loaded.layers) > 2
    size = models.image_size(name)
    images = np.random.default_rng(0).uniform(0, 255, (3, size, size, 1)).astype(np.float32)
    np.testing.assert_allclose(
        loaded.predict(images, verbose=0), network.predict(images, verbose=0), atol=1e-5
    )
    assert models.summary_rows(loaded) == models.summary_rows(network)


@pytest.mark.parametrize("name", ["basic_model", "optimized_model"])
def test_without_augmentation_the_same_network_is_made_of_keras_own_layers(tmp_path, name):
    network = models.build(name)
    for layer in network.layers:  # as if it had been trained
        if "normalization" in layer.name:
            layer.set_weights([weight + 0.3 for weight in layer.get_weights()])
    plain = export.without_augmentation(network)
    assert not any(type(layer).__module__.startswith("fer_lib") for layer in plain.layers)
    assert plain.count_params() == network.count_params()
    size = models.image_size(name)
    images = np.random.default_rng(0).uniform(0, 255, (3, size, size, 1)).astype(np.float32)
    expected = network.predict(images, verbose=0)
    np.testing.assert_allclose(plain.predict(images, verbose=0), expected, atol=1e-5)
    np.testing.assert_allclose(plain(images, training=False), expected, atol=1e-5)
    checkpoints.save_model(plain, tmp_path / "a.keras")
    np.testing.assert_allclose(
        loading.load(tmp_path / "a.keras").predict(images, verbose=0), expected, atol=1e-5
    )


def test_a_basic_model_opens_where_we_are_not_installed(tmp_path):
    import json
    import zipfile

    checkpoints.save_model(models.build("basic_model"), tmp_path / "a.keras")
    with zipfile.ZipFile(tmp_path / "a.keras") as archive:
        assert b"fer_lib" not in archive.read("config.json")
        assert json.loads(archive.read("config.json"))["class_name"] == "Functional"


def test_another_photograph_is_another_one_and_repeats():
    x = faces()
    layer = RandomPhotograph(1.0, seed=5)
    first, second = np.array(layer(x, training=True)), np.array(layer(x, training=True))
    assert first.shape == x.shape and first.min() >= 0 and first.max() <= 1
    assert not np.allclose(first, second)
    np.testing.assert_array_equal(first, RandomPhotograph(1.0, seed=5)(x, training=True))
    # Half of them are mirrored: light on the right.
    left, right = first[:, :, :20].mean((1, 2, 3)), first[:, :, 28:].mean((1, 2, 3))
    assert 3 <= (left > right).sum() <= 13


def test_without_training_or_strength_a_photograph_stays_as_it_is():
    x = faces()
    np.testing.assert_array_equal(RandomPhotograph(1.0)(x), x)
    np.testing.assert_array_equal(RandomPhotograph(0.0)(x, training=True), x)


def test_the_gradient_of_cross_entropy_is_that_of_targets_of_any_sum():
    import keras
    import tensorflow as tf

    rng = np.random.default_rng(0)
    scores, targets = rng.normal(0, 2, (6, 3)), rng.uniform(0, 1, (6, 3))
    targets[0], targets[1] = (0, 0, 0), (0, 1, 0)  # what counts nothing, and a label
    z = tf.Variable(scores.astype(np.float32))
    with tf.GradientTape() as tape:
        # Keras takes the scores before its own softmax, as in training.
        loss = CrossEntropy(reduction="sum")(targets.astype(np.float32), keras.activations.softmax(z))
    p = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    assert float(loss) == pytest.approx(-(targets * np.log(p)).sum(), rel=1e-5)
    expected = targets.sum(1, keepdims=True) * p - targets
    np.testing.assert_allclose(tape.gradient(loss, z), expected, rtol=1e-4, atol=1e-6)


def mixtures(share: float, n: int = 2000, key: tuple[int, int] = (3, 7)) -> tuple[np.ndarray, np.ndarray]:
    """Mix images (n, 12, 16, 1), each of a grey value of its own, that are to be said to have that value."""
    values = np.random.default_rng(0).permutation(n).astype(np.float32)[:, None]
    images = np.broadcast_to(values[:, :, None, None], (n, 12, 16, 1))
    images, targets = mixed(np.array(images), np.concatenate([values, n - values], 1), share, np.array(key))
    return np.array(images), np.array(targets)


def test_what_is_to_be_said_of_a_mixture_is_what_is_seen_of_it():
    images, targets = mixtures(1.0)
    np.testing.assert_allclose(targets[:, 0], images.mean((1, 2, 3)), rtol=1e-4)
    np.testing.assert_allclose(targets.sum(1), 2000, rtol=1e-6)  # nothing is lost


def test_half_of_the_mixtures_are_laid_over_and_half_cut_out():
    images, plain = mixtures(0.4)[0][..., 0], mixtures(0.0)[0][..., 0]
    touched = (images != plain).any((1, 2))
    assert touched.mean() == pytest.approx(0.4, abs=0.04)
    neighbour = np.roll(plain, 1, axis=0)
    # A mixture of two grey values that has more than one of them is a rectangle pasted in.
    cut = touched & (np.ptp(images, axis=(1, 2)) > 0)
    assert cut.sum() / touched.sum() == pytest.approx(0.5, abs=0.07)
    pasted = images[cut] == neighbour[cut]
    assert (pasted | (images[cut] == plain[cut])).all()
    for mask in pasted:
        rows, columns = mask.any(1), mask.any(0)
        assert (mask == rows[:, None] & columns).all()  # of all places in rows and columns that have any
        assert (np.diff(np.flatnonzero(rows)) == 1).all() and (np.diff(np.flatnonzero(columns)) == 1).all()
    # Half of the weights of mixup are within 15 % of 0 or 1, as the arcsine distribution has it.
    over = touched & ~cut
    weight = (images[over] - plain[over])[:, 0, 0] / (neighbour[over] - plain[over])[:, 0, 0]
    assert ((weight < 0.1464) | (weight > 0.8536)).mean() == pytest.approx(0.5, abs=0.07)


def test_one_key_one_mixture():
    first, again, other = mixtures(0.4)[0], mixtures(0.4)[0], mixtures(0.4, key=(3, 8))[0]
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_a_blur_keeps_the_sum_of_a_constant():
    for sigma in (0.7, 0.9, 5.0):
        np.testing.assert_allclose(augmentation.blur_matrix(48, sigma).sum(1), 1, rtol=1e-5)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: RandomPhotograph(strength=2e9), "strength is 2000000000.0"),
        (lambda: RandomPhotograph(strength=float("nan")), "strength is nan"),
        (lambda: RandomPhotograph(strength=[1]), "strength is"),
        (lambda: RandomPhotograph(strength=-1), "strength is -1"),
        (lambda: RandomPhotograph(strength=True), "strength is True"),
        (lambda: RandomPhotograph(strength=float("inf")), "strength is inf"),
        (lambda: RandomPhotograph(strength="1"), "strength is 1"),
        *[
            (lambda shape=shape: RandomPhotograph().build(shape), "not grey images")
            for shape in ((None, 60_000, 60_000, 1), (None, None, 48, 1), (None, 48, 48, 3), (None, 48))
        ],
        (lambda: RandomPhotograph().build((None, 2, 2, 1)), "wider than images"),
    ],
)
def test_arguments_and_images_beyond_reason_are_refused_before_memory_is_taken(make, said):
    with pytest.raises(ValueError, match=said):
        make()
