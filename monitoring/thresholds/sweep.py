"""Every setting of every rejection defense, measured by one pass over validation clips."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from monitoring.measured import AuditSettings, check_clips, gap_figures, hear
from monitoring.parity import SpeakerTable
from monitoring.thresholds.attack import Attack
from monitoring.thresholds.candidates import Candidates, targets_of
from monitoring.thresholds.clips import TuningClips
from monitoring.thresholds.grid import ThresholdGrid
from monitoring.thresholds.pace import Pace
from monitoring.thresholds.pareto import pareto_front
from monitoring.thresholds.report import GapOfSetting, SettingResult, ThresholdReport, UnderAttack
from monitoring.thresholds.verdicts import Flags, Labels, Verdicts, joined
from recognizer.audio import read_clip
from recognizer.bundle import BundleManifest
from recognizer.decision import UNKNOWN
from recognizer.defense import DefenseName
from recognizer.manifest import Manifest, ManifestError
from recognizer.progress import OnProgress, Stage, silent
from recognizer.recognizer import Recognizer, window_of
from recognizer.retune import Setting, TunedOn
from recognizer.steps import steps_of

_BATCH = 64  # clips decoded and judged together


@dataclass(frozen=True, eq=False)
class Measured:
    """Every clip that could be heard, under every setting.

    Attributes:
        table: one row a clip: `clip, command, speaker` and the attributes.
        verdicts: one of all clips for each setting of each candidate.
        attacked: rows of `table` to be attacked, all of commands.
        waveforms: float32 [attacked, window].
        first: float32 [window], a clip to measure time on.
        unheard: why clips were left out.
    """

    table: pd.DataFrame
    verdicts: tuple[list[Verdicts], ...]
    attacked: pd.DataFrame
    waveforms: Tensor
    first: Tensor
    unheard: tuple[str, ...]

    @property
    def truth(self) -> Labels:
        """str [clips]."""
        return self.table["command"].to_numpy(dtype=str)


def sweep_thresholds(
    recognizer: Recognizer,
    bundle: BundleManifest,
    candidates: Sequence[Candidates],
    tuning: TuningClips,
    *,
    source: str,
    grid: ThresholdGrid,
    on_progress: OnProgress = silent,
) -> ThresholdReport:
    """Measure all settings, and mark those that no other setting of the same defense beats.

    Args:
        recognizer: loaded in *exact* mode: the votes are those that an audit with the same seed would count.
        bundle: its manifest.
        candidates: at least one, see `candidates_of`.
        tuning: the clips; gaps are of all attributes that they have.
        source: the manifest's name, for the report.
        grid: how to measure.

    Raises:
        ManifestError: see `check_clips`; no clip of a command, or none that can be heard.
    """
    check_clips(tuning.clips, recognizer)
    everyone = _measure(recognizer, candidates, tuning.clips, grid, on_progress)
    results: list[SettingResult] = []
    for candidate, verdicts in zip(candidates, everyone.verdicts, strict=True):
        pace = candidate.pace(everyone.first)
        attacked = _attack(candidate, everyone, recognizer.labels, grid, on_progress)
        rows = [
            _result(candidate, setting, verdict, shares, everyone, tuning.clips.attributes, pace, grid)
            for setting, verdict, shares in zip(candidate.settings, verdicts, attacked, strict=True)
        ]
        on_front = pareto_front(np.array([_objectives(row) for row in rows]))
        results += [row.model_copy(update={"is_on_front": bool(on)}) for row, on in zip(rows, on_front, strict=True)]
    swept = {candidate.defense.name for candidate in candidates}
    return ThresholdReport(
        evenvoice_version=version("evenvoice"),
        bundle_name=recognizer.name,
        bundle_version=recognizer.version,
        measured_on=TunedOn(
            at=datetime.now(UTC).replace(microsecond=0),
            manifest=source,
            fingerprint=tuning.clips.fingerprint(),
            split=tuning.split,
            clips=len(everyone.table),
            speakers=int(everyone.table["speaker"].nunique()),
            seed=grid.audit.seed,
        ),
        grid=grid,
        attacked_clips=len(everyone.attacked),
        settings=tuple(results),
        left_out=tuple(setting.name for candidate in candidates for setting in candidate.left_out),
        unheard=everyone.unheard,
        cautions=(
            *(caution for candidate in candidates for caution in candidate.cautions),
            *_of_parts(recognizer, swept),
            *tuning.cautions(bundle, defenses=swept),
        ),
    )


def _of_parts(recognizer: Recognizer, swept: Set[str]) -> tuple[str, ...]:
    """What to bear in mind where a setting is that of a part of other defenses, too."""
    made_of_parts = [n for n in recognizer.defenses if n not in swept and swept & set(steps_of(n).rejectors)]
    if not made_of_parts:
        return ()
    return (
        f"each setting was measured of its defense alone, on clips as they came; {', '.join(made_of_parts)} decide by "
        "it too, and otherwise: audit them",
    )


def _measure(
    recognizer: Recognizer,
    candidates: Sequence[Candidates],
    clips: Manifest,
    grid: ThresholdGrid,
    on_progress: OnProgress,
) -> Measured:
    """Decode and judge all clips, a batch at a time; only those to be attacked are kept."""
    table = clips.table.assign(clip=clips.clip_ids, is_attacked=_to_attack(clips, recognizer, grid))
    heard: list[pd.DataFrame] = []
    parts: list[list[list[Verdicts]]] = [[] for _ in candidates]
    kept = [torch.empty(0, recognizer.audio.window)]
    unheard: list[str] = []
    first: Tensor | None = None
    for start in range(0, len(table), _BATCH):
        rows, sounds, not_heard = hear(table.iloc[start : start + _BATCH], recognizer.audio, read_clip)
        unheard += [f"{clip.clip}: {clip.why}" for clip in not_heard]
        if sounds:
            waveforms, ids = window_of(sounds, recognizer.audio), rows["clip"].tolist()
            first = waveforms[0] if first is None else first
            for part, candidate in zip(parts, candidates, strict=True):
                part.append(candidate.judge(waveforms, clip_ids=ids, seed=grid.audit.seed))
            heard.append(rows)
            kept.append(waveforms[torch.tensor(rows["is_attacked"].to_list(), dtype=torch.bool)])
        on_progress(Stage("deciding on clips", min(start + _BATCH, len(table)), len(table)))
    if first is None:
        raise ManifestError(f"none of the {len(table)} clips can be heard; the first: {unheard[0]}")
    everyone = pd.concat(heard, ignore_index=True)
    if (everyone["command"] == UNKNOWN).all():
        raise ManifestError("no clip of a command can be heard; false rejections need some")
    verdicts = tuple([joined(of_setting) for of_setting in zip(*part, strict=True)] for part in parts)
    attacked = everyone[everyone["is_attacked"]]
    return Measured(everyone, verdicts, attacked, torch.cat(kept), first, tuple(unheard))


def _to_attack(clips: Manifest, recognizer: Recognizer, grid: ThresholdGrid) -> Flags:
    """bool [clips]: some clips of commands, by lot. None where no wrong command can be accepted."""
    places = np.flatnonzero((clips.table["command"] != UNKNOWN).to_numpy())
    chosen = np.random.default_rng(grid.audit.seed).permutation(places)[: grid.attacked_clips]
    is_attacked = np.zeros(len(clips.table), dtype=np.bool_)
    is_attacked[chosen] = len(recognizer.commands) > 1
    return is_attacked


def _attack(
    candidate: Candidates,
    everyone: Measured,
    labels: Sequence[str],
    grid: ThresholdGrid,
    on_progress: OnProgress,
) -> list[UnderAttack | None]:
    """Each setting on the attacked clips: of the attack's versions of a clip the worst, wrong before rejected."""
    if everyone.attacked.empty:
        return [None for _ in candidate.settings]
    clip_ids = everyone.attacked["clip"].tolist()
    truth = everyone.attacked["command"].to_numpy(dtype=str)
    attack = Attack(eps=grid.eps, steps=grid.attack_steps, draws=grid.attack_draws, seed=grid.audit.seed)
    versions = candidate.attacked(
        attack, everyone.waveforms, targets_of(truth.tolist(), labels), clip_ids=clip_ids, on_progress=on_progress
    )
    judged = [
        [
            joined(parts)
            for parts in zip(
                *(
                    candidate.judge(version[rows], clip_ids=[clip_ids[i] for i in rows.tolist()], seed=grid.audit.seed)
                    for rows in torch.split(torch.arange(len(version)), _BATCH)
                ),
                strict=True,
            )
        ]
        for version in versions
    ]
    found: list[UnderAttack | None] = []
    for of_setting in zip(*judged, strict=True):
        is_wrong = np.any([verdicts.is_wrong(truth) for verdicts in of_setting], axis=0)
        is_right = np.all([verdicts.is_right(truth) for verdicts in of_setting], axis=0)
        wrong, right = float(is_wrong.mean()), float(is_right.mean())
        found.append(UnderAttack(right=right, rejected=float((~is_wrong & ~is_right).mean()), wrong=wrong))
    return found


