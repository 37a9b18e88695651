"""Damaged clips: valid files bent in the ways that a header, a wire or an attacker bends them.

Each is known by a seed and a number, so that one that does harm can be made again.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import soundfile
from numpy.random import Generator

HEADER = 128  # bytes at a file's beginning that mutations aim at
MAGICS = (
    b"RIFF\x24\x00\x00\x00WAVEfmt ",
    b"fLaC\x00\x00\x00\x22",
    b"OggS\x00\x02",
    b"ID3\x04",
    b"\xff\xfb\x90",
    b"RF64",
)
BOUNDARIES = (0, 1, 2, 3, 7, 8, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
_FILES = (  # container, samples, Hertz, channels
    *(("WAV", s, 16_000, 1) for s in ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW")),
    ("WAV", "PCM_16", 48_000, 2), ("WAV", "PCM_16", 8_000, 1), ("WAV", "IMA_ADPCM", 16_000, 1),
    ("WAV", "MS_ADPCM", 16_000, 1), ("WAV", "GSM610", 8_000, 1), ("WAVEX", "PCM_16", 44_100, 2),
    ("WAVEX", "FLOAT", 16_000, 1), ("FLAC", "PCM_16", 16_000, 1), ("FLAC", "PCM_16", 48_000, 2),
    ("FLAC", "PCM_24", 16_000, 1), ("FLAC", "PCM_S8", 8_000, 1), ("OGG", "VORBIS", 16_000, 1),
    ("MP3", "MPEG_LAYER_III", 16_000, 1), ("AIFF", "PCM_16", 16_000, 1), ("AU", "PCM_16", 16_000, 1),
    ("CAF", "ALAC_16", 16_000, 1), ("W64", "PCM_16", 16_000, 1), ("RF64", "PCM_16", 16_000, 1),
)  # fmt: skip


@dataclass(frozen=True)
class Sent:
    """What a client sends as audio."""

    kind: str
    """How it was made."""
    media_type: str
    data: bytes


def made(seed: int, number: int) -> Sent:
    """The clip of a number: about one in twenty is sound, one in ten has never been a file."""
    rng = np.random.default_rng((seed, number))
    drawn = rng.random()
    if drawn < 0.05:
        name, data = _valid(rng)
        return Sent(f"valid {name}", "audio/wav", data)
    if drawn < 0.15:
        magic = b"" if rng.random() < 0.3 else MAGICS[rng.integers(len(MAGICS))]
        return Sent("random", "audio/flac", magic + rng.bytes(int(rng.integers(0, 4096))))
    if drawn < 0.25:
        return _bare_samples(rng)
    _, data = _valid(rng)
    names = list(MUTATIONS)
    chosen = [names[i] for i in rng.integers(len(names), size=rng.integers(1, 4))]
    for name in chosen:
        data = MUTATIONS[name](data, rng)
    return Sent(chosen[0] if len(chosen) == 1 else "several", "audio/wav", data)


def flip_bits(data: bytes, rng: Generator) -> bytes:
    """Up to 32 bits anywhere."""
    if not data:
        return data
    damaged = np.frombuffer(data, np.uint8).copy()
    where = rng.integers(len(damaged), size=rng.integers(1, 33))
    damaged[where] ^= np.uint8(1) << rng.integers(8, size=len(where), dtype=np.uint8)
    return damaged.tobytes()


def lie_in_header(data: bytes, rng: Generator) -> bytes:
    """Fields near the beginning that say what is at the edge of what they can say."""
    damaged = bytearray(data)
    for _ in range(rng.integers(1, 5)):
        width, order = int(rng.choice([1, 2, 4, 8])), "little" if rng.random() < 0.5 else "big"
        at = int(rng.integers(0, max(1, min(HEADER, len(damaged)))))
        value = BOUNDARIES[rng.integers(len(BOUNDARIES))] % 256**width
        damaged[at : at + width] = value.to_bytes(width, order)  # type: ignore[arg-type]
    return bytes(damaged)


def cut(data: bytes, rng: Generator) -> bytes:
    """Only a beginning comes, most often one that ends within the header."""
    longest = HEADER if rng.random() < 0.5 else len(data)
    return data[: int(rng.integers(0, max(1, min(longest, len(data)))))]


def lengthen(data: bytes, rng: Generator) -> bytes:
    """Something comes behind the end: zeros, noise, another file."""
    more = (bytes(int(rng.integers(1, 5000))), rng.bytes(int(rng.integers(1, 5000))), _valid(rng)[1])
    return data + more[rng.integers(len(more))]


def reorder_chunks(data: bytes, rng: Generator) -> bytes:
    """A RIFF file's chunks shuffled, doubled, dropped, or with an unknown one between whose size lies."""
    if data[:4] != b"RIFF":
        return lie_in_header(data, rng)
    chunks, at = [], 12
    while at + 8 <= len(data) and len(chunks) < 64:
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        end = at + 8 + size + size % 2
        chunks.append(data[at:end])
        at = end
    strange = b"junk" + int(BOUNDARIES[rng.integers(len(BOUNDARIES))]).to_bytes(4, "little") + rng.bytes(10)
    chunks += [strange] * int(rng.integers(0, 3)) + chunks[: int(rng.integers(0, 2))]
    kept = [chunks[i] for i in rng.permutation(len(chunks))[: int(rng.integers(0, len(chunks) + 1))]]
    return data[:12] + b"".join(kept)


