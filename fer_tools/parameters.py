"""Parameters of the notebooks: names, defaults, types and ranges, each said once.

The `parameters` cell of a notebook holds the same names and defaults (a test compares them both ways).
papermill only warns at an unknown name, and YAML turns `1e-3` into a string; here both are refused.
"""

from dataclasses import dataclass, field
from typing import Any

from fer_lib import models
from fer_lib.data.faces import DEFAULT_CLASSES
from fer_tools.kinds import Classes, Number, Text
from fer_tools.paths import STUDY_NAME


def _number(default: float, low: float, high: float, why: str, **options: bool) -> Any:
    kind = Number(low, high, why, whole=isinstance(default, int), **options)
    return field(default=default, metadata={"kind": kind})


def _text(default: str, **options: Any) -> Any:
    return field(default=default, metadata={"kind": Text(**options)})


def _one_of(*choices: str) -> Any:
    return _text(choices[0], choices=lambda: list(choices))


@dataclass(frozen=True, kw_only=True)
class Data:
    """Which faces, and how the training side is split."""

    # An unset shell variable must not mean the current folder.
    data: str = _text("bundled", pattern=bool, what='"bundled", "fer2013" or a path')
    test_data: str = _text("")  # tested on it; empty: on the test part of `data`
    # In this order they are labels 0, 1, 2.
    classes: tuple[str, ...] = field(default=DEFAULT_CLASSES, metadata={"kind": Classes()})
    train_samples: int | None = _number(
        5000, 10, 10**7, "images drawn, validation included; None takes all", optional=True
    )
    validation_share: float = _number(0.2, 0.01, 0.9, "share of train_samples kept for validation")
    duplicates: str = _one_of("remove", "keep")
    seed: int = _number(0, 0, 2**31 - 1, "draws the sample, initialises weights, shuffles, augments")
    run: str = _text("")  # the run to add to; empty: the notebook chooses, and says which


@dataclass(frozen=True, kw_only=True)
class Exploration(Data):
    """Notebook 01; the network, for what its augmentation does to a face."""

    model: str = _text("basic_model", choices=models.names)
    rotation: float = _number(0.02, 0, 0.5, "share of a full turn; basic_model")
    zoom: float = _number(0.05, 0, 0.9, "largest change of scale; basic_model")
    augmentation_strength: float = _number(
        0.7, 0, 1, "of `augmentation.RandomPhotograph`; the other networks"
    )


@dataclass(frozen=True, kw_only=True)
class Training(Exploration):
    """Notebook 02."""

    epochs: int = _number(50, 1, 10_000, "passes over the training images")
    batch_size: int = _number(128, 1, 100_000, "images per step")
    learning_rate: float = _number(1e-3, 1e-8, 10, "of Adam; the highest, if there is a schedule")
    schedule: str = _one_of("constant", "cosine")
    warm_up: float = _number(0.0, 0, 0.9, "share of the steps in which the learning rate of a cosine rises")
    weight_decay: float = _number(0.0, 0, 1, "above 0 Adam is AdamW")
    label_smoothing: float = _number(0.0, 0, 0.5, "share of the target spread over all classes")
    mixing: float = _number(0.0, 0, 1, "share of training images mixed with others: mixup and CutMix")
    convolutions: int = _number(3, 1, 5, "blocks of convolution and pooling; basic_model")
    dense_layers: int = _number(2, 0, 4, "before the softmax; basic_model")
    dropout_layers: int = _number(2, 0, 4, "dense layers followed by dropout; basic_model")
    dropout: float = _number(0.3, 0, 0.95, "share of units")
    batch_norm_momentum: float = _number(0.9, 0, 0.9999, "of the moving mean and variance")
    recalibration_images: int = _number(512, 0, 10**6, "for batch normalisation after an epoch; 0: none")
    weight_average: float = _number(0.99, 0, 0.99999, "momentum of the mean of the weights; 0: none")
    teacher: str = _one_of("", "shipped")  # whose soft labels it learns; empty: labels alone

    @property
    def label(self) -> str:
        """Beginning of the name of a run with these parameters."""
        return f"{self.model}_{self.epochs}_epochs"


