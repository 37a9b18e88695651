"""What the clips of a manifest are, to the byte; and those that no audit takes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from monitoring.audit.attacking import COLUMNS as ATTACKED
from monitoring.audit.outcomes import COLUMNS, LISTENED, PART
from recognizer.manifest import COLUMNS as MANIFEST_COLUMNS
from recognizer.manifest import Manifest, ManifestError
from recognizer.progress import OnProgress, Stage, silent

_SHOWN = 5  # clips that an error names
_TOLD = 1000  # clips between two steps of progress


def hashes_of(manifest: Manifest, *, on_progress: OnProgress = silent) -> tuple[str, ...]:
    """[clips]: sha256 of each clip's bytes.

    Raises:
        ManifestError: a clip's file can't be read.
    """
    found = []
    for path in map(Path, manifest.table["path"]):
        try:
            with path.open("rb") as file:
                found.append(hashlib.file_digest(file, "sha256").hexdigest())
        except OSError as error:
            raise ManifestError(f"the clip {path} can't be read: {error.strerror}") from error
        if len(found) % _TOLD == 0 or len(found) == len(manifest.table):
            on_progress(Stage("hashing clips", len(found), len(manifest.table)))
    return tuple(found)


def check_no_duplicates(manifest: Manifest, hashes: Sequence[str]) -> None:
    """
    Raises:
        ManifestError: one recording stands in the manifest under several names, and would count as often.
    """
    table = pd.DataFrame({"clip": manifest.clip_ids, "hash": list(hashes)})
    twice = table[table["hash"].duplicated(keep=False)]
    if twice.empty:
        return
    copies = [" = ".join(own["clip"]) for _, own in twice.groupby("hash", sort=False)]
    more = f" and {len(copies) - _SHOWN} more" if len(copies) > _SHOWN else ""
    raise ManifestError(
        f"{len(copies)} recordings stand in the manifest more than once ({'; '.join(copies[:_SHOWN])}{more}): "
        "the same bytes under several names; each recording is accepted once"
    )


def check_attributes(manifest: Manifest) -> None:
    """
    Raises:
        ManifestError: an attribute is called as a column of the outcomes is.
    """
    own = (*COLUMNS, *LISTENED, *MANIFEST_COLUMNS, *ATTACKED)
    taken = [a for a in manifest.attributes if a in own or a.startswith(PART)]
    if taken:
        raise ManifestError(
            f"the attribute {', '.join(taken)} is called as a column of the audit's own; rename it in the manifest"
        )


def sha256_of(texts: Sequence[str]) -> str:
    """`sha256:...` over texts in order."""
    digest = hashlib.sha256()
    for text in texts:
        digest.update(f"{len(text)}:{text}".encode())
    return f"sha256:{digest.hexdigest()}"
