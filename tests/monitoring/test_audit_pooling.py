"""Audits of parts of a corpus, pooled, against one audit of all of it; and what can't be pooled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from monitoring.audit import (
    AttackSettings,
    AuditError,
    AuditFolder,
    AuditReport,
    FinishedAudit,
    Pooled,
    pool_audits,
    run_audit,
)
from monitoring.measured import AuditSettings
from monitoring.report import to_markdown
from monitoring.report.page import audit_document
from monitoring.report.render import to_html
from recognizer.bundle import load_bundle
from recognizer.decision import UNKNOWN
from recognizer.manifest import Manifest, load_manifest
from recognizer.recognizer import Recognizer
from recognizer.smoothing import RandomizedSmoothing

SETTINGS = AuditSettings(seed=2, min_speakers=10, replicates=100)
EPS = (0.02,)
SPEAKERS, ATTACKED = 8, 3  # of each of the three parts
ATTACK = AttackSettings(clips=ATTACKED, eps_grid=EPS, steps=1, smoothing_steps=1, eot_draws=2)
PARTS = 3
DEFENSES = ("none", "smoothing")
SIGMA = 0.2


def noisy(bundle: Path, sigma: float, version: str | None = None) -> Recognizer:
    """The bundle with few draws of much noise, so that some clips are turned away."""
    loaded = load_bundle(bundle)
    smoothing = loaded.defenses["smoothing"]
    assert isinstance(smoothing, RandomizedSmoothing)
    few = RandomizedSmoothing(smoothing.network, loaded.labels, sigma=sigma, draws=12, error_alpha=0.01)
    return replace(loaded, defenses={**loaded.defenses, "smoothing": few}, version=version or loaded.version)


@pytest.fixture(scope="module")
def recognizer(bundle: Path) -> Recognizer:
    return noisy(bundle, SIGMA)


@pytest.fixture(scope="module")
def everybody(tone_manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """24 speakers, made of the corpus' twelve as if each of two takes were somebody else's; one clip is silent."""
    manifest = load_manifest(tone_manifest)
    take = manifest.table["path"].str.extract(r"_(\d)\.wav$")[0]
    table = manifest.table.assign(speaker=manifest.table["speaker"] + "-" + take)[take.isin(["0", "1"])]
    table = table.reset_index(drop=True)
    silence = tmp_path_factory.mktemp("pooled") / "silence.wav"
    soundfile.write(silence, np.zeros(8000), 16_000)
    table.loc[(table["command"] == UNKNOWN).idxmax(), "path"] = str(silence)  # no command: those are attacked
    return Manifest(table, manifest.attributes)


def part(manifest: Manifest, number: int) -> Manifest:
    """Every third speaker's clips."""
    speakers = sorted(manifest.table["speaker"].unique())[number::PARTS]
    assert len(speakers) == SPEAKERS
    return manifest.where(manifest.table["speaker"].isin(speakers).to_list())


def audit(recognizer: Recognizer, clips: Manifest, folder: Path, **options: object) -> FinishedAudit:
    given = {"settings": SETTINGS, "attack": ATTACK, "defenses": DEFENSES, **options}
    kept = AuditFolder(folder)
    report, outcomes = run_audit(recognizer, clips, source="m.csv", folder=kept, **given)  # type: ignore[arg-type]
    attacked = pd.read_parquet(kept.attacked) if report.attack else None
    return FinishedAudit(folder.name, report, outcomes, attacked)


@pytest.fixture(scope="module")
def parts(recognizer: Recognizer, everybody: Manifest, tmp_path_factory: pytest.TempPathFactory) -> list[FinishedAudit]:
    folder = tmp_path_factory.mktemp("parts")
    return [audit(recognizer, part(everybody, n), folder / f"fold-{n}") for n in range(PARTS)]


@pytest.fixture(scope="module")
def pooled(parts: list[FinishedAudit]) -> Pooled:
    return pool_audits(parts)


@pytest.fixture(scope="module")
def whole(recognizer: Recognizer, everybody: Manifest, tmp_path_factory: pytest.TempPathFactory) -> FinishedAudit:
    """One audit of everybody."""
    attack = ATTACK.model_copy(update={"clips": PARTS * ATTACKED})
    return audit(recognizer, everybody, tmp_path_factory.mktemp("whole") / "audit", attack=attack)


def test_every_clean_figure_is_that_of_one_audit_of_everybody(pooled: Pooled, whole: FinishedAudit) -> None:
    for ours, theirs in zip(pooled.report.defenses, whole.report.defenses, strict=True):
        assert ours.model_copy(update={"attacked": None}) == theirs.model_copy(update={"attacked": None})
    assert any(gap.compared for a in pooled.report.defenses[0].attributes for gap in a.gaps)
    assert 0 < pooled.report.defenses[-1].overall.rejection.mean < 1


