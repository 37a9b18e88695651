"""Common Voice single-word releases: thousands of people say `hey`, `yes`, `no` and the digits.

Layout of a release's language folder: `train.tsv`, `dev.tsv`, `test.tsv` and `clips/*.mp3`. Columns: `client_id`,
`path`, `sentence`, `age`, `gender`, and `accents` (`accent` in older releases), among others.
Source: Ardila et al. 2020; https://commonvoice.mozilla.org/datasets
"""

from __future__ import annotations

import csv
import hashlib
import re
from collections import Counter
from pathlib import Path

import pandas as pd

from recognizer.groups import OTHER
from recognizer.manifest import Manifest, ManifestError, check_table
from training.corpora.cleaning import AGE, Rule, clean_table
from training.corpora.corpus import Corpus
from training.corpora.splits import PAPER_SHARES, Shares, SplitKind, closed_split

COMMANDS = (
    *("hey", "yes", "no", "zero", "one", "two", "three"),
    *("four", "five", "six", "seven", "eight", "nine"),
)
"""13 classes; the releases' fourteenth word, Firefox, is left out (Richards et al. 2023, section 4.1)."""

REMOVED = "firefox"

OFFICIAL_SPLITS = {"train.tsv": "train", "dev.tsv": "validation", "test.tsv": "test"}

ATTRIBUTES = ("accent", "age", "gender")

ACCENTS = {
    "united states": ("united states", "us"),
    "england": ("england",),
    "india and south asia": ("india and south asia", "indian"),
    "australia": ("australian", "australia"),
    "canada": ("canadian", "canada"),
    "scotland": ("scottish", "scotland"),
    "ireland": ("irish", "ireland"),
    "northern ireland": ("northern irish",),
    "wales": ("welsh", "wales"),
    "new zealand": ("new zealand", "newzealand"),
    "southern africa": ("southern african", "african"),
    "philippines": ("filipino", "philippines"),
    "hong kong": ("hong kong", "hongkong"),
    "malaysia": ("malaysian", "malaysia"),
    "singapore": ("singaporean", "singapore"),
    "west indies and bermuda": ("west indies and bermuda", "bermuda"),
    "south atlantic": ("south atlantic", "southatlandtic", "southatlantic"),
}
"""Group -> the releases' words for it, newer ones (without `English` and the countries in brackets) before older."""

_ACCENT_OF = {word: group for group, words in ACCENTS.items() for word in words}
_GENDER_OF = {"male_masculine": "male", "female_feminine": "female"}  # since release 17
_SHOWN = 5


def accent_group(value: str) -> str:
    """The group of an `accents` cell: the one predefined accent in it; `other` where it names none, or several.

    Newer cells list accents, predefined or in the speaker's own words, with commas or bars between.
    """
    words = re.split(r"[,|]", re.sub(r"\([^)]*\)", "", value))
    names = (word.strip().removesuffix("english").strip() for word in words)
    groups = {_ACCENT_OF[name] for name in names if name in _ACCENT_OF}
    return groups.pop() if len(groups) == 1 else OTHER


RULES = {
    "accent": Rule(coding=accent_group),
    "age": AGE,
    # Before release 17 the third answer was `other`; as a declared group it takes part in gaps.
    "gender": Rule(table={"other": "non-binary"}, coding=lambda value: _GENDER_OF.get(value, value)),
}


def normalize_sentence(sentence: str) -> str:
    """Lower case, no punctuation, single spaces: `"Hey!"` is `hey`."""
    return " ".join(re.sub(r"[^\w\s]|_", " ", sentence.lower()).split())


