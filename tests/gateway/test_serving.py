"""What a process becomes when it serves, and that no two servers share a state folder."""

from __future__ import annotations

import fcntl
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway import serving


class Became(BaseException):
    """Raised in place of becoming another process."""

    def __init__(self, path: str, arguments: list[str], environment: dict[str, str]) -> None:
        super().__init__(path)
        self.path, self.arguments, self.environment = path, arguments, environment


@pytest.fixture
def execve(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    opened: list[int] = []
    really_open = os.open

    def note(*arguments: Any, **options: Any) -> int:
        opened.append(really_open(*arguments, **options))
        return opened[-1]

    def become(*arguments: Any) -> None:
        raise Became(*arguments)

    monkeypatch.setattr(serving.os, "execve", become)
    monkeypatch.setattr(serving.os, "open", note)
    yield
    for descriptor in opened:
        try:
            os.close(descriptor)
        except OSError:
            continue


def serve(state: Path, environment: dict[str, str] | None = None) -> Became:
    with pytest.raises(Became) as caught:
        serving.exec_server(environment or {}, state=state, host="127.0.0.1", port=1234)
    return caught.value


@pytest.mark.usefixtures("execve")
def test_the_server_gets_a_home_of_its_own_and_no_metrics_of_another(tmp_path: Path) -> None:
    before = {"PATH": "/bin", "BENTOML_HOME": "/shared", "PROMETHEUS_MULTIPROC_DIR": "/shared/metrics"}
    became = serve(tmp_path / "state", before)
    assert became.path == sys.executable
    assert became.arguments[1:5] == ["-m", "bentoml", "serve", serving.TARGET]
    assert became.environment["BENTOML_HOME"] == str(tmp_path / "state" / "bentoml")
    assert became.environment["PATH"] == "/bin"
    assert "PROMETHEUS_MULTIPROC_DIR" not in became.environment
    assert before["BENTOML_HOME"] == "/shared"


@pytest.mark.usefixtures("execve")
def test_a_state_folder_is_locked_across_processes_and_others_are_free(tmp_path: Path) -> None:
    serve(tmp_path / "a")
    with pytest.raises(serving.StateInUse, match="--state"):
        serving.exec_server({}, state=tmp_path / "a", host="127.0.0.1", port=1)
    serve(tmp_path / "b")
    with (tmp_path / "a" / "lock").open() as other, pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


@pytest.mark.usefixtures("execve")
def test_the_lock_file_says_nothing_and_may_stay_behind(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("left by a server that was killed")
    serve(tmp_path)


def test_the_packages_are_taken_from_where_they_are_installed() -> None:
    assert (serving._root() / "gateway" / "serving.py").samefile(serving.__file__)
