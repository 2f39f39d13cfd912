"""What is worth saying of somebody's network, in plain sentences: what there is, and what to change."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fer_lib.data.faces import DEFAULT_CLASSES
from fer_lib.files import printable
from fer_tools.grading.reading import Reading

COLLAPSED = 0.75  # share of one answer
OVERCONFIDENT = 0.1  # by how much confidence is above accuracy
CHANCE = 1 / 3

Finding = dict[str, str]


def finding(code: str, text: str, advice: str) -> Finding:
    """Return a finding: its kind, what was found, and what to change."""
    return {"code": code, "text": printable(text), "advice": printable(advice)}


def p_in_words(p_value: float) -> str:
    """Return "p = 0.03", or "p < 0.000001" where it is beyond what can be imagined."""
    if p_value < 1e-6:
        return "p < 0.000001"
    return f"p = {p_value:.{max(0, 1 - math.floor(math.log10(p_value)))}f}"


def named(order: Sequence[int], classes: Sequence[str] = DEFAULT_CLASSES) -> list[str]:
    """Return the classes of outputs by name."""
    return [classes[i] for i in order]


def sentence(reading: Reading, declared: str | None) -> str:
    """Return what is known of a network's outputs and pixels, in words."""
    told = f"{p_in_words(reading.p_value)} with {reading.images} training images"
    if reading.order is None:
        return f"Which output means which expression cannot be told ({told})."
    order = named(reading.order)
    text = f"Its outputs mean {', '.join(order)} ({told}). "
    if reading.overruled:
        text += f"It scales pixels itself, yet answers better on pixels {reading.scale}."
    elif declared:
        text += f"It takes pixels {declared}, and scales them itself."
    elif reading.certain:
        text += f"It scales nothing itself, and answers best on pixels {reading.scale}."
    else:
        text += f"It scales nothing itself; best, but not beyond doubt, on pixels {reading.scale}."
    if order != list(DEFAULT_CLASSES):
        text += f" The game wants {', '.join(DEFAULT_CLASSES)}: it has to put the answers in that order."
    return text


def of_network(facts: Mapping[str, Any], missing: Sequence[str]) -> Iterator[Finding]:
    """Yield what its layers show: too many parameters, layers that lack, no softmax."""
    parameters, limit, largest = facts["parameters"], facts["limit"], None
    if parameters > limit:
        largest = max(facts["layers"], key=lambda layer: layer["parameters"])
        yield finding(
            "over-limit",
            f"It has {parameters:,} parameters, {parameters - limit:,} more than the {limit:,} allowed.",
            f"Make it smaller. Its layer {largest['name']} ({largest['class']}) alone has "
            f"{largest['parameters']:,}: give it fewer units or filters, or put another "
            "layers.MaxPooling2D(), or layers.GlobalAveragePooling2D() for Flatten(), before it.",
        )
    if facts["output"]["activation"] != "softmax":
        yield finding(
            "no-softmax",
            f"It ends with {facts['output']['activation'] or 'no activation'}, not with softmax, so its "
            "outputs are no probabilities.",
            'End it with layers.Dense(3, activation="softmax") and train it again.',
        )
    if missing:
        yield finding(
            "layers-missing",
            f"Of what the assignment asks for there is no sign of: {'; '.join(missing)}.",
            "Add it where the network is built, and train again: layers.Conv2D(32, 3, "
            'activation="relu"), layers.MaxPooling2D(), layers.Flatten(), layers.Dense(64, '
            'activation="relu"), layers.Dense(3, activation="softmax").',
        )


def other_task(facts: Mapping[str, Any]) -> Finding:
    """Return that a network takes or gives something else than those that are measured here."""
    size = "x".join(str(side) for side in facts["input"].values())
    classes = facts["output"]["classes"]
    return finding(
        "other-task",
        f"It takes images of {size} and gives {classes} numbers: not a network from grey or colour images "
        f"to {len(DEFAULT_CLASSES)} expressions, so no accuracy is given.",
        "If this is the network of Sections 5 to 7, hand in the file that it was saved to; one of Section 8 "
        "(another task) is as it should be.",
    )


