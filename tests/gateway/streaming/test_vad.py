from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from gateway.streaming import silero, vad
from gateway.streaming.silero import BLOCK, DetectorUnavailable, load_network
from gateway.streaming.vad import RATE, EnergyDetector, SileroDetector, SpeechDetector

DETECTORS = [SileroDetector, EnergyDetector]


def blocks(samples: np.ndarray) -> np.ndarray:
    return samples[: len(samples) // BLOCK * BLOCK].astype(np.float32).reshape(-1, BLOCK)


def heard(detector: SpeechDetector, samples: np.ndarray) -> list[float]:
    return [detector.probability(block) for block in blocks(samples)]


def noise(amplitude: float, seconds: float = 4.0) -> np.ndarray:
    return np.random.default_rng(3).normal(0, amplitude, round(seconds * RATE)).clip(-1, 1)


def test_the_network_is_the_wheels_own(words: list[np.ndarray]) -> None:
    wheel = Path(next(iter(importlib.util.find_spec("silero_vad").submodule_search_locations)))
    model = torch.jit.load(wheel / "data" / "silero_vad.jit").eval()
    samples = np.concatenate([*words[:6], noise(0.1), np.zeros(RATE), *words[6:9]])
    with torch.no_grad():
        theirs = [model(torch.from_numpy(block)[None], RATE).item() for block in blocks(samples)]
    assert max(theirs) > 0.9
    assert min(theirs) < 0.1
    np.testing.assert_allclose(heard(SileroDetector(), samples), theirs, atol=1e-4)


@pytest.mark.parametrize("make", DETECTORS)
def test_two_interleaved_streams_hear_what_each_hears_alone(
    make: type[SpeechDetector], words: list[np.ndarray]
) -> None:
    first, second = np.concatenate(words[:4]), np.concatenate([noise(0.05), *words[4:8]])
    length = min(len(first), len(second))
    first, second = first[:length], second[:length]
    alone = heard(make(), first), heard(make(), second)
    one, other = make(), make()
    pairs = [(one.probability(a), other.probability(b)) for a, b in zip(blocks(first), blocks(second), strict=True)]
    assert tuple(map(list, zip(*pairs, strict=True))) == alone
    assert alone[0] != alone[1]


@pytest.mark.parametrize("make", DETECTORS)
def test_after_a_reset_nothing_is_remembered(make: type[SpeechDetector], words: list[np.ndarray]) -> None:
    loud, detector = noise(0.1, 1), make()
    fresh = heard(detector, loud)
    heard(detector, np.concatenate([words[0], noise(0.001, 1)]))
    assert heard(detector, loud) != fresh
    detector.reset()
    assert heard(detector, loud) == fresh


@pytest.mark.parametrize("make", DETECTORS)
def test_words_are_speech_and_the_silence_between_them_is_none(
    make: type[SpeechDetector], words: list[np.ndarray]
) -> None:
    detector = make()
    detector.probability(np.zeros(BLOCK, np.float32))
    for word in words:
        assert max(heard(detector, word)) > 0.5
        assert max(heard(detector, np.zeros(RATE))[-15:]) < 0.2


@pytest.mark.parametrize("make", DETECTORS)
@pytest.mark.parametrize("amplitude", [0.0, 0.001, 0.01, 0.1, 0.3])
def test_steady_noise_is_no_speech(make: type[SpeechDetector], amplitude: float) -> None:
    assert max(heard(make(), noise(amplitude))) < 0.5


def test_the_energy_detector_takes_what_stays_loud_for_background() -> None:
    detector = EnergyDetector()
    assert max(heard(detector, noise(0.01, 1))) < 0.5
    louder = heard(detector, noise(0.1, 10))
    assert min(louder[:30]) > 0.5  # 20 dB above it
    assert max(louder[-30:]) < 0.5  # 10 s later, at 3 dB a second
    assert max(heard(detector, noise(0.01, 1))) < 0.5
    assert min(heard(detector, noise(0.1, 1))) > 0.5  # downwards it follows at once


@pytest.mark.parametrize("make", DETECTORS)
@pytest.mark.parametrize("shape", [(511,), (513,), (0,), (1, BLOCK)])
def test_a_block_of_another_size_is_refused(make: type[SpeechDetector], shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"\(512,\) is accepted"):
        make().probability(np.zeros(shape, np.float32))


def test_torch_keeps_its_threads_and_is_not_loaded_before_it_is_needed() -> None:
    code = (
        "import sys, gateway.streaming.endpointing, gateway.streaming.listening, gateway.streaming.vad\n"
        "assert 'torch' not in sys.modules\n"
        "import torch; torch.set_num_threads(3)\n"
        "gateway.streaming.vad.SileroDetector()\n"
        "assert torch.get_num_threads() == 3 and 'silero_vad' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_without_the_wheel_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(vad, "load_network", load_network.__wrapped__)  # nothing that was read before
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(DetectorUnavailable, match="pip install silero-vad"):
        SileroDetector()
    monkeypatch.setattr(silero, "_model_file", lambda: tmp_path / "other.jit")
    torch.jit.script(torch.nn.ModuleDict({"_model": torch.nn.Linear(2, 2)})["_model"]).save(tmp_path / "other.jit")
    with pytest.raises(DetectorUnavailable, match="another network than that of silero-vad 6"):
        SileroDetector()
