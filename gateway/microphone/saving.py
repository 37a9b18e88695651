"""Utterances on disk, each as it was sent and with what became of it."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

from gateway.microphone.deciders import wav_of
from gateway.microphone.heard import Heard
from gateway.streaming.endpointing import Utterance


class Saver:
    """`TIME-NUMBER.wav` and `.json` in a folder that others can't read: they are voices."""

    def __init__(self, folder: Path) -> None:
        """
        Raises:
            OSError: the folder can't be made.
        """
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder
        self._begun = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")

    def save(self, utterance: Utterance, heard: Heard) -> Heard:
        """Write both files; the decision again, with the sound's file in it.

        Raises:
            OSError: one of them can't be written.
        """
        path = self._folder / f"{self._begun}-{heard.utterance:04d}.wav"
        _write(path, wav_of(utterance))
        saved = heard.model_copy(update={"file": str(path)})
        _write(path.with_suffix(".json"), saved.model_dump_json(indent=2).encode() + b"\n")
        return saved


def _write(path: Path, data: bytes) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)
