"""An audit's figures against pandas, taken from the outcomes in the plainest way."""

from __future__ import annotations

import shutil
from dataclasses import replace
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from rich.console import Console

from monitoring.audit import (
    AttackSettings,
    AuditFolder,
    AuditReport,
    FalseAcceptance,
    Gate,
    GroupResult,
    Listened,
    Policy,
    PolicyError,
    Recording,
    decide_all,
    run_audit,
)
from monitoring.audit.plan import AuditPlan
from monitoring.measured import AuditSettings
from monitoring.report import overview, to_markdown
from recognizer.audio import AudioFormat, read_clip
from recognizer.bundle import load_bundle
from recognizer.combined import Combined
from recognizer.decision import UNKNOWN, Reason
from recognizer.defense import Defense, DefenseName
from recognizer.manifest import Manifest, ManifestError, load_manifest
from recognizer.neural_rejection import NeuralRejection
from recognizer.recognizer import Recognizer, UnknownDefense, window_of
from recognizer.smoothing import RandomizedSmoothing

Audited = tuple[AuditReport, pd.DataFrame]
ALPHAS = np.arange(1, 1001) / 1000


@pytest.fixture(scope="module")
def manifest(tone_manifest: Path) -> Manifest:
    return load_manifest(tone_manifest)


@pytest.fixture(scope="module")
def recognizer(bundle: Path, manifest: Manifest) -> Recognizer:
    """The tiny bundle with defenses so strict that they turn some clips away, however well it was trained."""
    loaded = load_bundle(bundle)
    rejecting, smoothing = loaded.defenses[DefenseName.NEURAL_REJECTION], loaded.defenses[DefenseName.SMOOTHING]
    assert isinstance(rejecting, NeuralRejection)
    assert isinstance(smoothing, RandomizedSmoothing)
    some = manifest.where(list(manifest.table["command"] != UNKNOWN)).table["path"][::5]
    waveforms = window_of([read_clip(Path(p), loaded.audio) for p in some], loaded.audio)
    ids = [str(i) for i in range(len(some))]

    sure = [d.confidence or 0.0 for d in rejecting.decide(waveforms, clip_ids=ids, seed=0)]
    strict: dict[DefenseName, Defense] = {
        DefenseName.NONE: loaded.defenses[DefenseName.NONE],
        DefenseName.NEURAL_REJECTION: NeuralRejection(
            rejecting.network, rejecting.machine, loaded.labels, confidence_threshold=float(np.median(sure))
        ),
    }
    for sigma in (0.1, 0.2, 0.3, 0.4, 0.6, 0.8, 1.2):
        strict[DefenseName.SMOOTHING] = RandomizedSmoothing(smoothing.network, loaded.labels, sigma=sigma, draws=15)
        decisions = strict[DefenseName.SMOOTHING].decide(waveforms, clip_ids=ids, seed=0)
        if sum(d.reason is Reason.SMOOTHING_TIE for d in decisions) >= 4:
            return replace(loaded, defenses=strict)
    raise AssertionError("no noise makes this network hesitate")


@pytest.fixture(scope="module")
def audited(recognizer: Recognizer, manifest: Manifest) -> Audited:
    """All splits: twelve speakers."""
    settings = AuditSettings(seed=3, min_speakers=10, replicates=200)
    return run_audit(recognizer, manifest, source="manifest.csv", settings=settings)


@pytest.fixture(scope="module")
def few(manifest: Manifest) -> Manifest:
    """Ten clips of each command: enough where figures do not matter."""
    return Manifest(manifest.table.groupby("command").head(10).reset_index(drop=True), manifest.attributes)


@pytest.fixture(scope="module")
def everyone(manifest: Manifest) -> Manifest:
    """Every speaker's first clip of each command: all groups are there."""
    return Manifest(manifest.table.groupby(["speaker", "command"]).head(1).reset_index(drop=True), manifest.attributes)


def area(rejected: np.ndarray) -> float:
    """The trapezoid over alpha = 0.001, 0.002, ..., 1.000."""
    return float(np.trapezoid(rejected, ALPHAS))


