"""Where a network looks."""

from typing import TYPE_CHECKING

import numpy as np

from fer_lib.evaluation import logits
from fer_lib.files import UsageError

if TYPE_CHECKING:
    import keras


def grad_cam(
    model: "keras.Model", images: np.ndarray, class_index: np.ndarray | int | None = None
) -> np.ndarray:
    """Where the network looks: Grad-CAM on the last feature maps before pooling.

    The gradient of the score of a class before softmax, averaged over each feature map, weights the maps;
    their sum, cut off below zero, marks what speaks for the class. Augmentation and dropout are
    inactive. Every map is divided by its own maximum, so it shows where, not how much, and two maps
    cannot be compared in strength; a map without any positive evidence is zero throughout.

    With A^k the feature maps, Z the places of each, and s the score: weights a_k = 1/Z sum_ij ds/dA^k_ij, and
    the map is max(0, sum_k a_k A^k).

    Parameters
    ----------
    images : (n, height, width, 1), prepared to the input of the model.
    class_index : class to explain, for all images or (n,) one each; default the predicted class.

    Returns
    -------
    (n, rows, columns) float32 in 0..1 at the resolution of the feature maps (16 x 16 in basic_model).

    Source: Selvaraju et al. (2017), Grad-CAM, ICCV.

    Raises
    ------
    UsageError
        If the model has no two-dimensional feature maps, or does not end with softmax.
    """
    import keras
    import tensorflow as tf

    def is_map(layer: keras.Layer) -> bool:
        shape = getattr(getattr(layer, "output", None), "shape", ())
        pooled = "pooling" in type(layer).__name__.lower()
        return len(shape) == 4 and shape[1] > 1 and shape[3] > 1 and not pooled

    layers = [layer for layer in model.layers if is_map(layer)]
    if not layers:
        raise UsageError(f"{model.name}: no layer gives feature maps; attention needs convolutions")
    to_maps = keras.Model(model.inputs, [layers[-1].output, logits(model)])
    classes = None if class_index is None else np.broadcast_to(class_index, len(images))
    result = []
    for start in range(0, len(images), 64):
        batch = tf.convert_to_tensor(images[start : start + 64], tf.float32)
        with tf.GradientTape() as tape:
            maps, scores = to_maps(batch, training=False)
            index = tf.argmax(scores, axis=1) if classes is None else classes[start : start + 64]
            chosen = tf.gather(scores, index, axis=1, batch_dims=1)
        weights = tf.reduce_mean(tape.gradient(chosen, maps), axis=(1, 2), keepdims=True)
        result.append(tf.nn.relu(tf.reduce_sum(weights * maps, axis=3)).numpy())
    heat = np.concatenate(result)
    peak = heat.max(axis=(1, 2), keepdims=True)
    return np.divide(heat, peak, out=np.zeros_like(heat), where=peak > 0)
