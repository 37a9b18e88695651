"""The register of speakers: an opaque id on the wire, its groups on the server.

What a speaker declared is kept as it was declared; which group that is, the bundle's closed vocabulary says. Free text
never becomes a label: a value outside the vocabulary is `other`.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from recognizer.groups import UNDECLARED, Vocabulary, clean_value, group_in

Groups = Mapping[str, str]
"""Attribute -> group."""

Declared = Mapping[str, str]
"""Attribute -> what was declared, trimmed and lower-cased; an attribute that is not there is undeclared."""

LONGEST_VALUE = 64
"""Characters of one declared value."""

ID_PATTERN = r"[A-Za-z0-9._-]{1,64}"
"""A speaker's id; whose it is, only the operator knows."""


class RegisterError(ValueError):
    """A register or an entry of it that can't be used; the message says which and why."""


class UnknownSpeaker(ValueError):
    """An id that is not in the register."""

    def __init__(self) -> None:
        super().__init__("this speaker is not in the register; enrol the speaker, or leave the speaker out")


class AlreadyEnrolled(ValueError):
    """The id is in the register; it can be changed or erased."""

    def __init__(self) -> None:
        super().__init__("this speaker is in the register already; change or erase the entry")


class ReadOnlyRegister(RuntimeError):
    """The register is a file, which the gateway never writes."""

    def __init__(self) -> None:
        super().__init__(
            "the register is a file that the gateway only reads; edit the file, or serve without --speakers to keep "
            "the register beside the records"
        )


@dataclass(frozen=True)
class Enrolled:
    """One entry of a register."""

    speaker: str
    declared: Declared
    enrolled_at: datetime | None = None
    """None in a file, which does not say."""
    changed_at: datetime | None = None


@dataclass(frozen=True)
class Erased:
    """What went with a speaker, or with what was too old."""

    decisions: int = 0
    answers: int = 0
    clips: int = 0
    uncounted: int = 0
    """Decisions that no group's counts had yet."""

    def __add__(self, other: Erased) -> Erased:
        return Erased(
            self.decisions + other.decisions,
            self.answers + other.answers,
            self.clips + other.clips,
            self.uncounted + other.uncounted,
        )


class Register(Protocol):
    """Who is known, and what they declared; usable from several threads."""

    def groups(self, speaker: str | None, vocabulary: Vocabulary) -> Groups:
        """The groups of a speaker; without one, each is `undeclared`.

        Raises:
            UnknownSpeaker: the id is not in the register.
            RecordsError: a table that can't be read.
        """

    def get(self, speaker: str) -> Enrolled:
        """
        Raises:
            UnknownSpeaker: the id is not in the register.
            RecordsError: a table that can't be read.
        """

    def enrol(self, speaker: str, declared: Declared, vocabulary: Vocabulary) -> Enrolled:
        """
        Raises:
            AlreadyEnrolled: the id is there.
            RegisterError: the id or what is declared can't be stored.
            ReadOnlyRegister, RecordsError: see there.
        """

    def change(self, speaker: str, declared: Declared, vocabulary: Vocabulary) -> Enrolled:
        """Put what is declared in the place of what was.

        Raises:
            UnknownSpeaker: the id is not in the register.
            RegisterError: what is declared can't be stored.
            ReadOnlyRegister, RecordsError: see there.
        """

    def erase(self, speaker: str) -> Erased:
        """Erase a speaker, and all that is stored of them.

        Raises:
            UnknownSpeaker: the id is not in the register, and nothing is stored under it.
            ReadOnlyRegister, RecordsError: see there.
        """

    def list(self, *, after: str = "", limit: int = 1000) -> Sequence[Enrolled]:
        """At most `limit` entries by their ids' order, those after `after`.

        Raises:
            RecordsError: a table that can't be read.
        """


def groups_of(declared: Declared, vocabulary: Vocabulary) -> Groups:
    """What was declared, as groups of a closed vocabulary."""
    return {attribute: group_in(vocabulary, attribute, declared.get(attribute)) for attribute in vocabulary}


