"""One command in, one answer out: decode, decide, record, count, in this order and never late."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from threading import Lock
from typing import TypeVar

from gateway import problems
from gateway.deciding.batcher import BatcherClosed
from gateway.deciding.engine import Engine
from gateway.idempotency import IdempotencyKey, replayed
from gateway.records import AnsweredBefore, Claim, Entry, LabelledBefore, NotRecorded, Records, RecordsError
from gateway.records.ledger import Ledger
from gateway.schemas import AudioBody, CommandResponse, LabelResponse, ModelBody
from gateway.speakers import Groups, Register, UnknownSpeaker
from monitoring.fairness import Bundle
from monitoring.live import label_result
from recognizer.audio import AudioError, AudioFormat, Clip
from recognizer.decision import UNKNOWN, Decision, Reason, abstention
from recognizer.defense import NetworkError
from recognizer.recognizer import Recognizer, UnknownDefense

T = TypeVar("T")

_DECIDING = 0.9  # of the deadline; the rest is for storing and answering

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Command:
    """A spoken command as it came."""

    decode: Callable[[AudioFormat], Clip]
    """Gives the clip, or raises an `AudioError`; runs in a thread."""
    speaker: str | None = None
    """An id in the register."""
    defense: str | None = None
    """One that the bundle has; its default where None."""
    arrived: float = field(default_factory=time.perf_counter)
    """When the request came, its body perhaps still under way."""
    timeout_ms: int | None = None
    """The sender's deadline, where it is sooner than the gateway's."""
    key: IdempotencyKey | None = None
    data: bytes | None = None
    """The clip as it came, for where audio is kept."""
    media_type: str | None = None


@dataclass
class _Clock:
    """Seconds of each stage of one request."""

    started: float
    stages: dict[str, float] = field(default_factory=dict)

    def measure(self, stage: str, since: float) -> float:
        now = time.perf_counter()
        self.stages[stage] = now - since
        return now

    @property
    def total(self) -> float:
        return time.perf_counter() - self.started

    @property
    def timings_ms(self) -> dict[str, float]:
        return {stage: round(1000 * seconds, 3) for stage, seconds in {**self.stages, "total": self.total}.items()}


@dataclass(frozen=True)
class _Ready:
    """What is known of a command before a network hears it."""

    groups: Groups
    before: AnsweredBefore | None = None
    clip: Clip | None = None
    unheard: Decision | None = None
    """In the place of a clip that no network needs to hear."""


class Gateway:
    """An engine, its register and its records behind one door.

    The networks run in a thread of the engine's, the records are written in one of theirs, and decoding has some of its
    own, so that the event loop stays free.
    """

    def __init__(
        self,
        engine: Engine,
        register: Register,
        records: Records,
        *,
        valid_for_ms: int,
        deadline_ms: int,
        max_pending: int,
        ledger: Ledger | None = None,
    ) -> None:
        """
        Args:
            valid_for_ms: how long a robot may act on an acceptance.
            deadline_ms: what takes longer is an abstention.
            max_pending: commands under way at once.
            ledger: of the records, which counts what is stored by group; with its own defaults where None.

        Raises:
            RecordsError: the ledger can't be written.
        """
        self.register = register
        self.records = records
        self.ledger = ledger or records.ledger()
        engine.serve()
        self.ledger.serve(engine.bundle)
        self._engine = engine
        self._swap = Lock()
        self.valid_for_ms = valid_for_ms
        self.deadline_ms = deadline_ms
        self._max_pending = max_pending
        self._pending = 0
        self._files = ThreadPoolExecutor(4, thread_name_prefix="files")

    @property
    def recognizer(self) -> Recognizer:
        """The one that new commands get."""
        return self._engine.recognizer

    @property
    def bundle(self) -> Bundle:
        """What is counted by group of the bundle that new commands get."""
        return self._engine.bundle

    def check_capacity(self) -> None:
        """Turn a command away, before it is read, where it could not be answered in time.

        Raises:
            Overloaded: too many are under way, or those that are will take longer than the deadline.
        """
        why = None
        if self._pending >= self._max_pending:
            why = f"{self._pending} commands are under way; try again"
        elif 1000 * self._engine.batcher.backlog > _DECIDING * self.deadline_ms:
            why = "the commands under way will take longer than the deadline; try again"
        if why is not None:
            self._engine.counters.refused("overloaded")
            raise problems.Overloaded(why)

    async def command(self, asked: Command) -> CommandResponse:
        """Answer one spoken command.

        Raises:
            Problem: an unknown name, too many commands under way, records or networks that fail.
            AudioError: audio that is an error of the sender's rather than an abstention.
        """
        self.check_capacity()
        self._pending += 1
        try:
            with self._in_use() as engine:
                return await self._answered(engine, asked)
        finally:
            self._pending -= 1

    async def label(self, request_id: str, true_command: str) -> LabelResponse:
        """Store the true command of a decision, once ever; the ledger counts it.

        Raises:
            Problem: no such decision, a command that is none, a label that is there already.
        """
        if true_command not in (*self.recognizer.commands, UNKNOWN):
            known = ", ".join((*self.recognizer.commands, UNKNOWN))
            raise problems.UnknownName(f"{true_command!r} is no command; known are {known}")
        try:
            recorded = await self.in_thread(lambda: self.records.label(request_id, true_command))
        except NotRecorded as error:
            raise problems.NoSuchRequest(str(error)) from None
        except LabelledBefore as error:
            raise problems.AlreadyLabelled(str(error)) from None
        except RecordsError:
            raise problems.RecordsUnavailable("the label could not be stored; send it again") from None
        result = label_result(recorded.outcome, recorded.command, true_command)
        return LabelResponse(request_id=request_id, command=true_command, result=result)

    def swap(self, engine: Engine) -> None:
        """Serve another bundle from the next command on; returns when those under way on the old one are answered."""
        engine.serve()
        try:
            self.ledger.serve(engine.bundle)
        except RecordsError as error:
            logger.warning("the series of this bundle are begun later: %s", error)
        with self._swap:
            old, self._engine = self._engine, engine
        old.retire()

    def close(self) -> None:
        """Let go of the threads and the database; for when no request is under way."""
        self._engine.close()
        self._files.shutdown()
        self.records.close()

    async def in_thread(self, work: Callable[[], T]) -> T:
        """Have work done that waits for files or a database."""
        return await asyncio.get_running_loop().run_in_executor(self._files, work)

    @contextmanager
    def _in_use(self) -> Iterator[Engine]:
        with self._swap:
            engine = self._engine
            engine.begin()
        try:
            yield engine
        finally:
            engine.end()

    async def _answered(self, engine: Engine, asked: Command) -> CommandResponse:
        try:
            return await self._decided(engine, asked)
        except AudioError:
            engine.counters.refused("unusable_audio")
            raise
        except RecordsError as error:
            logger.error("a decision could not be stored: %s", error)
            engine.counters.refused("failed")
            raise problems.RecordsUnavailable("the decision could not be stored, so none is given") from None
        except NetworkError as error:
            engine.counters.refused("failed")
            raise problems.RecognizerFailed(str(error)) from None
        except (UnknownSpeaker, UnknownDefense) as error:
            raise problems.UnknownName(str(error)) from None
        except BatcherClosed:
            raise problems.NotReady("the gateway is closing") from None
        except problems.Problem:
            raise
        except Exception:
            engine.counters.refused("failed")
            raise

    async def _decided(self, engine: Engine, asked: Command) -> CommandResponse:
        clock = _Clock(asked.arrived)
        received_at = datetime.now(UTC)
        request_id, seed = str(uuid.uuid4()), secrets.randbits(62)
        deadline_ms = min(self.deadline_ms, asked.timeout_ms or self.deadline_ms)
        until = clock.started + deadline_ms / 1000
        defense = engine.recognizer.defense(asked.defense).name
        begun = clock.measure("read", clock.started)
        ready = await self.in_thread(lambda: self._ready(engine.recognizer, asked))
        if asked.key is not None and ready.before is not None:
            return replayed(ready.before, digest=asked.key.digest, is_late=time.perf_counter() > until)
        clock.measure("decode", begun)

        def late(decision: Decision) -> Decision:
            return decision.but_abstain(Reason.DEADLINE, f"no decision within {deadline_ms} ms")

        if ready.clip is not None:
            case = engine.recognizer.case(
                ready.clip,
                clip_id=request_id,
                seed=seed,
                deadline=clock.started + _DECIDING * deadline_ms / 1000,
            )
            heard = await asyncio.wrap_future(engine.batcher.submit(case, defense=defense))
            clock.stages["queue"] = heard.queued
            if heard.decided is not None:
                clock.stages["decide"] = heard.decided
            decision = heard.decision
        else:
            assert ready.unheard is not None
            decision = ready.unheard
        if time.perf_counter() > until:
            decision = late(decision)

        def response(decision: Decision) -> CommandResponse:
            return CommandResponse.of(
                decision,
                request_id=request_id,
                model=ModelBody(name=engine.recognizer.name, version=engine.recognizer.version),
                audio=None if ready.clip is None else _audio_of(ready.clip),
                received_at=received_at,
                valid_for_ms=self.valid_for_ms,
                timings_ms=clock.timings_ms,
            )

        claim = None
        if asked.key is not None:
            claim = Claim(asked.key.key, asked.key.digest, lambda stored: response(stored).model_dump_json())
        begun = time.perf_counter()
        entry = Entry(
            request_id=request_id,
            received_at=received_at,
            decision=decision,
            defense=defense,
            seed=seed,
            speaker=asked.speaker,
            groups=ready.groups,
            model=engine.recognizer.version,
            clip=asked.data,
            media_type=asked.media_type,
        )
        stored = await asyncio.wrap_future(self.records.add(entry, until=until, late=late, claim=claim))
        if isinstance(stored, AnsweredBefore):
            assert asked.key is not None
            return replayed(stored, digest=asked.key.digest, is_late=time.perf_counter() > until)
        if stored.decision.is_accepted and time.perf_counter() > until:  # it was stored in time, and then not told
            engine.counters.refused("failed")
            raise problems.TookTooLong(f"no answer within {deadline_ms} ms; hold")
        clock.measure("record", begun)
        engine.counters.decided(stored.decision)
        engine.counters.times(defense=defense, total=clock.total, stages=clock.stages)
        return response(stored.decision)

    def _ready(self, recognizer: Recognizer, asked: Command) -> _Ready:
        groups = self.register.groups(asked.speaker, recognizer.vocabulary)
        before = self.records.earlier(asked.key.key) if asked.key is not None else None
        if before is not None:
            return _Ready(groups, before=before)
        try:
            return _Ready(groups, clip=asked.decode(recognizer.audio))
        except AudioError as error:
            if error.reason is None:
                raise
            return _Ready(groups, unheard=abstention(error.reason, str(error)))


def _audio_of(clip: Clip) -> AudioBody:
    return AudioBody(seconds=round(clip.seconds, 4), sample_rate=clip.sample_rate)
