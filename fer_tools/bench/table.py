"""TODO"""

import csv
import io
import os
import platform
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from fer_lib.figures import style
from fer_lib.figures.style import Figure
from fer_tools.bench.contenders import COMPARED, PLAIN, PREDICTIONS, SGEMM, Way
from fer_tools.run import provenance

PLAIN_NAME = "4 convolutions"  # in the figure
BUSY = 0.2  # cores of other processes from which on we warn
TRAINING_COST = 3  # forward passes in a step: forward, and gradients of activations and of weights


def machine() -> dict[str, Any]:
    """Describe the processor and the software that does the arithmetic."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    except OSError:
        names = []
    versions = {name: provenance.versions()[name] for name in ("python", "tensorflow", "keras")}
    return provenance.machine() | versions | {"processor": names[0] if names else platform.processor()}


def describe_machine(values: dict[str, Any]) -> str:
    """Say what the machine is."""
    return (
        f"{values['processor'] or values['architecture']}, {values['cores']} cores, {values['system']}; "
        f"TensorFlow {values['tensorflow']}, Keras {values['keras']}, Python {values['python']}"
    )


def used_by_others() -> tuple[float, float]:
    """Give the time, and the processor seconds that other processes have used since the machine started.

    Of the children of this process, those that have ended count as this one.
    """
    import psutil

    times = psutil.cpu_times()._asdict()
    not_used = ("idle", "iowait", "guest", "guest_nice")  # Linux counts guests among users, too
    used = sum(seconds for kind, seconds in times.items() if kind not in not_used)
    return time.monotonic(), used - sum(os.times()[:4])


def cores_of_others(before: tuple[float, float]) -> float:
    """Tell how many cores other processes have kept busy since, on average."""
    now = used_by_others()
    return max(0.0, (now[1] - before[1]) / (now[0] - before[0]))


def busy(cores: float) -> str:
    """Warn, loudly, if other processes kept more than `BUSY` cores busy."""
    if cores <= BUSY:
        return ""
    return (
        f"WARNING: THE MACHINE IS BUSY WITH SOMETHING ELSE, {cores:.1f} cores of it. Wall times are too long "
        "and uneven;\nratios of CPU time suffer less. For numbers to quote, measure again when it is idle.\n"
    )


def ratios(slow: Sequence[np.ndarray], quick: Sequence[np.ndarray]) -> dict[str, float]:
    """Divide times round by round.

    Parameters
    ----------
    slow, quick : one array (calls, 2) a round, of wall and CPU seconds

    Returns
    -------
    dict
        `wall` and `cpu`, medians over the rounds, each with `_low` and `_high`, the extremes.
    """
    quotients = per_round(slow) / per_round(quick)
    result = {}
    for name, values in zip(("wall", "cpu"), quotients.T, strict=True):
        middle, low, high = np.median(values), values.min(), values.max()
        result |= {name: float(middle), f"{name}_low": float(low), f"{name}_high": float(high)}
    return result


def per_round(samples: Sequence[np.ndarray]) -> np.ndarray:
    """Wall and CPU seconds of each round, (rounds, 2): the median of its calls."""
    return np.array([np.median(calls, axis=0) for calls in samples])


def summarise(
    chosen: Sequence[Way],
    facts: dict[str, dict[str, Any]],
    samples: dict[tuple[str, str], list[np.ndarray]],
    images: int,
    matrix: int,
) -> dict[str, Any]:
    """Turn samples into ratios, milliseconds, and shares of the rate of sgemm.

    Arithmetic is two operations a multiply-add, a training step counted as three forward passes. The share
    by wall time is of all threads' sgemm; the share by CPU time is of one thread's, and is the one that
    other load on the machine leaves alone.
    """
    flop = 2 * matrix**3
    limits = [flop / per_round(samples[way.name, "sgemm"]) for way in SGEMM]  # (rounds, 2)
    limit = np.stack([limits[1][:, 0], limits[0][:, 1]], axis=1)
    result: dict[str, Any] = {
        "sgemm": {
            way.name.removeprefix("sgemm_"): {
                "wall_gflops": float(np.median(rates[:, 0]) / 1e9),
                "cpu_gflops": float(np.median(rates[:, 1]) / 1e9),
            }
            for way, rates in zip(SGEMM, limits, strict=True)
        },
        "ways": {},
        "ratios": {},
    }
    for way in chosen:
        entry = {"ours": way.ours, "network": way.network} | facts[way.name]
        for command in way.commands:
            seconds = per_round(samples[way.name, command])
            milliseconds = 1000 * seconds / (images if command in ("train", "evaluate") else 1)
            wall, cpu = np.median(milliseconds, axis=0)
            entry[command] = {"wall_ms": float(wall), "cpu_ms": float(cpu)}
            if command in ("train", "evaluate"):
                passes = TRAINING_COST if command == "train" else 1
                shares = 2 * passes * entry["multiply_adds"] * images / seconds / limit
                wall, cpu = np.median(shares, axis=0)
                rate = 2e-6 * passes * entry["multiply_adds"] / entry[command]["wall_ms"]
                entry[command] |= {"wall_share": float(wall), "cpu_share": float(cpu), "gflops": rate}
            if command in PREDICTIONS:
                every = 1000 * np.concatenate(samples[way.name, command])[:, 0]
                low, high = np.quantile(every, (0.5, 0.95))
                entry[command] |= {"median_ms": float(low), "p95_ms": float(high)}
        result["ways"][way.name] = entry

    pairs = {f"{PLAIN} / {way.name}": (PLAIN, way.name) for way in chosen if way.ours}
    if "basic_model" in result["ways"]:
        pairs["plain_basic_model / basic_model"] = ("plain_basic_model", "basic_model")
    pairs[f"{PLAIN} / plain_basic_model"] = (PLAIN, "plain_basic_model")
    for name, (slow, quick) in pairs.items():
        result["ratios"][name] = {
            command: ratios(samples[slow, command], samples[quick, command]) for command in COMPARED
        }
    return result


def table(document: dict[str, Any]) -> str:
    """Set the result as text: ratios, times, arithmetic, single predictions."""
    size, found, sgemm = document["size"], document["ways"], document["sgemm"]
    both = ("train", "CPU", "eval.", "CPU", "pred.", "CPU")

    rows = [("times as long", *both, "")]
    for name, entry in document["ratios"].items():
        cells = [f"{entry[command][how]:.1f}" for command in COMPARED for how in ("wall", "cpu")]
        rows.append((name, *cells, f"  {_meaning(name)}"))
    longer = _columns(rows)

    rows = [("milliseconds an image", "input", "parameters", *both, "peak memory")]
    for name, entry in found.items():
        cells = [f"{entry[command][how]:.2f}" for command in COMPARED for how in ("wall_ms", "cpu_ms")]
        memory = f"{entry['peak_memory'] / 2**20:,.0f} MB"
        rows.append((name, entry["input"], f"{entry['parameters']:,}", *cells, memory))
    times = _columns(rows)

    rows = [("share of sgemm's rate", "multiply-adds", "GFLOP/s", *both[:2], "GFLOP/s", *both[2:4])]
    for name, entry in found.items():
        cells = [f"{entry['multiply_adds']:,}"]
        for values in (entry["train"], entry["evaluate"]):
            cells += [f"{values['gflops']:.1f}", f"{values['wall_share']:.0%}", f"{values['cpu_share']:.0%}"]
        rows.append((name, *cells))
    arithmetic = _columns(rows)

    rows = [("one face", "median ms", "95th percentile", "")]
    for way, entry in found.items():
        for command in PREDICTIONS.keys() & entry.keys():
            values = [f"{entry[command][key]:.1f}" for key in ("median_ms", "p95_ms")]
            rows.append((way, *values, f"  {PREDICTIONS[command if entry['ours'] else 'model_predict']}"))
    predictions = _columns([rows[0], *sorted(rows[1:], key=lambda row: float(row[1]))])

    rows = [("not counted above", "wall s", "CPU s", "")]
    for name, entry in found.items():
        if values := entry.get("epoch_end"):
            seconds = [f"{values[how] / 1000:.2f}" for how in ("wall_ms", "cpu_ms")]
            rows.append((name, *seconds, "  an epoch's end: batch normalisation, checkpoint, state"))
    quality = (
        "QUICK: THE NUMBERS MEAN NOTHING" if document["quick"] else f"medians over {size['rounds']} rounds"
    )
    side, one, every = f"{size['matrix']:,}", sgemm["one_thread"], sgemm["all_threads"]
    return f"""
{document["data"]}: {size["images"]:,} images an epoch, batches of {size["batch_size"]}
{quality}

