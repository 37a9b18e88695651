"""What became of an utterance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict

from gateway.schemas import CandidateBody, CertificateBody, PartBody
from recognizer.decision import Reason


class Verdict(BaseModel):
    """What a gateway or a bundle says of an utterance, or that nothing came that can be acted on."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    decision: Literal["accept", "abstain", "error"]
    """`error`: no answer, or an acceptance that came too late: hold, as for an abstention."""
    command: str | None = None
    reason: Reason | None = None
    detail: str
    confidence: float | None = None
    top: list[CandidateBody] = []
    certificate: CertificateBody | None = None
    parts: list[PartBody] = []
    request_id: str | None = None
    """The gateway's."""
    seed: int | None = None
    """Of the smoothing noise, where a bundle decided here."""


class Heard(Verdict):
    """One line of `evenvoice listen --json`."""

    utterance: int
    """From 1."""
    start: float
    """Of the speech, seconds since the listening began or the microphone came back."""
    end: float
    silence_ms: float
    """Waited after the end of the speech to know that it is over."""
    deciding_ms: float
    """From then to the decision, as it was known here."""
    dropped_blocks: int
    """Lost since the utterance before it ended: this one may have holes."""
    file: str | None = None
    """Where it was saved."""

    @property
    def total_ms(self) -> float:
        """From the end of the speech to the decision."""
        return self.silence_ms + self.deciding_ms


@dataclass(frozen=True)
class Summary:
    """Of all that was heard."""

    utterances: int
    accepted: int
    total_ms: float | None
    """Median, from the end of speech to the decision; None where nothing was heard."""
    silence_ms: float | None
    deciding_ms: float | None
    dropped_blocks: int
    times_lost: int
    """How often the microphone was gone."""
