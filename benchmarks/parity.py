"""Error rates and speed of the fairness statistics: `python -m benchmarks.parity`.

Corpora are drawn again and again from populations whose gap is known (`benchmarks.speakers`). It counts how often each
interval covers the truth and how often each test calls nothing something, beside what is usual: a bootstrap of clips,
as fairlearn's MetricFrame makes it, and a permutation of clips. Where fairlearn is installed (extra `bench`), point
values and the interval itself are compared with its own. Last comes an audit of a million clips, timed.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy import stats

from benchmarks.goals import Goal, finish
from benchmarks.speakers import GAP, MEAN, SIZES, Corpus, beta, draw, means
from monitoring.parity import (
    Aim,
    Change,
    SpeakerTable,
    Verdict,
    detectable_gap,
    gap,
    gap_change,
    group_means,
    permutation_test,
    shrunken_means,
    speaker_sd,
    speakers_for_equivalence,
    speakers_for_gap,
    spread,
)

REPLICATES = 2000
CLIP_REPLICATES = 500
COMPARED = sum(size >= 20 for size in SIZES)
"""The groups of 20 speakers or more come first."""
QUANTILES = (0.025, 0.975)
BIG_SPEAKERS, BIG_CLIPS = 100_000, 1_000_000
BIG_GROUPS = {"accent": 14, "age": 9, "gender": 4}
console = Console(width=110)


@dataclass(frozen=True)
class Rate:
    """How often something happened in simulated corpora, or the mean of something over them."""

    share: float
    runs: int
    sd: float

    @property
    def error(self) -> float:
        """Monte-Carlo standard error."""
        return self.sd / sqrt(self.runs)

    @classmethod
    def of(cls, values: Sequence[float]) -> Rate:
        return cls(float(np.mean(values)), len(values), float(np.std(values)))

    def __str__(self) -> str:
        return f"{self.share:.4f} ± {self.error:.4f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000, help="corpora of scores without a gap; fewer of the rest")
    parser.add_argument("--big", choices=("counts", "continuous"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.big:
        big_audit(arguments.big)
        return
    corpora = {}
    for kind, runs in (("scores", arguments.runs), ("rejections", arguments.runs // 5)):
        none = simulate(0.0, runs, zero_or_one=kind == "rejections")
        some = simulate(GAP, int(0.6 * runs), zero_or_one=kind == "rejections")
        show(kind, none, some)
        corpora[kind] = (none, some)
    plans = check_plans(2 * arguments.runs // 5)
    changes = check_changes(arguments.runs // 4)
    peer = beside_fairlearn()
    big = {kind: big_audit_in_a_process(kind) for kind in ("counts", "continuous")}
    for kind, figures in big.items():
        print(f"audit of {BIG_CLIPS:,} clips, {kind}: {figures}")
    finish(
        "parity",
        {
            "groups": SIZES,
            "replicates": REPLICATES,
            **{
                kind: {f"gap {true}": _plain(rates) for true, rates in zip((0, GAP), both, strict=True)}
                for kind, both in corpora.items()
            },
            "plans": _plain(plans),
            "changes": _plain(changes),
            "fairlearn": peer,
            "audit_of_a_million_clips": big,
        },
        [
            *(goal for kind, (none, some) in corpora.items() for goal in goals(kind, none, some)),
            Goal("plans kept", min(rate.share for name, rate in plans.items() if "kept" in name), 0.77),
            Goal("interval of a gap's change covers", min(r.share for n, r in changes.items() if "covered" in n), 0.93),
            *(Goal(f"audit, seconds, {kind}", big[kind]["seconds"], 10, at_least=False) for kind in big),
            *(Goal(f"audit, peak GiB, {kind}", big[kind]["peak_gib"], 2, at_least=False) for kind in big),
            *([Goal("largest difference to fairlearn", peer["difference"], 1e-12, at_least=False)] if peer else []),
        ],
    )


def goals(kind: str, none: dict[str, Rate], some: dict[str, Rate]) -> list[Goal]:
    """Of corpora without a gap and with one."""
    return [
        Goal(f"{kind}: gap interval covers a gap of 0", none["gap: covered"].share, 0.93),
        Goal(f"{kind}: gap interval covers a gap of {GAP}", some["gap: covered"].share, 0.93),
        Goal(f"{kind}: false disparity", none["gap: disparity"].share, 0.06, at_least=False),
        Goal(f"{kind}: permutation at 5 %", none["speakers permuted: p <= 0.05"].share, 0.06, at_least=False),
        Goal(f"{kind}: spread's interval covers 0", none["spread: covered"].share, 0.93),
    ]


def _plain(rates: dict[str, Rate]) -> dict[str, dict[str, float]]:
    return {name: {"value": r.share, "error": r.error, "runs": r.runs} for name, r in rates.items()}


def simulate(raised_by: float, runs: int, *, zero_or_one: bool) -> dict[str, Rate]:
    """What every method says of corpora with this gap."""
    truth = means(raised_by)
    between = float(truth[:COMPARED].var(ddof=1))
    seen: dict[str, list[float]] = {}

    def note(name: str, value: float) -> None:
        seen.setdefault(name, []).append(float(value))

    for run in range(runs):
        generator = np.random.default_rng([2023, round(1000 * raised_by), run])
        corpus = draw(truth, generator, zero_or_one=zero_or_one)
        table = corpus.table
        found = gap(table, tolerance=0.0, seed=run)
        note("gap: covered", found.lower <= raised_by <= found.upper)
        note("gap: disparity", found.verdict is Verdict.DISPARITY)
        note("gap: mean lower", found.lower)
        note("gap: mean upper", found.upper)
        note("max - min of all groups: mean", found.value)
        note("max - min of compared groups: mean", found.value_compared)
        low, high = clip_bootstrap(corpus, generator)
        note("clips resampled (fairlearn): covered", low <= raised_by <= high)
        note("clips resampled (fairlearn): mean lower", low)
        note("clips resampled (fairlearn): mean upper", high)
        test = permutation_test(table, permutations=1000, seed=run)
        note("speakers permuted: p <= 0.05", test.p_value <= 0.05)
        named = {group.group for group in test.groups if group.p_holm <= 0.05}
        note("Holm: the raised group is named", "g03" in named)
        note("Holm: one of the others is named", bool(named - {"g03"} if raised_by else named))
        note("clips permuted: p <= 0.05", clip_permutation(corpus, generator) <= 0.05)
        between_groups = spread(table, replicates=1000, seed=run)
        note("spread: covered", between_groups.lower <= between <= between_groups.upper)
        note("spread: lower > 0", between_groups.lower > 0.0)
        note("spread: mean of V_c - truth", between_groups.variance - between)
        note("spread: mean of S2 - truth", between_groups.naive_variance - between)
        shown = shrunken_means(table)
        note("all groups: mean square error, raw", np.mean((np.array([g.mean for g in shown]) - truth) ** 2))
        note("all groups: mean square error, shrunken", np.mean((np.array([g.shrunken for g in shown]) - truth) ** 2))
    return {name: Rate.of(values) for name, values in seen.items()}


def clip_bootstrap(corpus: Corpus, generator: np.random.Generator) -> tuple[float, float]:
    """MetricFrame's percentile interval of max - min: all clips resampled together; a group may be missing."""
    groups, clips = len(SIZES), corpus.score.size
    gaps = []
    for _ in range(CLIP_REPLICATES):
        drawn = generator.integers(clips, size=clips)
        group = corpus.group[drawn]
        with np.errstate(invalid="ignore"):
            mean = np.bincount(group, corpus.score[drawn], groups) / np.bincount(group, minlength=groups)
        gaps.append(np.nanmax(mean) - np.nanmin(mean))
    low, high = np.quantile(gaps, QUANTILES)
    return float(low), float(high)


