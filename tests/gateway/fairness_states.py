"""What `/v1/fairness` may say, made by hand from the contract's fields."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import numpy as np

from gateway.schemas import FairnessResponse

MODEL, BEFORE = "0f3c2a9b71de", "77aa01bc23de"
LAST_DAY = date(2026, 11, 23)


def group(
    attribute: str,
    name: str,
    accepted: int = 0,
    rejected: int = 0,
    *,
    defense: str = "smoothing",
    model: str = MODEL,
    labelled: tuple[int, int, int] = (0, 0, 0),
    evidence: dict[str, Any] | None = None,
    days: int = 1,
    seed: int = 0,
) -> dict[str, Any]:
    """One group's state; its commands are spread over the days that end at `LAST_DAY`."""
    spread = np.random.default_rng(seed)
    by_day = [spread.multinomial(n, [1 / days] * days) for n in (accepted, rejected)]
    decided = accepted + rejected
    return {
        "attribute": attribute,
        "group": name,
        "defense": defense,
        "model": model,
        "outcomes": {"accepted": accepted, "rejected": rejected, "bad_input": decided // 50, "service": 0},
        "rejection_rate": rejected / decided if decided else None,
        "labelled": dict(zip(("correct", "wrong", "rejected"), labelled, strict=True)),
        "rejection_score": 0.9 * rejected / decided if decided else None,
        "mean_draws": 120.5 if decided else None,
        "evidence": evidence,
        "days": [
            {"day": (LAST_DAY - timedelta(days=days - 1 - i)).isoformat(), "accepted": int(a), "rejected": int(r)}
            for i, (a, r) in enumerate(zip(*by_day, strict=True))
            if a + r
        ],
    }


def evidence(
    log_wealth: float,
    *,
    sessions: int = 60,
    speakers: int = 30,
    side: str = "more",
    is_alarm: bool = False,
) -> dict[str, Any]:
    return {
        "log_wealth": log_wealth,
        "sessions": sessions,
        "speakers": speakers,
        "side": side,
        "is_alarm": is_alarm,
        "speaks_of": "group" if speakers >= 20 else "these_speakers",
    }


def state(*groups: dict[str, Any], **other: Any) -> FairnessResponse:
    settings = {
        "ledger": "k3x9p2aa",
        "release_commands": 10,
        "release_speakers": 3,
        "alpha": 0.05,
        "tolerance": 0.02,
        "session_seconds": 86_400,
        "alarm_log_wealth": float(np.log(18 / 0.05)),
    }
    return FairnessResponse.model_validate({**settings, **other, "groups": list(groups)})


def busy() -> FairnessResponse:
    """A gateway at work: two attributes, an alarm of a group, one of few speakers, a bundle of before, labels."""
    return state(
        group(
            "accent", "north", 380, 120, evidence=evidence(7.2, sessions=66, speakers=6, is_alarm=True), days=20, seed=1
        ),
        group("accent", "south", 2350, 150, evidence=evidence(-0.5, sessions=416, speakers=41), days=20, seed=2),
        group("accent", "east", 60, 18, evidence=evidence(3.4, sessions=20, speakers=3), days=20, seed=3),
        group("accent", "west"),
        group("accent", "other", 270, 30, evidence=evidence(0.2, sessions=40, speakers=9), days=20, seed=4),
        group("accent", "undeclared", 1400, 160, days=20, seed=5),
        group("gender", "female", 1600, 300, labelled=(240, 31, 29), evidence=evidence(6.4, is_alarm=True), days=20),
        group("gender", "male", 4800, 400, labelled=(270, 9, 21), evidence=evidence(0.1, side="less"), days=20),
        group("gender", "undeclared", 700, 60, days=20),
        group("gender", "female", 100, 20, defense="neural_rejection"),
        group("gender", "female", 350, 150, model=BEFORE, evidence=evidence(9.0, speakers=1, is_alarm=True)),
    )


def quiet() -> FairnessResponse:
    """Before any traffic: every group of the bundle, at zero."""
    return state(
        *(group("accent", name) for name in ("north", "south", "other", "undeclared")),
        *(group("gender", name) for name in ("female", "male", "other", "undeclared")),
    )
