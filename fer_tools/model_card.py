"""The card of a network that comes with the package: what it was trained with, and what was measured."""

import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fer_tools import checking, pretrained


def curve(content: dict[str, Any]) -> Any:
    """Draw validation accuracy against minutes of training, one line per seed, as a matplotlib Figure.

    Nothing else is drawn on that axis: what others measured is on test images. An epoch counts as long as the
    mean epoch of the network shipped.
    """
    from fer_lib.figures import style

    return style.styled(_draw_curve)(content)


def _draw_curve(content: dict[str, Any]) -> Any:
    from fer_lib.figures.style import FAINT, VALIDATION, note, percent, subplots

    epoch = content["minutes"] / content["parameters"]["epochs"]
    curves = [seed["val_accuracy"] for seed in content["seeds"]]
    shown, minutes = curves[0], [epoch * (i + 1) for i in range(len(curves[0]))]
    figure, axes = subplots(1, 1, 2.9)
    ax = axes[0, 0]
    for values in curves[1:]:
        ax.plot(minutes, values, color=FAINT, linewidth=1)
    ax.plot(minutes, shown, color=VALIDATION)
    end = f"{shown[-1]:.1%}".replace("%", " %")
    note(ax, end, (minutes[-1], shown[-1]), (4, 0), va="center", color=VALIDATION)
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
    """Write the model card: model_card.md, beside this file, filled with what was measured.

    Parameters
    ----------
    content : dict
        Of `facts`.

    Returns
    -------
    str
        Markdown. After Mitchell et al. (2019), Model Cards for Model Reporting, arXiv:1810.03993.
    """
    threads, model = content["machine"]["threads"], content["parameters"]["model"]
    found = content["metrics"].get("overfitting.temperature")
    template = Path(__file__).with_name("model_card.md").read_text(encoding="utf-8")
    return template.format(
        **content
        | {
            "option": f" --model {model}" if model != pretrained.NAME else "",
            "named": ", ".join(f"*{name}*" for name in content["classes"]),
            "classes": len(content["classes"]),
            "with_threads": f" with {threads} thread{'s' * (threads != 1)}" if threads else "",
            "temperature": f" Its temperature, {found:.2f}, was fitted there, too." if found else "",
            "targets": content["metrics"].get("training.targets", "labels"),
            "others": " (red), the same with other seeds (grey)" if len(content["seeds"]) > 1 else "",
            "command": command(content["parameters"]),
            "by_class": "\n".join(_by_class(content["metrics"], name) for name in content["classes"]),
            "by_seed": "\n".join(_by_seed(content["seeds"])),
        }
    )


def command(parameters: dict[str, Any]) -> str:
    """Return the command that trains a network once more, from the parameters of its training."""
    preset = "taught" if parameters.get("teacher") else "section6"
    usual = checking.resolve(preset, {})["training"]
    others = [
        f" -p {name}={','.join(map(str, value)) if isinstance(value, list) else value}"
        for name, value in sorted(parameters.items())
        if usual.get(name) != value
    ]
    return f"fer run --preset {preset}{''.join(others)}"


def _by_class(metrics: dict[str, Any], name: str) -> str:
    measured = (f"{metrics[f'test.{key}.{name}']:.1%}" for key in ("precision", "recall", "f1"))
    return f"| {name} | {' | '.join(measured)} | {metrics[f'data.test.{name}']:,} |"


def _by_seed(seeds: list[dict[str, Any]]) -> Iterator[str]:
    for seed in seeds:
        interval = f"{seed['accuracy_low']:.1%} to {seed['accuracy_high']:.1%}"
        balanced, loss = seed["balanced_accuracy"], seed["loss"]
        yield f"| {seed['seed']} | {seed['accuracy']:.1%} ({interval}) | {balanced:.1%} | {loss:.3f} |"
    if len(seeds) > 1:
        keys = ("accuracy", "balanced_accuracy", "loss")
        accuracy, balanced, loss = (statistics.mean(seed[key] for seed in seeds) for key in keys)
        points = 100 * statistics.stdev(seed["accuracy"] for seed in seeds)
        spread = f"**{accuracy:.1%}** ({points:.1f} points)"
        yield f"| mean (standard deviation) | {spread} | {balanced:.1%} | {loss:.3f} |"
