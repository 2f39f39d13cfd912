"""Training: the order of images, resuming to the byte, and files that are safe to open."""

import json
import math
import zipfile

import numpy as np
import pytest

from fer_lib import checkpoints, training
from fer_lib.batch_norm import BatchNormStatistics
from fer_lib.files import UsageError
from fer_tools import cross_check
from fer_tools.model_files import loading

SIZE, CLASSES = 16, 3


@pytest.fixture(scope="module", autouse=True)
def _deterministic():
    training.seed_everything(0)


@pytest.fixture(scope="module")
def faces() -> tuple[np.ndarray, np.ndarray]:
    """Give 40 images (16, 16, 1) in [0, 255] with one-hot labels; 40 is no multiple of the batch size."""
    rng = np.random.default_rng(0)
    labels = np.arange(40) % CLASSES
    images = rng.uniform(0, 255, (40, SIZE, SIZE, 1)) * (labels + 1)[:, None, None, None] / CLASSES
    return images.astype(np.float32), training.one_hot(labels, CLASSES)


def small_model(weight_average: float = 0.9, learning_rate: float = 1e-2, seed: int = 0):
    """Build a tiny network with everything that is random or has a state."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(seed)
    x = inputs = keras.Input((SIZE, SIZE, 1), name="input")
    x = layers.Rescaling(1 / 255, name="rescaling")(x)
    x = layers.RandomFlip("horizontal", seed=seed, name="random_flip")(x)
    x = layers.Conv2D(4, 3, strides=2, name="conv2d")(x)
    x = layers.BatchNormalization(momentum=0.9, name="batch_normalization")(x)
    x = layers.Activation("relu", name="activation")(x)
    x = layers.GlobalAveragePooling2D(name="pooling")(x)
    x = layers.Dropout(0.3, seed=seed + 2, name="dropout")(x)
    outputs = layers.Dense(CLASSES, activation="softmax", name="dense")(x)
    model = keras.Model(inputs, outputs, name="small")
    return training.compile_model(model, learning_rate, weight_average)


def fit(folder, faces, epochs=3, seed=0, model=None, **options):
    images, labels = faces
    return training.fit(
        model or small_model(seed=seed),
        (images[:30], labels[:30]),
        (images[30:], labels[30:]),
        epochs=epochs,
        batch_size=8,
        seed=seed,
        folder=folder,
        **options,
    )


@pytest.fixture(scope="module")
def recycled():
    """Give a function that makes one model new again: nothing has to be traced twice, which takes seconds."""
    model = small_model()
    model.optimizer.build(model.trainable_variables)
    start = [np.array(variable) for variable in checkpoints.state_variables(model)]

    def renew():
        for variable, value in zip(checkpoints.state_variables(model), start, strict=True):
            variable.assign(value)
        return model

    return renew


def results(folder) -> dict[str, bytes]:
    """Bytes of what a run keeps of its training."""
    return {
        p.name: p.read_bytes() for p in [folder / "history.csv", *folder.glob("checkpoints/epoch_*.keras")]
    }


@pytest.fixture(scope="module")
def whole(tmp_path_factory, faces) -> dict[str, bytes]:
    """Train three epochs without interruption."""
    folder = tmp_path_factory.mktemp("whole")
    fit(folder, faces)
    return results(folder)


class Interrupted(BaseException):
    """Stands for a power cut: nothing of ours catches it."""


# -- labels ----------------------------------------------------------------------------------------------


def test_one_hot():
    rows = training.one_hot(np.array([2, 0]), 3)
    assert rows.dtype == np.float32 and rows.tolist() == [[0, 0, 1], [1, 0, 0]]


# -- compiling ---------------------------------------------------------------------------------------------


def test_a_warm_up_without_a_cosine_is_refused():
    model = small_model()
    with pytest.raises(UsageError, match=r"warm_up 0\.1: has no effect without cosine_steps") as caught:
        training.compile_model(model, warm_up=0.1)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("warm_up", [0.0, 0.2])
def test_the_learning_rate_rises_and_then_falls_along_a_cosine(warm_up):
    import keras

    model = training.compile_model(small_model(), 0.01, warm_up=warm_up, cosine_steps=100)
    rate = keras.optimizers.schedules.deserialize(model.optimizer.get_config()["learning_rate"])
    rates = np.array([float(rate(step)) for step in range(101)])
    top = int(100 * warm_up)
    assert rates.argmax() == top and rates[top] == pytest.approx(0.01)
    assert (np.diff(rates[: top + 1]) > 0).all() and (np.diff(rates[top:]) < 0).all()
    assert rates[0] == pytest.approx(0.01 / 25 if top else 0.01)
    assert rates[top + (100 - top) // 2] == pytest.approx(0.005, rel=0.01)
    assert rates[-1] == pytest.approx(1e-6)


# -- order of the images -----------------------------------------------------------------------------------


def orders(epochs: range, seed: int = 0, count: int = 21, batch_size: int = 4) -> list[list[int]]:
    """Which image comes when, epoch by epoch; each label belongs to its image."""
    images, labels = np.arange(count, dtype=np.float32), np.arange(count, dtype=np.float32) * 10
    seen: list[int] = []
    sizes = []
    for part, part_labels in training.batches(images, labels, batch_size, seed, epochs):
        np.testing.assert_array_equal(part_labels, 10 * part.numpy())
        seen += part.numpy().astype(int).tolist()
        sizes.append(len(part))
    steps = -(-count // batch_size)
    assert sizes == ([batch_size] * (steps - 1) + [count - batch_size * (steps - 1)]) * len(epochs)
    return [seen[start : start + count] for start in range(0, len(seen), count)]


def test_every_epoch_shows_every_image_once():
    assert [sorted(order) for order in orders(range(5))] == [list(range(21))] * 5


def test_epochs_and_seeds_differ_in_order():
    several = [tuple(order) for seed in (0, 1, 2**31 - 1) for order in orders(range(4), seed)]
    assert len(set(several)) == 12
    assert tuple(range(21)) not in several


def mixtures(epochs: range) -> list[np.ndarray]:
    """What epochs show with half of the images mixed; an image has one grey value, which is its label."""
    images = np.broadcast_to(np.arange(1.0, 21)[:, None, None, None], (20, 4, 4, 1)).astype(np.float32)
    labels = np.arange(1.0, 21, dtype=np.float32)[:, None]
    shown = []
    for part, part_labels in training.batches(images, labels, 8, 0, epochs, mixing=0.5):
        np.testing.assert_allclose(part.numpy().mean((1, 2, 3)), part_labels[:, 0], rtol=1e-5)
        shown.append(part.numpy())
    return [np.concatenate(shown[start : start + 3]) for start in range(0, len(shown), 3)]


def test_images_are_mixed_but_for_the_last_epochs():
    epochs = mixtures(range(20))
    whole = [all(np.ptp(image) == 0 and image[0, 0, 0] % 1 == 0 for image in shown) for shown in epochs]
    assert whole == [False] * 17 + [True] * 3  # 85 % of 20
    assert len({shown.tobytes() for shown in epochs}) == 20


def test_mixtures_depend_on_seed_and_epoch_alone():
    for shown, again in zip(mixtures(range(20))[15:], mixtures(range(15, 20)), strict=True):
        np.testing.assert_array_equal(shown, again)


def test_no_thread_tunes_the_batches():
    """At the end of a training of a minute, TensorFlow 2.21 would wait for it for some 20 seconds."""
    images, labels = np.zeros((4, 2, 2, 1), np.float32), np.zeros((4, 3), np.float32)
    assert training.batches(images, labels, 2, 0, range(1)).options().autotune.enabled is False


def test_the_order_depends_on_seed_and_epoch_alone():
    assert orders(range(3, 6)) == orders(range(6))[3:]
    assert orders(range(2)) == orders(range(2))


# -- fitting -----------------------------------------------------------------------------------------------


def test_a_run_keeps_a_checkpoint_and_a_line_for_every_epoch(whole):
    assert sorted(whole) == ["epoch_001.keras", "epoch_002.keras", "epoch_003.keras", "history.csv"]
    header, *lines = whole["history.csv"].decode().splitlines()
    assert header == "epoch,loss,accuracy,val_loss,val_accuracy"
    rows = [[float(cell) for cell in line.split(",")] for line in lines]
    assert [row[0] for row in rows] == [1, 2, 3] and np.isfinite(rows).all()
    assert len({whole[f"epoch_00{n}.keras"] for n in (1, 2, 3)}) == 3


def test_the_history_returned_is_the_history_kept(tmp_path, faces, recycled):
    calls = []

    def progress(rows, seconds):
        calls.append((len(rows), seconds))

    history = fit(tmp_path, faces, epochs=2, model=recycled(), progress=progress)
    assert [set(row) for row in history] == [set(checkpoints.HISTORY_COLUMNS)] * 2
    text = "".join(
        ",".join(repr(row[name]) for name in checkpoints.HISTORY_COLUMNS) + "\n" for row in history
    )
    assert (tmp_path / "history.csv").read_text() == "epoch,loss,accuracy,val_loss,val_accuracy\n" + text
    assert [count for count, _ in calls] == [1, 2] and all(seconds > 0 for _, seconds in calls)


def test_the_validation_numbers_are_those_of_the_checkpoint(whole, tmp_path, faces):
    path = tmp_path / "epoch_003.keras"
    path.write_bytes(whole[path.name])
    model = training.compile_model(loading.load(path))
    said = [float(cell) for cell in whole["history.csv"].decode().splitlines()[3].split(",")]
    loss, accuracy, _ = model.evaluate(faces[0][30:], faces[1][30:], verbose=0)
    np.testing.assert_allclose([loss, accuracy], said[3:], rtol=1e-5)


def test_one_seed_one_result(whole, tmp_path, faces):
    fit(tmp_path, faces)
    assert results(tmp_path) == whole


@pytest.mark.parametrize("seed", [1, 2**31 - 1])
def test_another_seed_another_result(whole, tmp_path, faces, recycled, seed):
    """From the same weights: order, dropout and flips are the seed's."""
    fit(tmp_path, faces, epochs=1, seed=seed, model=recycled())
    assert results(tmp_path)["epoch_001.keras"] != whole["epoch_001.keras"]


