"""The configuration that comes from the environment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from gateway.settings import Settings, SettingsError, check_settings
from recognizer.audio import MAX_BYTES


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVENVOICE_BUNDLE", "/bundle")
    monkeypatch.setenv("EVENVOICE_STATE", "/state")


def test_a_bundle_and_a_state_folder_are_enough() -> None:
    settings = Settings()
    assert (settings.bundle, settings.state, settings.speakers) == (Path("/bundle"), Path("/state"), None)
    assert (settings.release_commands, settings.release_speakers) == (10, 3)  # DESIGN.md: k and m
    assert (settings.fairness_tolerance, settings.fairness_alpha, settings.session_seconds) == (0.02, 0.05, 86_400)
    assert settings.valid_for_ms == 1500
    assert settings.workers == 1


def test_the_largest_clip_fits_into_the_largest_body() -> None:
    assert Settings().max_body_bytes > MAX_BYTES


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("workers", "0"), ("workers", "many"), ("deadline_ms", "0"), ("deadline_ms", "-1"), ("deadline_ms", "nan"),
        ("max_pending", "0"), ("valid_for_ms", "0"), ("max_body_bytes", "0"), ("release_commands", "0"),
        ("release_speakers", "0"), ("ledger_seconds", "0"), ("ledger_seconds", "inf"), ("ledger_seconds", "61"),
        ("ledger_grace_seconds", "-1"),
        ("session_seconds", "0"), ("fairness_tolerance", "1"), ("fairness_tolerance", "nan"), ("fairness_alpha", "0"),
    ],
)  # fmt: skip
def test_a_setting_that_means_nothing_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"EVENVOICE_{name.upper()}", value)
    with pytest.raises(ValidationError, match=name):
        Settings()
    with pytest.raises(SettingsError, match=f"^EVENVOICE_{name.upper()}: [^\n]*$"):
        check_settings()


def test_settings_that_are_right_pass() -> None:
    check_settings()


def test_options_go_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVENVOICE_WORKERS", "many")
    check_settings(workers=2)
    with pytest.raises(SettingsError, match="EVENVOICE_WORKERS"):
        check_settings()


def test_settings_stay_as_they_are() -> None:
    settings: Any = Settings()
    with pytest.raises(ValidationError, match="frozen"):
        settings.deadline_ms = 1
