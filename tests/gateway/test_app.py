"""The HTTP API: what a robot gets for good clips, for clips one abstains on, and for everything else."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from robot import RATE, Door, Spoken, ask, assert_problem, encoded, lying_flac, tone

from gateway.app import create_app
from recognizer.recognizer import Recognizer

ANSWER = {  # DESIGN.md, "What a robot gets"
    "request_id", "decision", "command", "reason", "detail", "confidence", "top", "certificate", "parts", "safe_action",
    "model", "audio", "received_at", "valid_for_ms", "timings_ms",
}  # fmt: skip
CERTIFICATE = {"defense", "sigma", "error_alpha", "draws", "p_value", "radius_l2"}


def post(door: Door, **options: Any) -> Any:
    return door.ask("POST", "/v1/commands", **options)


def test_an_acceptance_has_exactly_the_fields_of_the_design(door: Door, spoken: Spoken, recognizer: Recognizer) -> None:
    answer = door.decide(spoken.data, defense="none")
    body = answer.json()
    samples, rate = spoken.pcm
    assert answer.status_code == 200
    assert set(body) == ANSWER
    assert body["decision"] == "accept"
    assert body["command"] == spoken.command
    assert body["reason"] == "ok"
    assert body["safe_action"] == "hold"
    assert body["valid_for_ms"] == 1500
    assert body["model"] == {"name": recognizer.name, "version": recognizer.version}
    assert body["audio"] == {"seconds": round(len(samples) / rate, 4), "sample_rate": rate}
    assert set(body["top"][0]) == {"command", "share"}
    assert body["top"][0] == {"command": spoken.command, "share": body["confidence"]}
    assert {"decode", "queue", "decide", "total"} <= set(body["timings_ms"])
    stages = sum(ms for stage, ms in body["timings_ms"].items() if stage != "total")
    assert stages <= body["timings_ms"]["total"] + 0.01


def test_smoothing_answers_with_its_certificate(door: Door, spoken: Spoken) -> None:
    certificate = door.decide(spoken.data, defense="smoothing").json()["certificate"]
    assert set(certificate) >= CERTIFICATE
    assert certificate["defense"] == "smoothing"
    assert 0 <= certificate["p_value"] <= 1


def test_every_way_to_send_a_clip_gives_the_same_command(door: Door, spoken: Spoken) -> None:
    pcm, rate = spoken.pcm
    flac = encoded(pcm, rate, "FLAC")
    big_endian = pcm.astype(">i2").tobytes()
    query = {"params": {"defense": "none"}}
    answers = [
        door.decide(spoken.data, defense="none"),
        door.decide(flac, kind="audio/flac", defense="none"),
        door.decide(flac, kind="audio/wav", defense="none"),  # the bytes are believed, not the declared type
        door.decide(big_endian, kind=f"audio/L16;rate={rate}", defense="none"),
        door.decide(big_endian, kind=f'Audio/l16; Rate="{rate}"; channels=1', defense="none"),
        post(door, files={"audio": ("clip.wav", spoken.data, "audio/wav")}, **query),
        post(door, files={"audio": ("clip", flac, "text/plain")}, data={"defense": "none"}),
    ]
    bodies = [answer.json() for answer in answers]
    assert [body["command"] for body in bodies] == [spoken.command] * len(answers)
    assert {body["confidence"] for body in bodies} == {bodies[0]["confidence"]}


def test_little_endian_samples_are_other_samples(door: Door, spoken: Spoken) -> None:
    pcm, rate = spoken.pcm
    swapped = door.decide(pcm.astype("<i2").tobytes(), kind=f"audio/L16;rate={rate}", defense="none").json()
    right = door.decide(pcm.astype(">i2").tobytes(), kind=f"audio/L16;rate={rate}", defense="none").json()
    assert (swapped["command"], swapped["confidence"]) != (right["command"], right["confidence"])


@pytest.mark.parametrize(
    ("clip", "reason"),
    [
        pytest.param(encoded(np.zeros(8000)), "no_speech", id="silence"),
        pytest.param(encoded(np.full(8000, 0.5)), "no_speech", id="a constant"),
        pytest.param(encoded(np.zeros(600 * RATE), kind="FLAC"), "too_long", id="ten minutes in a small FLAC"),
        pytest.param(encoded(tone(5.01)), "too_long", id="a little too long"),
        pytest.param(encoded(tone(0.09)), "too_short", id="too short"),
        pytest.param(encoded(np.array([])), "too_short", id="a header and nothing else"),
        pytest.param(encoded(np.sign(tone(0.5))), "clipped", id="a square wave at full scale"),
    ],
)
def test_a_clip_one_abstains_on_is_an_answer(door: Door, clip: bytes, reason: str) -> None:
    answer = door.decide(clip)
    body = answer.json()
    assert answer.status_code == 200, body
    assert (body["decision"], body["reason"], body["command"]) == ("abstain", reason, None)
    assert body["confidence"] is None
    assert body["top"] == []
    assert body["certificate"] is None
    assert set(body) == ANSWER


@pytest.mark.parametrize(
    ("clip", "status"),
    [
        pytest.param(b"", 400, id="empty"),
        pytest.param(b"hello", 415, id="text"),
        pytest.param(encoded(tone())[:20], 422, id="a WAV cut off in its header"),
        pytest.param(encoded(tone(), kind="FLAC")[:60], 422, id="a FLAC cut off in its header"),
        pytest.param(encoded(tone(1.0, 1), 1), 422, id="1 Hz"),
        pytest.param(encoded(tone(), 96_000), 422, id="96 kHz"),
        pytest.param(encoded(np.tile(tone(0.2)[:, None], 96)), 422, id="96 channels"),
        pytest.param(encoded(np.full(8000, np.nan), subtype="FLOAT"), 422, id="NaN"),
        pytest.param(encoded(np.full(8000, np.inf), subtype="FLOAT"), 422, id="infinity"),
        pytest.param(encoded(1e30 * tone(), subtype="DOUBLE"), 422, id="1e30"),
        pytest.param(encoded(tone(), kind="WAV", subtype="MS_ADPCM"), 415, id="an encoding off the list"),
        pytest.param(encoded(tone(), kind="OGG", subtype="VORBIS"), 415, id="OGG"),
        pytest.param(encoded(tone(), kind="AIFF"), 415, id="AIFF"),
        pytest.param(lying_flac(), 422, id="a FLAC that claims 2^36 - 1 samples"),
        pytest.param(b"RIFF" + bytes(4) + b"WAVE" + bytes(2 << 20), 413, id="2 MiB"),
    ],
)
def test_a_bad_clip_is_a_problem_that_holds_the_robot(door: Door, clip: bytes, status: int) -> None:
    assert_problem(door.decide(clip), status)
    assert_problem(post(door, files={"audio": ("clip.wav", clip)}), status)
    assert door.rows == []


def test_a_problem_tells_no_address_in_the_servers_memory(door: Door) -> None:
    detail = assert_problem(door.decide(encoded(tone())[:20]), 422)["detail"]
    assert "0x" not in detail


@pytest.mark.parametrize("cut", [45, 1000, 8001])
def test_a_wav_whose_end_is_missing_is_never_accepted_as_longer_than_it_is(door: Door, cut: int) -> None:
    clip = encoded(tone(0.5))[:cut]
    answer = door.decide(clip, defense="none")
    if answer.status_code == 200:
        heard = answer.json()
        assert heard["audio"] is None or heard["audio"]["seconds"] <= (cut - 44) / 2 / RATE + 1e-4
    else:
        assert_problem(answer, 422)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.data())
def test_damaged_files_are_answered_and_never_a_fault(door: Door, spoken: Spoken, data: st.DataObject) -> None:
    clip = bytearray(data.draw(st.sampled_from([spoken.data, encoded(tone(), kind="FLAC")])))
    for _ in range(data.draw(st.integers(1, 8))):
        clip[data.draw(st.integers(0, 99))] = data.draw(st.integers(0, 255))
    answer = door.decide(bytes(clip), defense="none")
    assert answer.status_code in (200, 413, 415, 422)
    if answer.status_code != 200:
        assert_problem(answer, answer.status_code)


@pytest.mark.parametrize("clip", [b"\x00", b"\x00\x01\x02"])
def test_bytes_that_are_no_whole_samples_are_a_problem(door: Door, clip: bytes) -> None:
    assert_problem(door.decide(clip, kind="audio/L16;rate=16000"), 422)


@pytest.mark.parametrize(
    "kind",
    [
        "audio/L16", "audio/L16;rate=", "audio/L16;rate=-1", "audio/L16;rate=1e4", "audio/L16;rate=99999999",
        "audio/L16;rate=16000;channels=two", "audio/L16;rate=١٦٠٠٠".encode().decode("latin-1"),
    ],
)  # fmt: skip
def test_raw_samples_need_a_rate_that_is_a_number(door: Door, kind: str) -> None:
    header = {b"content-type": kind.encode("latin-1")}
    assert_problem(door.ask("POST", "/v1/commands", content=bytes(16_000), headers=header), 400)


@pytest.mark.parametrize(
    ("parameters", "status"), [("rate=7999", 422), ("rate=0", 422), ("rate=16000;channels=0", 422)]
)
def test_raw_samples_pass_the_same_gate(door: Door, parameters: str, status: int) -> None:
    assert_problem(door.decide(bytes(16_000), kind=f"audio/L16;{parameters}"), status)


@pytest.mark.parametrize("kind", ["application/json", "text/plain", "audio/mpeg", "", ";;;", "audio/wavx"])
def test_a_content_type_off_the_list_is_refused_whatever_the_bytes(door: Door, spoken: Spoken, kind: str) -> None:
    assert_problem(door.decide(spoken.data, kind=kind), 415)


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.3)
        yield server


def test_an_address_in_place_of_a_clip_is_never_fetched(door: Door, listening: socket.socket) -> None:
    address = f"http://127.0.0.1:{listening.getsockname()[1]}/clip.wav"
    assert_problem(post(door, data={"audio": address}, files={"other": b""}), 400)
    assert_problem(post(door, files={"audio": (None, address)}), 400)
    assert_problem(post(door, data={"audio": address}), 415)
    assert_problem(post(door, json={"audio": address}), 415)
    with pytest.raises(TimeoutError):
        listening.accept()


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("multipart/form-data", b"--x\r\n\r\n--x--\r\n"),
        ("multipart/form-data; boundary=", b"--x\r\n\r\n--x--\r\n"),
        ("multipart/form-data; boundary=x", b"no part of any form"),
        ("multipart/form-data; boundary=x", b"--x\r\nContent-Disposition: form-data; name=audio"),
        ("multipart/form-data; boundary=x", b"--x\r\nContent-Disposition: form-data\r\n\r\na\r\n--x--\r\n"),
        ("multipart/form-data; boundary=x", b"--x\r\nContent-Disposition: form-data; name=a\r\n\r\n\xff\r\n--x--\r\n"),
        ("multipart/form-data; boundary=x", b""),
        ("multipart/form-data; charset=none; boundary=x", b"--x\r\n\r\n--x--\r\n"),
        ("multipart/form-data; boundary=" + "x" * 5000, b"--x\r\n\r\n--x--\r\n"),
    ],
)
def test_a_broken_form_is_a_problem(door: Door, kind: str, body: bytes) -> None:
    assert_problem(door.decide(body, kind=kind), 400)


def test_a_form_holds_one_file_and_few_fields(door: Door, spoken: Spoken) -> None:
    clip = ("clip.wav", spoken.data)
    assert_problem(post(door, files=[("audio", clip), ("audio", clip)]), 400)
    assert_problem(post(door, files={"audio": clip}, data={f"field{i}": "x" for i in range(9)}), 400)
    assert_problem(post(door, files={"sound": clip}), 400)


@pytest.mark.parametrize("name", ["a" * 300 + ".wav", "../../etc/passwd", "clip\x00.wav", "Größe 音.wav", ""])
def test_the_files_name_does_not_matter(door: Door, spoken: Spoken, name: str) -> None:
    body = (
        b'--x\r\nContent-Disposition: form-data; name="audio"; filename="' + name.encode() + b'"\r\n'
        b"Content-Type: audio/wav\r\n\r\n" + spoken.data + b"\r\n--x--\r\n"
    )
    answer = door.decide(body, kind="multipart/form-data; boundary=x", defense="none")
    assert answer.status_code == 200, answer.text
    assert answer.json()["command"] == spoken.command


@pytest.mark.parametrize("field", ["speaker", "defense"])
@pytest.mark.parametrize("value", ["nobody", "none\x00", "NONE", "x" * 1000])
def test_a_name_that_is_not_known_is_refused(door: Door, spoken: Spoken, field: str, value: str) -> None:
    assert_problem(door.decide(spoken.data, **{field: value}), 422)
    assert_problem(post(door, files={"audio": ("c.wav", spoken.data)}, data={field: value}), 422)
    assert door.rows == []


def test_an_empty_speaker_and_defense_are_none(door: Door, spoken: Spoken) -> None:
    answer = post(door, files={"audio": ("c.wav", spoken.data)}, data={"speaker": "", "defense": ""})
    assert answer.status_code == 200
    assert [row["speaker"] for row in door.rows] == [None]


def test_a_field_of_the_form_wins_over_the_query(door: Door, spoken: Spoken) -> None:
    form = {"files": {"audio": ("c.wav", spoken.data)}, "data": {"defense": "none"}}
    answer = post(door, params={"defense": "smoothing"}, **form)
    assert answer.json()["certificate"] is None


@pytest.mark.parametrize("path", ["/v1/commands", "/v1/commands/1b671a64-40d5-491e-99b0-da01ff1f3341/label"])
def test_other_methods_and_paths_are_problems_too(door: Door, path: str) -> None:
    answer = door.ask("GET", path)
    assert_problem(answer, 405)
    assert answer.headers["allow"] == "POST"
    assert_problem(door.ask("POST", path + "s"), 404)


def test_an_unexpected_fault_is_a_problem_that_says_nothing_of_it(door: Door, spoken: Spoken, monkeypatch: Any) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("a secret of the inside")

    monkeypatch.setattr(door.gateway, "command", fail)
    answer = door.decide(spoken.data)
    assert_problem(answer, 500)
    assert "secret" not in answer.text


@pytest.mark.parametrize("path", ["/v1/commands", "/metrics"])
def test_without_a_gateway_the_answer_is_come_again(path: str) -> None:
    method = "GET" if path == "/metrics" else "POST"
    answer = ask(create_app(), method, path, headers={"content-type": "audio/wav"})
    assert_problem(answer, 503)
    assert int(answer.headers["retry-after"]) > 0


def test_a_label_tells_what_became_of_the_decision(door: Door, spoken: Spoken) -> None:
    decision = door.decide(spoken.data, defense="none").json()
    answer = door.label(decision["request_id"], spoken.command)
    assert answer.status_code == 200
    assert answer.json() == {"request_id": decision["request_id"], "command": spoken.command, "result": "correct"}


@pytest.mark.parametrize(
    ("request_id", "body", "status"),
    [
        ("1b671a64-40d5-491e-99b0-da01ff1f3341", {"command": "unknown"}, 404),
        ("not-an-id", {"command": "unknown"}, 422),
        ("1b671a64-40d5-491e-99b0-da01ff1f3341", {"command": "no such command"}, 422),
        ("1b671a64-40d5-491e-99b0-da01ff1f3341", {"command": ""}, 422),
        ("1b671a64-40d5-491e-99b0-da01ff1f3341", {"command": None}, 422),
        ("1b671a64-40d5-491e-99b0-da01ff1f3341", {}, 422),
        ("1b671a64-40d5-491e-99b0-da01ff1f3341", {"command": "unknown", "more": 1}, 422),
        ("1b671a64-40d5-491e-99b0-da01ff1f3341", [], 422),
    ],
)
def test_a_label_that_fits_nothing_is_a_problem(door: Door, request_id: str, body: Any, status: int) -> None:
    assert_problem(door.ask("POST", f"/v1/commands/{request_id}/label", json=body), status)


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b'{"command": NaN}', b"\xff", b'{"command": "\\ud800"}', b'{"command": "unknown", "\\ud800": 1}'],
)
def test_a_label_that_is_no_json_is_a_problem(door: Door, body: bytes) -> None:
    path = "/v1/commands/1b671a64-40d5-491e-99b0-da01ff1f3341/label"
    answer = door.ask("POST", path, content=body, headers={"content-type": "application/json"})
    assert answer.status_code in (400, 422)
    assert_problem(answer, answer.status_code)


def test_the_openapi_document_is_version_3_1_and_lists_the_api(door: Door) -> None:
    document = door.ask("GET", "/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    assert set(document["paths"]) == {
        *("/v1/commands", "/v1/commands/{request_id}/label", "/v1/fairness", "/v1/model"),
        *("/v1/speakers", "/v1/speakers/{speaker}"),
    }
    post_command = document["paths"]["/v1/commands"]["post"]
    assert {"multipart/form-data", "audio/wav", "audio/flac"} <= set(post_command["requestBody"]["content"])
    assert {"200", "400", "413", "415", "422", "500", "503"} <= set(post_command["responses"])
    answer = document["components"]["schemas"]["CommandResponse"]
    assert set(answer["properties"]) == ANSWER


def test_the_documents_errors_are_declared_as_what_they_are_sent_as(door: Door) -> None:
    responses = door.ask("GET", "/openapi.json").json()["paths"]["/v1/commands"]["post"]["responses"]
    assert all(set(responses[status]["content"]) == {"application/problem+json"} for status in ("400", "413", "503"))


def test_the_documentation_page_loads_nothing_from_outside(door: Door) -> None:
    page = door.ask("GET", "/docs").text
    assert "//" not in page.replace("/openapi.json", "").split("<script>")[0].split("<body>")[0].replace("<!-- ", "")
    assert "http://" not in page
    assert "https://" not in page
