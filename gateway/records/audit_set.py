"""An audit set from production: the labelled decisions whose audio was kept, as a manifest and its clips.

The unit of an audit is the speaker, so a decision of nobody in particular can't be used. Speakers and clips get names
that only the holder of the key can tell from whose they are; no time and no request id is in the set.
"""

from __future__ import annotations

import hashlib
import hmac
import io
import re
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import soundfile
import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict, Field

from gateway.records.clips import ClipFolder
from gateway.records.errors import RecordsError, cause_of
from gateway.records.tables import DECISIONS
from recognizer.groups import UNDECLARED
from recognizer.manifest import write_table

MANIFEST_FILE, SELECTION_FILE, CLIPS = "manifest.csv", "selection.json", "clips"
FEWEST_KEY_BYTES = 16
_CHUNK = 10_000  # decisions read at once
_SPLIT = "test"
_L16 = re.compile(r"audio/l16;rate=(\d{1,6});channels=([12])", re.IGNORECASE)

WARNING = (
    "Labelled records are a selection: whoever decides which commands get a label, and whose audio may be kept, "
    "decides whom this audit hears. Compare the shares of each group before you compare their figures."
)


class NoAuditSet(ValueError):
    """An audit set can't be built; the message says why."""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class GroupCount(_Model):
    """What the records have of one group; a decision can lack several things."""

    attribute: str
    group: str
    """As it was when the decision was made."""
    decisions: int
    without_speaker: int
    without_label: int
    without_audio: int
    taken: int


class Selection(_Model):
    """`selection.json`: what an audit set was made from, and what is not in it."""

    schema_: Literal["evenvoice.audit-set/1"] = Field(default="evenvoice.audit-set/1", alias="schema")
    since: datetime | None
    until: datetime | None
    clips_a_speaker: int | None
    decisions: int
    without_speaker: int
    without_label: int
    without_audio: int
    """Not kept, gone since, or not readable as samples."""
    repeated: int
    """Complete and left out: bytes that another clip of the set has."""
    beyond_limit: int
    """Complete and left out: the speaker has `clips_a_speaker` others in the set."""
    taken: int
    speakers: int
    regrouped: int
    """Speakers whose group of some attribute changed within the span; the set has the newest one."""
    groups: tuple[GroupCount, ...]
    warning: str = WARNING


@dataclass(frozen=True)
class _Candidate:
    """A decision with all that an audit needs."""

    name: str
    """The clip's pseudonym; its order is chance."""
    speaker: str
    """Likewise."""
    path: Path
    clip_type: str
    command: str
    groups: dict[str, str]
    received_at: datetime


@dataclass
class _Counts:
    """What was met: of all decisions, and of each (attribute, group)."""

    total: Counter[str] = field(default_factory=Counter)
    by_group: dict[tuple[str, str], Counter[str]] = field(default_factory=dict)

    def add(self, groups: dict[str, str], *what: str) -> None:
        for counter in (self.total, *(self.by_group.setdefault(g, Counter()) for g in groups.items())):
            counter.update(what)


def build_audit_set(
    engine: sa.Engine,
    clips: ClipFolder,
    out: Path,
    *,
    key: bytes,
    since: datetime | None = None,
    until: datetime | None = None,
    clips_a_speaker: int | None = None,
) -> Selection:
    """Write `manifest.csv`, `selection.json` and `clips/` into a new folder; it is there whole or not at all.

    Args:
        engine: of the records.
        clips: where the gateway keeps audio.
        key: makes the pseudonyms, and settles by chance whose clips are taken; the same key gives a speaker the same
            name in another set.
        since: the first moment that is in it.
        until: the first moment after `since` that is not.
        clips_a_speaker: at most so many of each.

    Raises:
        NoAuditSet: the folder is there, the key is too short, or no decision has all that is needed.
        RecordsError: the records can't be read.
        OSError: a clip can't be read, or the set can't be written.
    """
    if len(key) < FEWEST_KEY_BYTES:
        raise NoAuditSet(f"the key has {len(key)} bytes; {FEWEST_KEY_BYTES} or more are accepted")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise NoAuditSet(f"{out} is there and not empty; name a new folder")
    counts = _Counts()
    candidates = sorted(_candidates(engine, clips, since, until, key, counts), key=lambda c: c.name)
    unfinished = out.with_name(out.name + ".part")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(mode=0o700, parents=True)
    try:
        taken = list(_write_clips(candidates, unfinished, clips_a_speaker, counts))
        if not taken:
            raise NoAuditSet(_nothing(counts.total))
        newest = _newest_groups(candidates)
        _write_manifest(taken, newest, unfinished / MANIFEST_FILE)
        speakers = {c.speaker for c in taken}
        regrouped = {c.speaker for c in candidates if c.speaker in speakers and c.groups != newest[c.speaker]}
        selection = Selection(
            since=since,
            until=until,
            clips_a_speaker=clips_a_speaker,
            decisions=counts.total["decisions"],
            without_speaker=counts.total["without_speaker"],
            without_label=counts.total["without_label"],
            without_audio=counts.total["without_audio"],
            repeated=counts.total["repeated"],
            beyond_limit=counts.total["beyond_limit"],
            taken=counts.total["taken"],
            speakers=len(speakers),
            regrouped=len(regrouped),
            groups=tuple(_group_counts(counts)),
        )
        text = selection.model_dump_json(indent=2, by_alias=True) + "\n"
        (unfinished / SELECTION_FILE).write_text(text, encoding="utf-8")
        unfinished.rename(out)  # over an empty folder, too
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return selection


