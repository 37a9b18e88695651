"""Clips of a manifest as tensors: in order, at the window, and none lost without a word."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch

from recognizer.audio import AudioFormat
from recognizer.manifest import Manifest, ManifestError
from recognizer.progress import Stage
from training.dataset import load_clips

AUDIO = AudioFormat(window_seconds=0.5)
LABELS = ("left", "right", "unknown")


def manifest_of(folder: Path, sounds: Mapping[str, tuple[str, float]], seconds: float = 0.25) -> Manifest:
    """File name -> (command, amplitude); amplitude 0 is silence, 2 is clipped."""
    samples = round(16_000 * seconds)
    for name, (_, amplitude) in sounds.items():
        wave = np.clip(amplitude * np.sin(np.arange(samples) / 5), -1, 1)
        soundfile.write(folder / name, wave, 16_000)
    rows = [
        {"path": str(folder / name), "command": command, "speaker": f"speaker of {name}", "split": "train"}
        for name, (command, _) in sounds.items()
    ]
    return Manifest(pd.DataFrame(rows), ())


def test_clips_come_in_the_manifests_order_at_the_window(tmp_path: Path) -> None:
    manifest = manifest_of(tmp_path, {"b.wav": ("unknown", 0.1), "a.wav": ("left", 0.2), "c.wav": ("right", 0.3)})
    clips = load_clips(manifest, LABELS, AUDIO)
    assert clips.waveforms.shape == (3, 8000)
    assert clips.waveforms.dtype == torch.float32
    assert clips.targets.tolist() == [2, 0, 1]
    np.testing.assert_allclose(clips.waveforms.abs().amax(dim=1), [0.1, 0.2, 0.3], atol=1e-3)
    assert not clips.waveforms[:, :2000].any()  # 0.25 s in the middle of 0.5 s
    assert not clips.waveforms[:, 6000:].any()
    assert clips.waveforms[:, 2001:2005].all()
    pd.testing.assert_frame_equal(clips.manifest.table, manifest.table)
    assert (len(clips), clips.skipped) == (3, ())


def test_clips_that_can_not_be_heard_are_skipped_and_named(tmp_path: Path) -> None:
    sounds = {
        "silent.wav": ("left", 0.0),
        "good.wav": ("right", 0.5),
        "loud.wav": ("left", 50.0),
        "fine.wav": ("left", 0.5),
        "text.wav": ("left", 0.5),
    }
    manifest = manifest_of(tmp_path, sounds)
    (tmp_path / "text.wav").write_text("not a sound")
    clips = load_clips(manifest, LABELS, AUDIO)
    assert clips.targets.tolist() == [1, 0]
    assert [Path(p).name for p in clips.manifest.table["path"]] == ["good.wav", "fine.wav"]
    assert clips.manifest.table["speaker"].tolist() == ["speaker of good.wav", "speaker of fine.wav"]
    assert [line.split(":")[0].rsplit("/")[-1] for line in clips.skipped] == ["silent.wav", "loud.wav", "text.wav"]
    assert "dBFS" in clips.skipped[0]
    assert "full scale" in clips.skipped[1]


def test_a_command_that_is_no_label_is_refused_before_reading(tmp_path: Path) -> None:
    manifest = manifest_of(tmp_path, {"a.wav": ("left", 0.5), "b.wav": ("up", 0.5), "c.wav": ("down", 0.5)})
    (tmp_path / "a.wav").unlink()
    with pytest.raises(ManifestError, match=r"\['down', 'up'\] are none of the labels \['left', 'right', 'unknown'\]"):
        load_clips(manifest, LABELS, AUDIO)


def test_a_manifest_without_any_sound_is_refused(tmp_path: Path) -> None:
    manifest = manifest_of(tmp_path, {"a.wav": ("left", 0.0), "b.wav": ("right", 0.0)})
    with pytest.raises(ManifestError, match=r"none of the 2 clips can be heard; the first: .*a\.wav"):
        load_clips(manifest, LABELS, AUDIO)


def test_a_file_that_vanished_is_no_skipped_clip(tmp_path: Path) -> None:
    manifest = manifest_of(tmp_path, {"a.wav": ("left", 0.5), "b.wav": ("left", 0.5)})
    (tmp_path / "b.wav").unlink()
    with pytest.raises(FileNotFoundError):
        load_clips(manifest, LABELS, AUDIO)


def test_progress_counts_every_clip_heard_or_not(tmp_path: Path) -> None:
    manifest = manifest_of(tmp_path, {"a.wav": ("left", 0.5), "b.wav": ("left", 0.0), "c.wav": ("left", 0.5)})
    stages: list[Stage] = []
    load_clips(manifest, LABELS, AUDIO, name="test", on_progress=stages.append)
    assert stages == [Stage("reading test clips", done, 3) for done in (1, 2, 3)]
