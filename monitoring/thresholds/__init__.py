"""Thresholds: what every setting of a bundle's rejection defenses would do, measured once on validation clips."""

from monitoring.thresholds.candidates import Candidates, candidates_of
from monitoring.thresholds.clips import TunedOnTest, TuningClips, load_tuning_clips
from monitoring.thresholds.grid import ThresholdGrid
from monitoring.thresholds.report import GapOfSetting, SettingResult, ThresholdReport, UnderAttack
from monitoring.thresholds.sweep import sweep_thresholds

__all__ = [
    "Candidates",
    "GapOfSetting",
    "SettingResult",
    "ThresholdGrid",
    "ThresholdReport",
    "TunedOnTest",
    "TuningClips",
    "UnderAttack",
    "candidates_of",
    "load_tuning_clips",
    "sweep_thresholds",
]
