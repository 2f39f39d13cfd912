"""A contender in a process of its own, which trains, evaluates or predicts when it is told to."""

import logging
import multiprocessing
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fer_lib import tensorflow_import
from fer_lib.files import UsageError
from fer_tools.bench.contenders import PREDICTIONS, Size, Way, multiply_adds, prepare

OUR_SETTINGS = ("TF_ENABLE_ONEDNN_OPTS", "TF_CPU_ALLOCATOR_USE_BFC")  # of fer_lib/__init__.py


class Child:
    """The process of a way, seen from its parent."""

    def __init__(self, way: Way, size: Size, folder: Path) -> None:
        context = multiprocessing.get_context("spawn")  # TensorFlow does not survive a fork
        self.way = way
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, way, size, folder), daemon=True)
        self.process.start()
        theirs.close()

    def answer(self) -> Any:
        """Wait for the next answer of the process and return it; raise what it raised."""
        try:
            answer = self.pipe.recv()
        except (EOFError, ConnectionError):
            self.process.join(10)
            raise UsageError(
                f"bench: the process of {self.way.name} ended (exit code {self.process.exitcode}), for want "
                "of memory perhaps; name fewer networks with --model"
            ) from None
        if isinstance(answer, Exception):
            raise answer
        return answer

    def ask(self, command: str) -> Any:
        """Send a command of `Way.commands`, or "memory" for the peak of its resident memory in bytes.

        Returns
        -------
        list of (wall, CPU) seconds, one a call
        """
        self.pipe.send(command)
        return self.answer()

    def close(self) -> None:
        """End the process."""
        self.pipe.close()
        self.process.kill()  # it has nothing to keep
        self.process.join()


def _serve(pipe: Any, way: Way, size: Size, folder: Path) -> None:
    """Do what the pipe says until it is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C, and ends this process
    try:
        if way.threads:
            os.environ["TF_NUM_INTRAOP_THREADS"] = str(way.threads)
        if not way.ours and way.threads is None:
            for name in OUR_SETTINGS:  # fer_lib, imported to get here, has set them
                os.environ.pop(name, None)
        tensorflow_import.import_tensorflow()
        logging.getLogger("tensorflow").setLevel(logging.ERROR)  # it warns of what is traced on purpose
        model, options, commands = prepare(way, size, folder)
        pipe.send(_facts(model) if model else {})
        repeats = {"sgemm": 4} | dict.fromkeys(PREDICTIONS, size.calls)

        def obey() -> None:
            """Do and time what the pipe asks for, until it asks for an epoch of training."""
            while (command := pipe.recv()) != "train":
                if command == "memory":
                    unit = 1 if sys.platform == "darwin" else 1024
                    pipe.send(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)
                else:
                    pipe.send([_timed(commands[command]) for _ in range(repeats.get(command, 1))])

        _train(model, options, obey, pipe.send) if model else obey()
    except EOFError:  # the parent closed the pipe or died
        pass
    except Exception as error:
        pipe.send(error if isinstance(error, UsageError) else RuntimeError(f"{way.name}: {error!r}"))


def _facts(model: Any) -> dict[str, Any]:
    arithmetic = multiply_adds(model)
    return {
        "input": "x".join(map(str, model.input_shape[1:])),
        "parameters": model.count_params(),
        "multiply_adds": arithmetic.forward,
        "step_multiply_adds": arithmetic.step,
        "settings": {name: os.environ.get(name) for name in OUR_SETTINGS},
    }


def _timed(work: Callable[[], Any]) -> tuple[float, float]:
    """Return wall and CPU seconds, the latter of all threads of this process."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def _train(
    model: Any, options: dict[str, Any], wait: Callable[[], None], tell: Callable[[Any], None]
) -> None:
    """Train on and on: wait before each epoch, and tell its times."""
    import keras

    class Told(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            wait()
            self.clock = time.perf_counter(), time.process_time()

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            tell([(time.perf_counter() - self.clock[0], time.process_time() - self.clock[1])])

    model.fit(**options, epochs=10**6, callbacks=[Told()], shuffle=False, verbose=0)
