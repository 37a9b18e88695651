"""One question over HTTP: bounded in time and size, and asked again only where that is safe."""

from __future__ import annotations

import asyncio
import json
import random
import ssl
from collections.abc import Mapping
from dataclasses import dataclass

import httpx

from gateway.client import clock
from gateway.client.answer import MAX_ANSWER_BYTES
from gateway.client.timeouts import Timeouts

RETRIES = 3
FIRST_PAUSE = 0.05  # seconds before the first retry; twice as long before each further one
_TRANSIENT = (429, 503)
LONGEST_DETAIL = 500  # characters: it goes to logs and onto screens

_chance = random.SystemRandom()


class GatewayError(RuntimeError):
    """No answer, or none that can be used; the message says which."""


@dataclass(frozen=True)
class Question:
    method: str
    path: str
    parameters: Mapping[str, str]
    headers: Mapping[str, str]
    content: bytes = b""


@dataclass(frozen=True)
class Said:
    """A whole response."""

    status: int
    media_type: str
    content: bytes
    retry_after: float | None = None
    """Seconds"""


async def ask(
    http: httpx.AsyncClient, question: Question, timeouts: Timeouts, *, ends: float, retries: int = 0
) -> Said:
    """Ask, and with retries ask again after a broken connection, a 429, or a 503 that says when to come back.

    Args:
        ends: `clock.now()` seconds after which nothing is sent or waited for. Each request carries what is left of it.
        retries: at most so many; only for a question that may be asked twice.

    Raises:
        GatewayError: no answer came in time.
    """
    for attempt in range(retries + 1):
        pause = FIRST_PAUSE * 2**attempt * _chance.uniform(0.5, 1.5)
        said, error = await _ask_once(http, question, timeouts, ends)
        if said is not None:
            if not (said.status in _TRANSIENT and (said.status == 429 or said.retry_after is not None)):
                return said
            pause = max(pause, said.retry_after or 0.0)
        elif not _may_pass(error):
            break
        if attempt == retries or clock.now() + pause >= ends:
            break
        await asyncio.sleep(pause)
    if said is not None:
        return said
    raise GatewayError(f"no answer: {error!r}") from error


def status_words(status: int, content: bytes) -> str:
    """What an answer other than 200 says: the detail of its problem, or its beginning where it has none."""
    try:
        detail = str(json.loads(content)["detail"])
    except (ValueError, KeyError, TypeError, RecursionError):
        detail = content.decode(errors="replace")
    return f"status {status}: {printable(detail[:LONGEST_DETAIL])}"


def printable(text: str) -> str:
    """Without what would steer a terminal: whoever is asked may not be a gateway."""
    return "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in text)


async def _ask_once(
    http: httpx.AsyncClient, question: Question, timeouts: Timeouts, ends: float
) -> tuple[Said | None, Exception | None]:
    left = ends - clock.now()
    if left <= 0:
        return None, TimeoutError("the time is up")
    headers = {**question.headers, "X-Request-Timeout-Ms": str(max(1, int(1000 * left)))}
    try:
        async with asyncio.timeout(left):  # the phases' own timeouts begin anew with each byte
            request = http.build_request(
                question.method,
                question.path,
                params=question.parameters,
                headers=headers,
                content=question.content or None,
                timeout=timeouts.within(left),
            )
            response = await http.send(request, stream=True, follow_redirects=False)
            try:
                return await _whole(response), None
            finally:
                await response.aclose()
    except TimeoutError:
        return None, TimeoutError(f"nothing within {left:.2g} s")
    except (httpx.HTTPError, httpx.InvalidURL, OSError, GatewayError) as error:
        return None, error


async def _whole(response: httpx.Response) -> Said:
    """
    Raises:
        GatewayError: it is too long.
    """
    content = bytearray()
    async for piece in response.aiter_raw():  # as it came: nothing is unpacked
        content += piece
        if len(content) > MAX_ANSWER_BYTES:
            raise GatewayError(f"an answer of more than {MAX_ANSWER_BYTES:,} bytes")
    return Said(
        response.status_code,
        response.headers.get("content-type", ""),
        bytes(content),
        _seconds(response.headers.get("retry-after", "")),
    )


def _seconds(text: str) -> float | None:
    """`Retry-After` in seconds; None for a date, which would need a clock that is right."""
    return float(text) if text.isascii() and text.isdigit() and len(text) <= 6 else None


def _may_pass(error: Exception | None) -> bool:
    """Whether the same question may be answered a moment later."""
    if not isinstance(error, httpx.TransportError) or isinstance(
        error, httpx.UnsupportedProtocol | httpx.LocalProtocolError
    ):
        return False
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLError):  # certificates don't change meanwhile
            return False
        cause = cause.__cause__ or cause.__context__
    return True
