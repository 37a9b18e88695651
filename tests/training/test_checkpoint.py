"""A training that was killed ends with the very weights it would have had; a checkpoint of another one is refused."""

from __future__ import annotations

import itertools
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
from training.checkpoint import Checkpoint, CheckpointError, checkpoints_in
from training.hardening import Epoch, Fitted, TrainingError
from training.recipe import Recipe

KINDS: dict[str, dict[str, Any]] = {
    "ours": {},
    "paper's": {"schedule": "constant", "weight_decay": 0.0, "noise_sigma": 0.05, "select_under_noise": False},
    "averaged": {"averaging": 0.9, "mixup": 0.3},
    "adversarial": {"adversarial_eps": 0.01, "adversarial_steps": 2},
    "no voice too often": {"clips_a_speaker": 17},
    "bfloat16": {"precision": "bfloat16"},
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
    path, training = tmp_path / "state.pt", tones(16)

    def blow_up(_: Epoch) -> None:
        training.waveforms[:] = torch.nan

    with pytest.raises(TrainingError, match="no longer finite in epoch 2"):
        fit(training, tones(8, 1), checkpoint=path, on_epoch=blow_up, epochs=3)
    assert [epoch["number"] for epoch in torch.load(path, weights_only=True)["state"]["history"]] == [1]
    assert same(fit(tones(16), tones(8, 1), checkpoint=path, epochs=3), fit(tones(16), tones(8, 1), epochs=3))


def test_a_checkpoint_of_another_type_of_device_is_refused(tmp_path: Path) -> None:
    clips, recipe, path = tones(8), Recipe(), tmp_path / "state.pt"
    Checkpoint(path, recipe, clips, device=torch.device("cuda:0")).save({"history": []})
    with pytest.raises(CheckpointError, match="on the device cuda, not cpu; go on with it on cuda, or remove it"):
        Checkpoint(path, recipe, clips, device=torch.device("cpu")).load()
    assert Checkpoint(path, recipe, clips, device=torch.device("cuda:1")).load() == {"history": []}


def test_a_checkpoint_that_can_not_be_written_is_refused_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("precious")
    monkeypatch.setattr(M5, "forward", None)
    with pytest.raises(CheckpointError, match=r"file/of/state.pt can't be written: .*Not a directory"):
        fit(tones(16), tones(8, 1), checkpoint=tmp_path / "file" / "of" / "state.pt")
    assert (tmp_path / "file").read_text() == "precious"


def test_the_seconds_of_every_go_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under a clock that goes on by a second each time it is read: twice an epoch."""
    ticks = itertools.count()
    monkeypatch.setattr(time, "perf_counter", lambda: float(next(ticks)))
    with pytest.raises(KeyboardInterrupt):
        fit(tones(16), tones(8, 1), checkpoint=tmp_path / "state.pt", on_epoch=stop_after(2), epochs=3)
    ticks = itertools.count(1000)
    resumed = fit(tones(16), tones(8, 1), checkpoint=tmp_path / "state.pt", epochs=3)
    assert resumed.seconds == 3.0


def test_checkpoints_are_one_runs_at_a_time_and_their_empty_folder_goes(tmp_path: Path) -> None:
    folder = tmp_path / "b.training"
    words = rf"another run \(process {os.getpid()}\) is at work in .*b.training; wait for it, or give another folder"
    with checkpoints_in(folder):
        with pytest.raises(CheckpointError, match=words), checkpoints_in(folder):
            pass
        (folder / "clean.pt").touch()
    assert [path.name for path in folder.iterdir()] == ["clean.pt"]
    with checkpoints_in(folder):
        (folder / "clean.pt").unlink()
    assert not folder.exists()
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match="can't be written: Not a directory"), checkpoints_in(tmp_path / "file/c"):
        pass