def test_every_random_layer_of_the_assignment_is_keyed():
    """Else an interrupted run would go on with other flips than the uninterrupted one."""
    from fer_lib import models

    model = models.build("basic_model")
    random = ("random_flip", "random_rotation", "random_zoom", "dropout", "dropout_1")

    def states(seed, epoch):
        training.key_random_layers(model, seed, epoch)
        variables = [v for v in model.variables if "seed_generator_state" in v.path]
        assert len(variables) == len(random)
        return [tuple(np.asarray(v).tolist()) for v in variables]

    first = states(0, 0)
    assert len(set(first)) == len(random)  # and each goes its own way
    assert not set(first) & set(states(0, 1)) and not set(first) & set(states(1, 0))
    assert states(0, 0) == first


def test_random_layers_draw_by_seed_and_epoch(faces):
    model = small_model()

    def drawn(seed, epoch):
        training.key_random_layers(model, seed, epoch)
        return np.asarray(model(faces[0], training=True)).tobytes()

    several = {key: drawn(*key) for key in [(0, 0), (0, 1), (1, 0), (1, 1), (2**31 - 1, 9_999)]}
    assert len(set(several.values())) == len(several)
    assert drawn(0, 1) == several[0, 1]


@pytest.mark.parametrize("epochs_before", [1, 2])
def test_an_interrupted_run_ends_as_the_uninterrupted_one(whole, tmp_path, faces, recycled, epochs_before):
    def stop(history, _):
        if len(history) == epochs_before:
            raise Interrupted

    with pytest.raises(Interrupted):
        fit(tmp_path, faces, model=recycled(), progress=stop)
    assert len(results(tmp_path)) == epochs_before + 1
    # What a killed process leaves half-written beside the checkpoints.
    (tmp_path / "checkpoints" / ".epoch_002-x1y2.keras").write_bytes(whole["epoch_002.keras"][:500])
    (tmp_path / "checkpoints" / ".state-a1b2.npz").write_bytes(b"PK\3\4half")
    epochs_run = []
    fit(tmp_path, faces, model=recycled(), progress=lambda history, _: epochs_run.append(len(history)))
    assert epochs_run == list(range(epochs_before + 1, 4))  # nothing is trained twice
    assert results(tmp_path) == whole


