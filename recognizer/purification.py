"""Preprocessing defenses g(x), which clean a waveform before the network hears it, and how an attacker sees through.

A purifier is attacked with its own gradient where it has one and with BPDA where it has none (`attackable`): measured
only by attacks that ignore it, it looks far stronger than it is. Source: Athalye, Carlini, Wagner 2018, "Obfuscated
gradients give a false sense of security", section 4.1.

Filters and the gate treat a batch at once: a clip's neighbours change its result by float32 rounding at most, and
not at all for quantisation and the codecs. Every purifier is deterministic.
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar, Literal, Protocol, Self

import numpy as np
import numpy.typing as npt
import soundfile
import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn

from recognizer.audio import SAMPLE_RATE, Waveform
from recognizer.network import Network

_STOP_BAND_DB = 60.0  # attenuation that the low-pass is designed for
_FAINT = 1e-12  # power, re 1: -120 dB; added to, so that silence has a logarithm
_SOUND_DB = 40.0  # below its loudest frame a clip's sound is taken to have ended
_BLOCK = 1 << 16  # samples handed to an encoder at a time: libsndfile's Vorbis overruns the stack on very long ones
_THREADS = os.cpu_count() or 1


class Purifier(Protocol):
    """A preprocessing defense g."""

    @property
    def name(self) -> str: ...

    @property
    def is_differentiable(self) -> bool:
        """Whether autograd's gradient of g is one that an attacker can climb: not zero, and not missing."""
        ...

    def __call__(self, waveforms: Tensor) -> Tensor:
        """g(x).

        Args:
            waveforms: float32 [clips, samples], raw amplitude. Finite values beyond [-1, 1] (noise may have been
                added) are accepted.

        Returns:
            float32 [clips, samples] in [-1, 1], aligned with the input.

        Raises:
            ValueError: another shape or type, no samples, NaN or infinity.
        """
        ...


