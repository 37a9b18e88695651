"""What the gateway's tests send and read: clips as bytes, requests without a server, and the database with sqlite3."""

from __future__ import annotations

import asyncio
import io
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import soundfile
from fastapi import FastAPI
from numpy.typing import NDArray
from prometheus_client.parser import text_string_to_metric_families

from gateway.deciding.engine import Engine
from gateway.gateway import Gateway
from gateway.records import Records
from recognizer.recognizer import Recognizer

RATE = 16_000
RECORDS_FILE = "records.sqlite3"

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def tone(seconds: float = 0.5, rate: int = RATE, amplitude: float = 0.3) -> NDArray[np.float64]:
    """A sine of 440 Hz, [samples]."""
    return amplitude * np.sin(2 * np.pi * 440 * np.arange(round(seconds * rate)) / rate)


def encoded(samples: NDArray[Any], rate: int = RATE, kind: str = "WAV", subtype: str = "PCM_16") -> bytes:
    """Samples as a file's bytes."""
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=kind, subtype=subtype)
    return file.getvalue()


def lying_flac() -> bytes:
    """A FLAC of half a second whose header claims 2^36 - 1 samples: 256 GiB as float32."""
    data = bytearray(encoded(tone(), kind="FLAC"))
    word = int.from_bytes(data[18:26], "big")  # 20 bits rate, 3 channels, 5 depth, 36 samples
    data[18:26] = (word | (2**36 - 1)).to_bytes(8, "big")
    return bytes(data)


def ask(app: Any, method: str, path: str, **options: Any) -> httpx.Response:
    """One request to an ASGI application; a fault in it is answered, not raised, as a server would."""

    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
            return await client.request(method, path, **options)

    return asyncio.run(send())


def samples_of(text: str) -> Samples:
    """(name, labels) -> value of everything in a scrape, as Prometheus' own parser reads it."""
    families = text_string_to_metric_families(text)
    return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}


def total(samples: Samples, name: str, **labels: str) -> float:
    """The sum of a metric's series that have these labels."""
    wanted = set(labels.items())
    return sum(value for (found, have), value in samples.items() if found == name and wanted <= have)


def rows_of(state: Path) -> list[dict[str, Any]]:
    """Every stored decision, read without the gateway's code."""
    connection = sqlite3.connect(state / RECORDS_FILE)
    connection.row_factory = sqlite3.Row
    try:
        return [dict(row) for row in connection.execute("SELECT * FROM decisions")]
    finally:
        connection.close()


def assert_problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    """RFC 9457, and the words that hold a robot that reads nothing else."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert body["status"] == status
    assert body["decision"] == "abstain"
    assert body["safe_action"] == "hold"
    assert set(body) == {"type", "title", "status", "detail", "decision", "safe_action"}
    return body


@dataclass(frozen=True)
class Spoken:
    """A clip that the plain network hears rightly."""

    path: Path
    command: str
    speaker: str
    groups: dict[str, str]

    @property
    def data(self) -> bytes:
        return self.path.read_bytes()

    @property
    def pcm(self) -> tuple[NDArray[np.int16], int]:
        """Its 16-bit samples and their rate."""
        samples, rate = soundfile.read(self.path, dtype="int16")
        return samples, rate


@dataclass(frozen=True)
class Door:
    """A gateway behind its HTTP API, in this process."""

    app: FastAPI
    gateway: Gateway
    records: Records
    state: Path
    engine: Callable[[Recognizer], Engine]
    """Makes an engine that counts where this gateway does."""

    def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        return ask(self.app, method, path, **options)

    def decide(self, clip: bytes, *, kind: str = "audio/wav", **query: str) -> httpx.Response:
        return self.ask("POST", "/v1/commands", content=clip, headers={"content-type": kind}, params=query)

    def label(self, request_id: str, command: str) -> httpx.Response:
        return self.ask("POST", f"/v1/commands/{request_id}/label", json={"command": command})

    @property
    def rows(self) -> list[dict[str, Any]]:
        return rows_of(self.state)

    @property
    def samples(self) -> Samples:
        """What a scrape shows once the ledger has passed through what is stored."""
        self.gateway.ledger.run()
        answer = self.ask("GET", "/metrics")
        assert answer.status_code == 200
        return samples_of(answer.text)

    @property
    def fairness(self) -> dict[str, Any]:
        """The same of `/v1/fairness`."""
        self.gateway.ledger.run()
        answer = self.ask("GET", "/v1/fairness")
        assert answer.status_code == 200
        return dict(answer.json())


@dataclass(frozen=True)
class Run:
    code: int
    out: str
    err: str

    @property
    def words(self) -> str:
        """What was printed, as one line: a terminal's width breaks paths."""
        return " ".join(self.out.split())


Evenvoice = Callable[..., Run]
