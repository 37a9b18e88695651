"""What a sweep over thresholds found: one row a setting, as JSON, as CSV and as tables."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Literal

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from monitoring.parity import Verdict
from monitoring.report import Grid
from monitoring.thresholds.grid import ThresholdGrid
from recognizer.defense import DefenseName
from recognizer.retune import Choice, Setting, TunedOn

_ON_FRONT, _CURRENT = "●", "now"


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class GapOfSetting(_Model):
    """The gap of false rejections over the groups of one attribute."""

    attribute: str
    value: float | None
    """max - min over all declared groups; null under two."""
    value_compared: float | None
    """max - min over groups with enough speakers; null where fewer than two have."""
    lower: float | None
    upper: float | None
    verdict: Verdict
    highest: str | None
    lowest: str | None


class UnderAttack(_Model):
    """Shares of the attacked clips, which are all of commands; together 1."""

    right: float
    """Accepted as the command that it is."""
    rejected: float
    wrong: float
    """Accepted as another command: the attack's success rate."""


class SettingResult(_Model):
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

    def chosen(self) -> Choice:
        """What is written into a bundle."""
        return Choice(setting=self.setting, figures=self.figures)


class ThresholdReport(_Model):
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

    @property
    def created_at(self) -> datetime:
        return self.measured_on.at

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
        row |= result.figures
        for gap in result.gaps:
            row |= {f"gap_{gap.attribute}": gap.value_compared, f"gap_{gap.attribute}_all_groups": gap.value}
            row |= {f"gap_{gap.attribute}_lower": gap.lower, f"gap_{gap.attribute}_upper": gap.upper}
            row |= {f"gap_{gap.attribute}_verdict": str(gap.verdict)}
        rows.append(row | {"is_current": result.is_current, "is_on_front": result.is_on_front})
    return pd.DataFrame(rows)


def tables(report: ThresholdReport) -> Iterator[Grid]:
    """For a terminal, one a defense; shares in %."""
    for defense in dict.fromkeys(result.defense for result in report.settings):
        results = [result for result in report.settings if result.defense == defense]
        columns = [*type(results[0].setting).model_fields, "right/rejected\n/wrong, %"]
        columns += ["others, %\naccepted"] if results[0].false_acceptance is not None else []
        columns += ["gap"] if results[0].gaps else []
        columns += ["attacked, %\nrej./wrong"] if results[0].attacked is not None else []
        columns += ["draws\nmean/p95"] if results[0].draws_mean is not None else []
        title = f"{defense} ({_ON_FRONT} on the Pareto front)"
        yield Grid(title, (*columns, "ms\nmean/p95"), tuple(_row(result) for result in results))


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
        yield (f"no gap is compared: fewer than two groups of an attribute have {report.grid.min_speakers} speakers")
    if report.left_out:
        yield f"left out, since even a unanimous vote would be rejected: {'; '.join(report.left_out)}"
    if report.unheard:
        yield f"{len(report.unheard)} clips could not be heard; the first: {report.unheard[0]}"
    yield from report.cautions


def _row(result: SettingResult) -> tuple[str, ...]:
    first, *others = (f"{value:g}" for value in result.setting.model_dump().values())
    shares = (result.accuracy, result.false_rejection, result.wrong_acceptance)
    cells = [
        f"{_ON_FRONT if result.is_on_front else ' '} {first}{f' {_CURRENT}' if result.is_current else ''}",
        *others,
        "/".join(map(_percent, shares)),
    ]
    cells += [_percent(result.false_acceptance)] if result.false_acceptance is not None else []
    cells += [_gap(result)] if result.gaps else []
    cells += [f"{_percent(result.attacked.rejected)}/{_percent(result.attacked.wrong)}"] if result.attacked else []
    if result.draws_mean is not None and result.draws_p95 is not None:
        cells.append(f"{result.draws_mean:.0f}/{result.draws_p95:.0f}")
    return (*cells, f"{result.milliseconds_mean:.3g}/{result.milliseconds_p95:.3g}")


def _gap(result: SettingResult) -> str:
    """The largest gap with its interval and verdict, or that no groups have speakers enough."""
    compared = [gap for gap in result.gaps if gap.value_compared is not None]
    if not compared:
        return "-"
    gap = max(compared, key=lambda g: g.value_compared or 0.0)
    return f"{gap.attribute} {gap.value_compared:.2f}\n[{gap.lower:.2f}, {gap.upper:.2f}]\n{gap.verdict}"


def _percent(share: float) -> str:
    return "100" if share == 1 else f"{100 * share:.1f}"
