"""What a process becomes when it serves, and that no two servers share a state folder."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from gateway import serving
from gateway.access.keys import Keyring, add_key
from gateway.access.routes import Role
from gateway.cli.main import cli


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
def test_keys_in_a_volume_of_a_secret_may_change_while_it_serves(tmp_path: Path) -> None:
    """Kubernetes writes each version into a new folder, points a link at it, and takes the old folder away."""
    volume, written = tmp_path / "volume", tmp_path / "written.json"
    volume.mkdir()

    def put(version: str) -> None:
        (volume / version).mkdir()
        shutil.copy(written, volume / version / "keys.json")
        (volume / "..new").symlink_to(version)
        (volume / "..new").rename(volume / "..data")

    first = add_key(written, role=Role.ROBOT, name="arm 1")
    put("..1")
    keys = volume / "keys.json"
    keys.symlink_to("..data/keys.json")
    with pytest.raises(Became) as caught:
        cli.main(["serve", "--bundle", str(tmp_path), "--state", str(tmp_path / "state"), "--keys", str(keys)])
    now = 0.0
    ring = Keyring(Path(caught.value.environment["EVENVOICE_KEYS"]), clock=lambda: now)
    assert ring.find(first)
    second = add_key(written, role=Role.ROBOT, name="arm 2")
    put("..2")
    shutil.rmtree(volume / "..1")
    now = 2.0
    assert ring.find(first)
    assert ring.find(second)


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


@pytest.mark.usefixtures("execve")
def test_a_worker_learns_its_masters_process_which_stays_the_same_through_exec(tmp_path: Path) -> None:
    assert serve(tmp_path).environment[serving.MASTER] == str(os.getpid())


@pytest.mark.usefixtures("execve")
def test_tls_is_passed_on_as_bentomls_options(tmp_path: Path) -> None:
    def options(tls: serving.Tls) -> dict[str, str]:
        with pytest.raises(Became) as caught:
            serving.exec_server({}, state=tmp_path / str(tls.client_authority), host="127.0.0.1", port=1, tls=tls)
        words = caught.value.arguments
        return {name: words[i + 1] for i, name in enumerate(words) if name.startswith("--ssl")}

    own = options(serving.Tls(Path("c.pem"), Path("k.pem")))
    assert set(own) == {"--ssl-certfile", "--ssl-keyfile", "--ssl-ciphers"}
    both = options(serving.Tls(Path("c.pem"), Path("k.pem"), Path("ca.pem")))
    assert (both["--ssl-certfile"], both["--ssl-keyfile"], both["--ssl-ca-certs"]) == ("c.pem", "k.pem", "ca.pem")
    assert both["--ssl-cert-reqs"] == "2"  # ssl.CERT_REQUIRED
    assert not any("--ssl" in word for word in serve(tmp_path / "plain").arguments)


MASTER_OF_ONE = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]], stdout=subprocess.PIPE, text=True)
print(child.pid, child.stdout.readline().strip(), flush=True)
child.wait()
"""
WORKER = """
import time
from gateway.serving import die_with_parent
{}
print("ready", flush=True)
time.sleep(60)
"""


def outlives_its_master(worker: str) -> bool:
    """Whether a worker runs on after its master was killed."""
    master = subprocess.Popen([sys.executable, "-c", MASTER_OF_ONE, worker], stdout=subprocess.PIPE, text=True)
    assert master.stdout is not None
    pid, word = master.stdout.readline().split()
    assert word == "ready"
    child = psutil.Process(int(pid))
    master.send_signal(signal.SIGKILL)
    master.wait(10)
    try:
        child.wait(2)
    except psutil.TimeoutExpired:
        child.kill()
        return True
    finally:
        master.stdout.close()
    return False


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process of its parent's end")
def test_a_worker_dies_with_its_master_and_without_the_call_it_would_not() -> None:
    assert not outlives_its_master(WORKER.format("die_with_parent()"))
    assert outlives_its_master(WORKER.format(""))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process of its parent's end")
def test_a_worker_whose_master_ended_before_it_could_ask_ends_itself() -> None:
    def code(master: int) -> int:
        environment = {**os.environ, serving.MASTER: str(master)}
        call = "from gateway.serving import die_with_parent; die_with_parent()"
        return subprocess.run([sys.executable, "-c", call], env=environment, timeout=60, check=False).returncode

    assert code(os.getpid()) == 0
    assert code(2**22 + 1) == -signal.SIGKILL  # nobody's: above the kernel's largest process id
