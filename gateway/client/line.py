"""A conversation over a WebSocket, from a thread or from an event loop."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Iterator, Mapping
from contextlib import ExitStack, suppress
from threading import Thread
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from websockets.asyncio import client as asynchronous
from websockets.exceptions import InvalidStatus, WebSocketException
from websockets.sync import client as synchronous

from gateway.client import clock
from gateway.client.answer import MAX_ANSWER_BYTES
from gateway.client.asking import status_words
from gateway.client.conversation import Conversation, Ended, EndUtterance, Event
from gateway.client.timeouts import Timeouts

PATH = "/v1/stream"
CLOSE_SECONDS = 1.0
_BROKEN = (OSError, WebSocketException, ValueError, EOFError)
"""What comes of a network, a server or an address; TimeoutError is an OSError."""


def events(
    url: str,
    talk: Conversation,
    frames: Iterable[bytes | EndUtterance],
    *,
    headers: Mapping[str, str],
    tls: ssl.SSLContext,
    timeouts: Timeouts,
) -> Iterator[Event]:
    """Every event up to `Ended`, which always comes.

    Raises:
        Exception: what the frames raised.
    """
    failures: list[BaseException] = []
    sending: float | None = None  # since when

    def put(message: bytes | str) -> bool:
        nonlocal sending
        sending = clock.now()
        try:
            line.send(message)
        except _BROKEN:  # who listens sees it too
            return False
        finally:
            sending = None
        return True

    def send() -> None:
        try:
            for frame in frames:
                if not all(put(message) for message in talk.send(frame)):
                    return
        except BaseException as error:
            failures.append(error)
            line.close()
        else:
            talk.is_stopped = put(talk.closing)

    with ExitStack() as stack:
        try:
            reached = stack.enter_context(_reach(url, timeouts))
            options = _options(url, headers, tls, timeouts)
            line = stack.enter_context(synchronous.connect(_address(url), sock=reached, **options))
        except _BROKEN as error:
            yield Ended(f"no stream: {_words(error)}")
            return

        @stack.callback
        def let_go() -> None:
            if sending is not None:  # closing would wait for a message that nobody takes
                with suppress(OSError):
                    line.socket.shutdown(socket.SHUT_RDWR)

        try:
            line.send(talk.opening)
            event = talk.event(line.recv(timeouts.overall))
            yield event
            # It may wait for frames for ever, and nobody may have to wait for it.
            Thread(target=send, name="evenvoice-stream", daemon=True).start()
            while not isinstance(event, Ended):
                was_stopped = talk.is_stopped
                try:
                    event = talk.event(line.recv(timeouts.overall))
                except TimeoutError:
                    since = sending
                    if was_stopped or (since is not None and clock.now() - since > timeouts.overall):
                        raise
                    continue
                yield event
        except _BROKEN as error:
            if not failures:
                yield Ended(f"the stream broke off: {_words(error)}")
    if failures:
        raise failures[0]


async def async_events(
    url: str,
    talk: Conversation,
    frames: AsyncIterable[bytes | EndUtterance],
    *,
    headers: Mapping[str, str],
    tls: ssl.SSLContext,
    timeouts: Timeouts,
) -> AsyncGenerator[Event, None]:
    """As `events`."""
    failures: list[Exception] = []

    async def put(message: bytes | str) -> bool:
        try:
            async with asyncio.timeout(timeouts.overall):
                await line.send(message)
        except _BROKEN:
            line.transport.abort()  # who listens sees it too; closing would wait for what nobody takes
            return False
        return True

    async def send() -> None:
        try:
            async for frame in frames:
                for message in talk.send(frame):
                    if not await put(message):
                        return
        except Exception as error:
            failures.append(error)
            await line.close()
        else:
            talk.is_stopped = await put(talk.closing)

    try:
        reached = await asyncio.to_thread(_reach, url, timeouts)
    except _BROKEN as error:
        yield Ended(f"no stream: {_words(error)}")
        return
    try:
        options = _options(url, headers, tls, timeouts)
        line = await asynchronous.connect(_address(url), sock=reached, **options)
    except BaseException as error:
        reached.close()
        if not isinstance(error, _BROKEN):
            raise
        yield Ended(f"no stream: {_words(error)}")
        return
    sender = None
    try:
        await line.send(talk.opening)
        async with asyncio.timeout(timeouts.overall):
            event = talk.event(await line.recv())
        yield event
        sender = asyncio.create_task(send())
        while not isinstance(event, Ended):
            was_stopped = talk.is_stopped
            try:
                async with asyncio.timeout(timeouts.overall):
                    event = talk.event(await line.recv())
            except TimeoutError:
                if was_stopped:
                    raise
                continue
            yield event
    except _BROKEN as error:
        if not failures:
            yield Ended(f"the stream broke off: {_words(error)}")
    finally:
        if sender is not None:
            sender.cancel()
            await asyncio.gather(sender, return_exceptions=True)
        await line.close()
    if failures:
        raise failures[0]


def _words(error: BaseException) -> str:
    if isinstance(error, InvalidStatus):
        return status_words(error.response.status_code, bytes(error.response.body or b""))
    return str(error) if isinstance(error, WebSocketException) else repr(error)


def _address(url: str) -> str:
    parts = urlsplit(url)
    scheme = {"http": "ws", "https": "wss"}.get(parts.scheme, parts.scheme)
    return urlunsplit((scheme, parts.netloc, parts.path.rstrip("/") + PATH, "", ""))


def _reach(url: str, timeouts: Timeouts) -> socket.socket:
    """A connection of our own: with one, websockets follows no redirect and goes through no proxy.

    Raises:
        OSError, ValueError: an address that is none, or nobody there.
    """
    parts = urlsplit(url)
    address = parts.hostname or "", parts.port or (443 if _is_secure(url) else 80)
    reached = socket.create_connection(address, timeout=min(timeouts.connect, timeouts.overall))
    reached.settimeout(None)  # that was for connecting: a stream may be silent, and a gateway may let it wait
    return reached


def _is_secure(url: str) -> bool:
    return urlsplit(url).scheme in ("https", "wss")


def _options(url: str, headers: Mapping[str, str], tls: ssl.SSLContext, timeouts: Timeouts) -> dict[str, Any]:
    options: dict[str, Any] = {
        "additional_headers": dict(headers),
        "compression": None,
        "open_timeout": timeouts.overall,
        "close_timeout": CLOSE_SECONDS,
        "max_size": MAX_ANSWER_BYTES,
    }
    return {**options, "ssl": tls} if _is_secure(url) else options
