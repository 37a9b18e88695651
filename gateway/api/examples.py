"""What answers look like, for the OpenAPI document; made by the schemas, so that they can't contradict them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel

from gateway.schemas import (
    AudioBody,
    AudioFormatBody,
    CandidateBody,
    CertificateBody,
    CommandResponse,
    DayCounts,
    DefenseBody,
    ErasedResponse,
    EvidenceBody,
    FairnessResponse,
    GroupState,
    LabelCounts,
    LabelResponse,
    ModelBody,
    ModelResponse,
    OutcomeCounts,
    SpeakerResponse,
    SpeakersResponse,
)
from recognizer.decision import Reason

_REQUEST = "1b671a64-40d5-491e-99b0-da01ff1f3341"
_VERSION = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
_WHEN = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)

ACCEPTED = CommandResponse(
    request_id=_REQUEST,
    decision="accept",
    command="left",
    reason=Reason.OK,
    detail="",
    confidence=0.96,
    top=[CandidateBody(command="left", share=0.96), CandidateBody(command="right", share=0.04)],
    certificate=CertificateBody(defense="smoothing", sigma=0.02, error_alpha=0.001, draws=23, p_value=0.0007),
    model=ModelBody(name="digits", version=_VERSION),
    audio=AudioBody(seconds=0.62, sample_rate=48_000),
    received_at=_WHEN,
    valid_for_ms=1500,
    timings_ms={"read": 0.2, "decode": 1.2, "queue": 0.4, "decide": 4.1, "record": 0.6, "total": 6.5},
)
ABSTAINED = CommandResponse(
    request_id=_REQUEST,
    decision="abstain",
    command=None,
    reason=Reason.SMOOTHING_TIE,
    detail="p = 0.31 > error_alpha = 0.001 after 1000 draws",
    confidence=0.58,
    top=[CandidateBody(command="left", share=0.58), CandidateBody(command="right", share=0.31)],
    certificate=CertificateBody(defense="smoothing", sigma=0.02, error_alpha=0.001, draws=1000, p_value=0.31),
    model=ModelBody(name="digits", version=_VERSION),
    audio=AudioBody(seconds=0.62, sample_rate=48_000),
    received_at=_WHEN,
    valid_for_ms=1500,
    timings_ms={"read": 0.2, "decode": 1.2, "queue": 0.4, "decide": 61.0, "record": 0.6, "total": 63.4},
)
LABELLED = LabelResponse(request_id=_REQUEST, command="left", result="rejected")
MODEL = ModelResponse(
    name="digits",
    version=_VERSION,
    commands=["left", "right", "stop"],
    audio=AudioFormatBody(sample_rate=16_000, window_seconds=1.0, min_seconds=0.1, max_seconds=5.0),
    defenses=[
        DefenseBody(name="none", is_default=False, parts=[]),
        DefenseBody(
            name="smoothing",
            is_default=True,
            parts=[CertificateBody(defense="smoothing", sigma=0.02, error_alpha=0.001, draws=1000)],
        ),
    ],
    groups={"accent": ["scottish", "welsh"]},
    deadline_ms=1000,
    valid_for_ms=1500,
)
FAIRNESS = FairnessResponse(
    ledger="5e3a91c4",
    release_commands=10,
    release_speakers=3,
    alpha=0.05,
    tolerance=0.02,
    session_seconds=86_400,
    alarm_log_wealth=4.094,
    groups=[
        GroupState(
            attribute="accent",
            group="scottish",
            defense="smoothing",
            model="9f86d081884c",
            outcomes=OutcomeCounts(accepted=36, rejected=4, bad_input=1, service=0),
            rejection_rate=0.1,
            labelled=LabelCounts(correct=11, wrong=0, rejected=1),
            rejection_score=0.031,
            mean_draws=64.0,
            evidence=EvidenceBody(
                log_wealth=0.21, sessions=12, speakers=4, side="more", is_alarm=False, speaks_of="these_speakers"
            ),
            days=[DayCounts(day=_WHEN.date(), accepted=36, rejected=4)],
        )
    ],
)
SPEAKER = SpeakerResponse(
    speaker="s-17",
    declared={"accent": "scottish"},
    groups={"accent": "scottish"},
    enrolled_at=_WHEN,
    changed_at=_WHEN,
)
SPEAKERS = SpeakersResponse(speakers=[SPEAKER])
ERASED = ErasedResponse(decisions=41, answers=2, clips=0)


ANSWERS: dict[tuple[str, str, int], dict[str, BaseModel]] = {
    ("/v1/commands", "post", 200): {"accept": ACCEPTED, "abstain": ABSTAINED},
    ("/v1/commands/{request_id}/label", "post", 200): {"rejected": LABELLED},
    ("/v1/model", "get", 200): {"model": MODEL},
    ("/v1/fairness", "get", 200): {"fairness": FAIRNESS},
    ("/v1/speakers", "get", 200): {"page": SPEAKERS},
    ("/v1/speakers", "post", 201): {"enrolled": SPEAKER},
    ("/v1/speakers/{speaker}", "get", 200): {"speaker": SPEAKER},
    ("/v1/speakers/{speaker}", "put", 200): {"changed": SPEAKER},
    ("/v1/speakers/{speaker}", "delete", 200): {"erased": ERASED},
}
"""Path, method and status -> its examples by name."""


def add_answers(paths: dict[str, Any]) -> None:
    """Put the examples into a document's `paths`; FastAPI would leave out their nulls, which the schemas need."""
    for (path, method, status), named in ANSWERS.items():
        content = paths[path][method]["responses"][str(status)]["content"]["application/json"]
        content["examples"] = {name: {"value": example.model_dump(mode="json")} for name, example in named.items()}
