"""What a policy asks for, and what audits come to under it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from monitoring.audit import Gate, Policy, PolicyError, load_policy
from monitoring.audit.coverage import cautions_of, check_required, coverage_of
from monitoring.audit.judgement import judge
from monitoring.audit.policy import check_measured
from monitoring.audit.result import AttributeResult, DefenseResult, Estimate, GapResult, GroupResult
from monitoring.parity import Verdict
from recognizer.manifest import Manifest, ManifestError

TOML = """
tolerance = 0.04
required_attributes = ["gender"]
insufficient = "pass"
[tolerances]
accuracy = 0.08
[minimum_accuracy]
"*" = 0.5
[[gates]]
defense = "smoothing"
metric = "rejection"
tolerance = 0.03
[[gates]]
attribute = "accent"
"""
YAML = """
tolerance: 0.04
required_attributes: [gender]
insufficient: pass
tolerances: {accuracy: 0.08}
minimum_accuracy: {"*": 0.5}
gates:
  - {defense: smoothing, metric: rejection, tolerance: 0.03}
  - attribute: accent
"""


def test_toml_and_yaml_say_the_same(tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text(TOML)
    (tmp_path / "p.yaml").write_text(YAML)
    found = load_policy(tmp_path / "p.toml")
    assert found == load_policy(tmp_path / "p.yaml")
    assert found.gates[0].tolerance == 0.03
    assert found.gates[1] == Gate(defense="default", attribute="accent", metric="*")
    assert [found.tolerance_of(g, "accuracy") for g in found.gates] == [0.03, 0.08]
    assert found.tolerance_of(found.gates[1], "rejection") == 0.04


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("p.toml", "tolerance = 2", "tolerance: Input should be less than or equal to 1"),
        ("p.toml", "tolerence = 0.1", "tolerence: Extra inputs"),
        ("p.toml", "min_speakers = 3", "min_speakers: Input should be greater than or equal to 10"),
        ("p.toml", "[[gates]]\nmetric = 'recall'", "gates.0.metric"),
        ("p.toml", "[tolerances]\naccuracy = -1", "tolerances.accuracy"),
        ("p.toml", "[minimum_accuracy]\ndefault = 80", "minimum_accuracy.default: Input should be less than"),
        ("p.toml", "inconclusive = 'maybe'", "inconclusive: Input should be 'pass'"),
        ("p.toml", "tolerance = ", "can't be read: Invalid value"),
        ("p.yaml", "a: [", "can't be read"),
        ("p.yaml", "- 1", "the file: Input should be"),
        ("p.json", "{}", "ends in '.json'; .toml, .yaml and .yml are accepted"),
    ],
)
def test_a_policy_that_means_nothing_is_refused(tmp_path: Path, name: str, text: str, words: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(PolicyError) as refused:
        load_policy(tmp_path / name)
    assert words in str(refused.value)
    with pytest.raises(PolicyError, match=r"none\.toml can't be read"):
        load_policy(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        ({"gates": [{"defense": "smoohting"}]}, "the defense smoohting, which is not audited; audited are none, opus"),
        ({"gates": [{"metric": "rejection"}]}, "the default defense, smoothing, which is not audited"),
        ({"minimum_accuracy": {"smoothing": 0.8}}, "the defense smoothing, which is not audited"),
        ({"minimum_accuracy": {"default": 0.8}}, "the default defense, smoothing, which is not audited"),
        ({"gates": [{"defense": "*", "metric": "auc_acc"}]}, "auc_acc, and no clip is to be attacked"),
        ({"gates": [{"defense": "opus", "metric": "auc_fpr"}]}, "auc_fpr of opus, which rejects nothing"),
    ],
)
def test_a_policy_that_names_what_is_not_measured_is_refused(policy: dict[str, Any], words: str) -> None:
    """It would pass without being looked at."""
    with pytest.raises(PolicyError) as refused:
        check_measured(Policy.model_validate(policy), ("none", "opus"), default_defense="smoothing", is_attacked=False)
    assert words in str(refused.value)


def test_a_policy_whose_gates_are_measured_or_that_nobody_wrote_is_taken() -> None:
    check_measured(Policy(tolerance=0.1), ("none",), default_defense="smoothing", is_attacked=False)
    gates = (Gate(), Gate(defense="*", metric="auc_fpr"), Gate(defense="smoothing", metric="auc_acc"))
    policy = Policy(gates=gates, minimum_accuracy={"*": 0.5, "none": 0.6})
    check_measured(policy, ("none", "smoothing"), default_defense="smoothing", is_attacked=True)


def gap(metric: str, lower: float | None, upper: float | None) -> GapResult:
    return GapResult.model_validate(
        {
            "metric": metric,
            "value": 0.1,
            "compared": (),
            "value_compared": None,
            "lower": lower,
            "upper": upper,
            "verdict": Verdict.INCONCLUSIVE,
            "too_small": (),
            "highest": None,
            "lowest": None,
            "minimum_detectable_gap": None,
            "tolerance": 0.05,
        }
    )


def result(defense: str, *gaps: GapResult, accuracy: tuple[float, float, float] = (0.8, 0.7, 0.9)) -> DefenseResult:
    mean, lower, upper = accuracy
    sure = Estimate(mean=mean, lower=lower, upper=upper)
    overall: dict[str, Any] = {"group": "all", "speakers": 40, "clips": 80, "auc_fpr": None, "not_commands": None}
    return DefenseResult(
        defense=defense,
        overall=GroupResult(accuracy=sure, rejection=sure, **overall),
        attributes=(AttributeResult(attribute="accent", groups=(), gaps=gaps),),
    )


WITHIN, BEYOND, BETWEEN, NONE = (0.0, 0.04), (0.06, 0.3), (0.0, 0.3), (None, None)


@pytest.mark.parametrize(
    ("rejection", "accuracy", "outcome", "code"),
    [
        (WITHIN, WITHIN, "pass", 0),
        (WITHIN, BEYOND, "disparity", 1),
        (BETWEEN, BEYOND, "disparity", 1),
        (BETWEEN, WITHIN, "inconclusive", 2),
        (NONE, WITHIN, "inconclusive", 2),
    ],
)
def test_the_worst_gate_decides(rejection: Any, accuracy: Any, outcome: str, code: int) -> None:
    own = result("smoothing", gap("rejection", *rejection), gap("accuracy", *accuracy), gap("auc_fpr", *BEYOND))
    found = judge(
        [result("none", gap("accuracy", *BEYOND)), own], Policy(), default_defense="smoothing", policy_file=None
    )
    assert (found.outcome, found.exit_code) == (outcome, code)
    assert {(g.defense, g.metric) for g in found.gates} == {("smoothing", "rejection"), ("smoothing", "accuracy")}


def test_what_can_not_be_said_counts_as_the_policy_says() -> None:
    own = [result("none", gap("rejection", *NONE), gap("accuracy", *BETWEEN))]
    for insufficient, inconclusive, outcome in [
        ("pass", "pass", "pass"),
        ("disparity", "pass", "disparity"),
        ("pass", "disparity", "disparity"),
        ("pass", "inconclusive", "inconclusive"),
    ]:
        policy = Policy.model_validate({"insufficient": insufficient, "inconclusive": inconclusive})
        assert judge(own, policy, default_defense="none", policy_file=None).outcome == outcome


def test_an_audit_of_which_nothing_is_gated_is_inconclusive() -> None:
    assert judge([result("none")], Policy(), default_defense="none", policy_file=None).exit_code == 2
    assert (
        judge(
            [result("none", gap("rejection", *BEYOND))], Policy(gates=()), default_defense="none", policy_file=None
        ).exit_code
        == 2
    )


def test_a_gap_is_judged_at_the_tolerance_of_the_first_gate_that_names_it() -> None:
    own = [result("none", gap("rejection", 0.02, 0.04), gap("accuracy", 0.02, 0.04))]
    policy = Policy(
        tolerance=0.03,
        tolerances={"accuracy": 0.1},
        gates=(Gate(metric="rejection", tolerance=0.01), Gate(defense="*", metric="*")),
    )
    found = judge(own, policy, default_defense="none", policy_file="p.toml")
    assert [(g.metric, g.limit, g.verdict, g.counts_as) for g in found.gates] == [
        ("rejection", 0.01, "disparity", "disparity"),
        ("accuracy", 0.1, "equivalent", "pass"),
    ]


@pytest.mark.parametrize(
    ("least", "verdict", "outcome"),
    [(0.7, "reached", "pass"), (0.75, "inconclusive", "inconclusive"), (0.91, "missed", "disparity")],
)
def test_a_minimum_accuracy_is_held_against_the_interval(least: float, verdict: str, outcome: str) -> None:
    policy = Policy(gates=(), minimum_accuracy={"default": least, "smoothing": 0.1})
    (gate,) = (found := judge([result("none")], policy, default_defense="none", policy_file=None)).gates
    assert (gate.verdict, found.outcome, gate.attribute) == (verdict, outcome, None)


def manifest(**groups: list[str]) -> Manifest:
    count = len(next(iter(groups.values())))
    table = pd.DataFrame(
        {
            "path": [f"/a/b/{i}.wav" for i in range(count)],
            "command": ["go"] * (count - 1) + ["unknown"],
            "speaker": [f"s{i}" for i in range(count)],
            "split": "test",
            **groups,
        }
    )
    return Manifest(table, tuple(groups))


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        (
            Policy(required_attributes=("age",)),
            "the attribute age, which nobody in the manifest has; it has accent, gender",
        ),
        (Policy(gates=(Gate(attribute="accent"),)), "the attribute accent, of which there is nobody declares any"),
        (
            Policy(required_attributes=("gender",)),
            "the attribute gender, of which there is only female; a gap needs two",
        ),
    ],
)
def test_an_attribute_that_the_policy_asks_for_has_to_be_there(policy: Policy, words: str) -> None:
    clips = manifest(accent=["undeclared"] * 3, gender=["female", "female", "undeclared"])
    with pytest.raises(ManifestError) as refused:
        check_required(clips, policy)
    assert words in str(refused.value)
    check_required(clips, Policy())  # one that asks for nothing takes it


def test_who_is_missing_is_counted_and_told() -> None:
    clips = manifest(accent=["north", "south", "east", "west"], gender=["female"] * 4, age=["undeclared"] * 4)
    coverage = coverage_of(clips, {clips.clip_ids[1]})
    assert [(c.group, c.speakers, c.clips, c.unheard, c.commands) for c in coverage if c.attribute == "accent"] == [
        ("east", 1, 1, 0, 1),
        ("north", 1, 1, 0, 1),
        ("south", 1, 1, 1, 0),
        ("west", 1, 1, 0, 0),
    ]
    assert cautions_of(coverage, clips.attributes) == (
        "accent: nothing is said of south, since none of its clips can be heard",
        "accent: nothing is said of west, since it has no clip of a command",
        "gender: female is the only group; a gap needs two",
        "age: nobody declares any; nothing can be said of it",
    )
    assert cautions_of((), ()) == ("the manifest has no attribute: nothing can be said of any group",)
