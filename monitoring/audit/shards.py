"""The pieces that an audit is measured in, each by itself: none depends on another, nor on who measures it when."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from monitoring.audit.attacking import HEALTH_CLIPS, attack
from monitoring.audit.errors import AuditError
from monitoring.audit.outcomes import decide_all, whole
from monitoring.audit.result import HealthFinding
from monitoring.measured import Unheard, hear
from recognizer.defense import NetworkError
from recognizer.progress import OnProgress
from recognizer.recognizer import Recognizer, window_of

if TYPE_CHECKING:
    from monitoring.audit.plan import AuditPlan

LOT = HEALTH_CLIPS
"""Clips that are attacked together."""
_EXTRA = b"evenvoice"


@dataclass(frozen=True)
class Measured:
    """What a shard came to."""

    table: pd.DataFrame
    unheard: tuple[Unheard, ...] = ()
    findings: tuple[HealthFinding, ...] = ()

    def to_parquet(self) -> bytes:
        """One file of all three."""
        table = pa.Table.from_pandas(self.table, preserve_index=False)
        extra = {
            "unheard": [u.model_dump() for u in self.unheard],
            "findings": [f.model_dump() for f in self.findings],
        }
        file = pa.BufferOutputStream()
        pq.write_table(table.replace_schema_metadata({**table.schema.metadata, _EXTRA: json.dumps(extra)}), file)
        return bytes(file.getvalue().to_pybytes())

    @classmethod
    def from_parquet(cls, data: bytes) -> Measured:
        """
        Raises:
            ValueError: the bytes are no shard.
        """
        table = pq.read_table(pa.BufferReader(data))
        try:
            extra = json.loads(table.schema.metadata[_EXTRA])
        except (KeyError, TypeError) as error:
            raise ValueError("a Parquet file that no audit wrote") from error
        return cls(
            table.to_pandas(),
            tuple(Unheard(**u) for u in extra["unheard"]),
            tuple(HealthFinding(**f) for f in extra["findings"]),
        )


@dataclass(frozen=True)
class Shard(ABC):
    """A piece of an audit."""

    number: int

    @property
    @abstractmethod
    def name(self) -> str:
        """Its file's, without the ending."""

    kind: ClassVar[str]
    """What a progress bar says."""

    @property
    def of(self) -> str:
        """The defense that it is of; empty where it is of all."""
        return ""

    @abstractmethod
    def clips(self, plan: AuditPlan) -> Sequence[str]:
        """Their names."""

    def size(self, plan: AuditPlan) -> int:
        """How many they are."""
        return len(self.clips(plan))

    @abstractmethod
    def measure(self, plan: AuditPlan, recognizer: Recognizer, on_progress: OnProgress) -> Measured:
        """Measure it.

        Raises:
            AuditError: the network gave NaN or infinity, or nothing can be attacked.
        """


@dataclass(frozen=True)
class CleanShard(Shard):
    """Some clips, by every defense."""

    kind = "deciding on clips"

    @property
    def name(self) -> str:
        return f"clean-{self.number:05}"

    def clips(self, plan: AuditPlan) -> Sequence[str]:
        return plan.clips[self.number * plan.shard_clips : (self.number + 1) * plan.shard_clips]

    def measure(self, plan: AuditPlan, recognizer: Recognizer, on_progress: OnProgress) -> Measured:
        names = self.clips(plan)
        try:
            outcomes, unheard = decide_all(
                recognizer,
                plan.rows(names),
                defenses=plan.defenses,
                seed=plan.seed,
                cut=plan.cut,
                on_progress=on_progress,
            )
        except NetworkError as error:
            raise AuditError(f"{error}, on one of the clips {names[0]} to {names[-1]}: the bundle is broken") from error
        return Measured(outcomes, unheard)


@dataclass(frozen=True)
class AttackShard(Shard):
    """A lot of the attacked clips, by one defense."""

    defense: str
    kind = "attacking clips"

    @property
    def of(self) -> str:
        return self.defense

    @property
    def name(self) -> str:
        return f"attacked-{self.defense}-{self.number:05}"

    def clips(self, plan: AuditPlan) -> Sequence[str]:
        return plan.attacked[self.number * LOT : (self.number + 1) * LOT]

    def measure(self, plan: AuditPlan, recognizer: Recognizer, on_progress: OnProgress) -> Measured:
        names = self.clips(plan)
        rows = plan.rows(names).table.assign(clip=list(names))
        rows, recordings, unheard = hear(rows, recognizer.audio, plan.cut or whole)
        played = zip(rows.to_dict("records"), recordings, strict=True)
        found = [(row, own.clip) for row, own in played if own.clip is not None]
        if not found:
            return Measured(pd.DataFrame({"clip": []}), tuple(unheard))
        try:
            table, findings = attack(
                recognizer.defense(self.defense),
                window_of([clip for _, clip in found], recognizer.audio),
                [str(row["command"]) for row, _ in found],
                clip_ids=[str(row["clip"]) for row, _ in found],
                labels=recognizer.labels,
                settings=plan.attack,
                seed=plan.seed,
                is_first=self.number == 0,
                on_progress=on_progress,
            )
        except (NetworkError, ValueError) as error:
            raise AuditError(f"{self.defense} can't be attacked: {error}") from error
        own = {str(row["clip"]): row for row, _ in found}
        kept = ("speaker", "command", *plan.manifest.attributes)
        columns = {column: [own[clip][column] for clip in table["clip"]] for column in kept}
        return Measured(table.assign(defense=self.defense, **columns), (), findings)
