"""A speech-command corpus spoken by eSpeak NG: many accents, women and men of three ages, nothing to download.

It is for demonstrations and tests: the groups differ as eSpeak NG's rules differ, and no conclusion about people
follows from it. Three groups are under-represented in training on purpose (`UNDER_REPRESENTED`), so that a recogniser
trained here has something for an audit to find.
"""

from __future__ import annotations

import ctypes
import itertools
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pandas as pd
import soundfile
import soxr
from numpy.random import Generator, default_rng
from numpy.typing import NDArray
from scipy.signal import fftconvolve

from recognizer.audio import SAMPLE_RATE, WINDOW_SECONDS
from recognizer.decision import UNKNOWN
from recognizer.manifest import write_table
from training.corpora.common_voice import COMMANDS

HEARD_WORDS = (
    *("house", "water", "window", "tree", "garden", "purple"),
    *("morning", "robot", "table", "letter", "summer", "bird"),
)
UNHEARD_WORDS = ("marvin", "coffee", "happy", "river", "button", "music")
OTHER_WORDS = HEARD_WORDS + UNHEARD_WORDS
"""Words that are no command, labelled `unknown`. Only test speakers say those of `UNHEARD_WORDS`."""

OTHER_WORDS_PER_SPEAKER = 6  # half of a test speaker's are unheard in training

ACCENTS: Mapping[str, str] = {
    "us": "en-us",
    "new york": "en-us-nyc",
    "england": "en",
    "received pronunciation": "en-gb-x-rp",
    "lancashire": "en-gb-x-gbclan",
    "west midlands": "en-gb-x-gbcwmd",
    "scotland": "en-gb-scotland",
    "caribbean": "en-029",
}
"""Accent -> eSpeak NG language."""

UNDER_REPRESENTED: tuple[Mapping[str, str], ...] = (
    {"accent": "scotland"},
    {"accent": "caribbean"},
    {"gender": "female", "age": "seventies"},
)
"""Groups with few training speakers on purpose: `RARITY` of an equal share. The test part has its full share."""

RARITY = 0.2

SPLIT_SHARES: Mapping[str, float] = {"train": 70 / 132, "validation": 15 / 132, "test": 47 / 132}
"""Shares of the speakers; no speaker is in two splits."""

GENDERS = ("female", "male")
OLDER = "seventies"


@dataclass(frozen=True)
class AgeSound:
    """How an age is imitated; each pair is a range that a voice draws from."""

    pitch: tuple[int, int]
    """eSpeak NG pitch, 0 to 100; 50 is the variant's own."""
    rate: tuple[int, int]
    """Words a minute."""
    tremor: tuple[float, float]
    """Swing of the amplitude, 0 to 1."""


AGES: Mapping[str, AgeSound] = {
    "twenties": AgeSound(pitch=(46, 64), rate=(150, 185), tremor=(0.0, 0.0)),
    "fifties": AgeSound(pitch=(38, 54), rate=(140, 170), tremor=(0.0, 0.05)),
    OLDER: AgeSound(pitch=(26, 42), rate=(120, 145), tremor=(0.15, 0.35)),
}

# eSpeak NG's voice variants that sound like people, by gender and by whether they sound old.
VARIANTS: Mapping[tuple[str, bool], tuple[str, ...]] = {
    ("female", False): (
        *("f2", "f3", "f4", "f5", "Annie", "Alicia"),
        *("Andrea", "anika", "belinda", "linda", "steph"),
    ),
    ("female", True): ("grandma", "aunty", "f1", "steph3"),
    ("male", False): (
        *("m1", "m2", "m3", "m4", "m6", "m7", "m8", "Alex", "Andy", "Lee", "Michael"),
        *("edward", "gustave", "marcelo", "max", "michel", "miguel", "paul", "robert", "travis"),
    ),
    ("male", True): ("grandpa", "boris", "Mike", "quincy", "ed", "kaukovalta"),
}

_MARGIN_SECONDS = (0.03, 0.12)  # before and after the word
_SILENCE = 0.02  # of the peak: what counts as silence at the ends
_PITCH_SPREAD, _RATE_SPREAD = 4, 0.06  # between two takes of a word
_TREMOR_HERTZ = (4.0, 6.5)
_ROOM_SECONDS = (0.1, 0.3)  # time in which the reverberation falls by 60 dB
_ROOM_DECIBELS = (-26.0, -14.0)  # reverberation relative to the direct sound
_NOISE_DECIBELS = (-45.0, -25.0)  # background noise relative to the speech
_PEAK = (0.6, 0.9)

Waveform = NDArray[np.float32]


