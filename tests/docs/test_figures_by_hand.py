"""The numbers of `docs/figures-by-hand.md`, from closed forms and scipy rather than from the code that prints them."""

from __future__ import annotations

from math import exp, log, sqrt

import pytest
from doc_blocks import ROOT
from scipy import integrate, stats
from scipy.special import beta

PAGE = (ROOT / "docs" / "figures-by-hand.md").read_text(encoding="utf-8")
EPS = (0, 0.0001, 0.001, 0.01, 0.1, 0.2, 0.3)


def _area(curve: tuple[int, ...]) -> float:
    return float(integrate.trapezoid(curve, EPS))


def _e_value(a: int, b: int) -> float:
    return float(2 ** (a + b) * beta(a + 0.5, b + 0.5) / beta(0.5, 0.5))


def _radius() -> float:
    bound = stats.beta.ppf(0.001, 990, 11)
    return float(0.02 * stats.norm.ppf(bound))


def _wealth(pairs: int) -> float:
    bets = (0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.95)
    purses = [(1 + b * (side * 0.3 - 0.02) / 1.02) ** pairs for b in bets for side in (1, -1)]
    return sum(purses) / len(purses)


@pytest.mark.parametrize(
    "shown",
    [
        f"variance {1.5 * ((1 - 1.6) ** 2 + (0 - 0.8) ** 2 + (3 - 1.6) ** 2) / 100:.4f}",
        f"Student's t with 2 degrees of freedom being {stats.t.ppf(0.975, 2):.1f}",
        f"{(0.05 + 0.3 + 0.6) / 3:.3f}",
        f"[{_area((1, 1, 1, 1, 0, 0, 0)):.3f}] [{_area((1,) * 7):.1f}]",
        f"{_area((0, 0, 0, 0, 1, 1, 1)):.3f} rest on",
        f"ln(2 / 0.05) / 40 = {log(2 / 0.05) / 40:.3f}",
        f"gap {40 // 2 * 2 / 400 - 40 // 4 * 2 / 400:.3f}",
        f"p = {stats.binomtest(9, 10).pvalue:.5f}, e = {_e_value(9, 1):.1f}",
        f"p = {stats.binomtest(11, 11).pvalue:.5f}, e = {_e_value(11, 0):.1f}",
        f"p_A >= {stats.beta.ppf(0.001, 990, 11):.4f}, radius {_radius():.4f}",
        f"sqrt(16000) = {_radius() / sqrt(16000):.4f}",
        f"0.4 · 0.28 / 1.02 = {1 + 0.4 * 0.28 / 1.02:.4f}",
        f"30 pairs: wealth {_wealth(30):.1f}",
        f"alpha = 0.05: {exp(log(8 / 0.05)):.0f}",
    ],
)
def test_a_number_is_what_its_equation_gives(shown: str) -> None:
    assert shown in PAGE
