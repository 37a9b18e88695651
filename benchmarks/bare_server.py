"""What one would write in an afternoon: `python -m benchmarks.bare_server BUNDLE --port PORT`.

FastAPI on uvicorn with uvloop and httptools; a request is decoded by `recognizer.audio` and decided on by the same
recogniser in FastAPI's thread pool. No records, no register, no limits, no metrics, no deadline.
"""

from __future__ import annotations

import argparse
import secrets
import uuid
from pathlib import Path

import torch
import uvicorn
from fastapi import FastAPI, HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel

from benchmarks.cohen import ABSTAIN, cohen_predict, published
from recognizer.audio import AudioError, decode
from recognizer.bundle import load_bundle
from recognizer.decision import UNKNOWN
from recognizer.defense import DefenseName
from recognizer.mode import Mode
from recognizer.network import M5
from recognizer.recognizer import Recognizer, window_of
from recognizer.smoothing import RandomizedSmoothing

COHEN = "cohen"
"""The defense that is Cohen's loop at the N of the bundle's smoothing."""


class Decided(BaseModel):
    decision: str
    command: str | None
    reason: str
    confidence: float | None


def create_app(recognizer: Recognizer) -> FastAPI:
    app = FastAPI()
    smoothing = recognizer.defenses.get(DefenseName.SMOOTHING)
    network = None
    if isinstance(smoothing, RandomizedSmoothing):
        assert isinstance(smoothing.network, M5)
        network = published(smoothing.network)

    def decide(data: bytes, defense: str) -> Decided:
        try:
            clip = decode(data, recognizer.audio)
        except AudioError as error:
            raise HTTPException(error.status, str(error)) from None
        if defense == COHEN:
            assert network is not None
            assert isinstance(smoothing, RandomizedSmoothing)
            (waveform,) = window_of([clip], recognizer.audio)
            label, _ = cohen_predict(
                network, waveform, sigma=smoothing.sigma, draws=smoothing.draws, alpha=smoothing.error_alpha
            )
            command = None if label == ABSTAIN or smoothing.labels[label] == UNKNOWN else smoothing.labels[label]
            return Decided(decision="accept" if command else "abstain", command=command, reason="", confidence=None)
        (decision,) = recognizer.decide(
            [clip], clip_ids=[str(uuid.uuid4())], seed=secrets.randbits(62), defense=defense
        )
        return Decided(
            decision="accept" if decision.is_accepted else "abstain",
            command=decision.command,
            reason=decision.reason,
            confidence=decision.confidence,
        )

    @app.post("/v1/commands")
    async def command(request: Request, defense: str) -> Decided:
        return await run_in_threadpool(decide, await request.body(), defense)

    @app.get("/readyz")
    async def ready() -> None:
        return None

    return app


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--threads", type=int, default=1, help="torch's, a request; the pool has threads of its own")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    app = create_app(load_bundle(arguments.bundle, mode=Mode.FAST))
    uvicorn.run(app, port=arguments.port, loop="uvloop", http="httptools", access_log=False, log_level="warning")


if __name__ == "__main__":
    main()
