"""The assignment's initial network: three convolution blocks, two dense layers, 118,531 parameters."""

from typing import Any

IMAGE_SIZE = 64
SECTION, TITLE = "Section 5", "Initial network"  # of its report


def build(
    classes: int = 3,
    convolutions: int = 3,
    dense_layers: int = 2,
    dropout_layers: int = 2,
    dropout: float = 0.3,
    batch_norm_momentum: float = 0.9,
    rotation: float = 0.02,
    zoom: float = 0.05,
    seed: int = 0,
) -> Any:
    """Build the network, not compiled.

    Layer names are given, not counted up, so the summary is the same however many models the process
    has built before.

    Parameters
    ----------
    classes : int
        Size of the softmax; 3 in the assignment.
    convolutions : int
        Blocks of convolution and pooling. Filters double from one to the next and end with 128, so that
        more blocks make the network deeper, not larger.
    dense_layers : int
        Before the softmax, of 128, 64, ... units.
    dropout_layers : int
        How many of the dense layers, counted from the first, are followed by dropout.
    dropout : float
        Share of units that each of these drops.
    batch_norm_momentum : float
        How slowly the moving statistics follow. Keras' 0.99 needs some 25 epochs of 32 steps to settle,
        and until then validation sees another network than training; 0.9 needs two.
    rotation, zoom : float
        See `fer_lib.augmentation.augmentation_layers`.
    seed : int
        Where dropout and augmentation start; the weights follow Keras' global seed.

    Returns
    -------
    keras.Model
        Images (n, 64, 64, 1) in [0, 255] to class probabilities (n, classes).
    """
    import keras
    from keras import layers

    from fer_lib.augmentation import augmentation_layers
    from fer_lib.layers import BatchNormalization

    def numbered(name: str, i: int) -> str:
        return f"{name}_{i}" if i else name

    x = inputs = keras.Input((IMAGE_SIZE, IMAGE_SIZE, 1), name="input")
    x = layers.Rescaling(1 / 255, name="rescaling")(x)
    for layer in augmentation_layers(rotation, zoom, seed):
        x = layer(x)
    for i in range(convolutions):  # (n, 64, 64, 1) -> (n, 8, 8, 128) after three
        filters = 128 >> (convolutions - 1 - i)
        x = layers.Conv2D(filters, 3, padding="same", name=numbered("conv2d", i))(x)
        x = BatchNormalization(momentum=batch_norm_momentum, name=numbered("batch_normalization", i))(x)
        x = layers.Activation("relu", name=numbered("activation", i))(x)
        x = layers.MaxPooling2D(2, name=numbered("max_pooling2d", i))(x)
    x = layers.GlobalAveragePooling2D(name="global_average_pooling2d")(x)  # (n, 128)
    for i in range(dense_layers):
        x = layers.Dense(128 >> i, activation="relu", name=numbered("dense", i))(x)
        if i < dropout_layers:
            x = layers.Dropout(dropout, seed=seed + 3 + i, name=numbered("dropout", i))(x)
    outputs = layers.Dense(classes, activation="softmax", name=numbered("dense", dense_layers))(x)
    return keras.Model(inputs, outputs, name="basic_model")
