"""Try the same on what `fer run` draws: `python try_drawn.py PHOTOGRAPHS FOLDS FACES DRAWN RESULTS.json`.

As `try_few.py` (npz files but for the last). The 4,000 photographs are those of `fer run --preset section6 -p
train_samples=5000 -p validation_share=0.2 -p seed=SEED`, which are as many of each class (DRAWN.npz: `python
soft_labels.py draw`). Measured on all others of Training, some 10,300, without near copies of the 4,000. What
helped there is taken together: mixing, augmentation 1.0, rendered faces, teachers of the same 4,000.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from soft_labels import THREE, keys_of
from try_few import HALF, LABELS, PARTS, SOFT, TWO, Block, Trial, arrays_of
from try_students import usable

Array = np.ndarray
PLAIN = Block("labels", TWO)
STUDENTS = tuple(Block("labels", TWO, strength=1.0, mixing=0.4, renders=share) for share in (0.0, 0.25, 0.5))
LONGER = replace(STUDENTS[1], epochs=400)
TEACHERS = Block(
    "teachers of few", (("se_resnet", LABELS), ("vgg", LABELS)), 140, strength=1.0, mixing=0.5, renders=0.25
)
TAUGHT = tuple(
    replace(
        block,
        name="taught by few",
        students=tuple((shape, goal) for shape, _ in TWO for goal in (SOFT, HALF)),
    )
    for block in STUDENTS[:2]
)


@dataclass
class DrawnTrial(Trial):
    """The same, of one seed: `few` are its photographs, and parts hold whole groups of near copies."""

    group: Array  # (4000,)

    def chosen(self, seed: int) -> Array:
        """Return the places of the 4,000 photographs, all of them."""
        return self.few

    def parts(self, seed: int) -> Array:
        """Return the part, out of which teachers answer, of each of the photographs."""
        _, place = np.unique(self.group, return_inverse=True)
        return np.random.default_rng([6, seed]).permutation(place.max() + 1)[place] % PARTS


def trials(options: argparse.Namespace) -> Iterator[tuple[int, DrawnTrial]]:
    """Yield each seed and its trial."""
    data, groups = arrays_of(options.photographs), arrays_of(options.folds)["group"]
    faces, drawn = arrays_of(options.faces), arrays_of(options.drawn)["keys"]
    keys, three = keys_of(data["train_images"]), np.isin(data["train_labels"], THREE)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    _, first = np.unique(keys[three], return_index=True)
    distinct, clean = np.flatnonzero(three)[first], usable(data) & three
    results: list[dict] = []
    for seed, theirs in enumerate(drawn[: options.seeds]):
        mine = distinct[np.isin(keys[distinct], theirs)]
        if len(mine) != len(theirs):
            raise SystemExit(
                f"{options.drawn}: {len(mine):,} of {len(theirs):,} are in {options.photographs}"
            )
        others = np.flatnonzero(clean & ~np.isin(groups, groups[mine]))
        used = np.concatenate([mine, others])
        images = np.concatenate([data["train_images"][used], faces["train_images"]])
        labels = np.concatenate([data["train_labels"][used], faces["train_labels"]])
        yield (
            seed,
            DrawnTrial(
                torch.from_numpy(images).to(device),
                np.array([THREE.index(label) for label in labels]),
                np.arange(len(mine), len(used)),
                np.arange(len(mine)),
                np.arange(len(used), len(images)),
                results,
                options.results,
                groups[mine],
            ),
        )


def main() -> None:
    """Try all blocks with every seed."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("photographs")
    parser.add_argument("folds")
    parser.add_argument("faces")
    parser.add_argument("drawn")
    parser.add_argument("results", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=float, default=1.0, help="share of them, for trials of this program")
    options = parser.parse_args()
    torch.backends.cudnn.benchmark = True

    for seed, trial in trials(options):
        measured = {"held_out": trial.held_out}
        for block in (PLAIN, *STUDENTS, LONGER):
            trial.train(block.shortened(options.epochs), trial.few, measured, seed)
        targets = trial.taught(seed, TEACHERS.shortened(options.epochs))
        for block in TAUGHT:
            trial.train(block.shortened(options.epochs), trial.few, measured, seed, targets)


if __name__ == "__main__":
    main()
