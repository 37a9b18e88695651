"""Attacked figures against pandas, and the attack against a slow one by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from monitoring.audit import AttackSettings, AuditError, AuditFolder, AuditReport, Policy, run_audit
from monitoring.audit.subsample import choose_clips
from monitoring.measured import AuditSettings
from recognizer.attacks import Misclassify, pgd
from recognizer.audio import read_clip
from recognizer.bundle import load_bundle
from recognizer.decision import UNKNOWN
from recognizer.manifest import Manifest, load_manifest
from recognizer.recognizer import Recognizer, window_of
from recognizer.smoothing import RandomizedSmoothing

EPS = (0.002, 0.05, 0.3)
ATTACK = AttackSettings(clips=20, eps_grid=EPS, steps=4, smoothing_steps=2, eot_draws=3)
SETTINGS = AuditSettings(seed=1, min_speakers=10, replicates=100)


@pytest.fixture(scope="module")
def recognizer(bundle: Path) -> Recognizer:
    loaded = load_bundle(bundle)
    smoothing = loaded.defenses["smoothing"]
    assert isinstance(smoothing, RandomizedSmoothing)
    few = RandomizedSmoothing(smoothing.network, loaded.labels, sigma=0.05, draws=12, error_alpha=0.01)
    return replace(loaded, defenses={**loaded.defenses, "smoothing": few})


@pytest.fixture(scope="module")
def clips(tone_manifest: Path) -> Manifest:
    whole = load_manifest(tone_manifest)
    return Manifest(whole.table.groupby(["speaker", "command"]).head(1).reset_index(drop=True), whole.attributes)


@pytest.fixture(scope="module")
def attacked(
    recognizer: Recognizer, clips: Manifest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[AuditReport, pd.DataFrame]:
    folder = AuditFolder(tmp_path_factory.mktemp("attacked") / "audit")
    report, _ = run_audit(recognizer, clips, source="m.csv", settings=SETTINGS, attack=ATTACK, folder=folder)
    return report, pd.read_parquet(folder.attacked)


def test_every_defense_is_attacked_on_the_same_clips_at_every_eps(
    attacked: tuple[AuditReport, pd.DataFrame], recognizer: Recognizer
) -> None:
    report, table = attacked
    assert len(table) == 20 * (1 + len(EPS)) * len(recognizer.defenses)
    assert not table.duplicated(["clip", "eps", "defense"]).any()
    assert table.groupby("defense")["clip"].agg(frozenset).nunique() == 1
    assert UNKNOWN not in set(table["command"])
    assert report.attack is not None
    assert report.attack.eps == (0.0, *EPS)
    assert (report.attack.subsample.clips, report.attack.subsample.of_clips) == (20, 36)
    assert table["clip"].nunique() == 20
    assert report.attack.chance == 1 / len(recognizer.commands)


def test_accuracy_and_its_area_are_pandas_means_and_trapezoids(attacked: tuple[AuditReport, pd.DataFrame]) -> None:
    report, table = attacked
    for result in report.defenses:
        own = table[table["defense"] == result.defense]
        assert result.attacked is not None
        groups = [(result.attacked.overall, own)]
        groups += [(g, own[own[a.attribute] == g.group]) for a in result.attacked.attributes for g in a.groups]
        for found, rows in groups:
            right = (rows["outcome"] == "right").groupby(rows["eps"]).mean()
            assert [e.mean for e in found.accuracy] == pytest.approx(right.tolist())
            assert found.auc_acc.mean == pytest.approx(np.trapezoid(right, right.index))
            rejected = (rows["outcome"] == "rejected").groupby(rows["eps"]).mean()
            assert list(found.rejected) == pytest.approx(rejected.tolist())
            assert (found.clips, found.speakers) == (rows["clip"].nunique(), rows["speaker"].nunique())
            if found.auc_acc.upper is not None:
                assert found.auc_acc.upper <= EPS[-1]
        snr = own.groupby("eps")["snr_db"].median()
        assert [np.inf if s is None else s for s in result.attacked.snr_db] == pytest.approx(snr.tolist())


def test_at_eps_0_the_outcomes_are_those_of_the_clean_clips(
    recognizer: Recognizer, clips: Manifest, attacked: tuple[AuditReport, pd.DataFrame]
) -> None:
    _, table = attacked
    _, outcomes = run_audit(recognizer, clips, source="m.csv", settings=SETTINGS)
    clean = outcomes.assign(
        outcome=np.where(outcomes["correct"], "right", np.where(outcomes["said"] == "", "rejected", "wrong"))
    )
    both = table[table["eps"] == 0].merge(clean, on=["clip", "defense"], suffixes=("", "_clean"))
    assert len(both) == 20 * len(recognizer.defenses)
    assert (both["outcome"] == both["outcome_clean"]).all()


def test_no_defense_is_attacked_more_weakly_than_by_one_attack_alone(
    recognizer: Recognizer, clips: Manifest, attacked: tuple[AuditReport, pd.DataFrame]
) -> None:
    """Of the plain network, PGD by hand at each eps alone: the nested sweep breaks what it breaks, or more."""
    _, table = attacked
    own = table[table["defense"] == "none"]
    chosen = list(own["clip"].unique())
    rows = clips.table.assign(clip=clips.clip_ids).set_index("clip").loc[chosen]
    waveforms = window_of([read_clip(Path(p), recognizer.audio) for p in rows["path"]], recognizer.audio)
    labels = torch.tensor([recognizer.labels.index(c) for c in rows["command"]])
    network = recognizer.defenses["none"].network  # type: ignore[attr-defined]
    for eps in EPS:
        alone = pgd(Misclassify(network, labels=recognizer.labels), waveforms, labels, eps=eps, steps=ATTACK.steps)
        wrong = int((own.loc[own["eps"] == eps, "outcome"] != "right").sum())
        assert wrong >= int(alone.is_broken.sum())
    assert wrong > 10  # 0.3 drowns the tones


def test_lots_of_clips_come_to_what_one_lot_comes_to(
    recognizer: Recognizer,
    clips: Manifest,
    attacked: tuple[AuditReport, pd.DataFrame],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr("monitoring.audit.shards.LOT", 8)
    monkeypatch.setattr("monitoring.audit.plan.LOT", 8)
    folder = AuditFolder(tmp_path)
    report, _ = run_audit(
        recognizer,
        clips,
        source="m.csv",
        settings=SETTINGS,
        attack=ATTACK,
        defenses=["none", "neural_rejection"],
        folder=folder,
    )
    assert report.runtime.shards == 1 + 2 * 3
    keys = ["defense", "eps", "clip"]
    parts = pd.read_parquet(folder.attacked).sort_values(keys).reset_index(drop=True)
    _, whole = attacked
    whole = whole[whole["defense"] != "smoothing"].sort_values(keys).reset_index(drop=True)
    pd.testing.assert_series_equal(parts["outcome"], whole["outcome"])


def test_a_policy_that_asks_for_attacks_refuses_an_audit_without(recognizer: Recognizer, clips: Manifest) -> None:
    with pytest.raises(AuditError, match=r"asks for attacks.*--attacked-clips"):
        run_audit(recognizer, clips, source="m.csv", policy=Policy(attacked=True))


def test_a_constant_network_is_found_to_be_one(recognizer: Recognizer, clips: Manifest) -> None:
    broken = load_bundle_copy(recognizer)
    report, _ = run_audit(
        broken,
        clips,
        source="m.csv",
        settings=SETTINGS,
        attack=ATTACK.model_copy(update={"clips": 12}),
        defenses=["none"],
    )
    found = report.defenses[0].attacked
    assert found is not None
    assert {"constant", "chance_level"} <= {f.pitfall for f in found.findings}


def load_bundle_copy(recognizer: Recognizer) -> Recognizer:
    """One whose plain network says one word to everybody."""
    import copy

    plain = copy.deepcopy(recognizer.defenses["none"])
    with torch.no_grad():
        plain.network.head.weight.zero_()  # type: ignore[attr-defined]
        plain.network.head.bias.copy_(torch.arange(len(recognizer.labels)))  # type: ignore[attr-defined]
    return replace(recognizer, defenses={"none": plain}, default_defense="none")


@given(
    st.lists(st.sampled_from("abcdefg"), min_size=1, max_size=60), st.integers(0, 70), st.integers(0, 5), st.randoms()
)
def test_the_subsample_is_even_over_speakers_and_nested(
    speakers: list[str], count: int, seed: int, order: object
) -> None:
    names = [f"{speaker}/{i}" for i, speaker in enumerate(speakers)]
    chosen = choose_clips(names, speakers, count=count, seed=seed)
    assert len(set(chosen)) == len(chosen) == min(count, len(names))
    has = {s: speakers.count(s) for s in set(speakers)}
    got = {s: sum(c.startswith(f"{s}/") for c in chosen) for s in has}
    most = max(got.values())
    assert all(got[s] >= min(has[s], most - 1) for s in has)
    assert chosen == choose_clips(names, speakers, count=count + 3, seed=seed)[: len(chosen)]
    turned = list(zip(names, speakers, strict=True))
    order.shuffle(turned)  # type: ignore[attr-defined]
    assert chosen == choose_clips([n for n, _ in turned], [s for _, s in turned], count=count, seed=seed)
