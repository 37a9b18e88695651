"""Samples as they come, in pieces of any length, to utterances."""

from __future__ import annotations

from collections import deque

import numpy as np
import soxr

from gateway.streaming.endpointing import Endpointer, Endpointing, Event
from gateway.streaming.silero import BLOCK
from gateway.streaming.vad import RATE, SpeechDetector
from recognizer.audio import Waveform

WIDTH = 2  # bytes a sample
_QUALITY = "LQ"  # for the detector only; utterances keep the samples that came


class Listener:
    """One stream of 16-bit little-endian samples.

    Samples are taken in blocks of 32 ms whatever pieces they come in, so that the same samples always give the same
    events. The detector hears them resampled; an utterance's waveform is what came, mixed down, so that it meets the
    recogniser's gate as an uploaded clip does.
    """

    def __init__(
        self,
        detector: SpeechDetector,
        *,
        sample_rate: int,
        channels: int = 1,
        endpointing: Endpointing | None = None,
    ) -> None:
        """
        Args:
            detector: this stream's own.
            sample_rate: Hertz, `recognizer.audio.MIN_RATE` to `MAX_RATE`.
            channels: 1 or 2, interleaved.
        """
        self._detector = detector
        self._channels = channels
        self._endpointer = Endpointer(sample_rate, endpointing or Endpointing())
        self._bytes = b""
        self._waiting: Waveform = np.empty(0, np.float32)
        self._heard_at_16k: Waveform = np.empty(0, np.float32)
        self._begin()

    @property
    def seconds(self) -> float:
        """Of the stream, listened to so far."""
        return self._endpointer.heard / self._endpointer.sample_rate

    def feed(self, data: bytes) -> list[Event]:
        """What these bytes begin or end; they may break off within a sample."""
        waveform = self._samples(data)
        # resampled as they come, not by blocks: the resampler is behind, and would be a block more
        self._heard_at_16k = np.concatenate((self._heard_at_16k, self._resampled(waveform, is_last=False)))
        self._waiting = np.concatenate((self._waiting, waveform))
        while len(self._waiting) >= (size := self._block_size()):
            block, self._waiting = self._waiting[:size], self._waiting[size:]
            self._blocks.append(block)
            self._taken += 1
        return self._detect()

    def finish(self) -> list[Event]:
        """End what is under way, up to the last whole sample that came; more may follow."""
        if len(self._waiting):
            self._blocks.append(self._waiting)
        tail = self._resampled(self._waiting[:0], is_last=True)
        heard = np.concatenate((self._heard_at_16k, tail))[: len(self._blocks) * BLOCK]
        self._heard_at_16k = np.pad(heard, (0, len(self._blocks) * BLOCK - len(heard)))
        events = self._detect() + self._endpointer.finish()
        self._begin()
        return events

    def _begin(self) -> None:
        rate = self._endpointer.sample_rate
        self._detector.reset()
        self._resampler = (
            None if rate == RATE else soxr.ResampleStream(rate, RATE, 1, dtype="float32", quality=_QUALITY)
        )
        self._taken = 0  # blocks
        self._waiting = np.empty(0, np.float32)
        self._blocks: deque[Waveform] = deque()  # as they came; the resampler is a few blocks behind
        self._heard_at_16k = np.empty(0, np.float32)

    def _samples(self, data: bytes) -> Waveform:
        """Mono, by the arithmetic of `recognizer.audio.decode_pcm16`; half a sample waits for its other half."""
        data = self._bytes + data
        whole = len(data) - len(data) % (WIDTH * self._channels)
        self._bytes = data[whole:]
        frames = np.frombuffer(data[:whole], dtype="<i2").astype(np.float32).reshape(-1, self._channels) / 32768.0
        mono: Waveform = frames.mean(axis=1)
        return mono

    def _block_size(self) -> int:
        """Samples of the next block: those that 512 at 16 kHz stand for, rounded so that no drift adds up."""
        rate = self._endpointer.sample_rate
        return (self._taken + 1) * BLOCK * rate // RATE - self._taken * BLOCK * rate // RATE

    def _resampled(self, waveform: Waveform, *, is_last: bool) -> Waveform:
        """The same samples in all, whatever pieces they come in."""
        if self._resampler is None:
            return waveform
        resampled: Waveform = self._resampler.resample_chunk(waveform, last=is_last)
        return resampled

    def _detect(self) -> list[Event]:
        events: list[Event] = []
        while self._blocks and len(self._heard_at_16k) >= BLOCK:
            heard, self._heard_at_16k = self._heard_at_16k[:BLOCK], self._heard_at_16k[BLOCK:]
            events += self._endpointer.feed(self._blocks.popleft(), self._detector.probability(heard))
        return events
