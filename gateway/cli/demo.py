"""`evenvoice demo`: the whole line on synthetic voices, in about three minutes."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import click
import numpy as np
import torch
from pydantic import BaseModel, ConfigDict

from gateway.cli.audit.run import print_report, write_report
from gateway.cli.options import FOLDER
from gateway.cli.population import Spoken, send, tables, totals
from gateway.cli.progress import bars, console
from gateway.stack.claim import claimed
from gateway.stack.ports import check_port, port_near
from gateway.stack.served import LOG, served
from monitoring.audit import AuditReport, run_audit
from recognizer.audio import fit_window, read_clip
from recognizer.bundle import load_bundle
from recognizer.decision import UNKNOWN
from recognizer.defense import DefenseName
from recognizer.manifest import Manifest, load_manifest
from recognizer.progress import Stage
from recognizer.recognizer import Recognizer
from recognizer.smoothing import RandomizedSmoothing
from training.build import BuildSettings, build_bundle
from training.corpora.corpus import describe
from training.corpora.rendering import render
from training.corpora.synthetic import UNDER_REPRESENTED, synthesize
from training.recipe import Recipe

SIGMA = 0.03
EPOCHS = 18
COMMANDS_A_VOICE = 6
PORT = 3000
CERTIFIED_CLIPS, SELECTION_DRAWS, CERTIFY_DRAWS = 24, 50, 500
SUMMARY_FILE, SPEAKERS_FILE = "summary.json", "speakers.csv"


class Summary(BaseModel):
    """What a demo measured, for benchmarks and the curious."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    voices: int
    test_voices: int
    seconds: dict[str, float]
    """Step -> seconds; `all` is the whole demo until it serves."""
    sigma: float
    median_radius_l2: float
    clean_accuracy: float
    """Of the undefended recogniser on the commands of the test voices."""
    smoothed_accuracy: float
    """Of RS on the same clips: accepted with the right command, of all."""
    over_http: dict[str, dict[str, float]]
    """Defense -> rejected, correct, milliseconds a command (median)."""


@click.command("demo")
@click.option("--once", is_flag=True, help="End instead of serving until Ctrl-C.")
@click.option("--folder", type=FOLDER, default=Path("demo"), show_default=True, help="Rewritten from scratch.")
@click.option("--voices", type=click.IntRange(30, 400), default=132, show_default=True)
@click.option("--epochs", type=click.IntRange(min=1), default=EPOCHS, show_default=True)
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    help=f"[default: {PORT}; with --once a free one where another program has that]",
)
def command(once: bool, folder: Path, voices: int, epochs: int, host: str, port: int | None) -> None:
    """Synthesise voices, train, audit, serve, and ask the gateway whom it turns away."""
    port = port or (port_near(PORT) if once else PORT)
    check_port(host, port)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # also where a shell has set it aside
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # the gateway ends with the demo
    with claimed(folder, kind="demo"):
        watch = Watch()
        manifest = _speak(folder, voices, watch)
        recognizer = _train(folder, manifest, epochs, watch)
        report, radius = _audit(folder, recognizer, manifest, watch)
        url = f"http://{host}:{port}"
        _heading(4, f"Serve the bundle on {url}")
        register = folder / SPEAKERS_FILE
        with served(folder / "bundle", speakers=register, folder=folder, host=host, port=port):
            watch.lap("serving")
            with bars() as show:
                spoken = send(url, manifest.split("test"), commands_a_speaker=COMMANDS_A_VOICE, on_progress=show)
            watch.lap("asking")
            for grid in tables(spoken, manifest.attributes):
                console.print(grid.to_rich())
            summary = _summary(report, manifest, radius, spoken, watch)
            (folder / SUMMARY_FILE).write_text(summary.model_dump_json(indent=2) + "\n", encoding="utf-8")
            _say_where(folder, url, summary)
            if not once:
                console.print("Serving until Ctrl-C.")
                _wait()


class Watch:
    """Seconds of each step."""

    def __init__(self) -> None:
        self._started = self._lap = time.monotonic()
        self.seconds: dict[str, float] = {}

    def lap(self, name: str) -> None:
        now = time.monotonic()
        self.seconds[name] = round(now - self._lap, 1)
        self._lap = now
        self.seconds["all"] = round(now - self._started, 1)


