"""Equal budgets are not equally loud: how far each group's speech stands above the same perturbation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import ceil

import numpy as np
import pandas as pd

from monitoring.parity import FEWEST_SPEAKERS
from training.study.report.evidence import SplitEvidence
from training.study.report.exhibits import Picture, Section, Table
from training.study.report.figures import COLOURS, hide, panels, to_png
from training.study.report.parities import group_note

_TITLE = "Equal budgets are not equally loud"


def loudness_sections(split: SplitEvidence, loudness: pd.DataFrame | None) -> Iterator[Section]:
    """How loud equal budgets are to whom, or that it was not measured; nothing where there are no groups.

    Args:
        loudness: of `group_loudness`.
    """
    if not split.attributes:
        return
    if loudness is None or loudness.empty:
        yield Section(
            _TITLE,
            (
                f"The loudness of the {split.name} split has not been measured (yet). Going on with "
                "`evenvoice study run` measures it in seconds.",
            ),
        )
        return
    once = loudness[(loudness["attribute"] == split.attributes[0]) & (loudness["eps"] == middle_eps(loudness))]
    heard = int(once["clips"].sum())
    silent = len(split.attacked) - heard
    n = f"n = {heard} attacked clips" + (f", without {silent} that are silent" if silent else "")
    yield Section(
        _TITLE,
        (
            "The budget eps is an amplitude. Quiet speakers have less speech above the same perturbation, so equal eps "
            "are unequal signal-to-noise ratios (SNR), and part of a gap may be loudness. A clip's ratio is "
            "20 log10(RMS / eps), over all that the network hears of it: that of a perturbation as loud as its budget "
            "allows, whatever an attack used of it.",
        ),
        exhibits=(
            Picture(
                f"{split.name}_loudness",
                f"SNR of every group's clips at one budget, mean and standard deviation; {n}; hollow: fewer than "
                f"{FEWEST_SPEAKERS} speakers. Ten times the budget is 20 dB less for everybody.",
                _loudness_in_words(loudness),
                loudness_chart(loudness),
            ),
            Table(f"{split.name}_loudness", f"SNR of every group at every budget; {n}.", loudness, is_folded=True),
        ),
    )


def group_loudness(split: SplitEvidence, loudness: pd.DataFrame, eps_grid: Sequence[float]) -> pd.DataFrame:
    """How far a group's speech stands above a perturbation that uses all of its budget.

    A clip's ratio is 20 log10(RMS / eps), of the whole budget and not of what an attack happened to use of it.

    Args:
        loudness: `clip, rms` of the attacked clips.
        eps_grid: raw amplitude.

    Returns:
        `attribute, group, eps, snr_db` (mean over clips)`, sd, speakers, clips, note`; silent clips, which have no
        ratio, are left out, and `clips` counts the rest.
    """
    heard = loudness[loudness["rms"] > 0].merge(split.clips, left_on="clip", right_index=True, validate="one_to_one")
    rows = pd.concat(
        [heard.assign(eps=eps, snr_db=20 * np.log10(heard["rms"].astype(float) / eps)) for eps in eps_grid],
        ignore_index=True,
    )
    return pd.concat(list(_loudness(rows, split.attributes)), ignore_index=True)


def _loudness(rows: pd.DataFrame, attributes: tuple[str, ...]) -> Iterator[pd.DataFrame]:
    for attribute in attributes:
        part = rows.groupby([attribute, "eps"], as_index=False).agg(
            snr_db=("snr_db", "mean"), sd=("snr_db", "std"), speakers=("speaker", "nunique"), clips=("clip", "size")
        )
        part = part.rename(columns={attribute: "group"})
        part.insert(0, "attribute", attribute)
        notes = zip(part["group"], part["speakers"], strict=True)
        part["note"] = [group_note(group, speakers) for group, speakers in notes]
        yield part


def loudness_chart(loudness: pd.DataFrame) -> bytes:
    """How far each group's speech stands above equal perturbations, mean and standard deviation over clips.

    Args:
        loudness: of `group_loudness`; one budget of it is drawn, since all others are the same picture shifted.
    """
    eps = middle_eps(loudness)
    drawn = loudness[loudness["eps"] == eps]
    spread = drawn["sd"].fillna(0.0)
    span = (drawn["snr_db"] - spread).min() - 1, (drawn["snr_db"] + spread).max() + 1
    attributes = list(drawn["attribute"].unique())
    most = int(drawn.groupby("attribute")["group"].nunique().max())
    figure, axes = panels(ceil(len(attributes) / 2), 2, height=1.0 + 0.3 * most)
    for axis, attribute in zip(axes, attributes, strict=False):
        own = drawn[drawn["attribute"] == attribute].iloc[::-1]
        for height, group in enumerate(own.to_dict("records")):
            face = "white" if group["speakers"] < FEWEST_SPEAKERS else COLOURS[0]
            sd = np.nan_to_num(group["sd"])
            axis.errorbar(group["snr_db"], height, xerr=sd, fmt="o", color=COLOURS[0], mfc=face, capsize=3)
        axis.set_yticks(
            range(len(own)), [f"{g} ({n} speakers)" for g, n in zip(own["group"], own["speakers"], strict=True)]
        )
        axis.set_ylim(-0.6, len(own) - 0.4)
        axis.set_xlim(*span)
        axis.set_title(attribute, loc="left")
        axis.set_xlabel(f"SNR at eps = {eps:g}, dB")
    hide(axes[len(attributes) :])
    return to_png(figure)


def middle_eps(loudness: pd.DataFrame) -> float:
    """The budget that a picture shows."""
    levels = sorted(loudness["eps"].unique())
    return float(levels[(len(levels) - 1) // 2])


def _loudness_in_words(loudness: pd.DataFrame) -> str:
    eps = middle_eps(loudness)
    own = loudness[loudness["eps"] == eps]
    said = (f"{r['attribute']} {r['group']} {r['snr_db']:.1f} dB" for r in own.to_dict("records"))
    return f"SNR at eps {eps:g}: {'; '.join(said)}."
