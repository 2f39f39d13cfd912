"""Try what helps where there are few photographs: `python try_few.py PHOTOGRAPHS.npz FOLDS.npz RESULTS.json`.

4,000 photographs of three classes, as the assignment's 5,000 leave after validation, train students under
150,000 parameters: with labels, with images mixed, with rendered faces beside them, and from soft labels of
teachers that saw the same 4,000 and no other. Measured on fold 0 of Training (FOLDS.npz is what
`train_teachers.py` wrote). With `--faces FACES.npz` (`python soft_labels.py pack bundled FACES.npz`) there
are the rendered faces, too, beside photographs and alone. PublicTest is not looked at.
"""

import argparse
import json
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from networks import STUDENTS, TEACHERS, parameters
from soft_labels import THREE, cross_entropy, temperature_of, tempered
from torch import Tensor, nn
from training import Fit, Goal, SideBySide
from try_students import usable

DRAWN, COUNT = 5000, 4000
BATCH, RATE, DECAY, MOMENTUM = 128, 3e-3, 0.02, 0.995
DROPOUT = 0.3
PARTS = 4
TEACHERS_RATE, TEACHERS_DECAY = 2e-3, 0.1
LABELS, SOFT, HALF = Goal(0.1), Goal(0.0, 1.0), Goal(0.1, 0.5)
Array = np.ndarray


@dataclass(frozen=True)
class Block:
    """Students that are trained side by side, on the same batches."""

    name: str
    students: tuple[tuple[str, Goal], ...]
    epochs: int = 200
    strength: float = 0.8
    mixing: float = 0.0
    renders: float = 0.0  # share of a batch

    def shortened(self, share: float) -> "Block":
        """Return the same with a share of the epochs."""
        return replace(self, epochs=max(1, round(self.epochs * share)))


SHAPES = ("optimized", "squeezed", "deeper_squeezed", "separable")
TWO = tuple((shape, LABELS) for shape in ("optimized", "deeper_squeezed"))
BLOCKS = (
    Block("labels", (*((shape, LABELS) for shape in SHAPES), ("optimized", Goal(0.2)))),
    Block("renders beside", TWO, renders=0.25),
    Block("renders beside", TWO, renders=0.5),
    Block("mixed", TWO, mixing=0.4),
    Block("stronger", TWO[:1], strength=1.0),
)
TEACHERS_OF_FEW = Block("teachers of few", (("se_resnet", LABELS), ("vgg", LABELS)), 104, mixing=0.5)
TAUGHT = Block("taught by few", tuple((shape, goal) for shape, _ in TWO for goal in (LABELS, SOFT, HALF)))
RENDERS = tuple((shape, LABELS) for shape in ("optimized", "separable", "deeper_squeezed", "small_deeper"))
ALONE = (
    Block("renders alone", RENDERS, 74, 0.7),
    Block("renders alone", RENDERS, 74, 1.2),
    Block("renders alone", RENDERS, 74, 1.0, mixing=0.4),
)