def too_slow(work: int, most: int) -> Finding:
    """Return that a network is not measured because that would take too long."""
    return finding(
        "too-slow",
        f"An image takes it {work / 1e6:,.0f} million steps of arithmetic; networks of more than "
        f"{most / 1e6:,.0f} million are not measured, so no accuracy is given.",
        "Make the images smaller, or put pooling (layers.MaxPooling2D()) between the first convolutions.",
    )


def not_finite(what: str) -> Finding:
    """Return that weights or outputs are no numbers."""
    return finding(
        "not-finite",
        f"Its {what} are not all numbers (NaN or infinity), so it recognises nothing; no accuracy is given.",
        "Train it again with a smaller learning rate, such as keras.optimizers.Adam(0.0005), and keep an "
        "epoch before the loss became nan.",
    )


def of_reading(reading: Reading) -> Iterator[Finding]:
    """Yield what training images show: an order that cannot be told, pixels that were scaled twice."""
    if reading.order is None:
        yield finding(
            "order-unknown",
            f"Which output means which expression cannot be told: the best order is right on "
            f"{reading.share:.0%} of {reading.images} training images, another one hardly less often "
            f"({p_in_words(reading.p_value)}). So no accuracy is given.",
            "Write train_dataset.class_names into the report, and check that this is the file of the "
            "network that was trained: model.evaluate(validation_dataset) has to be far above 33%.",
        )
        if reading.commonest >= COLLAPSED:
            yield _collapsed(f"{reading.commonest:.0%} of {reading.images} training images", "the same")
    elif reading.overruled:
        yield finding(
            "double-scaling",
            f"It scales pixels itself (Rescaling), yet answers better on pixels {reading.scale} than on "
            "0..255: it was trained on images that were scaled twice.",
            "Scale once: keep layers.Rescaling(1./255) in the network, remove the division by 255 from "
            "where the training images are prepared, and train again.",
        )


def _collapsed(of: str, answer: str) -> Finding:
    return finding(
        "collapsed",
        f"For {of} it gives {answer} answer.",
        "Look whether training accuracy ever left 33%: a learning rate that is too large or images of "
        "another scale than in training end so. Train again with keras.optimizers.Adam(0.001).",
    )


def of_test(test: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield what test images show: one answer for all, a class hardly recognised, too sure of itself."""
    confusion, images = test["confusion"], test["images"]
    answers = [sum(row[i] for row in confusion) for i in range(len(confusion))]
    commonest = max(range(len(answers)), key=answers.__getitem__)
    if answers[commonest] >= COLLAPSED * images:
        share = f"{answers[commonest] / images:.0%} of the test images"
        yield _collapsed(share, f"the same, {DEFAULT_CLASSES[commonest]}, as its")
    else:
        for i, row in enumerate(confusion):
            total = sum(row)
            if row[i] < CHANCE * total:
                mistaken = max((j for j in range(len(row)) if j != i), key=row.__getitem__)
                yield finding(
                    "class-missed",
                    f"Of {total:,} test images of {DEFAULT_CLASSES[i]} it recognises {row[i] / total:.0%}; "
                    f"for most of the others it says {DEFAULT_CLASSES[mistaken]}.",
                    "Train it on as many images of each class, or give "
                    "model.fit(..., class_weight=...) the rarer ones more weight.",
                )
    confidence = test["mean_confidence"]
    if confidence is not None and confidence - test["accuracy"] > OVERCONFIDENT:
        yield finding(
            "overconfident",
            f"It is too sure of itself: {confidence:.1%} sure on average, right in {test['accuracy']:.1%}.",
            "It over-fits. Keep the epoch with the lowest validation loss "
            '(keras.callbacks.ModelCheckpoint("best.keras", save_best_only=True)), and add '
            "layers.Dropout(0.3) or augmentation.",
        )
