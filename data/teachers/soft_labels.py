"""Photographs in, soft labels out: `python soft_labels.py pack|draw|write ...`; see README.md beside it.

- `pack FER2013 PHOTOGRAPHS.npz`: images and labels of both parts, from any copy that fer_lib reads;
  `pack bundled FACES.npz`: those of the rendered faces.
- `draw FER2013 DRAWN.npz`: which images `fer run` draws, with seeds 0, 1 and 2, where it takes 5,000.
- `write PHOTOGRAPHS.npz FOLDER FILE.npz`: the mean of the teachers in FOLDER; figures go to the console.
"""

import argparse
import hashlib
import json
import sys
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import numpy as np
from scipy.optimize import minimize, minimize_scalar

CLASSES = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
THREE = [CLASSES.index(name) for name in ("neutral", "happy", "surprise")]
KEY = 8  # bytes of an image's SHA-256
Array = np.ndarray


def pack(data: str, path: str) -> None:
    """Write images (n, 48, 48) and labels (n,), uint8, of both parts to an npz file; labels are FER2013's."""
    from fer_lib.data.load import load_faces
    from fer_lib.files import atomic_path

    arrays, known = {}, np.array(THREE if data == "bundled" else range(len(CLASSES)))
    for part in ("train", "test"):
        faces = load_faces(data, tuple(CLASSES[i] for i in known), part)
        arrays[f"{part}_images"] = faces.images
        arrays[f"{part}_labels"] = known[faces.labels].astype(np.uint8)
    with atomic_path(path) as temporary:
        np.savez_compressed(temporary, **arrays)


def draw(data: str, path: str) -> None:
    """Write `keys` (3, 4000) of the training images that `section6` draws of 5,000, with seeds 0, 1 and 2."""
    from fer_lib.data.load import load_split
    from fer_lib.files import atomic_path
    from fer_tools import checking

    few = {"data": data, "train_samples": 5000, "validation_share": 0.2}
    drawn = []
    for seed in range(3):
        values = checking.resolve("section6", few | {"seed": seed})["training"]
        drawn.append(keys_of(load_split(checking.build("training", values))[1].train.images))
    with atomic_path(path) as temporary:
        np.savez_compressed(temporary, keys=np.stack(drawn).astype(np.uint64))


def tempered(probabilities: Array, temperature: float) -> Array:
    """Return probabilities (..., k) as a softmax at another temperature."""
    logits = np.log(np.maximum(probabilities, 1e-7)) / temperature
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def temperature_of(probabilities: Array, labels: Array) -> float:
    """Return the temperature at which probabilities (n, k) have the lowest loss; rows of NaN are left out."""
    known = ~np.isnan(probabilities[:, 0])
    return float(
        np.exp(
            minimize_scalar(
                lambda t: cross_entropy(tempered(probabilities[known], np.exp(t)), labels[known]),
                bounds=(-1.5, 1.5),
                method="bounded",
            ).x
        )
    )


def weights_of(answers: Array, labels: Array) -> Array:
    """Return the weights (teachers,) at which the mean of answers (teachers, n, k) has the lowest loss."""
    known = ~np.isnan(answers[:, :, 0]).any(0)
    said = answers[:, known, labels[known]]  # (teachers, known)

    def loss(logits: Array) -> float:
        weights = np.exp(logits - logits.max())
        return float(-np.log(np.maximum(weights / weights.sum() @ said, 1e-7)).mean())

    found = np.exp(minimize(loss, np.zeros(len(answers)), method="BFGS").x)
    return found / found.sum()


def cross_entropy(probabilities: Array, labels: Array) -> float:
    """Return the mean loss of probabilities (n, k)."""
    return float(-np.log(np.maximum(probabilities[np.arange(len(labels)), labels], 1e-7)).mean())


def restricted(probabilities: Array) -> Array:
    """Return the probabilities (n, 3) of neutral, happy and surprise, given that it is one of them."""
    three = probabilities[..., THREE]
    return three / three.sum(-1, keepdims=True)


def teachers(folder: Path) -> Iterator[tuple[str, dict[str, Array]]]:
    """Yield each teacher's name and what it said, of the files that `train_teachers.py` wrote."""
    for path in sorted(folder.glob("*.npz")):
        with np.load(path, allow_pickle=False) as arrays:
            if "out_of_fold" in arrays:
                yield path.stem, {name: arrays[name] for name in arrays.files}


def combined(folder: Path, labels: Array) -> tuple[Array, Array, dict[str, tuple[Array, Array, dict]]]:
    """Return what the teachers say together, and each alone.

    Returns
    -------
    out_of_fold : (n, 7)
        Weighted mean of the teachers, each at the temperature that fits its answers out of fold, at the
        weights that fit; NaN where one does not know.
    public : (m, 7)
        The same mean, over folds too, for PublicTest.
    each : dict
        For each teacher these two arrays and its figures.
    """
    each = {}
    for name, said in teachers(folder):
        t = temperature_of(said["out_of_fold"], labels)
        out = tempered(said["out_of_fold"], t)
        public = tempered(said["public"], t).mean(0)
        figures = {key: said[key].item() for key in ("epochs", "seconds", "parameters")}
        each[name] = out, public, figures | {"temperature": t}
    weights = weights_of(np.stack([said[0] for said in each.values()]), labels)
    for said, weight in zip(each.values(), weights, strict=True):
        said[2]["weight"] = float(weight)
    out, public = (np.tensordot(weights, np.stack([said[i] for said in each.values()]), 1) for i in (0, 1))
    t = temperature_of(out, labels)
    return tempered(out, t), tempered(public, t), each


