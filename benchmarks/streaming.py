"""What a stream costs and how fast it answers: `python -m benchmarks.streaming BUNDLE MANIFEST`.

BUNDLE and MANIFEST as `make real-speech` leaves them. Test clips with pauses between are listened to as fast as they
can be (CPU), and sent over a socket as they are spoken, in frames of 20 ms (latency): from sending the frame with the
last of the silence that ends an utterance, to the decision.
"""

from __future__ import annotations

import argparse
import json
import socket
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import soxr
import uvicorn
from prometheus_client import CollectorRegistry
from websockets.sync.client import connect

from benchmarks.goals import finish
from gateway.app import create_app
from gateway.records import migrate, records_url
from gateway.settings import Settings
from gateway.streaming.limits import StreamLimits
from gateway.streaming.listening import Listener
from gateway.streaming.streams import Streams
from gateway.streaming.vad import EnergyDetector, SileroDetector, SpeechDetector
from gateway.worker import open_engine, open_gateway
from monitoring.counters import Counters
from recognizer.audio import read_clip
from recognizer.bundle import load_bundle
from recognizer.manifest import load_manifest

RATE = 16_000
FRAME = 0.02  # seconds
PAUSE = 0.7


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--clips", type=int, default=20)
    arguments = parser.parse_args()
    speech = spoken(arguments.bundle, arguments.manifest, arguments.clips)
    cpu = {
        f"{detector.__name__}, {rate} Hz": cpu_ms(detector, speech, rate)
        for detector in (SileroDetector, EnergyDetector)
        for rate in (RATE, 48_000)
    }
    for name, cost in cpu.items():
        print(f"{name}: {cost:.2f} ms of CPU a second of audio")
    waits, utterances = latencies(arguments.bundle, speech)
    median, p90 = np.percentile(waits, [50, 90])
    print(
        f"{arguments.clips} clips, {utterances} utterances, {len(waits)} decisions; after the silence waited: "
        f"median {median:.1f} ms, 90th percentile {p90:.1f} ms, slowest {max(waits):.1f} ms"
    )
    results: dict[str, Any] = {"cpu_ms_a_second": cpu, "clips": arguments.clips, "utterances": utterances}
    finish("streaming", {**results, "latency_ms": {"p50": median, "p90": p90, "max": max(waits)}}, [])


def spoken(bundle: Path, manifest: Path, clips: int) -> np.ndarray:
    """Test clips of many speakers with pauses around them, float32 [samples] at `RATE`."""
    audio = load_bundle(bundle).audio
    table = load_manifest(manifest).split("test").table
    paths = table.sample(clips, random_state=0)["path"]
    pause = np.random.default_rng(0).normal(0, 1e-4, round(PAUSE * RATE)).astype(np.float32)
    parts = [part for path in paths for part in (read_clip(Path(path), audio).waveform, pause)]
    return np.concatenate([pause, *parts])


def pcm(samples: np.ndarray) -> bytes:
    return (samples.clip(-1, 1) * 32767).round().astype("<i2").tobytes()


def cpu_ms(detector: type[SpeechDetector], speech: np.ndarray, rate: int) -> float:
    """Milliseconds of CPU a second of audio that comes in frames of 20 ms; the best of three."""
    data = pcm(soxr.resample(speech, RATE, rate) if rate != RATE else speech)
    size = 2 * round(FRAME * rate)
    costs = []
    for _ in range(3):
        listener = Listener(detector(), sample_rate=rate)
        begun = time.process_time()
        for i in range(0, len(data), size):
            listener.feed(data[i : i + size])
        costs.append(1000 * (time.process_time() - begun) / listener.seconds)
    return min(costs)


def latencies(bundle: Path, speech: np.ndarray) -> tuple[list[float], int]:
    """Milliseconds from the sending of what ended each utterance to its decision; and how many there were."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(bundle=bundle, state=Path(folder), device="cpu")
        migrate(records_url(settings))
        registry = CollectorRegistry()
        engine = open_engine(settings, Counters(registry), worker=1)
        gateway = open_gateway(settings, engine)
        streams = Streams(StreamLimits.of(settings))
        app = create_app()
        app.state.gateway, app.state.registry, app.state.streams = gateway, registry, streams
        listening = socket.create_server(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_config=None))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            return speak(f"ws://127.0.0.1:{listening.getsockname()[1]}/v1/stream", pcm(speech))
        finally:
            server.should_exit = True
            thread.join()
            streams.close()
            gateway.close()


def speak(url: str, data: bytes) -> tuple[list[float], int]:
    sent: list[float] = []
    answers: list[tuple[float, dict[str, Any]]] = []
    with connect(url, compression=None) as line:
        line.send(json.dumps({"type": "start", "rate": RATE, "width": 2, "channels": 1}))
        line.recv()

        def listen() -> None:
            while not answers or answers[-1][1]["type"] != "stopped":
                message = line.recv()
                answers.append((time.perf_counter(), json.loads(message)))

        ear = threading.Thread(target=listen)
        ear.start()
        size, begun = 2 * round(FRAME * RATE), time.perf_counter()
        for number, i in enumerate(range(0, len(data), size)):
            time.sleep(max(0.0, begun + number * FRAME - time.perf_counter()))
            sent.append(time.perf_counter())
            line.send(data[i : i + size])
        line.send(json.dumps({"type": "stop"}))
        ear.join()
    waits = []
    for at, answer in answers:
        if answer["type"] == "decision":
            where = answer["utterance"]
            ended = where["end"] + where["endpoint_ms"] / 1000
            waits.append(1000 * (at - sent[min(int(np.ceil(ended / FRAME)) - 1, len(sent) - 1)]))
    return waits, answers[-1][1]["utterances"]


if __name__ == "__main__":
    main()
