"""What a study folder holds, read for its report: whatever is finished, and by name what is not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import pandas as pd
from pydantic import BaseModel, ValidationError

from training.corpora.splits import SplitKind
from training.study.configuration import UNDEFENDED, Configuration
from training.study.folder import Failure, NetworkFolder, StudyError, StudyFolder
from training.study.hardened import FindingRecord, HealthRecord, TrainingRecord
from training.study.settings import StudyRecord

SPLITS: tuple[SplitKind, ...] = ("closed", "open")
CLIP_COLUMNS = ("clip", "speaker", "command", "split", "is_attacked")
OUTCOME_COLUMNS = ("clip", "eps", "is_correct", "snr_db")
NEURAL_REJECTION_COLUMNS = ("clip", "score", "seconds")
SMOOTHING_COLUMNS = ("clip", "draws", "score", "seconds")
UNDER_ATTACK_COLUMNS = ("defense", "attack", "eps", "clip", "outcome")
PURIFICATION_COLUMNS = ("purifier", "attack", "eps", "clip", "is_correct")


Record = TypeVar("Record", bound=BaseModel)


@dataclass(frozen=True, eq=False)
class Model:
    """One finished configuration."""

    key: str
    configuration: Configuration
    epochs: int
    """trained, not the one that was kept"""
    parameters: int
    seconds: float
    """of training"""
    outcomes: pd.DataFrame
    """`clip, eps, is_correct, snr_db`: all test clips at eps 0, the attacked ones at every eps"""
    findings: tuple[FindingRecord, ...]
    attack: str
    steps: int

    @property
    def name(self) -> str:
        """The architecture, `-tricks` with it."""
        return self.key.partition("_at")[0]

    @cached_property
    def eps(self) -> tuple[float, ...]:
        """The budgets, ascending, 0 first."""
        return tuple(sorted(float(e) for e in self.outcomes["eps"].unique()))

    @cached_property
    def clean_accuracy(self) -> float:
        """Over all test clips."""
        return float(self.outcomes.loc[self.outcomes["eps"] == 0, "is_correct"].mean())

    @cached_property
    def correct_by_eps(self) -> pd.DataFrame:
        """bool, a row an attacked clip, a column an eps: the clips with an outcome at every budget."""
        wide = self.outcomes.pivot(index="clip", columns="eps", values="is_correct").dropna()
        return wide.astype(bool).sort_index(axis="columns")

    @property
    def findings_in_short(self) -> str:
        """The pitfalls, each once."""
        return ", ".join(dict.fromkeys(finding.pitfall for finding in self.findings))


@dataclass(frozen=True, eq=False)
class SplitEvidence:
    """One split's clips and whatever was measured on them; None where a file is not there (yet)."""

    name: SplitKind
    clips: pd.DataFrame
    """Indexed by clip: `speaker, command, split, is_attacked` and a column an attribute"""
    attributes: tuple[str, ...]
    labels: int
    """Chance is 1 / labels"""
    models: tuple[Model, ...]
    failed: dict[str, str]
    """Configuration -> error"""
    unfinished: tuple[str, ...]
    """Configurations that are neither finished nor failed"""
    neural_rejection: pd.DataFrame | None
    smoothing: pd.DataFrame | None
    under_attack: pd.DataFrame | None
    purification: pd.DataFrame | None
    undefended: Model | None
    """The model without any defense, if it is finished"""

    @property
    def chance(self) -> float:
        return 1 / self.labels

    @property
    def largest_command_share(self) -> float:
        """Of the test clips: what a model that always gives one answer can reach."""
        return float(self.part("test")["command"].value_counts(normalize=True).max())

    @property
    def attacked(self) -> pd.DataFrame:
        """The test clips that were attacked."""
        return self.clips[self.clips["is_attacked"]]

    def part(self, name: str) -> pd.DataFrame:
        """The clips of `train`, `validation` or `test`."""
        return self.clips[self.clips["split"] == name]


@dataclass(frozen=True, eq=False)
class StudyEvidence:
    """A study folder."""

    record: StudyRecord
    splits: tuple[SplitEvidence, ...]
    """Those with clips, `closed` first"""

    @property
    def not_begun(self) -> tuple[SplitKind, ...]:
        """Splits that the study is to have and that have no clips yet."""
        begun = [split.name for split in self.splits]
        return tuple(name for name in self.record.settings.splits if name not in begun)


def read_study(folder: Path) -> StudyEvidence:
    """Read whatever a study folder holds.

    Raises:
        StudyError: no study lies there, none of its splits has clips, or a file is damaged.
    """
    home = StudyFolder(folder)
    if not home.study.is_file():
        raise StudyError(
            f"{folder} holds no {home.study.name}; the folder that `evenvoice study run` was given as --out is accepted"
        )
    record = _read_record(home.study, StudyRecord)
    splits = tuple(_read_split(home, name, record) for name in SPLITS if home.clips(name).is_file())
    if not splits:
        raise StudyError(f"{folder} has no split with clips yet; let `evenvoice study run` go on, then report")
    return StudyEvidence(record, splits)


def _read_split(home: StudyFolder, name: SplitKind, record: StudyRecord) -> SplitEvidence:
    clips = _read_table(home.clips(name), (*CLIP_COLUMNS, *record.attributes))
    models, failed, unfinished = [], {}, []
    for configuration in record.settings.chosen:
        key = configuration.key(record.settings.architecture)
        network = home.network(name, key)
        if network.done.is_file():
            models.append(_read_model(key, configuration, network))
        elif network.failed.is_file():
            failed[key] = _read_record(network.failed, Failure).error
        else:
            unfinished.append(key)
    rejection = home.rejection(name)
    return SplitEvidence(
        name=name,
        clips=clips.set_index("clip"),
        attributes=record.attributes,
        labels=len(record.labels),
        models=tuple(models),
        failed=failed,
        unfinished=tuple(unfinished),
        neural_rejection=_read_optional(rejection / "neural_rejection.parquet", NEURAL_REJECTION_COLUMNS),
        smoothing=_read_optional(rejection / "smoothing.parquet", SMOOTHING_COLUMNS),
        under_attack=_read_optional(rejection / "under_attack.parquet", UNDER_ATTACK_COLUMNS),
        purification=_read_optional(rejection / "purification.parquet", PURIFICATION_COLUMNS),
        undefended=next((model for model in models if model.configuration == UNDEFENDED), None),
    )


def _read_model(key: str, configuration: Configuration, network: NetworkFolder) -> Model:
    training, health = _read_record(network.training, TrainingRecord), _read_record(network.health, HealthRecord)
    model = Model(
        key=key,
        configuration=configuration,
        epochs=len(training.history),
        parameters=training.parameters,
        seconds=training.seconds,
        outcomes=_read_table(network.outcomes, OUTCOME_COLUMNS),
        findings=health.findings,
        attack=health.attack,
        steps=health.steps,
    )
    if len(model.eps) < 2 or model.correct_by_eps.empty:
        raise StudyError(f"{network.outcomes} has no clip that was attacked; remove {network.path} and run again")
    return model


def _read_record(path: Path, kind: type[Record]) -> Record:
    try:
        return kind.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise StudyError(f"{path} is missing or damaged; remove its folder and run the study again: {error}") from error


def _read_optional(path: Path, columns: Sequence[str]) -> pd.DataFrame | None:
    return _read_table(path, columns) if path.is_file() else None


def _read_table(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    try:
        table = pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise StudyError(f"{path} is missing or damaged; remove it and run the study again: {error}") from error
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise StudyError(f"{path} lacks the columns {missing}; {list(columns)} are needed: remove it and run again")
    return table
