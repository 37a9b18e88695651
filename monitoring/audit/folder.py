"""An audit's folder: its shards and what they are shards of, so that a killed audit goes on where it was."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from monitoring.audit.errors import AuditError, AuditUnderWay
from monitoring.audit.result import AttackSettings, AuditReport
from monitoring.audit.shards import Measured, Shard
from recognizer.lock import locked
from recognizer.whole_file import UNFINISHED, write_whole

REPORT, OUTCOMES, ATTACKED, STATE, SHARDS = (
    *("audit.json", "outcomes.parquet", "attacked.parquet"),
    *("state.json", "shards"),
)


class AuditState(BaseModel):
    """`state.json`: what the shards beside it are shards of."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_: Literal["evenvoice.audit-state/1"] = Field(default="evenvoice.audit-state/1", alias="schema")
    manifest: str
    """sha256 over the rows and the clips' names and bytes."""
    bundle: str
    """Its version."""
    defenses: tuple[str, ...]
    seed: int
    attack: AttackSettings
    shard_clips: int
    front_end: str | None
    evenvoice: str
    torch: str
    device: str = "cpu"
    """Its kind, such as `cuda`: sums come out otherwise on another."""
    is_finished: bool = False
    """Whether the report was written; an audit of something else may begin in its place then."""

    def changes(self, now: AuditState) -> list[str]:
        """In words, what is not as it was."""
        words = {
            "manifest": "the manifest or its clips",
            "bundle": "the bundle",
            "defenses": "the defenses",
            "seed": "the seed",
            "attack": "the settings of the attack",
            "shard_clips": "the size of a shard",
            "front_end": "the front end",
            "evenvoice": "evenvoice itself",
            "torch": "torch",
            "device": "the device",
        }
        return [
            f"{text} ({getattr(self, field)} before, now {getattr(now, field)})"
            for field, text in words.items()
            if getattr(self, field) != getattr(now, field)
        ]


@dataclass(frozen=True)
class AuditFolder:
    """The files of one audit."""

    path: Path

    @property
    def report(self) -> Path:
        return self.path / REPORT

    @property
    def outcomes(self) -> Path:
        return self.path / OUTCOMES

    @property
    def attacked(self) -> Path:
        return self.path / ATTACKED

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Make the folder where there is none, and keep other runs out of it; a killed run's lock is gone with it.

        Raises:
            AuditUnderWay: another run is at work in it.
            AuditError: it can't be written.
        """
        with locked(self.path, error=AuditError, busy=AuditUnderWay):
            yield

    def begin(self, state: AuditState, *, fresh: bool) -> None:
        """Take up what is there, or begin.

        Args:
            fresh: begin in any case; finished shards are taken away.

        Raises:
            AuditError: an unfinished audit of something else is there; its shards stay.
        """
        for left in self.path.rglob(f"*{UNFINISHED}"):
            left.unlink()
        before = None if fresh else self._state()
        if before is not None and (changes := before.changes(state)):
            if not before.is_finished:
                raise AuditError(
                    f"{self.path} holds an unfinished audit of something else: {'; '.join(changes)}. Its shards stay; "
                    "bring that back to go on, give --fresh to begin anew, or another folder"
                )
            before = None
        if before is None:
            shutil.rmtree(self.path / SHARDS, ignore_errors=True)
            self._write(state)

    def finish(self, report: AuditReport, outcomes: pd.DataFrame, attacked: pd.DataFrame | None) -> None:
        """Write what the audit came to.

        Raises:
            AuditError: it can't be written.
        """
        self.write(report, outcomes, attacked)
        state = self._state()
        assert state is not None
        self._write(state.model_copy(update={"is_finished": True}))

    def write(self, report: AuditReport, outcomes: pd.DataFrame, attacked: pd.DataFrame | None) -> None:
        """The same, of what is no audit that was begun here.

        Raises:
            AuditError: it can't be written.
        """
        self._write_table(self.outcomes, outcomes)
        if attacked is None:
            self.attacked.unlink(missing_ok=True)
        else:
            self._write_table(self.attacked, attacked)
        write_whole(self.report, report.model_dump_json(indent=2, by_alias=True).encode() + b"\n", error=AuditError)

    def is_finished(self) -> bool | None:
        """Whether the audit that was begun here has written its report; None where none was begun.

        Raises:
            AuditError: its state can't be read.
        """
        state = self._state()
        return None if state is None else state.is_finished

    def found(self, shard: Shard) -> Measured | None:
        """A finished shard; None where it has still to be measured.

        Raises:
            AuditError: its file is damaged.
        """
        path = self._shard(shard)
        try:
            return Measured.from_parquet(path.read_bytes())
        except FileNotFoundError:
            return None
        except (ValueError, OSError) as error:
            raise AuditError(f"{path} can't be read ({error}); remove it to have it measured again") from error

    def has(self, shard: Shard) -> bool:
        """Whether a shard is finished."""
        return self._shard(shard).is_file()

    def keep(self, shard: Shard, measured: Measured) -> None:
        """
        Raises:
            AuditError: it can't be written.
        """
        write_whole(self._shard(shard), measured.to_parquet(), error=AuditError)

    def _shard(self, shard: Shard) -> Path:
        return self.path / SHARDS / f"{shard.name}.parquet"

    def _state(self) -> AuditState | None:
        path = self.path / STATE
        try:
            return AuditState.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return None
        except (ValidationError, OSError) as error:
            raise AuditError(f"{path} can't be read ({error}); give --fresh to begin anew") from error

    def _write(self, state: AuditState) -> None:
        data = state.model_dump_json(indent=2, by_alias=True).encode() + b"\n"
        write_whole(self.path / STATE, data, error=AuditError)

    def _write_table(self, path: Path, table: pd.DataFrame) -> None:
        file = io.BytesIO()
        table.to_parquet(file, index=False)
        write_whole(path, file.getvalue(), error=AuditError)