def splice(data: bytes, rng: Generator) -> bytes:
    """The beginning of one file and the end of another."""
    other = _valid(rng)[1]
    return data[: int(rng.integers(0, len(data) + 1))] + other[int(rng.integers(0, len(other) + 1)) :]


def strange_samples(data: bytes, rng: Generator) -> bytes:
    """Samples that are no amplitudes, or as large as they can be."""
    values = np.array([np.nan, np.inf, -np.inf, 1e30, -1.0, 1.0, 1.01, 0.0], np.float32)
    samples = values[rng.integers(len(values), size=400)].tobytes()
    at = HEADER + int(rng.integers(0, 16))
    return data[:at] + samples + data[at + len(samples) :]


MUTATIONS: dict[str, Callable[[bytes, Generator], bytes]] = {
    "bits": flip_bits,
    "header": lie_in_header,
    "cut": cut,
    "longer": lengthen,
    "chunks": reorder_chunks,
    "splice": splice,
    "samples": strange_samples,
}


def _bare_samples(rng: Generator) -> Sent:
    rate = int(rng.choice([0, 1, 7_999, 8_000, 16_000, 44_100, 48_000, 48_001, 999_999]))
    channels = int(rng.choice([0, 1, 1, 1, 2, 3, 255]))
    loudness = float(rng.choice([0, 1, 300, 32_767]))
    samples = (loudness * rng.uniform(-1, 1, int(rng.integers(0, 12_000)))).astype(">i2").tobytes()
    data = samples if rng.random() < 0.8 else samples + b"\x01"
    return Sent("samples by themselves", f"audio/L16;rate={rate};channels={channels}", data)


def _valid(rng: Generator) -> tuple[str, bytes]:
    files = valid_files()
    return files[rng.integers(len(files))]


@cache
def valid_files() -> list[tuple[str, bytes]]:
    """Name and bytes of a tone in each container, encoding and layout, those that the gate refuses included."""
    found = []
    for container, subtype, rate, channels in _FILES:
        tone = 0.4 * np.sin(2 * np.pi * 440 * np.arange(round(0.3 * rate)) / rate)
        file = io.BytesIO()
        soundfile.write(file, np.stack([tone] * channels, axis=1), rate, format=container, subtype=subtype)
        found.append((f"{container} {subtype}", file.getvalue()))
    return found
