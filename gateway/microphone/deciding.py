"""One thread that decides on utterances in order, so that the one that captures never waits for a decision."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from gateway.microphone.deciders import Decider
from gateway.microphone.heard import Heard, Verdict
from gateway.streaming.endpointing import Utterance
from recognizer.decision import Reason

WAITING = 8  # utterances; of more, the newest are turned away


@dataclass(frozen=True)
class Pending:
    """An utterance that waits for a decision."""

    number: int
    utterance: Utterance
    over_at: float
    """`time.monotonic()` seconds at which it was known to be over."""
    dropped_blocks: int

    def heard(self, verdict: Verdict) -> Heard:
        """With the time that it took until now."""
        utterance = self.utterance
        return Heard(
            **dict(verdict),
            utterance=self.number,
            start=round(utterance.start, 3),
            end=round(utterance.end, 3),
            silence_ms=round(utterance.endpoint_ms, 1),
            deciding_ms=round(1000 * (time.monotonic() - self.over_at), 1),
            dropped_blocks=self.dropped_blocks,
        )


OnHeard = Callable[[Pending, Heard], None]


class Deciding:
    """Runs between `start` and `finish`."""

    def __init__(self, decider: Decider, on_heard: OnHeard) -> None:
        """
        Args:
            on_heard: called with each decision, by the thread that decides.
        """
        self._decider, self._on_heard = decider, on_heard
        self._waiting: queue.Queue[Pending | None] = queue.Queue(WAITING)
        self._thread = threading.Thread(target=self._run, name="deciding", daemon=True)
        self.failure: Exception | None = None
        """What ended it; nothing is decided any more."""

    def start(self) -> None:
        self._thread.start()

    def put(self, pending: Pending, *, waits: bool) -> None:
        """Hand over an utterance; where too many wait, wait too, or abstain from this one at once."""
        try:
            self._waiting.put(pending, block=waits)
        except queue.Full:
            detail = f"{WAITING} utterances wait for their decision already"
            self._on_heard(pending, pending.heard(Verdict(decision="abstain", reason=Reason.OVERLOADED, detail=detail)))

    def finish(self, *, drops: bool = False) -> None:
        """Decide on what waits, or on nothing more than is being decided on, then end."""
        while drops and not self._waiting.empty():
            with suppress(queue.Empty):
                self._waiting.get_nowait()
        self._waiting.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (pending := self._waiting.get()) is not None:
            if self.failure is not None:
                continue  # so that nobody waits for room
            try:
                verdict = self._decider.decide(pending.utterance, number=pending.number)
                self._on_heard(pending, pending.heard(verdict))
            except Exception as error:  # raised again by whoever listens
                self.failure = error
