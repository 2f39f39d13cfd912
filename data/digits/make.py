"""Write digits.npz from scikit-learn's handwritten digits: `python data/digits/make.py`."""

import io
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

from fer_lib.files import atomic_path, sha256_of_file


def content() -> bytes:
    """Return the file: images (1797, 8, 8) uint8, 0 to 16, and which digit each is (1797,) uint8."""
    digits = load_digits()
    buffer = io.BytesIO()
    np.savez(buffer, images=digits.images.astype(np.uint8), digits=digits.target.astype(np.uint8))
    return buffer.getvalue()


if __name__ == "__main__":
    path = Path(__file__).with_name("digits.npz")
    with atomic_path(path) as temporary:
        temporary.write_bytes(content())
    print(path, sha256_of_file(path))
