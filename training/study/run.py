"""`run_study`: everything of a study that is not there yet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from recognizer.audio import AudioFormat
from recognizer.cluster import Cluster
from recognizer.manifest import Manifest
from recognizer.progress import OnProgress, Stage, silent
from training.study.begin import begin, go_on
from training.study.bench import Plan
from training.study.folder import StudyFolder
from training.study.jobs import Finished, Job, Piece, first_jobs, join, pieces
from training.study.nodes import at_work_on
from training.study.remaining import Remaining
from training.study.settings import StudySettings
from training.study.workers import at_work


@dataclass(frozen=True)
class StudyOutcome:
    """What a run leaves behind."""

    done: int
    """Jobs with a result, those of earlier runs too."""
    failed: dict[str, str]
    """Job -> why it has none; the next run tries them again."""


def run_study(
    manifest: Manifest,
    folder: Path,
    settings: StudySettings,
    *,
    source: str,
    workers: int = 1,
    cluster: Cluster | None = None,
    device: str = "cpu",
    on_progress: OnProgress = silent,
    on_finished: Callable[[Finished, Stage], None] = lambda *_: None,
) -> StudyOutcome:
    """Run a study, or what is left of it: a kill loses no more than an epoch of training or a lot of clips.

    Args:
        manifest: the corpus; its own split is ignored.
        folder: where the results are, or will be.
        source: the manifest's name, for the record.
        workers: processes; where there are several, each computes in one thread. The results are the same but for the
            rounding of sums over another number of threads.
        cluster: whose nodes do the jobs in the place of processes, one thread each; they share `folder` and the clips.
        device: where networks are trained and attacked.
        on_finished: told of each job as it ends, and how far the study is then.

    Raises:
        ManifestError: a corpus that can't be studied; nothing is written then.
        StudyError: another run or other settings in the folder, or a file that can't be read or written.
        CheckpointError: see `Checkpoint`.
        ClusterError: the cluster can't go on; what is finished stays.
    """
    where = StudyFolder(folder)
    with where.locked():
        record, corpora = begin(manifest, where, settings, source=source, on_progress=on_progress)
        plan = Plan(where, settings, corpora, record.labels, AudioFormat(), device)
        rejection = {split: pieces(split, settings, attacked=len(corpora[split].attacked)) for split in settings.splits}
        first = {split: first_jobs(split, settings) for split in settings.splits}
        everything: list[Job] = [job for split in settings.splits for job in (*first[split], *rejection[split])]
        left = [job for job in everything if not job.result(where).exists()]
        if left:
            go_on(record, where)
        at_once = workers if cluster is None else cluster.workers
        remaining = Remaining(left, total=len(everything), workers=at_once, settings=settings, corpora=corpora)
        failed = {}
        crew = at_work(plan, workers, on_progress=on_progress) if cluster is None else at_work_on(cluster, plan)
        with crew as finish_all:
            for split in settings.splits:
                for jobs in (first[split], rejection[split]):  # these sit on those
                    for finished in finish_all([job for job in jobs if not job.result(where).exists()]):
                        if finished.error:
                            failed[finished.job.name] = finished.error
                        stage = remaining.after(finished)
                        on_finished(finished, stage)
                        on_progress(stage)
                        _join_whole(finished.job, rejection[split], where)
                join(split, rejection[split], where)
        return StudyOutcome(sum(job.result(where).exists() for job in everything), failed)


def _join_whole(job: Job, parts: Sequence[Piece], folder: StudyFolder) -> None:
    """Write the table that a piece was the last of, for a report that does not wait for the split's end."""
    if isinstance(job, Piece):
        own = [part for part in parts if part.table == job.table]
        if all(part.result(folder).exists() for part in own):
            join(job.split, own, folder)
