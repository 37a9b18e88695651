"""An event loop in a thread of its own, for callers that have none."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from threading import Lock, Thread
from typing import Any, TypeVar

T = TypeVar("T")

JOIN_SECONDS = 1.0


class LoopThread:
    """Runs coroutines for any thread; started when the first one comes. It never keeps the interpreter from ending."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, name="evenvoice-client", daemon=True)
        self._starting = Lock()
        self._is_closed = False

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
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(JOIN_SECONDS)
        if not self._loop.is_running():
            self._loop.close()
