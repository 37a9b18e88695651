"""One bundle at work. A request keeps the engine that it began with, so that no answer mixes two bundles."""

from __future__ import annotations

import secrets
from threading import Condition

import torch

from gateway.deciding.batcher import Batcher
from gateway.deciding.renewal import BankRenewal
from monitoring.counters import Counters
from monitoring.fairness import Bundle
from recognizer.hearing import Case
from recognizer.recognizer import Recognizer


class Engine:
    """A recogniser, the thread that its networks run in, and the counters of this process."""

    def __init__(
        self,
        recognizer: Recognizer,
        counters: Counters,
        *,
        bank_seconds: float = 600.0,
    ) -> None:
        """
        Args:
            bank_seconds: after so long the noise drawn beforehand is replaced.
        """
        self.recognizer = recognizer
        self.batcher = Batcher(recognizer)
        self.counters = counters
        self._renewal = BankRenewal(recognizer.banks, seconds=bank_seconds)
        self._users = 0
        self._condition = Condition()

    def warm_up(self) -> None:
        """Decide once by each defense on a moment of noise: the first request is as fast as the next, and a bundle that
        can't decide is known before it is served.

        Raises:
            Exception: what stands in the way of a decision.
        """
        noise = 0.1 * torch.randn(self.recognizer.audio.window).clamp(-3, 3)
        for name in self.recognizer.defenses:
            self.batcher.submit(Case(noise, "warm-up", secrets.randbits(62)), defense=name).result()

    def serve(self) -> None:
        """Say that its bundle is served: its series begin, at zero."""
        self.counters.serve(defenses=tuple(self.recognizer.defenses), version=self.recognizer.version)

    @property
    def bundle(self) -> Bundle:
        """What is counted of its bundle by group."""
        recognizer = self.recognizer
        return Bundle(recognizer.short_version, recognizer.vocabulary, tuple(recognizer.defenses))

    def begin(self) -> None:
        """Use it: it stays open until `end`."""
        with self._condition:
            self._users += 1

    def end(self) -> None:
        with self._condition:
            self._users -= 1
            self._condition.notify_all()

    def retire(self) -> None:
        """Say that its bundle is no longer served, and close it once nobody uses it any more."""
        self.counters.retire(defenses=tuple(self.recognizer.defenses), version=self.recognizer.version)
        with self._condition:
            self._condition.wait_for(lambda: self._users == 0)
        self.close()

    def close(self) -> None:
        """Let go of its threads; for when nobody uses it."""
        self._renewal.close()
        self.batcher.close()
