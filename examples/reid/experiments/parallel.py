"""Runs experiments one after another or in parallel processes, and gives each as it finishes."""

import multiprocessing
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from pathlib import Path

import torch
from tqdm import tqdm

from reid.experiments.experiment import run_task
from reid.experiments.results import Run
from reid.experiments.settings import Settings, Task
from reid.training.engine import Stopped
from reid.training.ranks import ALONE, Ranks
from reid.training.stopping import Flag, request_on_interrupt

__all__ = ["run_tasks"]

# Set once in each worker, before its first task: an event cannot travel with a task.
_stop: Flag | None = None


def run_tasks(
    tasks: Sequence[Task],
    settings: Settings,
    folder: Path,
    *,
    workers: int = 1,
    threads: int = 1,
    resume: bool = False,
    ranks: Ranks = ALONE,
) -> Iterator[tuple[Task, Run]]:
    """Train and score models, and give each task with its run as it finishes.

    Args:
        tasks, settings, folder, resume: see `run_task`.
        workers: models at a time, each in a process of its own; a single one is trained in this process.
        threads: of torch in each of several processes. On a small network one is the best use of a core.
        ranks: this process among those that train each model together; then there is one worker.

    Raises:
        Stopped: after Ctrl-C, when every checkpoint is written.
    """
    quiet = None if len(tasks) > 1 and ranks.first else True  # None: quiet unless there is a terminal
    bar = partial(tqdm, desc="models", unit="model", total=len(tasks), disable=quiet)
    if workers == 1:
        yield from bar(_one_by_one(tasks, settings, folder, resume, ranks))
    else:
        yield from bar(_side_by_side(tasks, settings, folder, (workers, threads), resume))


def _one_by_one(
    tasks: Sequence[Task], settings: Settings, folder: Path, resume: bool, ranks: Ranks
) -> Iterator[tuple[Task, Run]]:
    for task in tasks:
        flag = threading.Event()
        with request_on_interrupt(flag, once=ranks.world_size == 1):
            run = run_task(task, settings, folder, resume=resume, stop=flag.is_set, ranks=ranks)
        yield task, run
        if ranks.any(flag.is_set()):
            raise Stopped("stopped between two models")


def _side_by_side(
    tasks: Sequence[Task], settings: Settings, folder: Path, size: tuple[int, int], resume: bool
) -> Iterator[tuple[Task, Run]]:
    # Spawned, not forked: a fork of a process whose torch has threads may hang.
    context = multiprocessing.get_context("spawn")
    flag = context.Event()
    workers, threads = size
    pool = ProcessPoolExecutor(workers, context, initializer=_start_worker, initargs=(flag, threads))
    with request_on_interrupt(flag), pool:
        futures = {pool.submit(_run_in_worker, task, settings, folder, resume): task for task in tasks}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        finally:
            flag.set()  # whatever ended this, the workers must not train on
            pool.shutdown(cancel_futures=True)


def _start_worker(stop: Flag, threads: int) -> None:
    global _stop
    _stop = stop
    # A terminal sends Ctrl-C to every process; the flag reaches a worker where it can obey.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(threads)


def _run_in_worker(task: Task, settings: Settings, folder: Path, resume: bool) -> Run:
    assert _stop is not None
    return run_task(task, settings, folder, resume=resume, stop=_stop.is_set, progress=False)
