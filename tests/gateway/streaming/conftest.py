"""Streams to call, and what to say in them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from caller import Serve
from robot import Door

from gateway.streaming.limits import StreamLimits
from gateway.streaming.streams import Streams
from gateway.streaming.vad import EnergyDetector, SpeechDetector
from recognizer.manifest import load_manifest
from training.corpora.synthetic import synthesize

DIGITS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


@pytest.fixture(scope="session")
def words(tmp_path_factory: pytest.TempPathFactory) -> list[np.ndarray]:
    """Nine digits by three speakers: float32 [samples] each, 16 kHz, with background noise of their own."""
    pytest.importorskip("espeakng_loader")
    table = load_manifest(synthesize(tmp_path_factory.mktemp("words"), count=3, seed=3, takes=1)).table
    paths = [Path(p) for p in table[table["command"].isin(DIGITS)]["path"]]
    assert len(paths) == 27
    return [soundfile.read(path, dtype="float32")[0] for path in paths]


@pytest.fixture
def open_streams() -> Iterator[Callable[..., Streams]]:
    """Opens the streams of a worker, heard by loudness unless said otherwise; closes them afterwards."""
    opened: list[Streams] = []

    def build(limits: StreamLimits | None = None, detector: type[SpeechDetector] = EnergyDetector) -> Streams:
        opened.append(Streams(limits or StreamLimits(), detector))
        return opened[-1]

    yield build
    for streams in opened:
        assert streams.open == 0
        streams.close()


@pytest.fixture
def serve(open_streams: Callable[..., Streams], door: Door) -> Serve:
    """A gateway's streams, as the route serves them."""
    streams = open_streams()
    return lambda websocket: streams.serve(websocket, door.gateway)
