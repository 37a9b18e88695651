"""What is released of live traffic: the one state that `/metrics` and `/v1/fairness` both show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from monitoring.betting import alarm_level
from monitoring.evidence import Standing, groups_bet_on, groups_in_all
from monitoring.live import LiveSettings
from monitoring.tally import Cell, Tally
from recognizer.groups import Vocabulary, all_groups


@dataclass(frozen=True)
class Bundle:
    """A bundle whose series are there, at zero from the start."""

    model: str
    """Short version."""
    vocabulary: Vocabulary
    defenses: tuple[str, ...]

    def alarm_level(self, alpha: float) -> float:
        """Log-wealth at which evidence on one of its groups, under one defense, is an alarm."""
        return alarm_level(max(1, groups_in_all(self.vocabulary)), alpha)

    def cells(self) -> list[Cell]:
        """Everything that is counted of it."""
        return [
            Cell(self.model, defense, attribute, group)
            for attribute in self.vocabulary
            for group in all_groups(self.vocabulary, attribute)
            for defense in self.defenses
        ]


@dataclass(frozen=True)
class Snapshot:
    """What is released at one moment."""

    ledger: str
    """Which ledger this is; gateways with the same one show the same state."""
    passed_at: float
    """When what waited was last looked through, seconds since the epoch."""
    settings: LiveSettings
    bundles: tuple[Bundle, ...]
    tallies: Mapping[Cell, Tally]
    standings: Mapping[Cell, Standing]

    @cached_property
    def cells(self) -> list[Cell]:
        """Sorted by attribute, group, defense, model."""
        begun = {cell for bundle in self.bundles for cell in bundle.cells()}
        return sorted(begun | self.tallies.keys(), key=lambda c: (c.attribute, c.group, c.defense, c.model))

    @cached_property
    def bet_on(self) -> list[Cell]:
        """The cells that there is, or will be, evidence on."""
        begun = {
            Cell(bundle.model, defense, attribute, group)
            for bundle in self.bundles
            for attribute in bundle.vocabulary
            for group in groups_bet_on(bundle.vocabulary, attribute)
            for defense in bundle.defenses
        }
        return sorted(begun | self.standings.keys())

    @cached_property
    def alarm_levels(self) -> Mapping[str, float]:
        """Model -> log-wealth at which evidence is an alarm."""
        return {bundle.model: bundle.alarm_level(self.settings.alpha) for bundle in self.bundles}

    def tally(self, cell: Cell) -> Tally:
        return self.tallies.get(cell) or Tally()

    def is_alarm(self, cell: Cell) -> bool:
        """Whether the evidence on a group has reached the level of an alarm."""
        level = self.alarm_levels.get(cell.model)
        standing = self.standings.get(cell)
        return level is not None and standing is not None and standing.evidence.log_evidence >= level
