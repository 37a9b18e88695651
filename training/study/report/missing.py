"""What a split lacks: the parts of a study that are still to come, or that failed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from training.corpora.splits import SplitKind
from training.study.folder import Failure, StudyFolder
from training.study.jobs import Job, first_jobs, pieces
from training.study.report.records import read_record
from training.study.settings import StudySettings


@dataclass(frozen=True)
class MissingPart:
    """A part of the study without a result."""

    part: str
    state: Literal["failed", "to come"]
    reason: str
    """Why it failed"""
    is_configuration: bool
    """Whether it is a network of the 40"""


def missing_parts(
    home: StudyFolder, split: SplitKind, settings: StudySettings, *, attacked: int
) -> Iterator[MissingPart]:
    """Those of a split, in the order in which they are run.

    Args:
        attacked: clips that are attacked.

    Raises:
        StudyError: a reason that can't be read.
    """
    configurations = {configuration.key(settings.architecture) for configuration in settings.chosen}
    jobs: list[Job] = [*first_jobs(split, settings), *pieces(split, settings, attacked=attacked)]
    for job in jobs:
        if job.result(home).is_file():
            continue
        failure = job.failure(home)
        is_configuration = job.stem in configurations
        if failure.is_file():
            yield MissingPart(job.stem, "failed", read_record(failure, Failure).error, is_configuration)
        else:
            yield MissingPart(job.stem, "to come", "", is_configuration)
