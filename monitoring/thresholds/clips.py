"""The clips that thresholds are tuned on: never those of a test split, whatever it is called."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from recognizer.bundle import BundleManifest
from recognizer.defense import DefenseName
from recognizer.manifest import Manifest, ManifestError, load_manifest, read_table

TEST = "test"
VALIDATION = "validation"
TUNABLE = (VALIDATION, "train")
_SHOWN = 5


class TunedOnTest(ValueError):
    """Test clips were asked to tune thresholds on; the message says what to give instead."""


@dataclass(frozen=True)
class TuningClips:
    """The clips of one split, and what is known of where they come from.

    Attributes:
        clips: never a test clip.
        split: `validation` or `train`.
        fingerprint: of the whole manifest, as a bundle names what it was trained on.
        speakers_in_test: how many of these clips' speakers the manifest's test split has, too.
    """

    clips: Manifest
    split: str
    fingerprint: str
    speakers_in_test: int

    def cautions(self, bundle: BundleManifest, *, defenses: Collection[str]) -> tuple[str, ...]:
        """What to bear in mind of figures on these clips, for these defenses of a bundle."""
        found = []
        if self.fingerprint != bundle.data.fingerprint:
            found.append(
                "the bundle was trained with another manifest, or with other --columns or --attributes: whether these "
                "clips are among its training or test clips can't be told"
            )
        elif self.split == VALIDATION:
            found.append(
                "the bundle's networks were selected on these clips: accuracy flatters every setting a little; only "
                "test clips say what the chosen one is worth"
            )
        if self.split != VALIDATION:
            found.append(
                "these are training clips: the networks know them, and are surer of them than of others; take "
                "validation clips"
            )
        if DefenseName.NEURAL_REJECTION in defenses and bundle.defenses.neural_rejection is not None:
            found.append(
                f"neural rejection was fitted on {bundle.defenses.neural_rejection.fitted_on}; on clips that it was "
                "fitted on its confidences are larger than on others"
            )
        if self.speakers_in_test:
            found.append(
                f"{self.speakers_in_test} speakers of these clips are in the test split too: test figures will not be "
                "of unheard speakers"
            )
        return tuple(found)


def load_tuning_clips(
    path: Path,
    *,
    split: str = VALIDATION,
    columns: Mapping[str, str] | None = None,
    attributes: Sequence[str] | None = None,
) -> TuningClips:
    """The clips of a manifest's split. Test clips are hashed for the fingerprint, and never decoded.

    Args:
        path, columns, attributes: see `load_manifest`. The fingerprint is of all columns, so that it is the bundle's
            only with the ones that the bundle was trained with.
        split: `validation`; or `train`, which `cautions` warns of.

    Raises:
        TunedOnTest: the split is `test`, another column stands in for `split` where the table has one, or a clip is a
            file of the test split under another name, or a copy of one.
        ManifestError: see `load_manifest`; no such split, or no clip in it.
    """
    if split.strip().lower() == TEST:
        raise TunedOnTest(
            "thresholds are never tuned on test clips: the figures that are reported of them would be worth nothing; "
            f"{' or '.join(TUNABLE)} is accepted"
        )
    if split not in TUNABLE:
        raise ManifestError(f"the split is {split!r}; {' or '.join(TUNABLE)} is accepted")
    if columns and columns.get("split", "split") != "split" and "split" in read_table(path).columns:
        raise TunedOnTest(
            f"{path} has a column 'split': {columns['split']!r} can't stand in for it, since test clips could come in "
            "by it; leave it away, or rename the column in the manifest"
        )
    manifest = load_manifest(path, columns=columns, attributes=attributes)
    chosen = manifest.split(split)
    test = manifest.table[manifest.table["split"] == TEST]
    _refuse_the_same_files(chosen.table["path"], test["path"])
    speakers = set(chosen.table["speaker"]) & set(test["speaker"])
    return TuningClips(chosen, split, manifest.fingerprint(), len(speakers))


def _refuse_the_same_files(chosen: Iterable[str], test: Iterable[str]) -> None:
    """By what they hold, so that links and copies are seen through."""
    held_out = {_sha256(path) for path in test}
    same = [path for path in chosen if _sha256(path) in held_out]
    if same:
        shown = ", ".join(same[:_SHOWN])
        more = f" and {len(same) - _SHOWN} more" if len(same) > _SHOWN else ""
        raise TunedOnTest(
            f"{len(same)} clips are files of the test split under another name, or copies of them ({shown}{more}); "
            "thresholds are never tuned on test clips: take them out of one split"
        )


def _sha256(path: str) -> bytes:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
