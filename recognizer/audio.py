"""Bytes to a mono float32 waveform at the model's rate, and every way a clip can be bad.

The gate decodes at most `max_seconds` whatever a header claims, and knows a closed list of containers, encodings,
rates and channel counts: libsndfile by itself accepts 1 Hz, 1024 channels, NaN samples and 2^36 claimed ones.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from recognizer.decision import Reason

Waveform = npt.NDArray[np.float32]
"""float32 [samples], mono, raw amplitude in [-1, 1]."""

SAMPLE_RATE = 16_000  # Hz
WINDOW_SECONDS = 1.0
MAX_BYTES = 1 << 20
MIN_RATE, MAX_RATE = 8_000, 48_000  # Hz
MAX_CHANNELS = 2
SILENCE_PEAK = 1e-3  # raw amplitude: -60 dBFS
FULL_SCALE = 0.999
MAX_CLIPPED_SHARE = 0.10
_OVERSHOOT = 1e-3  # a lossy or resampled float file may pass 1 by this much

_SUBTYPES = {
    "WAV": {"PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW"},
    "WAVEX": {"PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"},
    "FLAC": {"PCM_S8", "PCM_16", "PCM_24"},
    "OGG": {"VORBIS", "OPUS"},
    "MP3": {"MPEG_LAYER_III"},
}
SERVED_FORMATS = frozenset({"WAV", "WAVEX", "FLAC"})
CORPUS_FORMATS = frozenset(_SUBTYPES)
_LOSSY = frozenset({"OGG", "MP3"})  # their decoders overshoot full scale on loud clips
_STREAMED = (0, 0xFFFFFFFF)  # a WAV's data size where the writer could not know it


class AudioError(ValueError):
    """A clip that no decision can be made on. The message says what was wrong and what is accepted."""

    status: ClassVar[int] = 422
    """The HTTP status of an error; unused where `reason` makes it an abstention instead."""
    reason: ClassVar[Reason | None] = None
    """The abstention it becomes; None where it is an error of the caller's."""
    title: ClassVar[str] = "The audio can't be used"


class EmptyAudio(AudioError):
    status = 400
    title = "The audio is empty"


class AudioTooLarge(AudioError):
    status = 413
    title = "The audio is too large"


class UnsupportedAudio(AudioError):
    status = 415
    title = "The audio format is not accepted"


class BrokenAudio(AudioError):
    title = "The audio is damaged"


class UnsupportedRate(AudioError):
    title = "The sample rate is not accepted"


class UnsupportedChannels(AudioError):
    title = "The number of channels is not accepted"


class NotFinite(AudioError):
    title = "The audio holds values that are no amplitudes"


class TooShort(AudioError):
    reason = Reason.TOO_SHORT


class TooLong(AudioError):
    reason = Reason.TOO_LONG


class NoSpeech(AudioError):
    reason = Reason.NO_SPEECH


class Clipped(AudioError):
    reason = Reason.CLIPPED


@dataclass(frozen=True)
class AudioFormat:
    """The waveforms a recogniser takes."""

    sample_rate: int = SAMPLE_RATE
    """Hertz"""
    window_seconds: float = WINDOW_SECONDS
    """Seconds; shorter clips are padded, longer ones cut."""
    min_seconds: float = 0.1
    max_seconds: float = 5.0

    @property
    def window(self) -> int:
        """Samples."""
        return round(self.sample_rate * self.window_seconds)


@dataclass(frozen=True)
class Clip:
    """A decoded clip.

    Attributes:
        waveform: float32 [samples], mono, at the wanted rate.
        seconds: length of the clip as it came.
        sample_rate: Hertz, as it came.
    """

    waveform: Waveform
    seconds: float
    sample_rate: int


def decode(data: bytes, wanted: AudioFormat, *, formats: frozenset[str] = SERVED_FORMATS) -> Clip:
    """Decode one file's bytes through the gate.

    Raises:
        EmptyAudio, AudioTooLarge, UnsupportedAudio, BrokenAudio, UnsupportedRate, UnsupportedChannels, NotFinite:
            an error of the sender's.
        TooShort, TooLong, NoSpeech, Clipped: a clip one abstains on.
    """
    if not data:
        raise EmptyAudio("no audio came; send a WAV or FLAC file")
    if len(data) > MAX_BYTES:
        raise AudioTooLarge(f"the file has {len(data):,} bytes; at most {MAX_BYTES:,} are accepted")
    container = _container(data)
    if container is None or container not in formats:
        names = ", ".join(sorted(formats - {"WAVEX"}))
        raise UnsupportedAudio(f"this is {container or 'no audio file that is known'}; {names} are accepted")
    if container == "WAV":
        _check_whole(data)
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            if file.format not in formats or file.subtype not in _SUBTYPES[file.format]:
                raise UnsupportedAudio(f"{file.format} with {file.subtype} samples is not accepted; send 16-bit PCM")
            _check_layout(file.samplerate, file.channels)
            limit = int(wanted.max_seconds * file.samplerate) + 1
            samples = file.read(frames=limit, dtype="float32", always_2d=True)
            rate = file.samplerate
    except (soundfile.LibsndfileError, RuntimeError) as error:
        why = error.error_string if isinstance(error, soundfile.LibsndfileError) else "it ends too early"
        raise BrokenAudio(f"the {container} file can't be decoded: {why}") from error
    if container in _LOSSY:
        np.clip(samples, -1.0, 1.0, out=samples)  # NaN stays
    return _finish(samples, rate, wanted)


