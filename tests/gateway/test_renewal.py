"""Banks are replaced while they are used, and no longer once the gateway closes."""

from __future__ import annotations

import time

import pytest
import torch

from gateway.deciding.renewal import BankRenewal
from recognizer.network import M5, architecture
from recognizer.smoothing import BankVoting


@pytest.fixture
def voting() -> BankVoting:
    torch.manual_seed(0)
    return BankVoting(M5(architecture("m5-small", 3)).eval(), sigma=0.1, samples=4000, seed=1, rows=16)


def test_a_bank_gets_a_new_unpredictable_seed_again_and_again(voting: BankVoting) -> None:
    renewal = BankRenewal([voting], seconds=0.01)
    seeds = set()
    ends = time.monotonic() + 60
    while len(seeds) < 4 and time.monotonic() < ends:
        seeds.add(voting.bank.seed)
        time.sleep(0.005)
    renewal.close()
    assert len(seeds) >= 4
    last = voting.bank.seed
    time.sleep(0.1)
    assert voting.bank.seed == last
    assert max(seeds) > 2**40


def test_closing_does_not_wait_for_the_next_time(voting: BankVoting) -> None:
    renewal = BankRenewal([voting], seconds=1e6)
    started = time.monotonic()
    renewal.close()
    assert time.monotonic() - started < 30
    assert voting.bank.seed == 1


def test_a_machine_without_room_keeps_its_bank_and_tries_again(caplog: pytest.LogCaptureFixture) -> None:
    class Crowded(BankVoting):
        attempts = 0

        def renew(self, seed: int) -> None:
            self.attempts += 1
            if self.attempts < 3:
                torch.empty(1 << 60)  # torch's own words for no room
            super().renew(seed)

    crowded = Crowded(M5(architecture("m5-small", 3)).eval(), sigma=0.1, samples=4000, seed=1, rows=16)
    renewal = BankRenewal([crowded], seconds=0.01)
    ends = time.monotonic() + 60
    while crowded.bank.seed == 1 and time.monotonic() < ends:
        time.sleep(0.005)
    renewal.close()
    assert crowded.bank.seed != 1
    assert sum("could not be replaced" in record.message for record in caplog.records) == 2


def test_without_banks_there_is_nothing_to_do() -> None:
    BankRenewal([], seconds=1).close()
