"""Sound without a sound card: a PulseAudio of one's own with a null sink, whose monitor is a microphone."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes.util import find_library
from pathlib import Path

SINK = "vmic"
RATE = 16_000
_START_SECONDS = 20.0
_PLAYED_AHEAD = 500  # milliseconds that the player may stall for on a busy machine without a gap in what is heard


def missing() -> str | None:
    """What keeps sound from being played and recorded here; None where nothing does."""
    for program in ("pulseaudio", "paplay", "pactl"):
        if shutil.which(program) is None:
            return f"{program} is not installed (Debian: pulseaudio, pulseaudio-utils)"
    if find_library("portaudio") is None:
        return "PortAudio is not installed (Debian: libportaudio2)"
    if not any(Path("/usr/lib").glob("*/alsa-lib/libasound_module_pcm_pulse.so")):
        return "ALSA knows no PulseAudio (Debian: libasound2-plugins)"
    return None


class SoundServer:
    """One that can be ended and started again, as a microphone is unplugged and plugged in."""

    def __init__(self, folder: Path) -> None:
        """
        Args:
            folder: empty; its path is short, for it holds a socket.
        """
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        run = folder / "run"
        run.mkdir(mode=0o700)
        self._socket = run / "native"
        self.environment = {
            "HOME": str(folder),
            "XDG_RUNTIME_DIR": str(run),
            "PULSE_RUNTIME_PATH": str(run / "pulse"),
            "PULSE_STATE_PATH": str(run / "state"),
            "PULSE_SERVER": f"unix:{self._socket}",
            "PULSE_SOURCE": f"{SINK}.monitor",
            "PULSE_LATENCY_MSEC": "30",  # else the null sink hands over two seconds at a time
        }
        """What a program needs to find it."""

    def start(self) -> None:
        """Returns when it can be played to."""
        modules = (
            f"module-native-protocol-unix socket={self._socket}",
            f"module-null-sink sink_name={SINK} rate={RATE} channels=1",
            "module-always-sink",
        )
        command = ["pulseaudio", "-n", "--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no"]
        command += [f"--log-target=file:{self._folder / 'log'}"]
        command += [part for module in modules for part in ("-L", module)]
        self._process = subprocess.Popen(command, env={**os.environ, **self.environment}, stderr=subprocess.DEVNULL)
        ends = time.monotonic() + _START_SECONDS
        while self._run("pactl", "info").returncode != 0:
            if self._process.poll() is not None or time.monotonic() > ends:
                raise RuntimeError((self._folder / "log").read_text(errors="replace"))
            time.sleep(0.05)

    def stand_still(self) -> None:
        """Answer nobody any more, until it is stopped."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.send_signal(signal.SIGCONT)
            self._process.wait(10)
            self._process = None

    def play(self, file: Path) -> None:
        """Play a file to its end; it begins with some silence, which is lost."""
        done = self._run("paplay", f"--latency-msec={_PLAYED_AHEAD}", "-d", SINK, str(file))
        if done.returncode != 0:
            raise RuntimeError(done.stderr.decode(errors="replace"))

    def _run(self, *command: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(command, env={**os.environ, **self.environment}, capture_output=True)


@contextmanager
def sound_server(folder: Path) -> Iterator[SoundServer]:
    """One that runs."""
    server = SoundServer(folder)
    try:
        server.start()
        yield server
    finally:
        server.stop()