def read_common_voice(root: Path, *, split: SplitKind = "open", seed: int = 0, shares: Shares = PAPER_SHARES) -> Corpus:
    """A single-word release as a corpus with the commands `COMMANDS`; other sentences are left out and counted.

    The speaker is `cv_` and the first 12 hex digits of the client id's sha256.

    Args:
        root: the language's folder, which holds the `.tsv` files.
        split: `open` = the official splits (`dev` validates); `closed` = every speaker's clips divided anew.
        seed: of the closed split.
        shares: of the closed split.

    Raises:
        ManifestError: a missing or damaged table, a missing column, a clip that is not there, no command at all.
    """
    root = root.resolve()
    sentences: Counter[str] = Counter()
    rows: list[dict[str, str]] = []
    for name, official in OFFICIAL_SPLITS.items():
        for row in _read_rows(root / name):
            sentence = normalize_sentence(row["sentence"])
            sentences[sentence] += 1
            if sentence in COMMANDS:
                rows.append(_record(row, root, command=sentence, split=official))
    if not rows:
        raise ManifestError(
            f"no sentence in {root} is one of {', '.join(COMMANDS)}; give a single-word release's folder"
        )
    table, cleanings = clean_table(pd.DataFrame(rows), RULES)
    notes = (*_left_out(sentences), *_speakers_in_two_splits(table, split))
    if split == "closed":
        table["split"] = closed_split(table, seed=seed, shares=shares)
    return Corpus(Manifest(check_table(table, source=f"Common Voice in {root}"), ATTRIBUTES), cleanings, notes)


def _record(row: dict[str, str], root: Path, *, command: str, split: str) -> dict[str, str]:
    client = row["client_id"].strip()
    if not client:
        raise ManifestError(f"{root}: the clip {row['path']!r} has no client_id")
    return {
        "path": str(root / "clips" / row["path"]),
        "command": command,
        "speaker": f"cv_{hashlib.sha256(client.encode()).hexdigest()[:12]}",
        "split": split,
        "accent": row["accents"] if "accents" in row else row["accent"],
        "age": row["age"],
        "gender": row["gender"],
    }


def _read_rows(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            lines = list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    except FileNotFoundError:
        raise ManifestError(
            f"there is no {path.name} in {path.parent}; give the language's folder of a release"
        ) from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ManifestError(f"{path} can't be read as tab-separated UTF-8 text: {error}") from error
    header = lines[0] if lines else []
    missing = [c for c in ("client_id", "path", "sentence", "age", "gender") if c not in header]
    if not {"accents", "accent"} & set(header):
        missing.append("accents (or accent)")
    if missing:
        raise ManifestError(f"{path} has no column {', '.join(missing)}; it has {header}")
    damaged = [number for number, line in enumerate(lines, start=1) if len(line) != len(header)]
    if damaged:
        shown = ", ".join(str(n) for n in damaged[:_SHOWN]) + (", ..." if len(damaged) > _SHOWN else "")
        raise ManifestError(
            f"{path} is damaged: {len(damaged)} of {len(lines) - 1} rows don't have {len(header)} columns "
            f"(lines {shown})"
        )
    return [dict(zip(header, line, strict=True)) for line in lines[1:]]


def _left_out(sentences: Counter[str]) -> list[str]:
    notes = []
    if sentences[REMOVED]:
        notes.append(f"{sentences[REMOVED]} clips say Firefox and were left out")
    others = Counter({s: n for s, n in sentences.items() if s not in COMMANDS and s != REMOVED})
    if others:
        shown = ", ".join(f"{s!r} {n}" for s, n in others.most_common(_SHOWN)) + (
            ", ..." if len(others) > _SHOWN else ""
        )
        notes.append(f"{others.total()} clips say none of the 13 commands and were left out: {shown}")
    return notes


def _speakers_in_two_splits(table: pd.DataFrame, split: SplitKind) -> list[str]:
    splits = table.groupby("speaker")["split"].nunique()
    several = splits[splits > 1].index
    if split == "closed" or several.empty:
        return []
    clips = int(table["speaker"].isin(several).sum())
    return [f"{len(several)} of {len(splits)} speakers ({clips} clips) are in more than one official split"]
