"""`evenvoice listen`."""

from __future__ import annotations

import secrets
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import click

from gateway.cli.credentials import credential_options, credentials
from gateway.cli.options import BUNDLE, FILE, FOLDER, Number
from gateway.cli.progress import console, notes
from gateway.cli.sound import DETECTORS, microphone_options, open_source
from gateway.microphone.button import Button
from gateway.microphone.deciders import BundleDecider, Decider, GatewayDecider
from gateway.microphone.heard import Summary
from gateway.microphone.keys import pressed
from gateway.microphone.listen import Segmenter, listen
from gateway.microphone.saving import Saver
from gateway.microphone.sources import Source
from gateway.microphone.views import JsonLines, Lines, Picture
from gateway.streaming.listening import Listener

_URL = "http://127.0.0.1:3000"


@click.command("listen")
@click.option("--url", help=f"The gateway that decides. [default: {_URL}]")
@click.option("--bundle", type=BUNDLE, help="Decide here, with this bundle, and without a gateway.")
@microphone_options
@click.option("--file", type=FILE, help="A WAV or FLAC file instead of a microphone, as fast as it was spoken.")
@click.option("--fast", is_flag=True, help="With --file: as fast as it can be read.")
@click.option("--stdin", "is_stdin", is_flag=True, help="Bare 16-bit little-endian samples; needs --rate.")
@click.option(
    "--detector",
    type=click.Choice(tuple(DETECTORS)),
    default="silero",
    show_default=True,
    help="What finds speech: a network, or loudness alone.",
)
@click.option("--push-to-talk", is_flag=True, help="Space or Enter begins and ends an utterance; nothing else does.")
@click.option("--speaker", help="Id in the gateway's register.")
@click.option("--defense", help="One that the bundle allows. [default: the bundle's]")
@credential_options
@click.option("--seed", type=int, help="With --bundle: of the smoothing noise; unpredictable by default.")
@click.option("--save", type=FOLDER, help="Keep each utterance here: WAV and JSON.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line and decision.")
@click.option("--once", is_flag=True, help="End with the first utterance.")
@click.option("--seconds", type=Number(min=0, min_open=True), help="End after so long.")
def command(
    url: str | None,
    bundle: Path | None,
    device: str | None,
    rate: int | None,
    channels: int,
    file: Path | None,
    fast: bool,
    is_stdin: bool,
    detector: str,
    push_to_talk: bool,
    save: Path | None,
    as_json: bool,
    once: bool,
    seconds: float | None,
    **who: Any,
) -> None:
    """Speak, and see what the gateway decides and why. Ctrl-C ends it."""
    if push_to_talk and is_stdin:
        raise click.UsageError("--push-to-talk reads keys from standard input, --stdin reads sound")
    if not push_to_talk:
        DETECTORS[detector]()  # its weights are read once, and now: what is said meanwhile would wait
    saver = None if save is None else Saver(save)
    source = open_source(device=device, rate=rate, channels=channels, file=file, is_fast=fast, is_stdin=is_stdin)
    with (
        _decider(url, bundle, **who) as decider,
        _ending() as ending,
        source,
        _segmenter(source, detector, push_to_talk=push_to_talk) as segmenter,
        _view(as_json) as view,
    ):
        summary = listen(source, segmenter, decider, view, saver=saver, seconds=seconds, once=once, ending=ending)
    _tell(summary)


@contextmanager
def _decider(
    url: str | None, bundle: Path | None, *, speaker: str | None, defense: str | None, seed: int | None, **shown: Any
) -> Iterator[Decider]:
    if bundle is None:
        if seed is not None:
            raise click.UsageError("--seed goes with --bundle; a gateway draws its own")
        from gateway.client import Client

        place = url or _URL
        with Client(place, **credentials(place, **shown)) as client:
            if not client.is_ready():
                notes.print(f"the gateway at {place} is not ready; until it is, every utterance is a hold")
            yield GatewayDecider(client, speaker=speaker, defense=defense)
        return
    if url is not None or speaker is not None or any(shown.values()):
        raise click.UsageError("--url, --speaker, keys and certificates are for a gateway; --bundle decides here")
    from recognizer.bundle import load_bundle

    yield BundleDecider(load_bundle(bundle), seed=secrets.randbits(62) if seed is None else seed, defense=defense)


@contextmanager
def _segmenter(source: Source, detector: str, *, push_to_talk: bool) -> Iterator[Callable[[], Segmenter]]:
    """Makes segmenters; where keys cut, each new one has them."""
    rate, channels = source.sample_rate, source.channels
    if not push_to_talk:
        found = DETECTORS[detector]
        yield lambda: Listener(found(), sample_rate=rate, channels=channels)
        return
    newest = [Button(rate, channels)]

    def renew() -> Segmenter:
        newest[0] = Button(rate, channels)
        return newest[0]

    notes.print("space or Enter begins an utterance, and ends it")
    with pressed(sys.stdin.fileno(), lambda: newest[0].press()):
        yield renew


@contextmanager
def _ending() -> Iterator[threading.Event]:
    """Set by Ctrl-C, a request to end, or a terminal that is closed; a second one interrupts as usual.

    An exception wherever the program happens to be could leave a lock taken that the microphone's callback waits for.
    """
    ending = threading.Event()
    before = {name: signal.getsignal(name) for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    if before[signal.SIGHUP] is signal.SIG_IGN:  # by nohup
        del before[signal.SIGHUP]

    def end(number: int, _: FrameType | None) -> None:
        signal.signal(number, signal.default_int_handler)
        ending.set()

    for name in before:
        signal.signal(name, end)
    try:
        yield ending
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)


def _view(as_json: bool) -> Lines | Picture:
    if as_json:
        return JsonLines()
    return Picture(console) if console.is_terminal else Lines()


def _tell(summary: Summary) -> None:
    told = f"{summary.utterances} utterances, {summary.accepted} accepted"
    if summary.total_ms is not None:
        told += (
            f"; from the end of speech to the decision {summary.total_ms:.0f} ms (median; silence waited "
            f"{summary.silence_ms:.0f}, deciding {summary.deciding_ms:.0f})"
        )
    gone = f"; the microphone was gone {summary.times_lost} times" if summary.times_lost else ""
    notes.print(f"{told}; {summary.dropped_blocks} blocks dropped{gone}")
