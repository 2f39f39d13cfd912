"""The stages of a run, executed by papermill one after the other, each skipped where nothing has changed."""

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from fer_lib.files import UsageError, atomic_path
from fer_lib.tensorflow_import import stderr_to
from fer_tools import checking, environment, locks, paths, progress, scratch
from fer_tools.console import say
from fer_tools.environment import THREADS
from fer_tools.run import find, machine, provenance, tree
from fer_tools.run.document import THREAD_COUNT
from fer_tools.run.edges import stale_reason
from fer_tools.run.run import Run
from fer_tools.run.stage import KEEPS_NOTEBOOK, keep_notebook
from fer_tools.stages import STAGES
from fer_tools.students import bounded_kernel, exercises

KERNEL_LOG = "notebooks/kernel.log"  # what kernels write to standard error
LONGEST_FOLDER = 90  # bytes; a socket in it has a name, too, and the system allows 103 to 107 together


class KernelDied(UsageError):
    """A kernel ended before its notebook: killed, or out of memory."""


def start(preset: str, given: dict[str, Any], reuse: bool = False, drawn: bool = True) -> Run:
    """Make a run with resolved parameters, or find the newest that has the same.

    Parameters
    ----------
    preset : str
        One of `parameters.PRESETS`.
    given : dict
        Parameters that differ from the preset's.
    reuse : bool
        Take the newest run with equal parameters, if there is one, instead of a new one; see
        `find.of_parameters`.
    drawn : bool
        As in `check_data`.

    Raises
    ------
    UsageError
        At a parameter that is not allowed, or data that cannot work, before anything is written.
    """
    resolved, threads = checking.resolve(preset, given), _threads()
    check_data(resolved, drawn)
    for line in _remarks(resolved) if drawn else ():
        say(f"data: {line}")
    if reuse and (run := find.of_parameters(resolved)):
        return run
    named = "training" if "training" in resolved else next(iter(resolved))
    run = find.create(checking.build(named, resolved[named]).label)
    run.update(parameters=resolved, threads=threads)
    return run


def add(run: Run, given: dict[str, Any]) -> None:
    """Let a run have stages that not every run has, or have them otherwise.

    Parameters
    ----------
    run : Run
    given : dict
        Of `checking.optional`, by name; those without a value are ignored.

    Raises
    ------
    UsageError
        If what a stage reads is not there; the run stays as it was.
    """
    added = {}
    for stage, kind in STAGES.items():
        if given.get(kind.optional_by):
            chosen = checking.build(stage, {kind.optional_by: given[kind.optional_by]})
            if kind.files:
                kind.files(chosen)
            added[stage] = checking.plain(chosen)
    run.update(parameters=run.document["parameters"] | added)


def _remarks(resolved: dict[str, Any]) -> Iterator[str]:
    from fer_tools import data_check

    for stage, values in resolved.items():
        if stage == "training":
            yield from data_check.remarks(checking.build(stage, values))
        elif remarks := STAGES[stage].remarks:
            yield from remarks(checking.build(stage, values))


def check_data(resolved: dict[str, Any], drawn: bool = True) -> None:
    """Refuse parameters whose data, or notebooks and other files of a stage, cannot be found or cannot work.

    Parameters
    ----------
    resolved : dict
        Of `checking.resolve`.
    drawn : bool
        As in `data_check.check`.
    """
    from fer_tools import data_check

    for stage in resolved:
        provenance.code_digest(stage)  # its notebook can be executed
    for stage, values in resolved.items():
        chosen = checking.build(stage, values)
        if stage == "training":
            data_check.check(chosen, drawn)
        if files := STAGES[stage].files:
            files(chosen)


def absolute(data: str) -> str:
    """Make a path independent of the folder in which it was typed; names such as "bundled" stay."""
    named = data in ("bundled", "fer2013", "digits")  # though a folder may have that name, too
    path = os.path.expanduser(data)
    return str(Path(path).resolve()) if not named and os.path.exists(path) else data


def _threads() -> int:
    """Return how many threads TensorFlow takes: the last digits of what it computes depend on them."""
    if given := os.environ.get(THREADS[0]):
        try:
            return THREAD_COUNT.check(THREAD_COUNT.parse(given))
        except ValueError as error:
            raise UsageError(f"{THREADS[0]} = {given!r}: expected {error}") from None
    return machine.usable_cores()


def execute(run: Run, stages: Collection[str] = ()) -> None:
    """Execute the stages of a run that are not up to date; print one line per stage and per epoch.

    The kernels get the number of threads that the run began with, for the bytes depend on it.

    Parameters
    ----------
    run : Run
    stages : collection of str, optional
        Of `STAGES`, in their order; all that the run consists of, if not given.

    Raises
    ------
    KernelDied
        If a kernel does.
    UsageError
        If a cell fails: names the notebook, the cell and the error; the executed notebook is kept.
    """
    tree.require(run.path)
    threads = run.document.get("threads")
    with locks.exclusive(run.path), ExitStack() as settings:
        for name in THREADS if threads else ():
            settings.enter_context(environment.variable(name, str(threads)))
        tidy(run)
        try:
            _execute_stages(run, stages or run.stages)
        finally:  # at Ctrl-C a kernel is ended wherever it is
            with suppress(UsageError, OSError):
                tidy(run, patience=10)


