"""The same request again: the same answer, counted and stored once, and never an old acceptance as a fresh one."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable
from dataclasses import replace

import httpx
import pytest
from robot import Door, Spoken, assert_problem, encoded, tone, total

from gateway.idempotency import IdempotencyKey, replayed
from gateway.problems import KeyReused, MalformedRequest
from gateway.records import AnsweredBefore
from gateway.schemas import CommandResponse

Open = Callable[..., Door]


def send(door: Door, clip: bytes, key: str, **query: str) -> httpx.Response:
    headers = {"content-type": "audio/wav", "idempotency-key": key}
    return door.ask("POST", "/v1/commands", content=clip, headers=headers, params={"defense": "none", **query})


def test_a_request_that_is_sent_again_gets_the_first_answer_and_is_counted_once(door: Door, spoken: Spoken) -> None:
    first, second = (send(door, spoken.data, "a key").json() for _ in range(2))
    varying = {"valid_for_ms", "timings_ms"}
    assert {k: v for k, v in first.items() if k not in varying} == {k: v for k, v in second.items() if k not in varying}
    assert len(door.rows) == total(door.samples, "evenvoice_commands_total") == 1


def test_what_is_left_of_an_acceptance_is_told(door: Door, spoken: Spoken) -> None:
    first = send(door, spoken.data, "k").json()
    again = [send(door, spoken.data, "k").json()["valid_for_ms"] for _ in range(3)]
    assert first["decision"] == "accept"
    assert first["valid_for_ms"] > again[0] >= again[1] >= again[2] > 0


def test_an_acceptance_is_not_told_again_past_the_deadline_of_who_asks(
    door: Door, spoken: Spoken, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = send(door, spoken.data, "k").json()
    look = door.records.earlier

    def slow(key: str) -> AnsweredBefore | None:
        found = look(key)
        time.sleep(0.2)
        return found

    monkeypatch.setattr(door.records, "earlier", slow)
    headers = {"content-type": "audio/wav", "idempotency-key": "k", "x-request-timeout-ms": "100"}
    again = door.ask("POST", "/v1/commands", content=spoken.data, headers=headers, params={"defense": "none"}).json()
    assert (first["decision"], again["decision"], again["reason"]) == ("accept", "abstain", "deadline")
    assert again["request_id"] == first["request_id"]
    assert send(door, spoken.data, "k").json()["decision"] == "accept"  # of one who has the time


def test_a_key_beside_text_that_is_no_unicode_is_no_fault(door: Door, spoken: Spoken) -> None:
    """A form says itself how its text is encoded, and UTF-7 can write half of a surrogate pair."""
    form = b'--b\r\nContent-Disposition: form-data; name="speaker"\r\n\r\n+2AA-\r\n--b\r\n'
    form += b'Content-Disposition: form-data; name="audio"; filename="a.wav"\r\n\r\n' + spoken.data + b"\r\n--b--\r\n"
    headers = {"content-type": "multipart/form-data; boundary=b; charset=utf-7", "idempotency-key": "k"}
    assert_problem(door.ask("POST", "/v1/commands", content=form, headers=headers), 422)


def test_another_request_with_the_key_is_refused(door: Door, spoken: Spoken) -> None:
    send(door, spoken.data, "k")
    assert_problem(send(door, encoded(tone()), "k"), 422)
    assert_problem(send(door, spoken.data, "k", defense="smoothing"), 422)
    assert_problem(send(door, spoken.data, "k", speaker=spoken.speaker), 422)
    assert len(door.rows) == 1


def test_other_keys_and_no_key_are_other_requests(door: Door, spoken: Spoken) -> None:
    ids = {send(door, spoken.data, key).json()["request_id"] for key in ("k", "K", "l")}
    ids |= {door.decide(spoken.data, defense="none").json()["request_id"] for _ in range(2)}
    assert len(ids) == len(door.rows) == 5


@pytest.mark.parametrize("key", ["k" * 256, "schlüssel".encode(), b"a\tb"])
def test_a_key_that_is_none_is_refused(door: Door, spoken: Spoken, key: str | bytes) -> None:
    headers = {"content-type": "audio/wav", "idempotency-key": key}
    answer = door.ask("POST", "/v1/commands", content=spoken.data, headers=headers)
    assert answer.status_code in (400, 422)
    assert_problem(answer, answer.status_code)
    assert not door.rows


def test_twins_under_way_at_once_are_stored_and_counted_once(door: Door, spoken: Spoken) -> None:
    async def twins() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app=door.app)
        headers = {"content-type": "audio/wav", "idempotency-key": "k"}
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
            asked = [client.post("/v1/commands", content=spoken.data, headers=headers) for _ in range(6)]
            return list(await asyncio.gather(*asked))

    answers = asyncio.run(twins())
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["request_id"] for answer in answers}) == 1
    assert len(door.rows) == total(door.samples, "evenvoice_commands_total") == 1


def test_the_key_of_a_request_that_failed_is_free(door: Door, spoken: Spoken) -> None:
    assert_problem(send(door, b"no audio", "k"), 415)
    assert send(door, spoken.data, "k").status_code == 200


def test_the_same_form_has_another_boundary_and_is_the_same_request(door: Door, spoken: Spoken) -> None:
    def form() -> httpx.Response:
        boundary = uuid.uuid4().hex
        headers = {"idempotency-key": "k", "content-type": f"multipart/form-data; boundary={boundary}"}
        body = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="audio"; filename="{boundary}.wav"\r\n\r\n'.encode()
            + spoken.data
            + f"\r\n--{boundary}--\r\n".encode()
        )
        return door.ask("POST", "/v1/commands", content=body, headers=headers)

    assert form().json()["request_id"] == form().json()["request_id"]
    assert len(door.rows) == 1


# The answer of an earlier request


@pytest.fixture
def answer(door: Door, spoken: Spoken) -> CommandResponse:
    found = CommandResponse.model_validate_json(door.decide(spoken.data, defense="none").content)
    assert found.decision == "accept"
    return found


@pytest.mark.parametrize("age", [None, 1.5, 100.0])
def test_an_old_acceptance_is_held_back(answer: CommandResponse, age: float | None) -> None:
    held = replayed(AnsweredBefore("d", answer.model_dump_json(), age), digest="d")
    assert (held.decision, held.reason, held.command) == ("abstain", "deadline", None)
    assert (held.request_id, held.confidence) == (answer.request_id, answer.confidence)


def test_an_acceptance_is_older_than_its_record(answer: CommandResponse) -> None:
    """It was under way before it was stored."""
    slow = answer.model_copy(update={"timings_ms": {"total": 1000.0}, "valid_for_ms": 1500})
    stored = AnsweredBefore("d", slow.model_dump_json(), 0.2)
    assert replayed(stored, digest="d").valid_for_ms == 300
    assert replayed(replace(stored, age=0.6), digest="d").decision == "abstain"


def test_an_abstention_is_told_again_however_old(door: Door) -> None:
    said = CommandResponse.model_validate_json(door.decide(encoded(0 * tone())).content)
    assert said.decision == "abstain"
    assert replayed(AnsweredBefore("d", said.model_dump_json(), None), digest="d") == said


def test_the_digest_must_be_the_requests(answer: CommandResponse) -> None:
    with pytest.raises(KeyReused):
        replayed(AnsweredBefore("d", answer.model_dump_json(), 0.0), digest="e")


def test_keys_of_two_senders_and_parts_that_meet_differently_differ() -> None:
    def of(header: str, sender: str, *asked: bytes | str | None) -> IdempotencyKey:
        key = IdempotencyKey.of(header, sender=sender, asked=asked)
        assert key is not None
        return key

    assert of("k", "a", b"x").key != of("k", "b", b"x").key
    assert of("bk", "a").key != of("k", "ab").key
    assert of("k", "a", "ab", "c").digest != of("k", "a", "a", "bc").digest
    assert of("k", "a", None, "c").digest != of("k", "a", "c", None).digest
    assert of("k", "a", None).digest != of("k", "a", "").digest
    assert len(of("k", "a").key) == len(of("k", "a").digest) == 64
    assert IdempotencyKey.of(None, sender="a", asked=()) is None
    with pytest.raises(MalformedRequest):
        IdempotencyKey.of("", sender="a", asked=())
