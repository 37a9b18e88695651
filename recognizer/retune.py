"""Other thresholds in a bundle that exists: its networks stay as they are, its settings and its version change."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from recognizer.bundle import (
    BundleError,
    BundleManifest,
    files_of,
    load_neural_rejection,
    read_manifest,
    save_bundle,
    version_of,
)
from recognizer.defense import DefenseName
from recognizer.far_from_data import FAR_FROM_DATA, what_it_decides_far_from_data
from recognizer.smoothing import check_settings

TUNED = "tuned"
"""The key, in a bundle's `training` and `test_results`, of what was tuned afterwards."""
_TOLD_BY = {
    DefenseName.NEURAL_REJECTION: ("neural_rejection",),
    DefenseName.SMOOTHING: ("smoothing",),
}
"""What the names of a defense's test results hold."""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class SmoothingSetting(_Model):
    """What RS decides by."""

    error_alpha: float = Field(gt=0, le=1)
    draws: int = Field(ge=1)
    """N: of every clip, or at most."""

    @property
    def defense(self) -> DefenseName:
        return DefenseName.SMOOTHING

    @property
    def name(self) -> str:
        return f"error_alpha={self.error_alpha},draws={self.draws}"


class RejectionSetting(_Model):
    """What NR decides by."""

    confidence_threshold: float = Field(ge=0, le=1)

    @property
    def defense(self) -> DefenseName:
        return DefenseName.NEURAL_REJECTION

    @property
    def name(self) -> str:
        return f"confidence_threshold={self.confidence_threshold}"


Setting = SmoothingSetting | RejectionSetting


class Choice(_Model):
    """A setting, and what was measured of it where it was chosen."""

    setting: Setting
    figures: dict[str, float | str | None]


class TunedOn(_Model):
    """The clips that a setting was chosen on."""

    at: datetime
    manifest: str
    """Its name."""
    fingerprint: str
    """Of these clips."""
    split: str
    clips: int
    speakers: int
    seed: int


def current_setting(bundle: BundleManifest, defense: DefenseName) -> Setting:
    """What a defense of a bundle decides by.

    Raises:
        BundleError: the bundle has no such defense, or one without a threshold.
    """
    if defense is DefenseName.SMOOTHING and (smoothing := bundle.defenses.smoothing):
        return SmoothingSetting(error_alpha=smoothing.error_alpha, draws=smoothing.draws)
    if defense is DefenseName.NEURAL_REJECTION and (rejection := bundle.defenses.neural_rejection):
        return RejectionSetting(confidence_threshold=rejection.confidence_threshold)
    raise BundleError(f"the bundle {bundle.name!r} has no {defense} whose thresholds could be set")


def retune(folder: Path, choices: Sequence[Choice], tuned_on: TunedOn, *, version: str) -> BundleManifest:
    """Write settings into a bundle; it appears with all of them, or stays as it was. Its other files stay, too.

    `training` gets what was set, from what, and on which clips. Test results of a defense whose setting changed are
    removed, and `test_results` says which: they describe it no longer. What needs no clips is found anew.

    Args:
        folder: the bundle; of a link, what it points to.
        choices: at most one a defense.
        tuned_on: where they were chosen.
        version: of the bundle that they were measured with.

    Raises:
        BundleError: a damaged bundle, one without such a defense, or one that has changed since.
        InfeasibleSmoothing: settings under which RS rejects everything.
    """
    folder = folder.resolve()
    bundle = read_manifest(folder)
    if version_of(folder) != version:
        raise BundleError(f"{folder} has changed since it was measured; nothing was written: measure it again")
    defenses = [choice.setting.defense for choice in choices]
    if len(set(defenses)) < len(defenses):
        raise BundleError(f"two settings of one defense are given, of {', '.join(defenses)}; one each is accepted")
    was = {choice.setting.defense: current_setting(bundle, choice.setting.defense) for choice in choices}
    specs: dict[str, Any] = {}
    record: dict[str, Any] = dict(bundle.training.get(TUNED, {}))
    for choice in choices:
        setting = choice.setting
        if isinstance(setting, SmoothingSetting) and (smoothing := bundle.defenses.smoothing):
            check_settings(
                sigma=smoothing.sigma, test=smoothing.test, labels=len(bundle.labels), **setting.model_dump()
            )
        specs[setting.defense.value] = getattr(bundle.defenses, setting.defense).model_copy(update=setting.model_dump())
        record[setting.defense.value] = {
            "from": was[setting.defense].model_dump(),
            "to": setting.model_dump(),
            "figures": choice.figures,
            **tuned_on.model_dump(mode="json"),
        }
    changed = [choice.setting.defense for choice in choices if choice.setting != was[choice.setting.defense]]
    retuned = bundle.model_copy(
        update={
            "defenses": bundle.defenses.model_copy(update=specs),
            "training": {**bundle.training, TUNED: record},
        }
    )
    results = bundle.test_results
    if DefenseName.NEURAL_REJECTION in changed:
        far = what_it_decides_far_from_data(load_neural_rejection(folder, retuned))
        results = {**results, FAR_FROM_DATA: far}
    retuned = retuned.model_copy(update={"test_results": _still_true(results, changed)})
    checked = BundleManifest.model_validate_json(retuned.to_json())  # copies are not validated
    save_bundle(folder, checked, {}, copied=[folder / name for name in files_of(folder)])
    return checked


def _still_true(results: dict[str, Any], changed: Sequence[DefenseName]) -> dict[str, Any]:
    """Test results without those of a changed defense, at the top or one level below, and with their names."""

    def is_stale(key: str) -> bool:
        return any(word in key for defense in changed for word in _TOLD_BY[defense])

    kept: dict[str, Any] = {}
    removed = [str(name) for name in results.get(TUNED, {}).get("removed", ()) if name not in results]
    for key, value in results.items():
        if key == TUNED:
            continue
        if is_stale(key):
            removed.append(key)
        elif isinstance(value, dict):
            kept[key] = {name: figure for name, figure in value.items() if not is_stale(name)}
            removed += [f"{key}.{name}" for name in value if is_stale(name)]
        else:
            kept[key] = value
    if removed:
        why = "measured at thresholds that were changed afterwards: audit the bundle on test clips"
        kept[TUNED] = {"removed": sorted(set(removed)), "why": why}
    return kept
