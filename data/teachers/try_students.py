"""Try students: `python try_students.py PHOTOGRAPHS.npz FOLDER RESULTS.json --seconds 150`.

FOLDER holds what `train_teachers.py` wrote. Students have under 150,000 parameters, learn on four folds of
Training and are measured on the fifth, in three classes. The students of a block see the same batches of the
same augmented images and, those of one shape, begin with the same weights: only shape and goal differ.
No photograph of PublicTest is looked at; copies of one leave Training, as do other copies.
"""

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from networks import STUDENTS, parameters
from soft_labels import CLASSES, THREE, combined, keys_of, restricted
from torch import Tensor
from training import Fit, Goal, SideBySide

BATCH = 128
RATE, DECAY, MOMENTUM = 3e-3, 0.02, 0.995
STRENGTH = 0.7
SOFT, HALF2 = Goal(0.0, 1.0), Goal(0.1, 0.5, 2.0)
LIKELY, OWN = Goal(0.0, 1.0, weighing=2), Goal(0.0, 1.0, weighing=3)
LEAST = 0.1  # what teachers give to the three classes at least, of the other images of "three of all"


@dataclass(frozen=True)
class Block:
    """Students that are trained side by side: on how many classes, how long, with how many images mixed.

    `others`: of three classes, yet photographs of the others are among those to train on.
    """

    name: str
    students: tuple[tuple[str, Goal], ...]
    classes: int = 3
    epochs: int = 90
    mixing: float = 0.0
    others: bool = False


def _taught(*shapes: str) -> tuple[tuple[str, Goal], ...]:
    return tuple((shape, SOFT) for shape in shapes)


# Each takes about as many steps.
BLOCKS = (
    Block(
        "three classes",
        (
            *_taught("optimized", "squeezed", "deeper", "averaging", "small", "small_squeezed"),
            ("optimized", HALF2),
        ),
    ),
    Block(
        "three of all",
        (
            *((shape, LIKELY) for shape in STUDENTS if shape not in ("squeezed", "averaging")),
            ("optimized", OWN),
        ),
        epochs=59,
        others=True,
    ),
    Block(
        "seven classes", _taught("optimized", "deeper_squeezed", "separable", "small_deeper"), 7, epochs=48
    ),
    Block("mixed", _taught("optimized", "small_deeper"), mixing=0.3),
)


def usable(data: dict[str, np.ndarray]) -> np.ndarray:
    """Return which images of Training are used, (n,) bool: none twice, none of PublicTest, no two labels."""
    keys = keys_of(data["train_images"])
    _, first, group = np.unique(keys, return_index=True, return_inverse=True)
    labels = data["train_labels"].astype(int)
    one_label = np.array([len(set(labels[group == g])) == 1 for g in np.flatnonzero(np.bincount(group) > 1)])
    kept = np.zeros(len(labels), bool)
    kept[first] = True
    conflicting = np.flatnonzero(np.bincount(group) > 1)[~one_label]
    return kept & ~np.isin(group, conflicting) & ~np.isin(keys, keys_of(data["test_images"]))


def train_block(
    block: Block, seed: int, images: Tensor, targets: Tensor, held_out: Tensor, seconds: float
) -> list[dict] | None:
    """Train a block and return its results, or None if it does not go into `seconds`.

    Parameters
    ----------
    block : Block
    seed : int
    images : Tensor (n, 48, 48)
    targets : Tensor (n, 4, k)
        Labels and teachers, of the block's classes; what teachers said before it was divided by its sum, and
        the same but for images whose label is of the classes, which have the sum 1.
    held_out : Tensor (n,) bool
        What is measured on; in three classes.
    seconds : float
    """
    begin, fits = time.perf_counter(), []
    for shape, goal in block.students:
        torch.manual_seed(seed)
        fits.append(Fit(STUDENTS[shape](block.classes), goal, DECAY, MOMENTUM, images.is_cuda))
    together = SideBySide(fits, images, targets, BATCH, STRENGTH)
    together.capture(mixes=block.mixing > 0)
    chosen = (~held_out).nonzero()[:, 0]
    expected = together.seconds_a_step() * (len(chosen) // BATCH) * block.epochs
    left = seconds - (time.perf_counter() - begin)
    print(f"{block.name}, seed {seed}: {len(fits)} students, {expected:.1f} of {left:.1f} s", flush=True)
    if 1.03 * expected + 1 > left:
        return None
    torch.manual_seed(seed + 1)
    together.train(chosen, block.epochs, RATE, block.mixing)
    results = []
    for (shape, goal), fit in zip(block.students, fits, strict=True):
        measured = held_out & (targets[:, 0].sum(1) > 0.5)
        said = fit.predict(images[measured], mirrored=False).cpu().numpy()
        labels = targets[measured, 0].argmax(1).cpu().numpy()
        seven = {}
        if block.classes == len(CLASSES):
            seven = {"accuracy_7": float((said.argmax(1) == labels).mean())}
            among = np.isin(labels, THREE)
            said, labels = restricted(said[among]), np.array([THREE.index(label) for label in labels[among]])
        results.append(
            {
                "block": block.name,
                "shape": shape,
                "parameters": parameters(fit.network),
                "soft": goal.soft,
                "temperature": goal.temperature,
                "weighing": goal.weighing,
                "epochs": block.epochs,
                "seed": seed,
                "images": len(chosen),
                "accuracy_3": float((said.argmax(1) == labels).mean()),
                "loss_3": float(-np.log(said[np.arange(len(labels)), labels]).mean()),
                "measured_on": len(labels),
                **seven,
            }
        )
    return results


def main() -> None:
    """Try what there is time for, the blocks in order, each with every seed."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("photographs")
    parser.add_argument("folder", type=Path)
    parser.add_argument("results", type=Path)
    parser.add_argument("--seconds", type=float, required=True, help="for everything")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--epochs", type=float, default=1.0, help="share of them, for trials of this program")
    options = parser.parse_args()
    begin = time.perf_counter()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.backends.cudnn.benchmark = True
    with np.load(options.photographs, allow_pickle=False) as arrays:
        data = {name: arrays[name] for name in arrays.files}
    labels = data["train_labels"].astype(int)
    taught, _, _ = combined(options.folder, labels)
    with np.load(options.folder / "folds.npz") as arrays:
        held_out = arrays["fold"] == 0
    every = usable(data) & ~np.isnan(taught[:, 0])
    results: list[dict] = []
    own = np.isin(labels, THREE)
    for seed in range(options.seeds):
        for block in BLOCKS:
            chosen = every.copy()
            if block.classes == 3:
                chosen &= own | (block.others & (taught[:, THREE].sum(1) >= LEAST))
            hard, soft = np.eye(len(CLASSES))[labels[chosen]], taught[chosen]
            if block.classes == 3:
                hard, soft = hard[:, THREE], soft[:, THREE]
            normal = soft / soft.sum(1, keepdims=True)
            rows = [hard, normal, soft, np.where(own[chosen, None], normal, soft)]
            targets = torch.from_numpy(np.stack(rows, 1).astype(np.float32)).to(device)
            images = torch.from_numpy(data["train_images"][chosen]).to(device)
            block = Block(**{**vars(block), "epochs": max(1, round(block.epochs * options.epochs))})
            left = options.seconds - (time.perf_counter() - begin)
            aside = torch.from_numpy(held_out[chosen]).to(device)
            found = train_block(block, seed, images, targets, aside, left)
            for one in found or ():
                print(json.dumps(one), flush=True)
            results += found or []
            options.results.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
