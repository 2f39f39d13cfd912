"""The machine that measures: what it is, and how busy others keep it."""

import os
import time
from typing import Any

from fer_tools.run import machine, provenance

BUSY = 0.2  # cores of other processes from which on we warn


def describe() -> dict[str, Any]:
    """Return the processor, and the software that does the arithmetic."""
    versions = {name: provenance.versions()[name] for name in ("python", "tensorflow", "keras")}
    return machine.describe() | versions


def in_words(found: dict[str, Any]) -> str:
    """Return what `describe` found, in one line."""
    return (
        f"{found['processor'] or found['architecture']}, {found['cores']} cores, {found['system']}; "
        f"TensorFlow {found['tensorflow']}, Keras {found['keras']}, Python {found['python']}"
    )


def used_by_others() -> tuple[float, float]:
    """Return the time, and the processor seconds that other processes have used since the machine started.

    Of the children of this process, those that have ended count as this one.
    """
    import psutil

    times = psutil.cpu_times()._asdict()
    not_used = ("idle", "iowait", "guest", "guest_nice")  # Linux counts guests among users, too
    used = sum(seconds for kind, seconds in times.items() if kind not in not_used)
    return time.monotonic(), used - sum(os.times()[:4])


def cores_of_others(before: tuple[float, float]) -> float:
    """Return how many cores other processes have kept busy since `before`, on average."""
    now = used_by_others()
    return max(0.0, (now[1] - before[1]) / (now[0] - before[0]))


def busy(cores: float) -> str:
    """Return a warning, a loud one, if other processes kept more than `BUSY` cores busy."""
    if cores <= BUSY:
        return ""
    return (
        f"WARNING: THE MACHINE IS BUSY WITH SOMETHING ELSE, {cores:.1f} cores of it. Wall times are too long "
        "and uneven;\nratios of CPU time suffer less. For numbers to quote, measure again when it is idle.\n"
    )
