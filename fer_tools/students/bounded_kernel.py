"""A kernel that cannot take all of a machine: `python -m fer_tools.students.bounded_kernel -f FILE`.

For notebooks in which anything may stand. An endless loop ends, and what fills the memory gets a MemoryError.
"""

import contextlib
import runpy
import signal

MEMORY = 4 << 30  # bytes that are written to; at their smallest size notebooks take 1.2
SECONDS = 300  # of processor, all cells together
LATEST = 900  # seconds after which the kernel ends, whatever it does, on a busy machine, too
LARGEST = 1 << 30  # bytes of a file
# Of papermill: how long a cell may take, in seconds, and that it is interrupted then and the next one begins.
OF_CELLS = {"execution_timeout": 120, "interrupt_on_timeout": True}


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
