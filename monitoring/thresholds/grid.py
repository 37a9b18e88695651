"""Which settings are measured, and how."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from monitoring.measured import AuditSettings


class ThresholdGrid(BaseModel):
    """The settings of a sweep; those that the bundle has are always among them."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    error_alphas: tuple[Annotated[float, Field(gt=0, le=1)], ...] = (0.0001, 0.001, 0.01, 0.05)
    draws: tuple[Annotated[int, Field(ge=1)], ...] = (30, 100, 300, 1000)
    """N"""
    confidence_thresholds: tuple[Annotated[float, Field(ge=0, le=1)], ...] = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
    audit: AuditSettings = AuditSettings()
    """How gaps are measured; its seed keys the smoothing noise and the choice of the attacked clips, too."""
    eps: float = Field(default=0.002, gt=0, le=2)
    """L-infinity radius of the attack, raw amplitude."""
    attacked_clips: int = Field(default=64, ge=0)
    """At most; 0 = no attack."""
    attack_steps: int = Field(default=20, ge=1)
    attack_draws: int = Field(default=16, ge=1)
    """Noisy copies a step of the attack on RS."""
