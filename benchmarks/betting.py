"""Live fairness by simulation: false alarms, how soon a gap is found, and what a fixed workforce brings about:
`python -m benchmarks.betting`.

A session is 6 commands of one speaker on one day; 15 % of the sessions are the minority's; a run ends after 12,000
commands. There are two groups, so what is evidence on one is evidence on the other, and an alarm is at 2 / alpha.

Looked at `after every pair` is the gambler's wealth at every moment. `as released` is what the ledger shows: sessions
are settled when their day is over, in the order of their first commands, and are shown by the release rule.
Differences, bets, evidence and alarm level are `monitoring.betting`'s; some runs are gone through session by session
with `monitoring.evidence`, as the ledger does, and must come to the same.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

from benchmarks.goals import Goal, finish
from monitoring.betting import Evidence, alarm_level, log_evidence, log_growth
from monitoring.evidence import FEW_SPEAKERS, GroupEvidence
from monitoring.release import ReleaseRule

ALPHA = 0.05
COMMANDS = 12_000
A_SESSION = 6
SESSIONS = COMMANDS // A_SESSION
MINORITY = 0.15
A_DAY = 40
"""Sessions of a day, where everybody comes once."""
WORKFORCE, OF_MINORITY = 20, 3
RULE = ReleaseRule()
MEDIAN = 6000
"""Commands within which half of the runs shall find a gap of 0.10."""
CHECKED = 20
"""Runs of each scenario that are gone through session by session too."""

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Run:
    """The sessions of one run, in order."""

    is_minority: Bools
    scores: Floats
    speakers: Ints
    a_day: int


@dataclass(frozen=True)
class Scenario:
    """What is simulated."""

    name: str
    tolerance: float
    draw: Callable[[np.random.Generator], Run]


@dataclass(frozen=True)
class Figures:
    """What came of it."""

    scenario: str
    tolerance: float
    looked: str
    alarms: float
    """Share of runs with an alarm."""
    median_commands: float | None
    """Until the alarm, over all runs; None where fewer than half have one."""
    these_speakers: float | None
    """Share of alarms that say they speak of these speakers only."""


def newcomers(p_majority: float, p_minority: float) -> Callable[[np.random.Generator], Run]:
    """Every session is another speaker's."""

    def draw(random: np.random.Generator) -> Run:
        is_minority = random.random(SESSIONS) < MINORITY
        p = np.where(is_minority, p_minority, p_majority)
        return Run(is_minority, random.binomial(A_SESSION, p) / A_SESSION, np.arange(SESSIONS), A_DAY)

    return draw


