"""What a worker process does: look around, train at one point, stop."""

import contextlib
import io
import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fer_lib.files import UsageError, sha256_of_file
from fer_tools import environment, paths, pipeline
from fer_tools.pipeline import KernelDied
from fer_tools.run import provenance
from fer_tools.study.read import Study

EXECUTED = ("training", "overfitting")  # at a point; never the evaluation


def needs_of(study: Study) -> dict[str, Any]:
    """Return what has to be the same where a point is trained."""
    needs = {
        "id": f"fer-{os.getpid()}-{time.time_ns()}",
        "results": str(paths.results_folder()),
        "study": str(study.folder),
        "models": sorted({point.value("model") for point in study.points}),
        "sources": sorted({point.value(k) for point in study.points for k in ("data", "test_data")} - {""}),
    }
    return needs | {"seen": list(_look(needs))}


def _look(needs: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Look at what has to be the same everywhere; before it, what is wrong where it differs."""
    from fer_lib.data import load

    shared = f"does not see the results folder {needs['results']}; it has to be one that all share"
    yield shared, sha256_if_there(Path(needs["study"]) / "study.json")
    yield f"may not write to {needs['results']}", os.access(needs["results"], os.W_OK)
    yield "has other software", provenance.versions()
    code = [provenance.code_digest(stage, model) for stage in EXECUTED for model in needs["models"]]
    yield "has other code or notebooks than the sweep began with", code
    for source in needs["sources"]:
        yield f"has other data under {source}", load.data_digest(source)


_current = ""  # the sweep that this process works for
_stopped: set[str] = set()


def leave_interrupts() -> None:
    """Ignore Ctrl-C, which a terminal sends to workers, too; the parent process handles it."""
    signal.signal(signal.SIGINT, lambda *_: None)  # unlike SIG_IGN, kernels do not inherit it


def look_around(needs: dict[str, Any]) -> tuple[str, int, str]:
    """Return this host, its cores, and what is not as it has to be, in one line."""
    from dask.system import CPU_COUNT

    return socket.gethostname(), CPU_COUNT, _unlike(needs)


def _unlike(needs: dict[str, Any]) -> str:
    try:
        for (wrong, here), (_, there) in zip(_look(needs), needs["seen"], strict=True):
            if here != there:
                versions = there.items() if isinstance(there, dict) else ()
                other = ", ".join(f"{name} {here[name]}, not {v}" for name, v in versions if here[name] != v)
                return f"{wrong} ({other})" if other else wrong
    except UsageError as error:  # the data are not there, for example
        return str(error)
    return ""


def work(preset: str, given: dict[str, Any], needs: dict[str, Any]) -> tuple[str | None, str]:
    """Train at one point; return the name of its run, and what went wrong, in one line."""
    global _current
    _current, run = needs["id"], None
    threads = str(needs["threads"].get(socket.gethostname(), 1))
    said = io.StringIO()  # one line per epoch, to be lost: the parent process has one line for all points
    try:
        with (
            environment.variable("FER_RESULTS", needs["results"]),
            environment.variable(environment.THREADS[0], threads),
            contextlib.redirect_stdout(said),
            contextlib.redirect_stderr(said),
        ):
            if reason := _unlike(needs):
                return None, f"worker on {socket.gethostname()}: {reason}"
            run = pipeline.start(preset, given, reuse=True, drawn=False)
            # What has killed a worker twice at one point, most often want of memory, would kill a third.
            starts = Path(needs["study"]) / ".starts" / run.name
            starts.parent.mkdir(exist_ok=True)
            with open(starts, "a") as handle:
                handle.write("started\n")
                if handle.tell() > 2 * len("started\n"):
                    return run.name, "its worker was killed, and killed again when it was tried again"
            try:
                pipeline.execute(run, EXECUTED)
            except KernelDied:
                if needs["id"] in _stopped:
                    raise
                pipeline.execute(run, EXECUTED)
    except (UsageError, OSError) as error:
        return run.name if run else None, str(error) or type(error).__name__
    finally:
        _current = ""
    return run.name, ""


def stop(sweep_id: str) -> bool:
    """End the kernel of the point at which this process is; return whether it is still at one."""
    import psutil

    _stopped.add(sweep_id)
    if _current != sweep_id:
        return False
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.Error):
            if "ipykernel_launcher" in child.cmdline():
                child.kill()
    return True


def sha256_if_there(path: Path) -> str | None:
    """SHA-256 (hexadecimal) of a file's bytes; None where there is no such file."""
    return sha256_of_file(path) if path.is_file() else None
