"""Neural rejection (NR): a support-vector machine on the network's last features, sure only near its training data.

Source: Melis et al. 2017, "Is deep learning safe for robot vision?"; here one-vs-all RBF machines on the standardised
penultimate features, their scores calibrated to probabilities (Platt). Inference only: `training` fits with
scikit-learn and exports tensors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from recognizer.decision import Certificate, Decision, Reason, conclude
from recognizer.defense import DefenseName, finite
from recognizer.network import Network


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
        each = torch.sigmoid(-(self.slope * self.scores(features) + self.offset))
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
    """A network whose labels come from the machine on its features; abstains when the best probability is low."""

    name = DefenseName.NEURAL_REJECTION

    def __init__(
        self,
        network: Network,
        machine: SupportVectorMachine,
        labels: Sequence[str],
        *,
        confidence_threshold: float,
    ) -> None:
        """
        Args:
            confidence_threshold: NR abstains when the top probability is below it (larger is stricter); in [0, 1].

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

    def decide(self, waveforms: Tensor, *, clip_ids: Sequence[str], seed: int) -> list[Decision]:
        """See `Defense.decide`; `confidence` is the calibrated probability of the leader."""
        del clip_ids, seed
        device = next(self.network.parameters()).device
        with torch.inference_mode():
            features = torch.cat([self.network.features(part.to(device)) for part in torch.split(waveforms, 256)])
            probabilities = finite(self.machine.probabilities(finite(features))).cpu()
        return [self._conclude(row) for row in probabilities.tolist()]

    def _conclude(self, probabilities: list[float]) -> Decision:
        confidence = max(probabilities)
        threshold = self.confidence_threshold
        hold = None
        if confidence < threshold:
            hold = (
                Reason.LOW_CONFIDENCE,
                f"confidence = {confidence:.3f} < confidence_threshold = {threshold:g}",
            )
        return conclude(
            self.labels,
            probabilities,
            hold=hold,
            detail=f"confidence = {confidence:.3f} >= confidence_threshold = {threshold:g}",
            certificate=Certificate(defense=self.name, confidence_threshold=threshold),
        )