{longer}

{times}

{arithmetic}
{side} x {side} float32 matrices multiply at {every["wall_gflops"]:.1f} GFLOP/s with all threads, \
{one["wall_gflops"]:.1f} with one
({one["cpu_gflops"]:.1f} a CPU second); shares are of the first by wall time, of the last by CPU time

{predictions}

{_columns(rows)}
"""


def _meaning(name: str) -> str:
    if name == f"{PLAIN} / plain_basic_model":
        return "of this, by size and network"
    return "of this, by pipeline and settings" if name.startswith("plain_basic") else "in all"


def _columns(rows: Sequence[Sequence[str]]) -> str:
    """Align the first column to the left, the last too if it is a remark, and the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for first, *rest in rows:
        cells = [
            cell.ljust(width) if cell.startswith("  ") else cell.rjust(width)
            for cell, width in zip(rest, widths[1:], strict=True)
        ]
        lines.append("  ".join([first.ljust(widths[0]), *cells]).rstrip())
    return "\n".join(lines)


def csv_text(samples: dict[tuple[str, str], list[np.ndarray]]) -> str:
    """Every single measurement, in order."""
    with closing(io.StringIO()) as text:
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(("way", "measured", "round", "call", "wall_seconds", "cpu_seconds"))
        for (way, command), rounds in samples.items():
            for number, calls in enumerate(rounds, 1):
                for call, (wall, cpu) in enumerate(calls, 1):
                    writer.writerow((way, command, number, call, f"{wall:.6f}", f"{cpu:.6f}"))
        return text.getvalue()


