"""A microphone as a source: PortAudio's callback puts blocks into a queue, and nothing else is done there."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from gateway.microphone.portaudio import UnsupportedLayout, choose, devices, in_words, load, quiet
from gateway.microphone.sources import Block, Lost, SourceError, block_frames, check_layout
from recognizer.audio import MAX_RATE, MIN_RATE

WAITING_BLOCKS = 800  # 8 s of sound
_TICK = 0.1  # seconds that the reader waits for a block before it looks around
_SILENT_SECONDS = 5.0  # without a block, a microphone counts as gone; a sound server may take 2 s for its first
_RETRY_SECONDS = 1.0
_COMMON_RATES = (48_000, 44_100, 16_000)


class MicrophoneSource:
    """A device at its own rate; unplugged, it is waited for and taken up again.

    What PortAudio lost and what found the queue full is counted in `dropped`: a recogniser that hears blocks with
    holes between them seems to be a bad recogniser.
    """

    waits = False

    def __init__(self, device: str | None = None, *, sample_rate: int | None = None, channels: int = 1) -> None:
        """
        Args:
            device: a number or a part of the name; the system's default where None.
            sample_rate: Hertz; the device's own where None.
        """
        self._wanted = device
        self._rate = sample_rate
        self.channels = channels
        self.name = "the microphone"
        self.dropped = 0
        self._blocks: queue.Queue[Block] = queue.Queue(WAITING_BLOCKS)
        self._ended = threading.Event()
        self._stream: Any = None

    @property
    def sample_rate(self) -> int:
        """Hertz; known once it is open."""
        assert self._rate is not None
        return self._rate

    def __enter__(self) -> Self:
        """
        Raises:
            SourceError: there is no PortAudio, no such device, it is busy, or it has no such rate.
        """
        self._open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def captured(self) -> Iterator[Block | Lost | None]:
        """See `Source`; never ends."""
        last = time.monotonic()
        while True:
            try:
                block = self._blocks.get(timeout=_TICK)
            except queue.Empty:
                if not self._ended.is_set() and time.monotonic() - last < _SILENT_SECONDS:
                    yield None
                    continue
                yield Lost(f"{self.name} is gone; plug it in again")
                yield from self._waited_for()
                last = time.monotonic()
                continue
            last = time.monotonic()
            yield block

    def _waited_for(self) -> Iterator[None]:
        """Ticks until the device is there again."""
        while True:
            self._close()
            again = time.monotonic() + _RETRY_SECONDS
            while time.monotonic() < again:
                time.sleep(_TICK)
                yield None
            with suppress(SourceError):
                self._open()
                return

    def _open(self) -> None:
        sounddevice = load()
        with quiet():
            try:
                sounddevice._terminate()  # PortAudio looks for devices when it begins, and never again
                sounddevice._initialize()
                device = choose(devices(sounddevice), self._wanted)
                self.name = device.name
                layout = {"device": device.number, "channels": self.channels, "dtype": "int16"}
                if self._rate is None:
                    self._rate = _usable_rate(sounddevice, device.sample_rate, layout)
                check_layout(self.name, self._rate, self.channels)
                self._ended.clear()
                self._stream = sounddevice.RawInputStream(
                    **layout,
                    samplerate=self._rate,
                    blocksize=block_frames(self._rate),
                    callback=self._take,
                    finished_callback=self._ended.set,
                )
                self._stream.start()
            except sounddevice.PortAudioError as error:
                self._close()
                raise in_words(error, self.name) from None

    def _take(self, data: Any, _frames: int, _times: Any, status: Any) -> None:
        """Called by PortAudio for each block; whatever it waits for is paid for in lost samples."""
        if status.input_overflow:
            self.dropped += 1
        try:
            self._blocks.put_nowait(Block(bytes(data), time.monotonic()))
        except queue.Full:
            self.dropped += 1

    def _close(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            with quiet():
                stream.stop(
                    ignore_errors=True
                )  # not abort, which cancels a thread that may hold the sound server's lock
                stream.close(ignore_errors=True)


def _usable_rate(sounddevice: Any, native: int, layout: dict[str, Any]) -> int:
    """The device's own rate, or the highest common one that it has where its own is beyond what a gateway takes."""
    if MIN_RATE <= native <= MAX_RATE:
        return native
    for rate in _COMMON_RATES:
        with suppress(sounddevice.PortAudioError):
            sounddevice.check_input_settings(samplerate=rate, **layout)
            return rate
    raise UnsupportedLayout(f"the microphone records at {native:,} Hz only; {MIN_RATE:,} to {MAX_RATE:,} are accepted")
