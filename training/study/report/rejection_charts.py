"""Figures 6 and 7, what equality costs, and what rejectors and purifiers do under attack."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from monitoring.parity import FEWEST_SPEAKERS
from training.study.report.attacked import ATTACKERS, EVERYONE, NO_PURIFIER, OUTCOMES
from training.study.report.false_rejections import NEURAL_REJECTION, SMOOTHING
from training.study.report.figures import COLOURS, FAINT, MARKERS, eps_axis, hide, legend_below, panels, styles, to_png

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_OUTCOME_COLOURS = dict(zip(OUTCOMES, (COLOURS[0], "#C9C9C9", COLOURS[1]), strict=True))
_WORDS = {
    "neural_rejection": "NR",
    "smoothing": "RS",
    "evade": "evasion",
    "cause_rejection": "causing rejection",
    "right_accepted": "right and accepted",
    "wrong_accepted": "wrong and accepted",
}


def gaps_chart(gaps: pd.DataFrame, overall: pd.DataFrame) -> bytes:
    """Figures 6 and 7: gaps in AUC_FPR over N, and AUC_FPR over everyone; neural rejection as horizontal lines.

    Args:
        gaps: of `auc_fpr_gaps`.
        overall: of `overall_auc_fpr`.
    """
    figure, axes = panels(1, 2, height=3.6)
    for place, (attribute, part) in enumerate(gaps.groupby("attribute", sort=False)):
        colour, marker = COLOURS[place % len(COLOURS)], MARKERS[place % len(MARKERS)]
        _over_draws(axes[0], part, "gap", colour, marker, str(attribute))
    _over_draws(axes[1], overall, "auc_fpr", "black", "o", "everyone")
    axes[0].set_ylabel("gap in AUC_FPR (low is equal)")
    axes[1].set_ylabel("AUC_FPR over everyone")
    for axis in axes:
        axis.plot([], [], color="black", linestyle="--", label="NR (no draws)")
        axis.set_xscale("log")
        draws = sorted(gaps.loc[gaps["defense"] == SMOOTHING, "draws"].unique())
        axis.set_xticks(draws, [f"{n:d}" for n in draws])
        axis.minorticks_off()
        axis.set_xlabel("draws N of randomized smoothing")
        axis.set_ylim(bottom=0)
    legend_below(figure, axes[0], columns=5)
    return to_png(figure)


def cost_chart(gaps: pd.DataFrame) -> bytes:
    """What a smaller gap costs: seconds a clip against the gap of every attribute, with intervals where there are any.

    Args:
        gaps: of `auc_fpr_gaps`.
    """
    attributes = list(gaps["attribute"].unique())
    figure, axes = panels(ceil(len(attributes) / 2), 2, height=2.7)
    for axis, attribute in zip(axes, attributes, strict=False):
        for defense, colour, marker in ((SMOOTHING, COLOURS[0], "o"), (NEURAL_REJECTION, COLOURS[1], "s")):
            part = gaps[(gaps["attribute"] == attribute) & (gaps["defense"] == defense)].sort_values("draws")
            label = f"{defense}, all groups"
            axis.plot(part["seconds_per_clip"], part["gap"], marker=marker, color=colour, label=label)
            compared = part.dropna(subset=["lower", "upper"])
            middle = compared["gap_compared"].to_numpy(float)
            spread = np.abs(np.stack([middle - compared["lower"], compared["upper"] - middle])).astype(float)
            axis.errorbar(
                compared["seconds_per_clip"],
                middle,
                yerr=spread,
                fmt=marker,
                mfc="white",
                color=colour,
                capsize=3,
                alpha=0.8,
                label=f"{defense}, groups of {FEWEST_SPEAKERS}+ speakers, 95 % interval",
            )
            for point in part[part["draws"] > 0].to_dict("records"):
                place = (point["seconds_per_clip"], point["gap"])
                axis.annotate(f"N={point['draws']}", place, xytext=(4, 5), textcoords="offset points", fontsize=8)
        axis.set_xscale("log")
        axis.margins(x=0.14, y=0.16)
        axis.set_ylim(bottom=0)
        axis.set_title(attribute, loc="left")
        axis.set_xlabel("seconds a clip")
        axis.set_ylabel("gap in AUC_FPR")
    hide(axes[len(attributes) :])
    legend_below(figure, axes[0], columns=2)
    return to_png(figure)


def outcomes_chart(shares: pd.DataFrame) -> bytes:
    """What becomes of everyone's clips over eps: stacked areas, a panel a rejector and attacker.

    Args:
        shares: of `outcome_shares`.
    """
    everyone = shares[shares["attribute"] == EVERYONE]
    pairs = _by_attacker(everyone)
    figure, axes = panels(ceil(len(pairs) / 2), 2, height=2.9, share_y=True)
    for axis, ((defense, attack), part) in zip(axes, pairs, strict=False):
        ordered = part.sort_values("eps")
        axis.stackplot(
            ordered["eps"],
            [ordered[name] for name in OUTCOMES],
            colors=[_OUTCOME_COLOURS[name] for name in OUTCOMES],
            labels=[_word(name) for name in OUTCOMES],
        )
        axis.set_title(f"{_word(defense)}, {_word(attack)}", loc="left")
        axis.set_ylim(0, 1)
        axis.set_ylabel("share of clips")
        eps_axis(axis, list(ordered["eps"]))
    hide(axes[len(pairs) :])
    legend_below(figure, axes[0])
    return to_png(figure)


def group_outcomes_chart(shares: pd.DataFrame, attribute: str) -> bytes:
    """The three outcomes of every group over eps, a row a rejector and attacker.

    Args:
        shares: of `outcome_shares`.
    """
    part = shares[shares["attribute"] == attribute]
    pairs = _by_attacker(part)
    figure, axes = panels(len(pairs), len(OUTCOMES), height=2.2, share_y=True)
    speakers = {str(group): int(n) for group, n in part.groupby("group")["speakers"].max().items()}
    for row, ((defense, attack), rows) in enumerate(pairs):
        for column, outcome in enumerate(OUTCOMES):
            axis = axes[row * len(OUTCOMES) + column]
            _group_lines(axis, rows, outcome, speakers)
            axis.set_ylim(-0.03, 1.03)
            axis.set_title(_word(outcome) if row == 0 else "", loc="left")
            eps_axis(axis, sorted(rows["eps"].unique()), label="eps" if row == len(pairs) - 1 else "")
        axes[row * len(OUTCOMES)].set_ylabel(f"{_word(defense)}, {_word(attack)}\nshare of clips")
    legend_below(figure, axes[0])
    return to_png(figure)


def purification_chart(accuracy: pd.DataFrame) -> bytes:
    """Accuracy behind every purifier under attacks that know it and attacks that don't.

    Args:
        accuracy: of `purified_accuracy`; the purifier `none` is drawn in every panel.
    """
    names = [name for name in accuracy["purifier"].unique() if name != NO_PURIFIER]
    columns = min(3, max(1, len(names)))
    figure, axes = panels(ceil(len(names) / columns), columns, height=2.6, share_y=True)
    bare = accuracy[accuracy["purifier"] == NO_PURIFIER].sort_values("eps")
    for place, (axis, name) in enumerate(zip(axes, names, strict=False)):
        axis.plot(bare["eps"], bare["accuracy"], color=FAINT, marker=".", label="no purifier")
        for attack, colour, dash in (("oblivious", COLOURS[1], ":"), ("adaptive", COLOURS[0], "-")):
            own = accuracy[(accuracy["purifier"] == name) & (accuracy["attack"] == attack)].sort_values("eps")
            label = "oblivious attack (not robustness)" if attack == "oblivious" else "adaptive attack"
            axis.plot(own["eps"], own["accuracy"], color=colour, linestyle=dash, marker="o", ms=4, label=label)
        axis.set_title(name, loc="left")
        axis.set_ylim(-0.03, 1.03)
        if place % columns == 0:
            axis.set_ylabel("accuracy")
        eps_axis(axis, sorted(accuracy["eps"].unique()), label="eps (amplitude)")
    hide(axes[len(names) :])
    legend_below(figure, axes[0])
    return to_png(figure)


def _by_attacker(shares: pd.DataFrame) -> list[tuple[tuple[str, str], pd.DataFrame]]:
    """The rows of every rejector and attacker, evasion first."""
    parts = [
        ((str(defense), str(attack)), part)
        for (defense, attack), part in shares.groupby(["defense", "attack"], sort=False)
    ]
    return sorted(parts, key=lambda part: (part[0][0], list(ATTACKERS).index(part[0][1])))


def _group_lines(axis: Axes, rows: pd.DataFrame, column: str, speakers: dict[str, int]) -> None:
    for group, style in styles(speakers, fewest=FEWEST_SPEAKERS):
        own = rows[rows["group"] == group].sort_values("eps")
        axis.plot(
            own["eps"],
            own[column],
            color=style.colour,
            marker=style.marker,
            ms=4,
            linestyle=style.dash,
            label=style.label,
            zorder=1 if style.colour == FAINT else 2,
        )


def _over_draws(axis: Axes, part: pd.DataFrame, column: str, colour: str, marker: str, label: str) -> None:
    smoothing = part[part["defense"] == SMOOTHING].sort_values("draws")
    axis.plot(smoothing["draws"], smoothing[column], color=colour, marker=marker, label=f"RS, {label}")
    for value in part.loc[part["defense"] == NEURAL_REJECTION, column].dropna():
        axis.axhline(value, color=colour, linestyle="--")


def _word(name: object) -> str:
    return _WORDS.get(str(name), str(name))
