"""A folder of recordings: the clips, `manifest.csv`, which an audit takes, and `recordings.json`: who agreed to it."""

from __future__ import annotations

import io
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import soundfile
from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from gateway.microphone.recording.checking import Quality
from gateway.microphone.recording.prompts import Task
from gateway.microphone.recording.taking import Take
from gateway.speakers import ID_PATTERN
from recognizer.groups import UNDECLARED, declared_group
from recognizer.lock import locked
from recognizer.manifest import COLUMNS, SOUND, read_table, write_table

MANIFEST_FILE, SIDECAR_FILE, AUDIO = "manifest.csv", "recordings.json", "audio"
_PRIVATE, _PRIVATE_FILE = 0o700, 0o600  # voices, and what people declared


class RecordingError(ValueError):
    """Recordings that can't be added to; the message says why."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Consent(_Record):
    """What was agreed to, word for word."""

    text: str
    agreed_at: datetime


class TakeRecord(_Record):
    """How a clip was recorded."""

    recorded_at: datetime
    source: str
    """The microphone's name."""
    sample_rate: int
    """Hertz"""
    quality: Quality
    """With problems where it was kept in spite of them."""


class Person(_Record):
    """One speaker."""

    consent: Consent
    agreed_before: tuple[Consent, ...] = ()
    """To other words, when earlier clips were recorded."""
    declared: dict[str, str]
    """Attribute -> group; what is not there is undeclared."""
    takes: dict[str, TakeRecord] = {}
    """By the clip's path in the manifest."""


class _Sidecar(_Record):
    speakers: dict[Annotated[str, StringConstraints(pattern=f"^{ID_PATTERN}$")], Person] = {}