def test_what_was_heard_and_what_decides_is_that_of_one_audit_of_everybody(
    pooled: Pooled, whole: FinishedAudit
) -> None:
    ours, theirs = pooled.report, whole.report
    for field in ("coverage", "unheard", "judgement", "settings", "alphas", "clips", "speakers", "attack", "manifest"):
        assert getattr(ours, field) == getattr(theirs, field), field
    assert len(ours.unheard) == 1
    assert ours.cautions[1:] == theirs.cautions


def test_the_outcomes_are_those_of_one_audit_of_everybody(pooled: Pooled, whole: FinishedAudit) -> None:
    order = ["clip", "defense"]
    ours, theirs = (t.sort_values(order, ignore_index=True) for t in (pooled.outcomes, whole.outcomes))
    pd.testing.assert_frame_equal(ours, theirs)


def test_attacked_figures_are_pandas_means_over_all_parts(pooled: Pooled, parts: list[FinishedAudit]) -> None:
    table = pd.concat([p.attacked for p in parts])
    assert table.groupby("defense")["speaker"].nunique().tolist() == [PARTS * ATTACKED] * len(DEFENSES)
    for result in pooled.report.defenses:
        own = table[table["defense"] == result.defense]
        assert result.attacked is not None
        groups = [(result.attacked.overall, own)]
        groups += [(g, own[own[a.attribute] == g.group]) for a in result.attacked.attributes for g in a.groups]
        for found, rows in groups:
            right = (rows["outcome"] == "right").groupby(rows["eps"]).mean()
            assert [e.mean for e in found.accuracy] == pytest.approx(right.tolist())
            assert found.auc_acc.mean == pytest.approx(np.trapezoid(right, right.index))
            assert (found.speakers, found.clips) == (rows["speaker"].nunique(), rows["clip"].nunique())


def test_the_order_of_the_audits_changes_nothing_but_the_list_of_them(
    pooled: Pooled, parts: list[FinishedAudit]
) -> None:
    turned = pool_audits(parts[::-1])
    pd.testing.assert_frame_equal(turned.outcomes, pooled.outcomes)
    ours = turned.report.model_copy(update={"bundles": turned.report.bundles[::-1]})
    assert _without_findings(ours) == _without_findings(pooled.report)


def _without_findings(report: AuditReport) -> AuditReport:
    results = [
        r.model_copy(update={"attacked": r.attacked and r.attacked.model_copy(update={"findings": ()})})
        for r in report.defenses
    ]
    return report.model_copy(update={"defenses": tuple(results)})


# Several bundles


@pytest.fixture(scope="module")
def out_of_fold(
    parts: list[FinishedAudit], bundle: Path, everybody: Manifest, tmp_path_factory: pytest.TempPathFactory
) -> Pooled:
    """The first part by another bundle than the others'."""
    other = noisy(bundle, 1.5 * SIGMA, version="sha256:" + "d" * 64)
    return pool_audits([audit(other, part(everybody, 0), tmp_path_factory.mktemp("other") / "fold-0"), *parts[1:]])


def test_every_bundle_is_named_with_what_it_heard(out_of_fold: Pooled, recognizer: Recognizer) -> None:
    report = out_of_fold.report
    assert [b.version for b in report.bundles] == ["sha256:" + "d" * 64, recognizer.version, recognizer.version]
    assert [b.speakers for b in report.bundles] == [SPEAKERS] * PARTS
    assert sum(b.clips for b in report.bundles) == report.clips
    assert report.bundle_version not in {b.version for b in report.bundles}
    assert "scores come from 2 bundles" in report.cautions[0]
    assert "of that recipe rather than of one bundle" in report.cautions[0]


def test_each_part_is_scored_by_its_own_bundle(out_of_fold: Pooled, pooled: Pooled) -> None:
    smoothed = [t[t["defense"] == "smoothing"].set_index("clip") for t in (out_of_fold.outcomes, pooled.outcomes)]
    first = set(part_speakers(pooled, 0))
    is_first = smoothed[0]["speaker"].isin(first)
    assert (smoothed[0]["p_value"] == smoothed[1]["p_value"])[~is_first].all()
    assert (smoothed[0]["p_value"] != smoothed[1]["p_value"])[is_first].any()


def part_speakers(pooled: Pooled, number: int) -> list[str]:
    return sorted(pooled.outcomes["speaker"].unique())[number::PARTS]


def test_a_pooled_report_is_read_and_rendered_like_any_other(out_of_fold: Pooled) -> None:
    report = out_of_fold.report
    assert AuditReport.model_validate_json(report.model_dump_json(by_alias=True)) == report
    page = to_html(audit_document(report))
    for bundle in report.bundles:
        assert bundle.version in page
    assert "rather than of one bundle" in page
    assert "Pooled from" in page
    markdown = to_markdown(report)
    assert markdown.startswith("# Audit of tones\n")
    assert all(markdown.count(f"`{bundle.version}`") >= 1 for bundle in report.bundles)


