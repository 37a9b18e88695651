"""How loud a block is."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from gateway.microphone.sources import WIDTH
from recognizer.audio import FULL_SCALE, Waveform

FLOOR = -90.0
"""dBFS; what is below is silence to 16 bits."""


@dataclass(frozen=True)
class Level:
    peak: float
    """dBFS"""
    rms: float
    """dBFS"""
    is_clipped: bool
    """A sample is at full scale."""


SILENT = Level(FLOOR, FLOOR, is_clipped=False)


def decibels(amplitude: float) -> float:
    """20 log10(amplitude), at least `FLOOR`."""
    return max(20 * math.log10(amplitude), FLOOR) if amplitude > 0 else FLOOR


def rms(waveform: Waveform) -> float:
    """Root of the mean square of float32 [samples], raw amplitude; 0 where there are none."""
    return math.sqrt(float(np.mean(np.square(waveform, dtype=np.float64)))) if len(waveform) else 0.0


def level_of(data: bytes) -> Level:
    """Of signed 16-bit little-endian samples, all channels together."""
    samples = np.frombuffer(data[: len(data) - len(data) % WIDTH], dtype="<i2").astype(np.float32) / np.float32(32768)
    if not len(samples):
        return SILENT
    peak = float(np.abs(samples).max())
    return Level(decibels(peak), decibels(rms(samples)), peak >= FULL_SCALE)
