"""What the trainings of Section 8 say: numbers, tables, and the sentences that are made of them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from fer_lib import models
from fer_lib.data.faces import FaceDataset
from fer_lib.statistics import normal_quantile, wilson_interval
from fer_tools.checks.mcnemar import McNemar, mcnemar
from fer_tools.transfer.training import Condition, Trained, Trainer
from fer_tools.transfer.workers import Workers

DECAYS = (1.0, 0.5)  # tried on the validation images
SIZES = (25, 64, 160)  # images of each class, beside all
FOUR = {  # name in metrics: name in words, whether blocks are taken over, whether they are frozen
    "frozen_transfer": ("frozen transfer", True, True),
    "frozen_random": ("frozen random", False, True),
    "tuned_transfer": ("fine-tuned transfer", True, False),
    "tuned_random": ("trained from random", False, False),
}
PAIRS = {"tuned": ("tuned_transfer", "tuned_random"), "frozen": ("frozen_transfer", "frozen_random")}


def sizes(smallest: int) -> list[int]:
    """Return the images of each class in a learning curve, where the smaller class has so many; 0 is all."""
    return [size for size in SIZES if size < 0.8 * smallest] + [0]


def size_of_choice(smallest: int) -> int:
    """Return on how many images of each class the decay of the rate is tried; 0 is all."""
    return [0, *sizes(smallest)][-2]


@dataclass(frozen=True)
class Plan:
    """All trainings of a stage, chosen before any test image is seen.

    Attributes
    ----------
    blocks : int
        Of the source.
    decay : float
        See `Condition`; chosen on the validation images.
    repeats : int
    smallest : int
        Training images of the smaller class.
    """

    blocks: int
    decay: float
    repeats: int
    smallest: int

    def _repeated(self, blocks: int, frozen: bool = False, per_class: int = 0) -> list[Condition]:
        decay = self.decay if blocks and not frozen else 1.0
        return [Condition(blocks, frozen, per_class, repeat, decay) for repeat in range(self.repeats)]

    @property
    def sizes(self) -> list[int]:
        """Images of each class in the learning curve; 0 is all."""
        return sizes(self.smallest)

    @property
    def four(self) -> dict[str, list[Condition]]:
        """The conditions of the assignment, with each seed."""
        return {
            name: self._repeated(self.blocks * taken, frozen) for name, (_, taken, frozen) in FOUR.items()
        }

    @property
    def curve(self) -> dict[int, dict[str, list[Condition]]]:
        """Fine-tuned and trained from random, by images of each class."""
        taken = {"tuned_transfer": self.blocks, "tuned_random": 0}
        return {
            size: {name: self._repeated(count, per_class=size) for name, count in taken.items()}
            for size in self.sizes
        }

    @property
    def layers(self) -> dict[int, list[Condition]]:
        """By how many blocks are taken over, of few images, where they should count most."""
        size = self.sizes[1 if len(self.sizes) > 2 else 0]
        return {count: self._repeated(count, per_class=size) for count in range(self.blocks + 1)}

    @property
    def conditions(self) -> list[Condition]:
        """Every training once."""
        groups = [*self.four.values(), *self.layers.values()]
        groups += [group for pair in self.curve.values() for group in pair.values()]
        return list(dict.fromkeys(condition for group in groups for condition in group))


def choose_decay(workers: Workers, blocks: int, repeats: int, smallest: int) -> dict[float, float]:
    """Return the cross-entropy of the validation images, the mean over seeds, with each decay of the rate.

    It tells more of so few images than how many are right. Trainings on the most images that are not all of
    them tell it in a quarter of the time, and those with the decay chosen are part of the learning curve.
    """
    size = size_of_choice(smallest)
    tried = {
        decay: [Condition(blocks, per_class=size, repeat=i, decay=decay) for i in range(repeats)]
        for decay in DECAYS
    }
    trained = workers.all([condition for group in tried.values() for condition in group])
    return {
        decay: float(np.mean([trained[condition].val_loss for condition in group]))
        for decay, group in tried.items()
    }


def choose_mirror(
    trainer: Trainer, plan: Plan, trained: Mapping[Condition, Trained], validation: FaceDataset
) -> dict[str, Any]:
    """Return the metrics of whether answers are means over an image and its mirror image.

    They are if all networks of the four conditions together have more validation images right so.
    """
    groups = [trained[condition] for group in plan.four.values() for condition in group]
    answers = [
        [trainer.probabilities(each, validation.images, mirrored).argmax(axis=1) for each in groups]
        for mirrored in (False, True)
    ]
    plain, mirrored = (float((answer == validation.labels).mean()) for answer in answers)
    said = (
        f"On the validation images, {mirrored:.2%} are right if an answer is the mean over an image and its"
    )
    said += f" mirror image, else {plain:.2%}: so it is "
    said += f"{'that mean' if mirrored > plain else 'of the image alone'}."
    return {"mirrored": mirrored > plain, "mirror_sentence": said}


def look(
    trainer: Trainer,
    plan: Plan,
    trained: Mapping[Condition, Trained],
    test: FaceDataset,
    mirrored: bool = False,
) -> "Outcome":
    """Let every trained network answer the test images, once all of them are trained and chosen."""
    answers = {each: trainer.probabilities(left, test.images, mirrored) for each, left in trained.items()}
    right = {each: answer.argmax(axis=1) == test.labels for each, answer in answers.items()}
    return Outcome(plan, trained, right)


@dataclass(frozen=True)
class Outcome:
    """All trainings, and which test images each has right, (n,) bool."""

    plan: Plan
    trained: Mapping[Condition, Trained]
    right: Mapping[Condition, np.ndarray]

    def shares(self, group: Sequence[Condition]) -> np.ndarray:
        """Return the test accuracy with each seed."""
        return np.array([self.right[condition].mean() for condition in group])

    def validated(self, group: Sequence[Condition]) -> float:
        """Return the mean validation accuracy over the seeds."""
        return float(np.mean([self.trained[condition].val_accuracy for condition in group]))

    def compared(self, a: Sequence[Condition], b: Sequence[Condition]) -> "Difference":
        """Compare two groups seed by seed on the same images."""
        each = np.mean([self.right[x] * 1.0 - self.right[y] for x, y in zip(a, b, strict=True)], axis=0)
        by_seed = self.shares(a) - self.shares(b)
        margin = normal_quantile() * each.std(ddof=1) / math.sqrt(len(each))
        return Difference(
            float(each.mean()), float(each.mean() - margin), float(each.mean() + margin), by_seed
        )


@dataclass(frozen=True)
class Difference:
    """Of two mean accuracies, with its 95 % interval over images, and by seed."""

    mean: float
    low: float
    high: float
    by_seed: np.ndarray

    @property
    def shown(self) -> bool:
        """Whether it is more than luck: the interval leaves out 0, and every seed has the same sign."""
        return self.low * self.high > 0 and bool((np.sign(self.by_seed) == np.sign(self.mean)).all())


def summary(network: Any) -> pd.DataFrame:
    """Return the layers of a network in order, as the report lists them."""
    columns = ["layer", "type", "output shape", "parameters"]
    return pd.DataFrame(models.summary_rows(network), columns=columns)


def facts(trainer: Trainer, plan: Plan, decays: Mapping[float, float]) -> dict[str, Any]:
    """Return the metrics of how the trainings were done; a sentence tells of the choice of the decay."""
    network = models.check_limit(trainer.model)
    tried = ", ".join(f"{loss:.3f} with {decay:g}" for decay, loss in decays.items())
    said = (
        f"the rate is multiplied by {plan.decay:g} a block" if plan.decay < 1 else "all blocks keep one rate"
    )
    found = {"blocks": plan.blocks, "decay": plan.decay, "epochs": trainer.epochs, "repeats": plan.repeats}
    found |= {"trainings": len(plan.conditions), "parameters": network.count_params()}
    found |= {"trainable_tuned": models.parameter_counts(network)["trainable"]}
    found |= {"trainable_frozen": network.layers[-1].count_params()}
    size = f"{size_of_choice(plan.smallest) or 'all'} images of each class"
    sentence = f"Cross-entropy of the validation images, of networks trained on {size}, is {tried}: {said}."
    return found | {"decay_sentence": sentence}


def numbers(outcome: Outcome, names: Sequence[str] = tuple(FOUR)) -> dict[str, Any]:
    """Return the metrics of the four conditions: means and spread over seeds, intervals over images."""
    found: dict[str, Any] = {}
    for name in names:
        group = outcome.plan.four[name]
        shares, n = outcome.shares(group), len(outcome.right[group[0]])
        low, high = wilson_interval(shares.mean() * n, n)
        spread = shares.std(ddof=1) if len(shares) > 1 else 0.0
        values = {"accuracy": shares.mean(), "accuracy_low": low, "accuracy_high": high, "spread": spread}
        values |= {"lowest": shares.min(), "highest": shares.max(), "val_accuracy": outcome.validated(group)}
        found |= {f"{name}.{key}": float(value) for key, value in values.items()}
    best = max(names, key=lambda name: found[f"{name}.val_accuracy"])
    return found | {"chosen": FOUR[best][0], "chosen_accuracy": found[f"{best}.accuracy"]}


def tested(outcome: Outcome, pair: str) -> McNemar:
    """Compare transfer with its control, both of the first seed, on the same images."""
    a, b = (outcome.plan.four[name][0] for name in PAIRS[pair])
    return mcnemar(outcome.right[a], outcome.right[b], tuple(FOUR[name][0] for name in PAIRS[pair]))


def verdict(outcome: Outcome, pair: str) -> dict[str, Any]:
    """Return the metrics of transfer against its control, with a sentence made from them."""
    a, b = (outcome.plan.four[name] for name in PAIRS[pair])
    difference, test = outcome.compared(a, b), tested(outcome, pair)
    (first, *_), (second, *_) = (FOUR[name] for name in PAIRS[pair])
    means = f"{outcome.shares(a).mean():.1%} against {outcome.shares(b).mean():.1%}"
    interval = f"{100 * difference.low:+.1f} to {100 * difference.high:+.1f}"
    facts = f"{means}, {100 * difference.mean:+.1f} points"
    facts += f" ({interval} over images; by seed {_signed(difference)})"
    what = "helps" if difference.mean > 0 else "harms"
    said = f"What was learnt from faces {what}" if difference.shown else "No effect of the faces is shown"
    found = {
        "difference": difference.mean,
        "difference_low": difference.low,
        "difference_high": difference.high,
    }
    found |= {"only_transfer": test.only_a, "only_random": test.only_b, "p_value": test.p_value}
    found |= {"shown": difference.shown, "mcnemar_sentence": f"With the first seed: {test.verdict}"}
    found["sentence"] = f"{said}: {first} and {second}, {facts}."
    return {f"{pair}.{key}": value for key, value in found.items()}


def _signed(difference: Difference) -> str:
    return ", ".join(f"{100 * value:+.1f}" for value in difference.by_seed)


def curve(outcome: Outcome) -> pd.DataFrame:
    """Return the learning curve: a row for each number of images per class, both means and spreads.

    `worth` is how many more images of each class the network trained from random would need for the accuracy
    of the fine-tuned one (Hernandez et al., 2021, arXiv:2102.01293): read off its own curve, made monotone
    and interpolated over the logarithm of images; None beyond its ends.
    """
    rows = []
    for size, pair in outcome.plan.curve.items():
        a, b = (outcome.shares(pair[name]) for name in PAIRS["tuned"])
        difference = outcome.compared(*(pair[name] for name in PAIRS["tuned"]))
        spread = [each.std(ddof=1) if len(each) > 1 else 0.0 for each in (a, b)]
        rows.append(
            (size or outcome.plan.smallest, a.mean(), spread[0], b.mean(), spread[1], difference.mean)
        )
        rows[-1] += (difference.low, difference.high, difference.shown)
    columns = ["images", "transfer", "transfer_spread", "random", "random_spread"]
    table = pd.DataFrame(rows, columns=[*columns, "difference", "low", "high", "shown"])
    table["worth"] = [_worth(table, i) for i in range(len(table))]
    return table


def _worth(table: pd.DataFrame, row: int) -> float | None:
    reached = np.maximum.accumulate(table["random"].to_numpy(float))
    aim, images = table["transfer"][row], table["images"].to_numpy(float)
    if not reached[0] <= aim <= reached[-1]:
        return None
    distinct = np.concatenate([[True], np.diff(reached) > 0])  # of equal accuracies the fewest images
    needed = math.exp(np.interp(aim, reached[distinct], np.log(images[distinct])))
    return round(needed - images[row], 1)


def about_curve(table: pd.DataFrame) -> dict[str, Any]:
    """Return the metrics of the learning curve."""
    first, last = table.iloc[0], table.iloc[-1]
    better, worse = (table[table["shown"] & (sign * table["difference"] > 0)]["images"] for sign in (1, -1))
    least = int(first["images"])
    found = [f"{word} with {_listed(of)}" for word, of in (("better", better), ("worse", worse)) if len(of)]
    said = "With no number of images is fine-tuning better or worse beyond luck"
    if found:
        said = f"Beyond luck, fine-tuning is {', and '.join(found)} images of each class"
    worth = first["worth"]
    if worth is not None and not math.isnan(worth):
        value = f"worth {worth:+,.0f} images of each class to one trained from random"
    elif first["transfer"] > last["random"]:
        value = (
            f"worth more than all {int(last['images']):,} images of each class are to one trained from random"
        )
    else:
        value = "worth nothing that the curve could tell"
    sentence = f"{said}. With {least:,} of each class, what was learnt from faces is {value}."
    found = {"curve.least": least, "curve.most": int(last["images"]), "curve.sentence": sentence}
    found["curve.worth"] = None if worth is None or math.isnan(worth) else float(worth)
    return found | {"curve.matters": int(better.max()) if len(better) else 0}


def _listed(images: pd.Series) -> str:
    return ", ".join(f"{n:,}" for n in images)


def layers(outcome: Outcome) -> pd.DataFrame:
    """Return test accuracy by the number of blocks taken over: mean and spread over seeds."""
    rows = []
    for count, group in outcome.plan.layers.items():
        shares = outcome.shares(group)
        spread = shares.std(ddof=1) if len(shares) > 1 else 0.0
        rows.append((count, group[0].per_class or outcome.plan.smallest, shares.mean(), spread))
    return pd.DataFrame(rows, columns=["blocks", "images", "accuracy", "spread"])


def about_layers(outcome: Outcome, table: pd.DataFrame) -> dict[str, Any]:
    """Return the metrics of which blocks carry over."""
    groups = outcome.plan.layers
    best = int(table["blocks"][table["accuracy"].argmax()])
    images, accuracy = int(table["images"][0]), table["accuracy"].max()
    said = f"With {images:,} images of each class, {best} of {len(groups) - 1} blocks taken over are best"
    said += f" ({accuracy:.1%}; none: {table['accuracy'][0]:.1%})"
    if best and outcome.compared(groups[best], groups[0]).shown:
        said += ", and better than none beyond luck"
    elif best:
        said += ", but not better than none beyond luck"
    return {"layers.best": best, "layers.images": images, "layers.sentence": f"{said}."}


def trainings(outcome: Outcome) -> pd.DataFrame:
    """Return a row for each training."""
    rows = []
    for condition, trained in outcome.trained.items():
        given = (condition.blocks, condition.frozen, condition.per_class or "all", condition.repeat)
        measured = (len(trained.history), trained.val_loss, trained.val_accuracy)
        rows.append((*given, condition.decay, *measured, outcome.right[condition].mean()))
    columns = ["blocks", "frozen", "images of each class", "repeat", "decay", "epochs"]
    return pd.DataFrame(rows, columns=[*columns, "val_loss", "val_accuracy", "test_accuracy"])


def predictions(outcome: Outcome, test: FaceDataset) -> pd.DataFrame:
    """Return a row for each test image: whether each condition of the four has it right, with each seed."""
    label = [test.classes[i] for i in test.labels]
    table = {"name": test.names, "label": label}
    for name, group in outcome.plan.four.items():
        table |= {f"{name} {c.repeat}": outcome.right[c].astype(int) for c in group}
    return pd.DataFrame(table)


def accuracies(found: Mapping[str, Any]) -> pd.DataFrame:
    """Return the table of the four conditions, of the metrics of `numbers`."""
    rows = []
    for name, (words, *_) in FOUR.items():
        low, high = (f"{found[f'{name}.accuracy_{end}']:.1%}" for end in ("low", "high"))
        seeds = f"{found[f'{name}.lowest']:.1%} to {found[f'{name}.highest']:.1%}"
        shares = [f"{found[f'{name}.{key}']:.1%}" for key in ("val_accuracy", "accuracy")]
        rows.append((words, *shares, f"{low} to {high}", seeds))
    columns = ["condition", "validation", "test", "95% interval", "seeds"]
    return pd.DataFrame(rows, columns=columns)


def curves(outcome: Outcome) -> pd.DataFrame:
    """Return loss and accuracy by epoch of the four conditions, with each seed; validation now and then."""
    rows = [
        {"condition": name, "seed": condition.repeat} | row
        for name, group in outcome.plan.four.items()
        for condition in group
        for row in outcome.trained[condition].history
    ]
    return pd.DataFrame(rows)
