"""One defense under attack on a lot of clips: what the defense itself decides at every eps.

The attacker knows all of the defense but its draws (`recognizer.attacks.evade`). Where randomized smoothing takes part
he tries what he has found on a smoothing of his own, with other draws, and goes on with what fails there.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import torch
from torch import Tensor

from monitoring.audit.result import AttackSettings, HealthFinding
from recognizer.attacks import Confirm, Finding, Level, Objective, check_health, evade, nested_sweep
from recognizer.attacks.pitfalls import (
    Pitfall,
    check_chance,
    check_constant,
    check_monotone,
    check_survivors,
    check_zero_gradients,
)
from recognizer.decision import UNKNOWN, Decision
from recognizer.defense import Defense, DefenseName
from recognizer.progress import OnProgress, Stage, silent
from recognizer.steps import steps_of

RIGHT, REJECTED, WRONG = "right", "rejected", "wrong"
"""What a decision on an attacked clip is worth: the right command accepted, an abstention, a wrong command accepted."""
HEALTH_CLIPS = 32
"""Clips, those of the first lot, that twice the steps and the attacks without gradients are tried on, too."""
COLUMNS = ("clip", "eps", "outcome", "snr_db", "is_broken", "steps", "zero_gradients", "guess")
"""Of attacked outcomes, beside the clips' own."""
_OF_FIRST_LOT = (Pitfall.NOT_CONVERGED, Pitfall.BLACK_BOX_STRONGER)


def attack(
    defense: Defense,
    waveforms: Tensor,
    truths: Sequence[str],
    *,
    clip_ids: Sequence[str],
    labels: Sequence[str],
    settings: AttackSettings,
    seed: int,
    is_first: bool,
    on_progress: OnProgress = silent,
) -> tuple[pd.DataFrame, tuple[HealthFinding, ...]]:
    """Attack a lot of clips at every eps of the grid.

    Args:
        waveforms: float32 [clips, window].
        truths: [clips] their commands.
        is_first: a lot that the costly checks of health are made on.

    Returns:
        `clip, eps, outcome, snr_db, is_broken, steps, zero_gradients, guess`, clips within eps; and what the costly
        checks found. `is_broken` is the attacker's own view, and `guess` his model's label at eps 0: the cheap checks
        of health rest on them, see `findings_of`.

    Raises:
        ValueError: labels of fewer than two commands.
        NetworkError: the network gave NaN or infinity.
    """
    objective = evade(defense, clip_ids=clip_ids, seed=seed, draws=settings.eot_draws)
    device = next(objective.network.parameters()).device
    clean, targets = waveforms.to(device), torch.tensor([labels.index(truth) for truth in truths], device=device)
    is_smoothed = DefenseName.SMOOTHING in steps_of(defense.name).rejectors
    steps = min(settings.steps, settings.smoothing_steps) if is_smoothed else settings.steps
    sweep = nested_sweep(
        objective,
        clean,
        targets,
        eps_grid=settings.eps_grid,
        steps=steps,
        confirm=_rehearsal(defense, clip_ids, truths, seed) if is_smoothed else None,
    )
    guesses = _guesses(objective, clean, labels)
    levels: list[Level] = []
    tables: list[pd.DataFrame] = []
    heard, decisions = clean, defense.decide(clean, clip_ids=clip_ids, seed=seed)
    for level in sweep:
        levels.append(level)
        heard, decisions = level.adversarial.waveforms, _decided(defense, level, heard, decisions, clip_ids, seed)
        tables.append(
            pd.DataFrame(
                {
                    "clip": list(clip_ids),
                    "eps": level.eps,
                    "outcome": [worth(d, truth) for d, truth in zip(decisions, truths, strict=True)],
                    "snr_db": level.snr_db.cpu().double().numpy(),
                    "is_broken": level.adversarial.is_broken.cpu().numpy(),
                    "steps": level.adversarial.steps.cpu().numpy(),
                    "zero_gradients": level.adversarial.zero_gradients.cpu().double().numpy(),
                    "guess": guesses,
                }
            )
        )
        on_progress(Stage(f"attacking {defense.name}", len(levels), 1 + len(settings.eps_grid), f"eps {level.eps:g}"))
    costly: tuple[HealthFinding, ...] = ()
    if is_first:
        found = check_health(
            objective,
            clean,
            targets,
            levels,
            steps=steps,
            sample=HEALTH_CLIPS,
            queries=settings.health_queries,
            seed=seed,
        )
        costly = tuple(_of(finding) for finding in found if finding.pitfall in _OF_FIRST_LOT)
    return pd.concat(tables, ignore_index=True), costly


