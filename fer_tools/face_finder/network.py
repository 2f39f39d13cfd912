"""BlazeFace in NumPy: nothing to start, and some seven milliseconds of processor a look.

Source: Bazarevsky et al. (2019), BlazeFace: sub-millisecond neural face detection on mobile GPUs,
arXiv:1907.05047.
"""

from functools import lru_cache

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from fer_tools.face_finder import weights

INPUT = 128  # height and width, pixels
BLOCKS = 16  # of a depthwise and a pointwise convolution beside a way around both
HALVING = (2, 5, 11)  # blocks that halve height and width
BRANCH = 11  # the block before which the finer half of the answers is read
ANCHORS = ((16, 2), (8, 6))  # grid, and answers a cell


@lru_cache
def _weights() -> dict[str, np.ndarray]:
    return weights.read()


@lru_cache
def anchors() -> np.ndarray:
    """Return the places (896, 2) that answers are relative to: x and y, in parts of the input."""
    found = []
    for grid, each in ANCHORS:
        y, x = np.mgrid[:grid, :grid]
        found.append(np.repeat(np.stack([x.ravel(), y.ravel()], 1) + 0.5, each, 0) / grid)
    return np.concatenate(found).astype(np.float32)


def answers(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return what the network says.

    Parameters
    ----------
    images : ndarray of uint8, shape (n, 128, 128, 3)

    Returns
    -------
    ndarray of float32, shape (n, 896)
        How likely there is a face, for each anchor.
    ndarray of float32, shape (n, 896, 16)
        Of that face, in parts of the input: centre x and y, width, height, then x and y of right eye, left
        eye, nose, mouth, right ear, left ear.
    """
    w = _weights()
    x = _first(images.astype(np.float32) / 127.5 - 1, w["conv2d.kernel"], w["conv2d.bias"])
    outputs = []
    for i in range(BLOCKS):
        if i == BRANCH:
            outputs.append(x)
        x = _block(x, i, w)
    outputs.append(x)
    logits, values = (
        np.concatenate(
            [
                _point(x, w, f"{name}_{s}").reshape(len(images), -1, k)
                for x, s in zip(outputs, (8, 16), strict=True)
            ],
            axis=1,
        )
        for name, k in (("classificator", 1), ("regressor", 16))
    )
    values = values / INPUT
    values[..., :2] += anchors()
    values[..., 4:] += np.tile(anchors(), 6)
    return 1 / (1 + np.exp(-np.clip(logits[..., 0], -80, 80))), values


def _first(x: np.ndarray, kernel: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Convolve by 5x5 with stride 2."""
    windows = sliding_window_view(np.pad(x, ((0, 0), (1, 2), (1, 2), (0, 0))), (5, 5), (1, 2))[:, ::2, ::2]
    flat = kernel.transpose(2, 0, 1, 3).reshape(
        -1, kernel.shape[3]
    )  # as windows have it: channel, row, column
    return np.maximum(windows.reshape(*windows.shape[:3], -1) @ flat + bias, 0)


def _point(x: np.ndarray, w: dict[str, np.ndarray], name: str) -> np.ndarray:
    """Convolve by 1x1."""
    return x @ w[f"{name}.kernel"][0, 0] + w[f"{name}.bias"]


def _block(x: np.ndarray, i: int, w: dict[str, np.ndarray]) -> np.ndarray:
    """Compute one block: a depthwise convolution by 3x3, one by 1x1, and what goes around them."""
    name = f"depthwise_conv2d_{i}" if i else "depthwise_conv2d"
    n, height, width, channels = x.shape
    step = 2 if i in HALVING else 1
    padded = np.pad(x, ((0, 0), (2 - step, 1), (2 - step, 1), (0, 0)))
    y = np.zeros((n, height // step, width // step, channels), np.float32) + w[f"{name}.bias"]
    for row in range(3):
        for column in range(3):
            part = padded[:, row : row + height : step, column : column + width : step]
            y += part * w[f"{name}.kernel"][row, column, 0]
    y = _point(y, w, f"conv2d_{i + 1}")
    if step == 2:
        x = x.reshape(n, height // 2, 2, width // 2, 2, channels).max((2, 4))
    y[..., :channels] += x  # channels that are new have nothing to go around with
    return np.maximum(y, 0)
