"""A bundle that knows four spoken words, recordings of them, and sound without a sound card."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from said import COMMANDS, Session

from benchmarks.sound_server import SoundServer, missing, sound_server
from recognizer.audio import read_clip
from recognizer.bundle import load_bundle
from recognizer.decision import UNKNOWN
from recognizer.manifest import load_manifest
from recognizer.recognizer import Recognizer
from training.build import BuildSettings, build_bundle
from training.corpora.synthetic import synthesize
from training.recipe import Recipe

EACH = 3


@pytest.fixture(scope="session")
def words_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trained on synthetic voices that say `COMMANDS`, and other words. Read only; the corpus lies beside it."""
    pytest.importorskip("espeakng_loader")
    folder = tmp_path_factory.mktemp("spoken")
    manifest = load_manifest(synthesize(folder / "corpus", count=40, seed=3))
    manifest = manifest.where(manifest.table["command"].isin((*COMMANDS, UNKNOWN)))
    recipe = Recipe(epochs=20, batch=16)
    build_bundle(manifest, folder / "bundle", BuildSettings(name="words", recipe=recipe))
    return folder / "bundle"


@pytest.fixture(scope="session")
def words_recognizer(words_bundle: Path) -> Recognizer:
    return load_bundle(words_bundle)


@pytest.fixture(scope="session")
def session(words_bundle: Path, words_recognizer: Recognizer, tmp_path_factory: pytest.TempPathFactory) -> Session:
    """Six words of voices that training never heard and that the bundle, given the clip, accepts."""
    corpus = words_bundle.parent / "corpus" / "manifest.csv"
    table = load_manifest(corpus).split("test").table
    found: dict[str, list[np.ndarray]] = {command: [] for command in COMMANDS}
    for row in table[table["command"].isin(COMMANDS)].to_dict("records"):
        clip = read_clip(Path(row["path"]), words_recognizer.audio)
        (decision,) = words_recognizer.decide([clip], clip_ids=["a"], seed=0)
        if decision.command == row["command"]:
            found[decision.command].append(clip.waveform)
    assert min(map(len, found.values())) >= EACH
    chosen = [(command, found[command][number]) for number in range(EACH) for command in COMMANDS]
    path = tmp_path_factory.mktemp("session") / "session.wav"
    written = Session(path, tuple(command for command, _ in chosen), [waveform for _, waveform in chosen])
    soundfile.write(path, written.samples(), 16_000, subtype="PCM_16")
    return written


@pytest.fixture
def sound() -> Iterator[SoundServer]:
    """A sound server of this test's own."""
    if (reason := missing()) is not None:
        pytest.skip(reason)
    folder = Path(tempfile.mkdtemp(prefix="ev"))  # a socket's path is short
    try:
        with sound_server(folder) as server:
            yield server
    finally:
        shutil.rmtree(folder, ignore_errors=True)
