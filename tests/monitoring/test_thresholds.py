"""A sweep over thresholds against the defenses themselves, built with each setting in turn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from rich.console import Console
from torch import Tensor

from monitoring.measured import AuditSettings
from monitoring.parity import SpeakerTable, Verdict, gap
from monitoring.thresholds import (
    ThresholdGrid,
    ThresholdReport,
    TuningClips,
    candidates_of,
    load_tuning_clips,
    sweep_thresholds,
)
from monitoring.thresholds import pace as pace_module
from monitoring.thresholds.attack import Attack
from monitoring.thresholds.candidates import RejectionCandidates, SmoothingCandidates, targets_of
from monitoring.thresholds.pace import Pace, pace_of_smoothing
from monitoring.thresholds.report import UnderAttack, tables, to_table, words
from recognizer.attacks import EvadeNeuralRejection, EvadeSmoothing, pgd
from recognizer.audio import AudioFormat, read_clip
from recognizer.bundle import BundleManifest, load_bundle, read_manifest
from recognizer.combined import Combined, PurifiedInput
from recognizer.decision import UNKNOWN, Decision, Reason
from recognizer.defense import Defense, DefenseName
from recognizer.manifest import Manifest, ManifestError, write_table
from recognizer.neural_rejection import NeuralRejection, Score
from recognizer.purification import purifier
from recognizer.recognizer import Recognizer, UnknownDefense, window_of
from recognizer.retune import RejectionSetting, Setting, SmoothingSetting
from recognizer.smoothing import RandomizedSmoothing, VoteTest

SEED = 3
GRID = ThresholdGrid(
    error_alphas=(0.0001, 0.02, 0.3),
    draws=(8, 30),
    confidence_thresholds=(0.0, 0.5, 0.9),
    audit=AuditSettings(seed=SEED, min_speakers=10, replicates=100),
    eps=0.15,
    attacked_clips=12,
    attack_steps=4,
    attack_draws=4,
)


@pytest.fixture(scope="module")
def manifest(bundle: Path) -> BundleManifest:
    return read_manifest(bundle)


@pytest.fixture(scope="module")
def clips(tone_manifest: Path) -> Manifest:
    """24 validation clips, each of a speaker of its own, so that groups can be compared."""
    table = load_tuning_clips(tone_manifest).clips.table.groupby(["speaker", "command"]).head(2).reset_index(drop=True)
    return Manifest(table.assign(speaker=[f"{s}-{i}" for i, s in enumerate(table["speaker"])]), ("gender",))


@pytest.fixture(scope="module")
def waveforms(clips: Manifest) -> Tensor:
    audio = AudioFormat()
    return window_of([read_clip(Path(p), audio) for p in clips.table["path"]], audio)


@pytest.fixture(scope="module")
def recognizer(bundle: Path, clips: Manifest, waveforms: Tensor) -> Recognizer:
    """The tiny bundle under so much noise that votes are close, and with NR that turns half of the clips away."""
    loaded = load_bundle(bundle)
    smoothing = loaded.defenses[DefenseName.SMOOTHING]
    assert isinstance(smoothing, RandomizedSmoothing)
    rejection = loaded.defenses[DefenseName.NEURAL_REJECTION]
    assert isinstance(rejection, NeuralRejection)
    sure = [d.confidence for d in rejection.decide(waveforms, clip_ids=clips.clip_ids, seed=SEED)]
    half = NeuralRejection(
        rejection.network, rejection.machine, rejection.labels, confidence_threshold=float(np.median(sure))
    )
    for sigma in np.linspace(0.15, 0.4, 51).tolist():
        close = RandomizedSmoothing(
            smoothing.network, loaded.labels, sigma=sigma, error_alpha=0.02, draws=30, test=VoteTest.SEQUENTIAL
        )
        decisions = close.decide(waveforms, clip_ids=clips.clip_ids, seed=SEED)
        ties = sum(decision.reason is Reason.SMOOTHING_TIE for decision in decisions)
        if min(ties, sum(decision.is_accepted for decision in decisions)) >= 4:
            strict = {DefenseName.SMOOTHING: close, DefenseName.NEURAL_REJECTION: half}
            return replace(loaded, defenses={**loaded.defenses, **strict})
    raise AssertionError("under no noise does this network hesitate, and not always")


@pytest.fixture(scope="module")
def report(recognizer: Recognizer, manifest: BundleManifest, clips: Manifest) -> ThresholdReport:
    return swept(recognizer, manifest, clips)


def swept(
    recognizer: Recognizer, manifest: BundleManifest, clips: Manifest, grid: ThresholdGrid = GRID
) -> ThresholdReport:
    return sweep_thresholds(
        recognizer,
        manifest,
        candidates_of(recognizer, grid),
        TuningClips(clips, "validation", "sha256:other", 0),
        source="own.csv",
        grid=grid,
    )


def built(recognizer: Recognizer, setting: Setting) -> Defense:
    """The bundle's defense with another setting."""
    if isinstance(setting, SmoothingSetting):
        smoothing = recognizer.defenses[DefenseName.SMOOTHING]
        assert isinstance(smoothing, RandomizedSmoothing)
        return RandomizedSmoothing(
            smoothing.network,
            smoothing.labels,
            sigma=smoothing.sigma,
            error_alpha=setting.error_alpha,
            draws=setting.draws,
            test=smoothing.rule.test,
        )
    rejection = recognizer.defenses[DefenseName.NEURAL_REJECTION]
    assert isinstance(rejection, NeuralRejection)
    return NeuralRejection(
        rejection.network,
        rejection.machine,
        rejection.labels,
        confidence_threshold=setting.confidence_threshold,
    )


