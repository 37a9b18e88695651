"""Sounds that are no command, made from a seed: babble, music-like chords, noise, and speech cut up into no word.

A closed set of commands accepts anything; a network learns to refuse only from what is none. These are written as clips
of the label `unknown`, so that training, validation, audits and fingerprints treat them as they treat recordings.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile
from numpy.random import Generator, default_rng
from numpy.typing import NDArray

from recognizer.audio import SAMPLE_RATE, WINDOW_SECONDS, AudioError, AudioFormat, read_clip
from recognizer.decision import UNKNOWN
from recognizer.groups import UNDECLARED
from recognizer.manifest import SOUND, SPLITS, Manifest, ManifestError, check_table
from training.corpora.corpus import Corpus

Sound = NDArray[np.float64]
"""float64 [samples], any amplitude, until `at_level` has set it."""


class Kind(StrEnum):
    """What a generated clip is."""

    BABBLE = "babble"
    MUSIC = "music"
    NOISE = "noise"
    PSEUDO_WORD = "pseudo-word"


FEWEST_VOICES = 3
"""Speakers of a split from which on its babble is one."""

_BABBLING = (4, 8)  # voices, inclusive
_BABBLE_SPREAD_DB = 3.0  # of a voice's level, either way
_PEAK = (0.2, 0.9)
_LOUD = 0.03  # of the peak: what counts as speech at a word's ends
_CUT = (0.35, 0.65)  # where a word is cut, of its length
_FADE_SECONDS = 0.005  # at a cut, so that it does not click
_A4 = 440.0  # Hz
_LOWEST, _HIGHEST = -24, 12  # semitones around A4
_MAJOR, _MINOR = (0, 4, 7), (0, 3, 7)  # semitones
_BEATS_PER_SECOND = (1.5, 5.0)
_MAINS_HERTZ = (50.0, 60.0)


def babble(voices: Sequence[Sound], samples: int, rng: Generator) -> Sound:
    """Several people at once, float64 [samples]: each says one of their words over and over, at levels that differ.

    Args:
        voices: a word of each of as many speakers as talk.
    """
    total = np.zeros(samples)
    for word in voices:
        spoken = _trimmed(word)
        pause = np.zeros(int(rng.uniform(0.05, 0.3) * len(spoken)) + 1)
        once = np.concatenate([spoken, pause])
        start = int(rng.integers(len(once)))
        repeated = np.resize(np.roll(once, start), samples)
        level = 10 ** (rng.uniform(-_BABBLE_SPREAD_DB, _BABBLE_SPREAD_DB) / 20)
        total += level * repeated / _loudness(spoken)
    return total


def music(samples: int, sample_rate: int, rng: Generator) -> Sound:
    """Chords in a steady rhythm, float64 [samples], on an instrument of its own overtones, perhaps with a beat.

    Args:
        sample_rate: Hertz.
    """
    overtones = 1 / np.arange(1, int(rng.integers(3, 9)) + 1) ** rng.uniform(0.7, 2.0)
    triad = np.array(_MAJOR if rng.random() < 0.5 else _MINOR)
    key, decay = int(rng.integers(_LOWEST, _HIGHEST, endpoint=True)), rng.uniform(0.05, 0.6)
    beat = sample_rate / rng.uniform(*_BEATS_PER_SECOND)
    has_drum = rng.random() < 0.4
    total = np.zeros(samples)
    for onset in np.arange(rng.uniform(0, beat), samples, beat):
        first = int(onset)
        time = np.arange(samples - first) / sample_rate
        envelope = np.minimum(time / rng.uniform(0.003, 0.05), 1) * np.exp(-time / decay)
        chord = key + int(rng.choice((0, 5, 7, -3))) + triad[: int(rng.integers(1, 3, endpoint=True))]
        for note in chord:
            hertz = _A4 * 2 ** (note / 12)
            audible = [(k, a) for k, a in enumerate(overtones, start=1) if k * hertz < sample_rate / 2]
            phases = rng.uniform(0, 2 * np.pi, len(audible))
            for (k, amplitude), phase in zip(audible, phases, strict=True):
                total[first:] += amplitude * envelope * np.sin(2 * np.pi * k * hertz * time + phase)
        if has_drum:
            total[first:] += rng.uniform(0.5, 2) * np.exp(-time / 0.03) * rng.standard_normal(len(time))
    return total


def noise(samples: int, sample_rate: int, rng: Generator) -> Sound:
    """Coloured noise (white to brown), mains hum or clicks, float64 [samples], in equal parts.

    Args:
        sample_rate: Hertz.
    """
    floor = _coloured(samples, rng.uniform(0, 2), rng)
    which = int(rng.integers(3))
    if which == 0:
        time = np.arange(samples) / sample_rate
        swell = 1 + rng.uniform(0, 0.9) * np.sin(2 * np.pi * rng.uniform(0.5, 8) * time + rng.uniform(0, 2 * np.pi))
        return floor * swell
    quiet = 10 ** (rng.uniform(-40, -15) / 20) * floor
    if which == 1:
        hertz = rng.choice(_MAINS_HERTZ) * np.arange(1, int(rng.integers(4, 20)))
        time = np.arange(samples) / sample_rate
        waves = np.sin(2 * np.pi * (hertz[:, None] * time + rng.random((len(hertz), 1))))
        hum: Sound = (rng.exponential(1, len(hertz)) @ waves) / len(hertz) + quiet
        return hum
    clicks = np.zeros(samples)
    places = rng.integers(samples, size=int(rng.integers(1, 13)))
    clicks[places] = rng.standard_normal(len(places)) * 10
    ring_seconds = rng.uniform(0.001, 0.02)
    time = np.arange(int(6 * ring_seconds * sample_rate)) / sample_rate
    ring = np.exp(-time / ring_seconds) * np.sin(2 * np.pi * rng.uniform(300, 4000) * time + np.pi / 2)
    return np.convolve(clicks, ring)[:samples] + quiet


def pseudo_word(one: Sound, other: Sound, sample_rate: int, rng: Generator) -> Sound:
    """Speech that is no word, float64 [at most both]: a word played backwards, its halves swapped, or halves of two.

    The voice, the room and the microphone are those of real words, so that only what is said tells them apart.

    Args:
        one, other: two different words, of one speaker where there are such.
        sample_rate: Hertz.
    """
    first, second = _trimmed(one), _trimmed(other)
    which = int(rng.integers(3))
    if which == 0:
        return first[::-1].copy()
    if which == 1:
        place = int(rng.uniform(*_CUT) * len(first))
        return _joined(first[place:], first[:place], sample_rate)
    beginning = first[: int(rng.uniform(*_CUT) * len(first))]
    end = second[int(rng.uniform(*_CUT) * len(second)) :]
    return _joined(beginning, end * (_loudness(beginning) / _loudness(end)), sample_rate)


def at_level(sound: Sound, rng: Generator) -> NDArray[np.float32]:
    """The sound at a peak drawn from 0.2 to 0.9, float32 [samples]; it must not be silent."""
    return np.asarray(sound * (rng.uniform(*_PEAK) / np.abs(sound).max()), dtype=np.float32)


def _long_enough(sound: Sound) -> Sound:
    """With silence behind it where it is shorter than the gate accepts."""
    return np.pad(sound, (0, max(0, math.ceil(AudioFormat().min_seconds * SAMPLE_RATE) - len(sound))))


def _trimmed(word: Sound) -> Sound:
    """A word without the silence around it."""
    loud = np.flatnonzero(np.abs(word) >= _LOUD * np.abs(word).max())
    return word[loud[0] : loud[-1] + 1]


def _joined(beginning: Sound, end: Sound, sample_rate: int) -> Sound:
    """One after the other, cross-faded."""
    fade = min(round(_FADE_SECONDS * sample_rate), len(beginning), len(end))
    ramp = np.linspace(0, 1, fade)
    middle = beginning[len(beginning) - fade :] * (1 - ramp) + end[:fade] * ramp
    return np.concatenate([beginning[: len(beginning) - fade], middle, end[fade:]])


def _coloured(samples: int, slope: float, rng: Generator) -> Sound:
    """Noise of unit power whose power falls as frequency^-slope: 0 is white, 1 pink, 2 brown."""
    spectrum = np.fft.rfft(rng.standard_normal(samples))
    spectrum *= np.maximum(np.arange(len(spectrum)), 1.0) ** (-slope / 2)
    sound = np.fft.irfft(spectrum, samples)
    return np.asarray(sound / _loudness(sound), dtype=np.float64)


def _loudness(sound: Sound) -> float:
    """Root mean square; never 0."""
    return max(float(np.sqrt(np.mean(np.square(sound)))), 1e-9)


@dataclass(frozen=True)
class Shares:
    """How many sounds are made of each kind, for every clip of a command in a split.

    Raises:
        ManifestError: a negative one.
    """

    sounds: float = 0.0
    """Babble, music and noise: of each so many."""
    pseudo_words: float = 0.0

    def __post_init__(self) -> None:
        if min(self.sounds, self.pseudo_words) < 0:
            raise ManifestError(
                f"the shares of sounds are {self.sounds} and {self.pseudo_words}; none may be negative, 0 = none"
            )

    def of(self, kind: Kind) -> float:
        return self.pseudo_words if kind is Kind.PSEUDO_WORD else self.sounds


def add_sounds(corpus: Corpus, folder: Path, shares: Shares, *, seed: int) -> Corpus:
    """The corpus and clips of `unknown` made for each of its splits, written as `folder/<split>/<kind>_<number>.flac`.

    Babble and pseudo-words of a split are made of its own speakers' commands, and every random number is keyed by
    (seed, split, kind, number): nothing that is tested on has been heard in training, not even mixed. A pseudo-word's
    speaker, and groups, are those of the voice it was cut from; the other kinds have no speaker but their name.

    Args:
        folder: made where it is missing; clips in it are overwritten.
        shares: of each kind.
        seed: of the sounds.

    Raises:
        ManifestError: a negative share, or commands of which none can be heard.
    """
    manifest = corpus.manifest
    commands = manifest.where((manifest.table["command"] != UNKNOWN).tolist())
    sources = [_Source(split, commands.split(split)) for split in SPLITS if split in set(commands.table["split"])]
    rows, notes = [], []
    for source, kind in ((source, kind) for source in sources for kind in Kind):
        count = round(shares.of(kind) * len(source.table))
        if not count:
            continue
        if lacking := source.lacks(kind):
            notes.append(f"no {kind} was made for {source.split}: {lacking}")
            continue
        (folder / source.split).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            rng = default_rng([seed, SPLITS.index(source.split), list(Kind).index(kind), number])
            sound, spoken_by = source.make(kind, rng)
            path = folder.resolve() / source.split / f"{kind}_{number:05d}.flac"
            soundfile.write(path, at_level(_long_enough(sound), rng), SAMPLE_RATE, subtype="PCM_16")
            rows.append(
                {"path": str(path), "command": UNKNOWN, "split": source.split, SOUND: str(kind)}
                | {"speaker": f"{kind} {source.split}"}
                | dict.fromkeys(manifest.attributes, UNDECLARED)
                | ({} if spoken_by is None else {c: spoken_by[c] for c in ("speaker", *manifest.attributes)})
            )
    if not rows:
        return replace(corpus, notes=(*corpus.notes, *notes))
    made = pd.Series([row[SOUND] for row in rows]).value_counts()
    notes.append("made of no command: " + ", ".join(f"{n} clips of {kind}" for kind, n in sorted(made.items())))
    table = pd.concat([manifest.table, pd.DataFrame(rows)], ignore_index=True)
    table[SOUND] = table[SOUND].fillna("")
    checked = Manifest(check_table(table, source="the corpus with its sounds"), manifest.attributes)
    return replace(corpus, manifest=checked, notes=(*corpus.notes, *notes))


class _Source:
    """One split's commands, as raw material; clips are read when they are first wanted."""

    def __init__(self, split: str, commands: Manifest) -> None:
        self.split = split
        self.table = commands.table
        self._rows = {str(s): list(rows) for s, rows in self.table.groupby("speaker").indices.items()}
        self._heard: dict[int, Sound | None] = {}

    def lacks(self, kind: Kind) -> str:
        """Why a kind can't be made of it; empty where it can."""
        if kind is Kind.BABBLE and len(self._rows) < FEWEST_VOICES:
            return f"it has {len(self._rows)} speakers, and babble takes {FEWEST_VOICES}"
        return ""

    def make(self, kind: Kind, rng: Generator) -> tuple[Sound, Mapping[str, str] | None]:
        """A sound, and the row of the speaker whose voice it is, where it is one's."""
        samples = round(WINDOW_SECONDS * SAMPLE_RATE)
        match kind:
            case Kind.BABBLE:
                most = min(_BABBLING[1], len(self._rows))
                count = int(rng.integers(min(_BABBLING[0], most), most, endpoint=True))
                speakers = rng.choice(sorted(self._rows), count, replace=False)
                return babble([self._word(self._rows[s], rng)[0] for s in speakers], samples, rng), None
            case Kind.MUSIC:
                return music(samples, SAMPLE_RATE, rng), None
            case Kind.NOISE:
                return noise(samples, SAMPLE_RATE, rng), None
            case Kind.PSEUDO_WORD:
                speaker = str(rng.choice(sorted(self._rows)))
                one, row = self._word(self._rows[speaker], rng)
                said = self.table["command"]
                others = [r for r in self._rows[speaker] if said.iloc[r] != said.iloc[row]]
                other = self._word(others, rng)[0] if others else one[::-1]
                voice = {str(column): str(value) for column, value in self.table.iloc[row].items()}
                return pseudo_word(one, other, SAMPLE_RATE, rng), voice

    def _word(self, rows: Sequence[int], rng: Generator) -> tuple[Sound, int]:
        """A clip among these, and its row; one that can't be heard gives way to another of the split."""
        order = [rows[i] for i in rng.permutation(len(rows))]
        for row in itertools.chain(order, range(len(self.table))):
            if row not in self._heard:
                self._heard[row] = _read(Path(self.table["path"].iloc[row]))
            if (word := self._heard[row]) is not None:
                return word, row
        raise ManifestError(f"none of the {len(self.table)} commands of {self.split} can be heard")


def _read(path: Path) -> Sound | None:
    try:
        return read_clip(path, AudioFormat()).waveform.astype(np.float64)
    except AudioError:
        return None
