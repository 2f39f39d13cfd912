"""Networks as others open them, without this package."""

from typing import Any

from fer_lib.layers import as_keras


def without_augmentation(model: Any) -> Any:
    """Copy a model with nothing in place of the layers that change training images, in Keras' own layers.

    Such a copy opens wherever Keras is, whether or not this package is installed.
    """
    config = as_keras(model).get_config()
    for layer in config["layers"]:
        if layer["name"].startswith("random_"):
            layer |= {"module": "keras.layers", "class_name": "Activation", "registered_name": None}
            layer["config"] = {"name": layer["name"], "activation": "linear"}
    copy = type(model).from_config(config)
    for layer in copy.layers:
        layer.set_weights(model.get_layer(layer.name).get_weights() if layer.weights else [])
    return copy
