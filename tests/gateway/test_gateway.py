"""Recorded before it is answered, never late, never under a fault, and counted as it was answered."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from robot import RECORDS_FILE, Door, Spoken, assert_problem, encoded, tone, total

from gateway.records import RecordsError
from recognizer.audio import decode
from recognizer.decision import UNKNOWN, Decision, conclude
from recognizer.defense import Defense, DefenseName, Undefended, one_pass
from recognizer.hearing import Hearing
from recognizer.network import M5
from recognizer.neural_rejection import NeuralRejection
from recognizer.recognizer import Recognizer
from recognizer.smoothing import RandomizedSmoothing

SILENCE = encoded(np.zeros(8000))
Open = Callable[..., Door]


class Slow:
    """A defense that is sure of the first label, after a while; `begun` tells that it is at it."""

    name = DefenseName.NONE

    def __init__(self, labels: Sequence[str], seconds: float) -> None:
        self.labels, self.seconds = tuple(labels), seconds
        self.begun, self.go_on = threading.Event(), threading.Event()

    def decide(
        self, waveforms: torch.Tensor, *, clip_ids: Sequence[str], seed: int, deadline: float | None = None
    ) -> list[Decision]:
        del clip_ids, seed, deadline
        self.begun.set()
        self.go_on.wait(self.seconds)
        return [conclude(self.labels, [1.0] + [0.0] * (len(self.labels) - 1)) for _ in waveforms]

    def hearing(self) -> Hearing:
        return one_pass(self, torch.device("cpu"))


def served_by(recognizer: Recognizer, defense: Defense) -> Recognizer:
    return replace(recognizer, defenses={defense.name: defense}, default_defense=defense.name)


def counted(door: Door) -> float:
    return total(door.samples, "evenvoice_commands_total")


def test_an_acceptance_is_in_the_records_as_it_was_answered(door: Door, spoken: Spoken) -> None:
    body = door.decide(spoken.data, defense="none", speaker=spoken.speaker).json()
    (row,) = door.rows
    assert row["request_id"] == body["request_id"]
    assert (row["outcome"], row["reason"], row["command"]) == ("accepted", "ok", spoken.command)
    assert (row["defense"], row["speaker"], row["confidence"]) == ("none", spoken.speaker, body["confidence"])
    assert row["model"] == body["model"]["version"]


def test_the_groups_come_from_the_register_and_not_from_the_request(door: Door, spoken: Spoken) -> None:
    form = {"files": {"audio": ("c.wav", spoken.data)}, "data": {"speaker": spoken.speaker, "accent": "forged"}}
    door.ask("POST", "/v1/commands", **form)
    (row,) = door.rows
    assert {f'"{a}": "{g}"' in row["groups"] for a, g in spoken.groups.items()} == {True}
    assert "forged" not in row["groups"]


def test_a_recorded_seed_and_request_id_give_the_decision_again(
    door: Door, spoken: Spoken, recognizer: Recognizer
) -> None:
    body = door.decide(spoken.data, defense="smoothing").json()
    (row,) = door.rows
    clip = decode(spoken.data, recognizer.audio)
    (again,) = recognizer.decide([clip], clip_ids=[row["request_id"]], seed=row["seed"], defense="smoothing")
    assert (again.command, again.confidence) == (body["command"], body["confidence"])
    assert again.certificate
    assert again.certificate.p_value == row["p_value"] == body["certificate"]["p_value"]


def test_two_requests_never_share_a_seed_or_an_id(door: Door, spoken: Spoken) -> None:
    for _ in range(5):
        door.decide(spoken.data)
    assert len({row["seed"] for row in door.rows}) == 5
    assert len({row["request_id"] for row in door.rows}) == 5


def failed(door: Door) -> float:
    return total(door.samples, "evenvoice_commands_total", outcome="service", reason="failed")


@pytest.mark.parametrize("clip", ["spoken", "silence"])
def test_without_a_record_there_is_no_answer_and_a_failure_is_counted(
    door: Door, spoken: Spoken, clip: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RecordsError("the disk is full")

    monkeypatch.setattr(door.records, "add", fail)
    answer = door.decide(spoken.data if clip == "spoken" else SILENCE, defense="none")
    assert_problem(answer, 503)
    assert int(answer.headers["retry-after"]) > 0
    assert counted(door) == failed(door) == 1
    assert total(door.samples, "evenvoice_decision_seconds_count") == 0


def test_a_database_locked_by_another_is_503_and_the_next_command_is_answered(door: Door, spoken: Spoken) -> None:
    with sqlite3.connect(door.state / RECORDS_FILE, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        assert_problem(door.decide(spoken.data, defense="none"), 503)
        other.execute("ROLLBACK")
    assert counted(door) == failed(door) == 1
    assert door.decide(spoken.data, defense="none").status_code == 200
    assert len(door.rows) == counted(door) - failed(door) == 1


def test_a_decision_past_the_deadline_is_an_abstention(open_door: Open, recognizer: Recognizer, spoken: Spoken) -> None:
    door = open_door(served_by(recognizer, Slow(recognizer.labels, 0.2)), deadline_ms=100)
    body = door.decide(spoken.data).json()
    assert (body["decision"], body["reason"], body["command"]) == ("abstain", "deadline", None)
    assert "100 ms" in body["detail"]
    assert [(row["outcome"], row["command"]) for row in door.rows] == [("service", None)]
    assert total(door.samples, "evenvoice_commands_total", outcome="service", reason="deadline") == counted(door) == 1


def test_within_the_deadline_the_same_defense_accepts(open_door: Open, recognizer: Recognizer, spoken: Spoken) -> None:
    door = open_door(served_by(recognizer, Slow(recognizer.labels, 0.0)), deadline_ms=60_000)
    assert door.decide(spoken.data).json()["decision"] == "accept"


def test_a_clip_that_waited_past_the_deadline_is_not_computed_at_all(
    open_door: Open, recognizer: Recognizer, spoken: Spoken
) -> None:
    slow = Slow(recognizer.labels, 0.3)
    door = open_door(served_by(recognizer, slow), deadline_ms=150)
    with ThreadPoolExecutor(1) as caller:
        first = caller.submit(door.decide, spoken.data)
        slow.begun.wait(10)
        waited = at_once(door, spoken, 2)  # while the networks are at the first
    assert {answer.json()["reason"] for answer in (first.result(), *waited)} == {"deadline"}
    assert "decide" in first.result().json()["timings_ms"]
    assert not any("decide" in answer.json()["timings_ms"] for answer in waited)
    assert [answer.json()["confidence"] for answer in (first.result(), *waited)] == [1.0, None, None]


def test_records_that_take_past_the_deadline_never_make_a_late_acceptance(
    open_door: Open, recognizer: Recognizer, spoken: Spoken
) -> None:
    door = open_door(served_by(recognizer, Slow(recognizer.labels, 0.0)), deadline_ms=300)
    other = sqlite3.connect(door.state / RECORDS_FILE, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    threading.Timer(0.6, lambda: other.execute("ROLLBACK")).start()
    body = door.decide(spoken.data).json()
    assert (body["decision"], body["reason"], body["command"]) == ("abstain", "deadline", None)
    assert [(row["outcome"], row["reason"], row["command"]) for row in door.rows] == [("service", "deadline", None)]
    assert total(door.samples, "evenvoice_commands_total", outcome="accepted") == 0
    other.close()


def test_an_acceptance_that_was_stored_in_time_and_not_told_in_time_is_not_given(
    open_door: Open, recognizer: Recognizer, spoken: Spoken, monkeypatch: pytest.MonkeyPatch
) -> None:
    door = open_door(served_by(recognizer, Slow(recognizer.labels, 0.0)), deadline_ms=1000)
    add = door.records.add

    def stalled(*arguments: Any, **options: Any) -> Any:
        stored = add(*arguments, **options)
        stored.result()
        time.sleep(1.1)  # of the event loop
        return stored

    monkeypatch.setattr(door.records, "add", stalled)
    assert_problem(door.decide(spoken.data), 504)
    assert [row["outcome"] for row in door.rows] == ["accepted"]  # as if the connection had been lost
    assert counted(door) == failed(door) == 1


def test_a_command_that_is_given_up_harms_no_other(open_door: Open, recognizer: Recognizer, spoken: Spoken) -> None:
    slow = Slow(recognizer.labels, 10.0)
    door = open_door(served_by(recognizer, slow), max_pending=1)

    async def give_up() -> None:
        transport = httpx.ASGITransport(app=door.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
            header = {"content-type": "audio/wav"}
            asked = asyncio.create_task(client.post("/v1/commands", content=spoken.data, headers=header))
            await asyncio.to_thread(slow.begun.wait, 10)
            asked.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asked

    asyncio.run(give_up())
    slow.go_on.set()
    assert door.decide(spoken.data).status_code == 200
    assert len(door.rows) == counted(door) == 1


def at_once(door: Door, spoken: Spoken, count: int) -> list[httpx.Response]:
    async def send() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app=door.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
            header = {"content-type": "audio/wav"}
            requests = [client.post("/v1/commands", content=spoken.data, headers=header) for _ in range(count)]
            return list(await asyncio.gather(*requests))

    return asyncio.run(send())


def test_more_commands_than_may_wait_are_told_to_come_again(
    open_door: Open, recognizer: Recognizer, spoken: Spoken
) -> None:
    door = open_door(served_by(recognizer, Slow(recognizer.labels, 0.1)), max_pending=2)
    answers = at_once(door, spoken, 6)
    assert sorted(answer.status_code for answer in answers) == [200, 200, 503, 503, 503, 503]
    for answer in answers:
        if answer.status_code == 503:
            assert_problem(answer, 503)
            assert int(answer.headers["retry-after"]) > 0
    assert len(door.rows) == 2
    assert door.decide(spoken.data).status_code == 200  # room again


def test_room_is_given_back_whatever_became_of_a_command(open_door: Open, spoken: Spoken) -> None:
    door = open_door(max_pending=1)
    for _ in range(3):
        assert_problem(door.decide(b"no audio"), 415)
        assert_problem(door.decide(spoken.data, speaker="nobody"), 422)
        assert door.decide(SILENCE).status_code == 200


def with_nan(network: M5) -> M5:
    broken = M5(network.config)
    broken.load_state_dict(network.state_dict())
    with torch.no_grad():
        for parameter in broken.parameters():
            parameter.fill_(float("nan"))
    return broken


@pytest.mark.parametrize("name", list(DefenseName))
def test_a_network_of_nan_is_a_fault_and_never_an_acceptance(
    open_door: Open, recognizer: Recognizer, spoken: Spoken, name: DefenseName
) -> None:
    sound = recognizer.defenses[name]
    broken: Defense
    match sound:
        case Undefended():
            broken = Undefended(with_nan(sound.network), sound.labels)
        case NeuralRejection():
            broken = NeuralRejection(with_nan(sound.network), sound.machine, sound.labels, confidence_threshold=0.0)
        case RandomizedSmoothing():
            broken = RandomizedSmoothing(with_nan(sound.network), sound.labels, sigma=0.1, error_alpha=1.0, draws=5)
        case _:
            raise AssertionError(sound)
    door = open_door(served_by(recognizer, broken))
    assert_problem(door.decide(spoken.data), 500)
    assert door.rows == []
    assert counted(door) == failed(door) == 1


@pytest.mark.parametrize(("truth", "result"), [("said", "correct"), ("another", "wrong"), (UNKNOWN, "wrong")])
def test_the_label_of_an_acceptance(
    door: Door, spoken: Spoken, recognizer: Recognizer, truth: str, result: str
) -> None:
    another = next(c for c in recognizer.commands if c != spoken.command)
    decided = door.decide(spoken.data, defense="none").json()
    label = {"said": spoken.command, "another": another}.get(truth, truth)
    assert door.label(decided["request_id"], label).json()["result"] == result


@pytest.mark.parametrize(("truth", "result"), [("a command", "rejected"), (UNKNOWN, "correct")])
def test_the_label_of_a_rejection(
    open_door: Open, recognizer: Recognizer, spoken: Spoken, truth: str, result: str
) -> None:
    sound = recognizer.defenses[DefenseName.NEURAL_REJECTION]
    assert isinstance(sound, NeuralRejection)
    strict = NeuralRejection(sound.network, sound.machine, sound.labels, confidence_threshold=1.0)
    door = open_door(served_by(recognizer, strict), release_commands=1, release_speakers=1)
    decided = door.decide(spoken.data).json()
    assert decided["reason"] == "low_confidence"
    label = spoken.command if truth == "a command" else truth
    assert door.label(decided["request_id"], label).json()["result"] == result
    assert total(door.samples, "evenvoice_group_labelled_total", attribute="gender", result=result) == 1


def test_the_label_of_a_clip_that_no_defense_decided_on_is_kept_and_not_counted(
    open_door: Open, spoken: Spoken
) -> None:
    door = open_door(release_commands=1, release_speakers=1)
    decided = door.decide(SILENCE).json()
    assert door.label(decided["request_id"], spoken.command).json()["result"] is None
    assert door.rows[0]["true_command"] == spoken.command
    assert total(door.samples, "evenvoice_group_labelled_total") == 0


def test_a_label_is_counted_once_ever(door: Door, spoken: Spoken, recognizer: Recognizer) -> None:
    decided = door.decide(spoken.data, defense="none").json()
    assert door.label(decided["request_id"], spoken.command).status_code == 200
    for command in (spoken.command, *recognizer.commands):
        assert_problem(door.label(decided["request_id"], command), 409)
    (row,) = door.rows
    assert row["true_command"] == spoken.command


def test_a_refused_label_leaves_room_for_the_right_one(door: Door, spoken: Spoken) -> None:
    decided = door.decide(spoken.data, defense="none").json()
    assert_problem(door.label(decided["request_id"], "no such command"), 422)
    assert door.label(decided["request_id"], spoken.command).status_code == 200


def test_labels_that_cannot_be_stored_are_503(door: Door, spoken: Spoken, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RecordsError("the disk is full")

    decided = door.decide(spoken.data, defense="none").json()
    monkeypatch.setattr(door.records, "label", fail)
    assert_problem(door.label(decided["request_id"], spoken.command), 503)


def test_a_label_of_a_bundle_that_this_process_has_not_served_is_counted_as_that_bundles(
    open_door: Open, recognizer: Recognizer, spoken: Spoken
) -> None:
    before = open_door(replace(recognizer, version="sha256:" + "1" * 64), release_commands=1, release_speakers=1)
    decided = before.decide(spoken.data, defense="none", speaker=spoken.speaker).json()
    after = open_door(recognizer, release_commands=1, release_speakers=1)
    assert after.label(decided["request_id"], spoken.command).status_code == 200
    samples = after.samples
    name, result = "evenvoice_group_labelled_total", "correct"
    assert total(samples, name, model="1" * 12, attribute="accent", result=result) == 1
    assert total(samples, name, model=recognizer.short_version) == 0


def test_everything_said_is_counted_once_in_each_attribute(
    open_door: Open, recognizer: Recognizer, spoken: Spoken
) -> None:
    door = open_door(release_commands=1, release_speakers=1)
    bodies = [door.decide(clip, defense=name).json() for clip in (spoken.data, SILENCE) for name in DefenseName]
    bodies += [door.decide(encoded(tone(3.0))).json()]
    samples = door.samples
    for reason in {body["reason"] for body in bodies}:
        assert total(samples, "evenvoice_commands_total", reason=reason) == sum(b["reason"] == reason for b in bodies)
    assert total(samples, "evenvoice_commands_total") == len(bodies)
    for attribute in recognizer.vocabulary:
        assert total(samples, "evenvoice_group_commands_total", attribute=attribute) == len(bodies)
    assert total(samples, "evenvoice_decision_seconds_count") == len(bodies)
    assert total(samples, "evenvoice_stage_seconds_count", stage="decide") == sum(
        "decide" in b["timings_ms"] for b in bodies
    )