def _heading(number: int, text: str) -> None:
    console.print(f"\n{number}. {text}", style="bold")


def _speak(folder: Path, voices: int, watch: Watch) -> Manifest:
    _heading(1, f"Synthesise {voices} voices")
    rare = "; ".join(" ".join(groups.values()) for groups in UNDER_REPRESENTED)
    console.print(
        f"eSpeak NG says 13 commands and other words. On purpose, few training voices are: {rare}. "
        "Synthetic voices show how the line works, not how people fare."
    )
    with bars() as show:
        path = synthesize(folder / "corpus", count=voices, progress=lambda d, n: show(Stage("speaking", d, n)))
    manifest = load_manifest(path)
    console.print(render(describe(manifest)))
    test = manifest.split("test").table.drop_duplicates("speaker")
    test[["speaker", *manifest.attributes]].to_csv(folder / SPEAKERS_FILE, index=False)
    watch.lap("speaking")
    return manifest


def _train(folder: Path, manifest: Manifest, epochs: int, watch: Watch) -> Recognizer:
    _heading(2, f"Train M5-small clean and under noise of sigma = {SIGMA}, fit neural rejection")
    settings = BuildSettings(name="demo", recipe=Recipe(epochs=epochs), sigma=SIGMA)
    with bars() as show:
        build_bundle(manifest, folder / "bundle", settings, on_progress=show)
    watch.lap("training")
    return load_bundle(folder / "bundle")


def _audit(folder: Path, recognizer: Recognizer, manifest: Manifest, watch: Watch) -> tuple[AuditReport, float]:
    _heading(3, "Audit every defense on the voices that training never heard")
    test = manifest.split("test")
    with bars() as show:
        report, _ = run_audit(recognizer, test, source="corpus/manifest.csv", on_progress=show)
    print_report(report)
    write_report(report, folder / "audit")
    radius = _median_radius(recognizer, test)
    watch.lap("auditing")
    return report, radius


def _median_radius(recognizer: Recognizer, test: Manifest) -> float:
    """Median certified L2 radius, raw amplitude, over some test commands; 0 where not certified as what it is."""
    smoothing = recognizer.defense(DefenseName.SMOOTHING)
    assert isinstance(smoothing, RandomizedSmoothing)
    commands = test.where([c != UNKNOWN for c in test.table["command"]])
    chosen = np.linspace(0, len(commands.table) - 1, CERTIFIED_CLIPS).astype(int)
    radii = []
    for index in chosen:
        clip = read_clip(Path(commands.table["path"].iloc[index]), recognizer.audio)
        waveform = torch.from_numpy(fit_window(clip.waveform, recognizer.audio.window))
        name = commands.clip_ids[index]
        found = smoothing.certify(waveform, clip_id=name, seed=0, selection_draws=SELECTION_DRAWS, draws=CERTIFY_DRAWS)
        truth = recognizer.labels.index(commands.table["command"].iloc[index])
        radii.append(found.radius_l2 if found.label == truth else 0.0)
    return float(np.median(radii))


def _summary(report: AuditReport, manifest: Manifest, radius: float, spoken: Sequence[Spoken], watch: Watch) -> Summary:
    accuracy = {r.defense: r.overall.accuracy.mean for r in report.defenses}
    return Summary(
        voices=int(manifest.table["speaker"].nunique()),
        test_voices=report.speakers,
        seconds=watch.seconds,
        sigma=SIGMA,
        median_radius_l2=radius,
        clean_accuracy=accuracy[DefenseName.NONE],
        smoothed_accuracy=accuracy[DefenseName.SMOOTHING],
        over_http=totals(spoken),
    )


def _say_where(folder: Path, url: str, summary: Summary) -> None:
    console.print(
        f"Accuracy on {summary.test_voices} unheard voices: {summary.clean_accuracy:.3f} without a defense, "
        f"{summary.smoothed_accuracy:.3f} smoothed (sigma = {summary.sigma}, median certified radius "
        f"{summary.median_radius_l2:.3f} in L2). This took {summary.seconds['all']:.0f} s."
    )
    console.print(
        f"\nreport   {folder / 'audit' / 'audit.md'}\n"
        f"metrics  {url}/metrics\n"
        f"API      {url}/docs\n"
        f"log      {folder / LOG}"
    )


def _wait() -> None:
    with suppress(KeyboardInterrupt):
        signal.pause()