def test_there_is_one_row_a_clip_and_defense(audited: Audited, manifest: Manifest, recognizer: Recognizer) -> None:
    report, outcomes = audited
    assert len(outcomes) == len(manifest.table) * len(recognizer.defenses)
    assert not outcomes.duplicated(["clip", "defense"]).any()
    assert report.unheard == ()
    truth = dict(zip(manifest.clip_ids, manifest.table["command"], strict=True))
    assert outcomes["clip"].map(truth).equals(outcomes["command"])
    assert report.clips == len(manifest.table)
    assert report.speakers == manifest.table["speaker"].nunique()


def test_the_defenses_of_these_tests_turn_away_some_clips_and_not_all(audited: Audited) -> None:
    report, outcomes = audited
    for result in report.defenses[1:]:
        assert 0 < result.overall.rejection.mean < 1
        assert outcomes.loc[outcomes["defense"] == result.defense, "score"].nunique() > 2


def test_every_groups_figures_are_pandas_means(audited: Audited) -> None:
    report, outcomes = audited
    heard = outcomes[outcomes["command"] != UNKNOWN]
    assert [r.defense for r in report.defenses] == list(DefenseName)
    for result in report.defenses:
        rows = heard[heard["defense"] == result.defense]
        by_group = {("all", "all"): (result.overall, rows)}
        for attribute in result.attributes:
            assert {g.group for g in attribute.groups} == set(rows[attribute.attribute])
            for group in attribute.groups:
                part = rows[rows[attribute.attribute] == group.group]
                by_group[attribute.attribute, group.group] = (group, part)
        for found, part in by_group.values():
            assert (found.clips, found.speakers) == (len(part), part["speaker"].nunique())
            assert found.accuracy.mean == pytest.approx((part["said"] == part["command"]).mean())
            assert found.rejection.mean == pytest.approx((part["said"] == "").mean())
            if result.defense == DefenseName.NONE:
                assert found.auc_fpr is None
            else:
                assert found.auc_fpr is not None
                assert found.auc_fpr.mean == pytest.approx(part["score"].mean())


def test_a_gap_is_the_largest_group_mean_minus_the_smallest(audited: Audited) -> None:
    report, outcomes = audited
    heard = outcomes[outcomes["command"] != UNKNOWN].assign(rejection=lambda t: (t["said"] == "").astype(float))
    heard = heard.rename(columns={"score": "auc_fpr", "correct": "accuracy"})
    for result in report.defenses:
        for attribute in result.attributes:
            wanted = {"rejection", "accuracy"} | ({"auc_fpr"} if result.defense != DefenseName.NONE else set())
            assert {gap.metric for gap in attribute.gaps} == wanted
            for gap in attribute.gaps:
                means = heard[heard["defense"] == result.defense].groupby(attribute.attribute)[gap.metric].mean()
                means = means.drop("undeclared", errors="ignore").astype(float)
                assert gap.value == pytest.approx(means.max() - means.min())
                assert gap.compared == ()  # six speakers a group are too few, and are said to be
                assert gap.verdict == "insufficient"
                assert gap.minimum_detectable_gap is None
                assert set(gap.too_small) == set(means.index)


def test_auc_fpr_of_neural_rejection_is_the_sweep_over_a_thousand_thresholds(
    audited: Audited, recognizer: Recognizer, manifest: Manifest
) -> None:
    report, _ = audited
    (result,) = (r for r in report.defenses if r.defense == DefenseName.NEURAL_REJECTION)
    table = manifest.table[manifest.table["command"] != UNKNOWN]
    clips = [read_clip(Path(p), recognizer.audio) for p in table["path"]]
    decisions = recognizer.decide(clips, clip_ids=[""] * len(clips), seed=0, defense="neural_rejection")
    confidence = np.array([d.confidence for d in decisions])
    assert result.overall.auc_fpr is not None
    literal = area(np.array([(confidence < alpha).mean() for alpha in ALPHAS]))
    assert result.overall.auc_fpr.mean == pytest.approx(literal, abs=5e-4)
    for group in result.attributes[0].groups:
        part = confidence[(table[result.attributes[0].attribute] == group.group).to_numpy()]
        literal = area(np.array([(part < alpha).mean() for alpha in ALPHAS]))
        assert group.auc_fpr is not None
        assert group.auc_fpr.mean == pytest.approx(literal, abs=5e-4)


