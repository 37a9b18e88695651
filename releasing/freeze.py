"""Keep of this release what later ones are tested against: `python -m releasing.freeze`.

Writes `tests/compatibility/VERSION/`, see `releasing.kept`. Once a release is out its files stay as they are; `--again`
is for one that is not.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import io
import json
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
import httpx
import soundfile
import torch
from prometheus_client.parser import text_string_to_metric_families
from pydantic import TypeAdapter

from gateway.app import bare_app, create_app
from gateway.cli.main import cli
from gateway.settings import Settings
from gateway.streaming.messages import ServerMessage
from gateway.worker import Worker
from recognizer.audio import Clip
from recognizer.bundle import load_bundle, read_manifest, save_bundle
from recognizer.manifest import load_manifest
from releasing import kept, tones
from releasing.checks import is_tagged, project_version
from training.build import BuildSettings, build_bundle
from training.recipe import Recipe

DEFENSES = ("none", "neural_rejection", "smoothing", "neural_rejection.smoothing", "low_pass.smoothing")
AUDITED = ("none", "smoothing", "neural_rejection.smoothing")
POLICY = """\
tolerance = 0.05
min_speakers = 10
required_attributes = ["gender"]
attacked = true
inconclusive = "pass"
insufficient = "inconclusive"

[tolerances]
accuracy = 0.08

[minimum_accuracy]
smoothing = 0.5
default = 0.5
"*" = 0.1

[[gates]]
defense = "default"
attribute = "*"
metric = "rejection"
tolerance = 0.03

[[gates]]
defense = "smoothing"
attribute = "gender"
metric = "auc_fpr"

[[gates]]
metric = "auc_acc"
"""
SPOKEN = ("s-1", "s-2", "s-3")


def freeze(folder: Path) -> None:
    """Write every kept file of this code into a new folder."""
    torch.set_num_threads(1)
    folder.mkdir(parents=True)
    _write(folder / kept.API, create_app().openapi())
    _write(folder / kept.STREAM, TypeAdapter(ServerMessage).json_schema())
    with tempfile.TemporaryDirectory() as temporary:
        manifest = tones.write_corpus(Path(temporary) / "tones")
        make_bundle(manifest, folder / kept.BUNDLE)
        _write(folder / kept.DECISIONS, decisions(folder / kept.BUNDLE))
        metrics, dump = serve(folder / kept.BUNDLE, Path(temporary) / "state")
        (folder / kept.RECORDS).write_text(dump, encoding="utf-8")
        _write(folder / kept.INTERFACE, {"settings": settings(), "commands": commands(cli), "metrics": metrics})
        (folder / kept.POLICY).write_text(POLICY, encoding="utf-8")
        audit(folder, manifest)


def make_bundle(manifest: Path, folder: Path) -> None:
    """Train on the tones, for each defense; one network stands for both, so that what is kept is small."""
    settings = BuildSettings(
        name="tones", recipe=Recipe(epochs=10, batch=16), draws=200, confidence_threshold=0.9, allowed=DEFENSES
    )
    with tempfile.TemporaryDirectory() as temporary:
        trained = Path(temporary) / "bundle"
        build_bundle(load_manifest(manifest), trained, settings)
        whole = read_manifest(trained)
        clean = whole.networks["clean"]
        shared = whole.networks["noise"].model_copy(update={"file": clean.file})
        small = whole.model_copy(update={"networks": {"clean": clean, "noise": shared}})
        machine = whole.defenses.neural_rejection
        assert machine is not None, "the tones have clips enough to fit neural rejection"
        save_bundle(folder, small, {}, copied=[trained / clean.file, trained / machine.file])


def decisions(bundle: Path) -> dict[str, Any]:
    """What each defense of a bundle decides on the kept clips, in exact mode, and the clips' sha256."""
    recognizer = load_bundle(bundle)
    ids, waveforms = zip(*tones.clips(), strict=True)
    clips = [Clip(waveform, len(waveform) / tones.RATE, tones.RATE) for waveform in waveforms]
    return {
        "clips": {i: hashlib.sha256(w.tobytes()).hexdigest() for i, w in zip(ids, waveforms, strict=True)},
        "defenses": {
            defense: [kept.decided(d) for d in recognizer.decide(clips, clip_ids=ids, seed=0, defense=defense)]
            for defense in recognizer.defenses
        },
    }