def nobody(vocabulary: Vocabulary) -> Groups:
    """The groups of a request that names no speaker."""
    return dict.fromkeys(vocabulary, UNDECLARED)


def is_id(speaker: str) -> bool:
    """Whether a text can be a speaker's id."""
    return re.fullmatch(ID_PATTERN, speaker) is not None


def check_id(speaker: str) -> None:
    """
    Raises:
        RegisterError: the text can be no speaker's id.
    """
    if not is_id(speaker):
        raise RegisterError(
            f"the speaker {speaker[:80]!r} is no id; 1 to 64 of A-Z, a-z, 0-9, '.', '_', '-' are accepted"
        )


def clean_declared(declared: Mapping[str, str | None], vocabulary: Vocabulary) -> Declared:
    """Trimmed and lower-cased; without the attributes that nothing was declared for.

    Raises:
        RegisterError: an attribute that the vocabulary does not have, a value that is too long.
    """
    if unknown := [attribute for attribute in declared if attribute not in vocabulary]:
        raise RegisterError(f"{unknown[0][:80]!r} is no attribute; known are {', '.join(vocabulary)}")
    cleaned = {attribute: clean_value(value or "") for attribute, value in declared.items()}
    for attribute, value in cleaned.items():
        if len(value) > LONGEST_VALUE or "\0" in value:
            raise RegisterError(f"{attribute} can't be stored; at most {LONGEST_VALUE} characters of text are accepted")
    return {attribute: value for attribute, value in cleaned.items() if value != UNDECLARED}


@dataclass(frozen=True)
class FileRegister:
    """A CSV file, read once: the column `speaker` and one column an attribute; an empty cell is undeclared."""

    speakers: Mapping[str, Declared]

    def groups(self, speaker: str | None, vocabulary: Vocabulary) -> Groups:
        return nobody(vocabulary) if speaker is None else groups_of(self.get(speaker).declared, vocabulary)

    def get(self, speaker: str) -> Enrolled:
        if speaker not in self.speakers:
            raise UnknownSpeaker
        return Enrolled(speaker, self.speakers[speaker])

    def enrol(self, speaker: str, declared: Declared, vocabulary: Vocabulary) -> Enrolled:  # noqa: ARG002
        raise ReadOnlyRegister

    def change(self, speaker: str, declared: Declared, vocabulary: Vocabulary) -> Enrolled:  # noqa: ARG002
        raise ReadOnlyRegister

    def erase(self, speaker: str) -> Erased:  # noqa: ARG002
        raise ReadOnlyRegister

    def list(self, *, after: str = "", limit: int = 1000) -> Sequence[Enrolled]:
        chosen = sorted(speaker for speaker in self.speakers if speaker > after)[:limit]
        return [self.get(speaker) for speaker in chosen]


def load_register(path: Path | None, vocabulary: Vocabulary) -> FileRegister:
    """Read a register; without a file, one with nobody in it. Columns that are no attribute are left in the file.

    Raises:
        RegisterError: no file, no `speaker` column, an id that is none or there twice, a value that is too long.
    """
    if path is None:
        return FileRegister({})
    speakers: dict[str, Declared] = {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file)
            if "speaker" not in (rows.fieldnames or ()):
                raise RegisterError(f"{path} has no column `speaker`; it has {rows.fieldnames}")
            if not set(vocabulary) & set(rows.fieldnames or ()):
                known = ", ".join(vocabulary)
                raise RegisterError(f"{path} has none of the columns {known}; it has {rows.fieldnames}")
            for row in rows:
                speaker = (row["speaker"] or "").strip()
                if not speaker or speaker in speakers:
                    raise RegisterError(
                        f"{path}, line {rows.line_num}: the speaker {speaker!r} is empty or there twice"
                    )
                try:
                    check_id(speaker)
                    speakers[speaker] = clean_declared({a: row.get(a) for a in vocabulary}, vocabulary)
                except RegisterError as error:
                    raise RegisterError(f"{path}, line {rows.line_num}: {error}") from None
    except OSError as error:
        raise RegisterError(f"the register {path} can't be read: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise RegisterError(f"the register {path} is no CSV text: {error}") from error
    return FileRegister(speakers)
