"""An event loop in a thread of its own, for callers that have none."""

from __future__ import annotations

import asyncio
import contextlib
import weakref
from collections.abc import Coroutine
from threading import Lock, Thread
from typing import Any, TypeVar

T = TypeVar("T")

JOIN_SECONDS = 1.0


def _run(loop: asyncio.AbstractEventLoop) -> None:
    try:
        loop.run_forever()
    finally:
        loop.close()


def _end(loop: asyncio.AbstractEventLoop, thread: Thread) -> None:
    with contextlib.suppress(RuntimeError):  # it has ended
        if thread.ident is None:
            loop.close()
        else:
            loop.call_soon_threadsafe(loop.stop)


class LoopThread:
    """Runs coroutines for any thread; started when the first one comes. It never keeps the interpreter from ending, and
    ends when it is closed or nobody has it any more."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=_run, args=(self._loop,), name="evenvoice-client", daemon=True)
        self._starting = Lock()
        self._is_closed = False
        self._end = weakref.finalize(self, _end, self._loop, self._thread)
        self._end.atexit = False  # a daemon's end is the interpreter's

    def run(self, coroutine: Coroutine[Any, Any, T], *, seconds: float) -> T:
        """
        Args:
            seconds: how long to wait for it at most.

        Raises:
            RuntimeError: it was closed, or this is a child of the process that made it, which inherits no threads.
            TimeoutError: it took longer.
        """
        with self._starting:
            if not self._is_closed and self._thread.ident is None:
                self._thread.start()
        if self._is_closed or not self._thread.is_alive():
            coroutine.close()
            raise RuntimeError("the client is closed, or was made in another process; make one in each")
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result(seconds)
        except BaseException:  # KeyboardInterrupt too: nothing goes on behind the caller's back
            future.cancel()
            raise

    def close(self) -> None:
        """End it; for when nothing runs."""
        with self._starting:
            if self._is_closed:
                return
            self._is_closed = True
        self._end()
        if self._thread.ident is not None:
            self._thread.join(JOIN_SECONDS)