def decode_pcm16(data: bytes, wanted: AudioFormat, *, sample_rate: int, channels: int = 1) -> Clip:
    """Decode bare `audio/L16` samples: 16-bit, big-endian, interleaved (RFC 2586).

    Raises:
        As `decode`.
    """
    if not data:
        raise EmptyAudio("no audio came; send 16-bit big-endian samples")
    if len(data) > MAX_BYTES:
        raise AudioTooLarge(f"{len(data):,} bytes came; at most {MAX_BYTES:,} are accepted")
    _check_layout(sample_rate, channels)
    if len(data) % (2 * channels):
        raise BrokenAudio(f"{len(data)} bytes are no whole number of {channels}-channel 16-bit samples")
    samples = np.frombuffer(data, dtype=">i2").astype(np.float32).reshape(-1, channels) / 32768.0
    return _finish(samples, sample_rate, wanted)


def admit(waveform: Waveform, wanted: AudioFormat, *, sample_rate: int) -> Clip:
    """Take samples that are decoded already, such as a stream's, through the same gate.

    Args:
        waveform: float32 [samples], mono.
        sample_rate: Hertz, as they came.

    Raises:
        UnsupportedRate, NotFinite, TooShort, TooLong, NoSpeech, Clipped: as `decode`.
    """
    _check_layout(sample_rate, 1)
    return _finish(waveform[:, None], sample_rate, wanted)


def read_clip(path: Path, wanted: AudioFormat, *, formats: frozenset[str] = CORPUS_FORMATS) -> Clip:
    """Decode a file; errors name it.

    Raises:
        OSError: the file can't be read.
        AudioError: as `decode`.
    """
    if path.stat().st_size > MAX_BYTES:
        raise AudioTooLarge(f"{path}: the file has {path.stat().st_size:,} bytes; at most {MAX_BYTES:,} are accepted")
    try:
        return decode(path.read_bytes(), wanted, formats=formats)
    except AudioError as error:
        raise type(error)(f"{path}: {error}") from error


def fit_window(waveform: Waveform, window: int) -> Waveform:
    """Pad with zeros, the clip in the middle, or cut around the loudest stretch.

    Args:
        waveform: float32 [samples].
        window: samples wanted.

    Returns:
        float32 [window].
    """
    excess = len(waveform) - window
    if excess <= 0:
        before = -excess // 2
        return np.pad(waveform, (before, -excess - before))
    energy = np.concatenate(([0.0], np.cumsum(np.square(waveform, dtype=np.float64))))
    start = int(np.argmax(energy[window:] - energy[:-window]))
    return waveform[start : start + window].copy()


def _container(data: bytes) -> str | None:
    """The container by its first bytes; the file's name and declared type are never believed."""
    if data[:4] == b"RIFF" and data[8:12] == b"WAVE":
        return "WAV"
    if data[:4] == b"fLaC":
        return "FLAC"
    if data[:4] == b"OggS":
        return "OGG"
    if data[:3] == b"ID3" or (len(data) > 1 and data[0] == 0xFF and data[1] & 0xE6 == 0xE2):
        return "MP3"
    return None


def _check_whole(data: bytes) -> None:
    """Refuse a WAV file whose data chunk says that more was sent than came."""
    position = 12
    while position + 8 <= len(data):
        name, size = data[position : position + 4], int.from_bytes(data[position + 4 : position + 8], "little")
        if name == b"data":
            came = len(data) - position - 8
            if size not in _STREAMED and size > came:
                raise BrokenAudio(f"the WAV file is cut off: {size:,} bytes of samples were to come, {came:,} came")
            return
        position += 8 + size + size % 2


def _check_layout(rate: int, channels: int) -> None:
    if not MIN_RATE <= rate <= MAX_RATE:
        raise UnsupportedRate(f"the sample rate is {rate:,} Hz; {MIN_RATE:,} to {MAX_RATE:,} Hz are accepted")
    if not 1 <= channels <= MAX_CHANNELS:
        raise UnsupportedChannels(f"the clip has {channels} channels; 1 or 2 are accepted")


def _finish(samples: npt.NDArray[np.float32], rate: int, wanted: AudioFormat) -> Clip:
    """Check the samples, float32 [frames, channels], mix them down and resample."""
    seconds = len(samples) / rate
    if not np.isfinite(samples).all():
        raise NotFinite("the clip holds NaN or infinite samples; amplitudes in [-1, 1] are accepted")
    if samples.size and float(np.abs(samples).max()) > 1.0 + _OVERSHOOT:
        raise NotFinite(f"the clip's peak is {float(np.abs(samples).max()):.3g}; amplitudes in [-1, 1] are accepted")
    if seconds < wanted.min_seconds:
        raise TooShort(f"the clip lasts {seconds:.3f} s; at least {wanted.min_seconds} s are needed")
    if seconds > wanted.max_seconds:
        raise TooLong(f"the clip lasts more than {wanted.max_seconds} s; send one command")
    mono: Waveform = np.clip(samples.mean(axis=1), -1.0, 1.0, dtype=np.float32)
    if float(np.ptp(mono)) < 2 * SILENCE_PEAK:
        raise NoSpeech(f"the clip's peak is below {20 * np.log10(SILENCE_PEAK):.0f} dBFS")
    clipped = float((np.abs(mono) >= FULL_SCALE).mean())
    if clipped > MAX_CLIPPED_SHARE:
        raise Clipped(f"{clipped:.0%} of the samples are at full scale; lower the microphone's gain")
    if rate != wanted.sample_rate:
        mono = np.clip(soxr.resample(mono, rate, wanted.sample_rate, quality="HQ"), -1.0, 1.0, dtype=np.float32)
    return Clip(waveform=np.ascontiguousarray(mono), seconds=seconds, sample_rate=rate)