def clip_permutation(corpus: Corpus, generator: np.random.Generator) -> float:
    """p of max - min over the compared groups with clips, not speakers, permuted."""
    is_compared = corpus.group < COMPARED
    group, score = corpus.group[is_compared], corpus.score[is_compared]
    clips = np.bincount(group)

    def statistic(of: NDArray[np.int64]) -> float:
        return float(np.ptp(np.bincount(of, score) / clips))

    found = [statistic(generator.permutation(group)) for _ in range(CLIP_REPLICATES)]
    return float((1 + (np.array(found) >= statistic(group)).sum()) / (1 + CLIP_REPLICATES))


def check_plans(runs: int) -> dict[str, Rate]:
    """How often audits of as many speakers as `planning` says come to the verdict that it promises."""
    sd = speaker_sd(clip_sd=0.46, icc=0.3, clips_per_speaker=4)
    found: dict[str, Rate] = {}
    for groups in (2, 6):
        for wanted in (0.15, 0.25):
            J = speakers_for_gap(wanted, speaker_sd=sd, aim=Aim(groups=groups))
            truth = np.full(groups, MEAN)
            truth[0] += wanted
            same = _share(runs, Verdict.DISPARITY, truth, J, sd, tolerance=0.0)
            found[f"{groups} groups, gap {wanted}: {J} speakers each, promise kept"] = same
            assert detectable_gap(J, speaker_sd=sd, aim=Aim(groups=groups)) <= wanted
        for spread_of_speakers in (sd, 0.05):
            aim = Aim(groups=groups, tolerance=0.1)
            J = speakers_for_equivalence(speaker_sd=spread_of_speakers, aim=aim)
            same = _share(runs, Verdict.EQUIVALENT, np.full(groups, MEAN), J, spread_of_speakers, tolerance=0.1)
            found[f"{groups} groups, SD {spread_of_speakers:.2f}, equivalent at 0.1: {J} speakers each, kept"] = same
    for name, rate in found.items():
        print(f"{name}: {rate}")
    return found