def decided(recognizer: Recognizer, setting: Setting, waveforms: Tensor, clip_ids: Sequence[str]) -> list[Decision]:
    return built(recognizer, setting).decide(waveforms, clip_ids=clip_ids, seed=SEED)


@pytest.mark.parametrize("test", list(VoteTest))
def test_every_setting_decides_as_the_defense_built_with_it(
    recognizer: Recognizer, clips: Manifest, waveforms: Tensor, test: VoteTest
) -> None:
    mine = recognizer.defenses[DefenseName.SMOOTHING]
    assert isinstance(mine, RandomizedSmoothing)
    close = RandomizedSmoothing(mine.network, mine.labels, sigma=mine.sigma, error_alpha=0.02, draws=30, test=test)
    changed = replace(recognizer, defenses={**recognizer.defenses, DefenseName.SMOOTHING: close})
    seen = set()
    for candidates in candidates_of(changed, GRID):
        verdicts = candidates.judge(waveforms, clip_ids=clips.clip_ids, seed=SEED)
        for setting, found in zip(candidates.settings, verdicts, strict=True):
            decisions = decided(changed, setting, waveforms, clips.clip_ids)
            said = np.where(found.is_accepted, found.leader, "")
            assert said.tolist() == [d.command or "" for d in decisions], setting.name
            if setting.defense is DefenseName.SMOOTHING:
                spent = [d.certificate.draws for d in decisions if d.certificate]
                assert found.draws.tolist() == spent, setting.name
            seen.add((setting.defense, *said.tolist()))
    assert len(seen) >= 4  # the settings do differ here


@pytest.mark.parametrize("score", list(Score))
def test_every_threshold_decides_as_neural_rejection_built_with_it(
    recognizer: Recognizer, waveforms: Tensor, score: Score
) -> None:
    """Noise is among the clips, whose margins are negative: no threshold accepts them."""
    mine = recognizer.defenses[DefenseName.NEURAL_REJECTION]
    assert isinstance(mine, NeuralRejection)
    rejection = NeuralRejection(mine.network, mine.machine, mine.labels, confidence_threshold=0.5, score=score)
    noise = torch.randn(len(waveforms), waveforms.shape[1], generator=torch.Generator().manual_seed(0)).clamp(-1, 1)
    heard = torch.cat((waveforms, noise, 0.5 * waveforms + 0.5 * waveforms.flip(0)))
    ids = [str(i) for i in range(len(heard))]
    candidates = RejectionCandidates(rejection, confidence_thresholds=(0.0, 0.2, 0.7, 0.95, 1.0))
    seen = set()
    for setting, found in zip(candidates.settings, candidates.judge(heard, clip_ids=ids, seed=0), strict=True):
        literal = NeuralRejection(
            mine.network,
            mine.machine,
            mine.labels,
            confidence_threshold=setting.confidence_threshold,
            score=score,
        )
        said = np.where(found.is_accepted, found.leader, "").tolist()
        assert said == [d.command or "" for d in literal.decide(heard, clip_ids=ids, seed=0)], setting.name
        seen.add(tuple(said))
    assert len(seen) >= 3


