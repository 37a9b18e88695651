"""Who does the jobs: this process, or several that end with it, however it ends."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.connection import Connection

import torch

from recognizer.progress import OnProgress, silent
from training.study.bench import Bench, Plan
from training.study.folder import StudyError
from training.study.jobs import Finished, Job, finish

FinishAll = Callable[[Sequence[Job]], Iterator[Finished]]

_bench: Bench
"""A worker process' own."""


@contextmanager
def at_work(plan: Plan, workers: int, *, on_progress: OnProgress = silent) -> Iterator[FinishAll]:
    """Yields what does jobs, in any order, and gives each as it ends.

    An error, Ctrl-C included, ends the workers at once; so does the end of this process, of which a pipe tells them.

    Args:
        on_progress: told of steps within a job, where there is one process only.
    """
    if workers == 1:
        bench = Bench(plan, on_progress=on_progress)
        yield lambda jobs: (finish(job, bench) for job in jobs)
        return
    spawning = multiprocessing.get_context("spawn")
    lifeline, ours = spawning.Pipe(duplex=False)
    with lifeline, ours, ProcessPoolExecutor(workers, spawning, initializer=_start, initargs=(plan, lifeline)) as pool:
        try:
            yield lambda jobs: _side_by_side(pool, jobs)
        except BaseException:
            ours.close()
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _side_by_side(pool: ProcessPoolExecutor, jobs: Sequence[Job]) -> Iterator[Finished]:
    try:
        for future in as_completed([pool.submit(_do, job) for job in jobs]):
            yield future.result()
    except BrokenProcessPool as error:
        raise StudyError(
            "a worker process was ended from outside, perhaps for want of memory. What is finished stays; give "
            "the same command again to go on, with fewer workers if it was memory"
        ) from error


def _start(plan: Plan, lifeline: Connection) -> None:
    global _bench
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C is for the parent, which ends us
    threading.Thread(target=_end_with, args=(lifeline,), daemon=True).start()
    torch.set_num_threads(1)
    _bench = Bench(plan)


def _end_with(lifeline: Connection) -> None:
    try:
        lifeline.recv_bytes()
    except EOFError:
        os._exit(1)


def _do(job: Job) -> Finished:
    return finish(job, _bench)
