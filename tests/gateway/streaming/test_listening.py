"""From bytes to utterances: the same samples give the same utterances, whatever pieces they come in."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.streaming.endpointing import Endpointing, Event, SpeechStarted, Utterance
from gateway.streaming.listening import Listener
from gateway.streaming.vad import EnergyDetector, SileroDetector, SpeechDetector
from recognizer.audio import AudioFormat, admit, decode_pcm16

RATE = 16_000
PAUSE = 0.8  # seconds


def pcm(samples: np.ndarray) -> bytes:
    """s16le of float [samples] or [samples, channels]."""
    return (samples * 32767).round().astype("<i2").tobytes()


def bursts(rate: int, channels: int = 1) -> bytes:
    """Three beeps in faint noise."""
    rng = np.random.default_rng(1)
    sound = rng.normal(0, 0.001, (3 * rate, channels))
    for second in range(3):
        beep = 0.3 * np.sin(2 * np.pi * 440 * np.arange(rate // 3) / rate)
        sound[second * rate + rate // 2 :][: len(beep)] += beep[:, None]
    return pcm(sound.clip(-1, 1))


def heard(listener: Listener, data: bytes, cuts: list[int]) -> list[Event]:
    """All events of data that comes in pieces cut at these places."""
    edges = [0, *sorted(cuts), len(data)]
    events = [e for a, b in itertools.pairwise(edges) for e in listener.feed(data[a:b])]
    return events + listener.finish()


def spoken(words: list[np.ndarray]) -> tuple[np.ndarray, list[tuple[float, float]]]:
    """Words with silence around each, and where each lies, seconds."""
    silence = np.zeros(round(PAUSE * RATE), np.float32)
    parts, spans, at = [silence], [], PAUSE
    for word in words:
        parts += [word, silence]
        spans.append((at, at + len(word) / RATE))
        at += len(word) / RATE + PAUSE
    return np.concatenate(parts), spans


def same(some: list[Event], others: list[Event]) -> None:
    assert [type(e) for e in some] == [type(e) for e in others]
    for a, b in zip(some, others, strict=True):
        if isinstance(a, Utterance) and isinstance(b, Utterance):
            np.testing.assert_array_equal(a.waveform, b.waveform)
            assert (a.first, a.start, a.end, a.ended_at) == (b.first, b.start, b.end, b.ended_at)
        else:
            assert a == b


@settings(max_examples=25)
@given(st.data(), st.sampled_from([8000, 11_025, 16_000, 44_100, 48_000]), st.integers(1, 2))
def test_the_pieces_that_the_bytes_come_in_change_nothing(data: st.DataObject, rate: int, channels: int) -> None:
    stream = bursts(rate, channels)
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=40))
    make = lambda: Listener(EnergyDetector(), sample_rate=rate, channels=channels)  # noqa: E731
    whole = heard(make(), stream, [])
    assert sum(isinstance(e, Utterance) for e in whole) == 3
    same(heard(make(), stream, cuts), whole)


@pytest.mark.parametrize(("rate", "channels"), [(8000, 1), (16_000, 2), (44_100, 1), (48_000, 2)])
def test_an_utterance_is_to_the_recogniser_what_the_same_samples_uploaded_are(rate: int, channels: int) -> None:
    stream = bursts(rate, channels)
    frames = np.frombuffer(stream, "<i2").reshape(-1, channels)
    found = list(heard(Listener(EnergyDetector(), sample_rate=rate, channels=channels), stream, []))
    for u in (e for e in found if isinstance(e, Utterance)):
        uploaded = frames[u.first : u.first + len(u.waveform)].astype(">i2").tobytes()
        other = decode_pcm16(uploaded, AudioFormat(), sample_rate=rate, channels=channels)
        clip = admit(u.waveform, AudioFormat(), sample_rate=rate)
        np.testing.assert_array_equal(clip.waveform, other.waveform)
        assert (clip.seconds, clip.sample_rate) == (other.seconds, other.sample_rate)


@pytest.mark.parametrize("rate", [8000, 22_050, 44_100, 48_000])
def test_resampling_puts_an_utterance_where_it_is_at_the_detectors_own_rate(rate: int) -> None:
    events = heard(Listener(EnergyDetector(), sample_rate=rate), bursts(rate), [])
    for second, u in enumerate(e for e in events if isinstance(e, Utterance)):
        assert u.start == pytest.approx(second + 0.5, abs=0.04)
        assert u.end == pytest.approx(second + 0.5 + 1 / 3, abs=0.07)


@pytest.mark.parametrize("detector", [SileroDetector, EnergyDetector])
@pytest.mark.parametrize("rate", [16_000, 48_000, 8000])
def test_every_spoken_word_is_found_once_and_whole(
    detector: type[SpeechDetector], rate: int, words: list[np.ndarray]
) -> None:
    samples, spans = spoken(words)
    data = pcm(soxr.resample(samples, RATE, rate).clip(-1, 1) if rate != RATE else samples)
    listener = Listener(detector(), sample_rate=rate)
    events = heard(listener, data, list(range(0, len(data), 4001)))
    found = [e for e in events if isinstance(e, Utterance)]
    assert len(found) == len(spans) == 27
    assert sum(isinstance(e, SpeechStarted) for e in events) == 27
    for u, (start, end) in zip(found, spans, strict=True):
        assert not u.is_cut
        assert start - 0.1 < u.start < u.end < end + 0.25
        power = np.square(samples[round(start * RATE) : round(end * RATE)])
        lost = np.arange(len(power)) / RATE + start
        inside = (lost >= u.first / rate) & (lost < (u.first + len(u.waveform)) / rate)
        assert power[inside].sum() > 0.97 * power.sum()
    assert listener.seconds == pytest.approx(len(data) / 2 / rate)


@pytest.mark.parametrize("amplitude", [0.0, 0.003, 0.03, 0.3])
def test_neither_silence_nor_white_noise_is_an_utterance(amplitude: float) -> None:
    noise = np.random.default_rng(5).normal(0, amplitude, 20 * RATE).clip(-1, 1)
    assert heard(Listener(SileroDetector(), sample_rate=RATE), pcm(noise), []) == []


def test_after_a_finish_the_stream_goes_on(words: list[np.ndarray]) -> None:
    listener = Listener(SileroDetector(), sample_rate=RATE)
    quiet = pcm(np.zeros(RATE // 2))
    for i, word in enumerate(words[:3]):
        events = listener.feed(quiet + pcm(word)) + listener.finish()
        (u,) = (e for e in events if isinstance(e, Utterance))
        assert u.start > 0.5 * (i + 1)  # in seconds of the stream, not of the button
        assert listener.finish() == []


def test_half_a_sample_waits_for_its_other_half_over_a_finish() -> None:
    listener, other = (Listener(EnergyDetector(), sample_rate=RATE) for _ in range(2))
    data = bursts(RATE)
    first = listener.feed(data[:4801]) + listener.finish() + listener.feed(data[4801:]) + listener.finish()
    second = other.feed(data[:4800]) + other.finish() + other.feed(data[4800:]) + other.finish()
    same(first, second)
    assert sum(isinstance(e, Utterance) for e in first) == 3


def test_settings_reach_the_endpointer() -> None:
    cut = Listener(EnergyDetector(), sample_rate=RATE, endpointing=Endpointing(max_utterance_ms=450))
    found = [e for e in heard(cut, bursts(RATE), []) if isinstance(e, Utterance)]
    assert [u.is_cut for u in found] == [True] * 3
    assert {len(u.waveform) for u in found} == {450 * RATE // 1000}