def findings_of(attacked: pd.DataFrame, labels: Sequence[str], *, answers_always: bool) -> tuple[HealthFinding, ...]:
    """What the cheap checks of health find on all lots of one defense together.

    Args:
        attacked: the tables of `attack`, joined, with the column `command`; the clips in one order at each eps.
        answers_always: whether every input is taken for a command; one that abstains may survive any eps.
    """
    eps = sorted(attacked["eps"].unique())
    levels = [attacked[attacked["eps"] == value] for value in eps]
    is_broken = torch.tensor([level["is_broken"].to_list() for level in levels])
    guesses = torch.tensor([labels.index(guess) for guess in levels[0]["guess"]])
    targets = torch.tensor([labels.index(truth) for truth in levels[0]["command"]])
    found = [
        check_chance(guesses, targets, len(labels)),
        check_constant(guesses, targets),
        check_zero_gradients(
            torch.tensor([level["zero_gradients"].to_list() for level in levels]).flatten(),
            torch.tensor([level["steps"].to_list() for level in levels]).flatten(),
            is_broken.flatten(),
        ),
        check_monotone(is_broken, eps),
        check_survivors(is_broken[-1], eps[-1]) if answers_always else None,
    ]
    return tuple(_of(finding) for finding in found if finding is not None)


def answers_always(defense: Defense, labels: Sequence[str]) -> bool:
    """Whether the defense takes every input for a command."""
    return not steps_of(defense.name).rejectors and UNKNOWN not in labels


def worth(decision: Decision, truth: str) -> str:
    """`RIGHT`, `REJECTED` or `WRONG`."""
    if not decision.is_accepted:
        return REJECTED
    return RIGHT if decision.command == truth else WRONG


def _decided(
    defense: Defense, level: Level, before: Tensor, decisions: Sequence[Decision], clip_ids: Sequence[str], seed: int
) -> list[Decision]:
    """The defense's verdict on a level's clips; on those that are what they were before it would be the same."""
    waveforms = level.adversarial.waveforms
    changed = (waveforms != before).any(dim=1).nonzero()[:, 0].tolist()
    if not changed:
        return list(decisions)
    again = defense.decide(waveforms[changed], clip_ids=[clip_ids[i] for i in changed], seed=seed)
    new = dict(zip(changed, again, strict=True))
    return [new.get(i, decision) for i, decision in enumerate(decisions)]


def _rehearsal(defense: Defense, clip_ids: Sequence[str], truths: Sequence[str], seed: int) -> Confirm:
    """Whether the attack succeeds against the defense with draws of the attacker's, whose clips bear other names."""

    def succeeds(waveforms: Tensor, labels: Tensor, rows: Tensor) -> Tensor:
        del labels
        places = rows.tolist()
        names = [f"rehearsal\x00{clip_ids[i]}" for i in places]
        decisions = defense.decide(waveforms, clip_ids=names, seed=seed)
        return torch.tensor([worth(d, truths[i]) == WRONG for d, i in zip(decisions, places, strict=True)])

    return succeeds


def _guesses(objective: Objective, waveforms: Tensor, labels: Sequence[str]) -> list[str]:
    with torch.no_grad():
        rows = torch.arange(len(waveforms), device=waveforms.device)
        return [labels[i] for i in objective.scores(waveforms, rows).argmax(dim=1).tolist()]


def _of(finding: Finding) -> HealthFinding:
    return HealthFinding(pitfall=finding.pitfall.value, detail=finding.detail)
