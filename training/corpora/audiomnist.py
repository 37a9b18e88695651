"""AudioMNIST (Becker et al. 2018): 60 speakers say each digit 50 times.

Layout of its repository: `data/NN/D_NN_I.wav` (speaker NN says digit D, take I; 48 kHz, mono) and
`data/audioMNIST_meta.txt`, JSON by speaker with `accent`, `age`, `gender`, `native speaker`. The metadata file may also
stand at the root.
Source: https://github.com/soerenab/AudioMNIST
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from recognizer.groups import ATTRIBUTES, OTHER, UNDECLARED
from recognizer.manifest import Manifest, ManifestError, check_table
from training.corpora.cleaning import AGE, NATIVE, NON_NATIVE, Rule, clean_table
from training.corpora.corpus import Corpus
from training.corpora.splits import PAPER_SHARES, Shares, SplitKind, split_clips

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

METADATA = "audioMNIST_meta.txt"

RULES = {
    "accent": Rule(
        table={
            "brasilian": "brazilian",
            # These name two accents, and neither is the speaker's one group.
            "german/spanish": OTHER,
            "egyptian_american?": OTHER,
        }
    ),
    "age": AGE,
    "gender": Rule(),
    "native": Rule(coding=lambda value: {"yes": NATIVE, "no": NON_NATIVE}.get(value, UNDECLARED)),
}

_FIELD = {"native": "native speaker"}  # where the metadata name an attribute otherwise
_CLIP = re.compile(r"(?P<digit>\d)_(?P<speaker>\d{2})_(?P<take>\d+)\.wav")
_SHOWN = 5


def read_audiomnist(root: Path, *, split: SplitKind = "closed", seed: int = 0, shares: Shares = PAPER_SHARES) -> Corpus:
    """AudioMNIST as a corpus: digits are the commands `zero` to `nine`, speaker NN is `audiomnist_NN`.

    Accents keep the declared word, spelling mistakes aside. Ages become decades. `native` is `native` or
    `non-native`.

    Args:
        root: the repository's folder.
        split: `closed` = every speaker in every split; `open` = each in one, genders spread evenly.
        shares: of clips (closed) or of speakers (open).

    Raises:
        ManifestError: no or damaged metadata, a speaker or a digit without audio, audio without metadata, malformed
            names.
    """
    root = root.resolve()
    metadata = _read_metadata(root)
    folders = sorted(p for p in (root / "data").glob("*") if p.is_dir())
    _refuse(
        [s for s in metadata if s not in {f.name for f in folders}],
        f"of {len(metadata)} speakers have no folder in {root / 'data'}",
    )
    _refuse(
        [f.name for f in folders if f.name not in metadata], f"folders in {root / 'data'} have no entry in {METADATA}"
    )
    clips = [clip for folder in folders for clip in sorted(folder.glob("*.wav"))]
    _refuse(
        [f"{c.parent.name}/{c.name}" for c in clips if not _is_well_named(c)],
        f"of {len(clips)} clips are not named D_NN_I.wav after digit, speaker (the folder's name) and take",
    )
    cells = {(clip.parent.name, clip.name[0]) for clip in clips}
    _refuse(
        [f"speaker {s}, {DIGITS[d]}" for s in metadata for d in range(10) if (s, str(d)) not in cells],
        f"of {10 * len(metadata)} pairs of speaker and digit have no audio in {root / 'data'}",
    )
    table = pd.DataFrame(
        {
            "path": str(clip),
            "command": DIGITS[int(clip.name[0])],
            "speaker": f"audiomnist_{clip.parent.name}",
            **{a: str(metadata[clip.parent.name].get(_FIELD.get(a, a), "")) for a in ATTRIBUTES},
        }
        for clip in clips
    )
    table, cleanings = clean_table(table, RULES)
    table.insert(3, "split", split_clips(table, split, seed=seed, shares=shares, stratify=["gender"]))
    return Corpus(Manifest(check_table(table, source=f"AudioMNIST in {root}"), ATTRIBUTES), cleanings, _notes(table))


def _read_metadata(root: Path) -> dict[str, dict[str, Any]]:
    path = next((p for p in (root / "data" / METADATA, root / METADATA) if p.is_file()), None)
    if path is None:
        raise ManifestError(
            f"there is no {METADATA} in {root / 'data'} or {root}; give the AudioMNIST repository's folder"
        )
    try:
        metadata = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ManifestError(f"{path} can't be read as JSON: {error}") from error
    if not isinstance(metadata, dict) or not metadata or not all(isinstance(m, dict) for m in metadata.values()):
        raise ManifestError(f'{path} must hold one JSON object a speaker, such as {{"01": {{"accent": "German"}}}}')
    return metadata


def _is_well_named(clip: Path) -> bool:
    match = _CLIP.fullmatch(clip.name)
    return match is not None and match["speaker"] == clip.parent.name


def _notes(table: pd.DataFrame) -> tuple[str, ...]:
    takes = table.groupby(["speaker", "command"]).size()
    if takes.min() == takes.max():
        return ()
    return (f"speakers said a digit between {takes.min()} and {takes.max()} times; the original has 50 takes of each",)


def _refuse(bad: Sequence[str], problem: str) -> None:
    if bad:
        more = f" and {len(bad) - _SHOWN} more" if len(bad) > _SHOWN else ""
        raise ManifestError(f"{len(bad)} {problem} ({'; '.join(bad[:_SHOWN])}{more})")
