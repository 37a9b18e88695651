"""What a sweep over thresholds found: one row a setting, as JSON, as CSV and as tables."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import pandas as pd
from pydantic import Field

from monitoring.measured import GapFigures, Measurement
from monitoring.report import Grid
from monitoring.thresholds.grid import ThresholdGrid
from recognizer.defense import DefenseName
from recognizer.retune import Choice, Setting, TunedOn

_ON_FRONT, _CURRENT = "●", "now"


class GapOfSetting(GapFigures):
    """The gap of false rejections over the groups of one attribute."""

    attribute: str


class UnderAttack(Measurement):
    """Shares of the attacked clips, which are all of commands; together 1."""

    right: float
    """Accepted as the command that it is."""
    rejected: float
    wrong: float
    """Accepted as another command: the attack's success rate."""


class SettingResult(Measurement):
    """One setting on the clips that could be heard."""

    name: str
    defense: DefenseName
    setting: Setting
    accuracy: float
    """Accepted with the right command, of all clips of commands."""
    false_rejection: float
    """Abstained, of all clips of commands."""
    wrong_acceptance: float
    """Accepted as a command that it is not, of all clips: commands taken for another, and clips of no command."""
    false_acceptance: float | None
    """Accepted, of the clips of no command; null where there are none."""
    gaps: tuple[GapOfSetting, ...]
    largest_gap: float | None
    """Over the attributes' `value_compared`; null where no attribute's groups can be compared."""
    attacked: UnderAttack | None
    """Null where nothing was attacked."""
    draws_mean: float | None
    """Of RS, a clip."""
    draws_p95: float | None
    milliseconds_mean: float
    """A clip alone, without its decoding."""
    milliseconds_p95: float
    is_current: bool
    is_on_front: bool

    @property
    def figures(self) -> dict[str, float | None]:
        """The numbers of a row of a table, by name."""
        found: dict[str, float | None] = {
            "accuracy": self.accuracy,
            "false_rejection": self.false_rejection,
            "wrong_acceptance": self.wrong_acceptance,
            "false_acceptance": self.false_acceptance,
            "largest_gap": self.largest_gap,
            "attacked_right": self.attacked.right if self.attacked else None,
            "attacked_rejected": self.attacked.rejected if self.attacked else None,
            "attacked_wrong": self.attacked.wrong if self.attacked else None,
            "draws_mean": self.draws_mean,
            "draws_p95": self.draws_p95,
            "milliseconds_mean": self.milliseconds_mean,
            "milliseconds_p95": self.milliseconds_p95,
        }
        return found

    @property
    def figures_of_gaps(self) -> dict[str, float | str | None]:
        """Of each attribute the gap, its interval and its verdict, by name."""
        found: dict[str, float | str | None] = {}
        for gap in self.gaps:
            name = f"gap_{gap.attribute}"
            found |= {name: gap.value_compared, f"{name}_all_groups": gap.value}
            found |= {f"{name}_lower": gap.lower, f"{name}_upper": gap.upper, f"{name}_verdict": gap.verdict.value}
        return found

    def chosen(self) -> Choice:
        """What is written into a bundle."""
        return Choice(setting=self.setting, figures={**self.figures, **self.figures_of_gaps})


class ThresholdReport(Measurement):
    """What `evenvoice thresholds` writes."""

    schema_: Literal["evenvoice.thresholds/1"] = Field(default="evenvoice.thresholds/1", alias="schema")
    evenvoice_version: str
    bundle_name: str
    bundle_version: str
    measured_on: TunedOn
    grid: ThresholdGrid
    attacked_clips: int
    settings: tuple[SettingResult, ...]
    left_out: tuple[str, ...]
    """Settings under which even a unanimous vote is rejected."""
    unheard: tuple[str, ...]
    """Why clips were left out."""
    cautions: tuple[str, ...]

    def result(self, setting: Setting) -> SettingResult:
        """The row of a setting that was measured.

        Raises:
            KeyError: it was not.
        """
        return {result.setting: result for result in self.settings}[setting]


def to_table(report: ThresholdReport) -> pd.DataFrame:
    """One row a setting, every figure a column."""
    rows = []
    for result in report.settings:
        row: dict[str, object] = {"name": result.name, "defense": str(result.defense), **result.setting.model_dump()}
        row |= {**result.figures, **result.figures_of_gaps}
        rows.append(row | {"is_current": result.is_current, "is_on_front": result.is_on_front})
    return pd.DataFrame(rows)