class SpeechEngineError(ImportError):
    """eSpeak NG is missing or can't speak; the message says what to install."""


@dataclass(frozen=True)
class Voice:
    """One synthetic speaker."""

    speaker: str
    language: str
    """eSpeak NG's, such as `en-gb-scotland`."""
    variant: str
    """eSpeak NG's, such as `f3`."""
    pitch: int
    """0 to 100; 50 is the variant's own."""
    rate: int
    """Words a minute."""
    tremor: float
    """Swing of the amplitude, 0 to 1."""
    split: str
    accent: str
    gender: str
    age: str


def voices(*, count: int = 132, seed: int) -> list[Voice]:
    """Distinct synthetic speakers, split by speaker into `SPLIT_SHARES`.

    Validation and test speakers are spread evenly over accent, gender and age; training speakers too, but for the
    groups of `UNDER_REPRESENTED`. At the default count that is 70, 15 and 47 speakers.

    Args:
        count: speakers, 3 to 400.
        seed: the same seed and count give the same voices.

    Raises:
        ValueError: a count out of that range.
    """
    if not 3 <= count <= 400:
        raise ValueError(f"{count} synthetic speakers were asked for; 3 to 400 are accepted")
    rng = default_rng([seed, count])
    decks: dict[tuple[str, str, bool], Iterator[str]] = {}
    result: list[Voice] = []
    sounds: set[tuple[str, str, int, int]] = set()
    for split, speakers in _speakers_per_split(count).items():
        for accent, gender, age in _cells(speakers, is_training=split == "train", rng=rng):
            language, is_older = ACCENTS[accent], age == OLDER
            variants = VARIANTS[gender, is_older]
            deck = decks.setdefault(
                (accent, gender, is_older), itertools.cycle([variants[i] for i in rng.permutation(len(variants))])
            )
            variant = next(deck)
            pitch, rate = _pitch_and_rate(AGES[age], rng)
            while (language, variant, pitch, rate) in sounds:
                pitch, rate = _pitch_and_rate(AGES[age], rng)
            sounds.add((language, variant, pitch, rate))
            tremor = round(float(rng.uniform(*AGES[age].tremor)), 3)
            speaker = f"espeak_{len(result):03d}"
            result.append(Voice(speaker, language, variant, pitch, rate, tremor, split, accent, gender, age))
    return result