def keys_of(images: Array) -> Array:
    """Return the first 8 bytes of the SHA-256 of each image's pixels, (n,) as one big number."""
    digests = b"".join(hashlib.sha256(image.tobytes()).digest()[:KEY] for image in images)
    return np.frombuffer(digests, ">u8")


def accuracies(probabilities: Array, labels: Array) -> dict[str, float]:
    """Return accuracy and loss in seven classes, and in three on the images that are of these."""
    three = np.isin(labels, THREE)
    among = np.array([THREE.index(label) for label in labels[three]])
    few = restricted(probabilities[three])
    return {
        "accuracy": float((probabilities.argmax(1) == labels).mean()),
        "loss": cross_entropy(probabilities, labels),
        "accuracy_3": float((few.argmax(1) == among).mean()),
        "loss_3": cross_entropy(few, among),
    }


def disagreement(groups: Array, labels: Array) -> dict[str, float]:
    """Count the pairs of one group, and the share of them with two labels; the same of the three classes."""
    order = np.argsort(groups, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(groups[order].astype(np.int64))) + 1)
    pairs = np.array([pair for part in parts for pair in combinations(labels[part], 2)])
    differ, three = pairs[:, 0] != pairs[:, 1], np.isin(pairs, THREE).all(1)
    return {
        "pairs": len(pairs),
        "differ": float(differ.mean()),
        "pairs_3": int(three.sum()),
        "differ_3": float(differ[three].mean()),
    }


def misled(answers: list[Array], labels: Array) -> dict[str, float]:
    """Return the share of images of which all teachers say the same and the label another thing."""
    three = np.isin(labels, THREE)
    among = np.array([THREE.index(label) for label in labels[three]])
    shares = {}
    for name, said, true in (
        ("share", [one.argmax(1) for one in answers], labels),
        ("share_3", [restricted(one[three]).argmax(1) for one in answers], among),
    ):
        shares[name] = float(np.logical_and.reduce([(one == said[0]) & (one != true) for one in said]).mean())
    return shares


def write(photographs: str, folder: Path, path: str) -> None:
    """Write the soft labels of every distinct image of Training, sorted by key; print the figures.

    It holds `keys` (n,) of `keys_of`, `probabilities` (n, 7) float16, `fold` (n,) uint8, `classes` (7,).
    """
    from fer_lib.files import atomic_path

    with np.load(photographs, allow_pickle=False) as arrays:
        data = {name: arrays[name] for name in arrays.files}
    labels, public_labels = data["train_labels"].astype(int), data["test_labels"].astype(int)
    out, public, each = combined(folder, labels)
    if missing := np.isnan(out[:, 0]).sum():
        raise SystemExit(f"{folder}: {missing:,} images have no answer; train all folds")
    keys = keys_of(data["train_images"])
    met = np.isin(keys_of(data["test_images"]), keys)
    figures: dict[str, object] = {}
    for name, (mine, test, about) in {**each, "mean": (out, public, {})}.items():
        figures[name] = about | {
            "out_of_fold": accuracies(mine, labels),
            "public": accuracies(test, public_labels),
            "public_without_copies": accuracies(test[~met], public_labels[~met]),
        }
    with np.load(folder / "folds.npz", allow_pickle=False) as arrays:
        fold, group = arrays["fold"], arrays["group"]
    figures["exact_copies"], figures["near_copies"] = (disagreement(g, labels) for g in (keys, group))
    figures["public_all_teachers_say_another"] = misled([said[1] for said in each.values()], public_labels)
    print(json.dumps(figures, indent=1))
    _, first = np.unique(keys, return_index=True)
    with atomic_path(path) as temporary:
        np.savez(
            temporary,
            keys=keys[first],
            probabilities=out[first].astype(np.float16),
            fold=fold[first],
            classes=np.array(CLASSES),
        )


def main() -> None:
    """Pack, draw or write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("action", choices=("pack", "draw", "write"))
    parser.add_argument("paths", nargs="+")
    options = parser.parse_args()
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    if len(options.paths) != (wanted := {"pack": 2, "draw": 2, "write": 3}[options.action]):
        parser.error(f"{options.action} takes {wanted} paths, not {len(options.paths)}; see --help")
    if options.action == "pack":
        pack(*options.paths)
    elif options.action == "draw":
        draw(*options.paths)
    else:
        photographs, folder, path = options.paths
        write(photographs, Path(folder), path)


if __name__ == "__main__":
    main()