class _Configured(BaseModel):
    """What the purifiers share: frozen settings, the check of the input and the range of the output."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    is_differentiable: ClassVar[bool]

    sample_rate: int = Field(default=SAMPLE_RATE, ge=8_000, le=48_000)
    """Hertz, of the waveforms it is given."""

    def __call__(self, waveforms: Tensor) -> Tensor:
        """See `Purifier`."""
        if waveforms.ndim != 2 or waveforms.shape[1] == 0 or waveforms.dtype != torch.float32:
            came = f"{str(waveforms.dtype).removeprefix('torch.')} {list(waveforms.shape)}"
            raise ValueError(f"the waveforms are {came}; float32 [clips, samples] with at least 1 sample is accepted")
        if not bool(waveforms.isfinite().all()):
            raise ValueError("the waveforms hold NaN or infinity; amplitudes in [-1, 1] are accepted")
        return self._purify(waveforms).clamp(-1.0, 1.0) if len(waveforms) else waveforms.clone()

    def _purify(self, waveforms: Tensor) -> Tensor:
        raise NotImplementedError


class LowPass(_Configured):
    """A linear-phase low-pass, its delay taken out: a Kaiser-windowed sinc, 60 dB down beyond the transition.

    Silence is assumed around the clip. Source: Oppenheim & Schafer, "Discrete-time signal processing", section 7.5.3.
    """

    is_differentiable = True
    name: Literal["low_pass"] = "low_pass"
    cutoff: float = Field(default=3_000.0, gt=0)
    """Hertz; half the amplitude (-6 dB) passes there."""
    transition: float = Field(default=400.0, ge=50)
    """Hertz between the pass band's end and the stop band's start, the cut-off in the middle."""

    @model_validator(mode="after")
    def _fits_the_rate(self) -> Self:
        if not self.transition / 2 < self.cutoff < (self.sample_rate - self.transition) / 2:
            raise ValueError(
                f"a cut-off of {self.cutoff:g} Hz does not lie between half the transition ({self.transition / 2:g} "
                f"Hz) and so much below half the sample rate ({self.sample_rate / 2:g} Hz); move it or narrow that"
            )
        return self

    @property
    def taps(self) -> Tensor:
        """The impulse response, float64 [2 h + 1], its middle at time 0; sums to 1."""
        bend = 0.1102 * (_STOP_BAND_DB - 8.7)  # Kaiser's beta
        half = math.ceil((_STOP_BAND_DB - 7.95) / (2.285 * 4 * math.pi * self.transition / self.sample_rate))
        window = torch.kaiser_window(2 * half + 1, periodic=False, beta=bend, dtype=torch.float64)
        ideal = torch.sinc(2 * self.cutoff / self.sample_rate * torch.arange(-half, half + 1, dtype=torch.float64))
        taps = ideal * window
        response: Tensor = taps / taps.sum()
        return response

    def _purify(self, waveforms: Tensor) -> Tensor:
        taps, samples = self.taps.to(waveforms), waveforms.shape[1]
        half = len(taps) // 2
        size = 1 << (samples + 2 * half - 1).bit_length()  # no shorter than the linear convolution
        spectrum = torch.fft.rfft(waveforms, size) * torch.fft.rfft(taps, size)
        filtered: Tensor = torch.fft.irfft(spectrum, size)[:, half : half + samples]
        return filtered


class Quantisation(_Configured):
    """Amplitude rounded to 2^bits levels, as PCM has them: multiples of 2^(1 - bits) from -1 up to just below 1.

    Silence stays silence. The error is at most half a step, and a whole one above the top level. Source: Yang, Li,
    Chen, Song 2019, "Characterizing audio adversarial examples using temporal dependency".
    """

    is_differentiable = False  # the gradient of rounding is 0
    name: Literal["quantisation"] = "quantisation"
    bits: int = Field(default=8, ge=2, le=16)
    """Of one sample."""

    def _purify(self, waveforms: Tensor) -> Tensor:
        steps = 2.0 ** (self.bits - 1)  # in a unit of amplitude
        return (waveforms * steps).round().clamp(-steps, steps - 1) / steps


class SpectralGate(_Configured):
    """Bins of the spectrogram that do not stand out of the clip's own noise are turned down.

    The noise floor of each bin is its mean power in the clip's quietest frames. Frames that reach into the padding
    before and after the sound are no measure of the noise and left out; a sound without any other frame passes
    unchanged. The sound begins and ends by its level, not at the zeros around it, or an attacker's inaudible
    perturbation there would pass for the noise. What is stationary all through the clip is noise to it, be it a tone.
    Source: Boll 1979, "Suppression of acoustic noise in speech using spectral subtraction", with the gain of a gate
    instead of a difference.
    """

    is_differentiable = True
    name: Literal["spectral_gate"] = "spectral_gate"
    window_seconds: float = Field(default=0.032, ge=0.004, le=0.256)
    """Seconds of a frame (Hann, frames start a quarter of it apart)."""
    quiet_share: float = Field(default=0.2, gt=0, le=1)
    """Share of the frames that count as the quietest."""
    threshold_db: float = Field(default=9.0, ge=0)
    """Decibels above the floor at which the gate is half open."""
    softness_db: float = Field(default=2.0, gt=0)
    """Decibels: scale of the logistic between closed and open."""
    reduction_db: float = Field(default=20.0, ge=0)
    """Decibels by which a closed gate turns a bin down."""

    def _purify(self, waveforms: Tensor) -> Tensor:
        samples = waveforms.shape[1]
        hop = max(1, round(self.window_seconds * self.sample_rate / 4))
        window = torch.hann_window(4 * hop, device=waveforms.device)
        framing: dict[str, Any] = {"n_fft": 4 * hop, "hop_length": hop, "window": window, "center": True}
        spectrum = torch.stft(waveforms, **framing, pad_mode="constant", return_complex=True)
        power = torch.view_as_real(spectrum).square().sum(dim=-1) / window.square().sum()  # [clips, bins, frames]
        quiet = self._quietest(power.detach(), _within_sound(waveforms, hop)).to(power).unsqueeze(1)
        measured = quiet.sum(dim=2, keepdim=True)  # [clips, 1, 1] frames
        floor = (power * quiet).sum(dim=2, keepdim=True) / measured.clamp(min=1)
        above_db = 10 * ((power + _FAINT).log10() - (floor + _FAINT).log10())
        is_open = torch.sigmoid((above_db - self.threshold_db) / self.softness_db)
        closed = 10 ** (-self.reduction_db / 20)
        return torch.istft(spectrum * (closed + (1 - closed) * is_open), **framing, length=samples)

    def _quietest(self, power: Tensor, candidates: Tensor) -> Tensor:
        """bool [clips, frames]: the quietest candidates, bool [clips, frames], by power, [clips, bins, frames]."""
        energy = power.sum(dim=1).where(candidates, math.inf)
        rank = energy.argsort(dim=1, stable=True).argsort(dim=1)
        return rank < (self.quiet_share * candidates.sum(dim=1, keepdim=True)).ceil()


def _within_sound(waveforms: Tensor, hop: int) -> Tensor:
    """bool [clips, frames]: the frame lies between the clip's first and last sample of its sound.

    That is a sample within 40 dB of the loudest frame's root mean square. Speech reaches some 0.3 there, so the bound
    is about 0.003: padding stays padding under perturbations of 0.001, and few real pauses are taken for padding.
    """
    samples = waveforms.shape[1]
    framed = nn.functional.pad(waveforms.detach(), (2 * hop, 2 * hop)).unfold(1, 4 * hop, hop)
    loudest = framed.square().mean(dim=2).amax(dim=1, keepdim=True).sqrt()
    sounds = (waveforms.abs() > loudest * 10 ** (-_SOUND_DB / 20)).to(torch.uint8)
    first = sounds.argmax(dim=1, keepdim=True)  # of equals, the first
    end = samples - sounds.flip(1).argmax(dim=1, keepdim=True)
    middle = torch.arange(0, samples + 1, hop, device=waveforms.device)  # of a frame, 4 hops long
    return (middle - 2 * hop >= first) & (middle + 2 * hop <= end)


class _Codec(_Configured):
    """Lossy coding and back through libsndfile, in memory.

    It takes the codec's delay and padding out again, so that the output is aligned. Clips are coded in parallel.
    """

    is_differentiable = False
    _container: ClassVar[tuple[str, str, str | None]]
    """libsndfile's format, subtype and bit-rate mode."""

    def encode(self, waveform: Waveform) -> bytes:
        """The coded file of one clip, float32 [samples] in [-1, 1]."""
        container, subtype, mode = self._container
        buffer = io.BytesIO()
        with soundfile.SoundFile(
            buffer,
            "w",
            samplerate=self.sample_rate,
            channels=1,
            format=container,
            subtype=subtype,
            compression_level=self._compression_level,
            bitrate_mode=mode,
        ) as file:
            for start in range(0, len(waveform), _BLOCK):
                file.write(waveform[start : start + _BLOCK])
        return buffer.getvalue()

    @property
    def _compression_level(self) -> float:
        """libsndfile's: 0 is its best, 1 its smallest."""
        raise NotImplementedError

    def _purify(self, waveforms: Tensor) -> Tensor:
        clips = waveforms.detach().clamp(-1.0, 1.0).cpu().numpy()
        with ThreadPoolExecutor(min(_THREADS, len(clips))) as pool:  # libsndfile works outside the interpreter's lock
            return torch.from_numpy(np.stack(list(pool.map(self._there_and_back, clips)))).to(waveforms.device)

    def _there_and_back(self, waveform: Waveform) -> npt.NDArray[np.float32]:
        decoded, _ = soundfile.read(io.BytesIO(self.encode(waveform)), dtype="float32")
        if decoded.shape != waveform.shape:
            raise RuntimeError(
                f"this libsndfile ({soundfile.__libsndfile_version__}) gave {len(decoded)} samples of {len(waveform)} "
                f"back from {self._container[1]}: its delay is unknown; 1.2 or newer gives all"
            )
        return np.asarray(decoded)


