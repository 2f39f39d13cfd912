"""What a metric is: the kind of each number, text and truth value in metrics.json, by its key.

A key that no line tells of is any finite number, text, boolean or None.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any

from fer_tools.kinds import NotAllowed, Number
from fer_tools.stages import STAGES

LARGEST = 1e300  # sums and squares of what is larger are infinite
LONGEST = 10_000  # characters of a text


def is_number(value: Any) -> bool:
    """Return whether a value is a finite number, and not so large that arithmetic makes infinity of it."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < LARGEST


@dataclass(frozen=True)
class Flag:
    """True or false."""

    def check(self, value: Any) -> bool:
        """Return the value."""
        if not isinstance(value, bool):
            raise NotAllowed("true or false")
        return value


@dataclass(frozen=True)
class Sentence:
    """A text, which may be empty."""

    def check(self, value: Any) -> str:
        """Return the value."""
        if not isinstance(value, str) or len(value) > LONGEST:
            raise NotAllowed(f"a text of at most {LONGEST:,} characters")
        return value


@dataclass(frozen=True)
class Anything:
    """A finite number, text, boolean or None."""

    def check(self, value: Any) -> Any:
        """Return the value."""
        if isinstance(value, str):
            return Sentence().check(value)
        if value is None or isinstance(value, bool) or is_number(value):
            return value
        raise NotAllowed("a finite number" if isinstance(value, int | float) else "a single value")


SHARE = Number(0, 1, "a share of images")
OPTIONAL_SHARE = Number(0, 1, "a share of images", optional=True)
DIFFERENCE = Number(-LARGEST, LARGEST, "a difference of losses")
LOSS = Number(0, LARGEST, "a loss")
COUNT = Number(0, 2**53, "a count", whole=True)
EPOCH = Number(1, 10_000, "an epoch", whole=True)
OPTIONAL_TIME = Number(0, LARGEST, "a time or a rate", optional=True)
OPTIONAL_EPOCH = Number(1, 10_000, "an epoch", whole=True, optional=True)
TEMPERATURE = Number(0, 1000, "a temperature")
TEXT, FLAG, ANYTHING = Sentence(), Flag(), Anything()

# Of two lines that a key fits, the first counts.
KINDS = {
    "data.available.*": COUNT,
    "data.train.*": COUNT,
    "data.validation.*": COUNT,
    "data.test.*": COUNT,
    "data.removed.*": COUNT,
    "data.image_size": COUNT,
    "data.seed": COUNT,
    "data.*": TEXT,
    "model.input": TEXT,
    "model.name": TEXT,
    "model.limit": COUNT,
    "model.parameters": COUNT,
    "model.trainable": COUNT,
    "model.non_trainable": COUNT,
    "training.images": COUNT,
    "training.samples": COUNT,
    "training.epochs": EPOCH,
    "training.*_loss": LOSS,
    "training.*_accuracy": SHARE,
    "overfitting.best_epoch": EPOCH,
    "overfitting.onset_epoch": OPTIONAL_EPOCH,
    "overfitting.found": FLAG,
    "overfitting.temperature": TEMPERATURE,
    "overfitting.*gap": DIFFERENCE,
    "overfitting.*loss": LOSS,
    "overfitting.*accuracy": SHARE,
    "test.images": COUNT,
    "test.*.images": COUNT,
    "test.seen_in_training": COUNT,
    "test.accuracy*": SHARE,
    "test.balanced_accuracy": SHARE,
    "test.majority_accuracy": SHARE,
    "test.macro_f1": SHARE,
    "test.ece": SHARE,
    "test.target": SHARE,
    "test.precision.*": OPTIONAL_SHARE,
    "test.recall.*": OPTIONAL_SHARE,
    "test.f1.*": OPTIONAL_SHARE,
    "test.*.accuracy": OPTIONAL_SHARE,
    "test.loss": LOSS,
    "test.loss_high": LOSS,
    "test.loss_low": DIFFERENCE,
    "test.target_reached": FLAG,
    "game.*_share": OPTIONAL_SHARE,
    "game.*accuracy*": OPTIONAL_SHARE,
    "game.difference*": Number(-1, 1, "a difference of shares", optional=True),
    "game.*_seconds": OPTIONAL_TIME,
    "game.*_ms": OPTIONAL_TIME,
    "game.frames_per_second": OPTIONAL_TIME,
    "game.test_images": Number(1, 2**53, "a count", whole=True, optional=True),
    "game.network": TEXT,
    "game.started": TEXT,
    "game.tested": TEXT,
    "game.*sentence": TEXT,
    "game.*": COUNT,
    "transfer.images.*": COUNT,
    "transfer.*_sentence": TEXT,
    "transfer.*.sentence": TEXT,
    "transfer.mirrored": FLAG,
    "transfer.blocks": COUNT,
    "transfer.decay": SHARE,
    "transfer.epochs": EPOCH,
    "transfer.repeats": COUNT,
    "transfer.trainings": COUNT,
    "transfer.parameters": COUNT,
    "transfer.trainable_*": COUNT,
    "transfer.*accuracy*": SHARE,
    "transfer.*.spread": SHARE,
    "transfer.*.lowest": SHARE,
    "transfer.*.highest": SHARE,
    "transfer.*.difference*": Number(-1, 1, "a difference of shares"),
    "transfer.*.only_*": COUNT,
    "transfer.*.p_value": SHARE,
    "transfer.*.shown": FLAG,
    "transfer.curve.worth": Number(-LARGEST, LARGEST, "a number of images", optional=True),
    "transfer.curve.*": COUNT,
    "transfer.layers.*": COUNT,
    "transfer.*": TEXT,
}
# Without these no list, comparison or report of runs can do.
REQUIRED = {
    "training": ("training.samples", "model.parameters"),
    "overfitting": ("overfitting.best_epoch",),
    "evaluation": ("test.accuracy",),
    "transfer": ("transfer.tuned.sentence",),
}


@lru_cache(maxsize=10_000)
def _kind(key: str) -> Any:
    return next((kind for pattern, kind in KINDS.items() if fnmatchcase(key, pattern)), ANYTHING)


def wrong(key: str, value: Any) -> str:
    """Say what is wrong with a metric; nothing if it is what its key says."""
    try:
        _kind(key).check(value)
    except NotAllowed as error:
        return f"metric {key} is {_short(value)}, expected {error}"
    return ""


def wrong_of_stage(stage: str, found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the key of each metric of a stage that is missing or none, and what is wrong with it."""
    for key in REQUIRED.get(stage, ()):
        if key not in found:
            yield key, f"metric {key} is missing"
    for key, value in found.items():
        if key.startswith(STAGES[stage].prefixes) and (reason := wrong(key, value)):
            yield key, reason


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}..."
