"""The settings of each rejection defense, all judged by one pass over the clips.

RS: the p-values of every error_alpha and every N come from one stream of draws, of which a smaller N has the first.
NR: every threshold looks at the same confidence.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from monitoring.thresholds.attack import Attack
from monitoring.thresholds.grid import ThresholdGrid
from monitoring.thresholds.pace import Pace, milliseconds_of, pace_of_smoothing
from monitoring.thresholds.verdicts import Verdicts
from recognizer.combined import Combined, PurifiedInput
from recognizer.cores import cores
from recognizer.decision import Reason
from recognizer.defense import Defense, DefenseName
from recognizer.neural_rejection import NeuralRejection
from recognizer.progress import OnProgress, silent
from recognizer.recognizer import Recognizer, UnknownDefense
from recognizer.retune import RejectionSetting, Setting, SmoothingSetting
from recognizer.smoothing import InfeasibleSmoothing, RandomizedSmoothing, VoteRule, Votes, VoteTest
from recognizer.smoothing.voting import Block
from recognizer.steps import REJECTORS


class Candidates(Protocol):
    """A defense, and the settings that it might have.

    Attributes:
        defense: as the bundle has it.
        settings: RS's by N, then from the largest error_alpha to the smallest; NR's from the lowest threshold to the
            highest. The defense's own is among them.
        left_out: those that could never accept anything.
        current: the defense's own.
        cautions: what to bear in mind when one is chosen.
    """

    @property
    def defense(self) -> Defense: ...
    @property
    def settings(self) -> Sequence[Setting]: ...
    @property
    def left_out(self) -> Sequence[Setting]: ...
    @property
    def current(self) -> Setting: ...
    @property
    def cautions(self) -> Sequence[str]: ...

    def judge(self, waveforms: Tensor, *, clip_ids: Sequence[str], seed: int) -> list[Verdicts]:
        """What each setting decides, as the defense built with it would.

        Args:
            waveforms: float32 [clips, samples].
            clip_ids: [clips] names that key the noise, with `seed`.
        """
        ...

    def attacked(
        self,
        attack: Attack,
        waveforms: Tensor,
        targets: Tensor,
        *,
        clip_ids: Sequence[str],
        on_progress: OnProgress = silent,
    ) -> tuple[Tensor, ...]:
        """Adversarial clips, [clips, samples], in as many versions as the attack has; see `Attack`."""
        ...

    def pace(self, clip: Tensor) -> Pace:
        """How long decisions take, measured on a clip, [samples]."""
        ...


class SmoothingCandidates:
    """RS by error_alpha and N; the test, fixed or sequential, is the bundle's."""

    def __init__(self, defense: RandomizedSmoothing, *, error_alphas: Sequence[float], draws: Sequence[int]) -> None:
        """
        Args:
            error_alphas, draws: the settings are their product; the defense's own values are always among them.
        """
        self.defense = defense
        self.current = SmoothingSetting(error_alpha=defense.error_alpha, draws=defense.draws)
        self.cautions: tuple[str, ...] = ()
        self._rules: dict[SmoothingSetting, VoteRule] = {}
        self.left_out: list[SmoothingSetting] = []
        alphas = sorted({*error_alphas, defense.error_alpha}, reverse=True)
        for most, alpha in itertools.product(sorted({*draws, defense.draws}), alphas):
            setting = SmoothingSetting(error_alpha=alpha, draws=most)
            try:
                self._rules[setting] = VoteRule(
                    labels=len(defense.labels), draws=most, error_alpha=alpha, test=defense.rule.test
                )
            except InfeasibleSmoothing:
                self.left_out.append(setting)

    @property
    def settings(self) -> tuple[SmoothingSetting, ...]:
        return tuple(self._rules)

    def judge(self, waveforms: Tensor, *, clip_ids: Sequence[str], seed: int) -> list[Verdicts]:
        """See `Candidates.judge`: by exact votes."""
        votes_of = {_ending(rule): Votes(len(clip_ids), rule) for rule in self._rules.values()}
        self._hold(tuple(votes_of.values()), waveforms, clip_ids, seed)
        labels = np.array(self.defense.labels)
        verdicts = []
        for setting, rule in self._rules.items():
            votes = votes_of[_ending(rule)]
            leader = labels[votes.counts.argmax(axis=1)]
            verdicts.append(Verdicts(leader, votes.p_values() <= setting.error_alpha, votes.draws))
        return verdicts

    def attacked(
        self,
        attack: Attack,
        waveforms: Tensor,
        targets: Tensor,
        *,
        clip_ids: Sequence[str],
        on_progress: OnProgress = silent,
    ) -> tuple[Tensor, ...]:
        """See `Candidates.attacked`."""
        return attack.on_smoothing(self.defense, waveforms, targets, clip_ids=clip_ids, on_progress=on_progress)

    def pace(self, clip: Tensor) -> Pace:
        """See `Candidates.pace`."""
        return pace_of_smoothing(self.defense, clip, draws=max(setting.draws for setting in self._rules))

    def _hold(self, each: Sequence[Votes], waveforms: Tensor, clip_ids: Sequence[str], seed: int) -> None:
        """Draw until every vote on every clip is settled; each vote hears the same draws, from the first."""
        voting = self.defense.exact
        ballots = voting.ballots(waveforms, clip_ids=clip_ids, seeds=[seed] * len(clip_ids))
        index = 0
        while len(clips := np.flatnonzero(~np.all([votes.is_settled for votes in each], axis=0))):
            rounds = max(1, cores() // len(clips))
            blocks = [Block(ballots[clip], index + r) for clip in clips for r in range(rounds)]
            leaders = voting.leaders(blocks).reshape(len(clips), -1)
            for votes in each:
                votes.add(clips, leaders)
            index += rounds


class RejectionCandidates:
    """NR by confidence_threshold."""

    def __init__(self, defense: NeuralRejection, *, confidence_thresholds: Sequence[float]) -> None:
        """
        Args:
            confidence_thresholds: the defense's own is always among them.
        """
        self.defense = defense
        self.current = RejectionSetting(confidence_threshold=defense.confidence_threshold)
        thresholds = sorted({*confidence_thresholds, defense.confidence_threshold})
        self.settings = tuple(RejectionSetting(confidence_threshold=threshold) for threshold in thresholds)
        self.left_out: tuple[RejectionSetting, ...] = ()
        far = self._by(0.0).far_from_data()
        self.cautions: tuple[str, ...] = ()
        if far.is_accepted:
            self.cautions = (
                f"far from all its data {defense.name} hears {far.command!r} with a {defense.score} of "
                f"{far.confidence:.3f}: a confidence_threshold up to that accepts it there",
            )

    def judge(self, waveforms: Tensor, *, clip_ids: Sequence[str], seed: int) -> list[Verdicts]:
        """See `Candidates.judge`."""
        decisions = self._by(0.0).decide(waveforms, clip_ids=clip_ids, seed=seed)
        leader = np.array([decision.top[0].command for decision in decisions])
        # What is shown of a margin is cut to [0, 1]: one below 0 fails every threshold.
        is_scored = np.array([decision.reason is not Reason.LOW_CONFIDENCE for decision in decisions])
        score = np.where(is_scored, [decision.top[0].share for decision in decisions], -np.inf)
        none = np.zeros(len(decisions), dtype=np.int64)
        return [Verdicts(leader, score >= setting.confidence_threshold, none) for setting in self.settings]

    def attacked(
        self,
        attack: Attack,
        waveforms: Tensor,
        targets: Tensor,
        *,
        clip_ids: Sequence[str],
        on_progress: OnProgress = silent,
    ) -> tuple[Tensor, ...]:
        """See `Candidates.attacked`."""
        del clip_ids
        aimed_at = [self._by(setting.confidence_threshold) for setting in self.settings]
        return attack.on_neural_rejection(aimed_at, waveforms, targets, on_progress=on_progress)

    def pace(self, clip: Tensor) -> Pace:
        """See `Candidates.pace`: every decision takes the same."""
        return Pace((0,), (milliseconds_of(self.defense, clip),))

    def _by(self, threshold: float) -> NeuralRejection:
        return NeuralRejection(
            self.defense.network,
            self.defense.machine,
            self.defense.labels,
            confidence_threshold=threshold,
            score=self.defense.score,
        )


def candidates_of(
    recognizer: Recognizer, grid: ThresholdGrid, *, defenses: Collection[str] = ()
) -> tuple[Candidates, ...]:
    """Each rejector of a recogniser, whether it stands alone or in a combined defense, with the settings of a grid.

    Args:
        recognizer: loaded in *exact* mode.
        defenses: names of rejectors; all by default.

    Raises:
        UnknownDefense: there is none, or none of these.
    """
    found: dict[DefenseName, Candidates] = {}
    for defense in (part for whole in recognizer.defenses.values() for part in _rejectors(whole)):
        if isinstance(defense, RandomizedSmoothing):
            found[defense.name] = SmoothingCandidates(defense, error_alphas=grid.error_alphas, draws=grid.draws)
        else:
            found[defense.name] = RejectionCandidates(defense, confidence_thresholds=grid.confidence_thresholds)
    wanted = tuple(candidates for name, candidates in found.items() if not defenses or name in defenses)
    if not wanted:
        raise UnknownDefense(
            f"there is no threshold to measure: the bundle's defenses are {', '.join(recognizer.defenses)}, and "
            f"{' or '.join(defenses or REJECTORS)} is a step of none of them"
        )
    return wanted


def _rejectors(defense: Defense) -> Iterator[RandomizedSmoothing | NeuralRejection]:
    """The rejectors that a defense is made of; combined ones share those that stand alone."""
    if isinstance(defense, RandomizedSmoothing | NeuralRejection):
        yield defense
    elif isinstance(defense, PurifiedInput):
        yield from _rejectors(defense.defense)
    elif isinstance(defense, Combined):
        for part in defense.parts:
            yield from _rejectors(part)


def _ending(rule: VoteRule) -> tuple[int, float]:
    """Votes whose rules agree in this end at the same draw, with the same p-value: one vote serves them all."""
    return rule.draws, rule.log_e_to_settle if rule.test is VoteTest.SEQUENTIAL else 0.0


def targets_of(commands: Sequence[str], labels: Sequence[str]) -> Tensor:
    """int64 [clips]: the places of commands among the labels."""
    return torch.tensor([labels.index(command) for command in commands], dtype=torch.int64)
