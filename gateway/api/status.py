"""What is served, and whom it turns away: `/v1/model`, `/v1/fairness`, `/metrics`."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from fastapi import APIRouter, Request, Response

from gateway import problems
from gateway.api.parts import TheGateway, errors
from gateway.records import RecordsError
from gateway.records.ledger_reading import Day
from gateway.schemas import (
    AudioFormatBody,
    CertificateBody,
    DayCounts,
    DefenseBody,
    EvidenceBody,
    FairnessResponse,
    GroupState,
    LabelCounts,
    ModelResponse,
    OutcomeCounts,
)
from monitoring import counters, series
from monitoring.fairness import Snapshot
from monitoring.tally import Cell
from recognizer.recognizer import Recognizer

router = APIRouter(tags=["status"])
logger = logging.getLogger(__name__)


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
def get_fairness(gateway: TheGateway) -> FairnessResponse:
    """Whom the defenses turn away, group by group, as far as it is released."""
    try:
        snapshot, days = gateway.ledger.snapshot(), gateway.ledger.days()
    except RecordsError:
        raise problems.RecordsUnavailable("what is released can't be read; try again") from None
    settings = snapshot.settings
    return FairnessResponse(
        ledger=snapshot.ledger,
        release_commands=settings.release.commands,
        release_speakers=settings.release.speakers,
        alpha=settings.alpha,
        tolerance=settings.tolerance,
        session_seconds=settings.session_seconds,
        alarm_log_wealth=gateway.bundle.alarm_level(settings.alpha),
        groups=[_state(snapshot, cell, days.get(cell, ())) for cell in snapshot.cells],
    )


@router.get("/metrics", include_in_schema=False)
def metrics(request: Request, gateway: TheGateway) -> Response:
    """In a thread: the ledger may have to be read."""
    text = counters.exposition(request.app.state.registry)
    try:
        text += series.exposition(gateway.ledger.snapshot())
    except RecordsError as error:  # what the processes count is told all the same
        logger.warning("the series of groups are left out: %s", error)
    return Response(text, media_type=counters.CONTENT_TYPE)


def _defenses(recognizer: Recognizer) -> list[DefenseBody]:
    return [
        DefenseBody(
            name=name,
            is_default=name == recognizer.default_defense,
            parts=[CertificateBody.of(part) for part in defense.promises()],
        )
        for name, defense in recognizer.defenses.items()
    ]


def _state(snapshot: Snapshot, cell: Cell, days: Sequence[Day]) -> GroupState:
    tally = snapshot.tally(cell)
    return GroupState(
        attribute=cell.attribute,
        group=cell.group,
        defense=cell.defense,
        model=cell.model,
        outcomes=OutcomeCounts(**tally.outcomes),
        rejection_rate=tally.rejection_rate,
        labelled=LabelCounts(**tally.labelled),
        rejection_score=tally.scores.mean,
        mean_draws=tally.draws.mean,
        evidence=_evidence(snapshot, cell),
        days=[DayCounts(day=day.day, accepted=day.accepted, rejected=day.rejected) for day in days],
    )


def _evidence(snapshot: Snapshot, cell: Cell) -> EvidenceBody | None:
    standing = snapshot.standings.get(cell)
    if standing is None or not standing.sessions:
        return None
    return EvidenceBody(
        log_wealth=standing.evidence.log_evidence,
        sessions=standing.sessions,
        speakers=standing.speakers,
        side=standing.side,
        is_alarm=snapshot.is_alarm(cell),
        speaks_of=standing.speaks_of,
    )
