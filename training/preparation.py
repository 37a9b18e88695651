"""What a bundle is trained and tested on, with every reason to refuse it found before there is a network."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import torch

from recognizer.audio import AudioFormat
from recognizer.decision import UNKNOWN
from recognizer.manifest import Manifest, ManifestError
from recognizer.progress import OnProgress, silent
from training.dataset import ClipSet, load_clips
from training.rejection import RejectionError, check_clips, choose_clips

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prepared:
    """A manifest's clips, decoded and checked."""

    labels: tuple[str, ...]
    """The commands of the training clips, sorted, and `unknown` last where there is any."""
    training: ClipSet
    validation: ClipSet
    test: ClipSet | None
    """None where the manifest has no such split."""
    for_rejection: ClipSet | None
    """What neural rejection is fitted on; None where it can't be."""
    rejection_note: str
    """Which clips those are, or why there are none."""
    fingerprint: str
    """The manifest's."""


def prepare(manifest: Manifest, audio: AudioFormat, *, on_progress: OnProgress = silent) -> Prepared:
    """Decode `train`, `validation` and, where there is one, `test`. Clips that can't be heard are logged.

    Raises:
        ManifestError: no training or validation clips, fewer than 2 labels, a command that training lacks or of which
            no training clip can be heard, or two validation or test clips under one name.
    """
    training_part = manifest.split("train")
    parts = {"validation": manifest.split("validation")}
    if "test" in set(manifest.table["split"]):
        parts["test"] = manifest.split("test")
    labels = training_part.commands
    if UNKNOWN in set(training_part.table["command"]):
        labels = (*labels, UNKNOWN)
    if len(labels) < 2:
        raise ManifestError(
            f"every training clip is of the command {labels[0]!r}; a recogniser needs at least 2 commands, or `unknown`"
        )
    for part in parts.values():
        _ = part.clip_ids  # raises where two are the same

    def load(part: Manifest, name: str) -> ClipSet:
        clips = load_clips(part, labels, audio, name=name, on_progress=on_progress)
        for line in clips.skipped:
            logger.warning("skipped: %s", line)
        return clips

    training = load(training_part, "training")
    _check_heard(training, training_part, labels)
    evaluated = {name: load(part, name) for name, part in parts.items()}
    for_rejection, note = _for_rejection(training, evaluated["validation"], len(labels))
    return Prepared(
        labels=labels,
        training=training,
        validation=evaluated["validation"],
        test=evaluated.get("test"),
        for_rejection=for_rejection,
        rejection_note=note,
        fingerprint=manifest.fingerprint(),
    )


def _check_heard(training: ClipSet, asked: Manifest, labels: tuple[str, ...]) -> None:
    heard = torch.bincount(training.targets, minlength=len(labels)).tolist()
    unheard = [label for label, count in zip(labels, heard, strict=True) if not count]
    if unheard:
        clips = asked.table["command"].value_counts()
        counted = ", ".join(f"{label!r} ({clips[label]} skipped)" for label in unheard)
        raise ManifestError(f"no training clip can be heard of {counted}; every label needs some")


def _for_rejection(training: ClipSet, validation: ClipSet, labels: int) -> tuple[ClipSet | None, str]:
    clips, note = choose_clips(training, validation, labels)
    try:
        check_clips(clips)
    except RejectionError as error:
        return None, str(error)
    return clips, note
