"""What an audit consists of: enough for any process to measure any shard of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from monitoring.audit.outcomes import Cut
from monitoring.audit.result import AttackSettings
from monitoring.audit.shards import LOT, AttackShard, CleanShard, Shard
from monitoring.audit.subsample import choose_clips
from recognizer.decision import UNKNOWN
from recognizer.manifest import Manifest


@dataclass(frozen=True)
class AuditPlan:
    """An audit, before anything is measured.

    Attributes:
        manifest: its rows in the order of their clips' names, so that the order they came in changes nothing.
        defenses: names, each once.
        version: of the bundle.
        seed: keys the noise, the attackers' too, and which clips are attacked.
        shard_clips: clips of a shard.
        cut: see `monitoring.audit.outcomes`.
    """

    manifest: Manifest
    defenses: tuple[str, ...]
    version: str
    seed: int
    attack: AttackSettings
    shard_clips: int
    cut: Cut | None = None

    @classmethod
    def of(
        cls,
        manifest: Manifest,
        *,
        defenses: Sequence[str],
        version: str,
        seed: int,
        attack: AttackSettings,
        shard_clips: int,
        cut: Cut | None = None,
    ) -> AuditPlan:
        """
        Raises:
            ManifestError: two clips share a name.
        """
        order = pd.Series(manifest.clip_ids).argsort(kind="stable")
        ordered = Manifest(manifest.table.iloc[order].reset_index(drop=True), manifest.attributes)
        return cls(ordered, tuple(defenses), version, seed, attack, shard_clips, cut)

    @cached_property
    def clips(self) -> tuple[str, ...]:
        """Their names, in order."""
        return tuple(self.manifest.clip_ids)

    @cached_property
    def _place(self) -> dict[str, int]:
        return {clip: i for i, clip in enumerate(self.clips)}

    @cached_property
    def attacked(self) -> tuple[str, ...]:
        """Names of the clips that are attacked, in the order chosen."""
        commands = self.manifest.table["command"] != UNKNOWN
        of_commands = self.manifest.where(commands.to_list())
        return choose_clips(
            of_commands.clip_ids, of_commands.table["speaker"].to_list(), count=self.attack.clips, seed=self.seed
        )

    def rows(self, clips: Sequence[str]) -> Manifest:
        """The rows of named clips, in the order of the names."""
        chosen = self.manifest.table.iloc[[self._place[clip] for clip in clips]].reset_index(drop=True)
        return Manifest(chosen, self.manifest.attributes)

    @cached_property
    def clean_shards(self) -> tuple[Shard, ...]:
        """The shards of clean clips, in order."""
        return tuple(CleanShard(i) for i in range(-(-len(self.manifest.table) // self.shard_clips)))

    @cached_property
    def attack_shards(self) -> tuple[Shard, ...]:
        """Those of attacked ones, by defense."""
        lots = range(-(-len(self.attacked) // LOT))
        return tuple(AttackShard(i, defense) for defense in self.defenses for i in lots)

    @cached_property
    def shards(self) -> tuple[Shard, ...]:
        """All of them."""
        return (*self.clean_shards, *self.attack_shards)
