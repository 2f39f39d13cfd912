"""For small devices: `optimized_model` with 57,644 parameters, a third of the arithmetic."""

from typing import Any

IMAGE_SIZE = 48


def build(classes: int = 3, dropout: float = 0.1, augmentation_strength: float = 0.7, seed: int = 0) -> Any:
    """Build the network, not compiled: of another shape, and with squeeze-and-excitation in its blocks.

    Parameters and result are those of `optimized_model.build`.
    """
    from fer_lib.models import optimized_model

    shape = 12, ((18, 1), (24, 2), (30, 1))
    model = optimized_model.build(classes, dropout, augmentation_strength, seed, shape, squeeze=4)
    model.name = "small_model"
    return model
