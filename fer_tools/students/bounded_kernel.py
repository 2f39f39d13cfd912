"""A kernel that cannot take all of a machine: `python -m fer_tools.students.bounded_kernel -f FILE`.

For notebooks in which anything may stand. An endless loop ends, and what fills the memory gets a MemoryError.
"""

import contextlib
import runpy
import signal
from typing import Any

MEMORY = 4 << 30  # bytes that are written to; at their smallest size notebooks take 1.7
SECONDS = 600  # of processor, all cells together
LATEST = 1200  # seconds after which the kernel ends, whatever it does, on a busy machine, too
LARGEST = 1 << 30  # bytes of a file
OF_EXERCISE, OF_OTHERS = 60, 600  # seconds of a cell; then it is interrupted, and the next one begins


def longest(cell: Any) -> int:
    """Return how many seconds a cell may take: where nothing is trained, an endless loop is noticed soon."""
    from fer_tools.notebooks import CHECK, EXERCISE  # a kernel has no need of it

    return OF_EXERCISE if {CHECK, EXERCISE} & {*cell.metadata.get("tags", [])} else OF_OTHERS


OF_CELLS = {"timeout_func": longest, "interrupt_on_timeout": True}  # options of nbclient


def main() -> None:
    """Set the bounds, where the system has them, and be a kernel."""
    with contextlib.suppress(ImportError, ValueError, OSError):  # elsewhere than on Unix there are none
        import resource

        signal.alarm(LATEST)
        bounds = {"RLIMIT_CPU": SECONDS, "RLIMIT_DATA": MEMORY, "RLIMIT_FSIZE": LARGEST, "RLIMIT_CORE": 0}
        for name, most in bounds.items():
            resource.setrlimit(getattr(resource, name), (most, most))
    runpy.run_module("ipykernel_launcher", run_name="__main__")


if __name__ == "__main__":
    main()
