"""`evenvoice audit compare`, through its entry point, on audits that `evenvoice audit run` wrote."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from robot import Evenvoice, Run
from scipy import stats


@pytest.fixture
def changed(audited: Path, tmp_path: Path) -> Path:
    """A copy of the audit to break."""
    return Path(shutil.copytree(audited, tmp_path / "b"))


def rewrite(folder: Path, change: Any) -> pd.DataFrame:
    """The audit of a bundle that decided otherwise."""
    outcomes = change(pd.read_parquet(folder / "outcomes.parquet"))
    outcomes.to_parquet(folder / "outcomes.parquet", index=False)
    return outcomes


def compared(evenvoice: Evenvoice, a: Path, b: Path, out: Path, *more: str) -> tuple[Run, dict[str, Any]]:
    done = evenvoice("audit", "compare", a, b, "--out", out, *more)
    return done, json.loads(out.read_text())


def row(found: dict[str, Any], **where: Any) -> dict[str, Any]:
    (only,) = (r for r in found["groups"] if all(r[k] == v for k, v in where.items()))
    return only


def test_an_audit_does_not_differ_from_itself(evenvoice: Evenvoice, audited: Path, tmp_path: Path) -> None:
    done, found = compared(evenvoice, audited, audited, tmp_path / "c.json")
    assert (done.code, done.err) == (0, "")
    assert found["verdict"] == "no difference"
    assert {d["verdict"] for d in (*found["groups"], *found["gaps"])} == {"same"}
    assert {d["p_value"] for d in found["groups"]} == {1.0}
    assert "no figure of B is worse by more than 5 %" in done.words


def test_bundles_that_decide_alike_are_alike_on_these_clips_only(
    evenvoice: Evenvoice, audited: Path, changed: Path, tmp_path: Path
) -> None:
    report = json.loads((changed / "audit.json").read_text())
    (changed / "audit.json").write_text(json.dumps(report | {"bundle_version": "sha256:" + "1" * 64}))
    words = "same: not one of these clips fares otherwise, which says nothing of speakers whom nobody recorded"
    assert words in compared(evenvoice, audited, changed, tmp_path / "c.json")[0].words
    assert words not in compared(evenvoice, audited, audited, tmp_path / "c.json")[0].words


def test_what_a_bundle_lost_is_found_and_is_that_of_a_slow_loop(
    evenvoice: Evenvoice, audited: Path, changed: Path, tmp_path: Path
) -> None:
    """B turns away a third of the women's clips that A accepted."""
    rng = np.random.default_rng(0)

    def lose(outcomes: pd.DataFrame) -> pd.DataFrame:
        hit = (outcomes["defense"] == "none") & (outcomes["gender"] == "female") & (outcomes["command"] != "unknown")
        hit &= rng.uniform(size=len(outcomes)) < 1 / 3
        return outcomes.assign(outcome=outcomes["outcome"].mask(hit, "rejected"), correct=outcomes["correct"] & ~hit)

    b = rewrite(changed, lose)
    done, found = compared(evenvoice, audited, changed, tmp_path / "c.json", "--min-speakers", "10")
    assert done.code == 1
    assert found["verdict"] == "worse"
    a = pd.read_parquet(audited / "outcomes.parquet")
    keys = ["clip", "defense"]
    both = a.merge(b, on=keys, suffixes=("_a", "_b"), validate="one_to_one")
    both = both[(both["defense"] == "none") & (both["command_a"] != "unknown")]
    women = both[both["gender_a"] == "female"]
    seen = row(found, defense="none", attribute="gender", group="female", metric="rejection")
    d = women["outcome_b"].eq("rejected").astype(float) - women["outcome_a"].eq("rejected").astype(float)
    sums = d.groupby(women["speaker_a"]).sum().to_numpy()  # 3 clips a speaker
    assert (seen["speakers"], seen["clips"], seen["changed"]) == (36, 108, int(d.abs().sum()))
    assert seen["difference"] == pytest.approx(d.mean())
    t = stats.ttest_1samp(sums / 3, 0).confidence_interval(0.975)  # two groups at 95 %
    assert seen["lower"] == pytest.approx(t.low)
    unseen = np.log(1 / 0.025) / 36  # of those whom 36 speakers do not show; only towards the worse
    assert seen["upper"] == pytest.approx(max(t.high, d.mean() + unseen))
    assert (
        seen["verdict"],
        row(found, defense="none", attribute="gender", group="male", metric="rejection")["verdict"],
    ) == (
        "worse",
        "same",
    )
    assert seen["p_value"] == pytest.approx(2 / 2001)  # none of 2,000 draws, times two groups
    (gap,) = (
        g for g in found["gaps"] if (g["defense"], g["attribute"], g["metric"]) == ("none", "gender", "rejection")
    )
    assert gap["verdict"] == "worse"
    assert gap["lower"] < gap["difference"] < gap["upper"]
    assert gap["b"] == pytest.approx(d.mean() + women["outcome_a"].eq("rejected").mean(), abs=0.02)
    others = {d["verdict"] for d in found["groups"] if d["defense"] != "none"}
    assert others == {"same"}


