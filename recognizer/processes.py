"""Worker processes that end with the one that started them, however it ends."""

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
from typing import Any, TypeVar

import torch

J = TypeVar("J")
R = TypeVar("R")


@contextmanager
def processes(count: int, start: Callable[..., None], *arguments: Any) -> Iterator[ProcessPoolExecutor]:
    """Worker processes of one torch thread each.

    An error, Ctrl-C included, ends them at once; so does the end of this process, of which a pipe tells them.

    Args:
        start: called with `arguments` in each process, before its first work.
    """
    spawning = multiprocessing.get_context("spawn")
    lifeline, ours = spawning.Pipe(duplex=False)
    begin = (lifeline, start, arguments)
    with lifeline, ours, ProcessPoolExecutor(count, spawning, initializer=_begin, initargs=begin) as pool:
        try:
            yield pool
        except BaseException:
            ours.close()
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def side_by_side(
    pool: ProcessPoolExecutor, work: Callable[[J], R], jobs: Sequence[J], *, error: type[Exception]
) -> Iterator[R]:
    """The results of jobs, each as it ends.

    Args:
        error: what is raised where a process was ended from outside.

    Raises:
        error: likewise; and whatever `work` raises.
    """
    try:
        for future in as_completed([pool.submit(work, job) for job in jobs]):
            yield future.result()
    except BrokenProcessPool as broken:
        raise error(
            "a worker process was ended from outside, perhaps for want of memory. What is finished stays; give "
            "the same command again to go on, with fewer workers if it was memory"
        ) from broken


def _begin(lifeline: Connection, start: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C is for the parent, which ends us
    threading.Thread(target=_end_with, args=(lifeline,), daemon=True).start()
    torch.set_num_threads(1)
    start(*arguments)


def _end_with(lifeline: Connection) -> None:
    try:
        lifeline.recv_bytes()
    except EOFError:
        os._exit(1)
