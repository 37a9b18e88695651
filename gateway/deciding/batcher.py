"""The networks' one thread: what concurrent requests ask is decided together, and each answered when it is settled."""

from __future__ import annotations

import time
from concurrent.futures import Future
from dataclasses import dataclass
from threading import Condition, Thread

from recognizer.decision import Decision, Reason, abstention
from recognizer.hearing import Case, Hearing, Verdict
from recognizer.recognizer import Recognizer

_MEMORY = 0.8
"""Of the pace so far, whenever cases are settled."""


class BatcherClosed(RuntimeError):
    """No case is taken in any more."""


@dataclass(frozen=True)
class Heard:
    """What became of a case."""

    decision: Decision
    queued: float
    """Seconds until the networks took it up, or its time was up."""
    decided: float | None
    """Seconds from there to its decision; None where the networks never heard it."""


@dataclass
class _Open:
    """A case that is not settled."""

    defense: str
    case: Case
    arrived: float
    future: Future[Heard]
    begun: float = 0.0


class Batcher:
    """Decides on the cases of one recogniser, of each defense together, as they come.

    Nothing is waited for: a case that finds the networks idle is decided at once, and those that come meanwhile join
    the next step. A case past its deadline before its turn is not computed.
    """

    def __init__(self, recognizer: Recognizer) -> None:
        self._defenses = recognizer.defenses
        self._hearings = {name: defense.hearing() for name, defense in self._defenses.items()}
        self._arrived: list[_Open] = []
        self._open: dict[Case, _Open] = {}
        self._pace = 0.0
        self._settled_at = 0.0
        self._is_closing = False
        self._condition = Condition()
        self._thread = Thread(target=self._run, name="networks", daemon=True)
        self._thread.start()

    def submit(self, case: Case, *, defense: str) -> Future[Heard]:
        """Have a case decided by one of the recogniser's defenses.

        The future raises what stood in the way of a decision.

        Raises:
            BatcherClosed: after `close`.
        """
        opened = _Open(defense, case, time.perf_counter(), Future())
        with self._condition:
            if self._is_closing:
                raise BatcherClosed("the networks take no more cases")
            self._arrived.append(opened)
            self._condition.notify()
        return opened.future

    @property
    def backlog(self) -> float:
        """Seconds until a case that came now would be settled, as things went so far.

        Little's law: the cases that are there, times the seconds from one that is settled to the next.
        """
        return self._pace * (len(self._arrived) + len(self._open))

    def close(self) -> None:
        """Take no more cases, and return when those there are have been decided."""
        with self._condition:
            self._is_closing = True
            self._condition.notify()
        self._thread.join()

    def _run(self) -> None:
        while (arrived := self._next()) is not None:
            self._take_in(arrived)
            for name, hearing in self._hearings.items():
                if not hearing.is_idle:
                    self._step(name, hearing)

    def _next(self) -> list[_Open] | None:
        """Those that arrived, once there is anything to do; None when there never will be."""
        with self._condition:
            while not self._arrived and not self._open:
                if self._is_closing:
                    return None
                self._condition.wait()
            arrived, self._arrived = self._arrived, []
            return arrived

    def _take_in(self, arrived: list[_Open]) -> None:
        now = time.perf_counter()
        for opened in arrived:
            if not opened.future.set_running_or_notify_cancel():  # nobody waits for it any more
                continue
            opened.begun = now
            if opened.case.deadline is not None and now >= opened.case.deadline:
                decision = abstention(Reason.DEADLINE, "its turn did not come before its time was up")
                opened.future.set_result(Heard(decision, now - opened.arrived, None))
            else:
                self._open[opened.case] = opened
                self._hearings[opened.defense].join([opened.case])

    def _step(self, name: str, hearing: Hearing) -> None:
        begun = time.perf_counter()
        try:
            settled = hearing.step()
        except Exception as error:  # a fault of the hearing's own: it ends its cases, and never this thread
            settled = [(opened.case, error) for opened in self._open.values() if opened.defense == name]
            self._hearings[name] = self._defenses[name].hearing()
        if settled:
            self._keep_pace(min(begun, *(self._open[case].begun for case, _ in settled)), len(settled))
        for case, verdict in settled:
            self._settle(self._open.pop(case), verdict)

    def _keep_pace(self, begun: float, settled: int) -> None:
        now = time.perf_counter()
        pace = (now - max(begun, self._settled_at)) / settled
        self._pace = pace if self._pace == 0 else _MEMORY * self._pace + (1 - _MEMORY) * pace
        self._settled_at = now

    def _settle(self, opened: _Open, verdict: Verdict) -> None:
        if isinstance(verdict, Exception):
            opened.future.set_exception(verdict)
        else:
            now = time.perf_counter()
            opened.future.set_result(Heard(verdict, opened.begun - opened.arrived, now - opened.begun))