def test_what_is_accepted_far_from_all_data_is_told(recognizer: Recognizer) -> None:
    mine = recognizer.defenses[DefenseName.NEURAL_REJECTION]
    assert isinstance(mine, NeuralRejection)
    for leader in range(len(mine.labels)):
        offset = torch.full_like(mine.machine.offset, 5.0)
        offset[leader] = -5.0  # sure of it, whatever it hears
        machine = replace(mine.machine, slope=torch.zeros_like(mine.machine.slope), offset=offset)
        sure = NeuralRejection(mine.network, machine, mine.labels, confidence_threshold=0.5)
        told = " ".join(RejectionCandidates(sure, confidence_thresholds=()).cautions)
        assert (f"hears '{mine.labels[leader]}'" in told) is (mine.labels[leader] != UNKNOWN)


def test_rejectors_within_combined_defenses_are_found_once(recognizer: Recognizer) -> None:
    smoothing = recognizer.defenses[DefenseName.SMOOTHING]
    both = Combined((recognizer.defenses[DefenseName.NEURAL_REJECTION], smoothing), ask_all=True)
    purified = PurifiedInput([purifier("low_pass")], both)
    changed = replace(recognizer, defenses={both.name: both, purified.name: purified, "smoothing": smoothing})
    found = candidates_of(changed, GRID)
    assert [candidates.defense.name for candidates in found] == ["neural_rejection", "smoothing"]


def test_smaller_error_alphas_let_votes_go_on_longer(report: ThresholdReport) -> None:
    rows = {(r.setting.error_alpha, r.setting.draws): r for r in report.settings if r.draws_mean is not None}
    assert rows[0.0001, 30].draws_mean > rows[0.02, 30].draws_mean
    assert rows[0.3, 30].draws_mean == rows[0.02, 30].draws_mean  # both go on until the score is settled
    assert rows[0.02, 30].milliseconds_p95 >= rows[0.02, 30].milliseconds_mean > 0


def test_the_figures_are_those_of_the_decisions(
    report: ThresholdReport, recognizer: Recognizer, clips: Manifest, waveforms: Tensor
) -> None:
    truth = clips.table["command"].tolist()
    is_command = np.array([c != UNKNOWN for c in truth])
    assert {result.defense for result in report.settings} == {DefenseName.SMOOTHING, DefenseName.NEURAL_REJECTION}
    for result in report.settings:
        said = [d.command for d in decided(recognizer, result.setting, waveforms, clips.clip_ids)]
        of_commands = [(s, t) for s, t in zip(said, truth, strict=True) if t != UNKNOWN]
        others = [s for s, t in zip(said, truth, strict=True) if t == UNKNOWN]
        assert result.accuracy == pytest.approx(sum(s == t for s, t in of_commands) / len(of_commands))
        assert result.false_rejection == pytest.approx(sum(s is None for s, _ in of_commands) / len(of_commands))
        assert result.false_acceptance == pytest.approx(sum(s is not None for s in others) / len(others))
        wrong = sum(s is not None and s != t for s, t in zip(said, truth, strict=True))
        assert result.wrong_acceptance == pytest.approx(wrong / len(truth))
        rejected = np.array([s is None for s in said])[is_command]
        expected = gap(
            SpeakerTable.from_clips(
                speaker=clips.table["speaker"].to_numpy(dtype=str)[is_command],
                group=clips.table["gender"].to_numpy(dtype=str)[is_command],
                score=rejected.astype(float),
            ),
            tolerance=GRID.audit.tolerance,
            min_speakers=10,
            replicates=100,
            seed=SEED,
        )
        (found,) = result.gaps
        assert (found.value_compared, found.lower, found.upper) == (
            expected.value_compared,
            expected.lower,
            expected.upper,
        )
        assert found.verdict is expected.verdict is not Verdict.INSUFFICIENT
        assert result.largest_gap == found.value_compared


def test_the_front_is_marked_per_defense(report: ThresholdReport) -> None:
    def objectives(result) -> tuple[float, ...]:
        return (
            result.accuracy,
            -result.wrong_acceptance,
            -result.largest_gap,
            -result.attacked.wrong,
            -result.milliseconds_mean,
        )

    for result in report.settings:
        rivals = [objectives(r) for r in report.settings if r.defense == result.defense]
        ours = objectives(result)
        is_beaten = any(all(a >= b for a, b in zip(r, ours, strict=True)) and r != ours for r in rivals)
        assert result.is_on_front is not is_beaten
    assert not all(result.is_on_front for result in report.settings)


