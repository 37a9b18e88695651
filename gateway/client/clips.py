"""What a caller has as audio, as the bytes that a gateway takes."""

from __future__ import annotations

import math
import sys
from array import array
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

    class Array(Protocol):
        """Such as numpy's, which type checkers know as a buffer from Python 3.12 on only."""

        def tobytes(self) -> bytes: ...

    Audio: TypeAlias = str | Path | ReadableBuffer | Array

MAX_CLIP_BYTES = 16 << 20
"""Nothing longer is read into memory; what a gateway takes is far less."""
_FLOATS, _INTEGERS = ("f", "d"), ("h",)


class UnusableClip(ValueError):
    """Audio that can't be sent; the message says why and what is accepted."""


@dataclass(frozen=True)
class Clip:
    """The body of a request."""

    data: bytes
    media_type: str


def clip_of(audio: Audio, *, rate: int | None = None, media_type: str | None = None) -> Clip:
    """
    Args:
        audio: a file's bytes, a file's path, or samples.
        rate: Hertz; says that `audio` holds samples: int16, or floats in [-1, 1], [samples] or [samples, channels], as
            an `array.array`, a numpy array or any other buffer.
        media_type: of a file's bytes; by its first bytes where None.

    Raises:
        UnusableClip: no file, too large a one, samples of another kind.
    """
    if rate is not None:
        return _of_samples(audio, rate)
    if isinstance(audio, str | Path):
        data = _read(Path(audio))
    elif isinstance(audio, bytes | bytearray | memoryview):
        data = bytes(audio)
    else:
        raise UnusableClip(
            f"{type(audio).__name__} is no audio; bytes, a path, or samples with their rate are accepted"
        )
    return Clip(data, media_type or ("audio/flac" if data[:4] == b"fLaC" else "audio/wav"))


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_CLIP_BYTES + 1)
    except (OSError, ValueError) as error:
        raise UnusableClip(f"{path} can't be read: {getattr(error, 'strerror', None) or error}") from error
    if len(data) > MAX_CLIP_BYTES:
        raise UnusableClip(f"{path} has more than {MAX_CLIP_BYTES >> 20} MiB; send one command")
    return data


def _of_samples(audio: object, rate: int) -> Clip:
    try:
        view = memoryview(audio)  # type: ignore[arg-type]
    except TypeError:
        raise UnusableClip(
            f"{type(audio).__name__} holds no samples; an array.array or a numpy array is accepted"
        ) from None
    kind = view.format.lstrip("@=<" if sys.byteorder == "little" else "@=>")
    if kind not in (*_FLOATS, *_INTEGERS) or view.ndim not in (1, 2):
        raise UnusableClip(
            f"samples of the type {view.format!r} with {view.ndim} dimensions; int16 or floats, [samples] or "
            "[samples, channels], are accepted"
        )
    channels = view.shape[1] if view.shape is not None and view.ndim == 2 else 1
    samples = array(kind)
    samples.frombytes(view.tobytes())
    integers = samples if kind in _INTEGERS else array("h", map(_as_int16, samples))
    if sys.byteorder == "little":
        integers = integers[:]
        integers.byteswap()  # audio/L16 is big-endian: RFC 2586
    return Clip(integers.tobytes(), f"audio/L16;rate={rate};channels={channels}")


def _as_int16(value: float) -> int:
    if not math.isfinite(value):
        raise UnusableClip("a sample is not a finite number; floats in [-1, 1] are accepted")
    return max(-32768, min(32767, round(32768 * value)))
