"""What `fer diagnose --json` could say, written by hand."""

import json
from typing import Any

from fer_lib.statistics import wilson_interval

LAYERS = ("Conv2D", "MaxPooling2D", "Flatten", "Dense")


def diagnosis(
    right: int | None = 800, images: int = 1000, game_right: int = 350, **changed: Any
) -> dict[str, Any]:
    """Return the diagnosis of a network that recognises so many of the test images; None: cannot be told."""
    test = None
    if right is not None:
        low, high = wilson_interval(right, images)
        test = {
            "images": images,
            "accuracy": right / images,
            "low": low,
            "high": high,
            "images_without_twins": images - 1,
            "accuracy_without_twins": right / images,
            "loss": 0.5,
            "mean_confidence": 0.8,
            "calibration_error": 0.1,
            "confusion": [[right, 0, 0], [0, 0, 0], [images - right, 0, 0]],
            "as_the_game": game_right / images,
        }
    reading = {"told": right is not None, "order": None, "scale": "0..255", "p_value": 0.5, "images": 960}
    return {
        "format": 1,
        "state": "fine",
        "reason": None,
        "file": {"name": "model.keras", "bytes": 1, "sha256": "0" * 64, "weights_sha256": "1" * 64},
        "container": {"kind": "keras 3 zip", "keras": "3.15.1", "notes": []},
        "parameters": 118_531,
        "limit": 150_000,
        "layers": [{"class": name, "name": name, "parameters": 1, "output_shape": [1]} for name in LAYERS],
        "input": {"height": 64, "width": 64, "channels": 1},
        "output": {"classes": 3, "activation": "softmax"},
        "reading": reading | {"sentence": "Its outputs mean happy, neutral, surprise."},
        "test": test,
        "game": None,
        "findings": [],
        "cost": {"seconds": 1.0, "images_seen": 1000},
    } | changed


def printed(found: dict[str, Any]) -> bytes:
    """Return a diagnosis as it is printed."""
    return json.dumps(found).encode()