def synthesize(
    folder: Path,
    *,
    count: int = 132,
    seed: int = 0,
    takes: int = 2,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Speak the corpus into `folder/audio` and list it in `folder/manifest.csv`.

    Every speaker says every command and `OTHER_WORDS_PER_SPEAKER` other words. A clip is one word in 16-bit mono
    WAV at `SAMPLE_RATE`, at most `WINDOW_SECONDS` long, with short margins. Takes differ in pitch and rate, and
    every clip has its own room (weak exponential reverberation), background noise (white to brown, 25 to 45 dB
    below the speech) and peak (0.6 to 0.9). The same arguments give the same bytes on the same eSpeak NG: every
    random number is keyed by seed, speaker, word and take.

    Args:
        folder: made where it is missing; clips in it are overwritten.
        count: speakers; see `voices`.
        seed: of voices and clips.
        takes: recordings of each command by a training speaker; all others record it once.
        progress: called with (clips written, clips in all) after every speaker.

    Returns:
        The manifest's path; its columns are `path` (relative to `folder`), `command`, `speaker`, `split`, `accent`,
        `gender`, `age`.

    Raises:
        SpeechEngineError: eSpeak NG is not installed, or does not know a voice.
        ValueError: a count or takes out of range.
    """
    if takes < 1:
        raise ValueError(f"{takes} takes were asked for; at least 1 is needed")
    speakers = voices(count=count, seed=seed)
    scripts = [_script(voice, number, seed=seed, takes=takes) for number, voice in enumerate(speakers)]
    total = sum(len(script) for script in scripts)
    rows: list[dict[str, str]] = []
    with _Engine() as engine:
        for number, (voice, script) in enumerate(zip(speakers, scripts, strict=True)):
            (folder / "audio" / voice.speaker).mkdir(parents=True, exist_ok=True)
            for word, take in script:
                rng = default_rng([seed, number, (COMMANDS + OTHER_WORDS).index(word), take])
                path = Path("audio", voice.speaker, f"{word}_{take}.wav")
                clip = _record(_speak(engine, voice, word, rng), voice.tremor, rng)
                soundfile.write(folder / path, clip, SAMPLE_RATE, subtype="PCM_16")
                rows.append(
                    {
                        "path": path.as_posix(),
                        "command": word if word in COMMANDS else UNKNOWN,
                        "speaker": voice.speaker,
                        "split": voice.split,
                        "accent": voice.accent,
                        "gender": voice.gender,
                        "age": voice.age,
                    }
                )
            if progress is not None:
                progress(len(rows), total)
    manifest = folder / "manifest.csv"
    write_table(pd.DataFrame(rows), manifest)
    return manifest


def _speakers_per_split(count: int) -> dict[str, int]:
    held_out = {name: max(1, round(count * SPLIT_SHARES[name])) for name in ("validation", "test")}
    return {"train": count - sum(held_out.values()), **held_out}


def _cells(speakers: int, *, is_training: bool, rng: Generator) -> list[tuple[str, str, str]]:
    """(accent, gender, age) of each speaker, by systematic sampling.

    Every stretch of `order` gets its share within one speaker. The rare groups and then the accents are such
    stretches; within them, gender and age come in random order.
    """

    def rare(cell: tuple[str, str, str]) -> int:
        values = dict(zip(("accent", "gender", "age"), cell, strict=True))
        matches = (i for i, group in enumerate(UNDER_REPRESENTED) if group.items() <= values.items())
        return next(matches, len(UNDER_REPRESENTED))

    cells = list(itertools.product(ACCENTS, GENDERS, AGES))
    shuffled = [cells[i] for i in rng.permutation(len(cells))]
    accents = list(ACCENTS)
    order = sorted(shuffled, key=lambda cell: (rare(cell) if is_training else 0, accents.index(cell[0])))
    weights = [RARITY if is_training and rare(cell) < len(UNDER_REPRESENTED) else 1.0 for cell in order]
    upper = np.cumsum(weights) / np.sum(weights)
    points = (np.arange(speakers) + rng.uniform()) / speakers
    return [order[i] for i in np.searchsorted(upper, points)]


def _pitch_and_rate(sound: AgeSound, rng: Generator) -> tuple[int, int]:
    return int(rng.integers(*sound.pitch, endpoint=True)), int(rng.integers(*sound.rate, endpoint=True))


def _script(voice: Voice, number: int, *, seed: int, takes: int) -> list[tuple[str, int]]:
    """The (word, take) pairs that a speaker records."""
    rng = default_rng([seed, number])
    unheard = OTHER_WORDS_PER_SPEAKER // 2 if voice.split == "test" else 0
    other = [
        *rng.choice(HEARD_WORDS, OTHER_WORDS_PER_SPEAKER - unheard, replace=False),
        *rng.choice(UNHEARD_WORDS, unheard, replace=False),
    ]
    repeats = takes if voice.split == "train" else 1
    commands = [(word, take) for word in COMMANDS for take in range(repeats)]
    return commands + [(str(word), 0) for word in other]


def _speak(engine: _Engine, voice: Voice, word: str, rng: Generator) -> Waveform:
    """One take of a word at `SAMPLE_RATE`, without silence at its ends; float32 [samples], any amplitude."""
    dry = engine.say(
        word,
        voice=f"{voice.language}+{voice.variant}",
        pitch=voice.pitch + int(rng.integers(-_PITCH_SPREAD, _PITCH_SPREAD, endpoint=True)),
        rate=round(voice.rate * rng.uniform(1 - _RATE_SPREAD, 1 + _RATE_SPREAD)),
        noise_seed=int(rng.integers(1, 2**31)),
    )
    speech: Waveform = soxr.resample(dry, engine.sample_rate, SAMPLE_RATE)
    loud = np.flatnonzero(np.abs(speech) > _SILENCE * np.abs(speech).max())
    return speech[loud[0] : loud[-1] + 1]


def _record(speech: Waveform, tremor: float, rng: Generator) -> Waveform:
    """Speech as a microphone in a room hears it: float32 [at most a window of samples], peak in `_PEAK`."""
    window = round(WINDOW_SECONDS * SAMPLE_RATE)
    seconds = np.arange(len(speech)) / SAMPLE_RATE
    phase = rng.uniform(0, 2 * np.pi)
    swing = 1 + tremor * np.sin(2 * np.pi * rng.uniform(*_TREMOR_HERTZ) * seconds + phase)
    before, after = (round(s * SAMPLE_RATE) for s in rng.uniform(*_MARGIN_SECONDS, size=2))
    dry = np.pad(speech * swing, (before, after))[:window]
    heard = fftconvolve(dry, _room(rng))[: len(dry)]
    loudness = np.sqrt(np.mean(np.square(speech)))
    heard += loudness * 10 ** (rng.uniform(*_NOISE_DECIBELS) / 20) * _background(window, rng)[: len(dry)]
    clip: Waveform = (heard * (rng.uniform(*_PEAK) / np.abs(heard).max())).astype(np.float32)
    return clip


def _room(rng: Generator) -> NDArray[np.float64]:
    """An impulse response: the direct sound, then noise that decays exponentially."""
    reverberation_seconds = rng.uniform(*_ROOM_SECONDS)
    seconds = np.arange(round(reverberation_seconds * SAMPLE_RATE)) / SAMPLE_RATE
    tail = rng.standard_normal(len(seconds)) * 10 ** (-3 * seconds / reverberation_seconds)
    tail *= 10 ** (rng.uniform(*_ROOM_DECIBELS) / 20) / np.sqrt(np.sum(np.square(tail)))
    tail[0] = 1.0
    return tail


def _background(samples: int, rng: Generator) -> NDArray[np.float64]:
    """Noise of unit power whose amplitude falls as frequency^-slope, slope 0 (white) to 1 (brown)."""
    spectrum = np.fft.rfft(rng.standard_normal(samples))
    spectrum *= np.maximum(np.arange(len(spectrum)), 1.0) ** -rng.uniform(0.0, 1.0)
    noise: NDArray[np.float64] = np.fft.irfft(spectrum, samples)
    noise /= np.sqrt(np.mean(np.square(noise)))
    return noise


_OnSamples = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


class _Engine:
    """eSpeak NG from its first state; a context manager.

    The library keeps the phase of its flutter and its noise in static variables, so each engine loads a copy of
    its own: what it says then depends only on what it said before.
    """

    _SYNCHRONOUS, _VOLUME_PERCENT = 2, 60  # full volume clips some variants
    _RATE, _VOLUME, _PITCH = 1, 2, 3  # espeak_PARAMETER
    _UTF8 = 1

    def __init__(self) -> None:
        try:
            import espeakng_loader
        except ImportError as error:
            raise SpeechEngineError(
                "the synthetic corpus needs eSpeak NG, which is not installed; run pip install 'evenvoice[demo]'"
            ) from error
        self._library_path = Path(espeakng_loader.get_library_path())
        self._data_path = str(espeakng_loader.get_data_path())
        self._parts: list[bytes] = []
        self._on_samples = _OnSamples(self._collect)  # kept here, for the library holds no reference
        self.sample_rate = 0

    def __enter__(self) -> _Engine:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            self._library = ctypes.CDLL(shutil.copy(self._library_path, folder))
        # The last argument: do not end the process when the data are missing.
        self.sample_rate = self._library.espeak_Initialize(self._SYNCHRONOUS, 0, self._data_path.encode(), 0x8000)
        if self.sample_rate <= 0:
            raise SpeechEngineError(
                f"eSpeak NG can't read its data in {self._data_path}; reinstall with pip install 'evenvoice[demo]'"
            )
        self._library.espeak_SetSynthCallback(self._on_samples)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._library.espeak_Terminate()

    def say(self, text: str, *, voice: str, pitch: int, rate: int, noise_seed: int) -> Waveform:
        """Speech, float32 [samples] at `sample_rate`, amplitude in [-1, 1].

        Args:
            text: what to say.
            voice: a language and a variant, `en-us+f3`.
            pitch: 0 to 100; 50 is the variant's own.
            rate: words a minute, 80 to 450.
            noise_seed: of the engine's own breath and flutter noise.

        Raises:
            SpeechEngineError: eSpeak NG does not know the voice, or said nothing.
        """
        if self._library.espeak_SetVoiceByName(voice.encode()) != 0:
            raise SpeechEngineError(f"this eSpeak NG does not know the voice {voice!r}")
        self._library.espeak_ng_SetRandSeed(ctypes.c_long(noise_seed))
        for parameter, value in ((self._RATE, rate), (self._PITCH, pitch), (self._VOLUME, self._VOLUME_PERCENT)):
            self._library.espeak_SetParameter(parameter, value, 0)
        self._parts.clear()
        data = text.encode() + b"\0"
        self._library.espeak_Synth(data, ctypes.c_size_t(len(data)), 0, 1, 0, self._UTF8, None, None)
        self._library.espeak_Synchronize()
        samples = np.frombuffer(b"".join(self._parts), dtype=np.int16)
        if not samples.any():
            raise SpeechEngineError(f"eSpeak NG said nothing for {text!r} in the voice {voice!r}")
        return samples.astype(np.float32) / 32768.0

    def _collect(self, samples: Any, count: int, _events: Any) -> int:
        if samples and count > 0:
            self._parts.append(ctypes.string_at(samples, 2 * count))
        return 0
