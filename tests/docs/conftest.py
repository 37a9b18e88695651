"""What the commands of the documentation are run in, made once."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from doc_blocks import ROOT
from doc_workspace import HERE, Workspace, write_demo, write_programs, write_template

LOAD_SECONDS = 120


@pytest.fixture(scope="session")
def fork_socket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where the process listens that commands are forked from."""
    folder = tmp_path_factory.mktemp("fork")
    path = folder / "socket"
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "OMP_NUM_THREADS": "1"}
    server = subprocess.Popen([sys.executable, HERE / "fork_server.py", path], env=environment, cwd=ROOT)
    ends = time.monotonic() + LOAD_SECONDS
    while not path.exists():
        assert server.poll() is None, "the process that commands are forked from ended"
        assert time.monotonic() < ends, "it is not ready"
        time.sleep(0.05)
    yield path
    server.terminate()
    server.wait(10)


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("curl") is None or shutil.which("bash") is None:
        pytest.skip("the pages' commands need bash and curl")
    folder = tmp_path_factory.mktemp("docs") / "programs"
    write_programs(folder)
    return folder


@pytest.fixture(scope="session")
def make_workspace(
    tmp_path_factory: pytest.TempPathFactory, bundle: Path, tone_manifest: Path, programs: Path, fork_socket: Path
) -> Callable[[], Workspace]:
    """Makes a fresh folder, whose records hold the register."""
    template = tmp_path_factory.mktemp("docs") / "template"
    write_template(template, bundle=bundle, manifest=tone_manifest, programs=programs)
    enrol = Workspace(template, programs, fork_socket, 0)
    subprocess.run(
        [programs / "evenvoice", "speakers", "import", "people.csv", "--bundle", "bundle"],
        cwd=template,
        env=enrol.environment,
        check=True,
        capture_output=True,
    )

    def make() -> Workspace:
        folder = tmp_path_factory.mktemp("page") / "home"
        shutil.copytree(template, folder, symlinks=True)
        write_demo(folder, tone_manifest)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        return Workspace(folder, programs, fork_socket, port)

    return make


@pytest.fixture(scope="session")
def served(make_workspace: Callable[[], Workspace], programs: Path) -> Iterator[Workspace]:
    """A gateway that pages ask which start none of their own."""
    home = make_workspace()
    try:
        home.serve([str(programs / "evenvoice"), "serve", "--bundle", "bundle"])
        yield home
    finally:
        home.close()
