"""Training that survives a kill: its whole state after each epoch, on disk before the next one begins."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

import torch

from recognizer.lock import locked
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

    def __init__(self, path: Path, recipe: Recipe, *clips: ClipSet, device: torch.device) -> None:
        """
        Args:
            path: of the file.
            recipe, clips: what the state belongs to; a file of anything else is refused.
            device: where the training runs; a file of another type of device is refused, since random numbers are drawn
                there, and those of another type are others.
        """
        self.path = path
        self._belongs_to = _fingerprint(recipe, clips)
        self._device = device.type

    def load(self) -> dict[str, Any] | None:
        """The state that was saved last, on the CPU; None where there is no file.

        It also tries whether the file can be written, so that what hinders `save` is told before any training.

        Raises:
            CheckpointError: another training's file, or one that can't be read or written.
        """
        with self._writable() as unfinished:
            unfinished.touch()
            unfinished.unlink()
        if not self.path.exists():
            return None
        try:
            held = torch.load(self.path, map_location="cpu", weights_only=True)
            belongs_to, device, state = held["belongs_to"], held["device"], held["state"]
        except Exception as error:  # torch.load raises what it likes on a damaged file
            raise CheckpointError(f"the checkpoint {self.path} can't be read; remove it to begin anew") from error
        if belongs_to != self._belongs_to:
            raise CheckpointError(
                f"the checkpoint {self.path} is of a training with other settings or clips; "
                "give those again to continue it, or remove it to begin anew"
            )
        if device != self._device:
            raise CheckpointError(
                f"the checkpoint {self.path} is of a training on the device {device}, not {self._device}; "
                f"go on with it on {device}, or remove it to begin anew"
            )
        return dict(state)

    def save(self, state: dict[str, Any]) -> None:
        """Replace the file; a kill at any moment leaves the old or the new one.

        Raises:
            CheckpointError: it can't be written; the old one stays.
        """
        held = {"belongs_to": self._belongs_to, "device": self._device, "state": state}
        with self._writable() as unfinished:
            with unfinished.open("wb") as file:
                torch.save(held, file)
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(self.path)

    @contextmanager
    def _writable(self) -> Iterator[Path]:
        """The file to write before it takes the other's place, in a folder that is there; none is left on an error."""
        unfinished = self.path.with_name(f"{self.path.name}.unfinished")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            yield unfinished
        except (OSError, RuntimeError) as error:  # torch reports a full disk as a RuntimeError
            with suppress(OSError):
                unfinished.unlink()
            raise CheckpointError(f"the checkpoint {self.path} can't be written: {error}") from error


@contextmanager
def checkpoints_in(folder: Path) -> Iterator[None]:
    """A folder of checkpoints, for this run alone; what is empty at the end is taken away.

    Raises:
        CheckpointError: another run is at work in it, or it can't be written.
    """
    try:
        with locked(folder, error=CheckpointError):
            yield
    finally:
        with suppress(OSError):  # it holds what a later run goes on from
            folder.rmdir()


def _fingerprint(recipe: Recipe, clips: tuple[ClipSet, ...]) -> str:
    digest = hashlib.blake2b(recipe.model_dump_json().encode(), digest_size=16)
    for part in clips:
        digest.update(part.waveforms.contiguous().numpy().data)
        digest.update(part.targets.contiguous().numpy().data)
        digest.update("\0".join(part.manifest.table["speaker"]).encode())
    return digest.hexdigest()
