"""Audit reports made by hand, with every part that a report can have; each number in them is a different one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import count

from monitoring.audit import (
    AttackedAttribute,
    AttackedGroup,
    AttackedResult,
    AttackSettings,
    AttackSummary,
    AttributeResult,
    AuditReport,
    Cell,
    Coverage,
    DefenseResult,
    DeltaResult,
    Estimate,
    FalseAcceptance,
    GapResult,
    GateResult,
    GroupDelta,
    GroupResult,
    HealthFinding,
    HolmP,
    IntersectionResult,
    Judgement,
    Policy,
    RejectionCurve,
    Runtime,
    Spread,
    Subsample,
)
from monitoring.measured import AuditSettings, Unheard
from monitoring.parity import Change, Verdict

ALPHAS = (0.001, 0.25, 0.5, 0.75, 1.0)
EPS = (0.0, 0.0001, 0.001, 0.01, 0.1, 0.2, 0.3)
GROUPS = {"north": 24, "south": 21, "west": 2, "other": 1, "undeclared": 3}
CREATED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def judgement(*gates: GateResult, outcome: str = "inconclusive") -> Judgement:
    code = {"pass": 0, "disparity": 1, "inconclusive": 2}[outcome]
    return Judgement(policy=Policy(), policy_file=None, outcome=outcome, exit_code=code, gates=gates)


def gate(
    verdict: Verdict | str, counts_as: str, *, attribute: str | None = "accent", limit: float = 0.05
) -> GateResult:
    metric = "accuracy" if attribute is None else "rejection"
    return GateResult(
        defense="smoothing", attribute=attribute, metric=metric, limit=limit, verdict=verdict, counts_as=counts_as
    )


def frame() -> dict[str, object]:
    """The fields of a report that say nothing of groups."""
    return {
        "created_at": CREATED,
        "evenvoice_version": "0.1.0",
        "bundle_name": "tones",
        "bundle_version": "sha256:" + "a" * 64,
        "default_defense": "smoothing",
        "baseline": "none",
        "manifest": "manifest.csv",
        "fingerprint": "sha256:" + "b" * 64,
        "clips_sha256": "sha256:" + "c" * 64,
        "clips": 540,
        "speakers": 51,
        "settings": AuditSettings(seed=17),
        "alphas": ALPHAS,
        "unheard": (Unheard(clip="a/b/c.wav", why="the clip's peak is below -60 dBFS"),),
        "coverage": tuple(
            Coverage(attribute="accent", group=g, speakers=n, clips=10 * n, unheard=int(g == "west"), commands=9 * n)
            for g, n in GROUPS.items()
        ),
        "cautions": ("2 of 51 speakers have one clip only",),
        "attack": None,
        "judgement": judgement(),
        "runtime": Runtime(seconds=12.5, workers=2, shards=7, shards_found=3),
    }


def whole_report(
    *, names: Sequence[str] = tuple(GROUPS), verdict: Verdict = Verdict.DISPARITY, decided: Judgement | None = None
) -> AuditReport:
    """Two defenses, one attribute (and another for the intersection), attacked.

    Args:
        names: of the five groups, in the order of `GROUPS`.
        verdict: of the gap in rejections.
    """
    numbers = _numbers()
    results = tuple(_defense(d, names, verdict, numbers) for d in ("none", "smoothing"))
    fields = {
        **frame(),
        "defenses": results,
        "coverage": tuple(
            Coverage(attribute="accent", group=g, speakers=n, clips=10 * n, unheard=int(n == 2), commands=9 * n)
            for g, n in zip(names, GROUPS.values(), strict=True)
        ),
        "attack": AttackSummary(
            settings=AttackSettings(clips=100),
            subsample=Subsample(clips=98, speakers=49, of_clips=459, of_speakers=51),
            eps=EPS,
            chance=0.125,
        ),
        "judgement": decided or judgement(gate(verdict, "disparity"), outcome="disparity"),
    }
    return AuditReport(**fields)


def _numbers() -> Iterator[float]:
    """Shares that are told apart by their first three digits."""
    return (0.101 + 0.797 * ((i * 0.6180339887) % 1.0) for i in count(1))


def _estimate(numbers: Iterator[float], *, is_alone: bool = False) -> Estimate:
    mean = next(numbers)
    if is_alone:
        return Estimate(mean=mean, lower=None, upper=None)
    return Estimate(
        mean=mean,
        lower=mean * 0.8,
        upper=min(1.0, mean * 1.09),
        shrunken=next(numbers),
        design_effect=1 + next(numbers),
    )


def _group(name: str, speakers: int, defense: str, numbers: Iterator[float]) -> GroupResult:
    is_alone = speakers == 1
    has_score = defense != "none"
    curve = RejectionCurve(part=None, rejection=tuple(sorted((next(numbers) for _ in ALPHAS), reverse=True)))
    return GroupResult(
        group=name,
        speakers=speakers,
        clips=9 * speakers,
        accuracy=_estimate(numbers, is_alone=is_alone),
        rejection=_estimate(numbers, is_alone=is_alone),
        auc_fpr=_estimate(numbers, is_alone=is_alone) if has_score else None,
        not_commands=FalseAcceptance(clips=40, accepted=7) if name == "north" else None,
        curves=(curve,) if has_score else (),
    )


def _gap(metric: str, names: Sequence[str], verdict: Verdict, numbers: Iterator[float]) -> GapResult:
    value = next(numbers)
    is_known = verdict is not Verdict.INSUFFICIENT
    return GapResult(
        metric=metric,
        tolerance=0.05,
        value=next(numbers),
        compared=tuple(names[:2]) if is_known else (),
        value_compared=value if is_known else None,
        lower=value * 0.7 if is_known else None,
        upper=min(1.0, value * 1.08) if is_known else None,
        verdict=verdict,
        too_small=tuple(names[2:4]) if is_known else tuple(names[:4]),
        highest=names[0] if is_known else None,
        lowest=names[1] if is_known else None,
        minimum_detectable_gap=next(numbers) if is_known else None,
        p_value=next(numbers) if is_known else None,
        holm=tuple(
            HolmP(group=name, p_value=next(numbers), is_named=side == "above", side=side)
            for name, side in zip(names[:2], ("above", "below"), strict=True)
        )
        if is_known
        else (),
        spread=Spread(sd=next(numbers), lower=0.0, upper=next(numbers)) if is_known else None,
    )


def _defense(defense: str, names: Sequence[str], verdict: Verdict, numbers: Iterator[float]) -> DefenseResult:
    sizes = tuple(GROUPS.values())
    metrics = ("rejection", "accuracy", *(("auc_fpr",) if defense != "none" else ()))
    verdicts = (verdict, Verdict.INCONCLUSIVE, Verdict.EQUIVALENT)
    overall = _group("all", 51, defense, numbers).model_copy(
        update={"not_commands": FalseAcceptance(clips=40, accepted=7)}
    )
    deltas = tuple(
        DeltaResult(
            metric=metric,
            groups=tuple(
                GroupDelta(group=n, speakers=s, difference=_estimate(numbers, is_alone=s == 1))
                for n, s in zip(names, sizes, strict=True)
            ),
            gap=_estimate(numbers),
            verdict=Change.WIDER if metric == "rejection" else Change.INCONCLUSIVE,
        )
        for metric in ("rejection", "accuracy")
    )
    return DefenseResult(
        defense=defense,
        overall=overall,
        attributes=(
            AttributeResult(
                attribute="accent",
                groups=tuple(_group(n, s, defense, numbers) for n, s in zip(names, sizes, strict=True)),
                gaps=tuple(_gap(m, names, v, numbers) for m, v in zip(metrics, verdicts, strict=False)),
                deltas=deltas if defense != "none" else (),
            ),
        ),
        sounds={"babble": FalseAcceptance(clips=22, accepted=3)},
        intersections=tuple(
            IntersectionResult(
                attributes=("accent", "gender"),
                metric=metric,
                cells=tuple(
                    Cell(
                        groups=(name, "female"),
                        speakers=s,
                        clips=9 * s,
                        mean=next(numbers),
                        fitted=None if name == "undeclared" else next(numbers),
                        shrunken=None if name == "undeclared" else next(numbers),
                    )
                    for name, s in zip(names, sizes, strict=True)
                ),
            )
            for metric in ("accuracy", "rejection")
        ),
        attacked=_attacked(names, numbers),
    )


def _attacked(names: Sequence[str], numbers: Iterator[float]) -> AttackedResult:
    def group(name: str, speakers: int) -> AttackedGroup:
        falling = sorted((next(numbers) for _ in EPS), reverse=True)
        area = 0.3 * next(numbers)
        return AttackedGroup(
            group=name,
            speakers=speakers,
            clips=2 * speakers,
            auc_acc=Estimate(mean=area, lower=area * 0.5, upper=area * 1.1, shrunken=0.3 * next(numbers)),
            accuracy=tuple(Estimate(mean=a, lower=a * 0.9, upper=a * 1.05) for a in falling),
            rejected=tuple((1 - a) * 0.25 for a in falling),
        )

    return AttackedResult(
        overall=group("all", 49),
        attributes=(
            AttackedAttribute(
                attribute="accent",
                groups=tuple(group(n, s) for n, s in zip(names, GROUPS.values(), strict=True)),
                gaps=(_gap("auc_acc", names, Verdict.INCONCLUSIVE, numbers),),
            ),
        ),
        snr_db=(None, 61.5, 41.5, 21.5, 1.5, -4.5, -8.25),
        findings=(HealthFinding(pitfall="not_converged", detail="12 % more broken by twice the steps"),),
    )
