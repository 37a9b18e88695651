"""The streams of one worker: how many are open, and the threads that listen."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from starlette.websockets import WebSocket

from gateway import problems
from gateway.gateway import Gateway
from gateway.streaming.limits import StreamLimits
from gateway.streaming.session import refuse, serve_stream
from gateway.streaming.vad import SileroDetector, SpeechDetector

_THREADS = 2  # a stream needs a hundredth of one


class Streams:
    """A door for WebSockets that knows how many are inside.

    @app.websocket("/v1/stream")
    async def stream(websocket: WebSocket) -> None:
        await app.state.streams.serve(websocket, app.state.gateway)
    """

    def __init__(self, limits: StreamLimits, detector: Callable[[], SpeechDetector] = SileroDetector) -> None:
        """
        Raises:
            DetectorUnavailable: now rather than in the first stream.
        """
        self._limits = limits
        self._detector = detector
        self._open = 0
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="listening")
        if limits.streams:
            detector()

    @property
    def open(self) -> int:
        return self._open

    async def serve(self, websocket: WebSocket, gateway: Gateway | None) -> None:
        """Serve one WebSocket to its end, or refuse it: 503 and when to try again."""
        if gateway is None:
            await refuse(websocket, problems.NotReady("the bundle is being loaded; try again"))
            return
        if self._open >= self._limits.streams:
            await refuse(websocket, problems.Overloaded(f"{self._open} streams are open in this worker; try again"))
            return
        self._open += 1
        try:
            await serve_stream(websocket, gateway, self._limits, self._detector, threads=self._threads)
        finally:
            self._open -= 1

    def close(self) -> None:
        """Let go of the threads; for when no stream is open."""
        self._threads.shutdown()
