"""What a study is run with, and what `study.json` remembers of it."""

from __future__ import annotations

import platform
from importlib.metadata import version
from typing import Literal, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from recognizer.attacks import EPS_GRID
from recognizer.purification import PURIFIERS
from training.corpora.splits import SplitKind
from training.recipe import RecipeName
from training.study.configuration import Configuration, StudyArchitecture, choose_configurations

AttackPreset = Literal["nested", "paper"]
ATTACKS: tuple[AttackPreset, ...] = ("nested", "paper")
MOST_VERDICT_DRAWS = 1000


class StudySettings(BaseModel):
    """Everything that decides a study's numbers, but for its corpus."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    splits: tuple[SplitKind, ...] = ("closed", "open")
    architecture: StudyArchitecture = "m5-small"
    recipe: RecipeName = "paper"
    epochs: int = Field(default=1000, ge=1)
    configurations: tuple[str, ...] = ("*",)
    """Keys, or patterns of keys, of the 40; the undefended network is always among them."""
    clips: int = Field(default=128, ge=1)
    """Test clips that are attacked and smoothed, at most; accuracy and neural rejection are measured on all of them."""
    training_clips: int | None = Field(default=None, ge=10)
    """Training clips, at most, and a seventh as many validation clips; None = all."""
    attack: AttackPreset = "nested"
    eps_grid: tuple[float, ...] = EPS_GRID
    steps: int = Field(default=100, ge=1)
    """Of PGD, at each eps."""
    eot_draws: int = Field(default=16, ge=2)
    """Noisy copies of a clip that each step of an attack on RS looks at."""
    smoothing_steps: int = Field(default=40, ge=1)
    """Of an attack on RS, at each eps, at most: one costs `eot_draws` ordinary steps."""
    draws: tuple[int, ...] = (10, 100, 1000, 10_000)
    """N of RS on clean clips: prefixes of one stream of draws a clip."""
    error_alpha: float = Field(default=0.001, gt=0, le=1)
    """RS, on attacked clips."""
    confidence_threshold: float = Field(default=0.5, ge=0, le=1)
    """NR, on attacked clips."""
    purifiers: tuple[str, ...] = tuple(PURIFIERS)
    purification_eps: tuple[float, ...] = (0.001, 0.01, 0.1)
    purification_steps: int = Field(default=40, ge=1)
    """Of an attack on a purified network, at each eps, at most: a codec takes longer than the network."""
    seed: int = Field(default=0, ge=0)

    @field_validator("splits", "configurations", "draws")
    @classmethod
    def _each_once(cls, values: tuple[str | int, ...]) -> tuple[str | int, ...]:
        if not values or len(set(values)) < len(values):
            raise ValueError(f"{values} is empty or names one twice")
        return values

    @field_validator("draws")
    @classmethod
    def _growing(cls, draws: tuple[int, ...]) -> tuple[int, ...]:
        if min(draws) < 1:
            raise ValueError(f"{min(draws)} draws decide nothing; at least 1 is needed")
        return tuple(sorted(draws))

    @field_validator("purifiers")
    @classmethod
    def _known_purifiers(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if strange := sorted(set(names) - set(PURIFIERS)):
            raise ValueError(f"{', '.join(strange)} is no purifier; there are {', '.join(PURIFIERS)}")
        return names

    @model_validator(mode="after")
    def _known_configurations(self) -> Self:
        choose_configurations(self.configurations, self.architecture)
        return self

    @property
    def chosen(self) -> tuple[Configuration, ...]:
        """The configurations of the 40 that are run."""
        return choose_configurations(self.configurations, self.architecture)

    @property
    def verdict_draws(self) -> int:
        """N of RS on attacked clips: the largest of `draws` that is at most 1000 and can decide at all, else 1000."""
        able = [n for n in self.draws if n <= MOST_VERDICT_DRAWS and 2.0 ** (1 - n) <= self.error_alpha]
        return max(able, default=MOST_VERDICT_DRAWS)

    @property
    def steps_on_smoothing(self) -> int:
        """Of an attack on RS, at each eps."""
        return min(self.steps, self.smoothing_steps)

    @property
    def steps_on_purified(self) -> int:
        """Of an attack on a purified network, at each eps."""
        return min(self.steps, self.purification_steps)


class Versions(BaseModel):
    """What a study was begun, or gone on, with."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    evenvoice: str
    python: str
    torch: str

    @classmethod
    def installed(cls) -> Self:
        return cls(evenvoice=version("evenvoice"), python=platform.python_version(), torch=torch.__version__)


class StudyRecord(BaseModel):
    """`study.json`: written once the corpus has been looked through and split, before anything is trained.

    Only `gone_on_with` grows later.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    settings: StudySettings
    source: str
    """The manifest's file name."""
    manifest: str
    """Its fingerprint."""
    labels: tuple[str, ...]
    attributes: tuple[str, ...]
    notes: tuple[str, ...] = ()
    """What a reader of the results must know of the corpus: clips left out, groups that are only in test."""
    versions: Versions
    gone_on_with: tuple[Versions, ...] = ()
    """Other ones that a later run came with, in order: its numbers may differ from what those before would give."""