def _share(runs: int, verdict: Verdict, truth: NDArray[np.float64], J: int, sd: float, *, tolerance: float) -> Rate:
    """Of audits of J speakers a group, means Beta around the group's with this SD, that come to the verdict."""
    hits: list[bool] = []
    group = np.repeat(np.arange(truth.size), J)
    for run in range(runs):
        generator = np.random.default_rng([7, J, run])
        own = beta(truth[group], np.full(group.size, sd**2), generator)
        table = SpeakerTable(np.arange(group.size).astype(str), group.astype(str), np.full(group.size, 4), 4 * own)
        hits.append(gap(table, tolerance=tolerance, replicates=500, seed=run).verdict is verdict)
    return Rate.of(hits)


def check_changes(runs: int) -> dict[str, Rate]:
    """How often the interval of a gap's change covers it, where a gap of 0.15 comes, goes, stays, or never was."""
    sizes = (400, 200, 150, 100)
    raised = np.array([0.2, 0.2, 0.35, 0.2])
    flat = np.full(4, 0.2)
    found: dict[str, list[float]] = {}
    group = np.repeat(np.arange(4), sizes)
    clips = np.full(group.size, 8)
    cases = {"none": (flat, flat), "none, though there is a gap": (raised, raised)}
    cases |= {"wider": (flat, raised), "narrower": (raised, flat)}
    for name, (before, after) in cases.items():
        truth = float(np.ptp(after) - np.ptp(before))
        for run in range(runs):
            generator = np.random.default_rng([11, run])
            latent = generator.random(group.size)  # of a speaker: both scores are those of one person
            tables = [
                SpeakerTable(
                    np.arange(group.size).astype(str),
                    group.astype(str),
                    clips,
                    generator.binomial(clips, stats.beta.ppf(latent, 2.3 * rate[group], 2.3 * (1 - rate[group]))),
                )
                for rate in (before, after)
            ]
            change = gap_change(*tables, replicates=500, seed=run)
            found.setdefault(f"change {name}: covered", []).append(change.lower <= truth <= change.upper)
            claimed = change.verdict in (Change.WIDER, Change.NARROWER)
            found.setdefault(f"change {name}: claimed", []).append(claimed)
            found.setdefault(f"change {name}: width of the interval", []).append(change.upper - change.lower)
    shares = {name: Rate.of(values) for name, values in found.items()}
    for name, rate in shares.items():
        print(f"{name}: {rate}")
    return shares