@style.styled
def figure(document: dict[str, Any]) -> Figure:
    """Time per training image of each way, and the share of sgemm's rate that each attains."""
    ways = document["ways"]
    drawn, axes = style.subplots(1, 2, 0.8 + 0.55 * len(ways), sharey=True, width_ratios=(3, 2))

    def bars(ax: Any, measures: Sequence[Callable[[dict], float]], text: Callable[..., str]) -> None:
        for place, (measure, alpha) in enumerate(zip(measures, (1.0, 0.45), strict=True)):
            values = [measure(way) for way in ways.values()]
            rows = np.arange(len(ways)) + 0.34 * place - 0.17
            colours = [style.VALIDATION if way["ours"] else style.TRAINING for way in ways.values()]
            texts = [text(name, place, value) for name, value in zip(ways, values, strict=True)]
            ax.bar_label(
                ax.barh(rows, values, 0.32, color=colours, alpha=alpha), texts, padding=3, fontsize=8
            )
        style.bare(ax, ticks="y")
        ax.spines["bottom"].set_visible(False)
        ax.set(xticks=[], xlim=(0, 1.5 * max(measure(way) for measure in measures for way in ways.values())))

    def time_text(name: str, place: int, value: float) -> str:
        how, text = ("wall", "CPU")[place], f"{value:.1f} ms" if value < 9.5 else f"{value:.0f} ms"
        ratio = document["ratios"].get(f"{PLAIN} / {name}")
        return f"{text}  {ratio['train'][how.lower()]:.1f}×" if ratio else f"{text} {how}"

    def share_text(name: str, place: int, value: float) -> str:
        return style.percent(value) + (("  training", "  evaluation")[place] if name == PLAIN else "")

    left, right = axes[0]
    bars(left, [lambda way: way["train"]["wall_ms"], lambda way: way["train"]["cpu_ms"]], time_text)
    bars(right, [lambda way: way["train"]["cpu_share"], lambda way: way["evaluate"]["cpu_share"]], share_text)
    names = [PLAIN_NAME if way["network"] == PLAIN else way["network"] for way in ways.values()]
    labels = [
        f"{'ours' if way['ours'] else 'plain Keras'}\n{name}, {way['input']}".replace("x", "×")
        for name, way in zip(names, ways.values(), strict=True)
    ]
    left.set_yticks(np.arange(len(ways)), labels)
    left.invert_yaxis()
    others = " (machine busy)" if busy(document["machine"]["cores_of_others"]) else ""
    left.set_title(f"training: ms an image,\n× as quick as the first{others}", loc="left")
    right.set_title("arithmetic: share of the\nrate of sgemm (CPU time)", loc="left")
    return drawn
