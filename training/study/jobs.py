"""The parts that a study is made of, each done once and found again by its file."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import pandas as pd

from recognizer.defense import DefenseName, NetworkError
from recognizer.purification import purifier
from training.corpora.splits import SplitKind
from training.hardening import TrainingError
from training.rejection import RejectionError
from training.study.bench import LOT, Bench, MissingNetworkError
from training.study.configuration import SMOOTHING, UNDEFENDED, Configuration
from training.study.folder import Failure, StudyFolder, write_parquet, write_record
from training.study.hardened import harden
from training.study.purification import attack_purified
from training.study.rejection import (
    REJECTION_ATTACKS,
    RejectionAttack,
    attack_rejector,
    score_neural_rejection,
    score_smoothing,
)
from training.study.settings import StudySettings

Table = Literal["neural_rejection", "smoothing", "under_attack", "purification"]
REJECTORS = (DefenseName.NEURAL_REJECTION, DefenseName.SMOOTHING)


@dataclass(frozen=True)
class Job(ABC):
    """A part of the study."""

    split: SplitKind

    @property
    @abstractmethod
    def stem(self) -> str:
        """What it is called among its split's jobs."""

    @property
    def name(self) -> str:
        return f"{self.split} {self.stem}"

    @abstractmethod
    def result(self, folder: StudyFolder) -> Path:
        """The file that is there once it is done."""

    @abstractmethod
    def failure(self, folder: StudyFolder) -> Path:
        """The file that says why it has no result."""

    @abstractmethod
    def do(self, bench: Bench) -> str:
        """Do it, and write its files; returns what a reader of the log wants to know."""


@dataclass(frozen=True)
class Harden(Job):
    """One network, from training to `done.json`."""

    configuration: Configuration
    key: str

    @property
    def stem(self) -> str:
        return self.key

    def result(self, folder: StudyFolder) -> Path:
        return folder.network(self.split, self.key).done

    def failure(self, folder: StudyFolder) -> Path:
        return folder.network(self.split, self.key).failed

    def do(self, bench: Bench) -> str:
        accuracy = harden(
            self.configuration,
            bench.clips(self.split),
            bench.folder.network(self.split, self.key),
            bench.settings,
            split=self.split,
            device=bench.device,
            on_progress=bench.on_progress,
        )
        return f"{accuracy:.3f} of clean clips right"


@dataclass(frozen=True)
class MeasureLoudness(Job):
    """How loud the attacked clips are: `clip, rms` (raw amplitude, over all that a network hears)."""

    stem = "loudness"

    def result(self, folder: StudyFolder) -> Path:
        return folder.loudness(self.split)

    def failure(self, folder: StudyFolder) -> Path:
        return self.result(folder).with_suffix(".failed.json")

    def do(self, bench: Bench) -> str:
        clips = bench.attacked(self.split)
        rms = clips.waveforms.square().mean(dim=1).sqrt()
        write_parquet(self.result(bench.folder), pd.DataFrame({"clip": clips.manifest.clip_ids, "rms": rms.numpy()}))
        return f"{len(clips)} clips"


@dataclass(frozen=True)
class Piece(Job):
    """Rows of one table of `rejection/`."""

    table: ClassVar[Table]

    def result(self, folder: StudyFolder) -> Path:
        return folder.rejection(self.split) / "pieces" / f"{self.stem}.parquet"

    def failure(self, folder: StudyFolder) -> Path:
        return self.result(folder).with_suffix(".failed.json")

    def do(self, bench: Bench) -> str:
        rows = self.measure(bench)
        write_parquet(self.result(bench.folder), rows)
        self.failure(bench.folder).unlink(missing_ok=True)
        return f"{rows['clip'].nunique()} clips"

    @abstractmethod
    def measure(self, bench: Bench) -> pd.DataFrame:
        """The rows."""


@dataclass(frozen=True)
class ScoreNeuralRejection(Piece):
    """Neural rejection on all clean test clips."""

    table = "neural_rejection"
    stem = "neural_rejection"

    def measure(self, bench: Bench) -> pd.DataFrame:
        return score_neural_rejection(bench.neural_rejection(self.split), bench.clips(self.split).test)


