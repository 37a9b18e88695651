"""A training that was killed ends with the very weights it would have had; a checkpoint of another one is refused."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from tones import fit, tones

from recognizer.network import M5
from training.checkpoint import CheckpointError
from training.hardening import Epoch, Fitted, TrainingError, fit_network
from training.recipe import Recipe

KINDS: dict[str, dict[str, Any]] = {
    "ours": {},
    "paper's": {"schedule": "constant", "weight_decay": 0.0, "noise_sigma": 0.05, "select_under_noise": False},
    "averaged": {"averaging": 0.9, "mixup": 0.3},
    "adversarial": {"adversarial_eps": 0.01, "adversarial_steps": 2},
}


def same(one: Fitted, two: Fitted) -> bool:
    """To the last bit."""
    ours, theirs = one.network.state_dict(), two.network.state_dict()
    return one.history == two.history and all(torch.equal(ours[name], theirs[name]) for name in ours)


def stop_after(epoch: int) -> Any:
    def on_epoch(done: Epoch) -> None:
        if done.number == epoch:
            raise KeyboardInterrupt

    return on_epoch


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("epoch", [1, 3])
def test_an_interrupted_training_ends_as_if_it_had_not_been(tmp_path: Path, kind: str, epoch: int) -> None:
    recipe = {"epochs": 4, **KINDS[kind]}
    whole = fit(tones(24), tones(8, 1), **recipe)
    with pytest.raises(KeyboardInterrupt):
        fit(tones(24), tones(8, 1), checkpoint=tmp_path / "state.pt", on_epoch=stop_after(epoch), **recipe)
    told: list[Epoch] = []
    resumed = fit(tones(24), tones(8, 1), checkpoint=tmp_path / "state.pt", on_epoch=told.append, **recipe)
    assert same(resumed, whole)
    assert tuple(told) == whole.history


def test_a_finished_training_is_not_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = fit(tones(16), tones(8, 1), checkpoint=tmp_path / "state.pt")
    monkeypatch.setattr(M5, "forward", None)
    assert same(fit(tones(16), tones(8, 1), checkpoint=tmp_path / "state.pt"), first)


LONG = {"epochs": 40, "noise_sigma": 0.02, "averaging": 0.99}
CHILD = f"""
import sys
from pathlib import Path
from tones import fit, tones
fit(tones(24), tones(8, 1), checkpoint=Path(sys.argv[1]), **{LONG})
"""


@pytest.mark.parametrize("after", [0.0, 0.05, 0.21])
def test_a_kill_at_any_moment_costs_no_bit(tmp_path: Path, after: float) -> None:
    """The child is killed outright `after` seconds past its first checkpoint, wherever it then is."""
    path = tmp_path / "state.pt"
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(path)],
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parent)},
    )
    try:
        while not path.exists():
            assert child.poll() is None, "the training ended before its first checkpoint"
            time.sleep(0.005)
        time.sleep(after)
    finally:
        child.kill()
        assert child.wait() == -signal.SIGKILL
    before = torch.load(path, weights_only=True)["state"]["history"]
    assert 1 <= len(before) < LONG["epochs"]
    assert same(fit(tones(24), tones(8, 1), checkpoint=path, **LONG), fit(tones(24), tones(8, 1), **LONG))


@pytest.mark.parametrize("other", [{"seed": 1}, {"epochs": 3}, {"noise_sigma": 0.1}])
def test_a_checkpoint_of_other_settings_is_refused(tmp_path: Path, other: dict[str, Any]) -> None:
    fit(tones(16), tones(8, 1), checkpoint=tmp_path / "state.pt")
    with pytest.raises(CheckpointError, match="of a training with other settings or clips"):
        fit(tones(16), tones(8, 1), checkpoint=tmp_path / "state.pt", **other)


def test_a_checkpoint_of_other_clips_is_refused(tmp_path: Path) -> None:
    fit(tones(16), tones(8, 1), checkpoint=tmp_path / "state.pt")
    for training, validation in ((tones(16, 5), tones(8, 1)), (tones(16), tones(8, 1, wrong=True))):
        with pytest.raises(CheckpointError, match="other settings or clips"):
            fit(training, validation, checkpoint=tmp_path / "state.pt")


def test_a_damaged_checkpoint_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    fit(tones(16), tones(8, 1), checkpoint=path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(CheckpointError, match="can't be read; remove it to begin anew"):
        fit(tones(16), tones(8, 1), checkpoint=path)


class _Harm:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_a_checkpoint_from_elsewhere_runs_no_code(tmp_path: Path) -> None:
    with (tmp_path / "state.pt").open("wb") as file:
        pickle.dump({"belongs_to": "x", "state": _Harm(tmp_path / "harm")}, file)
    with pytest.raises(CheckpointError, match=r"can't be read"):
        fit(tones(16), tones(8, 1), checkpoint=tmp_path / "state.pt")
    assert not (tmp_path / "harm").exists()


def test_a_disk_that_fills_up_leaves_the_last_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "state.pt"
    with pytest.raises(KeyboardInterrupt):
        fit(tones(16), tones(8, 1), checkpoint=path, on_epoch=stop_after(1), epochs=3)
    held = path.read_bytes()

    def full(_: object, file: Any) -> None:
        file.write(b"half a check")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", full)
        with pytest.raises(CheckpointError, match=r"can't be written: .*No space left"):
            fit(tones(16), tones(8, 1), checkpoint=path, epochs=3)
    assert path.read_bytes() == held
    assert [p.name for p in tmp_path.iterdir()] == ["state.pt"]
    assert same(fit(tones(16), tones(8, 1), checkpoint=path, epochs=3), fit(tones(16), tones(8, 1), epochs=3))


def test_a_training_that_fails_keeps_its_last_good_epoch(tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    recipe = Recipe(epochs=30, batch=8, schedule="constant", learning_rate=1e30)
    with pytest.raises(TrainingError, match="no longer finite"):
        fit_network(tones(16), tones(8, 1), 2, recipe, sample_rate=16_000, checkpoint=path)
    if path.exists():
        assert torch.load(path, weights_only=True)["state"]["history"]