@dataclass
class Trial:
    """Images (n, 48, 48) and labels (n,) of photographs, and after them of rendered faces, on one device."""

    images: Tensor
    labels: Array
    held_out: Array  # places of the photographs of fold 0
    few: Array  # of the 5,000
    rendered: Array
    results: list[dict]
    path: Path

    def chosen(self, seed: int) -> Array:
        """Return the places of 4,000 photographs."""
        return self.few[np.random.default_rng([5, seed]).permutation(DRAWN)[:COUNT]]

    def train(
        self, block: Block, chosen: Array, measured: dict[str, Array], seed: int, taught: Array | None = None
    ) -> list[dict[str, Array]]:
        """Train a block, note its figures, and return each student's probabilities for what is measured."""
        begin = time.perf_counter()
        hard = np.eye(len(THREE), dtype=np.float32)[self.labels]
        targets = np.stack([hard, hard if taught is None else taught], 1).astype(np.float32)
        fits = []
        for shape, goal in block.students:
            torch.manual_seed(seed)
            fits.append(self._fit(shape, goal))
        teaching = block.students[0][0] in TEACHERS
        together = SideBySide(
            fits, self.images, torch.from_numpy(targets).to(self.images.device), BATCH, block.strength
        )
        together.capture(mixes=block.mixing > 0)
        torch.manual_seed(seed + 1)
        at, beside = (torch.from_numpy(index).to(self.images.device) for index in (chosen, self.rendered))
        rate = TEACHERS_RATE if teaching else RATE
        together.train(at, block.epochs, rate, block.mixing, beside, block.renders)
        answers = []
        for (shape, goal), fit in zip(block.students, fits, strict=True):
            row = {"block": block.name, "shape": shape, "parameters": parameters(fit.network), "seed": seed}
            row |= {"soft": goal.soft, "smoothing": goal.smoothing, "epochs": block.epochs}
            row |= {"strength": block.strength, "mixing": block.mixing, "renders": block.renders}
            answers.append({})
            for name, index in measured.items():
                said = fit.predict(self.images[torch.from_numpy(index)], mirrored=teaching).cpu().numpy()
                answers[-1][name] = said
                row |= _figures(name, said, self.labels[index])
            self.note(row | {"seconds": round(time.perf_counter() - begin, 1)})
        return answers

    def _fit(self, shape: str, goal: Goal) -> Fit:
        cuda = self.images.is_cuda
        if shape in TEACHERS:
            return Fit(TEACHERS[shape](len(THREE)), goal, TEACHERS_DECAY, MOMENTUM, cuda)
        network = STUDENTS[shape](len(THREE))
        for layer in network.modules():
            if isinstance(layer, nn.Dropout):
                layer.p = DROPOUT
        return Fit(network, goal, DECAY, MOMENTUM, cuda)

    def note(self, row: dict) -> None:
        """Keep a row of the results, and print it."""
        print(json.dumps(row), flush=True)
        self.results.append(row)
        self.path.write_text(json.dumps(self.results, indent=1) + "\n")

    def parts(self, seed: int) -> Array:
        """Return the part, out of which teachers answer, of each of a seed's photographs."""
        return np.random.default_rng([6, seed]).permutation(COUNT) % PARTS

    def taught(self, seed: int, block: Block) -> Array:
        """Return what teachers say, out of part, of a seed's 4,000 photographs; labels elsewhere."""
        chosen, part = self.chosen(seed), self.parts(seed)
        answers = np.zeros((len(block.students), COUNT, len(THREE)), np.float32)
        held = []
        for k in range(PARTS):
            measured = {"out_of_part": chosen[part == k], "held_out": self.held_out}
            said = self.train(block, chosen[part != k], measured, 10 * seed + k)
            for i, each in enumerate(said):
                answers[i, part == k] = each["out_of_part"]
                held.append(each["held_out"])
        mean, labels = answers.mean(0), self.labels[chosen]
        t = temperature_of(mean, labels)
        row = {"block": "teachers' mean", "seed": seed, "temperature": t}
        row |= _figures("out_of_part", tempered(mean, t), labels)
        said = tempered(np.mean(held, 0), t)
        self.note(row | _figures("held_out", said, self.labels[self.held_out]))
        targets = np.eye(len(THREE), dtype=np.float32)[self.labels]
        targets[chosen] = tempered(mean, t)
        return targets


def _figures(name: str, said: Array, labels: Array) -> dict[str, float]:
    right = float((said.argmax(1) == labels).mean())
    return {f"{name}_accuracy": right, f"{name}_loss": cross_entropy(said, labels)}


def arrays_of(path: str) -> dict[str, Array]:
    """Return the arrays of an npz file."""
    with np.load(path, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


def main() -> None:
    """Try all blocks with every seed."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("photographs")
    parser.add_argument("folds")
    parser.add_argument("results", type=Path)
    parser.add_argument("--faces")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--epochs", type=float, default=1.0, help="share of them, for trials of this program")
    options = parser.parse_args()
    data, fold = arrays_of(options.photographs), arrays_of(options.folds)["fold"]
    faces = arrays_of(options.faces) if options.faces else {name: each[:0] for name, each in data.items()}
    own = usable(data) & np.isin(data["train_labels"], THREE)
    held_out, rest = (np.flatnonzero(own & (fold == 0)), np.flatnonzero(own & (fold != 0)))
    few = np.random.default_rng(0).permutation(rest)[:DRAWN]
    used = np.concatenate([held_out, few])
    images = np.concatenate([data["train_images"][used], faces["train_images"]])
    labels = np.concatenate([data["train_labels"][used], faces["train_labels"]])
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.backends.cudnn.benchmark = True
    n = len(used)
    trial = Trial(
        torch.from_numpy(images).to(device),
        np.array([THREE.index(label) for label in labels]),
        np.arange(len(held_out)),
        np.arange(len(held_out), n),
        np.arange(n, len(images)),
        [],
        options.results,
    )

    measured = {"held_out": trial.held_out}
    for seed in range(options.seeds):
        for block in BLOCKS:
            if len(trial.rendered) or not block.renders:
                trial.train(block.shortened(options.epochs), trial.chosen(seed), measured, seed)
        targets = trial.taught(seed, TEACHERS_OF_FEW.shortened(options.epochs))
        trial.train(TAUGHT.shortened(options.epochs), trial.chosen(seed), measured, seed, targets)
    for block in ALONE if len(trial.rendered) else ():
        trial.train(block.shortened(options.epochs), trial.rendered, {"photographs": np.arange(n)}, 0)


if __name__ == "__main__":
    main()
