"""What was measured as ratios, times and shares: summarised, as text, and as CSV."""

import csv
import io
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from fer_lib.files import columns
from fer_tools.bench.contenders import COMPARED, PLAIN, PREDICTIONS, SGEMM, Way


def per_round(samples: Sequence[np.ndarray]) -> np.ndarray:
    """Return wall and CPU seconds of each round, (rounds, 2): the median of its calls."""
    return np.array([np.median(calls, axis=0) for calls in samples])


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
    found = {"": np.median(quotients, axis=0), "_low": quotients.min(0), "_high": quotients.max(0)}
    return {f"{how}{k}": float(v[i]) for i, how in enumerate(("wall", "cpu")) for k, v in found.items()}


def _medians(values: np.ndarray, unit: str) -> dict[str, float]:
    """Return the medians over the rounds of values (rounds, 2) by wall and by CPU time."""
    wall, cpu = np.median(values, axis=0)
    return {f"wall_{unit}": float(wall), f"cpu_{unit}": float(cpu)}


def summarise(
    chosen: Sequence[Way],
    facts: dict[str, dict[str, Any]],
    samples: dict[tuple[str, str], list[np.ndarray]],
    images: int,
    matrix: int,
) -> dict[str, Any]:
    """Turn samples into ratios, milliseconds, and shares of the rate of sgemm.

    Arithmetic is two operations a multiply-add, of which `contenders.multiply_adds` counts those of a forward
    pass and of a training step. The share by wall time is of all threads' sgemm; the share by CPU time is of
    one thread's, and is the one that other load on the machine leaves alone.
    """
    one, every = (2 * matrix**3 / per_round(samples[way.name, "sgemm"]) for way in SGEMM)  # per second
    limit = np.stack([every[:, 0], one[:, 1]], axis=1)
    found = {}
    for way in chosen:
        entry = found[way.name] = {"ours": way.ours, "network": way.network} | facts[way.name]
        for command in way.commands:
            seconds = per_round(samples[way.name, command])
            if command not in ("train", "evaluate"):
                entry[command] = _medians(1000 * seconds, "ms")
            else:
                counted = "step_multiply_adds" if command == "train" else "multiply_adds"
                operations = 2 * entry[counted] * images
                entry[command] = _medians(1000 * seconds / images, "ms")
                entry[command] |= _medians(operations / seconds / limit, "share")
                entry[command]["gflops"] = operations / images / 1e6 / entry[command]["wall_ms"]
            if command in PREDICTIONS:
                every_call = 1000 * np.concatenate(samples[way.name, command])[:, 0]
                middle, high = np.quantile(every_call, (0.5, 0.95))
                entry[command] |= {"median_ms": float(middle), "p95_ms": float(high)}
    pairs = [(PLAIN, way.name) for way in chosen if way.ours]
    pairs += [("plain_basic_model", "basic_model")] if "basic_model" in found else []
    return {
        "sgemm": {
            "one_thread": _medians(one / 1e9, "gflops"),
            "all_threads": _medians(every / 1e9, "gflops"),
        },
        "ways": found,
        "ratios": {
            f"{slow} / {quick}": {
                command: ratios(samples[slow, command], samples[quick, command]) for command in COMPARED
            }
            for slow, quick in [*pairs, (PLAIN, "plain_basic_model")]
        },
    }


def _cells(entry: dict[str, Any], measured: Sequence[str], form: str) -> list[str]:
    return [f"{entry[command][name]:{form}}" for command in COMPARED for name in measured]


def _meaning(name: str) -> str:
    if name == f"{PLAIN} / plain_basic_model":
        return "of this, by size and network"
    return "of this, by pipeline and settings" if name.startswith("plain_basic") else "in all"


def _tables(document: dict[str, Any]) -> Iterator[tuple[tuple[str, ...], list[tuple[str, ...]]]]:
    """Return the head and the rows of each table; a last column without a head is of remarks."""
    ways, times = document["ways"].items(), ("train", "CPU", "eval.", "CPU", "pred.", "CPU")
    yield (
        ("times as long", *times, ""),
        [
            (name, *_cells(entry, ("wall", "cpu"), ".1f"), _meaning(name))
            for name, entry in document["ratios"].items()
        ],
    )
    yield ("ms per image", "input", "parameters", *times, "peak memory"), [
        (name, way["input"], f"{way['parameters']:,}", *_cells(way, ("wall_ms", "cpu_ms"), ".2f"),
         f"{way['peak_memory'] / 2**20:,.0f} MB")
        for name, way in ways
    ]  # fmt: skip
    counted = ("multiply-adds", "of a step")
    yield ("share of sgemm's rate", *counted, "GFLOP/s", *times[:2], "GFLOP/s", *times[2:4]), [
        (name, f"{way['multiply_adds']:,}", f"{way['step_multiply_adds']:,}", *(
            cell for of in (way["train"], way["evaluate"])
            for cell in (f"{of['gflops']:.1f}", f"{of['wall_share']:.0%}", f"{of['cpu_share']:.0%}")
        ))
        for name, way in ways
    ]  # fmt: skip
    predictions = [
        (name, way[command], call if way["ours"] else PREDICTIONS["model_predict"])
        for name, way in ways for command, call in PREDICTIONS.items() if command in way
    ]  # fmt: skip
    predictions.sort(key=lambda row: row[1]["median_ms"])
    yield (
        ("one face", "median ms", "95th percentile", ""),
        [
            (name, f"{took['median_ms']:.1f}", f"{took['p95_ms']:.1f}", call)
            for name, took, call in predictions
        ],
    )
    ends = [(name, way["epoch_end"]) for name, way in ways if way["ours"]]
    yield ("not counted above", "wall ms", "CPU ms", ""), [
        (name, f"{end['wall_ms']:.0f}", f"{end['cpu_ms']:.0f}",
         "an epoch's end: batch normalisation, checkpoint, state")
        for name, end in ends
    ]  # fmt: skip


def table(document: dict[str, Any]) -> str:
    """Return the result as text: ratios, times, arithmetic, single predictions."""
    longer, times, arithmetic, predictions, rest = (
        "\n".join(columns([head, *rows], "<" + ">" * (len(head) - 2) + (">" if head[-1] else "<")))
        for head, rows in _tables(document)
    )
    size, one, every = document["size"], document["sgemm"]["one_thread"], document["sgemm"]["all_threads"]
    rounds = f"medians over {size['rounds']} rounds"
    return f"""
{document["data"]}: {size["images"]:,} images an epoch, batches of {size["batch_size"]}
{"QUICK: THE NUMBERS MEAN NOTHING" if document["quick"] else rounds}

{longer}

{times}

{arithmetic}
{size["matrix"]:,} x {size["matrix"]:,} float32 matrices multiply at {every["wall_gflops"]:.1f} GFLOP/s with \
all threads, {one["wall_gflops"]:.1f} with one
({one["cpu_gflops"]:.1f} a CPU second); shares are of the first by wall time, of the last by CPU time

{predictions}

{rest}
"""


def csv_text(samples: dict[tuple[str, str], list[np.ndarray]]) -> str:
    """Return every single measurement, in order, as CSV."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("way", "measured", "round", "call", "wall_seconds", "cpu_seconds"))
    for (way, command), rounds in samples.items():
        for number, calls in enumerate(rounds, 1):
            for call, (wall, cpu) in enumerate(calls, 1):
                writer.writerow((way, command, number, call, f"{wall:.6f}", f"{cpu:.6f}"))
    return text.getvalue()
