"""Push to talk: an utterance is what was said between two presses."""

from __future__ import annotations

import threading

import numpy as np

from gateway.microphone.sources import WIDTH
from gateway.streaming.endpointing import Event, SpeechStarted, Utterance

MAX_SECONDS = 4.0
"""As of an utterance that a detector finds."""


class Button:
    """Cuts one stream at presses; nothing that is said before the first of two, or after the second, is in anything.

    `press` may be called by any thread; it counts from the next block on, 10 ms at most.
    """

    def __init__(self, sample_rate: int, channels: int, *, max_seconds: float = MAX_SECONDS) -> None:
        self._rate, self._channels = sample_rate, channels
        self._max = round(max_seconds * sample_rate)
        self._presses = threading.Semaphore(0)
        self._is_down = self._is_cut = False
        self._kept: list[bytes] = []
        self._begun = self._heard = 0  # samples a channel

    def press(self) -> None:
        """Begin an utterance, or end it."""
        self._presses.release()

    def feed(self, data: bytes) -> list[Event]:
        """What was begun or ended before this block of whole samples."""
        events: list[Event] = []
        while self._presses.acquire(blocking=False):
            events += self._end() if self._is_down else self._begin()
        self._heard += len(data) // (WIDTH * self._channels)
        if self._is_down:
            self._kept.append(data)
            if self._heard - self._begun > self._max:
                self._is_cut = True
                events += self._end()
        return events

    def finish(self) -> list[Event]:
        """End what is under way."""
        return self._end() if self._is_down else []

    def _begin(self) -> list[Event]:
        self._is_down, self._is_cut, self._begun = True, False, self._heard
        self._kept.clear()
        return [SpeechStarted(self._begun / self._rate)]

    def _end(self) -> list[Event]:
        self._is_down = False
        frames = np.frombuffer(b"".join(self._kept), dtype="<i2").astype(np.float32).reshape(-1, self._channels)
        waveform = (frames / 32768.0).mean(axis=1)[: self._max]
        self._kept.clear()
        end = self._heard
        return [Utterance(waveform, self._rate, self._begun, self._begun, end, end, self._is_cut)]