def test_auc_fpr_of_smoothing_is_the_sweep_over_a_thousand_thresholds(
    audited: Audited, recognizer: Recognizer, manifest: Manifest
) -> None:
    report, _ = audited
    (result,) = (r for r in report.defenses if r.defense == DefenseName.SMOOTHING)
    rows = [i for i, command in enumerate(manifest.table["command"]) if command != UNKNOWN]
    clips = [read_clip(Path(manifest.table["path"][i]), recognizer.audio) for i in rows]
    ids = [manifest.clip_ids[i] for i in rows]
    decisions = recognizer.decide(clips, clip_ids=ids, seed=3, defense="smoothing")
    p = np.array([d.certificate.p_value for d in decisions if d.certificate], dtype=float)
    assert len(p) == len(rows)
    assert result.overall.auc_fpr is not None
    literal = area(np.array([(p > alpha).mean() for alpha in ALPHAS]))
    assert result.overall.auc_fpr.mean == pytest.approx(literal, abs=5e-4)


# Combined defenses

BOTH = "neural_rejection.smoothing"


@pytest.fixture(scope="module")
def combining(recognizer: Recognizer) -> Recognizer:
    """With the strict parts combined, too."""
    parts = [recognizer.defenses[name] for name in (DefenseName.NEURAL_REJECTION, DefenseName.SMOOTHING)]
    return replace(recognizer, defenses={**recognizer.defenses, BOTH: Combined(parts, ask_all=True)})


@pytest.fixture(scope="module")
def combined(combining: Recognizer, few: Manifest) -> Audited:
    settings = AuditSettings(seed=3, min_speakers=10, replicates=200)
    return run_audit(combining, few, source="m.csv", settings=settings)


def test_each_part_of_a_combined_defense_has_the_auc_fpr_it_has_alone(combined: Audited) -> None:
    """Of every clip, not only of those that the part before it lets through."""
    report, _ = combined
    by_name = {result.defense: result for result in report.defenses}
    pairs = [(by_name[BOTH].overall, [by_name[part].overall for part in BOTH.split(".")])]
    for number, attribute in enumerate(by_name[BOTH].attributes):
        alone = [by_name[part].attributes[number] for part in BOTH.split(".")]
        pairs += [(g, [a.groups[i] for a in alone]) for i, g in enumerate(attribute.groups)]
        gaps = {gap.part: gap for gap in attribute.gaps if gap.metric == "auc_fpr"}
        assert list(gaps) == BOTH.split(".")
        for part, single in zip(BOTH.split("."), alone, strict=True):
            (wanted,) = (gap for gap in single.gaps if gap.metric == "auc_fpr")
            assert gaps[part].model_copy(update={"part": None}) == wanted
    for together, each in pairs:
        assert together.auc_fpr is None
        assert [(p.part, p.auc_fpr) for p in together.parts] == [
            (part, single.auc_fpr) for part, single in zip(BOTH.split("."), each, strict=True)
        ]
        assert together.rejection.mean >= max(single.rejection.mean for single in each)


def test_a_combined_defense_accepts_what_both_parts_accept_alike(combined: Audited) -> None:
    _, outcomes = combined
    said = outcomes.pivot(index="clip", columns="defense", values="said")
    alike = (said["neural_rejection"] == said["smoothing"]) & (said["smoothing"] != "")
    assert (said[BOTH] == said["smoothing"].where(alike, "")).all()
    assert 0 < alike.sum() < min((said[part] != "").sum() for part in BOTH.split("."))
    assert len(outcomes) == 4 * len(said)
    of_both, others = outcomes["defense"] == BOTH, outcomes["defense"] != BOTH
    scores = ["score_neural_rejection", "score_smoothing"]
    assert outcomes.loc[of_both, scores].notna().all(axis=None)
    assert outcomes.loc[others, scores].isna().all(axis=None)
    assert outcomes.loc[of_both, "score"].isna().all()


def test_of_parts_that_were_asked_of_some_clips_only_no_figure_is_made(combining: Recognizer, few: Manifest) -> None:
    parts = [combining.defenses[part] for part in BOTH.split(".")]
    in_service = replace(combining, defenses={BOTH: Combined(parts, ask_all=False)})
    report, _ = run_audit(in_service, few, source="m.csv")
    assert [p.part for p in report.defenses[0].overall.parts] == ["neural_rejection"]


