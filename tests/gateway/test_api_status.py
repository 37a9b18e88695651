"""What is served, whom it turns away, and the register over HTTP."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from robot import Door, Spoken, assert_problem, encoded, tone

from recognizer.manifest import load_manifest
from recognizer.recognizer import Recognizer

Open = Callable[..., Door]


def test_the_model_is_described_with_its_defenses_settings(door: Door, recognizer: Recognizer) -> None:
    body = door.ask("GET", "/v1/model").json()
    assert (body["name"], body["version"]) == (recognizer.name, recognizer.version)
    assert body["commands"] == list(recognizer.commands)
    assert body["audio"]["sample_rate"] == recognizer.audio.sample_rate
    assert [d["name"] for d in body["defenses"] if d["is_default"]] == [recognizer.default_defense]
    parts = {d["name"]: d["parts"] for d in body["defenses"]}
    assert set(parts) == set(recognizer.defenses)
    assert parts["none"] == []
    (smoothing,) = parts["smoothing"]
    of_bundle = recognizer.defenses["smoothing"]
    assert (smoothing["sigma"], smoothing["error_alpha"]) == (of_bundle.sigma, of_bundle.error_alpha)  # type: ignore[attr-defined]
    (rejection,) = parts["neural_rejection"]
    assert rejection["confidence_threshold"] is not None
    assert body["groups"] == {attribute: list(groups) for attribute, groups in recognizer.vocabulary.items()}


def test_fairness_shows_what_a_scrape_shows_and_nothing_before_it_is_released(
    open_door: Open, spoken: Spoken, tone_manifest: Any
) -> None:
    door = open_door(release_commands=6, release_speakers=3)
    people = load_manifest(tone_manifest).table.drop_duplicates("speaker")
    same = [s for s, a in zip(people["speaker"], people["accent"], strict=True) if a == spoken.groups["accent"]][:3]

    def state() -> dict[str, Any]:
        body = door.fairness
        assert (body["release_commands"], body["release_speakers"]) == (6, 3)
        (found,) = [
            g
            for g in body["groups"]
            if (g["attribute"], g["group"], g["defense"]) == ("accent", spoken.groups["accent"], "none")
        ]
        return dict(found)

    for turn in range(5):
        answer = door.decide(spoken.data, defense="none", speaker=same[turn % 3])
        door.label(answer.json()["request_id"], spoken.command)
    nothing = state()
    assert set(nothing["outcomes"].values()) == set(nothing["labelled"].values()) == {0}
    assert (nothing["rejection_rate"], nothing["rejection_score"]) == (None, None)
    last = door.decide(spoken.data, defense="none", speaker=same[2]).json()
    shown = state()
    assert shown["outcomes"] == {"accepted": 6, "rejected": 0, "bad_input": 0, "service": 0}
    assert shown["rejection_rate"] == 0
    assert set(shown["labelled"].values()) == {0}  # labels are lots of their own
    door.label(last["request_id"], spoken.command)
    assert state()["labelled"] == {"correct": 6, "wrong": 0, "rejected": 0}


def test_the_score_of_a_defense_is_the_mean_of_its_commands(open_door: Open, spoken: Spoken) -> None:
    door = open_door(release_commands=1, release_speakers=1)
    confidences = [
        door.decide(clip, defense="neural_rejection", speaker=spoken.speaker).json()["confidence"]
        for clip in (spoken.data, encoded(tone()), encoded(tone(0.3)))
    ]
    (found,) = [
        g
        for g in door.fairness["groups"]
        if (g["attribute"], g["group"]) == ("accent", spoken.groups["accent"]) and g["defense"] == "neural_rejection"
    ]
    assert found["rejection_score"] == pytest.approx(sum(1 - c for c in confidences) / 3)


# The register


@pytest.fixture
def table(open_door: Open) -> Door:
    """A gateway whose register is the table beside the records."""
    return open_door(is_file_register=False)


def enrol(door: Door, speaker: str, **declared: str) -> Any:
    return door.ask("POST", "/v1/speakers", json={"speaker": speaker, "declared": declared})


def test_a_speaker_is_enrolled_heard_changed_and_erased(table: Door, spoken: Spoken) -> None:
    assert_problem(table.decide(spoken.data, defense="none", speaker="s-1"), 422)
    made = enrol(table, "s-1", **spoken.groups)
    assert made.status_code == 201
    assert made.json()["groups"] == spoken.groups
    decided = table.decide(spoken.data, defense="none", speaker="s-1").json()
    changed = table.ask("PUT", "/v1/speakers/s-1", json={"declared": {"accent": " Klingon "}}).json()
    assert (changed["declared"], changed["groups"]["accent"]) == ({"accent": "klingon"}, "other")
    assert changed["groups"]["gender"] == "undeclared"
    assert table.ask("GET", "/v1/speakers/s-1").json() == changed
    assert table.ask("GET", "/v1/speakers").json() == {"speakers": [changed]}
    assert table.ask("DELETE", "/v1/speakers/s-1").json() == {"decisions": 1, "answers": 0, "clips": 0}
    assert_problem(table.decide(spoken.data, defense="none", speaker="s-1"), 422)
    assert_problem(table.label(decided["request_id"], spoken.command), 404)
    assert table.rows == []
    for method, json in (("GET", None), ("PUT", {"declared": {}}), ("DELETE", None)):
        assert_problem(table.ask(method, "/v1/speakers/s-1", json=json), 404)


def test_nobody_is_enrolled_twice_or_with_words_of_their_own(table: Door) -> None:
    assert enrol(table, "s-1", accent="north").status_code == 201
    assert_problem(enrol(table, "s-1", accent="south"), 409)
    assert table.ask("GET", "/v1/speakers/s-1").json()["declared"] == {"accent": "north"}
    assert_problem(enrol(table, "s-2", shoe_size="44"), 422)
    assert_problem(enrol(table, "s-2", accent="n" * 65), 422)
    for name in ("", "a b", "x" * 65, "../etc", "ä"):
        assert_problem(enrol(table, name, accent="north"), 422)
    assert len(table.ask("GET", "/v1/speakers").json()["speakers"]) == 1


def test_the_register_is_told_in_pages(table: Door) -> None:
    for number in range(7):
        enrol(table, f"s{number}")
    pages, after = [], ""
    while page := table.ask("GET", "/v1/speakers", params={"after": after, "limit": 3}).json()["speakers"]:
        pages.append([speaker["speaker"] for speaker in page])
        after = pages[-1][-1]
    assert pages == [["s0", "s1", "s2"], ["s3", "s4", "s5"], ["s6"]]


def test_a_register_that_is_a_file_is_only_read(door: Door, spoken: Spoken) -> None:
    assert door.ask("GET", f"/v1/speakers/{spoken.speaker}").json()["groups"] == spoken.groups
    assert_problem(enrol(door, "s-1"), 409)
    assert_problem(door.ask("PUT", f"/v1/speakers/{spoken.speaker}", json={"declared": {}}), 409)
    assert_problem(door.ask("DELETE", f"/v1/speakers/{spoken.speaker}"), 409)


# The sender's deadline


def test_the_senders_deadline_counts_where_it_is_sooner(open_door: Open, spoken: Spoken) -> None:
    door = open_door(deadline_ms=60_000)
    header = {"content-type": "audio/wav", "x-request-timeout-ms": "1"}
    body = door.ask("POST", "/v1/commands", content=spoken.data, headers=header, params={"defense": "none"}).json()
    assert (body["decision"], body["reason"]) == ("abstain", "deadline")
    assert "within 1 ms" in body["detail"] or "its time was up" in body["detail"]
    calm = {"content-type": "audio/wav", "x-request-timeout-ms": "50000"}
    body = door.ask("POST", "/v1/commands", content=spoken.data, headers=calm, params={"defense": "none"}).json()
    assert body["decision"] == "accept"


@pytest.mark.parametrize("value", ["0", "-1", "soon", "1e3", "600001"])
def test_a_deadline_that_is_none_is_refused(door: Door, spoken: Spoken, value: str) -> None:
    header = {"content-type": "audio/wav", "x-request-timeout-ms": value}
    assert_problem(door.ask("POST", "/v1/commands", content=spoken.data, headers=header), 422)
    assert not door.rows
