"""A client that a robot can trust to hold: whatever is not a fresh acceptance is a hold, by construction."""

from __future__ import annotations

import ssl
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import httpx
from pydantic import ValidationError

from gateway.schemas import CommandResponse


@dataclass(frozen=True)
class Answer:
    """What the gateway said, or why there is nothing to act on."""

    response: CommandResponse | None
    """None where no answer came that can be read."""
    detail: str
    expires: float = 0.0
    """`time.monotonic()` seconds after which an acceptance is void: sending time plus `valid_for_ms`."""

    @property
    def command(self) -> str | None:
        """The command to do now; None means hold: start no new motion."""
        response = self.response
        if response is None or response.decision != "accept" or time.monotonic() > self.expires:
            return None
        return response.command


class Client:
    """A synchronous HTTP client of one gateway.

    with Client("http://127.0.0.1:3000") as gateway:
        answer = gateway.decide(wav_bytes, speaker="s-17")
        if answer.command is not None: ...
    """

    def __init__(
        self,
        url: str,
        *,
        key: str | None = None,
        tls: ssl.SSLContext | None = None,
        timeout: float = 5.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """
        Args:
            key: an API key, `ev_...`.
            tls: whom to trust and which certificate to show, where the gateway asks for one; docs/security.md has one.
            timeout: seconds for connecting, for sending, and for each wait for an answer.
            transport: another way to the gateway than the network, such as its application in this process.
        """
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        verify = True if tls is None else tls
        self._http = httpx.Client(base_url=url, headers=headers, verify=verify, timeout=timeout, transport=transport)

    def decide(
        self, audio: bytes, *, media_type: str = "audio/wav", speaker: str | None = None, defense: str | None = None
    ) -> Answer:
        """Send one clip. Whatever goes wrong, on the way or here, is a hold and never raises."""
        parameters = {k: v for k, v in (("speaker", speaker), ("defense", defense)) if v is not None}
        sent = time.monotonic()
        try:
            answer = self._http.post(
                "/v1/commands", params=parameters, content=audio, headers={"Content-Type": media_type}
            )
        except Exception as error:  # a robot must not stop holding because of how a request failed
            return Answer(None, f"no answer: {error!r}")
        if answer.status_code != httpx.codes.OK:
            return Answer(None, f"status {answer.status_code}: {_detail(answer)}")
        try:
            response = CommandResponse.model_validate_json(answer.content)
        except ValidationError as error:
            return Answer(None, f"the answer can't be read: {error}")
        return Answer(response, response.detail, sent + response.valid_for_ms / 1000)

    def label(self, request_id: str, command: str) -> bool:
        """Tell the true command of a decision; False where it was not taken."""
        try:
            answer = self._http.post(f"/v1/commands/{request_id}/label", json={"command": command})
        except httpx.HTTPError:
            return False
        return answer.status_code == httpx.codes.OK

    def is_ready(self) -> bool:
        """Whether the gateway answers that it is ready."""
        try:
            return self._http.get("/readyz").status_code == httpx.codes.OK
        except httpx.HTTPError:
            return False

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _detail(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["detail"])
    except (ValueError, KeyError, TypeError):
        return answer.text[:200]
