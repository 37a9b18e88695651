"""A decision as a row of the table."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC
from typing import Any

from gateway.records.entry import Entry
from recognizer.decision import Decision, Part


def decision_row(entry: Entry, decision: Decision, *, clip_is_kept: bool) -> dict[str, Any]:
    """What is stored of an entry, with the decision that it has become; everything but audio."""
    certificate = decision.certificate
    return {
        "request_id": entry.request_id,
        "received_at": entry.received_at.astimezone(UTC),
        **outcome_columns(decision),
        "defense": entry.defense,
        "confidence": decision.confidence,
        "p_value": certificate.p_value if certificate else None,
        "draws": certificate.draws if certificate else None,
        "seed": entry.seed,
        "replay": asdict(certificate.replay) if certificate and certificate.replay else None,
        "speaker": entry.speaker,
        "groups": dict(entry.groups),
        "model": entry.model,
        "parts": [_part(part) for part in decision.parts] or None,
        "clip_type": (entry.media_type or "")[:80] if clip_is_kept else None,
        "is_pending": True,
    }


def outcome_columns(decision: Decision) -> dict[str, Any]:
    """What changes when an acceptance is held back."""
    return {"outcome": decision.outcome.value, "reason": decision.reason.value, "command": decision.command}


def _part(part: Part) -> dict[str, Any]:
    decision = part.decision
    certificate = decision.certificate
    return {
        "defense": part.defense,
        "reason": decision.reason.value,
        "confidence": decision.confidence,
        "p_value": certificate.p_value if certificate else None,
        "draws": certificate.draws if certificate else None,
    }