def test_the_report_of_a_combined_defense_shows_each_parts_figures(combined: Audited) -> None:
    report, _ = combined
    (overall,) = (r.overall for r in report.defenses if r.defense == BOTH)
    means = [p.auc_fpr.mean for p in overall.parts]
    page = to_markdown(report)
    assert f"NR {means[0]:.4f} RS {means[1]:.4f}" in page
    for part in BOTH.split("."):
        assert f"| accent: AUC_FPR of {part} | {BOTH} |" in page
    out = StringIO()
    console = Console(file=out, width=80)
    for grid in overview(report):
        assert {len(row) for row in grid.rows} == {len(grid.columns)}
        console.print(grid.to_rich())
    assert "…" not in out.getvalue()
    (line,) = (line for line in out.getvalue().splitlines() if line.split()[:1] == ["NR.RS"] and "NR 0." in line)
    assert line.split() == ["NR.RS", *_cells(overall), "NR", f"{means[0]:.3f}", "RS", f"{means[1]:.3f}", "0"]
    assert AuditReport.model_validate_json(report.model_dump_json(by_alias=True)) == report


def _cells(group: GroupResult) -> list[str]:
    """Speakers, and percentages rejected and correct."""
    return [str(group.speakers), f"{100 * group.rejection.mean:.1f}", f"{100 * group.accuracy.mean:.1f}"]


def test_a_defense_that_is_not_allowed_is_refused_before_any_clip_is_decided(
    recognizer: Recognizer, few: Manifest
) -> None:
    with pytest.raises(UnknownDefense, match=r"no defense 'opus'; it has none, neural_rejection, smoothing"):
        run_audit(recognizer, few, source="m.csv", defenses=["none", "opus"])


def test_a_defense_that_is_named_twice_is_audited_once(recognizer: Recognizer, few: Manifest) -> None:
    report, outcomes = run_audit(recognizer, few, source="m.csv", defenses=["none", "smoothing", "none"])
    assert [result.defense for result in report.defenses] == ["none", "smoothing"]
    assert len(outcomes) == 2 * len(few.table)
    assert report.defenses[0].overall.clips == (few.table["command"] != UNKNOWN).sum()


def test_words_that_are_no_command_count_as_false_acceptances_only(audited: Audited, manifest: Manifest) -> None:
    report, outcomes = audited
    others = manifest.table["command"] == UNKNOWN
    assert others.any()
    for result in report.defenses:
        rows = outcomes[(outcomes["defense"] == result.defense) & (outcomes["command"] == UNKNOWN)]
        assert len(rows) == others.sum()
        assert result.overall.clips == (~others).sum()
        by_group = [(result.overall, rows)]
        by_group += [(g, rows[rows[a.attribute] == g.group]) for a in result.attributes for g in a.groups]
        for found, part in by_group:
            assert found.not_commands is not None
            assert found.not_commands.clips == len(part) > 0
            assert found.not_commands.accepted == (part["said"] != "").sum()
        for attribute in result.attributes:
            assert sum(g.not_commands.clips for g in attribute.groups if g.not_commands) == len(rows)


def test_other_sounds_that_become_a_command_are_counted_by_group(recognizer: Recognizer, everyone: Manifest) -> None:
    mistaken = everyone.table["command"].replace({everyone.commands[0]: UNKNOWN})
    part = Manifest(everyone.table.assign(command=mistaken), everyone.attributes)
    report, outcomes = run_audit(recognizer, part, source="m.csv", defenses=[DefenseName.NONE])
    said = outcomes.loc[outcomes["command"] == UNKNOWN].assign(accepted=lambda t: t["said"] != "")
    assert 0 < said["accepted"].sum() < len(said)
    (result,) = report.defenses
    assert result.overall.not_commands == FalseAcceptance(clips=len(said), accepted=said["accepted"].sum())
    for attribute in result.attributes:
        counted = {g.group: g.not_commands and g.not_commands.accepted for g in attribute.groups}
        assert counted == said.groupby(attribute.attribute)["accepted"].sum().to_dict()


