"""The trained network that comes with the package, and its model card."""

import statistics
from pathlib import Path
from typing import Any

from fer_lib import models
from fer_lib.files import read_json

NAME = "optimized_model"
PUBLIC_BEST = 0.7775  # test accuracy of the best public solution of the assignment, 149,683 parameters


def path(name: str = NAME) -> Path:
    """Return where the weights are; beside them .json holds what was measured, .md the model card."""
    return Path(models.__file__).with_name(f"{name}.keras")


def facts(name: str = NAME) -> dict[str, Any]:
    """Read classes, training parameters and measurements of the shipped network."""
    return read_json(path(name).with_suffix(".json"))


def curve(content: dict[str, Any]) -> Any:
    """Draw validation accuracy against minutes of training, one line per seed, as a matplotlib Figure.

    An epoch counts as long as the mean epoch of the network shipped.
    """
    from fer_lib.figures import style

    return style.styled(_draw_curve)(content)


def _draw_curve(content: dict[str, Any]) -> Any:
    from fer_lib.figures.style import FAINT, VALIDATION, percent, subplots

    epoch = content["minutes"] / content["parameters"]["epochs"]
    curves = [seed["val_accuracy"] for seed in content["seeds"]]
    shown, minutes = curves[0], [epoch * (i + 1) for i in range(len(curves[0]))]
    figure, axes = subplots(1, 1, 2.9)
    ax = axes[0, 0]
    for values in curves[1:]:
        ax.plot(minutes, values, color=FAINT, linewidth=1)
    ax.plot(minutes, shown, color=VALIDATION)
    beside = {"textcoords": "offset points", "fontsize": 8}
    end = f"{shown[-1]:.1%}".replace("%", " %")
    ax.annotate(end, (minutes[-1], shown[-1]), (4, 0), va="center", color=VALIDATION, **beside)
    ax.axhline(PUBLIC_BEST, color=FAINT, linewidth=1, linestyle=(0, (4, 3)))
    passed = next((m for m, value in zip(minutes, shown, strict=True) if value > PUBLIC_BEST), None)
    said = f"best public solution, {PUBLIC_BEST:.2%}".replace("%", " %")
    said += f": passed after {passed:.1f} minutes" if passed else ""
    place = {"xycoords": ("axes fraction", "data"), "ha": "right", "va": "top"}
    ax.annotate(said, (1, PUBLIC_BEST), (-2, -4), **place, **beside)
    ax.set_xscale("log")
    ticks = [tick for tick in (1, 2, 5, 10, 20, 50, 100, 200) if minutes[0] <= tick <= minutes[-1]]
    ax.set_xticks(ticks, map(str, ticks))
    ax.set_xticks([], minor=True)
    threads = content["machine"]["threads"]
    ax.set(xlabel="minutes of training" + f", {threads} thread{'s' * (threads != 1)}" * bool(threads))
    ax.set(ylabel="validation accuracy", ylim=(0.3, 0.95))
    ax.yaxis.set_major_formatter(percent)
    return figure


def card(content: dict[str, Any]) -> str:
    """Write the model card from what was measured.

    Parameters
    ----------
    content : dict
        Of `facts`.

    Returns
    -------
    str
        Markdown. After Mitchell et al. (2019), Model Cards for Model Reporting, arXiv:1810.03993.
    """
    values, metrics, seeds = content["parameters"], content["metrics"], content["seeds"]
    classes = content["classes"]
    named = ", ".join(f"*{name}*" for name in classes)

    def share(key: str) -> str:
        return f"{metrics[key]:.1%}"

    by_class = "\n".join(
        f"| {name} | {share(f'test.precision.{name}')} | {share(f'test.recall.{name}')} "
        f"| {share(f'test.f1.{name}')} | {metrics[f'data.test.{name}']:,} |"
        for name in classes
    )
    rows = "\n".join(
        f"| {seed['seed']} | {seed['accuracy']:.1%} ({seed['accuracy_low']:.1%} to {seed['accuracy_high']:.1%}) "
        f"| {seed['balanced_accuracy']:.1%} | {seed['loss']:.3f} |"
        for seed in seeds
    )
    if len(seeds) > 1:
        accuracies = [seed["accuracy"] for seed in seeds]
        rows += (
            f"\n| mean (standard deviation) | **{statistics.mean(accuracies):.1%}** "
            f"({100 * statistics.stdev(accuracies):.1f} points) "
            f"| {statistics.mean(seed['balanced_accuracy'] for seed in seeds):.1%} "
            f"| {statistics.mean(seed['loss'] for seed in seeds):.3f} |"
        )
    smoothing, threads = values["label_smoothing"], content["machine"]["threads"]
    with_threads = f" with {threads} threads" if threads else ""
    return f"""# Model card: {values["model"]}

Tells {named} apart in a grey-scale picture of one face, 48x48 pixels, with {metrics["model.parameters"]:,} parameters.
Weights: `{values["model"]}.keras`, SHA-256 `{content["sha256"]}`. It opens with Keras alone; `fer predict IMAGE...` uses it.

## Training

{metrics["training.images"]:,} photographs of FER2013's part Training ({metrics["training.validation_images"]:,} more were set
aside for validation), after {metrics["data.removed.total"]:,} had left: copies within Training, copies of test images, and images
whose copies carry different labels. {values["epochs"]} epochs of {metrics["training.optimizer"]}, batches of
{values["batch_size"]}, learning rate up to {values["learning_rate"]:g} ({values["schedule"]}), label smoothing {smoothing:g},
augmentation strength {values["augmentation_strength"]:g} (`fer_lib.layers.RandomPhotograph`).
It took {content["minutes"]:g} minutes{with_threads} on a machine of {content["machine"]["cores"]} cores. The epoch kept,
{metrics["overfitting.best_epoch"]}, and every setting were chosen on validation; there it is right in
{share("overfitting.val_accuracy")}. Again: `fer run --preset section6`.

![Validation accuracy against minutes of training: the network shipped (red), the same with other seeds (grey)]({values["model"]}.svg)

## Measured

On {metrics["test.images"]:,} photographs of PublicTest ({metrics["test.seen_in_training"]:,} of them met in training), one picture,
one pass, no averaging over copies: **{share("test.accuracy")}** (95% interval {share("test.accuracy_low")} to
{share("test.accuracy_high")}), loss {metrics["test.loss"]:.3f}, expected calibration error {metrics["test.ece"]:.3f}. Always saying
"{metrics["test.majority_class"]}" is right in {share("test.majority_accuracy")}.

| class | precision | recall | F1 | images |
| --- | --- | --- | --- | --- |
{by_class}

By seed, as far as trained (the network shipped is that of the first row, whatever others reached):

| seed | accuracy, 95% interval | balanced accuracy | loss |
| --- | --- | --- | --- |
{rows}

## Intended use

Teaching, and a small baseline to compare with. An *expression* is what a face shows, not what somebody feels: the network
has no way of knowing that, and neither had those who labelled the photographs.

## Limits

- It knows {len(classes)} classes and always answers with one of them, whatever it is shown: a sad face, a cat, a wall.
- It expects a face that fills the picture, as a face detector crops it; it finds no faces itself.
- FER2013 was collected by web search without the consent of those it shows. Ages, ancestries and lighting are those of
  pictures on the web; accuracy by group was not measured, because the data do not say who is who.
- Some of FER2013's labels are wrong or a matter of taste, in training as in test images; the figures above contain that.
- Not for decisions about people: not in hiring, teaching, policing, medicine or advertising, nor for watching anybody.
"""
