"""What a stage was computed on: as far as it decides the last digits, and how they grow in training."""

import os
import platform
from functools import lru_cache
from pathlib import Path
from typing import Any

from fer_tools import environment

# Where these differ, the same run comes out otherwise; by how much, `fer verify` says.
DECIDING = ("architecture", "processor", "instructions", "threads", "settings")
# Of instructions: libraries choose their kernels by them.
_FAMILIES = ("fma", "avx", "amx", "asimd", "sve", "sme")


def describe(threads: int | None = None) -> dict[str, Any]:
    """Return what this process computes on.

    Parameters
    ----------
    threads : int, optional
        Of TensorFlow; as many as the environment says, or as there are cores, if not given.

    Returns
    -------
    dict
        "system", "cores", and `DECIDING`: "instructions" are sets that decide which kernels libraries
        choose, "settings" environment variables that do, where somebody else has started the process.
    """
    cpu = _processor()
    flags = (cpu.get("flags") or cpu.get("Features") or "").split()
    return {
        "system": platform.system(),
        "architecture": platform.machine(),
        "processor": cpu.get("model name") or platform.processor() or "unknown",
        "instructions": " ".join(sorted(flag for flag in flags if flag.startswith(_FAMILIES))),
        "cores": os.cpu_count(),
        "threads": threads or _threads(),
        "settings": " ".join(f"{name}={value}" for name, value in environment.foreign_settings().items()),
    }


@lru_cache(maxsize=1)
def _processor() -> dict[str, str]:
    """Return what Linux says of the first processor; nothing elsewhere."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").split("\n\n")[0]
    except OSError:
        return {}
    pairs = (line.partition(":") for line in text.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


def _threads() -> int:
    given = os.environ.get(environment.THREADS[0], "")
    return int(given) if given.isdecimal() and int(given) else usable_cores()


def usable_cores() -> int:
    """Return how many cores this process may use, of which TensorFlow takes as many threads."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processes(memory: int) -> int:
    """Return how many processes that take so many bytes fit: at most one a core, at least one."""
    import psutil

    return max(1, min(usable_cores(), psutil.virtual_memory().available // memory))


def differences(then: Any, now: Any) -> str:
    """Say in what two machines differ that decides digits, as far as it is recorded; "" if in nothing."""
    then, now = (place if isinstance(place, dict) else {} for place in (then, now))  # somebody's run.json
    facts = []
    for key in DECIDING:
        if key in then and key in now and then[key] != now[key]:
            ours, theirs = str(now[key]), str(then[key])[:500]
            if key == "instructions":
                here, there = set(ours.split()), set(theirs.split())
                ours, theirs = (" ".join(sorted(words)) for words in (here - there, there - here))
            facts.append(f"{key} {theirs or 'none'}, now {ours or 'none'}")
    return "; ".join(facts)
