"""A study's folder: what lies where, written whole or not at all, by one run at a time."""

from __future__ import annotations

import io
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from pydantic import BaseModel, ConfigDict
from safetensors.torch import load_file, save
from torch import Tensor

from recognizer.lock import locked
from recognizer.network import M5, Architecture
from recognizer.whole_file import UNFINISHED, write_whole
from training.corpora.splits import SplitKind


class StudyError(RuntimeError):
    """A study that can't be run or go on; the message says why and what to do."""


class MachineRecord(BaseModel):
    """`neural_rejection.json`: what neural rejection's machine, beside it, was fitted on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    fitted_on: str
    """In words, such as `640 held-out clips of 28 speakers`"""


class Failure(BaseModel):
    """`failed.json`: why a part of the study has no result."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    error: str


@dataclass(frozen=True)
class NetworkFolder:
    """One network's files; those of a finished one are the first four and `done`."""

    path: Path

    @property
    def weights(self) -> Path:
        return self.path / "network.safetensors"

    @property
    def training(self) -> Path:
        return self.path / "training.json"

    @property
    def outcomes(self) -> Path:
        return self.path / "outcomes.parquet"

    @property
    def health(self) -> Path:
        return self.path / "health.json"

    @property
    def done(self) -> Path:
        """Written last."""
        return self.path / "done.json"

    @property
    def failed(self) -> Path:
        return self.path / "failed.json"

    @property
    def checkpoint(self) -> Path:
        """Of unfinished training."""
        return self.path / "checkpoint.pt"


@dataclass(frozen=True)
class StudyFolder:
    """The paths under a study's folder."""

    path: Path

    @property
    def study(self) -> Path:
        return self.path / "study.json"

    def clips(self, split: SplitKind) -> Path:
        return self.path / split / "clips.parquet"

    def loudness(self, split: SplitKind) -> Path:
        return self.path / split / "loudness.parquet"

    def network(self, split: SplitKind, key: str) -> NetworkFolder:
        return NetworkFolder(self.path / split / "networks" / key)

    def rejection(self, split: SplitKind) -> Path:
        """The folder of the rejectors' and purifiers' tables."""
        return self.path / split / "rejection"

    def tidy(self) -> None:
        """Take away what runs that were killed had begun to write."""
        for left in self.path.rglob(f"*{UNFINISHED}"):
            left.unlink()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Make the folder where there is none, and keep other runs out of it; a killed run's lock is gone with it.

        Raises:
            StudyError: another run is at work in it, or it can't be written.
        """
        with locked(self.path, error=StudyError):
            yield


def is_left_of(path: Path, files: Collection[Path]) -> bool:
    """Whether a killed run had begun to write one of the files there."""
    begun = path.name.endswith(UNFINISHED)
    return begun and any(path.parent == file.parent and path.name.startswith(f"{file.name}.") for file in files)


def write_bytes(path: Path, data: bytes) -> None:
    """Replace a file; a kill at any moment leaves the old or the new one.

    Raises:
        StudyError: it can't be written, for instance because the disk is full; the old one stays.
    """
    write_whole(path, data, error=StudyError)


def write_record(path: Path, record: BaseModel) -> None:
    """Write a model as JSON; raises as `write_bytes` does."""
    write_bytes(path, record.model_dump_json(indent=2).encode() + b"\n")


def write_parquet(path: Path, table: pd.DataFrame) -> None:
    """Write a table; raises as `write_bytes` does."""
    file = io.BytesIO()
    table.to_parquet(file, index=False)
    write_bytes(path, file.getvalue())


def write_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    """Write tensors; raises as `write_bytes` does."""
    write_bytes(path, save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}))


def read_network(path: Path, architecture: Architecture) -> M5:
    """A network from its weights, in evaluation mode on the CPU.

    Raises:
        StudyError: the file is missing or of another architecture.
    """
    network = M5(architecture)
    try:
        network.load_state_dict(load_file(path))
    except Exception as error:  # safetensors has errors of its own
        raise StudyError(f"{path} can't be read ({error}); remove its folder and run the study again") from error
    return network.eval()
