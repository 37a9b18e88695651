"""A loaded recogniser: its audio format, its labels and its defenses; a clip in, a decision out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from recognizer.audio import AudioFormat, Clip, fit_window
from recognizer.decision import UNKNOWN, Decision
from recognizer.defense import Defense
from recognizer.groups import Vocabulary
from recognizer.hearing import Case
from recognizer.smoothing import BankVoting


class UnknownDefense(ValueError):
    """A defense that the recogniser does not have; the message names those it has."""


@dataclass(frozen=True)
class Recognizer:
    """What a bundle becomes in memory.

    Attributes:
        name: the bundle's.
        version: `sha256:...` of the bundle.
        labels: the commands, and perhaps `unknown`.
        audio: the waveforms it takes.
        vocabulary: attribute -> groups seen in training, testing or validation.
        defenses: by name, those that a request may choose.
        default_defense: the one used where a request names none.
        banks: of the noise that *fast* mode draws beforehand.
    """

    name: str
    version: str
    labels: tuple[str, ...]
    audio: AudioFormat
    vocabulary: Vocabulary
    defenses: Mapping[str, Defense]
    default_defense: str
    banks: tuple[BankVoting, ...] = ()

    @property
    def short_version(self) -> str:
        return short_version(self.version)

    @property
    def commands(self) -> tuple[str, ...]:
        return tuple(label for label in self.labels if label != UNKNOWN)

    def defense(self, name: str | None) -> Defense:
        """The named defense, or the default one.

        Raises:
            UnknownDefense: the bundle has no such defense.
        """
        try:
            return self.defenses[name or self.default_defense]
        except KeyError:
            known = ", ".join(self.defenses)
            raise UnknownDefense(f"this bundle has no defense {name!r}; it has {known}") from None

    def decide(
        self,
        clips: Sequence[Clip],
        *,
        clip_ids: Sequence[str],
        seed: int,
        defense: str | None = None,
        deadline: float | None = None,
    ) -> list[Decision]:
        """One decision a clip.

        Args:
            clips: decoded by this recogniser's `audio` format.
            clip_ids: [clips] names that key the noise, with `seed`.
            seed: unpredictable in service; fixed in audits and replays.
            defense: by name; the default one where None.
            deadline: `time.perf_counter()` at which what is undecided becomes an abstention.

        Raises:
            UnknownDefense: the bundle has no such defense.
            NetworkError: the network gave NaN or infinity.
        """
        waveforms = window_of(clips, self.audio)
        return self.defense(defense).decide(waveforms, clip_ids=clip_ids, seed=seed, deadline=deadline)

    def case(self, clip: Clip, *, clip_id: str, seed: int, deadline: float | None = None) -> Case:
        """A clip for a hearing of one of the defenses; see `decide`."""
        return Case(torch.from_numpy(fit_window(clip.waveform, self.audio.window)), clip_id, seed, deadline)


def short_version(version: str) -> str:
    """Enough of a bundle's version to tell bundles apart in a metric's label."""
    return version.removeprefix("sha256:")[:12]


def window_of(clips: Sequence[Clip], audio: AudioFormat) -> Tensor:
    """The clips fitted to the window, float32 [clips, window]."""
    rows = [fit_window(clip.waveform, audio.window) for clip in clips]
    return torch.from_numpy(np.stack(rows) if rows else np.empty((0, audio.window), dtype=np.float32))
