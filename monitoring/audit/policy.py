"""What an audit is held to: which gaps count, how large they may be, and what "can't be said" means.

A policy is a TOML or YAML file:

    tolerance = 0.05              # of every gap that has none of its own
    min_speakers = 20             # a group with fewer is shown, not compared
    required_attributes = ["gender", "accent"]
    attacked = true               # a run that attacks nothing is an error
    insufficient = "inconclusive" # or "pass", "disparity"

    [tolerances]                  # by metric
    accuracy = 0.08

    [minimum_accuracy]            # by defense, over all speakers
    smoothing = 0.8

    [[gates]]                     # the gaps that count; "*" is any, "default" the bundle's default defense
    defense = "default"
    attribute = "*"
    metric = "rejection"
    tolerance = 0.03
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from recognizer.steps import steps_of

GapMetric = Literal["auc_fpr", "rejection", "accuracy", "auc_acc"]
CountsAs = Literal["pass", "disparity", "inconclusive"]
ANY, DEFAULT_DEFENSE = "*", "default"


class PolicyError(ValueError):
    """A policy that can't be used; the message says what is wrong with it and what is accepted."""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Gate(_Model):
    """Gaps that decide what the audit comes to."""

    defense: str = DEFAULT_DEFENSE
    """A defense's name, `default` or `*`."""
    attribute: str = ANY
    """An attribute of the manifest, or `*`."""
    metric: GapMetric | Literal["*"] = "*"
    """What the groups are compared by."""
    tolerance: float | None = Field(default=None, ge=0, le=1)
    """By default that of the metric, else the policy's."""


class Policy(_Model):
    """See the module."""

    tolerance: float = Field(default=0.05, ge=0, le=1)
    """The largest gap that is accepted, of every gap that has none of its own."""
    tolerances: dict[GapMetric, Annotated[float, Field(ge=0, le=1)]] = {}
    """Metric -> the same for its gaps."""
    min_speakers: int = Field(default=20, ge=10)
    """A group with fewer is shown, not compared."""
    gates: tuple[Gate, ...] = (Gate(metric="rejection"), Gate(metric="accuracy"))
    """The gaps that count."""
    minimum_accuracy: dict[str, Annotated[float, Field(ge=0, le=1)]] = {}
    """Defense, `default` or `*` -> the least share of right commands, on clean clips of all speakers."""
    required_attributes: tuple[str, ...] = ()
    """A manifest without one of them, or with fewer than two groups of it, is an error."""
    attacked: bool = False
    """Whether an audit that attacks nothing is an error."""
    inconclusive: CountsAs = "inconclusive"
    """What a gap counts as that could be on either side of its tolerance."""
    insufficient: CountsAs = "inconclusive"
    """What a gap counts as where fewer than two groups have enough speakers."""

    def tolerance_of(self, gate: Gate, metric: GapMetric) -> float:
        """The largest acceptable gap of a metric under a gate."""
        if gate.tolerance is not None:
            return gate.tolerance
        return self.tolerances.get(metric, self.tolerance)


def check_measured(policy: Policy, defenses: Sequence[str], *, default_defense: str, is_attacked: bool) -> None:
    """Refuse a policy that names what an audit does not measure: it would pass without being looked at.

    Gates that nobody wrote down, those of `Policy()`, may find nothing.

    Args:
        defenses: names of those that are audited.
        is_attacked: whether clips are attacked.

    Raises:
        PolicyError: a defense that is not audited, AUC_acc without an attack, or AUC_FPR of a defense that rejects
            nothing.
    """
    gates = policy.gates if "gates" in policy.model_fields_set else ()
    for named in (*(gate.defense for gate in gates), *policy.minimum_accuracy):
        if named != ANY and (default_defense if named == DEFAULT_DEFENSE else named) not in defenses:
            own = f"the default defense, {default_defense}" if named == DEFAULT_DEFENSE else f"the defense {named}"
            raise PolicyError(f"the policy names {own}, which is not audited; audited are {', '.join(defenses)}")
    for gate in gates:
        if gate.metric == "auc_acc" and not is_attacked:
            raise PolicyError("the policy names auc_acc, and no clip is to be attacked; give --attacked-clips N")
        meant = default_defense if gate.defense == DEFAULT_DEFENSE else gate.defense
        if gate.metric == "auc_fpr" and meant != ANY and not steps_of(meant).rejectors:
            raise PolicyError(f"the policy names auc_fpr of {meant}, which rejects nothing and has none")


def load_policy(path: Path) -> Policy:
    """Read a policy from TOML (`.toml`) or YAML (`.yaml`, `.yml`).

    Raises:
        PolicyError: no such file, another ending, broken syntax, an unknown field or a value out of range.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PolicyError(f"the policy {path} can't be read: {error}") from error
    try:
        return Policy.model_validate(_parsed(text, path))
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'the file'}: {e['msg']}" for e in error.errors())
        raise PolicyError(f"the policy {path}: {wrong}") from None


def _parsed(text: str, path: Path) -> Any:
    try:
        match path.suffix:
            case ".toml":
                return tomllib.loads(text)
            case ".yaml" | ".yml":
                found = yaml.safe_load(text)
                return {} if found is None else found
    except (tomllib.TOMLDecodeError, yaml.YAMLError) as error:
        raise PolicyError(f"the policy {path} can't be read: {error}") from None
    raise PolicyError(f"the policy {path} ends in {path.suffix!r}; .toml, .yaml and .yml are accepted")