def beside_fairlearn() -> dict[str, float] | None:
    """Point values beside MetricFrame's, and its own bootstrap beside ours of clips; None where it is not installed."""
    try:
        from fairlearn.metrics import MetricFrame, mean_prediction
    except ModuleNotFoundError:
        print("fairlearn is not installed: no comparison with it")
        return None
    corpus = draw(means(GAP), np.random.default_rng(5), zero_or_one=False)
    table = corpus.table
    frame = MetricFrame(
        metrics=mean_prediction,
        y_true=corpus.score,
        y_pred=corpus.score,
        sensitive_features=np.char.add("g", np.char.zfill(corpus.group.astype(str), 2)),
        n_boot=400,
        ci_quantiles=list(QUANTILES),
        random_state=1,
    )
    ours = {mean.group: mean.mean for mean in group_means(table)}
    difference = max(abs(float(frame.by_group[name]) - mean) for name, mean in ours.items())
    value = gap(table, tolerance=0.0, seed=1).value
    theirs = [float(bound) for bound in frame.difference_ci()]
    replica = clip_bootstrap(corpus, np.random.default_rng(1))
    print(f"fairlearn's interval {theirs}, our replica of it {list(replica)}")
    return {
        "difference": max(difference, abs(value - float(frame.difference()))),
        "its_lower": theirs[0],
        "its_upper": theirs[1],
        "replica_lower": replica[0],
        "replica_upper": replica[1],
    }


def big_audit_in_a_process(kind: str) -> dict[str, float]:
    """Seconds and peak GiB of `big_audit`, of a process of its own."""
    command = [sys.executable, "-m", "benchmarks.parity", "--big", kind]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1].split()
    return dict(zip(("seconds", "cpu_seconds", "peak_gib", "gib_before"), map(float, said), strict=True))


def big_audit(kind: str) -> None:
    """One figure of a million clips by three attributes: means, gap with its interval, permutation test and Holm."""
    generator = np.random.default_rng(6)
    own = generator.beta(0.6, 2.2, BIG_SPEAKERS)
    of = np.concatenate([np.arange(BIG_SPEAKERS), generator.integers(BIG_SPEAKERS, size=BIG_CLIPS - BIG_SPEAKERS)])
    score = generator.binomial(1, own[of]).astype(float) if kind == "counts" else generator.beta(1 + own[of], 3)
    speaker = np.char.add("speaker-", np.arange(BIG_SPEAKERS).astype(str))[of]
    groups = {}
    for attribute, count in BIG_GROUPS.items():
        share = np.array([0.47, *(0.53 * 0.6**k for k in range(1, count))])
        member = generator.choice(count, BIG_SPEAKERS, p=share / share.sum())
        groups[attribute] = np.char.add("group-", member.astype(str))[of]
    before = peak_gib()
    started, cpu = time.perf_counter(), time.process_time()
    for group in groups.values():
        table = SpeakerTable.from_clips(speaker=speaker, group=group, score=score)
        group_means(table)
        gap(table, tolerance=0.05, replicates=REPLICATES, seed=1)
        permutation_test(table, permutations=REPLICATES, seed=1)
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu
    print(f"{seconds:.2f} {cpu_seconds:.2f} {peak_gib():.3f} {before:.3f}")


def peak_gib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def show(kind: str, none: dict[str, Rate], some: dict[str, Rate]) -> None:
    runs = (next(iter(none.values())).runs, next(iter(some.values())).runs)
    title = f"{kind}; ± is the Monte-Carlo error of {runs[0]} and {runs[1]} corpora"
    shown = Table("of simulated corpora", "no gap", f"a gap of {GAP}", title=title)
    for name in none:
        shown.add_row(name, str(none[name]), str(some[name]))
    console.print(shown)


if __name__ == "__main__":
    main()
