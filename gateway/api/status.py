"""What is served, and whom it turns away: `/v1/model`, `/v1/fairness`, `/metrics`."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from gateway.api.parts import TheGateway, errors
from gateway.schemas import (
    AudioFormatBody,
    CertificateBody,
    DefenseBody,
    FairnessResponse,
    GroupState,
    LabelCounts,
    ModelResponse,
    OutcomeCounts,
)
from monitoring.counters import CONTENT_TYPE, exposition, over_workers
from monitoring.fairness import Released, released
from recognizer.recognizer import Recognizer

router = APIRouter(tags=["status"])


@router.get("/v1/model", responses=errors())
async def get_model(gateway: TheGateway) -> ModelResponse:
    """The bundle that is served: its commands, its defenses and their settings."""
    recognizer = gateway.recognizer
    audio = recognizer.audio
    return ModelResponse(
        name=recognizer.name,
        version=recognizer.version,
        commands=list(recognizer.commands),
        audio=AudioFormatBody(
            sample_rate=audio.sample_rate,
            window_seconds=audio.window_seconds,
            min_seconds=audio.min_seconds,
            max_seconds=audio.max_seconds,
        ),
        defenses=_defenses(recognizer),
        groups={attribute: list(groups) for attribute, groups in recognizer.vocabulary.items()},
        deadline_ms=gateway.deadline_ms,
        valid_for_ms=gateway.valid_for_ms,
    )


@router.get("/v1/fairness", responses=errors())
def get_fairness(request: Request, gateway: TheGateway) -> FairnessResponse:
    """Whom the defenses turn away, group by group, as far as it is released."""
    commands, speakers = gateway.release_rule
    return FairnessResponse(
        release_commands=commands,
        release_speakers=speakers,
        groups=[_state(group) for group in released(over_workers(request.app.state.registry).collect())],
    )


@router.get("/metrics", include_in_schema=False)
def metrics(request: Request, gateway: TheGateway) -> Response:
    del gateway  # not before there is one
    return Response(exposition(request.app.state.registry), media_type=CONTENT_TYPE)


def _defenses(recognizer: Recognizer) -> list[DefenseBody]:
    return [
        DefenseBody(
            name=name,
            is_default=name == recognizer.default_defense,
            parts=[CertificateBody.of(part) for part in defense.promises()],
        )
        for name, defense in recognizer.defenses.items()
    ]


def _state(group: Released) -> GroupState:
    return GroupState(
        attribute=group.attribute,
        group=group.group,
        defense=group.defense,
        model=group.model,
        outcomes=OutcomeCounts(**group.outcomes),
        rejection_rate=group.rejection_rate,
        labelled=LabelCounts(**group.labelled),
        rejection_score=group.rejection_score,
    )
