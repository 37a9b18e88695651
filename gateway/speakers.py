"""The register of speakers: an opaque id on the wire, its groups on the server.

A CSV file with the column `speaker` and one column an attribute; an empty cell is undeclared. Free text never becomes a
label: a value outside the bundle's vocabulary is `other`.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from recognizer.groups import UNDECLARED, Vocabulary, group_in

Groups = Mapping[str, str]
"""Attribute -> group."""


class RegisterError(ValueError):
    """A register that can't be used; the message says which line and why."""


class UnknownSpeaker(ValueError):
    """An id that is not in the register."""


@dataclass(frozen=True)
class Register:
    """Speaker id -> groups, within a closed vocabulary."""

    vocabulary: Vocabulary
    speakers: Mapping[str, Groups]

    def groups(self, speaker: str | None) -> Groups:
        """The groups of a speaker; without one, each is `undeclared`.

        Raises:
            UnknownSpeaker: the id is not in the register.
        """
        if speaker is None:
            return dict.fromkeys(self.vocabulary, UNDECLARED)
        try:
            return self.speakers[speaker]
        except KeyError:
            raise UnknownSpeaker(
                "this speaker is not in the register; enrol the speaker, or leave the speaker out"
            ) from None


def load_register(path: Path | None, vocabulary: Vocabulary) -> Register:
    """Read a register; without a file, one with nobody in it.

    Raises:
        RegisterError: no file, no `speaker` column, an empty or repeated id.
    """
    if path is None:
        return Register(vocabulary, {})
    speakers: dict[str, Groups] = {}
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
                speakers[speaker] = {a: group_in(vocabulary, a, row.get(a)) for a in vocabulary}
    except OSError as error:
        raise RegisterError(f"the register {path} can't be read: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise RegisterError(f"the register {path} is no CSV text: {error}") from error
    return Register(vocabulary, speakers)
