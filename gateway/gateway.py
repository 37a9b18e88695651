"""One command in, one answer out: decode, decide, record, count, in this order and never late."""

from __future__ import annotations

import asyncio
import secrets
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeVar

from gateway import problems
from gateway.records import LabelledBefore, NotRecorded, Records, RecordsError
from gateway.schemas import AudioBody, CommandResponse, LabelResponse, ModelBody
from gateway.speakers import Register, UnknownSpeaker
from monitoring.live import LiveMonitor, label_result
from recognizer.audio import AudioError, Clip
from recognizer.decision import UNKNOWN, Decision, Outcome, Reason, abstention
from recognizer.defense import NetworkError
from recognizer.recognizer import Recognizer, UnknownDefense

T = TypeVar("T")

_DECIDING = 0.9  # of the deadline; the rest is for storing and answering


@dataclass
class _Clock:
    """Seconds of each stage of one request."""

    started: float = field(default_factory=time.perf_counter)
    stages: dict[str, float] = field(default_factory=dict)

    def measure(self, stage: str, since: float) -> float:
        now = time.perf_counter()
        self.stages[stage] = now - since
        return now

    @property
    def total(self) -> float:
        return time.perf_counter() - self.started


class Gateway:
    """A recogniser, its register, records and counters behind one door.

    Networks run in one thread of their own; decoding and records in others, so that the event loop stays free.
    """

    def __init__(
        self,
        recognizer: Recognizer,
        register: Register,
        records: Records,
        monitor: LiveMonitor,
        *,
        valid_for_ms: int,
        deadline_ms: int,
        max_pending: int,
    ) -> None:
        self.recognizer = recognizer
        self.register = register
        self._records = records
        self._monitor = monitor
        self._valid_for_ms = valid_for_ms
        self._deadline = deadline_ms / 1000
        self._max_pending = max_pending
        self._pending = 0
        self._networks = ThreadPoolExecutor(1, thread_name_prefix="networks")
        self._files = ThreadPoolExecutor(4, thread_name_prefix="files")

    async def command(
        self,
        decode: Callable[[], Clip],
        *,
        speaker: str | None = None,
        defense: str | None = None,
        arrived: float | None = None,
    ) -> CommandResponse:
        """Answer one spoken command.

        Args:
            decode: gives the clip, or raises an `AudioError`; runs in a thread.
            speaker: an id in the register.
            defense: one that the bundle has; its default where None.
            arrived: `time.perf_counter()` when the request came, its body perhaps still under way; now by default.

        Raises:
            Problem: an unknown name, too many commands under way, records or networks that fail.
            AudioError: audio that is an error of the sender's rather than an abstention.
        """
        clock = _Clock() if arrived is None else _Clock(arrived)
        received_at = datetime.now(UTC)
        request_id = str(uuid.uuid4())
        try:
            groups = self.register.groups(speaker)
            chosen = self.recognizer.defense(defense).name
        except (UnknownSpeaker, UnknownDefense) as error:
            raise problems.UnknownName(str(error)) from None
        if self._pending >= self._max_pending:
            self._monitor.refused(Outcome.SERVICE, "overloaded")
            raise problems.Overloaded(f"{self._pending} commands are under way; try again")
        self._pending += 1
        try:
            seed = secrets.randbits(62)
            decision, audio = await self._decide(decode, clock, request_id=request_id, seed=seed, defense=chosen)
            now = time.perf_counter()
            await self._in(
                self._files,
                lambda: self._records.add(
                    decision,
                    request_id=request_id,
                    received_at=received_at,
                    defense=chosen,
                    seed=seed,
                    speaker=speaker,
                    groups=groups,
                    model=self.recognizer.version,
                ),
            )
            if decision.is_accepted and clock.total > self._deadline:
                decision = held = self._late(decision)
                await self._in(self._files, lambda: self._records.hold(held, request_id=request_id))
            clock.measure("record", now)
        except AudioError:
            self._monitor.refused(Outcome.BAD_INPUT, "unusable_audio")
            raise
        except NetworkError as error:
            self._monitor.refused(Outcome.SERVICE, "failed")
            raise problems.RecognizerFailed(str(error)) from None
        except RecordsError:
            self._monitor.refused(Outcome.SERVICE, "failed")
            raise problems.RecordsUnavailable("the decision could not be stored, so none is given") from None
        finally:
            self._pending -= 1
        self._monitor.decided(decision, defense=chosen, groups=groups, speaker=speaker)
        self._monitor.times(defense=chosen, total=clock.total, stages=clock.stages)
        return CommandResponse.of(
            decision,
            request_id=request_id,
            model=ModelBody(name=self.recognizer.name, version=self.recognizer.version),
            audio=audio,
            received_at=received_at,
            valid_for_ms=self._valid_for_ms,
            timings_ms={k: round(1000 * v, 3) for k, v in {**clock.stages, "total": clock.total}.items()},
        )

    async def label(self, request_id: str, true_command: str) -> LabelResponse:
        """Store and count the true command of a decision, once ever.

        Raises:
            Problem: no such decision, a command that is none, a label that is there already.
        """
        if true_command not in (*self.recognizer.commands, UNKNOWN):
            known = ", ".join((*self.recognizer.commands, UNKNOWN))
            raise problems.UnknownName(f"{true_command!r} is no command; known are {known}")
        try:
            recorded = await self._in(self._files, lambda: self._records.label(request_id, true_command))
        except NotRecorded as error:
            raise problems.NoSuchRequest(str(error)) from None
        except LabelledBefore as error:
            raise problems.AlreadyLabelled(str(error)) from None
        except RecordsError:
            raise problems.RecordsUnavailable("the label could not be stored; send it again") from None
        result = label_result(recorded.outcome, recorded.command, true_command)
        if result is not None and recorded.model == self.recognizer.version:
            self._monitor.labelled(result, defense=recorded.defense, groups=recorded.groups, speaker=recorded.speaker)
        return LabelResponse(request_id=request_id, command=true_command, result=result)

    def close(self) -> None:
        """Let go of the threads and the database; for when no request is under way."""
        self._networks.shutdown()
        self._files.shutdown()
        self._records.close()

    async def _decide(
        self, decode: Callable[[], Clip], clock: _Clock, *, request_id: str, seed: int, defense: str
    ) -> tuple[Decision, AudioBody | None]:
        begun = clock.measure("read", clock.started)
        try:
            clip = await self._in(self._files, decode)
        except AudioError as error:
            if error.reason is None:
                raise
            clock.measure("decode", begun)
            return abstention(error.reason, str(error)), None
        queued = clock.measure("decode", begun)
        audio = AudioBody(seconds=round(clip.seconds, 4), sample_rate=clip.sample_rate)

        def decide() -> Decision | None:
            begun = clock.measure("queue", queued)
            if clock.total > self._deadline:
                return None
            (decision,) = self.recognizer.decide(
                [clip],
                clip_ids=[request_id],
                seed=seed,
                defense=defense,
                deadline=clock.started + _DECIDING * self._deadline,
            )
            clock.measure("decide", begun)
            return decision

        decision = await self._in(self._networks, decide)
        if clock.total > self._deadline or decision is None:
            return self._late(decision), audio
        return decision, audio

    def _late(self, decision: Decision | None) -> Decision:
        why = f"no decision within {1000 * self._deadline:.0f} ms"
        return decision.but_abstain(Reason.DEADLINE, why) if decision else abstention(Reason.DEADLINE, why)

    async def _in(self, pool: ThreadPoolExecutor, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(pool, work)
