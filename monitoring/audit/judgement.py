"""What an audit comes to under its policy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

from monitoring.audit.policy import ANY, DEFAULT_DEFENSE, Gate, Policy
from monitoring.audit.result import DefenseResult, Estimate, GapResult, GateResult, Judgement
from monitoring.parity import Verdict

EXIT_CODES: dict[str, Literal[0, 1, 2]] = {"pass": 0, "disparity": 1, "inconclusive": 2}
ERROR = 3
"""The exit code of an audit that could not be made."""


def judge(
    defenses: Sequence[DefenseResult], policy: Policy, *, default_defense: str, policy_file: str | None
) -> Judgement:
    """Hold every gated figure against its limit; the worst decides: disparity before inconclusive before pass.

    An audit without any gated figure is inconclusive: nothing was looked at.
    """
    gates = (*_gaps(defenses, policy, default_defense), *_accuracies(defenses, policy, default_defense))
    found = {gate.counts_as for gate in gates}
    outcome: Literal["pass", "disparity", "inconclusive"] = "inconclusive"
    if "disparity" in found:
        outcome = "disparity"
    elif found == {"pass"}:
        outcome = "pass"
    return Judgement(
        policy=policy, policy_file=policy_file, outcome=outcome, exit_code=EXIT_CODES[outcome], gates=gates
    )


def verdict_at(gap: GapResult, tolerance: float) -> Verdict:
    """A gap's verdict at a tolerance other than the one it was reported at."""
    if gap.lower is None or gap.upper is None:
        return Verdict.INSUFFICIENT
    if gap.lower > tolerance:
        return Verdict.DISPARITY
    return Verdict.EQUIVALENT if gap.upper <= tolerance else Verdict.INCONCLUSIVE


def _gaps(defenses: Sequence[DefenseResult], policy: Policy, default: str) -> Iterator[GateResult]:
    """Each gap once, under the first of the gates that name it."""
    for result in defenses:
        for attribute, gap in _all_gaps(result):
            gate = next((g for g in policy.gates if _names(g, result.defense, default, attribute, gap)), None)
            if gate is None:
                continue
            limit = policy.tolerance_of(gate, gap.metric)
            verdict = verdict_at(gap, limit)
            yield GateResult(
                defense=result.defense,
                attribute=attribute,
                metric=gap.metric,
                part=gap.part,
                limit=limit,
                verdict=verdict,
                counts_as=_counts_as(verdict, policy),
            )


def _all_gaps(result: DefenseResult) -> Iterator[tuple[str, GapResult]]:
    for attribute in result.attributes:
        for gap in attribute.gaps:
            yield attribute.attribute, gap
    for attacked in result.attacked.attributes if result.attacked else ():
        for gap in attacked.gaps:
            yield attacked.attribute, gap


def _names(gate: Gate, defense: str, default: str, attribute: str, gap: GapResult) -> bool:
    return (
        _is_meant(gate.defense, defense, default)
        and gate.attribute in (ANY, attribute)
        and gate.metric in (ANY, gap.metric)
    )


def _is_meant(named: str, defense: str, default: str) -> bool:
    return named in (ANY, defense) or (named == DEFAULT_DEFENSE and defense == default)


def _accuracies(defenses: Sequence[DefenseResult], policy: Policy, default: str) -> Iterator[GateResult]:
    for result in defenses:
        named = {n: least for n, least in policy.minimum_accuracy.items() if _is_meant(n, result.defense, default)}
        if not named:
            continue
        limit = max(named.values())
        verdict = _reaches(result.overall.accuracy, limit)
        yield GateResult(
            defense=result.defense,
            attribute=None,
            metric="accuracy",
            limit=limit,
            verdict=verdict,
            counts_as={"reached": "pass", "missed": "disparity"}.get(verdict, policy.inconclusive),
        )


def _reaches(accuracy: Estimate, least: float) -> Literal["reached", "missed"] | Verdict:
    """By its interval, as a gap's verdict is: the speakers at hand may leave both possible."""
    if accuracy.lower is not None and accuracy.lower >= least:
        return "reached"
    if accuracy.upper is not None and accuracy.upper < least:
        return "missed"
    return Verdict.INCONCLUSIVE


def _counts_as(verdict: Verdict, policy: Policy) -> Literal["pass", "disparity", "inconclusive"]:
    match verdict:
        case Verdict.DISPARITY:
            return "disparity"
        case Verdict.EQUIVALENT:
            return "pass"
        case Verdict.INSUFFICIENT:
            return policy.insufficient
        case _:
            return policy.inconclusive
