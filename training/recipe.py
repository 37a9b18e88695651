"""How a network is trained: the settings, the paper's recipe and ours."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from recognizer.network import ArchitectureName
from training.augmentation import UNCHANGED, Augmentation

RecipeName = Literal["strong", "paper"]
RECIPES: tuple[RecipeName, ...] = ("strong", "paper")
Precision = Literal["float32", "bfloat16"]
PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16")


class Recipe(BaseModel):
    """How a network is trained; with the clips it decides the weights, to the last bit on one machine, device and
    number of threads."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    architecture: ArchitectureName = "m5-small"
    epochs: int = Field(default=24, ge=1)
    batch: int = Field(default=64, ge=2)
    schedule: Literal["one-cycle", "constant"] = "one-cycle"
    learning_rate: float = Field(default=0.008, gt=0)
    """Of AdamW; the peak of a one-cycle schedule. A training of fewer than 5 steps has no room for a cycle: it is
    constant there."""
    weight_decay: float = Field(default=0.01, ge=0)
    """Decoupled; 0 makes AdamW Adam."""
    label_smoothing: float = Field(default=0.05, ge=0, lt=1)
    mixup: float = Field(default=0.0, ge=0, le=0.5)
    """Each clip, and its label, is mixed with another clip of the batch, which gets a share of up to this."""
    averaging: float = Field(default=0.0, ge=0, lt=1)
    """Decay a step of an exponential moving average of the weights, which is then what is kept; 0 = none."""
    clips_a_speaker: int | None = Field(default=None, ge=1)
    """At most so many clips of each speaker an epoch, drawn anew, so that talkative voices do not rule; None = all."""
    augmentation: Augmentation = Augmentation()
    noise_sigma: float = Field(default=0.0, ge=0)
    """Noise augmentation: standard deviation in raw amplitude, on every training clip; in adversarial training on
    the clean half of a batch only, the attacked half carries none."""
    select_under_noise: bool = True
    """Whether the validation clips carry that noise too: what RS needs; the paper's hardened networks did not."""
    adversarial_eps: float = Field(default=0.0, ge=0, le=2)
    """Adversarial training: L-infinity radius in raw amplitude; 0 = none."""
    adversarial_steps: int = Field(default=10, ge=1)
    precision: Precision = "float32"
    """Of the multiplications of a training step; weights, attacks and evaluation are float32."""
    seed: int = 0

    @model_validator(mode="after")
    def _one_kind_of_label(self) -> Self:
        if self.mixup > 0 and self.adversarial_eps > 0:
            raise ValueError("mixup and adversarial training do not go together: an attack needs one true label a clip")
        return self


def strong_recipe(**changes: Any) -> Recipe:
    """Ours: one-cycle schedule, long, with speed, shift, gain and background noise, and no voice heard too often.

    On real digits of 126 speakers (115 in a fold's training set) an epoch is 2,100 clips. M5 multiplies in bfloat16,
    which is slow on a processor that has no instructions for it: ask for float32 there.
    """
    ours: dict[str, Any] = {"architecture": "m5-small", "epochs": 240, "clips_a_speaker": 200, "averaging": 0.999}
    if str(changes.get("architecture", "m5-small")).startswith("m5-small"):
        return Recipe(**(ours | changes))
    return Recipe(**(ours | {"epochs": 60, "learning_rate": 0.004, "precision": "bfloat16"} | changes))


def paper_recipe(**changes: Any) -> Recipe:
    """Richards et al. 2023, appendix A.1: Adam at 1e-3, 1000 epochs, noise augmentation only, the lowest validation
    loss under the training regime but for the noise (section 4.2). The batch size is not given there."""
    paper: dict[str, Any] = {
        "architecture": "m5",
        "epochs": 1000,
        "schedule": "constant",
        "learning_rate": 1e-3,
        "weight_decay": 0.0,
        "label_smoothing": 0.0,
        "augmentation": UNCHANGED,
        "select_under_noise": False,
    }
    return Recipe(**(paper | changes))


def named_recipe(name: RecipeName, **changes: Any) -> Recipe:
    """The recipe of a name, with changes to its settings."""
    return paper_recipe(**changes) if name == "paper" else strong_recipe(**changes)