def test_the_bundles_own_setting_is_measured_and_named(report: ThresholdReport, recognizer: Recognizer) -> None:
    rejection = recognizer.defenses[DefenseName.NEURAL_REJECTION]
    assert isinstance(rejection, NeuralRejection)
    own = RejectionSetting(confidence_threshold=rejection.confidence_threshold)
    current = [result.setting for result in report.settings if result.is_current]
    assert set(current) == {SmoothingSetting(error_alpha=0.02, draws=30), own}
    told = " ".join(words(report))
    assert "smoothing of the bundle has error_alpha=0.02,draws=30" in told
    assert f"neural_rejection of the bundle has {own.name}" in told


def test_settings_that_can_never_accept_are_left_out_and_named(report: ThresholdReport) -> None:
    assert report.left_out == ("error_alpha=0.0001,draws=8",)  # 2^(1-8) = 0.0078
    assert "error_alpha=0.0001,draws=8" not in {result.name for result in report.settings}
    assert "error_alpha=0.0001,draws=8" in " ".join(words(report))


def test_attacked_clips_are_judged_by_the_defenses_themselves(
    report: ThresholdReport, recognizer: Recognizer, clips: Manifest, waveforms: Tensor
) -> None:
    """The attack is run again, clip by clip chosen as the sweep says, and literal defenses decide on what it gives."""
    assert report.attacked_clips == 12
    places = np.flatnonzero((clips.table["command"] != UNKNOWN).to_numpy())
    chosen = np.sort(np.random.default_rng(SEED).permutation(places)[:12])
    truth = clips.table["command"].to_numpy()[chosen].tolist()
    ids = [clips.clip_ids[i] for i in chosen]
    attack = Attack(eps=GRID.eps, steps=4, draws=4, seed=SEED)
    versions_differ = False
    for candidates in candidates_of(recognizer, GRID):
        versions = candidates.attacked(attack, waveforms[chosen], targets_of(truth, recognizer.labels), clip_ids=ids)
        for version in versions:
            assert float((version - waveforms[chosen]).abs().max()) <= GRID.eps * (1 + 1e-5)
        for setting in candidates.settings:
            each = [[d.command for d in decided(recognizer, setting, v, ids)] for v in versions]
            wrong = [any(s not in (None, t) for s in said) for *said, t in zip(*each, truth, strict=True)]
            right = [all(s == t for s in said) for *said, t in zip(*each, truth, strict=True)]
            found = report.result(setting).attacked
            assert found is not None
            assert found.wrong == pytest.approx(np.mean(wrong))
            assert found.right == pytest.approx(np.mean(right))
            assert found.right + found.rejected + found.wrong == pytest.approx(1)
            versions_differ |= len({tuple(said) for said in each}) > 1 and not all(
                np.mean([s not in (None, t) for s, t in zip(said, truth, strict=True)]) == found.wrong for said in each
            )
    assert versions_differ  # so that the worst of them is not just any


def test_the_attack_is_no_weaker_than_one_that_aims_at_the_threshold(
    recognizer: Recognizer, clips: Manifest, waveforms: Tensor
) -> None:
    """Of every threshold: one set of clips serves them all without making the strict ones look robust."""
    rejection = recognizer.defenses[DefenseName.NEURAL_REJECTION]
    assert isinstance(rejection, NeuralRejection)
    is_command = (clips.table["command"] != UNKNOWN).to_numpy()
    truth = clips.table["command"].to_numpy(dtype=str)[is_command]
    targets = targets_of(truth.tolist(), recognizer.labels)
    heard = waveforms[is_command.tolist()]
    candidates = RejectionCandidates(rejection, confidence_thresholds=(0.1, 0.6))
    attack = Attack(eps=0.1, steps=20, draws=1, seed=0)
    versions = candidates.attacked(attack, heard, targets, clip_ids=[""] * len(heard))
    judged = [candidates.judge(v, clip_ids=[""] * len(v), seed=0) for v in versions]
    shares = []
    for place, setting in enumerate(candidates.settings):
        once = np.any([verdicts[place].is_wrong(truth) for verdicts in judged], axis=0)
        aimed = built(recognizer, setting)
        assert isinstance(aimed, NeuralRejection)
        broken = pgd(EvadeNeuralRejection(aimed), heard, targets, eps=0.1, steps=20).is_broken.numpy()
        assert (once >= broken).all(), setting.name
        shares.append(once.mean())
    assert shares[0] > 0  # something is broken at all
    assert shares == sorted(shares, reverse=True)