class Opus(_Codec):
    """Opus (RFC 6716), the codec of calls and browsers. Below 10 kbit/s the alignment wavers by a sample or two."""

    _container = ("OGG", "OPUS", None)
    name: Literal["opus"] = "opus"
    sample_rate: Literal[8_000, 12_000, 16_000, 24_000, 48_000] = 16_000
    """Hertz; no other rates exist in Opus."""
    bitrate: int = Field(default=16_000, ge=6_000, le=256_000)
    """Bits a second that the encoder aims at; it varies with the sound."""

    @property
    def _compression_level(self) -> float:
        return 1 - (self.bitrate - 6_000) / 250_000


class Vorbis(_Codec):
    """Vorbis I, by quality: it has no bit rate to aim at."""

    _container = ("OGG", "VORBIS", None)
    name: Literal["vorbis"] = "vorbis"
    quality: float = Field(default=0.1, ge=0, le=1)
    """The encoder's; 0 is the smallest file, 1 the best sound."""

    @property
    def _compression_level(self) -> float:
        return 1 - self.quality


class Mp3(_Codec):
    """MP3 by LAME, at an average bit rate.

    Never at a constant one: below 32 kbit/s such a file has no room for the tag that says its delay.
    """

    _container = ("MP3", "MPEG_LAYER_III", "AVERAGE")
    name: Literal["mp3"] = "mp3"
    sample_rate: Literal[8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000] = 16_000
    """Hertz; no other rates exist in MP3."""
    bitrate: int = Field(default=24_000, ge=9_000)
    """Bits a second on average."""

    @model_validator(mode="after")
    def _fits_the_rate(self) -> Self:
        least, most = self._bitrates
        if not least < self.bitrate <= most:
            raise ValueError(f"at {self.sample_rate} Hz a bit rate above {least} and up to {most} is accepted")
        return self

    @property
    def _bitrates(self) -> tuple[int, int]:
        """Smallest and largest of MPEG 1, 2 and 2.5 at this sample rate."""
        if self.sample_rate >= 32_000:
            return 32_000, 320_000
        return 8_000, (160_000 if self.sample_rate >= 16_000 else 64_000)

    @property
    def _compression_level(self) -> float:
        least, most = self._bitrates
        return (most - self.bitrate) / (most - least)


