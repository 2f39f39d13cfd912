"""Trainings side by side, in worker processes of one thread each.

With one thread, sums are taken in one order, however many cores there are; and a small network trains in less
processor time than with several, which wait for each other at every layer.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import connection
from typing import Any

from fer_lib import tensorflow_import
from fer_lib.files import UsageError, atomic_path
from fer_tools import environment
from fer_tools.progress import Progress
from fer_tools.run.machine import processes
from fer_tools.transfer.training import Condition, Trained, Trainer

MEMORY = 3 * 2**29  # bytes for a process that trains, with room to spare
SOURCE = "source.keras"


class Workers:
    """Processes that do the trainings of a `Trainer`, as many as there are cores; begun when they are needed.

    Parameters
    ----------
    trainer : Trainer
        Its folder keeps what is finished, so that an interrupted stage goes on.
    """

    def __init__(self, trainer: Trainer) -> None:
        self._trainer = trainer
        self._pool: ProcessPoolExecutor | None = None
        self._others: list[Any] = []

    def all(self, conditions: Sequence[Condition]) -> dict[Condition, Trained]:
        """Return what each training left, in the order asked for; show how far they are.

        Raises
        ------
        UsageError
            At the first training that fails, or if a process ends.
        """
        waiting = [condition for condition in conditions if not self._trainer.path(condition).exists()]
        try:
            with Progress(len(conditions)) as progress:
                progress.done = len(conditions) - len(waiting)
                waiting.sort(key=self._trainer.steps, reverse=True)  # what takes long first: all end together
                futures = {self._submit(condition): condition for condition in waiting}
                for future in as_completed(futures):
                    said = f"{futures[future].key}  val_accuracy {future.result():.3f}"
                    progress.step()
                    progress.show(f"training {progress.done}/{progress.total}  {said}{progress.left}")
        except BaseException as error:
            self._kill()
            if isinstance(error, BrokenProcessPool):
                said = "a process that trains ended, for want of memory perhaps; the same command goes on"
                raise UsageError(said) from None
            raise
        return {condition: self._trainer.finished(condition) for condition in conditions}

    def close(self) -> None:
        """End the processes, once nothing is left to train."""
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None
        (self._trainer.folder / SOURCE).unlink(missing_ok=True)  # an earlier kernel's, perhaps

    def _submit(self, condition: Condition) -> Future:
        if self._pool is None:
            self._others = multiprocessing.active_children()
            with atomic_path(self._trainer.folder / SOURCE) as temporary:
                self._trainer.source.save(temporary)
            self._pool = ProcessPoolExecutor(
                processes(MEMORY),
                multiprocessing.get_context("spawn"),  # TensorFlow does not survive a fork
                _begin,
                (self._trainer.made_of,),
            )
        with environment.replaced(os.environ | dict.fromkeys(environment.THREADS, "1")):
            return self._pool.submit(_train, condition)

    def _kill(self) -> None:
        """End the processes at once: what they are at is not finished, and would be done again."""
        if self._pool is not None:
            for process in multiprocessing.active_children():
                if process not in self._others:
                    process.kill()
            self._pool.shutdown(cancel_futures=True)
            self._pool = None


_made_of: tuple[Any, ...] = ()
_trainer: Trainer | None = None


def _begin(made_of: tuple[Any, ...]) -> None:
    """Make this process one of those that train; it ends with its parent, and leaves Ctrl-C to that."""
    global _made_of
    _made_of = made_of
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    tensorflow_import.import_tensorflow()


def _end_with_parent() -> None:
    connection.wait([multiprocessing.parent_process().sentinel])
    os._exit(1)


def _train(condition: Condition) -> float:
    """Train, keep what comes out, and return its validation accuracy."""
    global _trainer
    if _trainer is None:
        from fer_tools.model_files import loading

        *_, folder = _made_of
        _trainer = Trainer(loading.load(folder / SOURCE), *_made_of)
    return _trainer.finished(condition).val_accuracy