@pytest.mark.parametrize("moment", ["before the checkpoint", "after the checkpoint", "after the history"])
def test_interrupted_within_the_end_of_an_epoch(whole, tmp_path, faces, recycled, monkeypatch, moment):
    """State, history and checkpoint are three files; wherever the power fails, they come out right."""
    name = {"before the checkpoint": "save_model", "after the checkpoint": "write_history"}.get(
        moment, "save_state"
    )
    kept = getattr(training, name)
    calls = []

    def cut(*arguments):
        calls.append(arguments)
        if len(calls) == 2:
            raise Interrupted
        return kept(*arguments)

    monkeypatch.setattr(training, name, cut)
    with pytest.raises(Interrupted):
        fit(tmp_path, faces, model=recycled())
    monkeypatch.undo()
    fit(tmp_path, faces, model=recycled())
    assert results(tmp_path) == whole


def test_training_that_is_over_is_not_repeated(whole, tmp_path, faces, recycled):
    """Killed after the last epoch but before the notebook's last cell: fifty epochs must not be lost."""
    fit(tmp_path, faces, model=recycled())
    epochs_run = []
    history = fit(tmp_path, faces, model=recycled(), progress=lambda rows, _: epochs_run.append(len(rows)))
    assert epochs_run == [] and len(history) == 3
    assert results(tmp_path) == whole


