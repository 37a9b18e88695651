"""Speech detectors: blocks of a stream in, the probability that each holds speech out."""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np

from gateway.streaming.silero import BLOCK, CONTEXT, State, load_network
from recognizer.audio import Waveform

RATE = 16_000  # Hz, of what a detector is fed
BLOCK_SECONDS = BLOCK / RATE

_QUIETEST = -60.0  # dBFS; what is below is no background but no sound at all
_MARGIN = 9.0  # decibels above the background at which speech is as likely as not
_SLOPE = 1.5  # decibels within which that turns
_RISE = 3.0  # decibels a second by which the background may become louder


class SpeechDetector(Protocol):
    """Hears one stream, block after block; a stream has a detector of its own."""

    def probability(self, block: Waveform) -> float:
        """That speech is in this block, given those before it.

        Args:
            block: float32 [BLOCK] at `RATE`, raw amplitude in [-1, 1].
        """
        ...

    def reset(self) -> None:
        """Forget what was heard."""
        ...


class SileroDetector:
    """The Silero network, which knows speech from other sounds. Its weights are shared, its state is a stream's own.

    Raises:
        DetectorUnavailable: the wheel `silero-vad` can't be used.
    """

    _state: State
    _context: Waveform

    def __init__(self) -> None:
        self._network = load_network()
        self.reset()

    def probability(self, block: Waveform) -> float:
        _check(block)
        probability, self._state = self._network.step(np.concatenate((self._context, block)), self._state)
        self._context = block[-CONTEXT:]
        return probability

    def reset(self) -> None:
        self._state = State.empty()
        self._context = np.zeros(CONTEXT, np.float32)


class EnergyDetector:
    """Takes for speech what is louder than the background, of which it knows nothing but its loudness.

    The background is the first block's level, follows downwards at once and upwards by `_RISE`. A door that slams is
    speech to it; it is for machines and tests where the network is too dear.
    """

    def __init__(self) -> None:
        self._background: float | None = None

    def probability(self, block: Waveform) -> float:
        _check(block)
        power = float(np.mean(np.square(block, dtype=np.float64)))
        level = max(10 * math.log10(power), _QUIETEST) if power > 0 else _QUIETEST
        if self._background is None:
            self._background = level
        self._background = min(level, self._background + _RISE * BLOCK_SECONDS)
        return 1 / (1 + math.exp((_MARGIN - level + self._background) / _SLOPE))

    def reset(self) -> None:
        self._background = None


def _check(block: Waveform) -> None:
    if block.shape != (BLOCK,):
        raise ValueError(f"the block has the shape {block.shape}; ({BLOCK},) is accepted, at {RATE:,} Hz")
