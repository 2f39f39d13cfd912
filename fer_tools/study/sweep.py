"""Studies: training at many points of the parameter space, chosen by validation; never tests.

A point is a run like any other, of which notebooks 02 and 03 are executed; `fer run --resume RUN` adds the
rest. Points are spread over worker processes by dask.distributed, of this machine or of a cluster.

results/<name>_study/
study.json    the study, as it was understood
results.csv   one row per point and seed, written anew after each
"""

import logging
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from fer_lib.files import UsageError
from fer_tools import locks, scratch
from fer_tools.console import complain
from fer_tools.json_files import sha256_of_json, write_json
from fer_tools.progress import Progress
from fer_tools.run import find
from fer_tools.run.edges import stale_reason
from fer_tools.run.run import Run
from fer_tools.study import read, worker
from fer_tools.study.results import Results
from fer_tools.study.worker import EXECUTED

TIMEOUT = 20  # seconds in which a scheduler has to answer, and to have a worker
MEMORY = 2 * 2**30  # bytes for a kernel that trains, with room to spare
SILENT = logging.CRITICAL + 1  # for dask: what is lost is a row of the table, or a line


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
    with locks.exclusive(study.folder):
        write_json(study.folder / "study.json", study.document)
        results = Results(study)
        _look_up(results)
        results.write()
        waiting, starts = len(results.having("waiting")), study.folder / ".starts"
        with Progress(len(study.points)) as progress:
            progress.done = progress.total - waiting
            if waiting:
                shutil.rmtree(starts, ignore_errors=True)
                with cluster(waiting, jobs, scheduler) as client:
                    _work_off(client, results, progress)
                shutil.rmtree(starts, ignore_errors=True)
            _show(progress, results)
    failed = results.having("failed")
    for point in failed:
        complain(f"{study.label(point)}: {results.rows[point.key]['error']}")
    print(study.folder / "results.csv")
    return len(failed)


def _look_up(results: Results) -> None:
    """Find the points that are done: runs of equal parameters whose stages are up to date."""
    known: dict[str, list[Run]] = {}
    for run, document in find.all_runs():
        known.setdefault(sha256_of_json(document["parameters"]), []).append(run)
    for point in results.study.points:
        equal = known.get(point.key, [])
        done = next((run for run in equal if not any(stale_reason(run, stage) for stage in EXECUTED)), None)
        results.set(point, "done" if done else "waiting", done)


def _show(progress: Progress, results: Results, workers: int = 0) -> None:
    """Show how far the study is; where a line stays, only when a point or a worker has come or gone."""
    waiting, failed = (len(results.having(state)) for state in ("waiting", "failed"))
    running = min(workers, waiting)
    line = f"{results.study.name}  {progress.done}/{progress.total} points"
    line += f", {failed} failed" * bool(failed) + f", {running} running" * bool(waiting)
    if best := results.best():
        line += f", best {100 * best[0]:.1f} % on validation ({results.study.label(best[1])})"
    progress.show(line + progress.left, (waiting, failed, running))


def _work_off(client: Any, results: Results, progress: Progress) -> None:
    """Hand out the points, first seeds first, and take what comes back until all are done."""
    document, futures, came = results.study.document, {}, SimpleQueue()
    needs = worker.needs_of(results.study)
    needs["threads"] = _survey(client, needs)
    try:
        waiting = results.having("waiting")
        for point in sorted(waiting, key=lambda point: document["seeds"].index(point.value("seed"))):
            future = client.submit(worker.work, document["preset"], point.given, needs, pure=False)
            futures[future.key] = future, point
            future.add_done_callback(lambda future: came.put(future.key))
        while futures:
            _show(progress, results, len(client.nthreads()))
            with suppress(Empty):
                future, point = futures.pop(came.get(timeout=1))
                _take(future, point, results)
                progress.step()
    except BaseException as error:
        _stop_all(client, [future for future, _ in futures.values()], needs["id"])
        if isinstance(error, OSError):
            where = client.scheduler.address
            raise UsageError(f"{where}: lost ({error}); the same command goes on") from error
        raise


def _take(future: Any, point: read.Point, results: Results) -> None:
    """Enter what came of a point into the table."""
    if future.cancelled():
        raise OSError("connection lost")
    try:
        name, error = future.result()
    except Exception as problem:  # a worker that was killed, or cannot understand us
        name, error = None, f"{type(problem).__name__}: {problem}"
    results.set(point, "failed" if error else "done", find.open_run(name) if name else None, error)
    results.write()


def _stop_all(client: Any, futures: list[Any], sweep_id: str) -> None:
    """Let no further point begin, and end the kernels of those that are at work."""
    with suppress(Exception):  # whatever is wrong with the cluster, it is being left
        client.cancel(futures)
        deadline = time.monotonic() + 20
        while any(client.run(worker.stop, sweep_id).values()) and time.monotonic() < deadline:
            time.sleep(0.2)


@contextmanager
def cluster(points: int, jobs: int | None, scheduler: str | None) -> Iterator[Any]:
    """Connect to a scheduler, or start one with workers on this machine."""
    import distributed  # noqa: F401  (makes its loggers)

    for name in [name for name in logging.root.manager.loggerDict if name.startswith("distributed")]:
        logging.getLogger(name).setLevel(SILENT)
    with _connected(scheduler) if scheduler else _of_this_machine(points, jobs) as client:
        yield client


@contextmanager
def _connected(scheduler: str) -> Iterator[Any]:
    from distributed import Client

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


@contextmanager
def _of_this_machine(points: int, jobs: int | None) -> Iterator[Any]:
    """Start a scheduler that can be reached from this machine alone, and its workers."""
    import psutil
    from dask.system import CPU_COUNT
    from distributed import Client, LocalCluster

    fitting = max(1, psutil.virtual_memory().available // MEMORY)
    with (
        scratch.folder() as folder,
        LocalCluster(
            n_workers=min(points, jobs or min(CPU_COUNT, fitting)),
            threads_per_worker=1,  # a point sets environment variables, which are of the process
            processes=True,
            host="127.0.0.1",
            dashboard_address=None,
            scheduler_kwargs={"dashboard": False, "dashboard_address": "127.0.0.1:0"},  # else it wants 8787
            memory_limit=None,  # kernels are other processes
            local_directory=folder,
            silence_logs=SILENT,
        ) as cluster,
        Client(cluster) as client,
    ):
        client.register_worker_callbacks(worker.leave_interrupts)
        yield client


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _survey(client: Any, needs: dict[str, Any]) -> dict[str, int]:
    """Make sure that every worker can take points; return the threads for each, by host.

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
            "they need this version of FER Lab"
        ) from None
    for address, (_, _, reason) in found.items():
        if reason:
            raise UsageError(f"worker {address}: {reason}")
    for address, threads in client.nthreads().items():
        if threads != 1:
            raise UsageError(f"worker {address}: has {threads} threads; start it with --nthreads 1")
    hosts = [host for host, _, _ in found.values()]
    return {host: max(1, cores // hosts.count(host)) for host, cores, _ in found.values()}