def test_a_bundle_that_gained_is_no_failure(evenvoice: Evenvoice, audited: Path, changed: Path, tmp_path: Path) -> None:
    """Compared the other way round, what was lost is won."""

    def lose(outcomes: pd.DataFrame) -> pd.DataFrame:
        take = outcomes["clip"].str.endswith(
            ("go_1.wav", "go_2.wav", "go_3.wav", "left_4.wav", "left_5.wav", "left_0.wav")
        )
        return outcomes.assign(correct=outcomes["correct"] & ~take)

    rewrite(changed, lose)
    everybody = ("--defense", "none", "--min-speakers", "40")
    forth, _ = compared(evenvoice, audited, changed, tmp_path / "c.json", *everybody)
    back, found = compared(evenvoice, changed, audited, tmp_path / "d.json", *everybody)
    assert (forth.code, back.code) == (1, 0)
    assert row(found, attribute=None, metric="accuracy")["verdict"] == "better"


def test_a_few_clips_of_few_speakers_settle_nothing(
    evenvoice: Evenvoice, audited: Path, changed: Path, tmp_path: Path
) -> None:
    """36 speakers a group can't exclude that 8 % were not met, whatever the sample shows."""

    def one(outcomes: pd.DataFrame) -> pd.DataFrame:
        heard = outcomes[(outcomes["defense"] == "none") & outcomes["correct"]].index[:2]
        outcomes.loc[heard, "correct"] = False
        return outcomes

    rewrite(changed, one)
    done, found = compared(evenvoice, audited, changed, tmp_path / "c.json")
    assert done.code == 2
    assert found["verdict"] == "inconclusive"
    assert "more speakers" in done.words


def test_groups_of_few_speakers_are_shown_and_nothing_is_concluded(
    evenvoice: Evenvoice, audited: Path, changed: Path, tmp_path: Path
) -> None:
    rewrite(changed, lambda outcomes: outcomes.assign(correct=False))
    done, found = compared(evenvoice, audited, changed, tmp_path / "c.json", "--min-speakers", "40")
    by_group = {d["verdict"] for d in found["groups"] if d["attribute"] is not None}
    assert by_group == {"insufficient"}
    assert found["gaps"] == []
    assert done.code == 1  # all 72 speakers together


def test_clips_that_one_audit_did_not_hear_are_named_and_left_out(
    evenvoice: Evenvoice, audited: Path, changed: Path, tmp_path: Path
) -> None:
    gone = sorted(set(pd.read_parquet(audited / "outcomes.parquet")["clip"]))[:3]
    rewrite(changed, lambda outcomes: outcomes[~outcomes["clip"].isin(gone)])
    done, found = compared(evenvoice, audited, changed, tmp_path / "c.json")
    assert found["a"]["clips_alone"] == gone
    assert found["b"]["clips_alone"] == []
    assert found["clips"] == 288 - 3
    assert f"3 clips were heard in A only: {', '.join(gone)}" in done.words


def test_audits_of_other_clips_are_refused(evenvoice: Evenvoice, audited: Path, changed: Path) -> None:
    report = json.loads((changed / "audit.json").read_text())
    report["fingerprint"] = "sha256:" + "1" * 64
    (changed / "audit.json").write_text(json.dumps(report))
    done = evenvoice("audit", "compare", audited, changed)
    assert done.code == 3
    assert done.err.startswith("evenvoice: the audits are of other manifests")
    assert len(done.err.splitlines()) == 1


def test_a_defense_that_one_lacks_is_refused_and_otherwise_passed_over(
    evenvoice: Evenvoice, audited: Path, changed: Path, tmp_path: Path
) -> None:
    report = json.loads((changed / "audit.json").read_text())
    report["defenses"] = [d for d in report["defenses"] if d["defense"] != "smoothing"]
    (changed / "audit.json").write_text(json.dumps(report))
    done = evenvoice("audit", "compare", audited, changed, "--defense", "smoothing")
    assert done.code == 3
    assert "'smoothing' is not in both audits" in done.err
    done, found = compared(evenvoice, audited, changed, tmp_path / "c.json")
    assert done.code == 0
    assert found["defenses_alone"] == ["smoothing"]
    assert {d["defense"] for d in found["groups"]} == {"none", "neural_rejection"}


@pytest.mark.parametrize("missing", ["audit.json", "outcomes.parquet"])
def test_a_folder_without_an_audit_is_one_line(
    evenvoice: Evenvoice, audited: Path, changed: Path, missing: str
) -> None:
    (changed / missing).unlink()
    done = evenvoice("audit", "compare", audited, changed)
    assert done.code == 3
    assert f"{changed} has no {missing}" in done.err
    assert len(done.err.splitlines()) == 1


def test_broken_outcomes_are_one_line(evenvoice: Evenvoice, audited: Path, changed: Path) -> None:
    (changed / "outcomes.parquet").write_bytes(b"PAR1")
    done = evenvoice("audit", "compare", audited, changed)
    assert done.code == 3
    assert "outcomes.parquet can't be read" in done.err
