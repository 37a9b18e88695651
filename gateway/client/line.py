"""A conversation over a WebSocket, from a thread or from an event loop."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from threading import Thread
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from websockets.asyncio import client as asynchronous
from websockets.exceptions import WebSocketException
from websockets.sync import client as synchronous

from gateway.client.answer import MAX_ANSWER_BYTES
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
    tls: ssl.SSLContext | None,
    timeouts: Timeouts,
) -> Iterator[Event]:
    """Every event up to `Ended`, which always comes.

    Raises:
        Exception: what the frames raised.
    """
    failures: list[BaseException] = []

    def put(message: bytes | str) -> bool:
        try:
            line.send(message)
        except _BROKEN:  # who listens sees it too
            return False
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
            options = _options(headers, tls, timeouts)
            line = stack.enter_context(synchronous.connect(_address(url), sock=_reach(url, timeouts), **options))
        except _BROKEN as error:
            yield Ended(f"no stream: {error!r}")
            return
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
                    if was_stopped:
                        raise
                    continue
                yield event
        except _BROKEN as error:
            if not failures:
                yield Ended(f"the stream broke off: {error!r}")
    if failures:
        raise failures[0]


async def async_events(
    url: str,
    talk: Conversation,
    frames: AsyncIterable[bytes | EndUtterance],
    *,
    headers: Mapping[str, str],
    tls: ssl.SSLContext | None,
    timeouts: Timeouts,
) -> AsyncGenerator[Event, None]:
    """As `events`."""
    failures: list[Exception] = []

    async def put(message: bytes | str) -> bool:
        try:
            await line.send(message)
        except _BROKEN:
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
        options = _options(headers, tls, timeouts)
        line = await asynchronous.connect(_address(url), sock=reached, **options)
    except _BROKEN as error:
        yield Ended(f"no stream: {error!r}")
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
            yield Ended(f"the stream broke off: {error!r}")
    finally:
        if sender is not None:
            sender.cancel()
            await asyncio.gather(sender, return_exceptions=True)
        await line.close()
    if failures:
        raise failures[0]


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
    port = parts.port or (443 if parts.scheme in ("https", "wss") else 80)
    return socket.create_connection((parts.hostname or "", port), timeout=min(timeouts.connect, timeouts.overall))


def _options(headers: Mapping[str, str], tls: ssl.SSLContext | None, timeouts: Timeouts) -> dict[str, Any]:
    options: dict[str, Any] = {
        "additional_headers": dict(headers),
        "compression": None,
        "open_timeout": timeouts.overall,
        "close_timeout": CLOSE_SECONDS,
        "max_size": MAX_ANSWER_BYTES,
    }
    return options if tls is None else {**options, "ssl": tls}
