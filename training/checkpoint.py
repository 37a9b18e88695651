"""Training that survives a kill: its whole state after each epoch, on disk before the next one begins."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any, Protocol

import torch

from training.dataset import ClipSet
from training.recipe import Recipe


class CheckpointError(RuntimeError):
    """A checkpoint that can't be continued; the message says why and what to do."""


class Stateful(Protocol):
    """What a checkpoint can hold: a network, an optimiser, a schedule, ..."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any], /) -> Any: ...


class Checkpoint:
    """One file that holds one training's state: tensors and plain values only, so that loading it runs no code."""

    def __init__(self, path: Path, recipe: Recipe, *clips: ClipSet) -> None:
        """
        Args:
            path: of the file.
            recipe, clips: what the state belongs to; a file of anything else is refused.
        """
        self.path = path
        self._belongs_to = _fingerprint(recipe, clips)

    def load(self) -> dict[str, Any] | None:
        """The state that was saved last, on the CPU; None where there is no file.

        Raises:
            CheckpointError: another training's file, or one that can't be read.
        """
        if not self.path.exists():
            return None
        try:
            held = torch.load(self.path, map_location="cpu", weights_only=True)
            belongs_to, state = held["belongs_to"], held["state"]
        except Exception as error:  # torch.load raises what it likes on a damaged file
            raise CheckpointError(f"the checkpoint {self.path} can't be read; remove it to begin anew") from error
        if belongs_to != self._belongs_to:
            raise CheckpointError(
                f"the checkpoint {self.path} is of a training with other settings or clips; "
                "give those again to continue it, or remove it to begin anew"
            )
        return dict(state)

    def save(self, state: dict[str, Any]) -> None:
        """Replace the file; a kill at any moment leaves the old or the new one.

        Raises:
            CheckpointError: it can't be written; the old one stays.
        """
        unfinished = self.path.with_name(self.path.name + ".unfinished")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with unfinished.open("wb") as file:
                torch.save({"belongs_to": self._belongs_to, "state": state}, file)
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(self.path)
        except (OSError, RuntimeError) as error:  # torch reports a full disk as a RuntimeError
            unfinished.unlink(missing_ok=True)
            raise CheckpointError(f"the checkpoint {self.path} can't be written: {error}") from error


def _fingerprint(recipe: Recipe, clips: tuple[ClipSet, ...]) -> str:
    digest = hashlib.blake2b(recipe.model_dump_json().encode(), digest_size=16)
    for part in clips:
        digest.update(part.waveforms.contiguous().numpy().data)
        digest.update(part.targets.contiguous().numpy().data)
        digest.update("\0".join(part.manifest.table["speaker"]).encode())
    return digest.hexdigest()