def tables(report: ThresholdReport) -> Iterator[Grid]:
    """For a terminal, at most two a defense, narrow enough for 80 columns; shares in %."""
    for defense in dict.fromkeys(result.defense for result in report.settings):
        results = [result for result in report.settings if result.defense == defense]
        title = f"{defense} ({_ON_FRONT} on the Pareto front)"
        names = tuple(type(results[0].setting).model_fields)
        columns = (*names, "right/rejected\n/wrong, %")
        columns += ("others, %\naccepted",) if results[0].false_acceptance is not None else ()
        columns += ("draws\nmean/p95",) if results[0].draws_mean is not None else ()
        rows = tuple(_setting(result) + _decisions(result) for result in results)
        yield Grid(title, (*columns, "ms\nmean/p95"), rows, is_first_whole=True)
        columns = ("gap",) if results[0].gaps else ()
        columns += ("attacked, %\nrejected/wrong",) if results[0].attacked is not None else ()
        if columns:
            rows = tuple(_setting(result) + _gap_and_attack(result) for result in results)
            yield Grid(f"{defense}: gaps and attacks", (*names, *columns), rows, is_first_whole=True)


def words(report: ThresholdReport) -> Iterator[str]:
    """What is to be said beside the tables; nothing is recommended."""
    for result in report.settings:
        if result.is_current:
            beaten = "another is as good in everything and better in something"
            place = "on the Pareto front" if result.is_on_front else f"off the Pareto front: {beaten}"
            yield f"{result.defense} of the bundle has {result.name}, {place}"
    yield (
        "right and rejected are shares of the clips of commands; wrong are all clips that were accepted as a command "
        "that they are not"
    )
    if report.settings[0].gaps and all(result.largest_gap is None for result in report.settings):
        fewest = report.grid.audit.min_speakers
        yield f"no gap is compared: fewer than two groups of an attribute have {fewest} speakers"
    yield "an interval holds for one setting looked at, not for the best of several"
    if report.left_out:
        yield f"left out, since even a unanimous vote would be rejected: {'; '.join(report.left_out)}"
    if report.unheard:
        yield f"{len(report.unheard)} clips could not be heard; the first: {report.unheard[0]}"
    yield from report.cautions


def _setting(result: SettingResult) -> tuple[str, ...]:
    first, *others = (f"{value:g}" for value in result.setting.model_dump().values())
    return (f"{_ON_FRONT if result.is_on_front else ' '} {first}{f' {_CURRENT}' if result.is_current else ''}", *others)


def _decisions(result: SettingResult) -> tuple[str, ...]:
    cells = ["/".join(map(_percent, (result.accuracy, result.false_rejection, result.wrong_acceptance)))]
    cells += [_percent(result.false_acceptance)] if result.false_acceptance is not None else []
    if result.draws_mean is not None and result.draws_p95 is not None:
        cells.append(f"{result.draws_mean:.0f}/{result.draws_p95:.0f}")
    return (*cells, f"{_milliseconds(result.milliseconds_mean)}/{_milliseconds(result.milliseconds_p95)}")


def _gap_and_attack(result: SettingResult) -> tuple[str, ...]:
    cells = [_gap(result)] if result.gaps else []
    cells += [f"{_percent(result.attacked.rejected)}/{_percent(result.attacked.wrong)}"] if result.attacked else []
    return tuple(cells)


def _gap(result: SettingResult) -> str:
    """The largest gap with its interval and verdict, or that no groups have speakers enough."""
    compared = [gap for gap in result.gaps if gap.value_compared is not None]
    if not compared:
        return "-"
    gap = max(compared, key=lambda g: g.value_compared or 0.0)
    return f"{gap.attribute}\n{gap.value_compared:.2f} [{gap.lower:.2f}, {gap.upper:.2f}]\n{gap.verdict}"


def _milliseconds(taken: float) -> str:
    return f"{taken:.3g}" if taken < 999.5 else f"{taken:.0f}"


def _percent(share: float) -> str:
    return "100" if share == 1 else f"{100 * share:.1f}"