def test_an_attack_through_noise_does_better_than_none(
    recognizer: Recognizer, clips: Manifest, waveforms: Tensor
) -> None:
    smoothing = recognizer.defenses[DefenseName.SMOOTHING]
    assert isinstance(smoothing, RandomizedSmoothing)
    is_command = (clips.table["command"] != UNKNOWN).to_numpy()
    truth = clips.table["command"].to_numpy(dtype=str)[is_command]
    heard, ids = waveforms[is_command.tolist()], [f"c{i}" for i in range(int(is_command.sum()))]
    candidates = SmoothingCandidates(smoothing, error_alphas=(0.3,), draws=(30,))
    attack = Attack(eps=0.2, steps=8, draws=4, seed=0)
    for found in attack.on_smoothing(smoothing, heard, targets_of(truth.tolist(), recognizer.labels), clip_ids=ids):
        for before, after in zip(
            candidates.judge(heard, clip_ids=ids, seed=0), candidates.judge(found, clip_ids=ids, seed=0), strict=True
        ):
            assert after.is_right(truth).mean() < before.is_right(truth).mean()


@pytest.mark.parametrize("steps", [4, 20])
def test_the_attack_on_smoothing_is_never_weaker_than_plain_steps(
    recognizer: Recognizer, manifest: BundleManifest, clips: Manifest, waveforms: Tensor, steps: int
) -> None:
    """As many steps of eps / 5 (of eps, where they are few) and the last iterate, which the defense of each setting
    judges itself."""
    smoothing = recognizer.defenses[DefenseName.SMOOTHING]
    assert isinstance(smoothing, RandomizedSmoothing)
    alone = replace(recognizer, defenses={"smoothing": smoothing}, default_defense="smoothing")
    grid = GRID.model_copy(
        update={"error_alphas": (0.02, 0.3), "draws": (30,), "eps": 0.1, "attack_steps": steps, "attacked_clips": 99}
    )
    found = swept(alone, manifest, clips, grid)
    is_command = (clips.table["command"] != UNKNOWN).to_numpy()
    truth = clips.table["command"].to_numpy(dtype=str)[is_command].tolist()
    ids = [i for i, keep in zip(clips.clip_ids, is_command, strict=True) if keep]
    objective = EvadeSmoothing(
        smoothing.network, sigma=smoothing.sigma, clip_ids=ids, seed=SEED, draws=4, labels=smoothing.labels
    )
    plain = pgd(
        objective,
        waveforms[is_command.tolist()],
        targets_of(truth, recognizer.labels),
        eps=0.1,
        steps=steps,
        step_size=0.02 if steps == 20 else 0.1,
        keep="last",
        stop_when_broken=False,
    )
    for result in found.settings:
        said = [d.command for d in decided(recognizer, result.setting, plain.waveforms, ids)]
        wrong = np.mean([s not in (None, t) for s, t in zip(said, truth, strict=True)])
        assert result.attacked is not None
        assert result.attacked.wrong >= wrong > 0, result.name


def test_without_attacked_clips_nothing_is_attacked(
    recognizer: Recognizer, manifest: BundleManifest, clips: Manifest
) -> None:
    grid = GRID.model_copy(update={"attacked_clips": 0, "draws": (30,)})
    found = swept(recognizer, manifest, clips, grid)
    assert found.attacked_clips == 0
    assert all(result.attacked is None for result in found.settings)
    assert any(result.is_on_front for result in found.settings)
    assert list(tables(found))


def test_the_report_is_written_whole(report: ThresholdReport) -> None:
    assert ThresholdReport.model_validate_json(report.model_dump_json(by_alias=True)) == report
    table = to_table(report)
    assert table["name"].tolist() == [result.name for result in report.settings]
    assert table["gap_gender"].notna().all()
    assert table.loc[table["defense"] == "neural_rejection", "draws_mean"].isna().all()
    each = list(tables(report))
    assert len(each) == 4
    for printed in (each[::2], each[1::2]):
        rows = [row for grid in printed for row in grid.rows]
        for row, result in zip(rows, report.settings, strict=True):
            assert ("●" in row[0]) is result.is_on_front
            assert ("now" in row[0]) is result.is_current


