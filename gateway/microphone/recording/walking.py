"""A person through the prompts: word after word, each take checked before the next."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from gateway.microphone.playing import play
from gateway.microphone.recording.checking import Quality, check
from gateway.microphone.recording.folder import RecordingFolder
from gateway.microphone.recording.prompts import Task
from gateway.microphone.recording.taking import SourceEnded, Take, TakeBroken, record_take
from gateway.microphone.sources import Source, SourceError
from gateway.streaming.vad import SpeechDetector


@dataclass(frozen=True)
class Studio:
    """What takes are made with."""

    open_source: Callable[[], AbstractContextManager[Source]]
    """Called for each take: between takes nobody listens."""
    detector: Callable[[], SpeechDetector]
    seconds: float
    """Of a take at most."""
    split: str
    ask: Callable[[str], str]
    """A question -> the answer, trimmed and lower-cased."""
    say: Callable[[str], None]


class _Quit(Exception):
    """The person has had enough for now."""


class Walk:
    """One speaker's; it may be left at any word and taken up again later."""

    def __init__(self, folder: RecordingFolder, speaker: str, studio: Studio) -> None:
        self._folder, self._speaker, self._studio = folder, speaker, studio
        self._last: tuple[Task, Path] | None = None

    def run(self, tasks: Sequence[Task]) -> int:
        """Record what is not kept yet.

        Returns:
            How many of the tasks are left.
        """
        waiting = [task for task in tasks if not self._folder.has(self._speaker, task)]
        self._studio.say(f"{len(tasks) - len(waiting)} of {len(tasks)} recordings are kept, {len(waiting)} to go")
        try:
            for number, task in enumerate(waiting, start=1):
                self._go(task, f"{number}/{len(waiting)}")
        except _Quit:
            pass
        except SourceEnded as error:
            self._studio.say(str(error))
        left = sum(not self._folder.has(self._speaker, task) for task in tasks)
        self._studio.say(
            "everything is recorded" if not left else f"{left} are left; the same command goes on with them"
        )
        return left

    def _go(self, task: Task, place: str) -> None:
        """One word: recorded, or skipped."""
        while True:
            choices = "Enter = record, s = skip, q = quit" + (
                ", p = play the last, a = last again" if self._last else ""
            )
            match self._studio.ask(f"{place}: ready? ({choices})"):
                case "":
                    self._record(task)
                    return
                case "s":
                    return
                case "q":
                    raise _Quit
                case "p" if self._last:
                    self._play(self._last[1])
                case "a" if self._last:
                    self._record(self._last[0])

    def _record(self, task: Task) -> None:
        """Until a take is kept or given up."""
        while True:
            choices = "Enter = again, s = skip, q = quit"
            try:
                take, source = self._take(task)
            except TakeBroken as error:
                self._studio.say(str(error))
                match self._studio.ask(f"once more? ({choices})"):
                    case "s":
                        return
                    case "q":
                        raise _Quit from None
                continue
            quality = check(take)
            for problem in quality.problems:
                self._studio.say(f"  {problem}")
            answer = self._studio.ask(f"once more? ({choices}, k = keep it as it is)") if quality.problems else "k"
            match answer:
                case "k":
                    self._keep(task, take, quality, source)
                    return
                case "s":
                    return
                case "q":
                    raise _Quit

    def _take(self, task: Task) -> tuple[Take, str]:
        studio = self._studio
        detector = studio.detector()
        with studio.open_source() as source:
            take = record_take(
                source,
                detector,
                seconds=studio.seconds,
                on_begun=lambda: studio.say(f"  say: {task.prompt.words}"),
            )
            return take, source.name

    def _keep(self, task: Task, take: Take, quality: Quality, source: str) -> None:
        path = self._folder.keep(self._speaker, task, take, quality, split=self._studio.split, source=source)
        self._last = (task, path)
        self._studio.say(f"  kept: {quality.words}")

    def _play(self, path: Path) -> None:
        try:
            play(path)
        except SourceError as error:
            self._studio.say(str(error))
