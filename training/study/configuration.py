"""The networks of a study: every combination of the paper's training defenses, and the one that RS sits on.

Source: Richards et al. 2023, sections 4.2 and 4.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from itertools import product
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from recognizer.network import ArchitectureName
from training.recipe import Recipe, RecipeName, named_recipe

StudyArchitecture = Literal["m5-small", "m5"]
STUDY_ARCHITECTURES: tuple[StudyArchitecture, ...] = ("m5-small", "m5")

ADVERSARIAL_EPS = (0.0, 0.001, 0.005, 0.01, 0.1)
NOISE_SIGMA = (0.0, 0.01, 0.05, 0.1)
SMOOTHING_SIGMA = 0.1


class Configuration(BaseModel):
    """What hardens one network."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tricks: bool
    adversarial_eps: float = Field(ge=0)
    """Adversarial training: L-infinity radius, raw amplitude; 0 = none."""
    noise_sigma: float = Field(ge=0)
    """Noise augmentation: standard deviation, raw amplitude; 0 = none."""
    select_under_noise: bool = False
    """Whether the validation clips carry the noise too: only those of the network that RS sits on (section 4.3)."""

    def key(self, architecture: StudyArchitecture) -> str:
        """The network's name and folder, such as `m5-small-tricks_at0.005_noise0.05`."""
        role = "_smoothing" if self.select_under_noise else ""
        return f"{self._named(architecture)}_at{self.adversarial_eps:g}_noise{self.noise_sigma:g}{role}"

    def recipe(self, name: RecipeName, *, architecture: StudyArchitecture, epochs: int, seed: int) -> Recipe:
        """How the network is trained."""
        return named_recipe(
            name,
            architecture=self._named(architecture),
            epochs=epochs,
            seed=seed,
            adversarial_eps=self.adversarial_eps,
            noise_sigma=self.noise_sigma,
            select_under_noise=self.select_under_noise,
        )

    def _named(self, architecture: StudyArchitecture) -> ArchitectureName:
        if architecture == "m5":
            return "m5-tricks" if self.tricks else "m5"
        return "m5-small-tricks" if self.tricks else "m5-small"


CONFIGURATIONS: tuple[Configuration, ...] = tuple(
    Configuration(tricks=tricks, adversarial_eps=eps, noise_sigma=sigma)
    for tricks, eps, sigma in product((False, True), ADVERSARIAL_EPS, NOISE_SIGMA)
)
"""The 40, without and with Tricks."""

UNDEFENDED = Configuration(tricks=False, adversarial_eps=0.0, noise_sigma=0.0)
"""Neural rejection and purification sit on this one of the 40."""

SMOOTHING = Configuration(tricks=False, adversarial_eps=0.0, noise_sigma=SMOOTHING_SIGMA, select_under_noise=True)
"""Randomized smoothing sits on this one, which is none of the 40."""


def choose_configurations(patterns: Sequence[str], architecture: StudyArchitecture) -> tuple[Configuration, ...]:
    """Those of the 40 whose key matches a pattern (`*` stands for anything), and `UNDEFENDED`, in the study's order.

    Raises:
        ValueError: a pattern that matches none.
    """
    keys = {configuration.key(architecture): configuration for configuration in CONFIGURATIONS}
    for pattern in patterns:
        if not any(fnmatchcase(key, pattern) for key in keys):
            raise ValueError(
                f"no configuration is called {pattern!r}; keys such as {next(iter(keys))} and patterns such as "
                f"'*_noise0' are accepted, of adversarial eps {ADVERSARIAL_EPS} and noise sigma {NOISE_SIGMA}"
            )
    return tuple(
        configuration
        for key, configuration in keys.items()
        if configuration == UNDEFENDED or any(fnmatchcase(key, pattern) for pattern in patterns)
    )
