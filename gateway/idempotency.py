"""A request that is sent again gets the answer of the first, and is counted once.

Source: draft-ietf-httpapi-idempotency-key-header. A robot that acts on an old acceptance would act on a command of some
time ago: what is left of its validity is told, and once nothing is left it is held back.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Self

from gateway import problems
from gateway.records import AnsweredBefore
from gateway.schemas import CommandResponse
from recognizer.decision import Reason

LONGEST = 255


@dataclass(frozen=True)
class IdempotencyKey:
    """What tells whether a request is one that was answered before."""

    key: str
    """Whose it is and what they sent as `Idempotency-Key`, hashed: 64 characters."""
    digest: str
    """Of what is asked, 64 characters: nobody may use a key for two requests."""

    @classmethod
    def of(cls, header: str | None, *, sender: str, asked: tuple[bytes | str | None, ...]) -> Self | None:
        """The key of a request; None where it has none.

        Args:
            header: `Idempotency-Key`.
            sender: whose keys these are, such as the id of an API key.
            asked: all that the decision depends on.

        Raises:
            MalformedRequest: an empty or overlong key, or one that is not printable ASCII.
        """
        if header is None:
            return None
        if not (0 < len(header) <= LONGEST and header.isascii() and header.isprintable()):
            raise problems.MalformedRequest(f"an Idempotency-Key is 1 to {LONGEST} printable ASCII characters")
        return cls(_digest(sender, header), _digest(*asked))


def replayed(before: AnsweredBefore, *, digest: str, is_late: bool = False) -> CommandResponse:
    """The answer that the key's first request got, as far as it still may be acted on.

    Args:
        is_late: whether the deadline of the request that comes again has passed.

    Raises:
        KeyReused: the key's first request was another.
    """
    if before.digest != digest:
        raise problems.KeyReused("this Idempotency-Key was used for another request; take a new one")
    answer = CommandResponse.model_validate_json(before.answer)
    if answer.decision == "abstain":
        return answer
    left = 0
    if before.age is not None and not is_late:
        left = int(answer.valid_for_ms - answer.timings_ms["total"] - 1000 * before.age)
    if left > 0:
        return answer.model_copy(update={"valid_for_ms": left})
    detail = "no answer within the deadline" if is_late else "the acceptance is too old"
    held = {"decision": "abstain", "command": None, "reason": Reason.DEADLINE, "detail": detail}
    return CommandResponse.model_validate(answer.model_dump() | held)


def _digest(*parts: bytes | str | None) -> str:
    """SHA-256 in hexadecimal; different sequences have different ones, whatever is in them."""
    whole = hashlib.sha256()
    for part in parts:
        data = part.encode(errors="surrogatepass") if isinstance(part, str) else part  # a form may hold any text
        whole.update(b"-" if data is None else b"%d:%b" % (len(data), data))
    return whole.hexdigest()