@dataclass(frozen=True, kw_only=True)
class Overfitting:
    """Notebook 03."""

    window: int = _number(
        5, 1, 999, "an odd number of epochs over which validation loss is smoothed", odd=True
    )
    patience: int = _number(
        5, 1, 1000, "epochs for which it must stay above its minimum, the last ones clear of noise"
    )
    min_delta: float = _number(0.0, 0, 100, "how far above")
    calibration: str = _one_of("none", "temperature")  # of the model kept; see `fer_tools.temperature`
    run: str = _text("")


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Notebook 04."""

    test_data: str = _text("")  # empty: as the run was trained for
    run: str = _text("")


@dataclass(frozen=True, kw_only=True)
class Optimisation:
    """Notebook 05; a part of those runs only for which a study is named."""

    # results/<name>_study, made by `fer sweep`; empty: no such stage
    study: str = _text(
        "section6",
        pattern=lambda name: not name or STUDY_NAME.fullmatch(name),
        what="the name of a study, of plain letters, digits, _ and -",
    )
    run: str = _text("")


@dataclass(frozen=True, kw_only=True)
class Game:
    """Notebook 06; a part of those runs only for which a trace is named."""

    # What the page of the game saved; "example": what comes with the repository; empty: no such stage
    trace: str = _text("example")
    run: str = _text("")


@dataclass(frozen=True, kw_only=True)
class Transfer:
    """Notebook 07; a run of its own, of no other stage."""

    source: str = _text("optimized_model", pattern=bool, what='"optimized_model", a run or a .keras file')
    data: str = _text("digits", pattern=bool, what='"digits", or a folder or zip of two classes')
    # The two of several that the data have; empty: those that there are.
    classes: tuple[str, ...] = field(default=(), metadata={"kind": Classes(optional=True)})
    topic: str = _text("")  # in the title of the plot; empty: the classes
    validation_share: float = _number(0.2, 0.01, 0.9, "share of the training side kept for validation")
    repeats: int = _number(3, 1, 100, "seeds of each condition, from `seed` on")
    epochs: int = _number(0, 0, 10_000, "passes over all training images; 0: as many as the topic takes")
    batch_size: int = _number(32, 1, 100_000, "images per step")
    learning_rate: float = _number(3e-3, 1e-8, 10, "of AdamW, at the beginning of a cosine")
    weight_decay: float = _number(2e-2, 0, 1, "above 0 Adam is AdamW")
    label_smoothing: float = _number(0.1, 0, 0.5, "share of the target spread over all classes")
    weight_average: float = _number(0.99, 0, 0.99999, "momentum of the mean of the weights; 0: none")
    augmentation_strength: float = _number(1.0, 0, 1, "of `augmentation.RandomPhotograph`")
    dropout: float = _number(0.2, 0, 0.95, "share of units dropped before the head")
    seed: int = _number(0, 0, 2**31 - 1, "draws the split, initialises weights, shuffles, augments")
    run: str = _text("")

    @property
    def label(self) -> str:
        """Beginning of the name of a run with these parameters."""
        return "transfer"


def section5() -> dict[str, Any]:
    """Train the assignment's network with the assignment's settings.

    Command: `fer run --preset section5 --data fer2013`. Every parameter has its default.
    """
    return {}


def section6() -> dict[str, Any]:
    """Train the best network under 150,000 parameters that we found, on all of FER2013's Training.

    Command: `fer run --preset section6`. It took 56 minutes on two cores, and 77 on one of them (seed 0).
    Right in 88.3 % of PublicTest (88.7, 88.2, 87.9 % by seed; seed 0 on two cores, hence with other last
    digits, 88.3 %).

    With the assignment's 5,000 images 86.3 % (86.0, 86.2, 86.6 % by seed): `-p train_samples=5000
    -p validation_share=0.2 -p epochs=200 -p augmentation_strength=1.0 -p dropout=0.3 -p mixing=0.4`. No
    over-fitting is seen in 200 epochs. It took 40 minutes on one thread, with other work beside. Without
    mixing and with augmentation 0.8 it was 86.3 % as well (85.3, 86.4, 87.0 %), in the mean.

    With seven classes 64.3 % (62.7 to 65.8 %; seed 0), balanced 59.7 %: `-p epochs=80 -p dropout=0.1
    -p classes=angry,disgust,fear,happy,sad,surprise,neutral -p augmentation_strength=0.5`. By the
    rule of that time over-fitting began at epoch 62; the model of epoch 60 was kept. 36 epochs with the
    preset's dropout and augmentation were right as often, balanced in 55.1 %.
    """
    return {
        "data": "fer2013",
        "model": "optimized_model",
        "train_samples": None,
        "validation_share": 0.1,
        "epochs": 90,
        "learning_rate": 3e-3,
        "schedule": "cosine",
        "warm_up": 0.05,
        "weight_decay": 2e-2,
        "label_smoothing": 0.1,
        "dropout": 0.2,
        "recalibration_images": 1024,
        "weight_average": 0.995,
    }


def sim2real() -> dict[str, Any]:
    """Train the same on rendered faces alone, for photographs.

    Command: `fer run --preset sim2real -p test_data=path/to/fer2013`. Half an hour on one thread,
    with other work beside.

    Right in 77.8 % of PublicTest (77.5, 77.2, 78.8 % by seed). How it was found, and where it is wrong, is in
    data/README.md.
    """
    own = {"data": "bundled", "validation_share": 0.06, "epochs": 50, "dropout": 0.3}
    own |= {"recalibration_images": 512, "mixing": 0.4, "augmentation_strength": 1.0}
    return section6() | own


def taught() -> dict[str, Any]:
    """Train the same from soft labels of larger networks, and from photographs of other classes as well.

    Command: `fer run --preset taught`, of the small network `fer run --preset taught -p model=small_model
    -p dropout=0.1`. One thread took 40 and 32 minutes, with other work beside.

    Right in 88.2 % of PublicTest (86.6 to 89.5 %; seed 0), cross-entropy 0.306, expected calibration error
    0.022; the small one in 87.8 % (86.3 to 89.2 %), 0.320, 0.022. No temperature is fitted: it made others
    worse, see data/teachers/README.md. To compare what 5,000 images give, leave the teacher out: it saw all
    of them.
    """
    return section6() | {"teacher": "shipped", "label_smoothing": 0.0, "epochs": 56}


def seven() -> dict[str, Any]:
    """Train the same for all seven classes of FER2013.

    Command: `fer run --preset seven`. Right in 64.7 % of PublicTest (63.1 to 66.3 %; seed 0), in 56.4 % if
    every class counts alike, cross-entropy 0.961; half an hour on one thread, with other work beside. From
    labels, 80 epochs, 64.3 and 59.7 %: the rarer classes fare worse with soft ones.
    """
    from fer_lib.data.readers.source import FER2013_CLASSES  # with Pillow, which `--help` goes without

    own = {"classes": list(FER2013_CLASSES), "epochs": 36, "calibration": "temperature"}
    return taught() | own


def section8() -> dict[str, Any]:
    """See whether what was learnt from faces helps with another topic, of two classes.

    Command: `fer run --preset section8`, for photographs with `--data path/to/cats_vs_dogs`.

    Digits, even or odd: fine-tuned right in 95.0 %, trained from random weights in 91.1 % (means of 3 seeds;
    three and a half minutes on two cores). Cats and dogs, 1,280 images, from the network shipped before, 95
    epochs: 84.0 and 83.3 %, with 25 images of each class 71.7 and 65.6 %; 22.5 minutes. From an earlier one,
    fine-tuned for 120 epochs, 86.8 %; a share of 400 test images has a standard error of 1.8 points.
    """
    return {"source": "optimized_model"}


def smoke() -> dict[str, Any]:
    """See that everything works: 300 images, 3 epochs, a result that means nothing.

    Command: `fer run --preset smoke`.
    """
    return {"train_samples": 300, "epochs": 3, "batch_size": 32, "window": 3, "patience": 2}


def overfit() -> dict[str, Any]:
    """See the assignment's network learn few faces by heart, as notebook 03 shows it.

    Command: `fer run --preset overfit`.
    """
    return {
        "train_samples": 1000,
        "validation_share": 0.5,
        "batch_size": 16,
        "epochs": 100,
        "dropout": 0.0,
        "rotation": 0.0,
        "zoom": 0.0,
    }


PRESETS = {
    "section5": section5,
    "section6": section6,
    "section8": section8,
    "sim2real": sim2real,
    "smoke": smoke,
    "overfit": overfit,
    "taught": taught,
    "seven": seven,
}