def _result(
    candidate: Candidates,
    setting: Setting,
    verdicts: Verdicts,
    attacked: UnderAttack | None,
    everyone: Measured,
    attributes: Sequence[str],
    pace: Pace,
    grid: ThresholdGrid,
) -> SettingResult:
    truth = everyone.truth
    is_command, is_accepted = truth != UNKNOWN, verdicts.is_accepted
    gaps = tuple(_gap(everyone.table[is_command], a, ~is_accepted[is_command], grid.audit) for a in attributes)
    taken = pace.of(verdicts.draws)
    has_draws = setting.defense is DefenseName.SMOOTHING
    return SettingResult(
        name=setting.name,
        defense=setting.defense,
        setting=setting,
        accuracy=float(verdicts.is_right(truth)[is_command].mean()),
        false_rejection=float((~is_accepted)[is_command].mean()),
        wrong_acceptance=float(verdicts.is_wrong(truth).mean()),
        false_acceptance=None if is_command.all() else float(is_accepted[~is_command].mean()),
        gaps=gaps,
        largest_gap=max((g.value_compared for g in gaps if g.value_compared is not None), default=None),
        attacked=attacked,
        draws_mean=float(verdicts.draws.mean()) if has_draws else None,
        draws_p95=float(np.percentile(verdicts.draws, 95)) if has_draws else None,
        milliseconds_mean=float(taken.mean()),
        milliseconds_p95=float(np.percentile(taken, 95)),
        is_current=setting == candidate.current,
        is_on_front=False,
    )


def _gap(commands: pd.DataFrame, attribute: str, is_rejected: Flags, settings: AuditSettings) -> GapOfSetting:
    table = SpeakerTable.from_clips(
        speaker=commands["speaker"].to_numpy(dtype=str),
        group=commands[attribute].to_numpy(dtype=str),
        score=is_rejected.astype(np.float64),
    )
    return GapOfSetting(attribute=attribute, **vars(gap_figures(table, settings)))


def _objectives(result: SettingResult) -> list[float]:
    """What the Pareto front is about, larger is better; what no setting of the sweep has is left out."""
    found = [result.accuracy, -result.wrong_acceptance, -result.milliseconds_mean]
    if result.largest_gap is not None:
        found.append(-result.largest_gap)
    if result.attacked is not None:
        found.append(-result.attacked.wrong)
    return found
