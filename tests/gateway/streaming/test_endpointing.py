"""Utterances against Silero's own iterator, and what holds for any probabilities."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from silero_vad import VADIterator

from gateway.streaming.endpointing import Endpointer, Endpointing, Event, SpeechStarted, Utterance

RATE, BLOCK = 16_000, 512
BLOCK_MS = 32

probabilities = st.lists(
    st.tuples(st.sampled_from([0.0, 0.2, 0.34, 0.36, 0.49, 0.5, 0.9, 1.0]), st.integers(1, 25)), max_size=40
).map(lambda runs: [p for p, count in runs for _ in range(count)])
"""Runs of one value each, around the thresholds 0.35 and 0.5."""

endpointings = st.builds(
    lambda speech, silence, before, after, most: Endpointing(
        min_speech_ms=speech,
        min_silence_ms=silence + after,
        pre_roll_ms=before,
        post_roll_ms=after,
        max_utterance_ms=speech + before + after + most,
    ),
    *(st.integers(low, high) for low, high in ((0, 300), (1, 500), (0, 400), (0, 200), (1, 3000))),
)


class Told:
    """A model that says what it is told to; Silero's iterator asks for nothing more."""

    def __init__(self, told: list[float]) -> None:
        self.told = iter(told)

    def __call__(self, _: torch.Tensor, __: int) -> torch.Tensor:
        return torch.tensor(next(self.told))

    def reset_states(self) -> None:
        pass


def run(told: list[float], chosen: Endpointing, rate: int = RATE) -> tuple[list[Event], np.ndarray]:
    """All events, and the stream, whose samples are numbered so that each can be told from the others."""
    block = BLOCK * rate // RATE
    stream = np.arange(len(told) * block, dtype=np.float32)
    endpointer = Endpointer(rate, chosen)
    events = [e for p, part in zip(told, stream.reshape(-1, block), strict=True) for e in endpointer.feed(part, p)]
    return events + endpointer.finish(), stream


def utterances(events: list[Event]) -> list[Utterance]:
    return [e for e in events if isinstance(e, Utterance)]


@settings(max_examples=300)
@given(probabilities, st.integers(1, 20))
def test_speech_begins_and_ends_where_sileros_own_iterator_says(told: list[float], silent_blocks: int) -> None:
    # The iterator counts the pause from the end of its first block, and never cuts.
    theirs = VADIterator(Told(told), min_silence_duration_ms=(silent_blocks - 1) * BLOCK_MS, speech_pad_ms=0)
    found = [theirs(torch.zeros(BLOCK)) for _ in told]
    starts = [f["start"] for f in found if f and "start" in f]
    ends = [f["end"] for f in found if f and "end" in f]
    chosen = Endpointing(
        min_speech_ms=0, min_silence_ms=silent_blocks * BLOCK_MS, post_roll_ms=0, max_utterance_ms=10**6
    )
    ours = utterances(run(told, chosen)[0])
    assert [u.speech_start for u in ours] == starts
    assert [u.speech_end for u in ours][: len(ends)] == ends
    assert len(starts) - len(ends) in (0, 1)  # speech at the very end is ended by finish()


@settings(max_examples=300)
@given(probabilities, endpointings, st.sampled_from([8000, 16_000, 48_000]))
def test_every_utterance_is_whole_and_no_sample_is_in_two(told: list[float], chosen: Endpointing, rate: int) -> None:
    events, stream = run(told, chosen, rate)
    found = utterances(events)
    for u in found:
        np.testing.assert_array_equal(u.waveform, stream[u.first : u.first + len(u.waveform)])
        assert u.speech_start - chosen.pre_roll_ms * rate // 1000 <= u.first <= u.speech_start
        assert u.first + len(u.waveform) <= u.speech_end + chosen.post_roll_ms * rate // 1000
        assert u.speech_end - u.speech_start >= chosen.min_speech_ms * rate // 1000
        assert u.speech_end <= u.ended_at <= len(stream)
        if u.is_cut:
            assert len(u.waveform) == chosen.max_utterance_ms * rate // 1000
        elif u.ended_at < len(stream):
            assert u.endpoint_ms >= chosen.min_silence_ms - 1000 / rate
    for before, after in pairwise(found):
        assert before.first + len(before.waveform) <= after.first


