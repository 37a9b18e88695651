"""A recording as a source, as fast as it was spoken or as fast as it can be read."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt
import soundfile

from gateway.microphone.sources import Block, SourceError, block_frames, check_layout
from recognizer.audio import SERVED_FORMATS


class FileSource:
    """A WAV or FLAC file. Opened again, it goes on where it was left."""

    waits = True
    dropped = 0

    def __init__(self, path: Path, *, is_fast: bool = False) -> None:
        """
        Raises:
            SourceError: no such file, or one that can't be listened to.
        """
        self.name = str(path)
        self._is_fast = is_fast
        try:
            self._file = soundfile.SoundFile(path)
        except (soundfile.LibsndfileError, OSError) as error:
            why = error.error_string if isinstance(error, soundfile.LibsndfileError) else error
            raise SourceError(f"{path} can't be read: {why}; WAV and FLAC files are accepted") from None
        self.sample_rate, self.channels = int(self._file.samplerate), int(self._file.channels)
        if self._file.format not in SERVED_FORMATS:
            raise SourceError(f"{path} is {self._file.format}; WAV and FLAC files are accepted")
        check_layout(self.name, self.sample_rate, self.channels)

    def captured(self) -> Iterator[Block]:
        """See `Source`; ends with the file.

        Raises:
            SourceError: it is damaged further on.
        """
        begun, done = time.monotonic(), 0
        while len(frames := self._read()):
            done += len(frames)
            if not self._is_fast:
                time.sleep(max(0.0, begun + done / self.sample_rate - time.monotonic()))
            samples = np.rint(32768 * frames).clip(-32768, 32767).astype("<i2")
            yield Block(samples.tobytes(), time.monotonic())

    def _read(self) -> npt.NDArray[np.float32]:
        """The next block, [frames, channels]; empty at the end."""
        try:
            frames: npt.NDArray[np.float32] = self._file.read(
                block_frames(self.sample_rate), dtype="float32", always_2d=True
            )
        except RuntimeError as error:
            why = error.error_string if isinstance(error, soundfile.LibsndfileError) else error
            raise SourceError(f"{self.name} is damaged: {why}") from None
        if not np.isfinite(frames).all():
            raise SourceError(f"{self.name} holds NaN or infinite samples; amplitudes in [-1, 1] are accepted")
        return frames

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """The place in the file is kept."""
