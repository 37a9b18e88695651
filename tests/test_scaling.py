"""The plans of docs/scaling.md: the arithmetic by hand, the series by counting real ones, the page by its generator."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from prometheus_client.parser import text_string_to_metric_families
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.scaling import (
    BEGIN,
    DEFAULT_PRICES,
    END,
    PAGE,
    AuditPlan,
    Rates,
    TrafficPlan,
    multiply_adds,
    series_of,
    tables,
    with_tables,
)
from monitoring.fairness import Bundle, Snapshot
from monitoring.live import LiveSettings
from monitoring.series import exposition
from recognizer.network import M5, architecture


def test_the_page_has_what_the_results_say() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert with_tables(page, tables(Rates.read(), DEFAULT_PRICES)) == page, "python -m benchmarks.scaling --write"


def test_only_what_is_between_the_marks_is_written() -> None:
    page = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    new = with_tables(page, "new")
    assert (new.startswith(f"before\n{BEGIN}\n"), new.endswith(f"{END}\nafter\n")) == (True, True)
    assert ("new" in new, "old" in new) == (True, False)
    with pytest.raises(ValueError, match="the page lacks"):
        with_tables("nothing", "new")


@pytest.mark.parametrize(("name", "millions"), [("m5-small", 3.8), ("m5", 137)])
def test_multiply_adds_are_those_that_the_network_does(name: str, millions: float) -> None:
    """Counted by torch in a real pass, two operations each; the page says how many millions."""
    network = M5(architecture(name, 10)).eval()  # type: ignore[arg-type]
    with torch.no_grad(), FlopCounterMode(display=False) as counted:
        network(torch.zeros(1, 16_000))
    assert 2 * multiply_adds(name) == counted.get_total_flops()
    assert multiply_adds(name) / 1e6 == pytest.approx(millions, rel=0.01)


def test_an_audit_takes_clips_times_draws() -> None:
    plan = AuditPlan.of(1_000_000, 10_000, multiply_adds=3_800_000, core_ms_a_draw=0.36)
    assert plan.multiply_adds == 3.8e16
    assert plan.core_hours == pytest.approx(1000)  # 10^10 draws of 0.36 ms are 3.6 million seconds


def test_traffic_takes_cores_by_its_milliseconds_and_databases_by_the_slower_of_their_rates() -> None:
    plan = TrafficPlan.of(10_000, command_ms=6, writes=2500, counted=999, busy=0.6)
    assert (plan.cores, plan.databases_by_writes, plan.databases_by_counts) == (100, 4, 11)


@pytest.mark.parametrize(("groups", "defenses"), [([2], 1), ([4, 3, 6], 2), ([8, 8, 8, 8], 3)])
def test_series_are_as_many_as_a_gateway_shows(groups: list[int], defenses: int) -> None:
    names = ("none", "smoothing", "neural_rejection")[:defenses]
    vocabulary = {f"a{i}": (*(f"g{j}" for j in range(n - 2)), "other", "undeclared") for i, n in enumerate(groups)}
    bundle = Bundle(model="0" * 12, defenses=names, vocabulary=vocabulary)
    shown = exposition(Snapshot("ledger", 0.0, LiveSettings(), (bundle,), {}, {})).decode()
    assert sum(len(family.samples) for family in text_string_to_metric_families(shown)) == series_of(groups, defenses)


def test_the_example_of_the_page_is_what_the_formula_gives() -> None:
    assert f"{series_of([8] * 4, 3):,} series" in PAGE.read_text(encoding="utf-8")


def test_rates_are_read_as_they_were_measured() -> None:
    rates = Rates.read()
    numbers = [
        rates.mean_draws,
        rates.core_ms_a_clip,
        rates.writes,
        rates.several_writes,
        rates.counted,
        rates.row_bytes,
    ]
    numbers += [*rates.multiply_adds.values(), *rates.core_ms_a_draw.values(), *rates.command_ms.values()]
    assert all(math.isfinite(number) and number > 0 for number in numbers)
    assert {"none", "smoothing"} <= rates.command_ms.keys()
    assert Path(PAGE).is_file()
