"""Concurrent cases share the networks' thread, and are settled one by one."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence

import pytest
import tiny_defenses as tiny
import torch
from torch import Tensor

from gateway.deciding.batcher import Batcher, BatcherClosed
from recognizer.audio import AudioFormat
from recognizer.decision import Decision, Reason, conclude
from recognizer.defense import Defense, NetworkError, one_pass
from recognizer.hearing import Case, Hearing, Verdict
from recognizer.recognizer import Recognizer
from recognizer.smoothing import RandomizedSmoothing, VoteTest
from recognizer.smoothing.noise import BLOCK


class Gate:
    """A defense that waits to be let on, and remembers how many clips it was given at a time."""

    name = "gate"

    def __init__(self) -> None:
        self.begun, self.go_on = threading.Event(), threading.Event()
        self.batches: list[int] = []

    def decide(
        self, waveforms: Tensor, *, clip_ids: Sequence[str], seed: int, deadline: float | None = None
    ) -> list[Decision]:
        del clip_ids, seed, deadline
        self.begun.set()
        self.go_on.wait(10)
        self.batches.append(len(waveforms))
        if not waveforms.isfinite().all():
            raise NetworkError("NaN was heard")
        return [conclude(tiny.COMMANDS, [1.0, 0.0, 0.0, 0.0]) for _ in waveforms]

    def hearing(self) -> Hearing:
        return one_pass(self, torch.device("cpu"))  # type: ignore[arg-type]


def of(**defenses: Defense) -> Recognizer:
    return Recognizer("tiny", "sha256:00", tiny.COMMANDS, AudioFormat(), {}, defenses, next(iter(defenses)))


def voting(draws: int) -> RandomizedSmoothing:
    heard = tiny.spread(tiny.network(seed=5))
    return RandomizedSmoothing(
        heard, tiny.COMMANDS, sigma=0.02, error_alpha=0.01, draws=draws, test=VoteTest.SEQUENTIAL
    )


@pytest.fixture
def gate() -> Iterator[Gate]:
    found = Gate()
    yield found
    found.go_on.set()


def case(waveform: Tensor | None = None, name: str = "clip", deadline: float | None = None) -> Case:
    return Case(torch.zeros(tiny.SAMPLES) if waveform is None else waveform, name, 4, deadline)


def test_what_comes_while_the_networks_work_is_the_next_batch(gate: Gate) -> None:
    batcher = Batcher(of(gate=gate))  # type: ignore[arg-type]
    futures = [batcher.submit(case(), defense="gate")]
    assert gate.begun.wait(10)
    futures += [batcher.submit(case(), defense="gate") for _ in range(7)]
    gate.go_on.set()
    assert {future.result(10).decision.command for future in futures} == {"go"}
    assert gate.batches == [1, 7]
    batcher.close()


def test_one_broken_clip_is_nobody_elses_error(gate: Gate) -> None:
    batcher = Batcher(of(gate=gate))  # type: ignore[arg-type]
    first = batcher.submit(case(), defense="gate")
    assert gate.begun.wait(10)
    broken = batcher.submit(case(torch.full((tiny.SAMPLES,), torch.nan)), defense="gate")
    others = [batcher.submit(case(), defense="gate") for _ in range(5)]
    gate.go_on.set()
    with pytest.raises(NetworkError, match="NaN"):
        broken.result(10)
    assert {future.result(10).decision.command for future in (first, *others)} == {"go"}
    batcher.close()


class Faulty:
    """A hearing that fails as a whole, once it holds a case that is called so."""

    def __init__(self) -> None:
        self.cases: list[Case] = []

    @property
    def is_idle(self) -> bool:
        return not self.cases

    def join(self, cases: Sequence[Case]) -> None:
        self.cases += cases

    def step(self) -> list[tuple[Case, Verdict]]:
        if any(case.clip_id == "faulty" for case in self.cases):
            raise MemoryError("no room")
        heard, self.cases = self.cases, []
        return [(case, conclude(tiny.COMMANDS, [1.0, 0.0, 0.0, 0.0])) for case in heard]


def test_a_hearing_that_fails_ends_its_cases_and_decides_again(gate: Gate) -> None:
    faulty = Gate()
    faulty.hearing = Faulty  # type: ignore[method-assign]
    batcher = Batcher(of(gate=gate, faulty=faulty))  # type: ignore[arg-type]
    calm = batcher.submit(case(), defense="gate")
    assert gate.begun.wait(10)
    failed = [batcher.submit(case(name=name), defense="faulty") for name in ("faulty", "beside it")]
    gate.go_on.set()
    for future in failed:
        with pytest.raises(MemoryError):
            future.result(10)
    assert calm.result(10).decision.command == "go"
    assert batcher.submit(case(), defense="faulty").result(10).decision.command == "go"
    batcher.close()


@pytest.mark.parametrize("deadline", [None, 0.0])
def test_a_case_that_nobody_waits_for_any_more_is_left_out(gate: Gate, deadline: float | None) -> None:
    batcher = Batcher(of(gate=gate))  # type: ignore[arg-type]
    first = batcher.submit(case(), defense="gate")
    assert gate.begun.wait(10)
    given_up = batcher.submit(case(deadline=deadline), defense="gate")
    assert given_up.cancel()
    assert not first.cancel()  # the networks are at it
    gate.go_on.set()
    assert batcher.submit(case(), defense="gate").result(10).decision.command == "go"
    assert sum(gate.batches) == 2
    batcher.close()


def test_a_case_whose_time_is_up_is_not_computed_and_keeps_nobody_waiting(gate: Gate) -> None:
    batcher = Batcher(of(gate=gate))  # type: ignore[arg-type]
    first = batcher.submit(case(), defense="gate")
    assert gate.begun.wait(10)
    late = batcher.submit(case(deadline=time.perf_counter() - 0.001), defense="gate")
    calm = batcher.submit(case(), defense="gate")
    gate.go_on.set()
    heard = late.result(10)
    assert (heard.decision.reason, heard.decided) == (Reason.DEADLINE, None)
    assert first.result(10).decision.command == calm.result(10).decision.command == "go"
    assert gate.batches == [1, 1]
    batcher.close()


def test_votes_are_answered_in_the_order_in_which_they_are_settled() -> None:
    """All begin together, so that fewer draws are an earlier answer, whatever the order they came in."""
    gate, smoothing = Gate(), voting(draws=600)
    batcher = Batcher(of(gate=gate, smoothing=smoothing))  # type: ignore[arg-type]
    batcher.submit(case(), defense="gate")
    assert gate.begun.wait(10)
    settled: list[str] = []
    futures = {}
    for waveform, name in zip(tiny.clips(12), tiny.ids(12), strict=True):
        futures[name] = batcher.submit(case(waveform, name), defense="smoothing")
        futures[name].add_done_callback(lambda _, name=name: settled.append(name))  # type: ignore[misc]
    gate.go_on.set()
    draws = {}
    for name, future in futures.items():
        certificate = future.result(60).decision.certificate
        assert certificate is not None
        draws[name] = certificate.draws or 0
    blocks = [-(-draws[name] // BLOCK) for name in settled]
    assert blocks == sorted(blocks)
    assert len(set(blocks)) > 3
    batcher.close()


def test_each_defense_has_its_turn(gate: Gate) -> None:
    other = Gate()
    batcher = Batcher(of(gate=gate, other=other))  # type: ignore[arg-type]
    gate.go_on.set()
    other.go_on.set()
    futures = [batcher.submit(case(), defense=name) for name in ("gate", "other") * 10]
    assert {future.result(10).decision.command for future in futures} == {"go"}
    assert (sum(gate.batches), sum(other.batches)) == (10, 10)
    batcher.close()


def test_closing_decides_what_is_there_and_takes_nothing_more(gate: Gate) -> None:
    batcher = Batcher(of(gate=gate))  # type: ignore[arg-type]
    futures = [batcher.submit(case(), defense="gate") for _ in range(4)]
    closing = threading.Thread(target=batcher.close)
    closing.start()
    gate.go_on.set()
    closing.join(10)
    assert all(future.done() for future in futures)
    with pytest.raises(BatcherClosed):
        batcher.submit(case(), defense="gate")


def test_the_backlog_grows_with_what_waits_and_is_none_when_nothing_does(gate: Gate) -> None:
    batcher = Batcher(of(gate=gate))  # type: ignore[arg-type]
    assert batcher.backlog == 0
    first = batcher.submit(case(), defense="gate")
    assert gate.begun.wait(10)
    time.sleep(0.05)
    gate.go_on.set()
    first.result(10)
    gate.go_on.clear()
    gate.begun.clear()
    second = batcher.submit(case(), defense="gate")
    assert gate.begun.wait(10)
    one = batcher.backlog
    third = batcher.submit(case(), defense="gate")
    assert one >= 0.05
    assert batcher.backlog == pytest.approx(2 * one)
    gate.go_on.set()
    for future in (second, third):
        future.result(10)
    deadline = time.monotonic() + 10
    while batcher.backlog and time.monotonic() < deadline:
        time.sleep(0.001)
    assert batcher.backlog == 0
    batcher.close()


class InTurns(Faulty):
    """Each step draws for all cases and settles the one that has been there the longest, as votes do."""

    SECONDS = 0.01

    def step(self) -> list[tuple[Case, Verdict]]:
        time.sleep(self.SECONDS)
        first, *self.cases = self.cases
        return [(first, conclude(tiny.COMMANDS, [1.0, 0.0, 0.0, 0.0]))]


def test_the_backlog_of_cases_that_share_draws_is_what_they_take_together() -> None:
    shared = Gate()
    shared.hearing = InTurns  # type: ignore[method-assign]
    batcher = Batcher(of(shared=shared))  # type: ignore[arg-type]
    under_way = deque(batcher.submit(case(), defense="shared") for _ in range(16))
    for _ in range(60):
        under_way.popleft().result(10)
        under_way.append(batcher.submit(case(), defense="shared"))
    assert 16 * InTurns.SECONDS / 2 < batcher.backlog < 3 * 16 * InTurns.SECONDS
    batcher.close()
