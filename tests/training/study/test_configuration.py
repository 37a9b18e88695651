"""The 40 configurations and their names, and the settings of a study."""

from __future__ import annotations

from itertools import product

import pytest
from pydantic import ValidationError

from training.study.configuration import (
    CONFIGURATIONS,
    SMOOTHING,
    UNDEFENDED,
    Configuration,
    choose_configurations,
)
from training.study.settings import StudyRecord, StudySettings, Versions


def test_the_study_is_two_by_five_by_four_configurations_each_once() -> None:
    found = {(c.tricks, c.adversarial_eps, c.noise_sigma) for c in CONFIGURATIONS}
    assert found == set(product((False, True), (0, 0.001, 0.005, 0.01, 0.1), (0, 0.01, 0.05, 0.1)))
    assert len(CONFIGURATIONS) == 40
    assert SMOOTHING not in CONFIGURATIONS


@pytest.mark.parametrize(
    ("configuration", "key"),
    [
        (Configuration(tricks=False, adversarial_eps=0.005, noise_sigma=0.05), "m5-small_at0.005_noise0.05"),
        (Configuration(tricks=True, adversarial_eps=0.0, noise_sigma=0.0), "m5-small-tricks_at0_noise0"),
        (Configuration(tricks=True, adversarial_eps=0.001, noise_sigma=0.1), "m5-small-tricks_at0.001_noise0.1"),
        (UNDEFENDED, "m5-small_at0_noise0"),
        (SMOOTHING, "m5-small_at0_noise0.1_smoothing"),
    ],
)
def test_a_key_says_what_hardens_the_network(configuration: Configuration, key: str) -> None:
    assert configuration.key("m5-small") == key
    assert configuration.key("m5") == key.replace("m5-small", "m5")


def test_keys_are_distinct() -> None:
    assert len({c.key("m5") for c in (*CONFIGURATIONS, SMOOTHING)}) == 41


def test_only_smoothings_network_is_selected_under_noise() -> None:
    recipes = [c.recipe("paper", architecture="m5", epochs=3, seed=5) for c in (*CONFIGURATIONS, SMOOTHING)]
    assert [r.select_under_noise for r in recipes] == [False] * 40 + [True]
    assert {(r.epochs, r.seed, r.learning_rate) for r in recipes} == {(3, 5, 1e-3)}
    assert [r.architecture for r in recipes] == ["m5"] * 20 + ["m5-tricks"] * 20 + ["m5"]
    assert [r.adversarial_eps for r in recipes] == [c.adversarial_eps for c in (*CONFIGURATIONS, SMOOTHING)]
    assert [r.noise_sigma for r in recipes] == [c.noise_sigma for c in (*CONFIGURATIONS, SMOOTHING)]


def test_patterns_choose_and_the_undefended_network_is_always_there() -> None:
    chosen = choose_configurations(["m5-tricks_at0.1_*", "*_at0.01_noise0"], "m5")
    assert [c.key("m5") for c in chosen] == [
        "m5_at0_noise0",
        "m5_at0.01_noise0",
        "m5-tricks_at0.01_noise0",
        *(f"m5-tricks_at0.1_noise{sigma}" for sigma in ("0", "0.01", "0.05", "0.1")),
    ]
    assert choose_configurations(["*"], "m5-small") == CONFIGURATIONS


def test_a_key_of_another_architecture_is_refused_with_an_example() -> None:
    with pytest.raises(ValueError, match="no configuration is called 'm5_at0_noise0'; keys such as m5-small_at0_"):
        choose_configurations(["m5_at0_noise0"], "m5-small")


def test_the_default_study_is_the_papers() -> None:
    settings = StudySettings()
    assert settings.eps_grid == (0.0001, 0.001, 0.01, 0.1, 0.2, 0.3)
    assert settings.draws == (10, 100, 1000, 10_000)
    assert (settings.recipe, settings.epochs, settings.steps, settings.splits) == (
        "paper",
        1000,
        100,
        ("closed", "open"),
    )
    assert settings.chosen == CONFIGURATIONS


@pytest.mark.parametrize(
    ("draws", "verdict"), [((10, 100, 1000, 10_000), 1000), ((100, 10), 100), ((10,), 1000), ((5000,), 1000)]
)
def test_verdicts_take_the_largest_draws_up_to_a_thousand_that_can_decide(draws: tuple[int, ...], verdict: int) -> None:
    assert StudySettings(draws=draws).verdict_draws == verdict


@pytest.mark.parametrize(
    "wrong",
    [
        {"draws": (0, 10)},
        {"draws": (10, 10)},
        {"draws": ()},
        {"splits": ("closed", "closed")},
        {"splits": ("loose",)},
        {"epochs": 0},
        {"configurations": ("m5-small_at7_noise0",)},
        {"stpes": 3},
    ],
)
def test_settings_that_mean_nothing_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        StudySettings.model_validate(wrong)


def test_a_record_is_read_as_it_was_written() -> None:
    record = StudyRecord(
        settings=StudySettings(epochs=3, draws=(100, 10), training_clips=70),
        source="manifest.csv",
        manifest="sha256:0",
        labels=("go", "left"),
        attributes=("age",),
        versions=Versions.installed(),
    )
    assert StudyRecord.model_validate_json(record.model_dump_json()) == record
