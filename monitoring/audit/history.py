"""Audits over time: one row a run, defense, attribute, group and figure, so that trends can be queried."""

from __future__ import annotations

import fcntl
import hashlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from pathlib import Path

import pandas as pd

from monitoring.audit.errors import AuditError
from monitoring.audit.figures import EVERYBODY
from monitoring.audit.result import AttackedGroup, AuditReport, DefenseResult, Estimate, GapResult, GroupResult
from recognizer.whole_file import write_whole

_RUN_DIGITS = 16


@dataclass(frozen=True)
class HistoryRow:
    """One figure of one audit."""

    run: str
    """Of one report, always the same."""
    created_at: datetime
    bundle: str
    model: str
    """The bundle's version, `sha256:...`"""
    manifest: str
    fingerprint: str
    outcome: str
    """Of the whole audit: `pass`, `disparity` or `inconclusive`"""
    defense: str
    attribute: str
    """Empty of figures over all speakers"""
    group: str
    """`all` over all speakers; empty of a gap"""
    metric: str
    part: str
    """Of a combined defense, the part that AUC_FPR is of; else empty"""
    speakers: int | None
    """None of a gap, as are clips"""
    clips: int | None
    value: float | None
    """A mean, or of a gap that of the compared groups, None where fewer than two are compared"""
    lower: float | None
    upper: float | None
    verdict: str
    """Of a gap; else empty"""


@dataclass(frozen=True)
class _Figure:
    metric: str
    part: str
    speakers: int | None
    clips: int | None
    value: float | None
    lower: float | None
    upper: float | None
    verdict: str = ""


def history_of(report: AuditReport) -> tuple[HistoryRow, ...]:
    """Every group's figures, and every gap."""
    digest = hashlib.sha256(report.model_dump_json(by_alias=True).encode()).hexdigest()
    return tuple(
        HistoryRow(
            run=digest[:_RUN_DIGITS],
            created_at=report.created_at,
            bundle=report.bundle_name,
            model=report.bundle_version,
            manifest=report.manifest,
            fingerprint=report.fingerprint,
            outcome=report.judgement.outcome,
            defense=result.defense,
            attribute=attribute,
            group=group,
            **asdict(figure),
        )
        for result in report.defenses
        for attribute, group, figure in _figures(result)
    )


def append_history(path: Path, rows: Sequence[HistoryRow]) -> None:
    """Add an audit's rows to a Parquet file, made where there is none; a run that is there already is replaced.

    Several may ask at once.

    Raises:
        AuditError: the file can't be read or written, or is no history; it stays as it was.
    """
    columns = [field.name for field in fields(HistoryRow)]
    new = pd.DataFrame([asdict(row) for row in rows], columns=columns)
    new = new.assign(created_at=pd.to_datetime(new["created_at"], utc=True).astype("datetime64[us, UTC]"))
    new = new.astype({"speakers": "Int64", "clips": "Int64", "value": float, "lower": float, "upper": float})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.with_name(f".{path.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            before = _read(path, columns)
            if before is not None:
                new = pd.concat([before[~before["run"].isin(new["run"])], new], ignore_index=True)
            file = io.BytesIO()
            new.to_parquet(file, index=False)
            write_whole(path, file.getvalue(), error=AuditError)
    except OSError as error:
        raise AuditError(f"the history {path} can't be written: {error.strerror or error}") from error


def _read(path: Path, columns: list[str]) -> pd.DataFrame | None:
    try:
        before = pd.read_parquet(path)
    except FileNotFoundError:
        return None
    except (ValueError, OSError) as error:
        raise AuditError(f"the history {path} can't be read: {error}") from error
    if list(before.columns) != columns:
        raise AuditError(f"{path} has the columns {list(before.columns)}; a history of audits has {columns}")
    return before


def _figures(result: DefenseResult) -> Iterator[tuple[str, str, _Figure]]:
    for figure in _of_group(result.overall):
        yield "", EVERYBODY, figure
    for attribute in result.attributes:
        for group in attribute.groups:
            for figure in _of_group(group):
                yield attribute.attribute, group.group, figure
        for gap in attribute.gaps:
            yield attribute.attribute, "", _of_gap(gap)
    if result.attacked is None:
        return
    yield "", EVERYBODY, _attacked(result.attacked.overall)
    for under_attack in result.attacked.attributes:
        for own in under_attack.groups:
            yield under_attack.attribute, own.group, _attacked(own)
        for gap in under_attack.gaps:
            yield under_attack.attribute, "", _of_gap(gap)


def _of_group(group: GroupResult) -> Iterator[_Figure]:
    yield _estimate("accuracy", "", group.speakers, group.clips, group.accuracy)
    yield _estimate("rejection", "", group.speakers, group.clips, group.rejection)
    if group.auc_fpr is not None:
        yield _estimate("auc_fpr", "", group.speakers, group.clips, group.auc_fpr)
    for part in group.parts:
        yield _estimate("auc_fpr", part.part, group.speakers, group.clips, part.auc_fpr)


def _attacked(group: AttackedGroup) -> _Figure:
    return _estimate("auc_acc", "", group.speakers, group.clips, group.auc_acc)


def _estimate(metric: str, part: str, speakers: int, clips: int, found: Estimate) -> _Figure:
    return _Figure(metric, part, speakers, clips, found.mean, found.lower, found.upper)


def _of_gap(gap: GapResult) -> _Figure:
    return _Figure(gap.metric, gap.part or "", None, None, gap.value_compared, gap.lower, gap.upper, gap.verdict.value)
