"""Statistics of batch normalisation, taken anew for the weights as they are."""

import inspect
from typing import Any

import numpy as np


class BatchNormStatistics:
    """Take the means and variances of batch normalisation anew for the weights as they are.

    The moving statistics that training leaves behind are of augmented images and of weights some steps
    old. A small network at Adam's 1e-3 pays dearly: here the validation accuracy of one and the same
    weights was 14 to 49 % with them, and 66 to 68 % with statistics of clean training images.

    All layers in one pass: each part of the images is normalised by its own statistics on the way; kept are
    those of all that a layer gets to see. Layer after layer would need a pass for each.

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
        to_maps = keras.Model(self.copy.inputs, maps or self.copy.outputs)  # not every network normalises

        @tf.function(reduce_retracing=True)
        def moments(part: Any) -> list[tuple[Any, Any]]:
            seen = tf.nest.flatten(to_maps(part))  # of one layer, Keras gives no list
            return [tf.nn.moments(m, list(range(1, len(m.shape) - 1))) for m in seen]  # of each image

        self._moments = moments

    def renew(self) -> None:
        """Set the statistics of every layer for the weights as they are now."""
        if not self.layers or not len(self.images):
            return
        self.copy.set_weights(self.model.get_weights())
        parts = [self.images[start : start + self.PART] for start in range(0, len(self.images), self.PART)]
        found = [self._moments(part) for part in parts]
        for layer, of_parts in zip(self.layers, zip(*found, strict=True), strict=True):
            # Within images and between them: differences from means, for E[x^2] - E[x]^2 of float32 sums is
            # noise where the contrast is a hundredth of the mean.
            means, variances = (np.concatenate([np.asarray(p[k], float) for p in of_parts]) for k in (0, 1))
            mean = means.mean(axis=0)
            layer.moving_mean.assign(mean.astype(np.float32))
            layer.moving_variance.assign((variances + (means - mean) ** 2).mean(axis=0).astype(np.float32))
