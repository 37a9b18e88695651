"""From a source to decisions: capture and endpointing on the caller's thread, deciding on one of its own."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable
from typing import Protocol

from gateway.microphone.arrivals import Arrivals
from gateway.microphone.deciders import Decider
from gateway.microphone.deciding import Deciding, Pending
from gateway.microphone.heard import Heard, Summary
from gateway.microphone.level import Level, level_of
from gateway.microphone.saving import Saver
from gateway.microphone.sources import Block, Lost, Source
from gateway.streaming.endpointing import Event, SpeechStarted, Utterance


class Segmenter(Protocol):
    """Finds utterances in samples: `gateway.streaming.listening.Listener` by their sound, `Button` by a key."""

    def feed(self, data: bytes) -> list[Event]: ...

    def finish(self) -> list[Event]: ...


class View(Protocol):
    """What is shown of it. `heard` is called by the thread that decides, all else by the one that captures."""

    def begun(self, source: Source) -> None:
        """Its first samples are here: from now on it is listened to."""
        ...

    def level(self, level: Level, dropped: int) -> None: ...

    def speaking(self) -> None: ...

    def heard(self, heard: Heard) -> None: ...

    def lost(self, why: str) -> None: ...

    def back(self, source: Source) -> None:
        """The microphone that was lost is here again; where the system's own is wanted, it may be another."""
        ...


def listen(
    source: Source,
    segmenter: Callable[[], Segmenter],
    decider: Decider,
    view: View,
    *,
    saver: Saver | None = None,
    seconds: float | None = None,
    once: bool = False,
    ending: threading.Event | None = None,
) -> Summary:
    """Listen until the source ends, the time is over, an utterance was heard where one is enough, or it is told to end.

    Args:
        source: open.
        segmenter: makes a new one; called once, and again whenever samples broke off.
        seconds: to listen for; None = without end.
        once: end with the first utterance.
        ending: set by whoever wants it to end; what is half spoken then is dropped, and what waits for its decision.

    Raises:
        Exception: what kept a decision from being made, saved or shown.
    """
    listening = _Listening(source, segmenter, decider, view, saver, ending or threading.Event())
    return listening.run(seconds, once=once)


class _Listening:
    def __init__(
        self,
        source: Source,
        segmenter: Callable[[], Segmenter],
        decider: Decider,
        view: View,
        saver: Saver | None,
        ending: threading.Event,
    ) -> None:
        self._ending = ending
        self._source, self._new_segmenter, self._view, self._saver = source, segmenter, view, saver
        self._deciding = Deciding(decider, self._on_heard)
        self._heard: list[tuple[bool, float, float]] = []  # accepted, milliseconds of silence, of deciding
        self._utterances = self._times_lost = self._dropped = 0
        self._begin()

    def run(self, seconds: float | None, *, once: bool) -> Summary:
        ends = None if seconds is None else time.monotonic() + seconds
        self._deciding.start()
        try:
            self._capture(ends, once=once)
            if not (self._ending.is_set() or (once and self._utterances)):
                self._take(self._segmenter.finish())
        finally:
            self._deciding.finish(drops=self._ending.is_set())
        if self._deciding.failure is not None:
            raise self._deciding.failure
        return self._summary()

    def _capture(self, ends: float | None, *, once: bool) -> None:
        has_begun = is_lost = False
        for came in self._source.captured():
            match came:
                case Block():
                    if not has_begun:
                        has_begun = True
                        self._view.begun(self._source)
                    if is_lost:
                        is_lost = False
                        self._view.back(self._source)
                    self._arrivals.add(came)
                    self._take(self._segmenter.feed(came.data))
                    self._view.level(level_of(came.data), self._source.dropped)
                case Lost(why):
                    is_lost = True
                    self._times_lost += 1
                    self._begin()  # half an utterance from before is no beginning of what comes after
                    self._view.lost(why)
            is_over = self._ending.is_set() or (ends is not None and time.monotonic() >= ends)
            if is_over or self._deciding.failure is not None or (once and self._utterances):
                return

    def _begin(self) -> None:
        self._segmenter = self._new_segmenter()
        self._arrivals = Arrivals(self._source.channels)

    def _take(self, events: list[Event]) -> None:
        for event in events:
            match event:
                case SpeechStarted():
                    self._view.speaking()
                case Utterance():
                    self._utterances += 1
                    dropped, self._dropped = self._source.dropped - self._dropped, self._source.dropped
                    over_at = self._arrivals.at(event.ended_at)
                    pending = Pending(self._utterances, event, over_at, dropped)
                    self._deciding.put(pending, waits=self._source.waits)

    def _on_heard(self, pending: Pending, heard: Heard) -> None:
        if self._saver is not None:
            heard = self._saver.save(pending.utterance, heard)
        self._heard.append((heard.decision == "accept", heard.silence_ms, heard.deciding_ms))
        self._view.heard(heard)

    def _summary(self) -> Summary:
        def median(values: list[float]) -> float | None:
            return round(statistics.median(values), 1) if values else None

        return Summary(
            utterances=self._utterances,
            accepted=sum(is_accepted for is_accepted, _, _ in self._heard),
            total_ms=median([silence + deciding for _, silence, deciding in self._heard]),
            silence_ms=median([silence for _, silence, _ in self._heard]),
            deciding_ms=median([deciding for _, _, deciding in self._heard]),
            dropped_blocks=self._source.dropped,
            times_lost=self._times_lost,
        )
