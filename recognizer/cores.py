"""Work that is spread over the processor's cores, one thread of torch's each."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Barrier, Lock
from typing import TypeVar

import torch

T = TypeVar("T")
R = TypeVar("R")

_pool: ThreadPoolExecutor | None = None
_size = 1
_lock = Lock()


def cores() -> int:
    """How many pieces of work are done side by side: as many as torch has threads, or had when the first was done."""
    return torch.get_num_threads() if _pool is None else _size


def over_cores(work: Callable[[T], R], pieces: Sequence[T]) -> list[R]:
    """The results of pieces of work, in order. Each is done by one thread, in inference mode, whatever torch's number
    of threads: what it computes does not depend on that number."""

    def one(piece: T) -> R:
        with torch.inference_mode():
            return work(piece)

    pool = _workers()
    if pool is None:
        return [one(piece) for piece in pieces]
    if len(pieces) == 1:  # not worth handing over
        with _one_thread():
            return [one(pieces[0])]
    return list(pool.map(one, pieces))


@contextmanager
def _one_thread() -> Iterator[None]:
    """torch uses one thread in what this thread does. One that begins meanwhile sees it too: ask `cores`, not torch."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def start_cores() -> None:
    """Start the threads now, while no other thread begins with torch; otherwise the first work does it."""
    _workers()


def _workers() -> ThreadPoolExecutor | None:
    """As many threads as torch has, of which each uses one; None where that is one."""
    global _pool, _size
    threads = cores()
    if threads == 1:
        return None
    with _lock:
        if _pool is None:
            pool = _started(threads)
            _size, _pool = threads, pool
    return _pool


def _started(threads: int) -> ThreadPoolExecutor:
    started = Barrier(threads)

    def start(_: int) -> None:
        torch.get_num_threads()  # a thread's first use of torch sets its number to everybody's: here, not in its work
        torch.set_num_threads(1)  # of this thread, and of those that begin with torch later
        started.wait(timeout=60)

    pool = ThreadPoolExecutor(threads, thread_name_prefix="cores")
    try:
        list(pool.map(start, range(threads)))
    except BaseException:
        pool.shutdown(wait=False)
        raise
    finally:
        torch.set_num_threads(threads)  # of those that begin later
    return pool


def _forget_workers() -> None:
    global _pool, _lock
    _pool, _lock = None, Lock()


if hasattr(os, "register_at_fork"):  # a fork takes the pool along but not its threads, and would wait for ever
    os.register_at_fork(after_in_child=_forget_workers)
