"""Under attack: whom the rejectors still serve, and what purification is worth.

These go beyond the paper, which leaves the ability of rejectors to reject adversarial examples to future work.
"""

from __future__ import annotations

import pandas as pd

from training.study.folder import StudyError
from training.study.report.evidence import Model, SplitEvidence
from training.study.report.parities import group_gaps, group_note, with_first

OUTCOMES = ("right_accepted", "rejected", "wrong_accepted")
EVERYONE = "everyone"
NO_PURIFIER = "none"
ATTACKERS = {"evade": "wrong_accepted", "cause_rejection": "rejected"}
"""An attacker's aim -> the outcome that is a success of it."""


def outcome_shares(split: SplitEvidence, table: pd.DataFrame) -> pd.DataFrame:
    """Shares of the outcomes, over everyone and by group.

    Args:
        table: `defense, attack, eps, clip, outcome`, a row a clip, rejector, attacker and budget.

    Returns:
        `defense, attack, eps, attribute, group, speakers, clips, right_accepted, rejected, wrong_accepted, note`;
        over all clips attribute and group are `everyone`.

    Raises:
        StudyError: an outcome that is none of the three.
    """
    strange = set(table["outcome"]) - set(OUTCOMES)
    if strange:
        raise StudyError(f"under_attack.parquet has the outcomes {sorted(strange)}; {list(OUTCOMES)} are accepted")
    rows = table.merge(split.clips, left_on="clip", right_index=True, how="left", validate="many_to_one")
    rows = rows.assign(**{EVERYONE: EVERYONE}, **{name: rows["outcome"] == name for name in OUTCOMES})
    parts = []
    for attribute in (EVERYONE, *split.attributes):
        keys = ["defense", "attack", "eps", attribute]
        part = rows.groupby(keys, as_index=False, sort=True).agg(
            speakers=("speaker", "nunique"), clips=("clip", "size"), **{name: (name, "mean") for name in OUTCOMES}
        )
        part = part.rename(columns={attribute: "group"})
        part.insert(3, "attribute", attribute)
        notes = zip(part["group"], part["speakers"], strict=True)
        part["note"] = "" if attribute == EVERYONE else [group_note(group, speakers) for group, speakers in notes]
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def success_gaps(split: SplitEvidence, table: pd.DataFrame, *, seed: int) -> pd.DataFrame:
    """Gaps between groups in how often an attacker succeeds.

    Args:
        table: as `outcome_shares`.

    Returns:
        `defense, attack, eps` and the columns of `group_gaps`, of the share of clips that are wrong and accepted
        (evasion) or rejected (an attacker who causes rejection).
    """
    parts = []
    for (defense, attack, eps), rows in table.groupby(["defense", "attack", "eps"], sort=True):
        is_success = (rows.set_index("clip")["outcome"] == ATTACKERS[str(attack)]).astype(float)
        part = group_gaps(split.clips, is_success, attributes=split.attributes, seed=seed)
        parts.append(part.assign(defense=str(defense), attack=str(attack), eps=float(str(eps))))
    return with_first(pd.concat(parts, ignore_index=True), "defense", "attack", "eps")


def purified_accuracy(table: pd.DataFrame, undefended: Model | None) -> pd.DataFrame:
    """Accuracy behind every purifier: `purifier, attack, eps, accuracy, clips`.

    Args:
        table: `purifier, attack, eps, clip, is_correct`; `adaptive` attacks see the purifier, `oblivious` ones do not.
        undefended: its accuracy is added as the purifier `none`, on the same clips and budgets.
    """
    if undefended is not None:
        outcomes = undefended.outcomes
        none = outcomes[outcomes["clip"].isin(table["clip"]) & outcomes["eps"].isin(table["eps"])]
        none = none.assign(purifier=NO_PURIFIER, attack="adaptive")
        table = pd.concat([none[["purifier", "attack", "eps", "clip", "is_correct"]], table], ignore_index=True)
    return table.groupby(["purifier", "attack", "eps"], as_index=False, sort=False).agg(
        accuracy=("is_correct", "mean"), clips=("clip", "size")
    )
