"""Whom a manifest has clips of, before any defense: who is missing matters as much as who is turned away."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import pandas as pd

from monitoring.audit.policy import Policy
from monitoring.audit.result import Coverage
from recognizer.decision import UNKNOWN
from recognizer.groups import UNDECLARED
from recognizer.manifest import Manifest, ManifestError


def check_required(manifest: Manifest, policy: Policy) -> None:
    """
    Raises:
        ManifestError: an attribute that the policy requires or gates is not there, or has fewer than two groups.
    """
    named = {gate.attribute for gate in policy.gates} - {"*"}
    for attribute in dict.fromkeys((*policy.required_attributes, *sorted(named))):
        if attribute not in manifest.attributes:
            known = ", ".join(manifest.attributes) or "none"
            raise ManifestError(
                f"the policy asks for the attribute {attribute}, which nobody in the manifest has; it has {known}"
            )
        groups = sorted(set(manifest.table[attribute]) - {UNDECLARED})
        if len(groups) < 2:
            only = f"only {groups[0]}" if groups else "nobody declares any"
            raise ManifestError(
                f"the policy asks for the attribute {attribute}, of which there is {only}; a gap needs two groups"
            )


def coverage_of(
    manifest: Manifest, unheard: Collection[str], missed: Collection[str] | None = None
) -> tuple[Coverage, ...]:
    """Of every attribute's every group.

    Args:
        unheard: names of the clips that could not be heard.
        missed: of those in which a front end heard no utterance; None where there was none.
    """
    clips = pd.Series(manifest.clip_ids)
    table = manifest.table.assign(
        is_unheard=clips.isin(list(unheard)),
        is_missed=clips.isin(list(missed or ())),
        is_command=manifest.table["command"] != UNKNOWN,
    )
    return tuple(
        Coverage(
            attribute=attribute,
            group=str(group),
            speakers=int(rows["speaker"].nunique()),
            clips=len(rows),
            unheard=int(rows["is_unheard"].sum()),
            commands=int((rows["is_command"] & ~rows["is_unheard"]).sum()),
            missed=None if missed is None else int((rows["is_command"] & rows["is_missed"]).sum()),
        )
        for attribute in manifest.attributes
        for group, rows in table.groupby(attribute)
    )


def cautions_of(coverage: tuple[Coverage, ...], attributes: tuple[str, ...]) -> tuple[str, ...]:
    """What to bear in mind of attributes that nobody has, of single groups and of groups without clips, in words."""
    return tuple(_cautions(coverage, attributes))


def _cautions(coverage: tuple[Coverage, ...], attributes: tuple[str, ...]) -> Iterator[str]:
    if not attributes:
        yield "the manifest has no attribute: nothing can be said of any group"
    if found := [c for c in coverage if c.missed is not None and c.attribute == attributes[0]]:
        missed, commands = sum(c.missed or 0 for c in found), sum(c.commands for c in found)
        yield (
            f"recordings were played through the front end: in {missed} of {commands} with a command it heard no "
            "utterance, which counts as a rejection by every defense"
        )
    for attribute in attributes:
        own = [c for c in coverage if c.attribute == attribute]
        declared = [c for c in own if c.group != UNDECLARED]
        if not declared:
            yield f"{attribute}: nobody declares any; nothing can be said of it"
        elif len(declared) == 1:
            yield f"{attribute}: {declared[0].group} is the only group; a gap needs two"
        for c in own:
            if c.commands == 0:
                heard = "none of its clips can be heard" if c.unheard == c.clips else "it has no clip of a command"
                yield f"{attribute}: nothing is said of {c.group}, since {heard}"