@dataclass(frozen=True)
class ScoreSmoothing(Piece):
    """Smoothing on a lot of clean clips."""

    table = "smoothing"
    lot: int

    @property
    def stem(self) -> str:
        return f"smoothing-{self.lot:04}"

    def measure(self, bench: Bench) -> pd.DataFrame:
        clips = bench.attacked(self.split, self.lot)
        return score_smoothing(bench.smoothing(self.split), clips, bench.settings, on_progress=bench.on_progress)


@dataclass(frozen=True)
class AttackRejector(Piece):
    """A rejector under attack, on a lot of clips."""

    table = "under_attack"
    defense: DefenseName
    attack: RejectionAttack
    lot: int

    @property
    def stem(self) -> str:
        return f"{self.defense.value}-{self.attack}-{self.lot:04}"

    def measure(self, bench: Bench) -> pd.DataFrame:
        return attack_rejector(
            bench.rejector(self.split, self.defense),
            self.attack,
            bench.attacked(self.split, self.lot),
            bench.settings,
            on_progress=bench.on_progress,
        )


@dataclass(frozen=True)
class AttackPurified(Piece):
    """The undefended network behind a purifier, under attack, on a lot of clips."""

    table = "purification"
    purifier: str
    lot: int

    @property
    def stem(self) -> str:
        return f"purification-{self.purifier}-{self.lot:04}"

    def measure(self, bench: Bench) -> pd.DataFrame:
        return attack_purified(
            bench.network(self.split, UNDEFENDED),
            purifier(self.purifier),
            bench.attacked(self.split, self.lot),
            bench.settings,
            on_progress=bench.on_progress,
        )


@dataclass(frozen=True)
class Finished:
    """How a job ended."""

    job: Job
    seconds: float
    note: str = ""
    error: str = ""
    """Why it has no result; empty where it has."""


def finish(job: Job, bench: Bench) -> Finished:
    """Do a job; one that gives no result says so in its file, and is tried again by the next run.

    Raises:
        CheckpointError, StudyError: a file that can't be read or written, so that no other job could go on.
    """
    started = time.perf_counter()
    note = error = ""
    try:
        note = job.do(bench)
    except (TrainingError, NetworkError, RejectionError, MissingNetworkError) as reason:
        error = str(reason)
        write_record(job.failure(bench.folder), Failure(error=error))
    return Finished(job, time.perf_counter() - started, note, error)


def first_jobs(split: SplitKind, settings: StudySettings) -> list[Job]:
    """What the pieces wait for: the chosen configurations, and the network that smoothing sits on; and the loudness."""
    networks = [Harden(split, c, c.key(settings.architecture)) for c in (*settings.chosen, SMOOTHING)]
    return [MeasureLoudness(split), *networks]


def pieces(split: SplitKind, settings: StudySettings, *, attacked: int) -> list[Piece]:
    """Everything that `rejection/` is made of, for so many attacked clips; the rows of a table in its order."""
    lots = range(-(-attacked // LOT))
    return [
        ScoreNeuralRejection(split),
        *(ScoreSmoothing(split, lot) for lot in lots),
        *(AttackRejector(split, d, attack, lot) for d in REJECTORS for attack in REJECTION_ATTACKS for lot in lots),
        *(AttackPurified(split, name, lot) for name in settings.purifiers for lot in lots),
    ]


def join(split: SplitKind, parts: Sequence[Piece], folder: StudyFolder) -> None:
    """Write the tables of `rejection/` that `parts` are of, from those that are there; one without any is left out.

    Raises:
        StudyError: it can't be written.
    """
    for table in dict.fromkeys(part.table for part in parts):
        files = [file for part in parts if part.table == table and (file := part.result(folder)).exists()]
        if files:
            rows = pd.concat([pd.read_parquet(file) for file in files], ignore_index=True)
            write_parquet(folder.rejection(split) / f"{table}.parquet", rows)
