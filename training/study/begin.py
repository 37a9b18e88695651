"""The beginning of a run: a new study's corpus is looked through and split, an old one's is found again."""

from __future__ import annotations

import logging

import pandas as pd
from pydantic import ValidationError

from recognizer.audio import AudioFormat
from recognizer.manifest import Manifest
from recognizer.progress import OnProgress, silent
from training.corpora.splits import SplitKind
from training.study.corpus import SplitCorpus, only_in_test, split_corpus, usable_clips
from training.study.folder import StudyError, StudyFolder, is_left_of, write_parquet, write_record
from training.study.settings import StudyRecord, StudySettings, Versions

logger = logging.getLogger(__name__)

SPLIT_KINDS: tuple[SplitKind, ...] = ("closed", "open")
Corpora = dict[SplitKind, SplitCorpus]


def begin(
    manifest: Manifest, folder: StudyFolder, settings: StudySettings, *, source: str, on_progress: OnProgress = silent
) -> tuple[StudyRecord, Corpora]:
    """What the folder's study is about: of a new one, written there.

    Raises:
        ManifestError: a corpus that can't be studied.
        StudyError: the folder's study has other settings or another corpus, or the folder holds something else.
    """
    fingerprint = manifest.fingerprint()
    if folder.study.exists():
        folder.tidy()
        record = _read(folder)
        _refuse_others(record, settings, fingerprint, folder)
        corpora = {
            split: SplitCorpus.of(split, pd.read_parquet(folder.clips(split)), manifest) for split in settings.splits
        }
        return record, corpora
    if strange := _strange(folder):
        raise StudyError(
            f"{folder.path} holds something else ({', '.join(strange[:3])}); give a new folder, or a study's"
        )
    folder.tidy()
    usable, notes = usable_clips(manifest, AudioFormat(), on_progress=on_progress)
    corpora = {split: split_corpus(usable, split, settings) for split in settings.splits}
    notes += [note for corpus in corpora.values() for note in only_in_test(corpus)]
    for note in notes:
        logger.warning(note)
    record = StudyRecord(
        settings=settings,
        source=source,
        manifest=fingerprint,
        labels=usable.commands,
        attributes=manifest.attributes,
        notes=tuple(notes),
        versions=Versions.installed(),
    )
    for split, corpus in corpora.items():
        write_parquet(folder.clips(split), corpus.table)
    write_record(folder.study, record)
    return record, corpora


def go_on(record: StudyRecord, folder: StudyFolder) -> None:
    """Warn where a study is gone on with under other versions than the last, and put them on record.

    Raises:
        StudyError: the record can't be written.
    """
    last, now = (record.versions, *record.gone_on_with)[-1], Versions.installed()
    if now == last:
        return
    differ = [
        f"{name} was {before} and is now {after}"
        for (name, before), (_, after) in zip(last, now, strict=True)
        if before != after
    ]
    logger.warning(
        "the study in %s is gone on with under other versions: %s; its numbers may differ from what the old ones "
        "would give",
        folder.path,
        "; ".join(differ),
    )
    write_record(folder.study, record.model_copy(update={"gone_on_with": (*record.gone_on_with, now)}))


def _strange(folder: StudyFolder) -> list[str]:
    """What a beginning that was killed before `study.json` was written can't have left: anything but clips."""
    path = folder.path
    clips = {folder.clips(split) for split in SPLIT_KINDS}
    ours = {path / ".lock", folder.study, *clips}
    parents = {file.parent for file in clips}
    found = [
        inner
        for outer in path.iterdir()
        for inner in (outer.iterdir() if outer in parents and outer.is_dir() else (outer,))
    ]
    return sorted(str(file.relative_to(path)) for file in found if file not in ours and not is_left_of(file, ours))


def _read(folder: StudyFolder) -> StudyRecord:
    try:
        return StudyRecord.model_validate_json(folder.study.read_bytes())
    except ValidationError as error:
        raise StudyError(f"{folder.study} is damaged or of another version; give a new folder: {error}") from error


def _refuse_others(record: StudyRecord, settings: StudySettings, fingerprint: str, folder: StudyFolder) -> None:
    began, now = record.settings.model_dump(), settings.model_dump()
    differ = [f"{name} was {began[name]} and is now {now[name]}" for name in began if began[name] != now[name]]
    if differ:
        raise StudyError(
            f"the study in {folder.path} was begun with other settings: {'; '.join(differ)}. "
            "Give those again to go on with it, or another folder"
        )
    if record.manifest != fingerprint:
        raise StudyError(
            f"the study in {folder.path} was begun on another corpus: {record.source} had other clips, columns or "
            "attributes then. Give that one again to go on with it, or another folder"
        )
