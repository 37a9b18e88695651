"""Which microphone, and PortAudio's errors in words."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.microphone.portaudio import Device, DeviceBusy, NoDevice, UnsupportedLayout, choose, in_words, stem

EVENVOICE = Path(sys.executable).with_name("evenvoice")
WITHOUT_LIBRARY = """
import ctypes.util, sys
ctypes.util.find_library = lambda name: None
from gateway.cli.main import main
sys.argv = ["evenvoice", "listen", "--list-devices"]
main()
"""


def device(number: int, name: str, *, is_default: bool = False) -> Device:
    return Device(number, name, "ALSA", 2, 48_000, is_default)


HERE = [
    device(0, "Built-in Audio"),
    device(3, "USB Audio", is_default=True),
    device(5, "USB Audio Pro"),
    device(7, "2i2"),
]


@pytest.mark.parametrize(
    ("wanted", "number"), [(None, 3), ("0", 0), ("7", 7), ("built", 0), ("usb audio", 3), ("pro", 5), ("2i2", 7)]
)
def test_a_microphone_is_chosen_by_number_or_part_of_its_name(wanted: str | None, number: int) -> None:
    assert choose(HERE, wanted).number == number


@pytest.mark.parametrize(("wanted", "words"), [("usb", "2 microphones are 'usb'"), ("4", "no microphone is '4'")])
def test_what_names_none_or_several_is_refused_with_those_that_are_here(wanted: str, words: str) -> None:
    with pytest.raises(NoDevice, match=f"{words}; here are 0: Built-in Audio; 3: USB Audio"):
        choose(HERE, wanted)


@pytest.mark.parametrize(
    ("name", "same"), [("USB: Audio (hw:2,0)", "USB: Audio"), ("pulse", "pulse"), ("Mic (2)", "Mic (2)")]
)
def test_a_microphone_is_the_same_wherever_it_is_plugged_in_again(name: str, same: str) -> None:
    assert stem(name) == same
    assert choose([*HERE, device(9, same + " (hw:11,3)")], stem(name)).number == 9


def test_portaudios_errors_are_told_apart() -> None:
    sounddevice = pytest.importorskip("sounddevice", exc_type=(ImportError, OSError))
    for code, kind in ((-9985, DeviceBusy), (-9997, UnsupportedLayout), (-9998, UnsupportedLayout), (-9996, NoDevice)):
        error = in_words(sounddevice.PortAudioError("Error opening RawInputStream", code), "USB Audio")
        assert isinstance(error, kind)
        assert "USB Audio" in str(error)
    strange = in_words(sounddevice.PortAudioError("Unanticipated host error", -9999), "USB Audio")
    assert "Unanticipated host error" in str(strange)


def test_without_the_library_it_is_said_what_to_install() -> None:
    pytest.importorskip("sounddevice", exc_type=(ImportError, OSError))
    done = subprocess.run([sys.executable, "-c", WITHOUT_LIBRARY], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr.strip() == (
        "evenvoice: recording needs the PortAudio library; on Debian and Ubuntu run apt install libportaudio2"
    )


@pytest.mark.parametrize("options", [(), ("--list-devices",), ("--device", "0")])
def test_where_nothing_can_be_recorded_from_that_is_all_that_is_said(options: tuple[str, ...], bundle: Path) -> None:
    pytest.importorskip("sounddevice", exc_type=(ImportError, OSError))
    if list(Path("/dev/snd").glob("pcm*c")):
        pytest.skip("this machine has a sound card")
    done = subprocess.run(
        [EVENVOICE, "listen", "--bundle", bundle, *options],
        env={**os.environ, "PULSE_SERVER": "unix:/nowhere"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("evenvoice: no microphone is here")
    assert len(done.stderr.strip().splitlines()) == 1
