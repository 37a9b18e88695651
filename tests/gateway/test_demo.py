"""What the demo refuses before it touches anything; the demo itself is run whole by `make demo`."""

from __future__ import annotations

import fcntl
import socket
from pathlib import Path
from typing import Any

import pytest
from test_served import free_port

from gateway.cli import demo


def test_a_port_that_is_taken_is_refused_before_the_folder_is_cleared(evenvoice: Any, tmp_path: Path) -> None:
    (tmp_path / ".evenvoice-demo").write_text("of an earlier demo")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = evenvoice("demo", "--once", "--folder", tmp_path, "--port", str(taken.getsockname()[1]))
    assert done.code == 1
    assert "give another --port" in done.err
    assert (tmp_path / ".evenvoice-demo").is_file()


def test_the_usual_port_need_not_be_free_where_the_demo_ends_by_itself(
    evenvoice: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "thesis.txt").touch()  # so that it goes no further
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        monkeypatch.setattr(demo, "PORT", taken.getsockname()[1])
        assert "give another --folder" in evenvoice("demo", "--once", "--folder", tmp_path).err
        assert "give another --port" in evenvoice("demo", "--folder", tmp_path).err


@pytest.mark.parametrize("name", ["corpus", "thesis.txt"])
def test_a_folder_that_holds_something_else_is_never_cleared(evenvoice: Any, tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    done = evenvoice("demo", "--once", "--folder", tmp_path, "--port", str(free_port()))
    assert done.code == 1
    assert "give another --folder" in done.err
    assert (tmp_path / name).is_dir()


def test_a_folder_in_which_another_demo_runs_is_never_cleared(evenvoice: Any, tmp_path: Path) -> None:
    marker = tmp_path / ".evenvoice-demo"
    with marker.open("w") as running:
        fcntl.flock(running, fcntl.LOCK_EX)
        done = evenvoice("demo", "--once", "--folder", tmp_path, "--port", str(free_port()))
    assert done.code == 1
    assert "another demo runs" in done.err
    assert marker.is_file()