def test_the_tables_fit_a_terminal_of_eighty_columns_and_name_every_setting(report: ThresholdReport) -> None:
    """As wide as figures come: none of them 100 %, thousands of draws and milliseconds, a long attribute."""
    wide = {"accuracy": 0.333, "false_rejection": 0.333, "wrong_acceptance": 0.333, "false_acceptance": 0.333}
    wide |= {"milliseconds_mean": 1234.0, "milliseconds_p95": 12345.0, "is_current": True}
    wide |= {"attacked": UnderAttack(right=0.334, rejected=0.333, wrong=0.333)}
    results = [
        result.model_copy(
            update={
                **wide,
                "gaps": tuple(g.model_copy(update={"attribute": "native_language_at_home"}) for g in result.gaps),
                "draws_mean": None if result.draws_mean is None else 12345.0,
                "draws_p95": None if result.draws_mean is None else 12345.0,
            }
        )
        for result in report.settings
    ]
    for grid in tables(report.model_copy(update={"settings": tuple(results)})):
        assert {len(row) for row in grid.rows} == {len(grid.columns)}
        out = StringIO()
        Console(file=out, width=80).print(grid.to_rich())
        assert "…" not in out.getvalue()
        lines = [line.strip() for line in out.getvalue().splitlines()]
        for row in grid.rows:
            assert any(line.startswith(row[0].strip()) for line in lines), row[0]


def test_clips_that_cannot_be_heard_are_left_out_and_told(
    recognizer: Recognizer, manifest: BundleManifest, clips: Manifest, tmp_path: Path
) -> None:
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    broken = clips.table.iloc[[0]].assign(path=str(tmp_path / "broken.wav"))
    grid = GRID.model_copy(update={"attacked_clips": 0, "draws": (30,)})
    more = Manifest(pd.concat([broken, clips.table], ignore_index=True), clips.attributes)
    found = swept(recognizer, manifest, more, grid)
    assert len(found.unheard) == 1
    assert "broken.wav" in found.unheard[0]
    assert found.measured_on.clips == len(clips.table)
    without = swept(recognizer, manifest, clips, grid)
    assert [r.accuracy for r in found.settings] == [r.accuracy for r in without.settings]
    with pytest.raises(ManifestError, match="none of the 1 clips can be heard"):
        swept(recognizer, manifest, Manifest(broken, clips.attributes), grid)


def test_clips_that_say_nothing_of_false_rejections_are_refused(
    recognizer: Recognizer, manifest: BundleManifest, clips: Manifest
) -> None:
    others = clips.where(list(clips.table["command"] == UNKNOWN))
    with pytest.raises(ManifestError, match="no clip of a command"):
        swept(recognizer, manifest, others, GRID.model_copy(update={"draws": (30,)}))
    strange = Manifest(clips.table.replace({"command": {"go": "jump"}}), clips.attributes)
    with pytest.raises(ManifestError, match="does not know the commands \\['jump'\\]"):
        swept(recognizer, manifest, strange)
    torn = Manifest(clips.table.assign(speaker="one"), clips.attributes)
    with pytest.raises(ManifestError, match="two groups of gender"):
        swept(recognizer, manifest, torn)


def test_a_bundle_without_thresholds_is_refused(
    recognizer: Recognizer, manifest: BundleManifest, clips: Manifest
) -> None:
    plain = replace(recognizer, defenses={"none": recognizer.defenses["none"]}, default_defense="none")
    with pytest.raises(UnknownDefense, match="defenses are none, and neural_rejection or smoothing is a step"):
        swept(plain, manifest, clips)
    only = replace(recognizer, defenses={"smoothing": recognizer.defenses["smoothing"]}, default_defense="smoothing")
    with pytest.raises(UnknownDefense, match="defenses are smoothing, and neural_rejection is a step of none"):
        candidates_of(only, GRID, defenses=["neural_rejection"])


