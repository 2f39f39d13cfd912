"""As many photographs right as 150,000 parameters allow: residual convolutions on 48x48 pixels."""

from typing import Any

IMAGE_SIZE = 48
SECTION, TITLE = "Section 6", "Optimised network"  # of its report


def build(
    classes: int = 3,
    dropout: float = 0.3,
    augmentation_strength: float = 0.7,
    seed: int = 0,
    shape: tuple = (16, ((32, 1), (48, 2), (64, 0))),
    squeeze: int = 0,
) -> Any:
    """Build the network, not compiled.

    Filters are spent where they see most: three residual blocks at 12x12 pixels, where a kernel covers a
    quarter of the face's width, and few at 48x48, where a filter costs sixteen times the arithmetic.

    Source: He et al. (2016), Deep Residual Learning for Image Recognition, arXiv:1512.03385; of `squeeze`,
    Hu et al. (2018), Squeeze-and-Excitation Networks, arXiv:1709.01507.

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
    shape : tuple
        Filters at 48x48 pixels, then filters and residual blocks of each further stage, of half the side.
    squeeze : int
        Above 0 a block weighs its maps by what all of the image shows, through so many times fewer units.

    Returns
    -------
    keras.Model
        Images (n, 48, 48, 1) in [0, 255] to class probabilities (n, classes).
    """
    import keras
    from keras import layers

    from fer_lib.augmentation import RandomPhotograph
    from fer_lib.layers import BatchNormalization

    def convolution(x: Any, filters: int, name: str) -> Any:
        x = layers.Conv2D(filters, 3, padding="same", use_bias=False, name=f"conv_{name}")(x)
        return BatchNormalization(momentum=0.9, name=f"batch_normalization_{name}")(x)

    def relu(x: Any, name: str) -> Any:
        return layers.Activation("relu", name=f"activation_{name}")(x)

    def weighed(x: Any, filters: int, name: str) -> Any:
        y = layers.GlobalAveragePooling2D(keepdims=True, name=f"squeeze_{name}")(x)
        y = layers.Dense(filters // squeeze, activation="relu", name=f"excite_{name}_1")(y)
        y = layers.Dense(filters, activation="sigmoid", name=f"excite_{name}_2")(y)
        return layers.Multiply(name=f"multiply_{name}")([x, y])

    x = inputs = keras.Input((IMAGE_SIZE, IMAGE_SIZE, 1), name="input")
    x = layers.Rescaling(1 / 255, name="rescaling")(x)
    x = RandomPhotograph(augmentation_strength, seed=seed, name="random_photograph")(x)
    x = relu(convolution(x, shape[0], "1"), "1")  # (n, 48, 48, 16)
    for stage, (filters, blocks) in enumerate(shape[1], start=2):
        x = layers.MaxPooling2D(2, name=f"max_pooling_{stage}")(x)
        x = relu(convolution(x, filters, f"{stage}"), f"{stage}")
        for name in (f"{stage}{letter}" for letter in "abc"[:blocks]):
            y = relu(convolution(x, filters, f"{name}_1"), f"{name}_1")
            y = convolution(y, filters, f"{name}_2")
            y = weighed(y, filters, name) if squeeze else y
            x = relu(layers.Add(name=f"add_{name}")([x, y]), f"{name}_2")
    x = layers.GlobalAveragePooling2D(name="global_average_pooling")(x)  # (n, 6, 6, 64) -> (n, 64)
    x = layers.Dropout(dropout, seed=seed + 1, name="dropout")(x)
    outputs = layers.Dense(classes, activation="softmax", name="dense")(x)
    return keras.Model(inputs, outputs, name="optimized_model")
