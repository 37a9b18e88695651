"""How much of a study is left, and about how long it takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from recognizer.defense import DefenseName
from recognizer.progress import Stage
from training.corpora.splits import SplitKind
from training.study.bench import LOT
from training.study.corpus import SplitCorpus
from training.study.jobs import AttackPurified, AttackRejector, Finished, Harden, Job, ScoreSmoothing
from training.study.settings import StudySettings

_TRAINED, _ADVERSARIAL = 0.0008, 12.0
"""Seconds a clip and epoch, and how many times that with adversarial training."""
_STEP = 0.0002
"""Of an attack, seconds a clip."""
_DRAW, _ATTACKED_DRAW = 0.0005, 0.001
"""Of smoothing, seconds a clip; and of a step of an attack on it."""
_PURIFIED_STEP = {"opus": 0.024, "mp3": 0.006, "vorbis": 0.006}
"""Of an attack through a purifier, seconds a clip; the others:"""
_USUAL_PURIFIED_STEP = 0.0025
_LITTLE = 1.0
"""Seconds of a part that is over soon."""


class Remaining:
    """What is left of a run's jobs, at the pace so far."""

    def __init__(
        self,
        jobs: Sequence[Job],
        *,
        total: int,
        workers: int,
        settings: StudySettings,
        corpora: Mapping[SplitKind, SplitCorpus],
    ) -> None:
        self._left, self._total, self._workers = len(jobs), total, workers
        self._settings = settings
        self._training = {split: int((c.table["split"] == "train").sum()) for split, c in corpora.items()}
        self._expected = sum(self._seconds_of(job) for job in jobs)
        self._spent = self._took = 0.0

    def after(self, finished: Finished) -> Stage:
        """The study's progress once a job more has ended."""
        expected = self._seconds_of(finished.job)
        self._left -= 1
        self._expected -= expected
        self._spent += expected
        self._took += finished.seconds
        seconds = self._took / self._spent * self._expected / self._workers
        note = f"about {_told(seconds)} left" if self._left else ""
        return Stage("the study", self._total - self._left, self._total, note)

    def _seconds_of(self, job: Job) -> float:
        return seconds_of(job, self._settings, training=self._training[job.split])


def seconds_of(job: Job, settings: StudySettings, *, training: int) -> float:
    """About how long a job takes on one core with M5-small; only the ratios matter, for the pace is measured.

    Args:
        training: clips that a network of its split trains on.
    """
    lot, levels = min(LOT, settings.clips), len(settings.eps_grid)
    match job:
        case Harden(configuration=configuration):
            pace = _TRAINED * (_ADVERSARIAL if configuration.adversarial_eps else 1.0)
            return settings.epochs * training * pace + settings.clips * levels * settings.steps * _STEP
        case ScoreSmoothing():
            return lot * max(settings.draws) * _DRAW
        case AttackRejector(defense=DefenseName.SMOOTHING):
            return lot * levels * settings.steps_on_smoothing * settings.eot_draws * _ATTACKED_DRAW
        case AttackRejector():
            return lot * levels * settings.steps * _STEP
        case AttackPurified(purifier=name):
            step = _PURIFIED_STEP.get(name, _USUAL_PURIFIED_STEP)
            return lot * len(settings.purification_eps) * settings.steps_on_purified * step
    return _LITTLE


def _told(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes / 60:.0f} h"
