"""What a defense is called: its steps in the order they are taken, joined by dots.

`none`, `smoothing`, `neural_rejection.smoothing`, `opus.smoothing`, `low_pass.opus.neural_rejection.smoothing`: such a
name stands in a query and in a metric's label as it is.
"""

from __future__ import annotations

from dataclasses import dataclass

from recognizer.defense import DefenseName
from recognizer.purification import PURIFIERS

REJECTORS = (DefenseName.NEURAL_REJECTION, DefenseName.SMOOTHING)
"""The defenses that reject, in the order that they are combined in: the cheap one first."""


class DefenseNameError(ValueError):
    """A name that no defense can have; the message says what is wrong with it and what is accepted."""


@dataclass(frozen=True)
class Steps:
    """A defense's steps. Without any rejector the plain network's arg max is accepted."""

    purifiers: tuple[str, ...]
    """In the order they are applied in."""
    rejectors: tuple[DefenseName, ...]
    """In the order of REJECTORS."""

    @property
    def name(self) -> str:
        return ".".join((*self.purifiers, *self.rejectors)) or DefenseName.NONE.value

    @property
    def is_combined(self) -> bool:
        """Whether several rejectors must agree."""
        return len(self.rejectors) > 1


def steps_of(name: str) -> Steps:
    """Read a defense's name; `steps_of(name).name == name`.

    Raises:
        DefenseNameError: an unknown step, one that comes twice, steps in another order, or `none` beside others.
    """
    if name == DefenseName.NONE:
        return Steps((), ())
    steps = name.split(".")
    if unknown := [step for step in steps if step not in (*PURIFIERS, *DefenseName)]:
        purifiers, rejectors = ", ".join(PURIFIERS), ", ".join(REJECTORS)
        raise DefenseNameError(
            f"{name!r}: there is no step {', '.join(map(repr, unknown))}; accepted are none, or joined by '.' "
            f"purifiers ({purifiers}), then {rejectors}"
        )
    if DefenseName.NONE in steps:
        raise DefenseNameError(f"{name!r}: 'none' stands alone; leave it out beside other steps")
    if twice := sorted({step for step in steps if steps.count(step) > 1}):
        raise DefenseNameError(f"{name!r}: {', '.join(map(repr, twice))} comes twice; each step is taken once")
    found = Steps(
        tuple(step for step in steps if step in PURIFIERS),
        tuple(rejector for rejector in REJECTORS if rejector in steps),
    )
    if found.name != name:
        raise DefenseNameError(
            f"{name!r}: the order is purifiers, then {', then '.join(REJECTORS)}: give {found.name!r}"
        )
    return found
