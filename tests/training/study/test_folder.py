"""Files are written whole or not at all, by one run at a time."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from recognizer.network import M5, Architecture
from training.study.folder import (
    Failure,
    StudyError,
    StudyFolder,
    read_network,
    write_bytes,
    write_parquet,
    write_record,
    write_tensors,
)

TINY = Architecture(labels=3, width=4, last_width=8, stride=16)


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    table = pd.DataFrame({"clip": ["a", "b"], "eps": [0.0, 0.1]})
    write_parquet(tmp_path / "new" / "t.parquet", table)
    write_tensors(tmp_path / "new" / "t.safetensors", {"a": torch.arange(6).reshape(2, 3).T})
    write_record(tmp_path / "new" / "failed.json", Failure(error="NaN"))
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "new" / "t.parquet"), table)
    assert torch.equal(load_file(tmp_path / "new" / "t.safetensors")["a"], torch.arange(6).reshape(2, 3).T)
    assert Failure.model_validate_json((tmp_path / "new" / "failed.json").read_bytes()).error == "NaN"
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == ["failed.json", "t.parquet", "t.safetensors"]


def test_a_full_disk_leaves_the_old_file_and_says_what_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "outcomes.parquet"
    write_bytes(path, b"old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StudyError, match=r"outcomes.parquet can't be written: No space left on device. What"):
        write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_is_one_runs_at_a_time(tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path / "study")
    words = rf"another run \(process {os.getpid()}\) is at work in .*study"
    with folder.locked(), pytest.raises(StudyError, match=words), folder.locked():
        pass
    with folder.locked():
        pass


def test_a_killed_runs_lock_is_gone(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path; from training.study.folder import StudyFolder\n"
        "with StudyFolder(Path(sys.argv[1])).locked(): os.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert killed.returncode == -9
    with StudyFolder(tmp_path).locked():
        pass


def test_what_a_killed_run_had_begun_to_write_is_taken_away(tmp_path: Path) -> None:
    half, whole = tmp_path / "open" / "clips.parquet.77.unfinished", tmp_path / "open" / "clips.parquet"
    whole.parent.mkdir()
    half.write_bytes(b"PAR1")
    whole.write_bytes(b"whole")
    StudyFolder(tmp_path).tidy()
    assert [p.name for p in whole.parent.iterdir()] == ["clips.parquet"]


def test_a_network_comes_back_with_its_logits(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = M5(TINY).eval()
    write_tensors(tmp_path / "n.safetensors", network.state_dict())
    waveforms = torch.randn(2, 8000)
    assert torch.equal(read_network(tmp_path / "n.safetensors", TINY)(waveforms), network(waveforms))


@pytest.mark.parametrize("content", [None, b"damaged"])
def test_weights_that_can_not_be_read_are_named(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "n.safetensors").write_bytes(content)
    with pytest.raises(StudyError, match=r"n.safetensors can't be read .*; remove its folder"):
        read_network(tmp_path / "n.safetensors", TINY)
