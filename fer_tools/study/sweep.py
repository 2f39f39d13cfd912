"""Studies: training at many points of the parameter space, chosen by validation; never tests.

A point is a run like any other, of which notebooks 02 and 03 are executed; `fer run --resume RUN` adds the
rest. Points are spread over worker processes by dask.distributed, of this machine or of a cluster.

results/<name>_study/
study.json    the study, as it was understood
results.csv   a row a point and seed, renewed after each
"""

import contextlib
import logging
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from queue import Empty, SimpleQueue
from tempfile import TemporaryDirectory
from typing import Any

from fer_lib.files import UsageError, complain, write_json
from fer_tools import pipeline
from fer_tools.run import find
from fer_tools.run.edges import stale_reason
from fer_tools.run.run import Run
from fer_tools.study import read, worker
from fer_tools.study.results import Results
from fer_tools.study.worker import STAGES

TIMEOUT = 20  # seconds in which a scheduler has to answer, and to have a worker
MEMORY = 2 * 2**30  # bytes for a kernel that trains, with room to spare


def sweep(path: str | Path, jobs: int | None = None, scheduler: str | None = None) -> int:
    """Train at every point of a study that is not done yet, and keep its table.

    Parameters
    ----------
    path : str or Path
        YAML.
    jobs : int, optional
        Worker processes on this machine; as many as it has cores, if neither points nor memory are fewer.
    scheduler : str, optional
        Address of a dask scheduler to use instead.

    Returns
    -------
    int
        How many points failed.

    Raises
    ------
    UsageError
        At anything wrong in the study, before anything runs; or if the cluster cannot take it.
    """
    if jobs is not None and (jobs < 1 or scheduler):
        raise UsageError("--jobs: a number above 0, and of this machine only, hence not with --scheduler")
    study = read.read(path)
    study.folder.mkdir(parents=True, exist_ok=True)
    with pipeline.exclusive(study.folder):
        write_json(study.folder / "study.json", study.document)
        results = Results(study)
        _look_up(results)
        results.write()
        progress = _Progress(results)
        if results.having("waiting"):
            shutil.rmtree(study.folder / ".starts", ignore_errors=True)
            with progress, _cluster(len(results.having("waiting")), jobs, scheduler) as client:
                _work_off(client, results, progress)
            shutil.rmtree(study.folder / ".starts", ignore_errors=True)
        else:
            with progress:
                progress.show()
    failed = results.having("failed")
    for point in failed:
        complain(f"{study.label(point)}: {results.rows[point.key]['error']}")
    print(study.folder / "results.csv")
    return len(failed)


def _look_up(results: Results) -> None:
    """Find the points that are done: runs of equal parameters whose stages are up to date."""
    known: dict[str, list[Run]] = {}
    for run, document in find.all_runs():
        known.setdefault(read.key_of(document["parameters"]), []).append(run)
    for point in results.study.points:
        equal = known.get(point.key, [])
        done = next((run for run in equal if not any(stale_reason(run, stage) for stage in STAGES)), None)
        results.set(point, "done" if done else "waiting", done)


def _work_off(client: Any, results: Results, progress: "_Progress") -> None:
    """Hand out the points, first seeds first, and take what comes back until all are done."""
    study = results.study
    waiting = results.having("waiting")
    waiting.sort(key=lambda point: study.document["seeds"].index(point.value("seed")))
    needs = worker.needs_of(study)
    needs["threads"] = _survey(client, needs)
    came: SimpleQueue = SimpleQueue()
    futures = {}
    try:
        for point in waiting:
            key = f"{needs['id']}-{point.key}"
            future = client.submit(worker.work, study.document["preset"], point.given, needs, key=key)
            futures[key] = future, point
            future.add_done_callback(lambda future: came.put(future.key))
        left = set(futures)
        while left:
            progress.show(workers=len(client.nthreads()))
            try:
                key = came.get(timeout=1)
            except Empty:
                continue
            left.discard(key)
            future, point = futures[key]
            if future.cancelled():
                raise OSError("connection lost")
            try:
                name, error = future.result()
            except Exception as problem:  # a worker that was killed, or cannot understand us
                name, error = None, f"{type(problem).__name__}: {problem}"
            results.set(point, "failed" if error else "done", find.open_run(name) if name else None, error)
            results.write()
        progress.show()
    except BaseException as error:
        _stop_all(client, [future for future, _ in futures.values()], needs["id"])
        if isinstance(error, OSError):
            where = client.scheduler.address
            raise UsageError(f"{where}: lost ({error}); the same command goes on") from error
        raise


def _stop_all(client: Any, futures: list[Any], sweep_id: str) -> None:
    """Let no further point begin, and end the kernels of those that are at work."""
    with contextlib.suppress(Exception):  # whatever is wrong with the cluster, it is being left
        client.cancel(futures)
        deadline = time.monotonic() + 20
        while any(client.run(worker.stop, sweep_id).values()) and time.monotonic() < deadline:
            time.sleep(0.2)


