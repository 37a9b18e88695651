"""What `evenvoice listen` shows: a picture that moves on a terminal, lines elsewhere, JSON for programs."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable
from types import TracebackType
from typing import Self

import click
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from gateway.cli.progress import notes
from gateway.microphone.heard import Heard
from gateway.microphone.level import FLOOR, SILENT, Level
from gateway.microphone.sources import Source

_SHOWN = 8
_METER = 40  # characters
_METER_FLOOR = -60.0  # dBFS
_HERTZ = 10
_RECENT = 10  # blocks: as long as a picture stands


class Lines:
    """A line each event, for what is no terminal."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def begun(self, source: Source) -> None:
        notes.print(f"listening to {source.name}, {source.sample_rate} Hz")

    def level(self, level: Level, dropped: int) -> None: ...

    def speaking(self) -> None: ...

    def heard(self, heard: Heard) -> None:
        click.echo(line_of(heard))

    def lost(self, why: str) -> None:
        notes.print(f"{why}; waiting for it")

    def back(self, source: Source) -> None:
        notes.print(f"the microphone is back: {source.name}")


class JsonLines(Lines):
    """A JSON object each decision on standard output; the rest as `Lines`."""

    def heard(self, heard: Heard) -> None:
        click.echo(heard.model_dump_json())


class Picture:
    """A level meter, whether someone speaks, and the last decisions."""

    def __init__(self, console: Console) -> None:
        self._source = "not heard yet"
        self._recent: deque[Level] = deque([SILENT], maxlen=_RECENT)
        self._dropped = 0
        self._state = "quiet"
        self._last: deque[Heard] = deque(maxlen=_SHOWN)
        self._lock = threading.Lock()
        self._live = Live(console=console, get_renderable=self.render, refresh_per_second=_HERTZ)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def begun(self, source: Source) -> None:
        self._source = f"{source.name}, {source.sample_rate} Hz"

    def level(self, level: Level, dropped: int) -> None:
        with self._lock:
            self._recent.append(level)
        self._dropped = dropped

    def speaking(self) -> None:
        self._state = "speaking"

    def heard(self, heard: Heard) -> None:
        with self._lock:
            self._last.appendleft(heard)
        self._state = "quiet"

    def lost(self, why: str) -> None:
        with self._lock:
            self._recent.append(SILENT)
        self._state = f"{why}; waiting for it"

    def back(self, source: Source) -> None:
        self.begun(source)
        self._state = "quiet"

    def render(self) -> RenderableType:
        """As it is now."""
        with self._lock:
            last, level = list(self._last), loudest(self._recent)
        head = Text.assemble(
            (f"{self._source}  ", "dim"),
            meter(level),
            f"  {self._state}  {self._dropped} blocks dropped",
        )
        table = Table("", "decision", "why", "confidence", "draws", "silence + deciding, ms")
        for heard in last:
            word, style = (heard.command, "bold green") if heard.command else (f"hold ({heard.decision})", "yellow")
            table.add_row(
                str(heard.utterance),
                Text(word, style),
                Text(_why(heard)),
                "" if heard.confidence is None else f"{heard.confidence:.2f}",
                _draws(heard),
                f"{heard.silence_ms:.0f} + {heard.deciding_ms:.0f} = {heard.total_ms:.0f}",
            )
        return Group(head, table)


def loudest(levels: Iterable[Level]) -> Level:
    """The highest of each measure, over at least one block."""
    found = list(levels)
    return Level(
        max(level.peak for level in found),
        max(level.rms for level in found),
        is_clipped=any(level.is_clipped for level in found),
    )


def meter(level: Level) -> str:
    """A bar of a fixed width: loudness, peak, and a word where samples are at full scale."""

    def place(decibels: float) -> int:
        return round(_METER * min(max(1 - decibels / _METER_FLOOR, 0.0), 1.0))

    loud, peak = place(level.rms), place(level.peak)
    bar = "#" * loud + "-" * (peak - loud) + " " * (_METER - peak)
    told = "silence" if level.peak <= FLOOR else f"{level.peak:.0f} dB"
    return f"[{bar}] {'CLIPPED' if level.is_clipped else told:>7}"


def line_of(heard: Heard) -> str:
    """One decision in words."""
    word = heard.command or "hold"
    extras = [_why(heard)]
    if heard.confidence is not None:
        extras.append(f"confidence {heard.confidence:.2f}")
    if draws := _draws(heard):
        extras.append(f"{draws} draws")
    if heard.dropped_blocks:
        extras.append(f"{heard.dropped_blocks} blocks dropped")
    took = (
        f"{heard.total_ms:.0f} ms after the speech ({heard.silence_ms:.0f} silence, {heard.deciding_ms:.0f} deciding)"
    )
    return f"{heard.utterance}: {word} ({', '.join(extras)}), {took}"


def _why(heard: Heard) -> str:
    words = [] if heard.reason is None else [heard.reason.value]
    return ": ".join([*words, heard.detail] if heard.detail and heard.command is None else words) or heard.decision


def _draws(heard: Heard) -> str:
    draws = heard.certificate.draws if heard.certificate else None
    return "" if draws is None else str(draws)
