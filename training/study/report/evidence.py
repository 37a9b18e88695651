"""What a study folder holds, read for its report: whatever is finished, and by name what is not."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from training.corpora.splits import SplitKind
from training.study.configuration import SMOOTHING, UNDEFENDED, Configuration
from training.study.folder import MachineRecord, StudyError, StudyFolder
from training.study.hardened import FindingRecord, HealthRecord, TrainingRecord
from training.study.report.missing import MissingPart, missing_parts
from training.study.report.records import read_optional, read_record, read_table
from training.study.settings import StudyRecord

SPLITS: tuple[SplitKind, ...] = ("closed", "open")
CLIP_COLUMNS = ("clip", "speaker", "command", "split", "is_attacked")
OUTCOME_COLUMNS = ("clip", "eps", "is_correct", "snr_db")
LOUDNESS_COLUMNS = ("clip", "rms")
NEURAL_REJECTION_COLUMNS = ("clip", "score", "is_right", "seconds")
SMOOTHING_COLUMNS = ("clip", "draws", "score", "is_right", "seconds")
UNDER_ATTACK_COLUMNS = ("defense", "attack", "eps", "clip", "outcome")
PURIFICATION_COLUMNS = ("purifier", "attack", "eps", "clip", "is_correct")


@dataclass(frozen=True, eq=False)
class Model:
    """One finished configuration."""

    key: str
    configuration: Configuration
    training_seconds: float
    outcomes: pd.DataFrame
    """`clip, eps, is_correct, snr_db`: all test clips at eps 0, the attacked ones at every eps"""
    findings: tuple[FindingRecord, ...]

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
    missing: tuple[MissingPart, ...]
    loudness: pd.DataFrame | None
    """`clip, rms` of the attacked clips"""
    fitted_on: str | None
    """What neural rejection's machine was fitted on, in words"""
    neural_rejection: pd.DataFrame | None
    smoothing: pd.DataFrame | None
    under_attack: pd.DataFrame | None
    purification: pd.DataFrame | None
    undefended: Model | None
    """The model without any defense, if it is finished: neural rejection and purification sit on it"""
    smoothing_network: Model | None
    """The one that smoothing sits on, if it is finished; none of the models"""

    @property
    def failed(self) -> dict[str, str]:
        """Configuration -> error."""
        return {missing.part: missing.reason for missing in self.missing_configurations if missing.state == "failed"}

    @property
    def unfinished(self) -> tuple[str, ...]:
        """Configurations that are neither finished nor failed."""
        return tuple(missing.part for missing in self.missing_configurations if missing.state == "to come")

    @property
    def missing_configurations(self) -> tuple[MissingPart, ...]:
        return tuple(missing for missing in self.missing if missing.is_configuration)

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
    record = read_record(home.study, StudyRecord)
    splits = tuple(
        _read_split(home, name, record)
        for name in SPLITS
        if name in record.settings.splits and home.clips(name).is_file()
    )
    if not splits:
        raise StudyError(f"{folder} has no split with clips yet; let `evenvoice study run` go on, then report")
    return StudyEvidence(record, splits)


def _read_split(home: StudyFolder, name: SplitKind, record: StudyRecord) -> SplitEvidence:
    clips = read_table(home.clips(name), (*CLIP_COLUMNS, *record.attributes))
    found = [_read_model(home, name, configuration, record) for configuration in record.settings.chosen]
    models = [model for model in found if model is not None]
    rejection = home.rejection(name)
    machine = rejection / "neural_rejection.json"
    return SplitEvidence(
        name=name,
        clips=clips.set_index("clip"),
        attributes=record.attributes,
        labels=len(record.labels),
        models=tuple(models),
        missing=tuple(missing_parts(home, name, record.settings, attacked=int(clips["is_attacked"].sum()))),
        loudness=read_optional(home.loudness(name), LOUDNESS_COLUMNS),
        fitted_on=read_record(machine, MachineRecord).fitted_on if machine.is_file() else None,
        neural_rejection=read_optional(rejection / "neural_rejection.parquet", NEURAL_REJECTION_COLUMNS),
        smoothing=read_optional(rejection / "smoothing.parquet", SMOOTHING_COLUMNS),
        under_attack=read_optional(rejection / "under_attack.parquet", UNDER_ATTACK_COLUMNS),
        purification=read_optional(rejection / "purification.parquet", PURIFICATION_COLUMNS),
        undefended=next((model for model in models if model.configuration == UNDEFENDED), None),
        smoothing_network=_read_model(home, name, SMOOTHING, record),
    )


def _read_model(home: StudyFolder, split: SplitKind, configuration: Configuration, record: StudyRecord) -> Model | None:
    key = configuration.key(record.settings.architecture)
    network = home.network(split, key)
    if not network.done.is_file():
        return None
    training, health = read_record(network.training, TrainingRecord), read_record(network.health, HealthRecord)
    model = Model(
        key=key,
        configuration=configuration,
        training_seconds=training.seconds,
        outcomes=read_table(network.outcomes, OUTCOME_COLUMNS),
        findings=health.findings,
    )
    if len(model.eps) < 2 or model.correct_by_eps.empty:
        raise StudyError(f"{network.outcomes} has no clip that was attacked; remove {network.path} and run again")
    return model
