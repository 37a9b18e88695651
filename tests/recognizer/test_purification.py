"""Purifiers against scipy and slow loops, their alignment, what they are for, and attackers who see through them."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.signal
import torch
from torch import Tensor, nn

from recognizer.audio import AudioError, AudioFormat, fit_window, read_clip
from recognizer.decision import UNKNOWN
from recognizer.defense import Undefended
from recognizer.network import M5, Architecture, predict_logits
from recognizer.neural_rejection import NeuralRejection, SupportVectorMachine
from recognizer.purification import (
    PURIFIERS,
    LowPass,
    Mp3,
    Opus,
    Purified,
    Quantisation,
    SpectralGate,
    Vorbis,
    attackable,
    purifier,
    straight_through,
)
from recognizer.smoothing import RandomizedSmoothing, noise

RATE = 16_000
LABELS = ("go", "left", UNKNOWN)
CODECS = ("opus", "vorbis", "mp3")


def sound(*, seconds: float = 0.5, clips: int = 1, level: float = 0.3, sample_rate: int = RATE) -> Tensor:
    """Sweeps of 200 to 2500 Hz that fade in and out, each clip's lower than the next, over faint noise."""
    time = np.arange(round(seconds * sample_rate)) / sample_rate
    rng = np.random.default_rng(3)
    sweeps = [scipy.signal.chirp(time, 200 + 20 * clip, seconds, 2500) * np.hanning(len(time)) for clip in range(clips)]
    noisy = level * np.stack(sweeps) + rng.normal(0, 0.001, (clips, len(time)))
    return torch.from_numpy(noisy.astype(np.float32))


def white(*, clips: int, samples: int, level: float = 0.1, seed: int = 5) -> Tensor:
    return level * torch.randn(clips, samples, generator=torch.Generator().manual_seed(seed))


def decibels(power: Tensor) -> float:
    return 10 * math.log10(float(power))


def snr_db(clean: Tensor, other: Tensor) -> float:
    return decibels(clean.square().sum() / (clean - other).square().sum())


def correlation(first: Tensor, second: Tensor) -> list[float]:
    """Of each clip."""
    return [float(np.corrcoef(a, b)[0, 1]) for a, b in zip(first.numpy(), second.numpy(), strict=True)]


# Low-pass


@pytest.mark.parametrize(("sample_rate", "cutoff", "transition"), [(16_000, 3000, 400), (8_000, 1000, 150)])
def test_low_pass_taps_are_scipys_kaiser_windowed_sinc(sample_rate: int, cutoff: float, transition: float) -> None:
    taps = LowPass(sample_rate=sample_rate, cutoff=cutoff, transition=transition).taps.numpy()
    needed, bend = scipy.signal.kaiserord(60.0, transition / (sample_rate / 2))
    expected = scipy.signal.firwin(len(taps), cutoff, window=("kaiser", bend), fs=sample_rate)
    assert needed - 1 <= len(taps) <= needed + 1
    np.testing.assert_allclose(taps, expected, atol=1e-12)


@pytest.mark.parametrize(
    ("hertz", "least", "most"),
    [
        (0, -0.02, 0.02),
        (1000, -0.02, 0.02),
        (2800, -0.02, 0.02),
        (3000, -6.1, -5.9),
        (3200, -400, -59),
        (7000, -400, -60),
    ],
)
def test_low_pass_response_is_flat_then_half_then_60_db_down(hertz: float, least: float, most: float) -> None:
    impulse = torch.zeros(1, 4000)
    impulse[0, 2000] = 1.0
    response = LowPass(cutoff=3000, transition=400)(impulse)[0].double().numpy()
    _, gain = scipy.signal.freqz(response, worN=[hertz], fs=RATE)
    assert least <= 20 * math.log10(abs(gain[0])) <= most