@settings(max_examples=300)
@given(probabilities, endpointings)
def test_each_utterance_is_announced_once_and_before_it_ends(told: list[float], chosen: Endpointing) -> None:
    events, _ = run(told, chosen)
    assert len(events) % 2 == 0
    for started, ended in zip(events[::2], events[1::2], strict=True):
        assert isinstance(started, SpeechStarted)
        assert isinstance(ended, Utterance)
        assert started.at == ended.start


@settings(max_examples=300)
@given(probabilities, endpointings)
def test_speech_of_the_least_length_and_no_other_is_found(told: list[float], chosen: Endpointing) -> None:
    """Runs of speech between pauses, by a loop over the whole stream rather than block by block."""
    loud = [i for i, p in enumerate(told) if p >= 0.5]
    found = utterances(run(told, replace(chosen, max_utterance_ms=10**6))[0])
    for u in found:
        assert u.speech_start // BLOCK in loud
        inside = told[u.speech_start // BLOCK : u.speech_end // BLOCK]
        silent = chosen.min_silence_ms // BLOCK_MS + 1
        assert not any(all(p < 0.35 for p in inside[i : i + silent]) for i in range(len(inside) - silent + 1))
    covered = {i for u in found for i in range(u.speech_start // BLOCK, u.speech_end // BLOCK)}
    needed = chosen.min_speech_ms // BLOCK_MS + 1
    for i in range(len(told) - needed + 1):
        if all(p >= 0.5 for p in told[i : i + needed]):
            assert covered.issuperset(range(i, i + needed))


def test_a_click_is_no_utterance_and_a_word_is_one() -> None:
    chosen = Endpointing(min_speech_ms=100)
    assert run([0.0] * 20 + [1.0] * 3 + [0.0] * 40, chosen)[0] == []
    started, word = run([0.0] * 20 + [1.0] * 4 + [0.0] * 40, chosen)[0]
    assert isinstance(started, SpeechStarted)
    assert isinstance(word, Utterance)
    assert (word.start, word.end, word.is_cut) == (0.64, 0.768, False)
    assert word.endpoint_ms == 320  # ten blocks: the first 300 ms and what is left of a block
    assert len(word.waveform) / RATE == pytest.approx(0.2 + 0.128 + 0.1)


def test_what_outlasts_the_maximum_is_cut_once_and_its_rest_is_no_utterance() -> None:
    chosen = Endpointing(max_utterance_ms=1000)
    events, _ = run([0.0] * 10 + [1.0] * 100 + [0.0] * 20 + [1.0] * 10 + [0.0] * 20, chosen)
    cut, word = utterances(events)
    assert cut.is_cut
    assert len(cut.waveform) == RATE
    assert not word.is_cut
    assert word.speech_start == 130 * BLOCK


def test_speech_that_pauses_in_time_is_not_cut_by_the_pause() -> None:
    chosen = Endpointing(max_utterance_ms=1000, pre_roll_ms=0)
    (word,) = utterances(run([1.0] * 31 + [0.0] * 40, chosen)[0])
    assert not word.is_cut


def test_memory_is_bounded_whatever_is_heard() -> None:
    chosen = Endpointing(max_utterance_ms=2000)
    for pattern in ([0.0], [1.0], [0.4], [1.0, 0.0, 0.4, 0.4], [1.0] * 4 + [0.0] + [0.4] * 500):
        endpointer = Endpointer(RATE, chosen)
        most = 0
        for i in range(3000):
            endpointer.feed(np.zeros(BLOCK, np.float32), pattern[i % len(pattern)])
            most = max(most, sum(len(part) for part in endpointer._kept))
        assert most <= (2000 + 300 + 3 * BLOCK_MS) * RATE // 1000


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"threshold": 1.0}, "must lie in"),
        ({"threshold": 0.1}, "must lie in"),
        ({"hysteresis": -0.1}, "must lie in"),
        ({"pre_roll_ms": -1}, "at least 0"),
        ({"min_silence_ms": 50}, "not below post_roll_ms"),
        ({"max_utterance_ms": 400}, "shortest utterance, 400 ms"),
    ],
)
def test_settings_that_mean_nothing_are_refused(wrong: dict[str, float], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Endpointing(**wrong)  # type: ignore[arg-type]
