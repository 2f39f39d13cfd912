"""A loss that Keras does not have, and a layer that it has and we make quicker."""

from typing import Any

from fer_lib import tensorflow_import

tensorflow_import.import_tensorflow()
import keras  # noqa: E402
import tensorflow as tf  # noqa: E402
from keras import ops  # noqa: E402

registered = keras.saving.register_keras_serializable("fer_lib")


class BatchNormalization(keras.layers.BatchNormalization):
    """Keras' batch normalisation of maps by TensorFlow's fused kernel: the same numbers, fewer passes.

    But for the rounding of sums in float32, where now one and now the other is the more exact. It exists in
    training only: `fer_lib.checkpoints.save_model` writes Keras' own layer in its place.
    """

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Normalise maps (n, height, width, channels) by channel."""
        normalised, mean, variance = tf.compat.v1.nn.fused_batch_norm(
            inputs,
            ops.convert_to_tensor(self.gamma),
            ops.convert_to_tensor(self.beta),
            None if training else ops.convert_to_tensor(self.moving_mean),
            None if training else ops.convert_to_tensor(self.moving_variance),
            epsilon=self.epsilon,
            is_training=bool(training),
        )
        if training:
            # The kernel gives the sample variance, over n - 1; Keras keeps that of the n values themselves.
            n = tf.cast(tf.size(inputs) // inputs.shape[-1], variance.dtype)
            variance *= tf.maximum(n - 1, 1) / n
            for moving, batch in ((self.moving_mean, mean), (self.moving_variance, variance)):
                moving.assign(moving * self.momentum + batch * (1 - self.momentum))
        return normalised


@registered
class CrossEntropy(keras.losses.CategoricalCrossentropy):
    """Cross-entropy of targets (n, classes) that sum to what an image counts, which need not be 1.

    Keras' own has the right value then, too, and a wrong gradient: it takes that of TensorFlow's softmax with
    cross-entropy, in which the sum of a row is 1 whatever it is.
    """

    def call(self, targets: Any, probabilities: Any) -> Any:
        """Return the loss (n,) of each image."""
        counts = ops.sum(targets, axis=-1)
        return counts * super().call(ops.divide_no_nan(targets, counts[:, None]), probabilities)


def as_keras(model: Any) -> Any:
    """Copy a model, not compiled, with Keras' own layers where ours are quicker versions of them."""
    # Not `clone_model`, which copies the optimizer of a compiled model as well.
    own = {"BatchNormalization": keras.layers.BatchNormalization}
    copy = type(model).from_config(model.get_config(), custom_objects=own)
    copy.set_weights(model.get_weights())
    return copy