def interrupted_once(folder, faces, model) -> bytes:
    def stop(*_):
        raise Interrupted

    with pytest.raises(Interrupted):
        fit(folder, faces, epochs=2, model=model, progress=stop)
    return (folder / "checkpoints" / "state.npz").read_bytes()


def test_a_broken_state_is_refused(tmp_path, faces, recycled):
    good = interrupted_once(tmp_path, faces, recycled())
    state = tmp_path / "checkpoints" / "state.npz"
    rng = np.random.default_rng(0)
    damaged = [b"", b"PK\3\4", b"rubbish" * 100, good[:-1], good[: len(good) // 2], good[100:]]
    for position in rng.integers(0, len(good), 60):
        damaged.append(good[:position] + bytes([good[position] ^ 0xFF]) + good[position + 1 :])
    model = recycled()
    refused = 0
    for data in damaged:
        state.write_bytes(data)
        try:
            checkpoints.restore(model, state)
        except UsageError as error:
            refused += 1
            assert "state.npz" in str(error) and "\n" not in str(error)
    assert refused >= 6 + 40  # a flipped bit in a time stamp of the archive harms nobody


def test_a_state_of_another_network_is_refused(tmp_path, faces, recycled):
    import keras

    interrupted_once(tmp_path, faces, recycled())
    x = keras.Input((SIZE, SIZE, 1))
    outputs = keras.layers.Dense(CLASSES, activation="softmax")(keras.layers.Flatten()(x))
    other = training.compile_model(keras.Model(x, outputs), weight_average=0.9)
    with pytest.raises(UsageError, match="not a state of this network"):
        fit(tmp_path, faces, model=other)


def test_a_state_cannot_bring_code_along(tmp_path, recycled):
    state = tmp_path / "state.npz"
    np.savez(state, history=np.array([print], dtype=object), v0=np.array([print], dtype=object))
    with pytest.raises(UsageError, match=r"state.npz"):
        checkpoints.restore(recycled(), state)


def test_a_loss_that_is_no_number_stops_training_and_keeps_nothing_of_that_epoch(tmp_path, faces, recycled):
    images = np.full_like(faces[0], np.nan)
    with pytest.raises(UsageError) as caught:
        fit(tmp_path, (images, faces[1]), model=recycled())
    assert "epoch 1" in str(caught.value) and "learning_rate" in str(caught.value)
    assert not (tmp_path / "history.csv").exists() and not list(tmp_path.glob("checkpoints/*"))


def test_without_averaging_and_recalibration_it_trains_the_plain_way(tmp_path, faces):
    """Ours and `model.fit` on the same batches reach the same weights."""
    images, labels = faces[0][:30], faces[1][:30]
    ours, plain = small_model(weight_average=0), small_model(weight_average=0)
    fit(tmp_path, faces, epochs=1, model=ours, recalibration_images=0)
    training.key_random_layers(plain, 0, 0)
    plain.fit(training.batches(images, labels, 8, 0, range(1)), steps_per_epoch=4, verbose=0)
    for a, b in zip(ours.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_what_an_image_counts_is_what_plain_keras_takes_as_its_weight(tmp_path, faces, smoothing):
    """TensorFlow's own gradient is wrong for targets that do not sum to 1, though the loss is right."""
    import keras

    images, labels = faces[0][:30], faces[1][:30]
    counts = np.random.default_rng(1).uniform(0, 2, (30, 1)).astype(np.float32)
    counts[::7] = 0
    ours, plain = small_model(), small_model()
    for model in (ours, plain):
        training.compile_model(model, 0.01, label_smoothing=smoothing)
    plain.compile(
        keras.optimizers.Adam(0.01), keras.losses.CategoricalCrossentropy(label_smoothing=smoothing)
    )
    batches = training.batches(images, np.hstack([labels, counts]), 8, 0, range(1))
    weighted = batches.map(lambda x, row: (x, row[:, :CLASSES], row[:, CLASSES]))
    counted = batches.map(lambda x, row: (x, row[:, :CLASSES] * row[:, CLASSES:]))
    losses = []
    for model, given in ((ours, counted), (plain, weighted)):
        training.key_random_layers(model, 0, 0)
        losses.append(model.fit(given, steps_per_epoch=4, verbose=0).history["loss"][0])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    for a, b in zip(ours.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_recalibration_gives_the_statistics_of_the_clean_images(faces):
    model = small_model()
    images = faces[0][:30]
    BatchNormStatistics(model, images).renew()
    layer = model.get_layer("batch_normalization")
    maps = np.asarray(model.get_layer("conv2d")(model.get_layer("rescaling")(images)))
    np.testing.assert_allclose(layer.moving_mean, maps.mean((0, 1, 2)), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(layer.moving_variance, maps.var((0, 1, 2)), rtol=1e-3, atol=1e-6)
    before = [np.asarray(layer.moving_mean), np.asarray(layer.moving_variance)]
    BatchNormStatistics(model, images[:0]).renew()  # none: left alone
    np.testing.assert_array_equal([np.asarray(layer.moving_mean), np.asarray(layer.moving_variance)], before)


def test_recalibration_sees_every_layer_as_inference_would(faces):
    """The statistics are those of the maps that reach each layer when all layers use them."""
    import keras

    from fer_lib import models

    model = models.build("optimized_model", augmentation_strength=1.0)
    rng = np.random.default_rng(0)
    model.set_weights([w + rng.normal(0, 0.05, w.shape).astype(w.dtype) for w in model.get_weights()])
    images = rng.uniform(0, 255, (40, 48, 48, 1)).astype(np.float32)
    before = [np.asarray(weight) for weight in model.trainable_weights]
    BatchNormStatistics(model, images).renew()
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            maps = np.asarray(keras.Model(model.inputs, layer.input)(images, training=False), np.float64)
            np.testing.assert_allclose(layer.moving_mean, maps.mean((0, 1, 2)), rtol=1e-3, atol=1e-3)
            np.testing.assert_allclose(layer.moving_variance, maps.var((0, 1, 2)), rtol=2e-2, atol=1e-3)
    for weight, same in zip(model.trainable_weights, before, strict=True):
        np.testing.assert_array_equal(weight, same)
    assert models.summary_rows(model)  # layers still have one output each


# -- model files -------------------------------------------------------------------------------------------


def test_a_saved_model_has_the_same_bytes_and_predicts_the_same(tmp_path, faces):
    model = small_model()
    checkpoints.save_model(model, tmp_path / "a.keras")
    with zipfile.ZipFile(tmp_path / "a.keras") as archive:
        # Three times the size of the weights, and of no use to anybody but `state.npz`.
        assert b"optimizer" not in archive.read("model.weights.h5")
        assert not json.loads(archive.read("config.json")).get("compile_config")
        assert b"shared_object_id" not in archive.read("config.json")  # addresses in memory
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    checkpoints.save_model(model, tmp_path / "b.keras")
    checkpoints.save_model(loading.load(tmp_path / "a.keras"), tmp_path / "c.keras")
    assert (tmp_path / "a.keras").read_bytes() == (tmp_path / "b.keras").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.keras", "b.keras", "c.keras"]
    expected = model.predict(faces[0], verbose=0)
    for name in ("a", "c"):
        predicted = loading.load(tmp_path / f"{name}.keras").predict(faces[0], verbose=0)
        np.testing.assert_array_equal(predicted, expected)


def unsafe_model(path):
    """Write a model whose layer is Python code: `keras` would run it if it were not told otherwise."""
    import keras

    x = keras.Input((SIZE, SIZE, 1))
    keras.Model(x, keras.layers.Lambda(lambda image: image * 2)(x)).save(path)


@pytest.mark.parametrize("kind", ["empty", "text", "zip", "truncated", "json", "lambda", "folder", "missing"])
def test_what_is_no_model_or_no_safe_one_is_refused(tmp_path, kind):
    path = tmp_path / "model.keras"
    if kind == "lambda":
        unsafe_model(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("readme.txt", "hello")
    elif kind == "json":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("config.json", json.dumps({"class_name": "os.system", "config": "id"}))
            archive.writestr("metadata.json", "{}")
            archive.writestr("model.weights.h5", b"")
    elif kind == "truncated":
        checkpoints.save_model(small_model(), path)
        path.write_bytes(path.read_bytes()[:3000])
    elif kind != "missing":
        path.write_bytes(b"" if kind == "empty" else b"not a model\n" * 50)
    with pytest.raises(UsageError) as caught:
        loading.load(path)
    assert "model.keras" in str(caught.value) and "\n" not in str(caught.value)


# -- evaluation --------------------------------------------------------------------------------------------


def test_the_cross_check_of_evaluations_notices_a_wrong_number(faces, capsys):
    model = small_model()
    images, labels = faces[0], faces[1].argmax(axis=1)
    probabilities = model.predict(images, verbose=0)
    right = {
        "accuracy": float((probabilities.argmax(axis=1) == labels).mean()),
        "loss": float(-np.log(probabilities[np.arange(len(labels)), labels]).mean()),
    }
    cross_check.check_evaluation(model, images, labels, right)
    assert "agrees" in capsys.readouterr().out
    one_image = 1 / len(images)
    for wrong in (
        {"accuracy": right["accuracy"] + one_image},
        {"loss": right["loss"] * 1.01},
        {"loss": math.nan},
    ):
        with pytest.raises(RuntimeError, match="Keras"):
            cross_check.check_evaluation(model, images, labels, right | wrong)