# What can't be pooled

Change = Callable[[FinishedAudit], FinishedAudit]


def settings(**changes: object) -> Change:
    def change(audit: FinishedAudit) -> FinishedAudit:
        new = audit.report.settings.model_copy(update=changes)
        return replace(audit, report=audit.report.model_copy(update={"settings": new}))

    return change


def report(**changes: object) -> Change:
    return lambda audit: replace(audit, report=audit.report.model_copy(update=changes))


def fewer_defenses(audit: FinishedAudit) -> FinishedAudit:
    return report(defenses=audit.report.defenses[:1])(audit)


def another_attack(audit: FinishedAudit) -> FinishedAudit:
    assert audit.report.attack is not None
    return report(attack=audit.report.attack.model_copy(update={"settings": AttackSettings(clips=99)}))(audit)


def another_policy(audit: FinishedAudit) -> FinishedAudit:
    judgement = audit.report.judgement
    policy = judgement.policy.model_copy(update={"tolerance": 0.3})
    return report(judgement=judgement.model_copy(update={"policy": policy}))(audit)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (settings(seed=3), "the setting seed (2 and 3)"),
        (settings(tolerance=0.3), "the setting tolerance (0.05 and 0.3)"),
        (settings(min_speakers=11), "the setting min_speakers (10 and 11)"),
        (fewer_defenses, "the defenses"),
        (report(default_defense="none"), "the default defense (smoothing and none)"),
        (report(alphas=(0.1, 0.2)), "the thresholds of rejection curves"),
        (another_attack, "the attack"),
        (another_policy, "the policy"),
        (report(evenvoice_version="9.9"), "evenvoice (0.1.0 and 9.9)"),
    ],
)
def test_audits_that_were_not_made_alike_are_refused(parts: list[FinishedAudit], change: Change, words: str) -> None:
    with pytest.raises(AuditError) as refused:
        pool_audits([parts[0], change(parts[1])])
    assert words in str(refused.value)
    assert "fold-0 and fold-1 were not made alike" in str(refused.value)


def test_audits_of_other_attributes_are_refused(
    recognizer: Recognizer, everybody: Manifest, parts: list[FinishedAudit], tmp_path: Path
) -> None:
    other = part(everybody, 1)
    less = Manifest(other.table.drop(columns=["gender"]), ("accent",))
    with pytest.raises(AuditError, match=r"the attack; the attributes \(accent, gender and accent\)"):
        pool_audits([parts[0], audit(recognizer, less, tmp_path / "less", attack=AttackSettings())])


def test_a_speaker_of_two_audits_is_refused(parts: list[FinishedAudit]) -> None:
    moved = parts[1].outcomes.assign(speaker=lambda t: t["speaker"].replace(t["speaker"][0], "her"))
    both = parts[2].outcomes.assign(speaker=lambda t: t["speaker"].replace(t["speaker"][0], "her"))
    with pytest.raises(AuditError, match=r"1 speakers are in fold-1 and in fold-2 \(her\)"):
        pool_audits([parts[0], replace(parts[1], outcomes=moved), replace(parts[2], outcomes=both)])


def test_a_clip_of_two_audits_is_refused_also_where_it_was_not_heard(parts: list[FinishedAudit]) -> None:
    with pytest.raises(AuditError, match=r"8 speakers are in fold-0 and in fold-0"):
        pool_audits([parts[0], parts[0]])
    (missed,) = (p for p in parts if p.report.unheard)
    heard = next(p for p in parts if not p.report.unheard)
    clip = missed.report.unheard[0].clip
    renamed = heard.outcomes.assign(clip=lambda t: t["clip"].replace(t["clip"][0], clip))
    with pytest.raises(AuditError, match=rf"1 clips are in .* \({clip}\)"):
        pool_audits([missed, replace(heard, outcomes=renamed)])


def test_one_audit_a_pooled_one_and_files_of_two_runs_are_refused(parts: list[FinishedAudit], pooled: Pooled) -> None:
    with pytest.raises(AuditError, match="1 audit can't be pooled; two or more are accepted"):
        pool_audits(parts[:1])
    again = FinishedAudit("all", pooled.report, pooled.outcomes, pooled.attacked)
    with pytest.raises(AuditError, match="all is a pooled audit itself; give those that it was made of"):
        pool_audits([parts[0], again])
    half = parts[1].outcomes[parts[1].outcomes["clip"] != parts[1].outcomes["clip"][0]]
    with pytest.raises(AuditError, match="fold-1: the report is of 32 clips and the outcomes beside it of 31"):
        pool_audits([parts[0], replace(parts[1], outcomes=half)])
    with pytest.raises(AuditError, match="one of them is of attacks and the other is not"):
        pool_audits([parts[0], replace(parts[1], attacked=None)])