def workforce(mean: float, correlation: float) -> Callable[[np.random.Generator], Run]:
    """The same 20 speakers every day, 3 of them the minority's, each with a rate of their own from one distribution."""

    def draw(random: np.random.Generator) -> Run:
        strength = 1 / correlation - 1  # a Beta of this a + b makes two commands of a speaker correlated so
        rates = random.beta(mean * strength, (1 - mean) * strength, WORKFORCE)
        speakers = np.concatenate([random.permutation(WORKFORCE) for _ in range(SESSIONS // WORKFORCE)])
        scores = random.binomial(A_SESSION, rates[speakers]) / A_SESSION
        return Run(speakers < OF_MINORITY, scores, speakers, WORKFORCE)

    return draw


NO_GAP, TWICE, SAME_VOICES = "no gap, 0.10", "gap, 0.10 and 0.20", f"workforce of {WORKFORCE}"
SCENARIOS = (
    Scenario(NO_GAP, 0.0, newcomers(0.10, 0.10)),
    Scenario(NO_GAP, 0.02, newcomers(0.10, 0.10)),
    Scenario("gap of the tolerance, 0.10 and 0.12", 0.02, newcomers(0.10, 0.12)),
    Scenario(TWICE, 0.02, newcomers(0.10, 0.20)),
    Scenario("gap, 0.10 and 0.30", 0.02, newcomers(0.10, 0.30)),
    Scenario(f"{SAME_VOICES}, no gap, correlation 0.02", 0.02, workforce(0.10, 0.02)),
    Scenario(f"{SAME_VOICES}, no gap, correlation 0.10", 0.02, workforce(0.10, 0.10)),
    Scenario(f"{SAME_VOICES}, no gap, correlation 0.30", 0.02, workforce(0.10, 0.30)),
)


def pairs(run: Run) -> tuple[Floats, Ints]:
    """The differences of minority and rest, and the session at which each is known: [pairs], [pairs]."""
    others = np.flatnonzero(run.is_minority[1:] != run.is_minority[:-1]) + 1
    sums = np.concatenate(([0.0], run.scores.cumsum()))
    differences, ends = [], []
    start = 0
    while (at := int(np.searchsorted(others, start, side="right"))) < len(others):
        end = int(others[at])  # the first of the other side: a pair
        before = (sums[end] - sums[start]) / (end - start)
        last = run.scores[end]
        differences.append(last - before if run.is_minority[end] else before - last)
        ends.append(end)
        start = end + 1
    return np.clip(differences, -1, 1), np.array(ends, dtype=np.int64)  # sums taken off sums may end beyond


def evidence_after(run: Run, tolerance: float) -> Floats:
    """Log-evidence after each session: float64 [SESSIONS]."""
    differences, ends = pairs(run)
    wealth = np.moveaxis(log_growth(differences, tolerance).cumsum(axis=-1), -1, 0)
    known = np.searchsorted(ends, np.arange(len(run.scores)), side="right")
    return np.concatenate(([0.0], log_evidence(wealth)))[known]


def releases(run: Run) -> list[int]:
    """The sessions after which the ledger shows how things stand."""
    found, since = [], 0
    for day in range(run.a_day, len(run.scores) + 1, run.a_day):
        sides = [run.speakers[since:day][run.is_minority[since:day] == side] for side in (True, False)]
        if all(RULE.allows(commands=A_SESSION * len(s), speakers=len(np.unique(s))) for s in sides):
            found.append(day - 1)
            since = day
    return found


def go_through(run: Run, tolerance: float) -> tuple[GroupEvidence, list[int], list[float]]:
    """The same, session by session, as the ledger does; and what was shown at each release."""
    evidence = GroupEvidence.begin(tolerance)
    heard: tuple[set[int], set[int]] = (set(), set())
    since: tuple[set[int], set[int]] = (set(), set())
    found, shown = [], []
    for number, (is_minority, score, speaker) in enumerate(
        zip(run.is_minority.tolist(), run.scores.tolist(), run.speakers.tolist(), strict=True)
    ):
        is_new = speaker not in heard[is_minority]
        heard[is_minority].add(speaker)
        since[is_minority].add(speaker)
        evidence.add(score, commands=A_SESSION, is_of_group=is_minority, is_new=is_new)
        is_day_over = (number + 1) % run.a_day == 0
        if is_day_over and evidence.release(
            RULE, own_speakers=len(since[True]), rest_speakers=len(since[False]), through=number
        ):
            since = (set(), set())
            found.append(number)
            shown.append(evidence.released.evidence.log_evidence)
    return evidence, found, shown


def measure(scenario: Scenario, runs: int, random: np.random.Generator) -> Iterator[Figures]:
    level = alarm_level(2, ALPHA)
    first: dict[str, list[float]] = {"after every pair": [], "as released": []}
    few = []
    for number in range(runs):
        run = scenario.draw(random)
        evidence, shown = evidence_after(run, scenario.tolerance), releases(run)
        if number < CHECKED:
            check(run, scenario.tolerance, evidence, shown)
        first["after every pair"].append(_commands(np.flatnonzero(evidence >= level)))
        first["as released"].append(_commands(np.array(shown, dtype=np.int64)[evidence[shown] >= level]))
        heard = int(first["as released"][-1] // A_SESSION) if np.isfinite(first["as released"][-1]) else 0
        sides = [len(np.unique(run.speakers[:heard][run.is_minority[:heard] == side])) for side in (True, False)]
        few.append(min(sides) < FEW_SPEAKERS)
    for looked, commands in first.items():
        found = np.isfinite(commands)
        median = float(np.median(commands))
        these = float(np.mean(np.array(few)[found])) if looked == "as released" and found.any() else None
        yield Figures(
            scenario.name,
            scenario.tolerance,
            looked,
            float(found.mean()),
            median if np.isfinite(median) else None,
            these,
        )


def check(run: Run, tolerance: float, evidence: Floats, shown: list[int]) -> None:
    """
    Raises:
        AssertionError: the shortcuts here come to something else than the ledger's own way.
    """
    slow, found, values = go_through(run, tolerance)
    assert found == shown
    np.testing.assert_allclose(values, evidence[shown], atol=1e-9)
    whole = Evidence(tolerance)
    whole.add(pairs(run)[0])
    np.testing.assert_allclose(slow.current.evidence.log_wealth, whole.log_wealth, atol=1e-9)
    counts = [len(np.unique(run.speakers[run.is_minority == side])) for side in (True, False)]
    assert [slow.current.own_speakers, slow.current.rest_speakers] == counts
    assert (slow.current.speaks_of == "these_speakers") == (min(counts) < FEW_SPEAKERS)


def _commands(alarms: Ints) -> float:
    return A_SESSION * (int(alarms[0]) + 1) if len(alarms) else float("inf")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    figures = [
        row
        for number, scenario in enumerate(SCENARIOS)
        for row in measure(scenario, arguments.runs, np.random.default_rng([arguments.seed, number]))
    ]
    show(figures, arguments.runs)
    finish("betting", {"runs": arguments.runs, "figures": [asdict(row) for row in figures]}, list(goals(figures)))


def goals(figures: list[Figures]) -> Iterator[Goal]:
    """Of both ways of looking."""
    for f in figures:
        where = f"{f.scenario}, tolerance {f.tolerance}, {f.looked}"
        if f.scenario == NO_GAP:
            yield Goal(f"share of false alarms: {where}", f.alarms, ALPHA, at_least=False)
        elif f.scenario == TWICE:
            median = float("inf") if f.median_commands is None else f.median_commands
            yield Goal(f"median commands to an alarm: {where}", median, MEDIAN, at_least=False)
        elif f.scenario.startswith(SAME_VOICES) and f.these_speakers is not None:
            yield Goal(f'alarms that say "these speakers": {where}', f.these_speakers, 1.0)


def show(figures: list[Figures], runs: int) -> None:
    columns = ("scenario", "tolerance", "looked at", "alarms, %", "median commands", '"these speakers", %')
    table = Table(*columns, title=f"Betting on {COMMANDS} commands, {runs} runs, alpha {ALPHA}")
    for f in figures:
        median = "-" if f.median_commands is None else f"{f.median_commands:.0f}"
        these = "-" if f.these_speakers is None else f"{100 * f.these_speakers:.1f}"
        table.add_row(f.scenario, f"{f.tolerance}", f.looked, f"{100 * f.alarms:.2f}", median, these)
    Console(width=130).print(table)


if __name__ == "__main__":
    main()
