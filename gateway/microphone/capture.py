"""A microphone as a source: PortAudio's callback puts blocks into a queue, and nothing else is done there."""

from __future__ import annotations

import queue
import time
from collections.abc import Iterator
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from gateway.microphone.bounded import CLOSING_SECONDS, OPENING_SECONDS, SoundSystemStuck, within
from gateway.microphone.portaudio import UnsupportedLayout, choose, devices, in_words, load, quiet, stem
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
        self._blocks: queue.SimpleQueue[Block] = queue.SimpleQueue()  # has no lock that the callback could wait for
        self._has_ended = False
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
        with suppress(SoundSystemStuck):  # nothing more is wanted of it
            self._close()

    def captured(self) -> Iterator[Block | Lost | None]:
        """See `Source`; never ends.

        Raises:
            SoundSystemStuck: the microphone is gone, and can't be taken up again.
        """
        last = time.monotonic()
        while True:
            try:
                block = self._blocks.get(timeout=_TICK)
            except queue.Empty:
                if not self._has_ended and time.monotonic() - last < _SILENT_SECONDS:
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
            try:
                self._open(again=True)
            except SoundSystemStuck:
                raise
            except SourceError:
                continue
            return

    def _open(self, *, again: bool = False) -> None:
        with quiet():
            within(OPENING_SECONDS, lambda: self._begin(self._same() if again else self._wanted))

    def _begin(self, wanted: str | None) -> None:
        sounddevice = load()
        try:
            with suppress(sounddevice.PortAudioError):  # an attempt before this one did not get to begin it
                sounddevice._terminate()  # PortAudio looks for devices when it begins, and never again
            sounddevice._initialize()
            device = choose(devices(sounddevice), wanted)
            self.name = device.name
            layout = {"device": device.number, "channels": self.channels, "dtype": "int16"}
            if self._rate is None:
                self._rate = _usable_rate(sounddevice, device.sample_rate, layout)
            check_layout(self.name, self._rate, self.channels)
            self._has_ended, self._blocks = False, queue.SimpleQueue()  # without what came before it was gone
            self._stream = sounddevice.RawInputStream(
                **layout,
                samplerate=self._rate,
                blocksize=block_frames(self._rate),
                callback=self._take,
                finished_callback=self._end,
            )
            self._stream.start()
        except sounddevice.PortAudioError as error:
            self._close()
            raise in_words(error, self.name) from None

    def _same(self) -> str | None:
        """What to look for once it was gone: numbers are given anew, and another's may be the one it had."""
        return stem(self.name) if self._wanted is not None and self._wanted.isdecimal() else self._wanted

    def _take(self, data: Any, _frames: int, _times: Any, status: Any) -> None:
        """Called by PortAudio for each block; whatever it waits for is paid for in lost samples."""
        if status.input_overflow:
            self.dropped += 1
        if self._blocks.qsize() < WAITING_BLOCKS:
            self._blocks.put(Block(bytes(data), time.monotonic()))
        else:
            self.dropped += 1

    def _end(self) -> None:
        """Called by PortAudio after the last block."""
        self._has_ended = True

    def _close(self) -> None:
        """
        Raises:
            SoundSystemStuck: the device is not let go of.
        """
        stream, self._stream = self._stream, None
        if stream is None:
            return
        with quiet():
            within(CLOSING_SECONDS, lambda: _let_go(stream))


def _let_go(stream: Any) -> None:
    stream.stop(ignore_errors=True)  # not abort, which cancels a thread that may hold the sound server's lock
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