def _execute_stages(run: Run, stages: Collection[str]) -> None:
    for stage in stages:  # before any kernel: papermill makes code of names of parameters and of notebooks
        run.parameters(stage)
        provenance.code_digest(stage)
    total = len(stages)
    for number, stage in enumerate(stages, 1):
        label = f"[{number}/{total}] {STAGES[stage].notebook}"
        if stale_reason(run, stage, anywhere=False) is None:
            print(f"{label:<24} unchanged", flush=True)
            continue
        print(f"{label:<24} …", flush=True)
        clock = time.perf_counter()
        execute_stage(run, stage)
        print(f"{label:<24} {time.perf_counter() - clock:.0f} s", flush=True)
        if undone := exercises.failed(run.path / provenance.executed_notebook(stage)):
            say(f"      exercises not done: {', '.join(undone)}; `fer check-my-work` says what is missing")


def tidy(run: Run, patience: float = 60) -> None:
    """Remove temporary files of a killed kernel.

    If only its parent was killed, it may keep writing for some seconds: this waits for it. As long as it
    lives it holds the lock of its log, which is its standard error.

    Raises
    ------
    UsageError
        If it lives for `patience` seconds more.
    """
    clock = time.monotonic()
    log = run.path / KERNEL_LOG
    with suppress(FileNotFoundError), open(log, "rb+") as handle:
        while not locks.lock(handle):
            if time.monotonic() > clock + patience:
                raise UsageError(f"{run.name}: a kernel of an earlier process is still at work; end it first")
            time.sleep(0.1)
        if os.fstat(handle.fileno()).st_nlink > 1:  # it has another name elsewhere, and is written to
            log.unlink()
    scratch.remove_leftovers(run.path, run.model_path)


def execute_stage(run: Run, stage: str, notebook: Path | None = None, bounded: bool = False) -> None:
    """Execute the notebook of a stage, and keep what it was executed as.

    Parameters
    ----------
    run : Run
    stage : str
    notebook : Path, optional
        Somebody's own notebook of this stage, in place of that of the checkout.
    bounded : bool
        Whether kernel and cells may take no more than `bounded_kernel` says.

    Raises
    ------
    KernelDied, UsageError
        As in `execute`. An error in a cell with the tag `raises-exception`, an exercise, is none.
    """
    import papermill
    from papermill.exceptions import PapermillExecutionError
    from traitlets.config import Config

    executed = run.path / provenance.executed_notebook(stage)
    executed.parent.mkdir(exist_ok=True)
    kernel, bounds = ((bounded_kernel.__name__,), bounded_kernel.OF_CELLS) if bounded else ((), {})
    values = checking.plain(run.parameters(stage)) | {"run": str(run.path)}
    log = run.path / KERNEL_LOG
    with (
        scratch.folder() as folder,
        stderr_to(log),
        _progress_lines(),
        atomic_path(executed) as temporary,
        environment.for_kernels(folder, *kernel),
        environment.variable(KEEPS_NOTEBOOK, "1"),
    ):
        # The kernel inherits it with standard error, and holds it even when this process is killed.
        locks.lock(2)
        sockets = {"connection_file": f"{folder}/kernel.json"}
        if len(os.fsencode(folder)) < LONGEST_FOLDER:  # several runs at once would race for TCP ports
            sockets |= {"transport": "ipc", "ip": f"{folder}/k"}
        try:
            papermill.execute_notebook(
                _as_template(notebook or STAGES[stage].path),
                _as_template(temporary),
                parameters=values,
                cwd=str(paths.ROOT),
                kernel_name="python3",
                progress_bar=False,
                log_output=False,
                config=Config(KernelManager=sockets),
                **bounds,
            )
        except PapermillExecutionError as error:
            if exercises.something_else_failed(temporary):
                temporary.replace(executed)
                raise UsageError(_failure(stage, executed, error)) from error
        except RuntimeError as error:  # nbclient's DeadKernelError among them
            if bounded:  # to see how far it came
                temporary.replace(executed)
            raise KernelDied(f"{STAGES[stage].notebook}: the kernel died ({error}; see {log})") from error
        except (KeyboardInterrupt, SystemExit):
            # Of a task of nbclient that nobody waits for any more asyncio would speak when it is collected.
            logging.getLogger("asyncio").setLevel(logging.CRITICAL)
            raise
    keep_notebook(run, stage)


def _as_template(path: Path) -> str:
    """Return a path so written that papermill, which fills in parameters for {names}, leaves it alone."""
    return str(path).replace("{", "{{").replace("}", "}}")


def _failure(stage: str, executed: Path, error: Any) -> str:
    what = f"{error.ename}: {error.evalue}" if error.ename != "UsageError" else str(error.evalue)
    what = " ".join(what.split())
    return (
        f"{STAGES[stage].notebook}, cell {error.exec_count}: {what} "
        f"(see {executed}; once that is mended, `fer run --resume {executed.parent.parent.name}` goes on "
        "with the same parameters; with others, start a new run)"
    )


@contextmanager
def _progress_lines() -> Iterator[None]:
    """Print what a kernel writes to the file that FER_PROGRESS names, line by line."""
    with scratch.folder() as folder:
        file, done = folder / "progress", threading.Event()
        file.touch()

        def follow() -> None:
            with open(file, encoding="utf-8") as handle:
                finished = False
                while not finished:
                    finished = done.wait(0.3)
                    for line in handle:
                        print(f"      {line.rstrip()}", flush=True)

        follower = threading.Thread(target=follow, daemon=True)
        follower.start()
        try:
            with environment.variable(progress.FILE, str(file)):
                yield
        finally:
            done.set()
            follower.join(5)


def interruptible() -> None:
    """Treat SIGTERM as Ctrl-C, so that kernels are shut down and temporary files removed."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
