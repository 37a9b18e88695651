"""The answer to the audit's question, in a sentence, and the reason for it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from monitoring.audit import AuditReport, Estimate, GapResult, GateResult
from monitoring.parity import Verdict
from monitoring.report.blocks import Cell, Kind, Table
from monitoring.report.measures import Measure, estimate_of, gap_of
from monitoring.report.numbers import NOTHING, counted
from monitoring.report.words import METRIC_WORDS, VERDICT_WORDS, defense_words, metric_words, verdict_cell

_KINDS: dict[str, Kind] = {"pass": "pass", "disparity": "disparity", "inconclusive": "inconclusive"}
_HEADS = {"pass": "Within the limits.", "disparity": "Disparity.", "inconclusive": "It can't be said."}
_COUNTS_AS = {"pass": "passes", "disparity": "fails", "inconclusive": "leaves it open"}
_MOST_REASONS = 3


@dataclass(frozen=True)
class Answer:
    """What the audit comes to."""

    kind: Kind
    head: str
    reason: str


def question(report: AuditReport) -> str:
    return f"Does {report.bundle_name} turn some people away more often than others?"


def answer(report: AuditReport) -> Answer:
    """The outcome under the policy, and what it rests on."""
    judgement = report.judgement
    reasons = {
        "pass": _why_pass,
        "disparity": _why_disparity,
        "inconclusive": _why_inconclusive,
    }[judgement.outcome](report)
    return Answer(kind=_KINDS[judgement.outcome], head=_HEADS[judgement.outcome], reason=reasons)


def gate_table(report: AuditReport) -> Table:
    """Every figure that decides."""
    return Table(
        caption="What decides: the figures that the policy looks at.",
        columns=(
            "figure",
            "verdict",
            "measured",
            f"{report.settings.confidence:.0%} interval",
            "limit",
            "so it",
            "defense",
        ),
        rows=tuple(_gate_row(report, gate) for gate in report.judgement.gates),
        words=frozenset({0, 1, 5, 6}),
    )


def found_gap(report: AuditReport, gate: GateResult) -> GapResult | None:
    """The gap that a gate is of; None where it is of an accuracy."""
    for result in report.defenses:
        if result.defense != gate.defense:
            continue
        if gate.metric == "auc_acc" and result.attacked is not None:
            attacked = (a for a in result.attacked.attributes if a.attribute == gate.attribute)
            return next((g for a in attacked for g in a.gaps if g.metric == "auc_acc"), None)
        for attribute in result.attributes:
            if attribute.attribute == gate.attribute:
                return gap_of(attribute, Measure(gate.metric, gate.part))
    return None


def _overall(report: AuditReport, gate: GateResult) -> Estimate | None:
    overall = (r.overall for r in report.defenses if r.defense == gate.defense)
    return next((estimate_of(group, Measure(gate.metric, gate.part)) for group in overall), None)


def _gate_row(report: AuditReport, gate: GateResult) -> tuple[str | Cell, ...]:
    unit = METRIC_WORDS[gate.metric].unit
    words = metric_words(gate.metric, gate.part)
    if gate.attribute is None:
        overall = _overall(report, gate)
        measured = (
            (unit.value(overall.mean), unit.interval(overall.lower, overall.upper)) if overall else (NOTHING,) * 2
        )
        name, limit = f"{unit.named(words)}, all speakers", f"at least {unit.value(gate.limit)}"
    else:
        gap = found_gap(report, gate)
        value = None if gap is None else gap.value if gap.value_compared is None else gap.value_compared
        measured = (unit.value(value), unit.interval(gap.lower, gap.upper) if gap else NOTHING)
        name, limit = f"gap by {gate.attribute}: {_lowered(unit.named(words))}", f"at most {unit.value(gate.limit)}"
    verdict = verdict_cell(gate.verdict) if isinstance(gate.verdict, Verdict) else _level_cell(gate.verdict)
    return (name, verdict, *measured, limit, _COUNTS_AS[gate.counts_as], defense_words(gate.defense))


def _level_cell(verdict: str) -> Cell:
    return Cell(verdict, kind="pass" if verdict == "reached" else "disparity")


def _why_pass(report: AuditReport) -> str:
    gates = report.judgement.gates
    shown = [g for g in gates if g.verdict in (Verdict.EQUIVALENT, "reached")]
    unsure = len(gates) - len(shown)
    words = f"All {len(gates)} figures that count pass" if len(gates) > 1 else "The one figure that counts passes"
    if not unsure:
        return f"{words}: the interval of each lies within its limit."
    return (
        f"{words}, but of {unsure} of them that is the policy's choice and no finding: "
        f"{_tally(tuple(g for g in gates if g not in shown))}."
    )


def _why_disparity(report: AuditReport) -> str:
    failed = [g for g in report.judgement.gates if g.counts_as == "disparity"]
    reasons = [_failure(report, gate) for gate in failed[:_MOST_REASONS]]
    more = f" So do {counted(len(failed) - _MOST_REASONS, 'other figure')}." if len(failed) > _MOST_REASONS else ""
    return f"{' '.join(reasons)}{more}"


def _failure(report: AuditReport, gate: GateResult) -> str:
    unit = METRIC_WORDS[gate.metric].unit
    words, under = metric_words(gate.metric, gate.part), defense_words(gate.defense)
    if gate.attribute is None:
        overall = _overall(report, gate)
        reached = unit.value(overall.mean if overall else None)
        asked = f"at least {unit.value(gate.limit)}{unit.sign}"
        return f"With {under} the accuracy over all speakers is {reached}{unit.sign}; the policy asks for {asked}."
    gap = found_gap(report, gate)
    if gap is None or gate.verdict is not Verdict.DISPARITY:
        says = f"the verdict on {_lowered(words)} is {_verdict_word(gate)}"
        return f"By {gate.attribute}, with {under}, {says}, which the policy counts as a failure."
    return (
        f"By {gate.attribute}, with {under}, {_lowered(words)} are apart by {unit.value(gap.value_compared)}"
        f"{unit.gap_sign} between {gap.highest} (highest) and {gap.lowest} (lowest): surely by more than "
        f"{unit.value(gap.lower)}, and {unit.value(gate.limit)} is the limit."
    )


def _why_inconclusive(report: AuditReport) -> str:
    gates = report.judgement.gates
    if not gates:
        return "The policy looks at no figure that this audit has."
    open_gates = tuple(g for g in gates if g.counts_as == "inconclusive")
    of = (
        "The one figure that decides gives no answer"
        if len(gates) == 1
        else (
            f"{'None' if len(open_gates) == len(gates) else 'Not all'} of the {len(gates)} figures that decide "
            f"{'gives' if len(open_gates) == len(gates) else 'give'} an answer"
        )
    )
    return f"{of}: {_tally(open_gates)}."


def _tally(gates: tuple[GateResult, ...]) -> str:
    tally = Counter(_verdict_word(gate) for gate in gates)
    meanings = {
        VERDICT_WORDS[Verdict.INCONCLUSIVE]: "the speakers at hand leave open whether the limit is kept",
        VERDICT_WORDS[Verdict.INSUFFICIENT]: "fewer than two groups have enough speakers to be compared",
        VERDICT_WORDS[Verdict.DISPARITY]: "the gap is surely beyond the limit",
        "missed": "the accuracy is surely below what is asked for",
    }
    return "; ".join(f"for {n}, {meanings.get(word, word)}" for word, n in sorted(tally.items()))


def _verdict_word(gate: GateResult) -> str:
    return VERDICT_WORDS[gate.verdict] if isinstance(gate.verdict, Verdict) else gate.verdict


def _lowered(words: str) -> str:
    return words if words.startswith("AUC") else words[0].lower() + words[1:]