def test_other_sounds_are_counted_by_what_they_are_where_the_manifest_says_it(
    recognizer: Recognizer, everyone: Manifest
) -> None:
    first, second = everyone.commands[:2]
    others = everyone.table["command"].isin([first, second])
    table = everyone.table.assign(
        command=everyone.table["command"].where(~others, UNKNOWN),
        sound=everyone.table["command"].where(others, ""),
    )
    report, outcomes = run_audit(recognizer, Manifest(table, everyone.attributes), source="m.csv")
    page = to_markdown(report)
    for result in report.defenses:
        said = outcomes[(outcomes["defense"] == result.defense) & (outcomes["sound"] != "")]
        expected = said.assign(accepted=said["said"] != "").groupby("sound")["accepted"].agg(["size", "sum"])
        assert {s: (f.clips, f.accepted) for s, f in result.sounds.items()} == {
            str(sound): (row["size"], row["sum"]) for sound, row in expected.iterrows()
        }
        assert set(result.sounds) == {first, second}
    cells = " | ".join(f"{r.sounds[first].accepted} of {r.sounds[first].clips}" for r in report.defenses)
    assert f"| {first} | {cells} |" in page


def test_where_the_manifest_does_not_say_what_sounds_are_there_is_no_table_of_them(audited: Audited) -> None:
    report, _ = audited
    assert all(result.sounds == {} for result in report.defenses)
    assert "Sounds that are no command" not in to_markdown(report)


def test_a_group_without_other_sounds_has_no_false_acceptance(recognizer: Recognizer, everyone: Manifest) -> None:
    attribute = everyone.attributes[0]
    silent_group = everyone.table[attribute].iloc[0]
    keep = (everyone.table["command"] != UNKNOWN) | (everyone.table[attribute] != silent_group)
    report, _ = run_audit(recognizer, everyone.where(list(keep)), source="m.csv", defenses=[DefenseName.NONE])
    groups = {g.group: g.not_commands for g in report.defenses[0].attributes[0].groups}
    assert groups.pop(silent_group) is None
    assert all(groups.values())
    assert report.defenses[0].overall.not_commands is not None


def test_a_group_of_nothing_but_other_sounds_is_counted_overall_only(
    recognizer: Recognizer, everyone: Manifest
) -> None:
    attribute = everyone.attributes[0]
    quiet_group = everyone.table[attribute].iloc[0]
    keep = (everyone.table["command"] == UNKNOWN) | (everyone.table[attribute] != quiet_group)
    part = everyone.where(list(keep))
    report, _ = run_audit(recognizer, part, source="m.csv", defenses=[DefenseName.NONE])
    (result,) = report.defenses
    assert quiet_group not in {g.group for g in result.attributes[0].groups}
    assert result.overall.not_commands is not None
    assert result.overall.not_commands.clips == (part.table["command"] == UNKNOWN).sum()


def test_an_unknown_sound_is_never_said_to_be_recognised(audited: Audited) -> None:
    _, outcomes = audited
    assert not outcomes.loc[outcomes["command"] == UNKNOWN, "correct"].any()
    assert UNKNOWN not in set(outcomes["said"])


