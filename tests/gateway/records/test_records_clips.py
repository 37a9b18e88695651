"""Kept clips: only where there is a folder for them, for the owner's eyes, and gone with what they belong to."""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from databases import ACCEPTED, Database, claim_of, entry_of, late, put, soon, store

from gateway.records import AnsweredBefore, Records, RecordsError, Stored
from gateway.records.clips import ClipFolder
from gateway.settings import Sync

CLIPS = {"wav": b"RIFF\x00\x01", "flac": b"fLaC\x00\x01", "pcm": b"\x00\x01\x02\x03\x04"}


@pytest.fixture
def audio(tmp_path: Path) -> Path:
    return tmp_path / "audio"


@pytest.mark.parametrize("sync", list(Sync))
@pytest.mark.parametrize("kind", list(CLIPS))
def test_a_clip_is_kept_as_it_came_and_nobody_else_may_read_it(
    open_records: Callable[..., Records], database: Database, audio: Path, kind: str, sync: Sync
) -> None:
    records = open_records(audio=audio, sync=sync)
    entry = entry_of(clip=CLIPS[kind], media_type="audio/anything;rate=16000")
    assert put(records, entry) == Stored(ACCEPTED)
    path = audio / f"{entry.request_id}.{kind}"
    assert path.read_bytes() == CLIPS[kind]
    assert list(audio.iterdir()) == [path]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(audio.stat().st_mode) == 0o700
    assert database.rows()[0]["clip_type"] == "audio/anything;rate=16000"


def test_a_clip_whose_decision_is_not_stored_is_not_kept(open_records: Callable[..., Records], audio: Path) -> None:
    records = open_records(audio=audio)
    there = store(records)
    put(records, entry_of(), claim_of("key"))
    with pytest.raises(RecordsError):
        put(records, entry_of(request_id=there, clip=CLIPS["wav"]))
    assert isinstance(put(records, entry_of(clip=CLIPS["wav"]), claim_of("key")), AnsweredBefore)
    assert list(audio.iterdir()) == []


def test_a_clip_that_cannot_be_removed_keeps_nobody_waiting(
    open_records: Callable[..., Records], database: Database, audio: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    records = open_records(audio=audio)
    monkeypatch.setattr(Path, "unlink", read_only)
    with database.locked():
        failed = records.add(entry_of(clip=CLIPS["wav"]), until=soon(), late=late)
        assert isinstance(failed.exception(timeout=30), RecordsError)
    assert len(list(audio.iterdir())) == 1  # it was kept, and could not be removed
    put(records, entry_of(), claim_of("key"))
    again = put(records, entry_of(clip=CLIPS["wav"]), claim_of("key"))
    assert isinstance(again, AnsweredBefore)
    assert put(records, entry_of()) == Stored(ACCEPTED)
    monkeypatch.undo()


def test_a_clip_that_cannot_be_kept_fails_its_decision_alone(
    open_records: Callable[..., Records], database: Database, audio: Path
) -> None:
    records = open_records(audio=audio)
    with database.locked():
        first = records.add(entry_of(), until=soon(), late=late)
        bad = records.add(entry_of(request_id="../escaped", clip=CLIPS["wav"]), until=soon(), late=late)
        good = records.add(entry_of(clip=CLIPS["wav"]), until=soon(), late=late)
    assert isinstance(bad.exception(timeout=30), RecordsError)
    assert first.result(timeout=30) == good.result(timeout=30) == Stored(ACCEPTED)
    assert len(list(audio.iterdir())) == 1
    assert not (audio.parent / "escaped.wav").exists()


def test_a_folder_that_cannot_be_made_is_named(open_records: Callable[..., Records], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RecordsError, match=r"file/audio can't be made: Not a directory"):
        open_records(audio=tmp_path / "file" / "audio")


def test_old_clips_are_removed_by_when_they_were_written(audio: Path) -> None:
    clips = ClipFolder(audio)
    clips.keep("old", CLIPS["wav"])
    clips.keep("new", CLIPS["flac"])
    (audio / "README").write_text("not ours")
    yesterday = time.time() - 86_400
    for name in ("old.wav", "README"):
        os.utime(audio / name, (yesterday, yesterday))
    assert clips.remove_older(datetime.now(UTC) - timedelta(hours=1)) == 1
    assert {path.name for path in audio.iterdir()} == {"new.flac", "README"}