def serve(bundle: Path, state: Path) -> tuple[dict[str, list[str]], str]:
    """What a gateway leaves after some commands: its metrics' names with their labels, its records as SQL."""
    settings = Settings(
        bundle=bundle,
        state=state,
        deadline_ms=30_000,
        valid_for_ms=60_000,
        ledger_grace_seconds=0,
        release_commands=1,
        release_speakers=1,
    )
    app = bare_app()
    worker = Worker(settings, app, number=1)
    try:
        metrics = asyncio.run(_talk(app))
    finally:
        worker.close()
    with sqlite3.connect(state / "records.sqlite3") as connection:
        return metrics, "\n".join(connection.iterdump()) + "\n"


async def _talk(app: Any) -> dict[str, list[str]]:
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway", timeout=60) as client:
        for speaker, gender in zip(SPOKEN, ("female", "male", ""), strict=True):
            declared = {"gender": gender} if gender else {}
            (await client.post("/v1/speakers", json={"speaker": speaker, "declared": declared})).raise_for_status()
        for number, (clip_id, waveform) in enumerate(tones.clips()):
            file = io.BytesIO()
            soundfile.write(file, waveform, tones.RATE, format="WAV", subtype="PCM_16")
            answer = await client.post(
                "/v1/commands",
                params={"speaker": SPOKEN[number % len(SPOKEN)], "defense": DEFENSES[number % len(DEFENSES)]},
                content=file.getvalue(),
                headers={"content-type": "audio/wav", "idempotency-key": clip_id},
            )
            request_id = answer.raise_for_status().json()["request_id"]
            if clip_id.partition("-")[0] in tones.HERTZ:
                label = {"command": clip_id.partition("-")[0]}
                await client.post(f"/v1/commands/{request_id}/label", json=label)
        app.state.gateway.ledger.run()
        scraped = (await client.get("/metrics")).raise_for_status().text
    return {
        family.name: sorted({label for sample in family.samples for label in sample.labels} - {"le"})
        for family in text_string_to_metric_families(scraped)
        if family.name.startswith("evenvoice_") and not family.name.endswith("_created")
    }


def settings() -> list[str]:
    """The environment variables that the gateway reads."""
    return sorted(f"EVENVOICE_{name.upper()}" for name in Settings.model_fields)


def commands(command: click.Command, path: tuple[str, ...] = ("evenvoice",)) -> dict[str, list[str]]:
    """Each command with its options and arguments."""
    context = click.Context(command)
    if not isinstance(command, click.Group):
        names = {name for p in command.params for name in (*p.opts, *p.secondary_opts)}
        return {" ".join(path): sorted(names)}
    found: dict[str, list[str]] = {}
    for name in command.list_commands(context):
        below = command.get_command(context, name)
        assert below is not None
        found |= commands(below, (*path, name))
    return found


def audit(folder: Path, manifest: Path) -> None:
    """Audit the kept bundle under the kept policy, as a user would."""
    with tempfile.TemporaryDirectory() as temporary:
        options = ["--bundle", folder / kept.BUNDLE, "--manifest", manifest, "--policy", folder / kept.POLICY]
        options += [f"--defense={name}" for name in AUDITED]
        options += ["--attacked-clips", "2", "--out", temporary]
        done = subprocess.run(
            [sys.executable, "-m", "gateway.cli.main", "audit", "run", *map(str, options)], check=False
        )
        if done.returncode > 2:
            raise RuntimeError(f"the audit ended with {done.returncode}")
        shutil.copyfile(Path(temporary) / "audit.json", folder / kept.AUDIT)


def _write(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def main() -> None:
    arguments = argparse.ArgumentParser(prog="python -m releasing.freeze", description=__doc__)
    arguments.add_argument("--again", action="store_true", help="Replace what is kept of this version.")
    again, release, here = arguments.parse_args().again, project_version(), version("evenvoice")
    if here != release:  # or the files of the release before would be written
        sys.exit(f"pyproject.toml says {release}, and what is installed here {here}: pip install -e . first")
    folder = kept.KEPT / release
    if folder.exists():
        if not again:
            sys.exit(f"{folder} is there already; --again replaces it, for a version that is not out yet")
        if is_tagged(release):
            sys.exit(f"{release} is out, as git's tag v{release} says: what is kept of it stays as it is")
        shutil.rmtree(folder)
    freeze(folder)
    print(f"kept in {folder}")


if __name__ == "__main__":
    main()