def test_the_order_of_the_rows_and_the_batch_change_nothing(
    recognizer: Recognizer, few: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    turned = Manifest(few.table.sample(frac=1, random_state=0).reset_index(drop=True), few.attributes)
    there, _ = decide_all(recognizer, few, defenses=list(DefenseName), seed=5)
    monkeypatch.setattr("monitoring.audit.outcomes._BATCH", 7)
    back, _ = decide_all(recognizer, turned, defenses=list(DefenseName), seed=5)
    keys = ["clip", "defense"]
    there, back = (t.sort_values(keys).reset_index(drop=True) for t in (there, back))
    pd.testing.assert_frame_equal(there, back, rtol=1e-5)


def test_the_seed_keys_the_noise(recognizer: Recognizer, few: Manifest) -> None:
    scores = [
        decide_all(recognizer, few, defenses=[DefenseName.SMOOTHING], seed=seed)[0]["score"].to_numpy()
        for seed in (1, 1, 2)
    ]
    assert np.array_equal(scores[0], scores[1])
    assert not np.array_equal(scores[0], scores[2])


def test_an_audit_made_twice_differs_in_its_date_and_time_taken_only(recognizer: Recognizer, few: Manifest) -> None:
    settings = AuditSettings(min_speakers=10, replicates=100)
    once, again = (run_audit(recognizer, few, source="m.csv", settings=settings)[0] for _ in range(2))
    assert once.model_copy(update={"created_at": again.created_at, "runtime": again.runtime}) == again


def test_progress_ends_with_every_clip(recognizer: Recognizer, few: Manifest) -> None:
    seen = []
    decide_all(recognizer, few, defenses=[DefenseName.NONE], seed=0, on_progress=seen.append)
    assert (seen[-1].done, seen[-1].total) == (len(few.table), len(few.table))


def test_a_shard_costs_no_more_in_a_large_manifest(manifest: Manifest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A million clips are eight thousand shards: what each of them did to all names would take a day."""
    named = []
    names_of = Manifest.clip_ids.fget  # type: ignore[attr-defined]
    plan = AuditPlan.of(
        manifest, defenses=("none",), version="v", seed=0, attack=AttackSettings(clips=8), shard_clips=2
    )

    def counted(self: Manifest) -> list[str]:
        named.append(len(self.table))
        return list(names_of(self))

    monkeypatch.setattr(Manifest, "clip_ids", property(counted))
    for number in range(len(plan.clean_shards)):
        assert len(plan.rows(plan.clips[2 * number : 2 * number + 2]).table) == 2
    assert named == [len(manifest.table)]


def test_a_missed_utterance_scores_1_however_the_audit_is_cut_up(
    recognizer: Recognizer, everyone: Manifest, tmp_path: Path
) -> None:
    """Where all clips of a shard are missed, that shard alone does not show which scores its defenses have."""
    heard = []

    def half_deaf(path: Path, audio: AudioFormat) -> Recording:
        heard.append(path)
        clip = read_clip(path, audio) if "left" in path.name else None
        return Recording(clip, Listened(0.5, int(clip is not None), 0.0, 0.5, False))

    found = [
        run_audit(
            recognizer, everyone, source="m.csv", settings=AuditSettings(replicates=100), cut=half_deaf,
            shard_clips=size, folder=AuditFolder(tmp_path / str(size)),
        )
        for size in (1, 1000)
    ]  # fmt: skip
    assert len(heard) == 2 * len(everyone.table)  # once each
    (one, outcomes), (whole, _) = found
    missed = outcomes[outcomes["reason"] == "missed"]
    assert 0 < missed["clip"].nunique() == (~everyone.table["path"].str.contains("left")).sum()
    assert set(missed.loc[missed["defense"] != "none", "score"]) == {1.0}
    assert missed.loc[missed["defense"] == "none", "score"].isna().all()
    for alone, together in zip(one.defenses, whole.defenses, strict=True):
        assert (alone.overall.auc_fpr is None) == (alone.defense == "none")
        assert alone.overall.rejection == together.overall.rejection
        if alone.overall.auc_fpr and together.overall.auc_fpr:
            assert alone.overall.auc_fpr.mean == pytest.approx(together.overall.auc_fpr.mean, abs=1e-6)


def test_a_policy_that_names_a_defense_that_the_bundle_lacks_is_refused(recognizer: Recognizer, few: Manifest) -> None:
    policy = Policy(gates=(Gate(metric="rejection"), Gate(defense="opus.smoothing", metric="rejection")))
    with pytest.raises(PolicyError, match=r"opus\.smoothing, which is not audited"):
        run_audit(recognizer, few, source="m.csv", policy=policy)


def test_without_a_policy_the_settings_tolerances_are_the_gates(recognizer: Recognizer, few: Manifest) -> None:
    settings = AuditSettings(min_speakers=10, replicates=100, tolerance=0.3, tolerances={"accuracy": 0.9})
    report, _ = run_audit(recognizer, few, source="m.csv", settings=settings)
    assert {(gate.metric, gate.limit) for gate in report.judgement.gates} == {("rejection", 0.3), ("accuracy", 0.9)}


@pytest.fixture
def copied(few: Manifest, tmp_path: Path) -> Manifest:
    """The clips of `few` in a folder of their own, where they may be broken."""
    table = few.table.copy()
    for i, path in enumerate(table["path"]):
        table.loc[i, "path"] = str(shutil.copy(path, tmp_path / f"{i}.wav"))
    return Manifest(table, few.attributes)


def test_a_clip_that_cannot_be_heard_is_counted_and_not_lost(recognizer: Recognizer, copied: Manifest) -> None:
    commands = [i for i, command in enumerate(copied.table["command"]) if command != UNKNOWN]
    silent, broken, *_ = (Path(copied.table["path"][i]) for i in commands)
    soundfile.write(silent, np.zeros(8000), 16_000)
    broken.write_bytes(b"no audio")
    report, outcomes = run_audit(recognizer, copied, source="m.csv")
    assert {u.clip.rsplit("/")[-1] for u in report.unheard} == {silent.name, broken.name}
    assert all(u.why for u in report.unheard)
    assert report.clips == len(copied.table)
    for result in report.defenses:
        assert result.overall.clips == len(commands) - 2
    assert len(outcomes) == (len(copied.table) - 2) * len(report.defenses)


def test_a_manifest_of_which_nothing_can_be_heard_is_refused(recognizer: Recognizer, copied: Manifest) -> None:
    for number, path in enumerate(copied.table["path"]):
        Path(path).write_bytes(b"no audio %d" % number)
    with pytest.raises(ManifestError, match=f"none of the {len(copied.table)} clips can be heard"):
        run_audit(recognizer, copied, source="m.csv")


def test_commands_the_recogniser_does_not_know_are_named(recognizer: Recognizer, few: Manifest) -> None:
    strange = few.table["command"].replace({recognizer.commands[0]: "jump", recognizer.commands[1]: "crawl"})
    with pytest.raises(ManifestError, match=r"\['crawl', 'jump'\].*unknown"):
        run_audit(recognizer, Manifest(few.table.assign(command=strange), few.attributes), source="m.csv")


def test_speakers_in_two_groups_are_named_before_any_clip_is_decided(
    recognizer: Recognizer, everyone: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    def decide(*_: object, **__: object) -> None:
        raise AssertionError("a clip was decided")

    monkeypatch.setattr("monitoring.audit.shards.decide_all", decide)
    attribute = everyone.attributes[0]
    speakers, is_first = everyone.table["speaker"], ~everyone.table.duplicated("speaker")
    torn = sorted(set(speakers))

    def moved(rows: pd.Series[bool]) -> Manifest:
        groups = everyone.table[attribute].mask(rows, "elsewhere")
        return Manifest(everyone.table.assign(**{attribute: groups}), everyone.attributes)

    one = rf"1 of {len(torn)} speakers .* of {attribute} .*\('{torn[0]}': elsewhere, [a-z]+\)"
    with pytest.raises(ManifestError, match=one):
        run_audit(recognizer, moved(is_first & (speakers == torn[0])), source="m.csv")
    with pytest.raises(ManifestError, match=f"{len(torn)} of .* and {len(torn) - 5} more") as refused:
        run_audit(recognizer, moved(is_first), source="m.csv")
    assert [name for name in torn if repr(name) in str(refused.value)] == torn[:5]


def test_a_manifest_of_nothing_but_other_sounds_is_refused(recognizer: Recognizer, few: Manifest) -> None:
    with pytest.raises(ManifestError, match="no clip of a command"):
        run_audit(recognizer, few.where(list(few.table["command"] == UNKNOWN)), source="m.csv")


def test_without_other_sounds_nothing_is_said_of_them(recognizer: Recognizer, few: Manifest) -> None:
    report, _ = run_audit(recognizer, few.where(list(few.table["command"] != UNKNOWN)), source="m.csv")
    assert [r.overall.not_commands for r in report.defenses] == [None] * len(report.defenses)


def test_only_the_defenses_asked_for_are_audited(recognizer: Recognizer, few: Manifest) -> None:
    report, outcomes = run_audit(recognizer, few, source="m.csv", defenses=[DefenseName.NONE])
    assert [r.defense for r in report.defenses] == ["none"]
    assert set(outcomes["defense"]) == {"none"}


def test_a_manifest_without_attributes_has_overall_figures_only(recognizer: Recognizer, few: Manifest) -> None:
    report, _ = run_audit(recognizer, Manifest(few.table, ()), source="m.csv")
    assert all(r.attributes == () for r in report.defenses)


def test_a_report_survives_json(audited: Audited) -> None:
    report, _ = audited
    assert AuditReport.model_validate_json(report.model_dump_json(by_alias=True)) == report


def test_a_report_with_other_fields_or_numbers_that_are_none_is_refused(audited: Audited) -> None:
    text = audited[0].model_dump_json(by_alias=True)
    for changed in (text.replace('"clips"', '"clps"', 1), text.replace("evenvoice.audit/2", "evenvoice.audit/1")):
        with pytest.raises(ValueError, match="validation error"):
            AuditReport.model_validate_json(changed)


@pytest.mark.parametrize("wrong", [{"min_speakers": 9}, {"tolerance": -0.1}, {"confidence": 1.0}, {"replicates": 0}])
def test_settings_under_which_the_statistics_do_not_hold_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        AuditSettings.model_validate(wrong)
