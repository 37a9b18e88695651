"""What neural rejection decides of everything far from its data, as a bundle's test results tell it."""

from __future__ import annotations

import logging
from typing import Any

from recognizer.decision import Reason
from recognizer.neural_rejection import NeuralRejection

logger = logging.getLogger(__name__)

FAR_FROM_DATA = "far_from_data"
"""The key in a bundle's `test_results`."""


def what_it_decides_far_from_data(rejection: NeuralRejection) -> dict[str, Any]:
    """Whether it accepts, its leader and confidence, and the same in words; logged where it is an acceptance.

    Abstaining there is what neural rejection is for (Melis et al. 2017), and calibration can undo it.
    """
    far = rejection.far_from_data()
    command, confidence = far.top[0].command, far.confidence or 0.0
    verb, sign = ("accepts", ">=") if far.is_accepted else ("abstains on", "<")
    if far.reason is Reason.NOT_A_COMMAND:
        verb, sign = "hears", ">="
    says = (
        f"far from its data NR {verb} {command!r} with a {rejection.score} of {confidence:.2f} {sign} "
        f"{rejection.confidence_threshold:g}"
    )
    if far.is_accepted:
        logger.warning(
            "%s: calibration has destroyed its abating; take margin scores, a higher threshold or an `unknown` class",
            says,
        )
    return {"accepts": far.is_accepted, "leader": command, "confidence": round(confidence, 6), "says": says}
