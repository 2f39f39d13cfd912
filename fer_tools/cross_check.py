"""Our evaluation against Keras' own."""

from typing import Any

import numpy as np

from fer_lib import training


def check_evaluation(model: Any, images: np.ndarray, labels: np.ndarray, metrics: dict[str, Any]) -> None:
    """Compare Keras' own evaluation with ours; they are computed along different ways.

    Parameters
    ----------
    model : keras.Model
    images : ndarray, shape (n, size, size, 1)
    labels : ndarray of int, shape (n,)
    metrics : dict
        Of `fer_lib.evaluation.evaluate`.

    Raises
    ------
    RuntimeError
        If accuracy differs by an image, or loss by more than float32 can explain.
    """
    training.compile_model(model)
    targets = training.one_hot(labels, model.output_shape[-1])
    found = model.evaluate(images, targets, batch_size=256, verbose=0, return_dict=True)
    said = {"loss": float(found["cross_entropy"]), "accuracy": float(found["accuracy"])}
    ours = {name: metrics[name] for name in said}
    near = np.isclose(said["accuracy"], ours["accuracy"], rtol=0, atol=1e-6)
    if not (near and np.isclose(said["loss"], ours["loss"], rtol=1e-3, atol=1e-4)):
        raise RuntimeError(f"Keras' evaluation {said} is not ours {ours}")
    print("Keras' own evaluation agrees")
