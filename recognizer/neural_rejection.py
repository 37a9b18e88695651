"""Neural rejection (NR): a support-vector machine on the network's last features, sure only near its training data.

Source: Melis et al. 2017, "Is deep learning safe for robot vision?": one-vs-all RBF machines on the penultimate
features, here standardised. What is thresholded is their calibrated probability (Platt) or, as there, the margin
itself. Inference only: `training` fits with scikit-learn and exports tensors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from enum import StrEnum

import torch
from torch import Tensor

from recognizer.decision import Certificate, Decision, Reason, conclude
from recognizer.defense import DefenseName, finite, one_pass
from recognizer.hearing import Hearing
from recognizer.network import Network


class Score(StrEnum):
    """What neural rejection thresholds.

    Far from all data every kernel is 0 and each machine says its intercept alone. For a command of few among many
    clips that margin is negative, below every threshold. Calibration may make a high probability of it; see
    `NeuralRejection.far_from_data`.
    """

    PROBABILITY = "probability"
    """Platt's, over the labels; they sum to 1."""
    MARGIN = "margin"
    """One-vs-all decision values: 0 on a label's boundary, 1 on its margin, unbounded both ways; shown cut to
    [0, 1], and no probability."""


@dataclass(frozen=True)
class SupportVectorMachine:
    """A fitted one-vs-all RBF machine with calibrated scores, as float64 tensors.

    Attributes:
        mean, scale: [F] standardise the features.
        support: [S, F] support vectors of all classes, standardised.
        dual: [K, S] coefficients; 0 where a vector is none of that class's.
        intercept: [K].
        gamma: [] RBF width: exp(-gamma |x - z|^2).
        slope, offset: [K] Platt: P = 1 / (1 + exp(slope * score + offset)).
    """

    mean: Tensor
    scale: Tensor
    support: Tensor
    dual: Tensor
    intercept: Tensor
    gamma: Tensor
    slope: Tensor
    offset: Tensor

    def scores(self, features: Tensor) -> Tensor:
        """Decision values, float64 [clips, K], of raw features, [clips, F]."""
        standardised = (features.to(self.mean.dtype) - self.mean) / self.scale
        squared = torch.cdist(standardised, self.support, compute_mode="donot_use_mm_for_euclid_dist").square()
        return torch.exp(-self.gamma * squared) @ self.dual.T + self.intercept

    def probabilities(self, features: Tensor) -> Tensor:
        """Calibrated probabilities, float64 [clips, K], each row summing to 1."""
        return self.calibrated(self.scores(features))

    def calibrated(self, scores: Tensor) -> Tensor:
        """The probabilities of decision values, both float64 [clips, K]."""
        each = torch.sigmoid(-(self.slope * scores + self.offset))
        total = each.sum(dim=1, keepdim=True)
        uniform = torch.full_like(each, 1.0 / each.shape[1])
        return torch.where(total == 0, uniform, each / total)

    def fits(self, *, labels: int, features: int) -> bool:
        """Whether every tensor has the shape that so many labels and features need."""
        vectors = self.dual.numel() // labels
        shapes = {"mean": (features,), "scale": (features,), "support": (vectors, features), "dual": (labels, vectors)}
        shapes |= {"gamma": (), "intercept": (labels,), "slope": (labels,), "offset": (labels,)}
        return all(tensor.shape == shapes[name] for name, tensor in self.tensors().items())

    def tensors(self) -> dict[str, Tensor]:
        """Name -> tensor, for the bundle."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    def to(self, device: torch.device) -> SupportVectorMachine:
        """The machine on a device."""
        return SupportVectorMachine(**{name: tensor.to(device) for name, tensor in self.tensors().items()})


class NeuralRejection:
    """A network whose labels come from the machine on its features; abstains when the best score is low."""

    name = DefenseName.NEURAL_REJECTION

    def __init__(
        self,
        network: Network,
        machine: SupportVectorMachine,
        labels: Sequence[str],
        *,
        confidence_threshold: float,
        score: Score = Score.PROBABILITY,
    ) -> None:
        """
        Args:
            confidence_threshold: NR abstains when the top score is below it (larger is stricter); in [0, 1].
            score: what that score is.

        Raises:
            ValueError: a threshold outside [0, 1], or a machine for another number of labels or features.
        """
        if not 0 <= confidence_threshold <= 1:
            raise ValueError(f"confidence_threshold is {confidence_threshold}; it must lie in [0, 1]")
        if not machine.fits(labels=len(labels), features=network.config.last_width):
            raise ValueError("the support-vector machine does not fit this network and these labels")
        self.network = network.eval()
        self.machine = machine
        self.labels = tuple(labels)
        self.confidence_threshold = confidence_threshold
        self.score = score

    def scores(self, features: Tensor) -> Tensor:
        """What the threshold is compared with, float64 [clips, K], of raw features, [clips, F]."""
        margins = self.machine.scores(features)
        return margins if self.score is Score.MARGIN else self.machine.calibrated(margins)

    def far_from_data(self) -> Decision:
        """What it decides where every kernel has died away: the same of everything far enough from its data."""
        margins = self.machine.intercept[None]
        scores = margins if self.score is Score.MARGIN else self.machine.calibrated(margins)
        return self._conclude(scores[0].tolist())

    def decide(
        self, waveforms: Tensor, *, clip_ids: Sequence[str], seed: int, deadline: float | None = None
    ) -> list[Decision]:
        """See `Defense.decide`; `confidence` is the leader's score, a margin cut to [0, 1]."""
        del clip_ids, seed, deadline
        device = next(self.network.parameters()).device
        with torch.inference_mode():
            features = torch.cat([self.network.features(part.to(device)) for part in torch.split(waveforms, 256)])
            scores = finite(self.scores(finite(features))).cpu()
        return [self._conclude(row) for row in scores.tolist()]

    def hearing(self) -> Hearing:
        """See `Defense.hearing`."""
        return one_pass(self, next(self.network.parameters()).device)

    def promises(self) -> tuple[Certificate, ...]:
        """See `Defense.promises`."""
        return (Certificate(defense=self.name, confidence_threshold=self.confidence_threshold),)

    def _conclude(self, scores: list[float]) -> Decision:
        # Led by the score itself: cut to [0, 1], several margins may be equal.
        order = sorted(range(len(scores)), key=lambda k: (-scores[k], k))
        best, threshold = scores[order[0]], self.confidence_threshold
        name = "margin" if self.score is Score.MARGIN else "confidence"
        hold = None
        if best < threshold:
            hold = (Reason.LOW_CONFIDENCE, f"{name} = {best:.3f} < confidence_threshold = {threshold:g}")
        return conclude(
            [self.labels[k] for k in order],
            [min(max(scores[k], 0.0), 1.0) for k in order],
            hold=hold,
            detail=f"{name} = {best:.3f} >= confidence_threshold = {threshold:g}",
            certificate=Certificate(defense=self.name, confidence_threshold=threshold),
        )
