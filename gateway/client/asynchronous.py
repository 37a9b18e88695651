"""The client for asyncio; the other one is this one in a thread."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
import uuid
from collections.abc import AsyncGenerator, AsyncIterable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import httpx
from pydantic import ValidationError

from gateway.client import clock
from gateway.client.answer import Answer, Kind, read_answer
from gateway.client.asking import RETRIES, GatewayError, Question, Said, ask, status_words
from gateway.client.clips import Clip, UnusableClip, clip_of
from gateway.client.conversation import Conversation, Ended, EndUtterance, Event
from gateway.client.credentials import authorization, trust
from gateway.client.first import FirstSent
from gateway.client.line import async_events
from gateway.client.timeouts import Timeouts
from gateway.schemas import ModelResponse

if TYPE_CHECKING:
    from gateway.client.clips import Audio


class AsyncClient:
    """Asks one gateway, from one event loop.

    async with AsyncClient("http://127.0.0.1:3000") as gateway:
        answer = await gateway.decide("seven.wav", speaker="s-17")
        if answer.command is not None: ...
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
        """
        Args:
            key: an API key, `ev_...`.
            tls: whom to trust and which certificate to show, where the gateway asks for one; docs/security.md has one.
                Where None, whom the machine trusts, or the file that SSL_CERT_FILE names.
            timeout: seconds for a whole answer, or more of them.
            retries: how often a decision is asked for again at most, by its idempotency key.
            transport: another way to the gateway than the network, such as its application in this process.

        Raises:
            ValueError: a key that no header can carry, a timeout that is none.
        """
        self.timeouts = Timeouts.of(timeout)
        self._url, self._tls, self._retries = url, trust(tls), retries
        self._headers = authorization(key)
        self._first = FirstSent()
        self._http = httpx.AsyncClient(
            base_url=url,
            headers={**self._headers, "Accept-Encoding": "identity"},
            verify=self._tls,
            trust_env=False,  # a proxy that is meant for the web hears no command and answers none
            transport=transport,
        )

    async def decide(
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
        """Ask for a decision on one clip. Whatever goes wrong, on the way or here, is a hold and never raises.

        Args:
            audio: a file's bytes or path, or samples.
            rate: Hertz; says that `audio` holds samples: int16, or floats in [-1, 1], [samples] or [samples, channels].
            media_type: of a file's bytes, such as audio/flac; by its first bytes where None.
            timeout: seconds for all of it, in the place of the client's.
            idempotency_key: one for each spoken command; new where None. For who may call twice for the same: an
                acceptance counts from the first of the calls to this client.
            since: `clock.now()` seconds from which an acceptance counts, for who had the clip before this call.
        """
        now = clock.now()
        try:
            sent = now if since is None else min(since, now)
            if idempotency_key is not None:
                sent = self._first.of(idempotency_key, sent)
            seconds = self.timeouts.overall if timeout is None else timeout
            ends = now + seconds
            clip = await _clip(audio, rate, media_type, seconds)
            headers = {"Content-Type": clip.media_type, "Idempotency-Key": idempotency_key or str(uuid.uuid4())}
            named = {name: value for name, value in (("speaker", speaker), ("defense", defense)) if value is not None}
            question = Question("POST", "/v1/commands", named, headers, clip.data)
            said = await ask(self._http, question, self.timeouts, ends=ends, retries=self._retries)
            if said.status != httpx.codes.OK:
                return Answer.hold(Kind.REFUSED, status_words(said.status, said.content), status=said.status)
            return read_answer(said.content, said.media_type, sent=sent)
        except UnusableClip as error:
            return Answer.hold(Kind.UNUSABLE, str(error))
        except GatewayError as error:
            return Answer.hold(Kind.NO_ANSWER, str(error))
        except Exception as error:  # a robot must not stop holding because of how a request failed
            return Answer.hold(Kind.NO_ANSWER, f"no answer: {error!r}")

    async def label(self, request_id: str, command: str) -> bool:
        """Tell the true command of a decision; False where it was not taken. Never sent twice: it is counted once."""
        try:
            path = f"/v1/commands/{uuid.UUID(str(request_id))}/label"
            body = json.dumps({"command": command}).encode()
            question = Question("POST", path, {}, {"Content-Type": "application/json"}, body)
            return (await self._ask(question)).status == httpx.codes.OK
        except (GatewayError, ValueError):
            return False

    async def model(self) -> ModelResponse:
        """The bundle that is served: its commands, its defenses, its groups.

        Raises:
            GatewayError: no answer, or none that can be read.
        """
        said = await self._ask(Question("GET", "/v1/model", {}, {}), retries=self._retries)
        if said.status != httpx.codes.OK:
            raise GatewayError(status_words(said.status, said.content))
        try:
            return ModelResponse.model_validate_json(said.content, strict=True)
        except ValidationError as error:
            raise GatewayError(f"the answer can't be read: {error}") from error

    async def is_ready(self) -> bool:
        """Whether the gateway answers that it is ready."""
        try:
            return (await self._ask(Question("GET", "/readyz", {}, {}))).status == httpx.codes.OK
        except GatewayError:
            return False

    async def stream(
        self,
        frames: AsyncIterable[bytes | EndUtterance],
        *,
        rate: int,
        channels: int = 1,
        speaker: str | None = None,
        defense: str | None = None,
    ) -> AsyncGenerator[Event, None]:
        """Speak, and hear what is decided: each utterance is one `Heard`, and the last event is `Ended`.

        Nothing that the network or the gateway does raises. The frames are asked for in a task of their own.

        Args:
            frames: signed 16-bit little-endian samples, of any length; `END_UTTERANCE` asks for a decision now.
            rate: Hertz.
            channels: 1, or 2 interleaved.
        """
        talk = Conversation(rate=rate, channels=channels, speaker=speaker, defense=defense)
        events = async_events(self._url, talk, frames, headers=self._headers, tls=self._tls, timeouts=self.timeouts)
        async with contextlib.aclosing(events):
            async for event in events:
                yield event
                if isinstance(event, Ended):
                    return

    async def aclose(self) -> None:
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _ask(self, question: Question, *, retries: int = 0) -> Said:
        ends = clock.now() + self.timeouts.overall
        try:
            return await ask(self._http, question, self.timeouts, ends=ends, retries=retries)
        except RuntimeError as error:  # a client that is closed
            raise GatewayError(str(error)) from error


async def _clip(audio: Audio, rate: int | None, media_type: str | None, seconds: float) -> Clip:
    """
    Raises:
        UnusableClip: no audio, or a file that takes longer to read, such as a pipe that nobody writes to.
    """
    if rate is not None or not isinstance(audio, str | Path):
        return clip_of(audio, rate=rate, media_type=media_type)
    try:
        async with asyncio.timeout(seconds):  # a disk may be slow
            return await asyncio.to_thread(clip_of, audio, media_type=media_type)
    except TimeoutError:
        raise UnusableClip(f"{audio} was not read within {seconds:g} s") from None