def _candidates(
    engine: sa.Engine, clips: ClipFolder, since: datetime | None, until: datetime | None, key: bytes, counts: _Counts
) -> Iterator[_Candidate]:
    """The decisions that have everything; all of them are counted."""
    for row in _rows(engine, since, until):
        path = None if row.clip_type is None else clips.path_of(row.request_id)
        counts.add(
            row.groups,
            "decisions",
            *(["without_speaker"] if row.speaker is None else []),
            *(["without_label"] if row.true_command is None else []),
            *(["without_audio"] if path is None else []),
        )
        if row.speaker is None or row.true_command is None or path is None:
            continue
        yield _Candidate(
            name=_pseudonym(key, "clip", row.request_id),
            speaker=_pseudonym(key, "speaker", row.speaker),
            path=path,
            clip_type=row.clip_type,
            command=row.true_command,
            groups=dict(row.groups),
            received_at=row.received_at,
        )


def _rows(engine: sa.Engine, since: datetime | None, until: datetime | None) -> Iterator[sa.Row[Any]]:
    names = ("request_id", "received_at", "speaker", "groups", "true_command", "clip_type")
    chosen = sa.select(*(DECISIONS.c[name] for name in names))
    if since is not None:
        chosen = chosen.where(DECISIONS.c.received_at >= since.astimezone(UTC))
    if until is not None:
        chosen = chosen.where(DECISIONS.c.received_at < until.astimezone(UTC))
    try:
        with engine.connect() as connection:
            yield from connection.execution_options(yield_per=_CHUNK).execute(chosen)
    except sa.exc.SQLAlchemyError as error:
        raise RecordsError(f"the records can't be read: {cause_of(error)}") from None


def _write_clips(
    candidates: Sequence[_Candidate], folder: Path, limit: int | None, counts: _Counts
) -> Iterator[_Candidate]:
    """Those whose clips are in the set now, under `_clip_name`."""
    seen: set[bytes] = set()
    of_speaker: Counter[str] = Counter()
    for candidate in candidates:
        if limit is not None and of_speaker[candidate.speaker] >= limit:
            counts.add({}, "beyond_limit")
            continue
        data = _as_file(candidate)
        if data is None:
            counts.add(candidate.groups, "without_audio")
            continue
        digest = hashlib.sha256(data).digest()
        if digest in seen:
            counts.add({}, "repeated")
            continue
        seen.add(digest)
        of_speaker[candidate.speaker] += 1
        path = folder / _clip_name(candidate)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.write_bytes(data)
        counts.add(candidate.groups, "taken")
        yield candidate


def _as_file(candidate: _Candidate) -> bytes | None:
    """The clip as it came, bare samples as a WAV file; None where it is gone, or samples of which the kind is lost."""
    try:
        data = candidate.path.read_bytes()
    except FileNotFoundError:  # erased meanwhile
        return None
    if candidate.path.suffix != ".pcm":
        return data
    kind = _L16.fullmatch(candidate.clip_type)
    if kind is None or len(data) % (2 * int(kind[2])):
        return None
    samples = np.frombuffer(data, dtype=">i2").astype(np.int16).reshape(-1, int(kind[2]))
    file = io.BytesIO()
    soundfile.write(file, samples, int(kind[1]), format="WAV", subtype="PCM_16")
    return file.getvalue()


def _clip_name(candidate: _Candidate) -> str:
    suffix = candidate.path.suffix if candidate.path.suffix != ".pcm" else ".wav"
    return f"{CLIPS}/{candidate.speaker}/{candidate.name}{suffix}"


def _newest_groups(candidates: Sequence[_Candidate]) -> dict[str, dict[str, str]]:
    """Speaker -> groups as they were last: an audit needs one for all clips of a speaker."""
    newest: dict[str, _Candidate] = {}
    for candidate in candidates:
        known = newest.get(candidate.speaker)
        if known is None or candidate.received_at > known.received_at:
            newest[candidate.speaker] = candidate
    return {speaker: candidate.groups for speaker, candidate in newest.items()}


def _write_manifest(taken: Sequence[_Candidate], newest: dict[str, dict[str, str]], path: Path) -> None:
    attributes = sorted({attribute for candidate in taken for attribute in newest[candidate.speaker]})
    rows = [
        {"path": _clip_name(c), "command": c.command, "speaker": c.speaker, "split": _SPLIT}
        | {a: newest[c.speaker].get(a, UNDECLARED) for a in attributes}
        for c in taken
    ]
    write_table(pd.DataFrame(rows).sort_values("path"), path)


def _group_counts(counts: _Counts) -> Iterator[GroupCount]:
    for (attribute, group), counter in sorted(counts.by_group.items()):
        yield GroupCount(
            attribute=attribute,
            group=group,
            decisions=counter["decisions"],
            without_speaker=counter["without_speaker"],
            without_label=counter["without_label"],
            without_audio=counter["without_audio"],
            taken=counter["taken"],
        )


def _pseudonym(key: bytes, kind: str, name: str) -> str:
    """16 hexadecimal digits: two of a million names are alike with probability 3e-8."""
    return hmac.new(key, f"{kind}\0{name}".encode(), hashlib.sha256).hexdigest()[:16]


def _nothing(total: Counter[str]) -> str:
    return (
        f"of {total['decisions']} decisions none has a speaker, a label and audio together "
        f"({total['without_speaker']} without a speaker, {total['without_label']} without a label, "
        f"{total['without_audio']} without audio); labels come through POST /v1/commands/{{request_id}}/label, and "
        "audio is kept where EVENVOICE_AUDIO_DIRECTORY and EVENVOICE_AUDIO_CONSENT are set"
    )