class RecordingFolder:
    """Everything is on disk when a call returns; a run that is killed loses no take that was kept."""

    def __init__(self, folder: Path) -> None:
        """
        Raises:
            RecordingError: the folder holds a manifest that was not recorded here, or a damaged one.
            ManifestError: the table can't be read.
        """
        self.folder = folder
        manifest, sidecar = folder / MANIFEST_FILE, folder / SIDECAR_FILE
        if manifest.exists() and not sidecar.exists():
            raise RecordingError(f"{manifest} was not recorded by this command; give another folder, and merge later")
        try:
            told = sidecar.read_text(encoding="utf-8") if sidecar.exists() else "{}"
            self._people = dict(_Sidecar.model_validate_json(told).speakers)
        except (ValidationError, UnicodeDecodeError) as error:
            why = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
            raise RecordingError(f"{sidecar} is damaged: {why}") from None
        self._table = read_table(manifest) if manifest.exists() else pd.DataFrame(columns=[*COLUMNS, SOUND], dtype=str)
        if missing := [column for column in (*COLUMNS, SOUND) if column not in self._table]:
            raise RecordingError(f"{manifest} is damaged: it has no column {', '.join(missing)}")

    def person(self, speaker: str) -> Person | None:
        """Whoever was here before."""
        return self._people.get(speaker)

    def groups(self, attribute: str) -> list[str]:
        """What others declared, so that the same is called the same."""
        return sorted({person.declared[attribute] for person in self._people.values() if attribute in person.declared})

    def enrol(self, speaker: str, consent: Consent, declared: Mapping[str, str]) -> None:
        """Note who agreed; a speaker who was here before must declare the same.

        Raises:
            RecordingError: no id, or one that is here with other attributes.
        """
        check_id(speaker)
        found = groups_of(declared)
        before = self.person(speaker)
        if before is not None and before.declared != found:
            raise RecordingError(
                f"{speaker} is here already and declared {_told(before.declared)}, now {_told(found)}; "
                "take another id for another person"
            )
        if before is None:
            person = Person(consent=consent, declared=found)
        elif before.consent == consent:
            person = before
        else:
            agreed_before = (*before.agreed_before, before.consent)
            person = before.model_copy(update={"consent": consent, "agreed_before": agreed_before})
        self._people[speaker] = person
        for attribute in found:
            if attribute not in self._table:
                self._table[attribute] = ""
        self._write()

    def has(self, speaker: str, task: Task) -> bool:
        """Whether this take is kept already."""
        return _path(speaker, task) in set(self._table["path"])

    def keep(self, speaker: str, task: Task, take: Take, quality: Quality, *, split: str, source: str) -> Path:
        """Write a take of an enrolled speaker; one that is there already is replaced.

        Returns:
            The clip.
        """
        person = self._people[speaker]
        path = _path(speaker, task)
        file = io.BytesIO()
        samples = np.rint(32768 * take.waveform).clip(-32768, 32767).astype(np.int16)
        soundfile.write(file, samples, take.sample_rate, format="WAV", subtype="PCM_16")
        for made in ((self.folder / path).parent.parent, (self.folder / path).parent):
            made.mkdir(mode=_PRIVATE, exist_ok=True)
        _replace(self.folder / path, file.getvalue())
        row = dict.fromkeys(self._table.columns, "") | person.declared
        row |= {"path": path, "command": task.prompt.command, "speaker": speaker, "split": split}
        row |= {SOUND: task.prompt.sound}
        others = self._table[self._table["path"] != path]
        self._table = pd.concat([others, pd.DataFrame([row])], ignore_index=True)
        record = TakeRecord(recorded_at=datetime.now(UTC), source=source, sample_rate=take.sample_rate, quality=quality)
        self._people[speaker] = person.model_copy(update={"takes": {**person.takes, path: record}})
        self._write()
        return self.folder / path

    def erase(self, speaker: str) -> int:
        """Everything of a speaker.

        Returns:
            How many clips there were.

        Raises:
            RecordingError: nobody has this id.
            OSError: a clip can't be erased; the speaker is still here.
        """
        check_id(speaker)
        if speaker not in self._people:
            raise RecordingError(f"nobody with the id {speaker} was recorded in {self.folder}")
        of_speaker = self._table["speaker"] == speaker
        if (clips := self.folder / AUDIO / speaker).exists():
            shutil.rmtree(clips)  # before the rows: what can't be erased stays listed, and is tried again
        self._table = self._table[~of_speaker].reset_index(drop=True)
        del self._people[speaker]
        self._write()
        return int(of_speaker.sum())

    def _write(self) -> None:
        """The sidecar before the manifest: no clip is ever listed that nobody agreed to."""
        told = _Sidecar(speakers=self._people).model_dump_json(indent=2)
        _replace(self.folder / SIDECAR_FILE, told.encode() + b"\n")
        new = self.folder / f".new-{MANIFEST_FILE}"
        os.close(os.open(new, os.O_WRONLY | os.O_CREAT, _PRIVATE_FILE))
        write_table(self._table, new)
        new.replace(self.folder / MANIFEST_FILE)


@contextmanager
def opened(folder: Path) -> Iterator[RecordingFolder]:
    """The folder, made where there is none, for this run alone.

    Raises:
        RecordingError: another run is at work in it, or it can't be used; see `RecordingFolder`.
    """
    if not folder.exists():
        folder.mkdir(mode=_PRIVATE, parents=True)
    with locked(folder, error=RecordingError):
        yield RecordingFolder(folder)


def check_id(speaker: str) -> None:
    """
    Raises:
        RecordingError: it can't be a speaker's id here, where it also names a folder.
    """
    if not re.fullmatch(ID_PATTERN, speaker) or not speaker.strip("."):
        raise RecordingError(
            f"{speaker!r} is no id; at most 64 letters, digits, dots, hyphens and underscores are accepted"
        )


def groups_of(declared: Mapping[str, str]) -> dict[str, str]:
    """Attribute -> group, without those that declare nothing."""
    found = {attribute: declared_group(attribute, value) for attribute, value in declared.items()}
    return {attribute: group for attribute, group in found.items() if group != UNDECLARED}


def _path(speaker: str, task: Task) -> str:
    return f"{AUDIO}/{speaker}/{task.file_name}"


def _told(declared: Mapping[str, str]) -> str:
    return ", ".join(f"{attribute} {group}" for attribute, group in sorted(declared.items())) or "nothing"


def _replace(path: Path, data: bytes) -> None:
    new = path.with_name(f".new-{path.name}")
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _PRIVATE_FILE), "wb") as file:
        file.write(data)
    new.replace(path)
