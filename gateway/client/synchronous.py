"""The client for callers without an event loop."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Self

import httpx

from gateway.client.answer import Answer, Kind
from gateway.client.asking import RETRIES, GatewayError
from gateway.client.asynchronous import AsyncClient
from gateway.client.conversation import Conversation, EndUtterance, Event
from gateway.client.credentials import authorization, trust
from gateway.client.line import events
from gateway.client.loop_thread import LoopThread
from gateway.client.timeouts import Timeouts
from gateway.schemas import ModelResponse

if TYPE_CHECKING:
    from gateway.client.clips import Audio

GRACE = 1.0  # seconds beyond the overall timeout after which even a loop that stands still is given up on


class Client:
    """Asks one gateway, from any thread.

    with Client("http://127.0.0.1:3000") as gateway:
        answer = gateway.decide("seven.wav", speaker="s-17")
        if answer.command is not None: ...

    It is an `AsyncClient` in a thread: a blocking socket can bound each wait, but neither a name lookup nor an answer
    that comes byte by byte.
    """

    def __init__(
        self,
        url: str,
        *,
        key: str | None = None,
        tls: ssl.SSLContext | None = None,
        timeout: float | Timeouts = 5.0,
        retries: int = RETRIES,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """As of `AsyncClient`."""
        self.timeouts = Timeouts.of(timeout)
        self._url, self._headers, self._tls = url, authorization(key), trust(tls)
        self._client = AsyncClient(
            url, key=key, tls=self._tls, timeout=self.timeouts, retries=retries, transport=transport
        )
        self._thread = LoopThread()

    def decide(
        self,
        audio: Audio,
        *,
        rate: int | None = None,
        media_type: str | None = None,
        speaker: str | None = None,
        defense: str | None = None,
        timeout: float | None = None,
        idempotency_key: str | None = None,
        since: float | None = None,
    ) -> Answer:
        """As `AsyncClient.decide`: whatever goes wrong is a hold and never raises."""
        asked = self._client.decide(
            audio,
            rate=rate,
            media_type=media_type,
            speaker=speaker,
            defense=defense,
            timeout=timeout,
            idempotency_key=idempotency_key,
            since=since,
        )
        seconds = self.timeouts.overall if timeout is None else timeout
        try:
            return self._thread.run(asked, seconds=seconds + GRACE)
        except Exception as error:
            return Answer.hold(Kind.NO_ANSWER, f"no answer: {error!r}")

    def label(self, request_id: str, command: str) -> bool:
        """As `AsyncClient.label`."""
        try:
            return self._thread.run(self._client.label(request_id, command), seconds=self.timeouts.overall + GRACE)
        except (RuntimeError, TimeoutError):
            return False

    def model(self) -> ModelResponse:
        """As `AsyncClient.model`.

        Raises:
            GatewayError: no answer, or none that can be read.
        """
        try:
            return self._thread.run(self._client.model(), seconds=self.timeouts.overall + GRACE)
        except GatewayError:
            raise
        except (RuntimeError, TimeoutError) as error:
            raise GatewayError(f"no answer: {error!r}") from error

    def is_ready(self) -> bool:
        """Whether the gateway answers that it is ready."""
        try:
            return self._thread.run(self._client.is_ready(), seconds=self.timeouts.overall + GRACE)
        except (RuntimeError, TimeoutError):
            return False

    def stream(
        self,
        frames: Iterable[bytes | EndUtterance],
        *,
        rate: int,
        channels: int = 1,
        speaker: str | None = None,
        defense: str | None = None,
    ) -> Iterator[Event]:
        """As `AsyncClient.stream`; the frames are asked for in a thread of their own."""
        talk = Conversation(rate=rate, channels=channels, speaker=speaker, defense=defense)
        return events(self._url, talk, frames, headers=self._headers, tls=self._tls, timeouts=self.timeouts)

    def close(self) -> None:
        with contextlib.suppress(RuntimeError, TimeoutError):
            self._thread.run(self._client.aclose(), seconds=GRACE)
        self._thread.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
