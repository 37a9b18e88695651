"""A loaded recogniser: which defense answers, and that an answer depends on nothing but the clip, its name and seed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from recognizer.audio import AudioFormat, Clip, read_clip
from recognizer.bundle import load_bundle
from recognizer.decision import UNKNOWN, Decision, Reason, conclude
from recognizer.defense import DefenseName
from recognizer.manifest import load_manifest
from recognizer.recognizer import Recognizer, UnknownDefense, window_of


class Spy:
    """A defense that remembers what it was asked."""

    def __init__(self, name: DefenseName, command: str) -> None:
        self.name = name
        self.command = command
        self.asked: list[tuple[Tensor, Sequence[str], int]] = []

    def decide(
        self, waveforms: Tensor, *, clip_ids: Sequence[str], seed: int, deadline: float | None = None
    ) -> list[Decision]:
        del deadline
        self.asked.append((waveforms, clip_ids, seed))
        return [conclude([self.command, "b"], [1.0, 0.0]) for _ in waveforms]


def spied() -> tuple[Recognizer, Spy, Spy]:
    none, smoothing = Spy(DefenseName.NONE, "plain"), Spy(DefenseName.SMOOTHING, "smooth")
    recognizer = Recognizer(
        name="spied",
        version="sha256:0123456789abcdef",
        labels=("plain", UNKNOWN, "smooth"),
        audio=AudioFormat(window_seconds=0.25),
        vocabulary={},
        defenses={none.name: none, smoothing.name: smoothing},
        default_defense=DefenseName.SMOOTHING,
    )
    return recognizer, none, smoothing


def clip_of(samples: Sequence[float]) -> Clip:
    return Clip(np.array(samples, dtype=np.float32), len(samples) / 16_000, 16_000)


def test_the_default_defense_answers_unless_another_is_named() -> None:
    recognizer, none, smoothing = spied()
    clips, ids = [clip_of([0.5, -0.5])], ["clip"]
    assert recognizer.decide(clips, clip_ids=ids, seed=7)[0].command == "smooth"
    assert recognizer.decide(clips, clip_ids=ids, seed=8, defense="none")[0].command == "plain"
    assert recognizer.decide(clips, clip_ids=ids, seed=9, defense="smoothing")[0].command == "smooth"
    assert [seed for _, _, seed in smoothing.asked] == [7, 9]
    assert [(list(names), seed) for _, names, seed in none.asked] == [(ids, 8)]


@pytest.mark.parametrize("name", ["neural_rejection", "NONE", "purification", "none "])
def test_an_unknown_defense_is_refused_with_those_there_are(name: str) -> None:
    recognizer, *_ = spied()
    with pytest.raises(UnknownDefense, match=f"no defense '{name}'; it has none, smoothing"):
        recognizer.decide([], clip_ids=[], seed=0, defense=name)


def test_unknown_is_a_label_and_no_command() -> None:
    recognizer, *_ = spied()
    assert recognizer.commands == ("plain", "smooth")


def test_the_short_version_is_the_first_twelve_digits() -> None:
    assert spied()[0].short_version == "0123456789ab"


def test_clips_of_every_length_become_one_window() -> None:
    audio = AudioFormat(window_seconds=8 / 16_000)
    long = [0.1] * 10 + [0.9] * 6 + [0.1] * 10
    windows = window_of([clip_of([0.5, 0.5]), clip_of([0.2] * 8), clip_of(long)], audio)
    assert windows.dtype == torch.float32
    expected = [[0, 0, 0, 0.5, 0.5, 0, 0, 0], [0.2] * 8]
    np.testing.assert_allclose(windows[:2], expected, rtol=1e-6)
    assert int((windows[2] > 0.5).sum()) == 6
    assert window_of([], audio).shape == (0, 8)


@pytest.mark.parametrize("defense", list(DefenseName))
def test_a_decision_does_not_depend_on_the_clips_beside_it(
    bundle: Path, tone_manifest: Path, defense: DefenseName
) -> None:
    recognizer = load_bundle(bundle)
    part = load_manifest(tone_manifest).split("test")
    chosen = range(0, 96, 17)
    clips = [read_clip(Path(part.table["path"][i]), recognizer.audio) for i in chosen]
    ids = [part.clip_ids[i] for i in chosen]
    together = recognizer.decide(clips, clip_ids=ids, seed=3, defense=defense)
    turned = recognizer.decide(clips[::-1], clip_ids=ids[::-1], seed=3, defense=defense)
    alone = [recognizer.decide([c], clip_ids=[i], seed=3, defense=defense)[0] for c, i in zip(clips, ids, strict=True)]
    for decisions in (turned[::-1], alone):
        for one, other in zip(together, decisions, strict=True):
            assert (one.command, one.reason) == (other.command, other.reason)
            assert one.confidence == pytest.approx(other.confidence, abs=1e-5)
            assert one.certificate == other.certificate
    assert {d.reason for d in together} <= {Reason.OK, Reason.NOT_A_COMMAND}
