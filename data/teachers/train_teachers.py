"""Train the teachers out of fold: `python train_teachers.py PHOTOGRAPHS.npz FOLDER --seconds 500`.

PHOTOGRAPHS.npz is written by `python soft_labels.py pack`. Each teacher is trained five times, each time
without one fold of Training, of which it then says what it sees there. Copies of a photograph, exact or
nearly so, lie in one fold. No epoch, and nothing else, is chosen by the fold left out or by PublicTest.

FOLDER receives `<teacher>.npz` after every fold: `out_of_fold` (n, 7), NaN where not yet known, `public`
(folds, m, 7), the probabilities for PublicTest of the network of each fold, and the numbers `epochs`,
`seconds` and `parameters`; and `folds.npz`: `fold` (n,) and `group` (n,).
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from networks import TEACHERS, parameters
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from torch import Tensor
from torch.nn import functional as F
from training import Fit, Goal, SideBySide

FOLDS = 5
CLASSES = 7
BATCH = 256
RATE, DECAY, MOMENTUM = 2e-3, 0.1, 0.998
STRENGTH, MIXING = 0.8, 0.5
MOST_EPOCHS = 300
SHIFTS = 2  # pixels, for the mean that a teacher answers with
ALIKE = 0.94  # correlation at 16x16 pixels: above it 83 % of the pairs have one label, at 0.90 57 %


def near_copies(images: Tensor) -> np.ndarray:
    """Return the group of each image, (n,) int: those of one photograph, mirrored or not, have one number."""
    small = F.avg_pool2d(images[:, None].float(), 3)
    straight, mirrored = (_standardised(x) for x in (small, small.flip(3)))
    pairs = []
    for begin in range(0, len(images), 2048):
        part = straight[begin : begin + 2048]
        alike = torch.maximum(part @ straight.T, part @ mirrored.T) > ALIKE
        found = alike.nonzero().cpu().numpy()
        pairs.append(found + np.array([begin, 0]))
    rows, columns = np.concatenate(pairs).T
    n = len(images)
    return connected_components(coo_matrix((np.ones(len(rows), np.int8), (rows, columns)), (n, n)), False)[1]


def _standardised(images: Tensor) -> Tensor:
    flat = images.flatten(1)
    flat = flat - flat.mean(1, keepdim=True)
    return flat / flat.norm(dim=1, keepdim=True).clamp_min(1e-6)


def folds_of(groups: np.ndarray, seed: int = 0) -> np.ndarray:
    """Return the fold of each image, (n,) int: whole groups at random, folds of nearly one size."""
    sizes = np.bincount(groups)
    order = np.random.default_rng(seed).permutation(len(sizes))
    before = np.empty(len(sizes), np.int64)
    before[order] = np.cumsum(sizes[order]) - sizes[order]
    return before[groups] * FOLDS // len(groups)


def photographs(path: str, device: torch.device) -> dict[str, Tensor]:
    """Return the arrays of PHOTOGRAPHS.npz on the device."""
    with np.load(path, allow_pickle=False) as arrays:
        return {name: torch.from_numpy(arrays[name]).to(device) for name in arrays.files}


def train_fold(name: str, data: dict[str, Tensor], fold: Tensor, k: int, epochs: int, share: float) -> dict:
    """Train one teacher without one fold.

    Parameters
    ----------
    name : str
        Of the teacher.
    data : dict
        Of `photographs`.
    fold : Tensor (n,)
    k : int
        Which one to leave out.
    epochs : int
        0: as many as go into `share`.
    share : float
        Seconds for this fold.

    Returns
    -------
    dict
        `out_of_fold` and `public`, probabilities, and `epochs`, `seconds`, `parameters`.
    """
    images, begin = data["train_images"], time.perf_counter()
    torch.manual_seed(1000 * list(TEACHERS).index(name) + k)
    network = TEACHERS[name](CLASSES)
    labels = F.one_hot(data["train_labels"].long(), CLASSES).float()
    fit = Fit(network, Goal(), DECAY, MOMENTUM, images.is_cuda)
    together = SideBySide([fit], images, labels[:, None].expand(-1, 2, -1), BATCH, STRENGTH)
    together.capture(mixes=True)
    chosen = (fold != k).nonzero()[:, 0]
    if not epochs:
        an_epoch = together.seconds_a_step() * (len(chosen) // BATCH)
        left = share - (time.perf_counter() - begin) - 0.5
        epochs = max(1, min(MOST_EPOCHS, int(0.97 * left / an_epoch)))
        print(f"{name}: {an_epoch:.3f} s an epoch, {epochs} epochs", flush=True)
    together.train(chosen, epochs, RATE, MIXING)
    return {
        "out_of_fold": fit.predict(images[fold == k], True, SHIFTS).cpu().numpy(),
        "public": fit.predict(data["test_images"], True, SHIFTS).cpu().numpy(),
        "epochs": epochs,
        "seconds": time.perf_counter() - begin,
        "parameters": parameters(network),
    }


def main() -> None:
    """Train what there is time for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("photographs")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=float, required=True, help="for everything")
    parser.add_argument("--teachers", nargs="+", choices=TEACHERS, default=list(TEACHERS))
    parser.add_argument("--folds", type=int, default=FOLDS, help="how many of the five to train")
    options = parser.parse_args()
    begin = time.perf_counter()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.backends.cudnn.benchmark = True
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    data = photographs(options.photographs, device)
    labels = data["train_labels"].cpu().numpy()
    options.folder.mkdir(parents=True, exist_ok=True)
    if not (options.folder / "folds.npz").exists():  # else the folds of teachers that were trained before
        group = near_copies(data["train_images"])
        fold = folds_of(group).astype(np.uint8)
        np.savez(options.folder / "folds.npz", fold=fold, group=group.astype(np.int32))
    with np.load(options.folder / "folds.npz", allow_pickle=False) as arrays:
        fold, group = arrays["fold"], arrays["group"]
    on_device = torch.from_numpy(fold).to(device)
    print(
        f"{device}, {len(labels):,} photographs, {group.max() + 1:,} groups, {np.bincount(fold)}", flush=True
    )
    for i, name in enumerate(options.teachers):
        out = np.full((len(labels), CLASSES), np.nan, np.float32)
        public, epochs, seconds = [], 0, 0.0
        left = options.seconds - (time.perf_counter() - begin)
        share = left / (len(options.teachers) - i) / options.folds
        for k in range(options.folds):
            found = train_fold(name, data, on_device, k, epochs, share)
            epochs, seconds = found["epochs"], seconds + found["seconds"]
            out[fold == k] = found["out_of_fold"]
            public.append(found["public"])
            figures = {"epochs": epochs, "seconds": seconds, "parameters": found["parameters"]}
            np.savez(options.folder / f"{name}.npz", out_of_fold=out, public=np.stack(public), **figures)
            right = (out[fold == k].argmax(1) == labels[fold == k]).mean()
            print(f"{name} fold {k}: {right:.4f} in {found['seconds']:.1f} s", flush=True)


if __name__ == "__main__":
    main()
