"""Figures 2 to 5, 8 and 9, and every model's accuracy under attack."""

from __future__ import annotations

from math import ceil

import numpy as np
import pandas as pd

from training.study.report.figures import COLOURS, FAINT, MARKERS, eps_axis, hide, legend_below, panels, to_png


def correlation_chart(correlations: pd.DataFrame) -> bytes:
    """Figures 2 to 5: Pearson's r with its interval, and Spearman's rho, a panel an attribute.

    Args:
        correlations: `attribute, factor` and the fields of `Correlation`.
    """
    attributes = list(correlations["attribute"].unique())
    rows = ceil(len(attributes) / 2)
    figure, axes = panels(rows, 2, height=1.9 if rows > 1 else 2.4)
    for axis, attribute in zip(axes, attributes, strict=False):
        part = correlations[correlations["attribute"] == attribute].iloc[::-1]
        heights = np.arange(len(part))
        r = part["pearson"].to_numpy(float)
        bounds = np.nan_to_num(np.abs(np.stack([r - part["lower"], part["upper"] - r]).astype(float)))
        axis.axvline(0.0, color="black", linewidth=1)
        axis.errorbar(r, heights + 0.1, xerr=bounds, fmt="o", color=COLOURS[0], capsize=3, label="Pearson, 95 %")
        axis.plot(part["spearman"], heights - 0.18, "D", mfc="white", color=COLOURS[1], label="Spearman")
        axis.set_yticks(heights, part["factor"])
        axis.set_ylim(-0.6, len(part) - 0.4)
        axis.set_xlim(-1.05, 1.05)
        axis.set_title(attribute, loc="left")
        axis.set_xlabel("← more equal    correlation    less equal →")
    hide(axes[len(attributes) :])
    legend_below(figure, axes[0])
    return to_png(figure)


def curves_chart(curves: pd.DataFrame, models: pd.DataFrame, *, chance: float) -> bytes:
    """Accuracy over eps of every model, coloured by its adversarial training, Tricks apart.

    Args:
        curves: `key, eps, accuracy`.
        models: `key, tricks, adversarial_eps`.
    """
    figure, axes = panels(1, 2, height=3.6, share_y=True)
    budgets = sorted(models["adversarial_eps"].unique())
    for axis, has_tricks in zip(axes, (False, True), strict=True):
        for model in models[models["tricks"] == has_tricks].to_dict("records"):
            own = curves[curves["key"] == model["key"]].sort_values("eps")
            place = budgets.index(model["adversarial_eps"]) % len(COLOURS)
            axis.plot(own["eps"], own["accuracy"], marker=MARKERS[place], ms=4, color=COLOURS[place], alpha=0.75)
        axis.axhline(chance, color="black", linestyle="--", linewidth=1)
        axis.set_title("with Tricks" if has_tricks else "without Tricks", loc="left")
        axis.set_ylim(-0.03, 1.03)
        eps_axis(axis, sorted(curves["eps"].unique()))
    axes[0].set_ylabel("accuracy")
    for place, budget in enumerate(budgets):
        axes[0].plot([], [], marker=MARKERS[place], color=COLOURS[place], label=f"trained at eps {budget:g}")
    axes[0].plot([], [], color="black", linestyle="--", linewidth=1, label=f"chance, {chance:.3f}")
    legend_below(figure, axes[0], columns=3)
    return to_png(figure)


def histogram_chart(histogram: pd.DataFrame, *, chance: float) -> bytes:
    """Figures 8 and 9: how many models reach which accuracy, a panel a budget.

    Args:
        histogram: `eps, from, to, models, guessers`.
    """
    levels = sorted(histogram["eps"].unique())
    columns = min(4, len(levels))
    figure, axes = panels(ceil(len(levels) / columns), columns, height=2.3, share_y=True)
    for place, (axis, eps) in enumerate(zip(axes, levels, strict=False)):
        level = histogram[histogram["eps"] == eps]
        width = level["to"] - level["from"]
        axis.bar(level["from"], level["models"], width, align="edge", color=COLOURS[0], label="models")
        axis.bar(
            level["from"], level["guessers"], width, bottom=level["models"], align="edge", color=FAINT, label="guessers"
        )
        axis.axvline(chance, color="black", linestyle="--", linewidth=1, label="chance")
        axis.set_title("clean" if eps == 0 else f"eps = {eps:g}", loc="left")
        axis.set_xlim(0, 1)
        axis.set_xlabel("accuracy")
        axis.locator_params(axis="y", integer=True)
        if place % columns == 0:
            axis.set_ylabel("models")
    hide(axes[len(levels) :])
    legend_below(figure, axes[0])
    return to_png(figure)
