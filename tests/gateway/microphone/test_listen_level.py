"""Levels against closed forms, and when samples came."""

from __future__ import annotations

import numpy as np
import pytest
from said import RATE, pcm

from gateway.microphone.arrivals import Arrivals
from gateway.microphone.level import FLOOR, level_of
from gateway.microphone.sources import Block
from gateway.microphone.views import loudest, meter


@pytest.mark.parametrize("amplitude", [0.01, 0.1, 0.5])
def test_a_sine_has_its_amplitude_as_peak_and_3_decibels_less_as_loudness(amplitude: float) -> None:
    level = level_of(pcm(amplitude * np.sin(2 * np.pi * 1000 * np.arange(RATE) / RATE)))
    assert level.peak == pytest.approx(20 * np.log10(amplitude), abs=0.05)
    assert level.rms == pytest.approx(20 * np.log10(amplitude / np.sqrt(2)), abs=0.05)
    assert not level.is_clipped


def test_full_scale_is_said_and_silence_has_a_floor() -> None:
    assert level_of(pcm(np.array([0.0, 1.0]))).is_clipped
    assert level_of(pcm(np.array([0.0, -1.0]))).is_clipped
    assert level_of(bytes(100)).peak == level_of(b"").rms == FLOOR
    assert level_of(pcm(np.array([0.5])) + b"\x7f").peak == pytest.approx(20 * np.log10(0.5), abs=0.01)


def test_a_meter_is_as_wide_whatever_is_heard() -> None:
    meters = [meter(level_of(pcm(np.full(100, amplitude)))) for amplitude in (0.0, 1e-4, 0.03, 0.5, 1.0)]
    assert len({len(text) for text in meters}) == 1
    assert [text.count("#") for text in meters] == sorted(text.count("#") for text in meters)
    assert "silence" in meters[0]
    assert "CLIPPED" in meters[-1]


def test_of_several_blocks_the_loudest_is_shown() -> None:
    quiet, loud = level_of(pcm(np.full(9, 0.01))), level_of(pcm(np.full(9, 0.3)))
    assert loudest([quiet, loud, quiet]) == loud


def test_a_sample_came_with_the_block_that_has_it() -> None:
    arrivals = Arrivals(channels=2)
    for number in range(3):
        arrivals.add(Block(bytes(4 * 10), heard_at=100.0 + number))  # 10 samples of both channels
    assert [arrivals.at(position) for position in (1, 10, 11, 20, 21, 30)] == [100, 100, 101, 101, 102, 102]