def test_only_what_concerns_the_swept_defenses_is_cautioned_of(
    recognizer: Recognizer, manifest: BundleManifest, clips: Manifest
) -> None:
    """Of combined defenses those that decide by a measured setting, too; of NR's clips only where NR is swept."""
    rejection, smoothing = recognizer.defenses["neural_rejection"], recognizer.defenses["smoothing"]
    purified = PurifiedInput([purifier("low_pass")], rejection)
    more = {"low_pass.neural_rejection": purified, "neural_rejection": rejection, "smoothing": smoothing}
    changed = replace(recognizer, defenses=more)
    grid = GRID.model_copy(update={"attacked_clips": 0, "draws": (30,)})
    told = {}
    for name in ("neural_rejection", "smoothing"):
        found = sweep_thresholds(
            changed,
            manifest,
            candidates_of(changed, grid, defenses=[name]),
            TuningClips(clips, "validation", "sha256:other", 0),
            source="own.csv",
            grid=grid,
        )
        told[name] = " ".join(found.cautions)
    assert "low_pass.neural_rejection decide by it too" in told["neural_rejection"]
    assert "neural rejection was fitted on" in told["neural_rejection"]
    assert "decide by it too" not in told["smoothing"]
    assert "neural rejection" not in told["smoothing"]


def test_a_chosen_settings_gap_goes_into_the_bundle_with_its_interval(report: ThresholdReport) -> None:
    assert "an interval holds for one setting looked at, not for the best of several" in list(words(report))
    for result in report.settings:
        (gap,) = result.gaps
        figures = result.chosen().figures
        assert figures["gap_gender"] == gap.value_compared
        assert (figures["gap_gender_lower"], figures["gap_gender_upper"]) == (gap.lower, gap.upper)
        assert figures["gap_gender_verdict"] == str(gap.verdict)


def test_test_clips_are_never_decoded(
    recognizer: Recognizer, manifest: BundleManifest, clips: Manifest, tmp_path: Path
) -> None:
    """A manifest whose test clips are no sound at all gives the same figures."""
    (tmp_path / "held-out.wav").write_bytes(b"no sound")
    held_out = clips.table.iloc[[0]].assign(path=str(tmp_path / "held-out.wav"), split="test")
    write_table(pd.concat([clips.table, held_out], ignore_index=True), tmp_path / "manifest.csv")
    tuning = load_tuning_clips(tmp_path / "manifest.csv")
    grid = GRID.model_copy(update={"attacked_clips": 0, "draws": (30,)})
    candidates = candidates_of(recognizer, grid)
    found = sweep_thresholds(recognizer, manifest, candidates, tuning, source="manifest.csv", grid=grid)
    assert found.unheard == ()
    without = swept(recognizer, manifest, clips, grid)
    assert [r.accuracy for r in found.settings] == [r.accuracy for r in without.settings]


def test_time_is_read_off_straight_lines_and_draws_come_in_lots() -> None:
    pace = Pace((16, 1024, 2048), (2.0, 20.0, 60.0), at_once=16)
    assert pace.of(np.array([1, 16, 17, 1024, 1536])).tolist() == pytest.approx(
        [2.0, 2.0, 2.0 + 18 * 16 / 1008, 20.0, 40.0]
    )
    assert Pace((0,), (1.5,)).of(np.array([0, 0])).tolist() == [1.5, 1.5]


@pytest.mark.parametrize(
    ("cores", "draws", "knots"),
    [(1, 500, (16, 512)), (1, 16, (16,)), (3, 500, (48, 528)), (3, 2000, (48, 1008, 2016)), (1, 1024, (16, 1024))],
)
def test_time_is_measured_at_one_lot_a_banks_rows_and_the_largest_number_of_draws(
    recognizer: Recognizer,
    waveforms: Tensor,
    monkeypatch: pytest.MonkeyPatch,
    cores: int,
    draws: int,
    knots: tuple[int, ...],
) -> None:
    """Decisions are real, the clock is not: each knot's first decision takes seconds, of the others one is slow."""
    smoothing = recognizer.defenses[DefenseName.SMOOTHING]
    assert isinstance(smoothing, RandomizedSmoothing)
    monkeypatch.setattr(pace_module, "cores", lambda: cores)
    shots = [seconds for knot in knots for seconds in (9.0, *(knot / 1000 * n for n in (1, 2, 3, 4, 500)))]
    ticks = [tick for place, seconds in enumerate(shots) for tick in (100.0 * place, 100.0 * place + seconds)]
    clock = iter(ticks)
    pace = pace_of_smoothing(smoothing, waveforms[0], draws=draws, clock=lambda: next(clock))
    assert pace.draws == knots
    assert pace.milliseconds == pytest.approx([3 * knot for knot in knots])  # the median, the first left out
    assert pace.at_once == 16 * cores
    assert next(clock, None) is None
    assert pace.of(np.array([1, draws])).tolist() == pytest.approx([3 * knots[0], 3 * knots[-1]])
