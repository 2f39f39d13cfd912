"""Soft labels: what large networks say of photographs that they never learnt, for a small one to learn.

Source: Hinton et al. (2015), Distilling the knowledge in a neural network, arXiv:1503.02531.
"""

from pathlib import Path

import numpy as np

from fer_lib import training
from fer_lib.archives import read_arrays
from fer_lib.data.faces import FaceDataset
from fer_lib.files import MEGABYTE, ROOT, UsageError

FILES = {"shipped": ROOT / "data" / "teachers" / "fer2013_soft_labels.npz"}  # by the parameter `teacher`
LARGEST = 16 * MEGABYTE


def files(teacher: str) -> dict[str, Path]:
    """Return the file of a teacher, as a stage names what it reads."""
    return {"teacher": FILES[teacher]} if teacher else {}


def targets(faces: FaceDataset, teacher: str) -> tuple[np.ndarray, str]:
    """Return what a network is to say of each face, and what that is in words.

    Parameters
    ----------
    faces : FaceDataset
        To train on. A face that the teacher does not know by its pixels keeps its label.
    teacher : str
        "shipped", or empty: labels alone.

    Returns
    -------
    ndarray, str
        (n, classes) float32, rows of sum 1: a teacher's probabilities of these classes, or a single 1.

    Raises
    ------
    UsageError
        If the teacher knows none of the faces, or has other classes, or its file is damaged.
    """
    found = training.one_hot(faces.labels, len(faces.classes))
    if not teacher:
        return found, "labels"
    keys, probabilities, names = _read(FILES[teacher])
    if unknown := sorted(set(faces.classes) - set(names)):
        raise UsageError(
            f"teacher={teacher}: knows {', '.join(names)}, not {', '.join(unknown)}; leave teacher empty"
        )
    ours = np.array([int(digest[:16], 16) for digest in faces.pixel_digests()], np.uint64)
    place = np.minimum(np.searchsorted(keys, ours), len(keys) - 1)
    said = probabilities[place][:, [names.index(name) for name in faces.classes]].astype(np.float64)
    total = said.sum(axis=1, keepdims=True)
    known = (keys[place] == ours) & (total[:, 0] > 0)
    if not known.any():
        raise UsageError(
            f"teacher={teacher}: knows none of the {len(faces):,} training images, only FER2013's; "
            "leave teacher empty"
        )
    found[known] = (said / np.where(total > 0, total, 1))[known]
    return found, f"soft labels of {known.sum():,} training images, labels of {(~known).sum():,}"


def _read(path: Path) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Return ascending keys (n,), probabilities (n, k) and the names of the k classes."""
    try:
        arrays = read_arrays(path, LARGEST)
        keys, probabilities, names = (arrays[name] for name in ("keys", "probabilities", "classes"))
        names = [str(name) for name in names.tolist()]
        if probabilities.shape != (len(keys), len(names)) or not len(keys) or len({*names}) < len(names):
            raise ValueError("its arrays do not fit")
        if not (keys[1:] > keys[:-1]).all() or not ((probabilities >= 0) & (probabilities <= 1)).all():
            raise ValueError("its keys do not ascend, or probabilities are none")
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise UsageError(f"{path}: damaged ({error}); restore it from git") from error
    return keys, probabilities, names
