"""Trained on rendered faces for photographs: edges instead of grey values, 125,219 parameters."""

from typing import Any

IMAGE_SIZE = 48


def build(classes: int = 3, dropout: float = 0.3, augmentation_strength: float = 0.7, seed: int = 0) -> Any:
    """Build the network, not compiled.

    Parameters
    ----------
    classes : int
        Size of the softmax.
    dropout : float
        Share of units dropped before the last layer.
    augmentation_strength : float
        See `fer_lib.augmentation.RandomPhotograph`.
    seed : int
        Where dropout and augmentation start; the weights follow Keras' global seed.

    Returns
    -------
    keras.Model
        Images (n, 48, 48, 1) in [0, 255] to class probabilities (n, classes).
    """
    import keras
    from keras import layers

    from fer_lib.augmentation import RandomPhotograph
    from fer_lib.layers import BatchNormalization, LocalContrast, OrientedEdges

    x = inputs = keras.Input((IMAGE_SIZE, IMAGE_SIZE, 1), name="input")
    x = layers.Rescaling(1 / 255, name="rescaling")(x)
    x = RandomPhotograph(augmentation_strength, seed=seed, name="random_photograph")(x)
    x = LocalContrast(name="local_contrast")(x)
    x = OrientedEdges(name="oriented_edges")(x)  # (n, 24, 24, 8)
    for i, filters in enumerate((40, 80, 128), start=1):  # -> (n, 6, 6, 128)
        x = layers.Conv2D(filters, 3, padding="same", use_bias=False, name=f"conv_{i}")(x)
        x = BatchNormalization(momentum=0.9, name=f"batch_normalization_{i}")(x)
        x = layers.Activation("relu", name=f"activation_{i}")(x)
        if i < 3:
            x = layers.MaxPooling2D(2, name=f"max_pooling_{i}")(x)
        x = layers.SpatialDropout2D(0.05, seed=seed + i, name=f"spatial_dropout_{i}")(x)
    x = layers.GlobalAveragePooling2D(name="global_average_pooling")(x)  # (n, 128)
    x = layers.Dropout(dropout, seed=seed + 4, name="dropout")(x)
    outputs = layers.Dense(classes, activation="softmax", name="dense")(x)
    return keras.Model(inputs, outputs, name="sim2real_model")