@pytest.mark.parametrize("samples", [1, 7, 100, 3001])
def test_low_pass_is_scipys_convolution_without_delay(samples: int) -> None:
    low_pass, waveforms = LowPass(), white(clips=3, samples=samples)
    expected = [np.convolve(clip, low_pass.taps)[len(low_pass.taps) // 2 :][:samples] for clip in waveforms.double()]
    np.testing.assert_allclose(low_pass(waveforms), np.stack(expected), atol=2e-7)


def test_low_pass_gradient_is_its_adjoint() -> None:
    waveforms, upstream = white(clips=2, samples=900).requires_grad_(), white(clips=2, samples=900, level=0.05)
    low_pass = LowPass()
    (low_pass(waveforms) * upstream).sum().backward()
    torch.testing.assert_close(waveforms.grad, low_pass(upstream), atol=1e-6, rtol=0)  # symmetric taps: g is its own


# Quantisation


@pytest.mark.parametrize("bits", [2, 5, 8])
def test_quantisation_takes_the_nearest_of_two_to_the_bits_levels(bits: int) -> None:
    ramp = torch.linspace(-1, 1, 9973).unsqueeze(0)
    step = 2.0 ** (1 - bits)
    levels = np.arange(-(2 ** (bits - 1)), 2 ** (bits - 1)) * step
    quantised = Quantisation(bits=bits)(ramp)
    error = (quantised - ramp).abs().numpy()[0]
    assert np.unique(quantised).tolist() == levels.tolist()
    np.testing.assert_allclose(error, np.abs(ramp.numpy()[0][:, None] - levels).min(axis=1), atol=1e-7)
    assert error.max() <= step
    assert error[ramp.numpy()[0] <= levels[-1]].max() <= step / 2


@pytest.mark.parametrize("bits", [2, 7, 16])
def test_quantisation_is_idempotent(bits: int) -> None:
    once = Quantisation(bits=bits)(white(clips=2, samples=5000, level=0.5))
    assert torch.equal(Quantisation(bits=bits)(once), once)


# Spectral gate


def test_a_gate_that_turns_nothing_down_returns_the_waveform() -> None:
    for samples in (1, 100, 513, 16_001):
        waveforms = white(clips=2, samples=samples)
        torch.testing.assert_close(SpectralGate(reduction_db=0)(waveforms), waveforms, atol=1e-6, rtol=0)


def test_the_gate_is_a_slow_loop_over_frames_and_bins() -> None:
    gate = SpectralGate(window_seconds=0.016, quiet_share=0.25)
    size, hop = 256, 64
    clip = sound(seconds=0.2)[0].double().numpy() + np.random.default_rng(0).normal(0, 0.01, 3200)
    clip[-400:] = 0  # padding
    window = scipy.signal.get_window("hann", size)
    padded = np.pad(clip, size // 2)
    starts = range(0, len(clip) + 1, hop)
    frames = [np.fft.rfft(window * padded[start : start + size]) for start in starts]
    whole = [f for start, f in zip(starts, frames, strict=True) if start >= size // 2 and start + size // 2 <= 2800]
    loudness = [np.sum(np.abs(frame) ** 2) for frame in whole]
    quiet = [whole[i] for i in np.argsort(loudness)[: math.ceil(0.25 * len(whole))]]
    total, weight = np.zeros(len(padded) + size), np.zeros(len(padded) + size)
    for start, frame in zip(starts, frames, strict=True):
        gated = []
        for k, value in enumerate(frame):
            floor = np.mean([abs(other[k]) ** 2 for other in quiet])
            above = 10 * np.log10(abs(value) ** 2 / floor) if value != 0 else -np.inf
            gated.append(value * (0.1 + 0.9 / (1 + np.exp(-(above - 9.0) / 2.0))))
        total[start : start + size] += window * np.fft.irfft(gated, size)
        weight[start : start + size] += window**2
    expected = (total / np.maximum(weight, 1e-12))[size // 2 :][: len(clip)]
    ours = gate(torch.from_numpy(clip.astype(np.float32)).unsqueeze(0))
    np.testing.assert_allclose(ours[0], expected, atol=1e-5)


def test_the_gate_leaves_a_loud_tone_and_lowers_stationary_noise() -> None:
    time = torch.arange(RATE) / RATE
    tone = torch.where((time > 0.3) & (time < 0.7), 0.5 * torch.sin(2 * math.pi * 700 * time), 0.0).unsqueeze(0)
    hiss = white(clips=1, samples=RATE, level=0.005)
    purified = SpectralGate()(tone + hiss)
    assert snr_db(tone, purified) > snr_db(tone, tone + hiss) + 8
    pause = slice(0, 4000)
    assert decibels(purified[:, pause].square().mean() / hiss[:, pause].square().mean()) < -12


def test_zeros_around_the_sound_do_not_pass_for_its_noise_floor() -> None:
    hiss = white(clips=1, samples=8000, level=0.02)
    padded = nn.functional.pad(hiss, (3000, 5000))
    lowered = decibels(SpectralGate()(padded).square().sum() / hiss.square().sum())
    assert lowered < -11


@pytest.mark.parametrize(("perturbation", "most"), [(1e-5, 0.002), (1e-4, 0.02), (1e-3, 0.2)])
def test_an_inaudible_perturbation_of_the_padding_does_not_switch_the_gate_off(
    perturbation: float, most: float
) -> None:
    """What the gate takes away stays the same, relative to itself; switched off it would take away nothing: 1."""
    padded = nn.functional.pad(sound(clips=3) + white(clips=3, samples=8000, level=0.01), (2000, 6000))
    perturbed = padded + perturbation * white(clips=3, samples=16_000, seed=8).sign()
    before, after = (heard - SpectralGate()(heard) for heard in (padded, perturbed))
    own = slice(2000, 10_000)  # in the padding it may take the perturbation itself away
    change = (after - before)[:, own].norm(dim=1) / before[:, own].norm(dim=1)
    assert float(change.max()) <= most


def test_a_sound_too_short_to_know_its_noise_passes_the_gate_unchanged() -> None:
    short = nn.functional.pad(white(clips=1, samples=500), (1000, 1000))  # shorter than a frame
    torch.testing.assert_close(SpectralGate()(short), short, atol=1e-5, rtol=0)


def test_the_gates_gradient_is_the_slope_of_its_output() -> None:
    gate, along = SpectralGate(), white(clips=1, samples=4000, level=1.0)
    upstream = white(clips=1, samples=4000, level=1.0).flip(1)
    waveforms = (sound(seconds=0.25) + 0.01 * white(clips=1, samples=4000)).requires_grad_()
    (gate(waveforms) * upstream).sum().backward()
    step = 1e-5
    with torch.no_grad():
        ahead, behind = gate(waveforms + step * along), gate(waveforms - step * along)
    slope = float(((ahead - behind).double() * upstream).sum() / (2 * step))
    assert waveforms.grad is not None
    assert float((waveforms.grad * along).sum()) == pytest.approx(slope, rel=0.02)


# Codecs


@pytest.mark.parametrize(
    ("codec", "least_snr_db"),
    [
        (Opus(bitrate=12_000), 8),
        (Opus(bitrate=64_000), 30),
        (Opus(sample_rate=8_000, bitrate=32_000), 20),
        (Opus(sample_rate=48_000, bitrate=64_000), 20),
        (Vorbis(quality=0), 12),
        (Vorbis(quality=0.9), 25),
        (Vorbis(sample_rate=22_050, quality=0.5), 20),
        (Mp3(bitrate=16_000), 10),
        (Mp3(bitrate=24_000), 14),
        (Mp3(bitrate=96_000), 20),
        (Mp3(sample_rate=8_000, bitrate=32_000), 14),
        (Mp3(sample_rate=44_100, bitrate=128_000), 20),
    ],
    ids=str,
)
def test_a_codec_gives_the_sound_back_where_it_was(codec: Opus | Vorbis | Mp3, least_snr_db: float) -> None:
    waveforms = sound(sample_rate=codec.sample_rate)
    coded = codec(waveforms)
    lags = scipy.signal.correlation_lags(waveforms.shape[1], waveforms.shape[1])
    assert lags[np.argmax(scipy.signal.correlate(coded[0], waveforms[0]))] == 0
    assert snr_db(waveforms, coded) > least_snr_db


@pytest.mark.parametrize("samples", [1, 2, 159, 1105, 16_001])
@pytest.mark.parametrize("name", CODECS)
def test_a_codec_gives_as_many_samples_back(name: str, samples: int) -> None:
    assert purifier(name)(white(clips=2, samples=samples)).shape == (2, samples)


@pytest.mark.parametrize(
    "codec", [Opus(bitrate=16_000), Opus(bitrate=64_000), Mp3(bitrate=24_000), Mp3(bitrate=64_000)], ids=str
)
def test_a_codec_takes_about_the_bit_rate_asked_for(codec: Opus | Mp3) -> None:
    noise_of_6_seconds = white(clips=1, samples=6 * RATE)[0].numpy()
    header_and_half, whole = (len(codec.encode(noise_of_6_seconds[: seconds * RATE])) for seconds in (3, 6))
    assert 8 * (whole - header_and_half) / 3 == pytest.approx(codec.bitrate, rel=0.3)


def test_vorbis_does_not_crash_on_ten_minutes() -> None:
    assert len(Vorbis().encode(np.zeros(600 * RATE, dtype=np.float32))) > 0


def test_a_file_that_does_not_tell_its_delay_is_refused() -> None:
    class ConstantRate(Mp3):
        _container = ("MP3", "MPEG_LAYER_III", "CONSTANT")

    with pytest.raises(RuntimeError, match="its delay is unknown"):
        ConstantRate(bitrate=24_000)(sound())


# Any input


@pytest.mark.parametrize("name", PURIFIERS)
def test_any_finite_waveform_gives_as_many_amplitudes_in_range(name: str) -> None:
    samples = 700
    hard = torch.stack(
        [
            torch.zeros(samples),
            torch.full((samples,), 0.25),
            torch.ones(samples),
            torch.where(torch.arange(samples) % 2 == 0, 1.0, -1.0),
            torch.where(torch.arange(samples) // 40 % 2 == 0, 1.0, -1.0),  # its filtered edges overshoot
            torch.full((samples,), 1e-38),
            3.0 * white(clips=1, samples=samples, level=1.0)[0],
        ]
    )
    purify = purifier(name)
    for waveforms in (hard, hard[:, :1].contiguous(), hard[:0]):
        before = waveforms.clone()
        purified = purify(waveforms)
        assert purified.shape == waveforms.shape
        assert purified.dtype == torch.float32
        assert bool(purified.isfinite().all())
        assert purified.numel() == 0 or float(purified.abs().max()) <= 1
        assert torch.equal(waveforms, before)


@pytest.mark.parametrize("name", ["low_pass", "quantisation", "spectral_gate", "vorbis", "mp3"])
def test_silence_stays_silence(name: str) -> None:
    assert float(purifier(name)(torch.zeros(1, 2000)).abs().max()) == 0


@pytest.mark.parametrize("name", PURIFIERS)
def test_a_clips_result_does_not_depend_on_its_neighbours(name: str) -> None:
    waveforms, purify = sound(clips=5, seconds=0.21) + 0.01, purifier(name)
    together = purify(waveforms)
    alone = torch.cat([purify(clip.unsqueeze(0)) for clip in waveforms])
    torch.testing.assert_close(alone, together, atol=1e-6, rtol=0)
    if name in ("quantisation", *CODECS):
        assert torch.equal(alone, together)


@pytest.mark.parametrize("name", PURIFIERS)
def test_the_same_waveforms_give_the_same_bits(name: str) -> None:
    waveforms = sound(clips=4, seconds=0.3)
    assert torch.equal(purifier(name)(waveforms), purifier(name)(waveforms.clone()))


@pytest.mark.parametrize("name", PURIFIERS)
@pytest.mark.parametrize(
    ("waveforms", "complaint"),
    [
        (torch.tensor([[0.0, math.nan]]), "NaN or infinity"),
        (torch.tensor([[0.0, -math.inf]]), "NaN or infinity"),
        (torch.zeros(8), r"float32 \[8\]"),
        (torch.zeros(2, 0), r"float32 \[2, 0\]"),
        (torch.zeros(2, 8, dtype=torch.float64), r"float64 \[2, 8\]"),
    ],
)
def test_what_is_no_waveform_is_refused(name: str, waveforms: Tensor, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        purifier(name)(waveforms)


# Names and settings


def test_a_purifier_is_its_name_and_settings() -> None:
    for name, kind in PURIFIERS.items():
        made = purifier(name, sample_rate=16_000)
        assert made.name == name
        assert isinstance(made, kind)
        assert kind.model_validate_json(made.model_dump_json()) == made
    assert purifier("quantisation", bits=5) == Quantisation(bits=5)


def test_an_unknown_name_is_refused_with_those_there_are() -> None:
    with pytest.raises(ValueError, match="'flac' is no purifier; there are low_pass, quantisation"):
        purifier("flac")


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("low_pass", {"cutoff": 7_900.0}),
        ("low_pass", {"cutoff": 100.0}),
        ("quantisation", {"bits": 1}),
        ("quantisation", {"cutoff": 3_000.0}),
        ("opus", {"sample_rate": 44_100}),
        ("opus", {"bitrate": 1_000}),
        ("mp3", {"bitrate": 320_000}),
        ("mp3", {"sample_rate": 44_100, "bitrate": 24_000}),
        ("vorbis", {"quality": 1.5}),
    ],
)
def test_settings_that_mean_nothing_are_refused(name: str, settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="validation error"):
        purifier(name, **settings)


# Adaptive attackers


@pytest.mark.parametrize("name", PURIFIERS)
def test_straight_through_is_exactly_g_forward_and_the_identity_backward(name: str) -> None:
    waveforms, upstream = sound(clips=2, seconds=0.2).requires_grad_(), white(clips=2, samples=3200)
    purified = straight_through(purifier(name))(waveforms)
    purified.backward(upstream)
    assert torch.equal(purified, purifier(name)(waveforms.detach()))
    assert waveforms.grad is not None
    assert torch.equal(waveforms.grad, upstream)


@pytest.mark.parametrize("name", PURIFIERS)
def test_attackable_has_a_gradient_and_the_value_of_g(name: str) -> None:
    waveforms = sound(clips=2, seconds=0.2).requires_grad_()
    purified = attackable(purifier(name))(waveforms)
    purified.square().sum().backward()
    assert torch.equal(purified, purifier(name)(waveforms.detach()))
    assert waveforms.grad is not None
    assert bool((waveforms.grad.abs().sum(dim=1) > 0).all())


def climb(
    classify: Callable[[Tensor], Tensor], waveforms: Tensor, labels: Tensor, *, eps: float, steps: int = 10
) -> Tensor:
    """Sign-gradient ascent of the cross-entropy within eps."""
    attacked = waveforms.clone()
    for _ in range(steps):
        attacked.requires_grad_()
        (gradient,) = torch.autograd.grad(nn.functional.cross_entropy(classify(attacked), labels), attacked)
        moved = attacked.detach() + eps / 5 * gradient.sign()
        attacked = torch.clamp(moved, waveforms - eps, waveforms + eps).clamp(-1, 1)
    return attacked


class Template(nn.Module):
    """Two labels, by the sign of the waveform's product with a template that is as loud at every frequency."""

    def __init__(self, samples: int) -> None:
        super().__init__()
        self.template = white(clips=1, samples=samples, level=1.0, seed=6)[0]

    def forward(self, waveforms: Tensor) -> Tensor:
        score = waveforms @ self.template
        return torch.stack([score, -score], dim=1)


def test_an_attack_through_rounding_fails_without_bpda_and_succeeds_with_it() -> None:
    waveforms, quantise = white(clips=16, samples=800, level=0.2), Quantisation(bits=5)
    toy = Template(800)
    labels = toy(quantise(waveforms)).argmax(dim=1)
    blind = climb(lambda x: toy(quantise(x)), waveforms, labels, eps=0.05)
    seeing = climb(lambda x: toy(attackable(quantise)(x)), waveforms, labels, eps=0.05)
    assert torch.equal(blind, waveforms)  # every gradient was 0
    assert bool((toy(quantise(blind)).argmax(dim=1) == labels).all())
    assert bool((toy(quantise(seeing)).argmax(dim=1) != labels).all())


def test_an_attacker_who_knows_the_low_pass_breaks_what_one_who_does_not_cannot() -> None:
    low_pass, toy, eps = LowPass(cutoff=800), Template(1600), 0.05
    heard = low_pass(toy.template.unsqueeze(0))[0]  # what of the template passes; g is symmetric
    # By Hölder, knowing g moves the score by eps |heard|_1 at most; eps sign(template) moves it by less.
    known, unknown = eps * float(heard.abs().sum()), eps * float(heard @ toy.template.sign())
    assert unknown < 0.9 * known
    margin = (known + unknown) / 2
    waveforms = (margin * heard / heard.square().sum()).repeat(2, 1) * torch.tensor([[1.0], [-1.0]])
    waveforms = waveforms * margin / (low_pass(waveforms) @ toy.template).abs().unsqueeze(1)
    labels = toy(low_pass(waveforms)).argmax(dim=1)
    oblivious = climb(toy, waveforms, labels, eps=eps)
    adaptive = climb(lambda x: toy(attackable(low_pass)(x)), waveforms, labels, eps=eps)
    assert bool((toy(low_pass(oblivious)).argmax(dim=1) == labels).all())
    assert bool((toy(low_pass(adaptive)).argmax(dim=1) != labels).all())


# Before a defense


@pytest.fixture
def network() -> M5:
    torch.manual_seed(0)
    return M5(Architecture(labels=len(LABELS), width=4, last_width=8, stride=1)).eval()


@pytest.mark.parametrize("is_training", [True, False])
def test_a_purified_network_is_in_the_networks_mode_and_leaves_it_there(is_training: bool, network: M5) -> None:
    network.train(is_training)
    purified = Purified(network, purifier("quantisation"))
    assert purified.training is is_training
    predict_logits(purified, white(clips=2, samples=900, level=0.3))
    assert [module.training for module in network.modules()] == [is_training] * len(list(network.modules()))


@pytest.mark.parametrize("name", ["low_pass", "quantisation", "opus"])
def test_a_purified_network_decides_as_the_network_does_on_purified_waveforms(name: str, network: M5) -> None:
    waveforms, purify = white(clips=6, samples=900, level=0.3), purifier(name)
    ids = [str(i) for i in range(6)]
    purified = Undefended(Purified(network, purify), LABELS).decide(waveforms, clip_ids=ids, seed=0)
    assert purified == Undefended(network, LABELS).decide(purify(waveforms), clip_ids=ids, seed=0)
    assert purified != Undefended(network, LABELS).decide(waveforms, clip_ids=ids, seed=0)
    assert Undefended(Purified(network, purify), LABELS).decide(torch.empty(0, 900), clip_ids=[], seed=0) == []


def test_neural_rejection_hears_purified_features(network: M5) -> None:
    waveforms, quantise = white(clips=6, samples=900, level=0.3), Quantisation(bits=4)
    generator = torch.Generator().manual_seed(1)
    support = network.features(quantise(waveforms)).detach().double()
    scale = support.std(0) + 1e-3  # a feature may be dead
    dual = torch.randn(3, 6, dtype=torch.float64, generator=generator)
    machine = SupportVectorMachine(
        mean=support.mean(0),
        scale=scale,
        support=(support - support.mean(0)) / scale,
        dual=dual,
        intercept=torch.zeros(3, dtype=torch.float64),
        gamma=torch.tensor(0.1, dtype=torch.float64),
        slope=torch.full((3,), -1.0, dtype=torch.float64),
        offset=torch.zeros(3, dtype=torch.float64),
    )
    plain = NeuralRejection(network, machine, LABELS, confidence_threshold=0.4)
    purified = NeuralRejection(Purified(network, quantise), machine, LABELS, confidence_threshold=0.4)
    ids = [str(i) for i in range(6)]
    decided = purified.decide(waveforms, clip_ids=ids, seed=0)
    assert decided == plain.decide(quantise(waveforms), clip_ids=ids, seed=0)
    assert decided != plain.decide(waveforms, clip_ids=ids, seed=0)


def test_under_smoothing_the_noise_comes_before_the_purifier(network: M5) -> None:
    waveform, quantise = white(clips=1, samples=900, level=0.3)[0], Quantisation(bits=3)
    smoothing = RandomizedSmoothing(Purified(network, quantise), LABELS, sigma=0.5, draws=40)
    noisy = waveform + 0.5 * noise(7, "clip", 0, 40, 900)
    with torch.no_grad():
        expected = network(quantise(noisy)).argmax(dim=1).bincount(minlength=3)
    assert smoothing.votes(waveform, clip_id="clip", seed=7, draws=40).tolist() == expected.tolist()


def test_a_purified_network_is_the_network_in_every_other_respect(network: M5) -> None:
    purified = Purified(network, Quantisation())
    assert purified.config is network.config
    assert next(purified.parameters()) is next(network.parameters())
    assert not purified.train().eval().network.training


# Real speech


@pytest.fixture(scope="module")
def digits(speech: Path) -> Tensor:
    """20 real clips, float32 [20, 16000], from all over the corpus."""
    folder = speech / "duke_digits"
    with (folder / "manifest.csv").open(newline="", encoding="utf-8") as file:
        paths = [row["path"] for row in csv.DictReader(file)]
    clips: list[np.ndarray] = []
    for path in paths[:: len(paths) // 40]:
        try:
            clips.append(fit_window(read_clip(folder / path, AudioFormat()).waveform, RATE))
        except AudioError:
            continue
    return torch.from_numpy(np.stack(clips[:20]))


@pytest.mark.parametrize(
    ("name", "least_median", "least"),
    [
        ("low_pass", 0.99, 0.95),
        ("quantisation", 0.999, 0.99),
        ("spectral_gate", 0.99, 0.65),
        ("opus", 0.99, 0.95),
        ("vorbis", 0.99, 0.97),
        ("mp3", 0.99, 0.97),
    ],
)
def test_real_speech_stays_recognisable(name: str, least_median: float, least: float, digits: Tensor) -> None:
    similar = correlation(digits, purifier(name)(digits))
    assert np.median(similar) > least_median
    assert min(similar) > least
