"""The console of a served gateway in a real browser: a microphone that plays a clip, hands on mouse, keys and glass."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
import soundfile
from browser import CHROMIUM
from console_page import Console, console
from robot import Spoken, encoded, rows_of, tone
from scipy.signal import correlate, resample_poly
from test_served import Server

from recognizer.decision import Reason

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here; Debian's package is chromium")

VALID_SECONDS = 4
HOLD_SECONDS = 1.0
"""Recorded at least: the clip with the silence before it."""


PANELS = """(document.querySelectorAll('details').forEach(d => d.open = true),
             [...document.querySelectorAll('.panel')].map(panel => panel.innerText))"""
FACTS = """Object.fromEntries([...document.querySelectorAll('#decision dl div')]
             .map(pair => [...pair.children].map(e => e.textContent)))"""
BARS = "[...document.querySelectorAll('.candidates tr')].map(row => [...row.cells].map(cell => cell.textContent))"


@pytest.fixture(scope="module")
def server(bundle: Path, speakers_csv: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """It keeps what it hears, and releases each group at once."""
    home = tmp_path_factory.mktemp("console")
    environment = {
        "EVENVOICE_AUDIO_DIRECTORY": str(home / "clips"),
        "EVENVOICE_AUDIO_CONSENT": "true",
        "EVENVOICE_RELEASE_COMMANDS": "1",
        "EVENVOICE_RELEASE_SPEAKERS": "1",
        "EVENVOICE_LEDGER_SECONDS": "0.2",
        "EVENVOICE_LEDGER_GRACE_SECONDS": "0",
        "EVENVOICE_DEADLINE_MS": str(1000 * VALID_SECONDS - 500),
        "EVENVOICE_VALID_FOR_MS": str(1000 * VALID_SECONDS),
    }
    started = Server(home, bundle, ("--speakers", str(speakers_csv)), environment)
    try:
        yield started.ready()
    finally:
        started.kill()


@pytest.fixture(scope="module")
def tab(spoken: Spoken, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    with console(tmp_path_factory.mktemp("chromium"), spoken.path) as opened:
        yield opened


@pytest.fixture
def page(tab: Console, server: Server) -> Iterator[Console]:
    """The console, just opened; what it did is looked at after each test."""
    tab.page.look(width=1200)
    opened = tab.open(server.port).ready()
    yield opened
    assert opened.page.complaints == []
    assert opened.page.evaluate("violations") == []
    assert "live" not in opened.tracks
    asked = [urlsplit(address) for address in opened.page.requests if not address.startswith("data:")]
    assert {(to.scheme, to.hostname, to.port) for to in asked} == {("http", "127.0.0.1", server.port)}


def likeness(heard: Path, spoken: Path) -> float:
    """The largest normalised correlation of a clip with what was recorded, at any offset."""
    (recorded, rate), (clip, own) = soundfile.read(heard), soundfile.read(spoken)
    found = resample_poly(recorded, own, rate)
    power = np.convolve(found**2, np.ones(len(clip)), mode="valid")
    return float(np.max(correlate(found, clip, mode="valid") / np.sqrt(power * np.sum(clip**2) + 1e-12)))


def test_what_is_said_while_the_button_is_held_is_decided_and_nothing_else_is_heard_or_sent(
    page: Console, server: Server, spoken: Spoken
) -> None:
    before = len(rows_of(server.state))
    page.choose(speaker=spoken.speaker, defense="none")
    assert (page.tracks, page.sent) == ([], 0)
    page.mouse("mousePressed")
    page.heard(HOLD_SECONDS)
    assert (page.tracks, page.sent) == (["live"], 0)
    assert "Recording" in page.text("#recording")
    page.mouse("mouseReleased")
    said = page.answered(1)
    assert (page.tracks, page.sent) == (["ended"], 1)
    assert said.startswith(f"Accepted: {spoken.command}, confidence ")
    assert page.text(".verdict").endswith(spoken.command)
    rows = rows_of(server.state)
    assert len(rows) == before + 1
    row = next(row for row in rows if row["request_id"] in page.text("#decision"))
    assert (row["command"], row["speaker"], row["defense"]) == (spoken.command, spoken.speaker, "none")
    (clip,) = (server.home / "clips").glob(f"{row['request_id']}.*")
    assert likeness(clip, spoken.path) > 0.98
    time.sleep(6)  # a look at the figures falls into it
    assert page.sent == 1
    assert len(rows_of(server.state)) == before + 1
    assert page.page.requests.count(f"http://127.0.0.1:{server.port}/console/panels?defense=none") >= 2


@pytest.mark.parametrize("key", [" ", "Enter"])
def test_the_keyboard_alone_does_it(page: Console, key: str) -> None:
    for _ in range(2):
        page.key("keyDown", "Tab")
        page.key("keyUp", "Tab")
        assert page.page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"  # it is seen
    assert page.page.evaluate("document.activeElement.id") == "talk"
    top = page.page.evaluate("scrollY")
    page.key("keyDown", key)
    page.heard(0.3)
    page.key("keyDown", key, is_repeat=True)
    page.heard(HOLD_SECONDS)
    assert page.sent == 0
    page.key("keyUp", key)
    page.answered(1)
    assert (page.tracks, page.sent, page.page.evaluate("scrollY")) == (["ended"], 1, top)
    names = []
    for _ in range(4):
        page.key("keyDown", "Tab")
        page.key("keyUp", "Tab")
        names.append(page.page.evaluate("document.activeElement.id"))
    assert names == ["speaker", "defense", "file", "refreshing"]


def test_a_finger_does_it_on_a_phone_and_the_microphone_is_opened_anew_each_time(page: Console) -> None:
    page.page.look(width=400, height=800)
    page.choose(defense="none")
    for number in (1, 2):
        page.touch("touchStart")
        page.heard(HOLD_SECONDS)
        page.touch("touchEnd")
        assert page.answered(number).startswith("Accepted")
        assert (page.tracks, page.sent) == (["ended"] * number, number)


@pytest.mark.parametrize("how", ["Escape", "blur", "touchCancel"])
def test_what_is_cancelled_is_not_sent(page: Console, how: str) -> None:
    is_touch = how == "touchCancel"
    (page.touch if is_touch else page.mouse)("touchStart" if is_touch else "mousePressed")
    page.heard(0.3)
    if is_touch:
        page.touch(how)
    elif how == "Escape":
        page.key("keyDown", how)
        page.key("keyUp", how)
    else:
        page.page.evaluate("window.dispatchEvent(new Event('blur'))")
    page.until("document.querySelector('#status').textContent.startsWith('Thrown away')")
    assert page.tracks == ["ended"]
    if not is_touch:
        page.mouse("mouseReleased")
    time.sleep(0.3)
    assert (page.sent, page.decided) == (0, 0)
    assert not page.page.evaluate("document.querySelector('#recording').matches('.on')")


def test_a_button_let_go_before_the_microphone_opens_records_nothing(page: Console) -> None:
    page.page.evaluate("import('/console/static/microphone.js').then(m => m.prepare()).then(() => 1)")
    page.page.evaluate("window.delay = 400")
    page.mouse("mousePressed")
    page.mouse("mouseReleased")
    page.until("document.querySelector('#status').textContent.startsWith('The microphone is ready')")
    assert (page.tracks, page.sent) == (["ended"], 0)


def test_a_button_that_stays_down_is_no_clip(page: Console, server: Server) -> None:
    longest = server.ask("GET", "/v1/model").json()["audio"]["max_seconds"]
    page.mouse("mousePressed")
    page.until("document.querySelector('#status').textContent.startsWith('Longer than')", seconds=longest + 10)
    assert page.tracks == ["ended"]
    page.mouse("mouseReleased")
    time.sleep(0.3)
    assert page.sent == 0


def test_a_microphone_that_goes_away_is_said_so(page: Console) -> None:
    page.mouse("mousePressed")
    page.heard(0.3)
    page.page.evaluate("streams[0].getTracks().forEach(t => t.dispatchEvent(new Event('ended')))")
    page.until("document.querySelector('#status').textContent.startsWith('The microphone is gone')")
    page.mouse("mouseReleased")
    time.sleep(0.3)
    assert page.sent == 0


def test_a_gateway_that_does_not_answer_leaves_no_microphone_open(page: Console) -> None:
    """The first press asks it for the part that records."""
    page.page.ask("Fetch.enable", patterns=[{"urlPattern": "*capture.js"}])
    page.mouse("mousePressed")
    time.sleep(0.5)
    assert page.tracks == []
    page.mouse("mouseReleased")
    page.page.ask("Fetch.disable")
    page.until("document.querySelector('#status').textContent.startsWith('The microphone is ready')")
    assert (page.tracks, page.sent) == ([], 0)
    page.mouse("mousePressed")
    page.heard(0.3)
    page.mouse("mouseReleased")
    page.answered(1)


def test_nothing_is_announced_while_the_microphone_is_open(page: Console, spoken: Spoken) -> None:
    announced = "document.querySelector('#announcement').textContent"
    page.choose(defense="none")
    page.drop(spoken.path)
    said = page.answered(1)
    assert said.startswith("Accepted")
    page.mouse("mousePressed")
    page.heard(0.1)
    page.until("document.querySelector('#validity').textContent.startsWith('Void')")
    assert page.tracks == ["live"]
    assert page.page.evaluate(announced) == said
    page.key("keyDown", "Escape")
    page.key("keyUp", "Escape")
    page.until(f"{announced}.startsWith('Void')")
    page.mouse("mouseReleased")


def test_a_recording_that_ends_leaves_the_next_one_alone(page: Console) -> None:
    heard = page.page.evaluate(
        """(async () => {
             const { record } = await import('/console/static/microphone.js');
             const [first, second] = [await record(() => {}, () => {}), await record(() => {}, () => {})];
             await first.finish();
             const before = second.seconds;
             await new Promise(done => setTimeout(done, 500));
             const after = second.seconds;
             second.discard();
             return after - before;
           })()"""
    )
    assert heard > 0.2


ANSWERED = """(path, body) => {
  const real = window.fetch;
  window.fetch = (asked, options) => String(asked).startsWith(path)
    ? Promise.resolve(new Response(JSON.stringify(body), { headers: { "content-type": "application/json" } }))
    : real(asked, options);
}"""


def test_an_answer_that_can_t_be_shown_replaces_an_acceptance_by_a_hold(page: Console, spoken: Spoken) -> None:
    page.choose(defense="none")
    page.drop(spoken.path)
    assert page.answered(1).startswith("Accepted")
    strange = {"decision": "accept", "reason": "ok", "command": "left", "valid_for_ms": 4000, "timings_ms": {"a": "b"}}
    page.page.evaluate(f"({ANSWERED})('/v1/commands', {json.dumps(strange)})")
    page.drop(spoken.path)
    assert page.answered(2) == "Hold. The answer can't be understood. "
    assert page.text(".verdict").endswith("Hold")


def test_settings_that_change_are_seen_without_a_new_bundle(page: Console, server: Server) -> None:
    changed = server.ask("GET", "/v1/model").json() | {"valid_for_ms": 1234}
    page.page.evaluate(f"({ANSWERED})('/v1/model', {json.dumps(changed)})")
    page.until("document.querySelector('#model').textContent.includes('1.234 s')")


def test_a_click_that_holds_nothing_is_told_how(page: Console) -> None:
    page.page.evaluate("document.querySelector('#talk').click()")  # as a screen reader's own command does
    assert page.text("#status").startswith("Hold the button, the space bar or Enter")
    assert page.tracks == []


def test_a_file_is_dropped_or_chosen(page: Console, server: Server, spoken: Spoken, tmp_path: Path) -> None:
    page.choose(speaker=spoken.speaker, defense="none")
    page.drop(spoken.path)
    assert page.answered(1).startswith(f"Accepted: {spoken.command}")
    samples, rate = spoken.pcm
    (tmp_path / "same.flac").write_bytes(encoded(samples, rate, kind="FLAC"))
    page.pick(tmp_path / "same.flac")
    assert page.answered(2).startswith(f"Accepted: {spoken.command}")
    assert "same.flac" in page.text("#last li")
    assert page.tracks == []
    rows = [row for row in rows_of(server.state) if row["request_id"] in page.text("#decision")]
    assert [row["command"] for row in rows] == [spoken.command]
    page.drop(spoken.path, tmp_path / "same.flac")
    assert page.text("#status").startswith("2 files are too many")
    assert page.sent == 2


def test_what_can_t_be_decided_holds_and_says_why(page: Console, spoken: Spoken, tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_bytes(b"this is no sound")
    (tmp_path / "quiet.wav").write_bytes(encoded(np.zeros(8000)))
    (tmp_path / "short.wav").write_bytes(encoded(tone(0.02)))
    for number, (name, why) in enumerate(
        [("text.wav", "(415)"), ("quiet.wav", "No speech was heard."), ("short.wav", "The clip is too short.")], start=1
    ):
        page.page.complaints.clear()
        page.drop(tmp_path / name)
        said = page.answered(number)
        assert said.startswith("Hold. ")
        assert why in said
        assert page.text(".verdict").endswith("Hold")
    (tmp_path / "large.wav").write_bytes(encoded(tone(60)))
    page.drop(tmp_path / "large.wav")
    assert "(413)" in page.answered(4)
    page.page.complaints.clear()
    page.choose(speaker="nobody-of-that-name")
    page.drop(spoken.path)
    assert "(422)" in page.answered(5)
    assert "register" in page.text("#decision")
    complaints = [
        text for text in page.page.complaints if "422" not in text
    ]  # the browser writes down each such status
    assert complaints == []
    page.page.complaints.clear()


def test_an_acceptance_runs_out_before_ones_eyes(page: Console, spoken: Spoken) -> None:
    page.choose(defense="none")
    page.drop(spoken.path)
    assert page.answered(1).startswith("Accepted")
    first = page.text("#validity")
    assert first.startswith("valid for ")
    time.sleep(0.5)
    left = [float(text.split()[2]) for text in (first, page.text("#validity"))]
    assert 0 < left[1] < left[0] <= VALID_SECONDS
    since = time.monotonic()
    page.until("document.querySelector('#validity').textContent.startsWith('Void')")
    assert time.monotonic() - since < left[1] + 1
    assert "void" in page.text(".verdict")
    assert page.page.evaluate("document.querySelector('.verdict s').textContent") == spoken.command
    assert page.page.evaluate("document.querySelector('#announcement').textContent").startswith("Void")


def test_what_vouches_for_a_decision_is_shown_as_it_is_stored(page: Console, server: Server, spoken: Spoken) -> None:
    served = {one["name"]: one["parts"][0] for one in server.ask("GET", "/v1/model").json()["defenses"] if one["parts"]}
    for number, defense in enumerate(("smoothing", "neural_rejection"), start=1):
        page.choose(defense=defense)
        page.drop(spoken.path)
        page.answered(number)
        facts = page.page.evaluate(FACTS)
        row = next(row for row in rows_of(server.state) if row["request_id"] == facts["request"])
        assert facts["defense"] == row["defense"] == defense
        expected = {"σ, the noise": served[defense]["sigma"], "error α": served[defense]["error_alpha"]}
        expected |= {"draws": row["draws"], "p": row["p_value"]}
        expected |= {"confidence threshold": served[defense]["confidence_threshold"]}
        for name, value in expected.items():
            assert (name in facts) == (value is not None), name
            assert value is None or float(facts[name]) == pytest.approx(value, rel=5e-3)
        assert ("radius (L2)" in facts) == (defense == "smoothing")
        assert float(facts["confidence"].removesuffix(" %")) == pytest.approx(100 * row["confidence"], abs=0.051)
        bars = page.page.evaluate(BARS)
        assert 1 < len(bars) <= 3
        for _, bar, share in bars:
            assert len(bar) == 20
            assert bar.count("█") == pytest.approx(float(share.removesuffix(" %")) / 5, abs=0.51)


def test_a_radius_is_shown_where_there_is_one_and_missed_only_of_smoothing(page: Console) -> None:
    def said(certificate: dict[str, float | None]) -> dict[str, str]:
        found = page.page.evaluate(
            f"import('/console/static/words.js').then(m => m.certified({json.dumps(certificate)}))"
        )
        return dict(found)

    assert said({"sigma": 0.1, "radius_l2": 0.123456, "p_value": 3.14159e-30, "error_alpha": 0.0125}) == {
        "σ, the noise": "0.1", "radius (L2)": "0.123", "p": "3.14e-30", "error α": "0.0125",
    }  # fmt: skip
    assert said({"sigma": 0.1, "radius_l2": None}) == {"σ, the noise": "0.1", "radius (L2)": "not certified"}
    assert said({"sigma": None, "radius_l2": None, "confidence_threshold": 0.5}) == {"confidence threshold": "0.5"}


def test_the_panels_are_those_of_the_fairness_page_and_renew_themselves(
    page: Console, server: Server, spoken: Spoken
) -> None:
    page.choose(speaker=spoken.speaker, defense="none")
    page.drop(spoken.path)
    page.answered(1)
    page.until("document.querySelectorAll('#panels .panel').length > 1")
    page.page.evaluate("document.querySelector('#panels details').open = true")
    page.page.evaluate("document.querySelector('#panels summary').focus()")
    shown = page.page.evaluate("document.querySelector('#panels').innerText")
    for number in (2, 3):
        page.drop(spoken.path)
        page.answered(number)
    page.until(f"document.querySelector('#panels').innerText !== {json.dumps(shown)}")
    assert page.page.evaluate("document.querySelector('#panels details').open")
    assert page.page.evaluate("document.activeElement.tagName") == "SUMMARY"
    time.sleep(1)  # all is released by now
    page.page.evaluate("document.querySelector('#refreshing').click()")
    asked = len(page.page.requests)
    page.page.evaluate("document.querySelector('#refreshing').click()")
    page.until("document.querySelectorAll('#panels .panel table').length > 2")
    time.sleep(1)
    assert len(page.page.requests) > asked
    mine = page.page.evaluate(PANELS)
    page.page.open(f"http://127.0.0.1:{server.port}/fairness?defense=none")
    assert mine == page.page.evaluate(PANELS)
    assert mine[0].startswith("By accent")


@pytest.mark.parametrize("width", [320, 400, 1200])
@pytest.mark.parametrize("is_dark", [False, True])
def test_nothing_is_wider_than_the_window_in_light_and_dark(
    page: Console, spoken: Spoken, width: int, is_dark: bool
) -> None:
    page.page.look(width=width, is_dark=is_dark)
    page.choose(speaker=spoken.speaker, defense="smoothing")
    page.drop(spoken.path)
    page.answered(1)
    page.page.evaluate("document.querySelector('#recording').classList.add('on')")
    assert page.page.evaluate("document.documentElement.scrollWidth") <= width
    over = (
        "[...document.querySelectorAll('.card, .card *')].filter(e => e.getBoundingClientRect().right > innerWidth + 1)"
    )
    assert page.page.evaluate(f"{over}.length") == 0
    colour = page.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, colour.removeprefix("rgb(").removesuffix(")").split(","))) < 200) == is_dark


def test_a_screen_reader_finds_names_and_is_told_of_decisions(page: Console) -> None:
    nodes = [n for n in page.page.ask("Accessibility.getFullAXTree")["nodes"] if not n.get("ignored")]
    named = [(n["role"]["value"], n.get("name", {}).get("value", "").strip()) for n in nodes]
    assert ("button", "Hold to talk") in [(role, name.replace("\xa0", "")) for role, name in named]
    for role, name in (("textbox", "Speaker"), ("combobox", "Defense"), ("checkbox", "Look again every 5 seconds")):
        assert (role, name) in named
    headings = [name for role, name in named if role == "heading"]
    assert headings[:4] == ["Speak to the gateway", "Say a command", "Decision", "Who, how, and files"]
    for role in ("button", "link", "textbox", "combobox", "checkbox", "heading", "region", "table"):
        assert all(name for found, name in named if found == role), role
    live = page.page.evaluate("[...document.querySelectorAll('[aria-live], [role=status]')].map(e => e.id)")
    assert live == ["status", "announcement"]
    assert not page.page.evaluate(
        "document.querySelector('#announcement').contains(document.querySelector('#decision'))"
    )


def test_what_moves_stands_still_for_who_asks_for_that(page: Console) -> None:
    page.page.evaluate("document.querySelector('#recording').classList.add('on')")
    animation = "getComputedStyle(document.querySelector('#recording')).animationName"
    assert page.page.evaluate(animation) == "pulse"
    page.page.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-reduced-motion", "value": "reduce"}])
    assert page.page.evaluate(animation) == "none"


def test_markup_that_is_not_the_gateways_and_what_lies_elsewhere_are_refused(page: Console) -> None:
    refused = page.page.evaluate(
        """['p', 'script'].map(name => {
             const made = document.createElement(name);
             try { made[name === 'p' ? 'innerHTML' : 'text'] = 'window.ran = 1'; } catch (error) { return error.name; }
             return 'taken';
           })"""
    )
    assert refused == ["TypeError", "TypeError"]
    tried = page.page.evaluate(
        """new Promise(done => {
             document.addEventListener('securitypolicyviolation', e => done(e.effectiveDirective), { once: true });
             new Image().src = 'http://127.0.0.1:9/';
             setTimeout(() => done('nothing'), 2000);
           })"""
    )
    assert tried == "img-src"
    page.page.evaluate("violations.length = 0")
    page.page.complaints.clear()
    page.page.requests[:] = [address for address in page.page.requests if ":9/" not in address]


ACCEPTED = {"decision": "accept", "reason": "ok", "command": "left", "valid_for_ms": 1500, "detail": "fine"}


@pytest.mark.parametrize(
    ("status", "change", "waited", "command"),
    [
        (200, {}, 20.0, "left"),
        (200, {}, 1499.0, "left"),
        (200, {}, 1500.0, None),
        (200, {"valid_for_ms": 0}, 20.0, None),
        (200, {"valid_for_ms": None}, 20.0, None),
        (200, {"valid_for_ms": "1500"}, 20.0, None),
        (200, {"command": None}, 20.0, None),
        (200, {"command": ""}, 20.0, None),
        (200, {"command": ["left"]}, 20.0, None),
        (200, {"command": "unknown"}, 20.0, None),
        (200, {"command": " "}, 20.0, None),
        (200, {"valid_for_ms": 10**9}, 59_999.0, "left"),
        (200, {"valid_for_ms": 10**9}, 60_000.0, None),
        (200, {"reason": "deadline"}, 20.0, None),
        (200, {"reason": None}, 20.0, None),
        (200, {"decision": "abstain"}, 20.0, None),
        (200, {"decision": "accepted"}, 20.0, None),
        (200, {"decision": "abstain", "reason": "a new one"}, 20.0, None),
        (201, {}, 20.0, None),
        (503, {}, 20.0, None),
        (0, {}, 20.0, None),
    ],
)
def test_only_a_fresh_acceptance_is_not_a_hold(
    page: Console, status: int, change: dict[str, object], waited: float, command: str | None
) -> None:
    verdict = judged(page, status, ACCEPTED | change, waited)
    assert verdict["command"] == command
    assert (verdict["validFor"] > 0) == (command is not None)
    assert verdict["why"]


@pytest.mark.parametrize("body", [None, "left", [], {}, 1, ["accept"]])
def test_what_can_t_be_understood_is_a_hold(page: Console, body: object) -> None:
    verdict = judged(page, 200, body, 1.0)
    assert (verdict["command"], verdict["why"]) == (None, "The answer can't be understood.")


def judged(page: Console, status: int, body: object, waited: float) -> dict[str, object]:
    came = json.dumps({"status": status, "body": body, "waited": waited})
    return dict(page.page.evaluate(f"import('/console/static/answer.js').then(m => m.judge({came}))"))


def test_each_reason_has_its_words(page: Console) -> None:
    words = page.page.evaluate("import('/console/static/words.js').then(m => m.REASONS)")
    assert set(words) == {reason.value for reason in Reason}
    assert len(set(words.values())) == len(words)


def test_a_recording_is_the_wav_that_its_samples_are(page: Console, tmp_path: Path) -> None:
    samples = np.random.default_rng(3).normal(0, 0.6, 4001).astype(np.float32)
    written = page.page.evaluate(
        f"""import('/console/static/wav.js').then(m =>
              [...new Uint8Array(m.wav(new Float32Array({samples.tolist()}), 44100))])"""
    )
    (tmp_path / "a.wav").write_bytes(bytes(written))
    info = soundfile.info(tmp_path / "a.wav")
    assert (info.format, info.subtype, info.channels, info.samplerate) == ("WAV", "PCM_16", 1, 44100)
    found, _ = soundfile.read(tmp_path / "a.wav", dtype="int16")
    assert np.abs(samples).max() > 1
    np.testing.assert_array_equal(found, np.floor(32767 * np.clip(samples.astype(float), -1, 1) + 0.5).astype(int))


def test_without_leave_there_is_no_microphone_and_words_say_so(server: Server, spoken: Spoken, tmp_path: Path) -> None:
    with console(tmp_path, spoken.path, is_allowed=False) as tab:
        tab.open(server.port).ready()
        tab.mouse("mousePressed")
        tab.until("document.querySelector('#status').textContent.includes('may not use the microphone')")
        tab.mouse("mouseReleased")
        assert (tab.tracks, tab.sent, tab.decided) == ([], 0, 0)
        assert tab.page.complaints == []
        tab.choose(defense="none")
        tab.drop(spoken.path)
        assert tab.answered(1).startswith(f"Accepted: {spoken.command}")