@contextlib.contextmanager
def _cluster(points: int, jobs: int | None, scheduler: str | None) -> Iterator[Any]:
    """Connect to a scheduler, or start one with workers on this machine, reachable from it alone."""
    from distributed import Client, LocalCluster, WorkerPlugin

    class Uninterrupted(WorkerPlugin):
        """Ctrl-C, which a terminal sends to all, is for the one who started the workers to handle."""

        def setup(self, worker: Any) -> None:
            signal.signal(signal.SIGINT, lambda *_: None)  # unlike SIG_IGN, kernels do not inherit it

    for name in [name for name in logging.root.manager.loggerDict if name.startswith("distributed")]:
        logging.getLogger(name).setLevel(
            logging.CRITICAL + 1
        )  # what is lost is a row of the table, or a line
    if scheduler:
        try:
            client = Client(scheduler, timeout=TIMEOUT)
        except (OSError, ValueError, TypeError) as error:
            raise UsageError(f"{scheduler}: no dask scheduler answers there ({_first_line(error)})") from None
        with client:
            try:
                client.wait_for_workers(1, timeout=TIMEOUT)
            except TimeoutError:
                raise UsageError(f"{scheduler}: it has no workers; start some with `dask worker`") from None
            yield client
        return
    import psutil
    from dask.system import CPU_COUNT

    fitting = max(1, psutil.virtual_memory().available // MEMORY)
    jobs = min(points, jobs or min(CPU_COUNT, fitting))
    with (
        TemporaryDirectory(prefix="fer-", ignore_cleanup_errors=True) as folder,
        LocalCluster(
            n_workers=jobs,
            threads_per_worker=1,  # a point sets environment variables, which are of the process
            processes=True,
            host="127.0.0.1",
            dashboard_address=None,
            scheduler_kwargs={"dashboard": False, "dashboard_address": "127.0.0.1:0"},  # else it wants 8787
            memory_limit=None,  # kernels are other processes
            local_directory=folder,
            silence_logs=logging.CRITICAL + 1,
        ) as cluster,
        Client(cluster) as client,
    ):
        client.register_plugin(Uninterrupted())
        yield client


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _survey(client: Any, needs: dict[str, Any]) -> dict[str, int]:
    """Make sure that every worker can take points; give the threads of each, by host.

    Raises
    ------
    UsageError
        Naming the first worker that cannot, and why.
    """
    try:
        found = client.run(worker.look_around, needs)
    except Exception as error:
        raise UsageError(
            f"{client.scheduler.address}: its workers cannot take a sweep ({_first_line(error)}); "
            "they need this fer_lib"
        ) from None
    for address, (_, _, reason) in found.items():
        if reason:
            raise UsageError(f"worker {address}: {reason}")
    for address, threads in client.nthreads().items():
        if threads != 1:
            raise UsageError(f"worker {address}: has {threads} threads; start it with --nthreads 1")
    hosts = [host for host, _, _ in found.values()]
    return {host: max(1, cores // hosts.count(host)) for host, cores, _ in found.values()}


class _Progress:
    """One line: in place on a terminal, else printed when something has changed."""

    def __init__(self, results: Results) -> None:
        self.results = results
        self.started = time.monotonic()
        self.before = len(results.having("waiting"))
        self.said: tuple[Any, ...] = ()
        self.left: float | None = None
        self.at = self.started

    def __enter__(self) -> "_Progress":
        return self

    def __exit__(self, *_: object) -> None:
        if sys.stdout.isatty() and self.said:
            print(flush=True)

    def show(self, workers: int = 0) -> None:
        """Say how far it is; `workers` are those at work."""
        results, now = self.results, time.monotonic()
        waiting, failed = len(results.having("waiting")), len(results.having("failed"))
        state = (waiting, failed, min(workers, waiting))
        changed = state != self.said
        if not changed and not sys.stdout.isatty():
            return
        worked = self.before - waiting
        if worked and (not self.said or waiting != self.said[0]):
            self.left, self.at = (now - self.started) * waiting / worked, now
        self.said = state
        total = len(results.study.points)
        line = f"{results.study.name}  {total - waiting}/{total} points"
        line += f", {failed} failed" * bool(failed) + f", {state[2]} running" * bool(waiting)
        if best := results.best():
            line += f", best {100 * best[0]:.1f} % on validation ({results.study.label(best[1])})"
        if waiting and self.left is not None:
            seconds = round(max(self.left - (now - self.at), 0))
            line += f", {seconds // 60}:{seconds % 60:02} left"
        if sys.stdout.isatty():
            print(f"\r\033[K{line[: shutil.get_terminal_size().columns - 1]}", end="", flush=True)
        else:
            print(line, flush=True)