PURIFIERS: Mapping[str, type[LowPass | Quantisation | SpectralGate | Opus | Vorbis | Mp3]] = {
    kind.model_fields["name"].default: kind for kind in (LowPass, Quantisation, SpectralGate, Opus, Vorbis, Mp3)
}
"""Name -> its settings, which are the purifier."""


def purifier(name: str, **settings: float) -> Purifier:
    """A purifier by name; settings that are not given have their defaults.

    Raises:
        ValueError: no such purifier, or settings it does not have or allow.
    """
    if name not in PURIFIERS:
        raise ValueError(f"{name!r} is no purifier; there are {', '.join(PURIFIERS)}")
    return PURIFIERS[name].model_validate(settings)


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, waveforms: Tensor, purify: Callable[[Tensor], Tensor]) -> Tensor:
        del context
        return purify(waveforms)

    @staticmethod
    def backward(context: Any, *upstream: Tensor) -> tuple[Tensor, None]:
        del context
        return upstream[0], None


def straight_through(purify: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """BPDA: exactly g(x) forward, the identity backward (g(x) is near x, so its derivative is near 1)."""

    def apply(waveforms: Tensor) -> Tensor:
        purified: Tensor = _StraightThrough.apply(waveforms, purify)
        return purified

    return apply


def attackable(purifier: Purifier) -> Callable[[Tensor], Tensor]:
    """What an adaptive attacker differentiates: g itself where it has a gradient, else `straight_through`."""
    return purifier if purifier.is_differentiable else straight_through(purifier)


class Purified(Network):
    """A network that hears g(x); it stands in a network's place in any defense.

    Under RS the noise comes first: a vote is the network's on g(x + noise), so the smoothed classifier is one of the
    base classifier f(g(.)) and its certificate holds about x itself, whatever g is. The other order, g(x) + noise, is
    `smoothing.decide(purifier(waveforms), ...)`: its certificate is about g(x) and says nothing about x.
    """

    def __init__(self, network: Network, purify: Callable[[Tensor], Tensor]) -> None:
        """
        Args:
            network: shared, not copied.
            purify: g; of `attackable` or `straight_through` where gradients are wanted.
        """
        super().__init__()
        self.config = network.config
        self.network = network
        self.purify = purify
        self.train(network.training)

    def features(self, waveforms: Tensor) -> Tensor:
        """Penultimate features of g(x)."""
        return self.network.features(self.purify(waveforms))

    def forward(self, waveforms: Tensor) -> Tensor:
        """Logits of g(x), float32 [clips, labels], of waveforms, float32 [clips, samples]."""
        logits: Tensor = self.network(self.purify(waveforms))
        return logits
