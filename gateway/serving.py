"""Turning this process into the BentoML server, with a state folder that no other server shares."""

from __future__ import annotations

import atexit
import ctypes
import fcntl
import logging
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

TARGET = "gateway.service:EvenvoiceGateway"
MASTER = "EVENVOICE_MASTER_PID"
"""The environment variable that tells a worker its master's process id."""

_CERTIFICATE_REQUIRED = "2"  # ssl.CERT_REQUIRED
_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""Of TLS 1.2: forward secret and authenticated; TLS 1.3 has no others."""
_SERVED = "served"
_GIVE_UP = signal.SIGUSR2  # circus has no use for it
_AGAIN_SECONDS = 5.0
_OURS = ("gateway", "monitoring", "recognizer")
LARGEST_MESSAGE = 64 << 10
"""Bytes of one message on a WebSocket."""

_PR_SET_PDEATHSIG = 1  # <sys/prctl.h>


logger = logging.getLogger(__name__)


class StateInUse(ValueError):
    """Another gateway uses the state folder."""


@dataclass(frozen=True)
class Tls:
    """The files of a server that speaks TLS 1.2 and 1.3, PEM."""

    certificate: Path
    """The server's, and those between it and its authority."""
    key: Path
    client_authority: Path | None = None
    """Who signs clients' certificates; a client without one of theirs is refused. None: no client is asked."""

    def arguments(self) -> list[str]:
        """The options of `bentoml serve`."""
        own = ["--ssl-certfile", self.certificate, "--ssl-keyfile", self.key, "--ssl-ciphers", _CIPHERS]
        asked = ["--ssl-ca-certs", self.client_authority, "--ssl-cert-reqs", _CERTIFICATE_REQUIRED]
        return [str(part) for part in (own if self.client_authority is None else [*own, *asked])]


def exec_server(
    environment: Mapping[str, str], *, state: Path, host: str, port: int, tls: Tls | None = None
) -> NoReturn:
    """Become `bentoml serve`.

    The server's BENTOML_HOME lies in the state folder: two servers with one BENTOML_HOME wipe each other's metrics. A
    lock on the folder is held as long as any process of the server lives.

    Raises:
        StateInUse: another gateway holds the lock.
    """
    home = state / "bentoml"
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    home.mkdir(exist_ok=True)
    lock = os.open(state / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise StateInUse(f"another gateway uses {state}; give this one another --state") from None
    os.set_inheritable(lock, True)
    full = {**environment, "BENTOML_HOME": str(home), "BENTOML_DO_NOT_TRACK": "true", MASTER: str(os.getpid())}
    full.pop("PROMETHEUS_MULTIPROC_DIR", None)
    full.setdefault("MALLOC_ARENA_MAX", "2")  # glibc keeps up to 8 heaps a core, and each grows to its own peak
    arguments = ["-m", "bentoml", "serve", TARGET, "--host", host, "--port", str(port)]
    arguments += [*(tls.arguments() if tls else []), "--working-dir", str(_root())]
    os.execve(sys.executable, [sys.executable, *arguments], full)


def begin_master(*, state: Path) -> None:
    """For the process that starts the workers, before it does."""
    hide_control()
    os.environ[MASTER] = str(os.getpid())
    state.mkdir(mode=0o700, parents=True, exist_ok=True)  # which nobody has made where `bentoml serve` was called
    (state / _SERVED).unlink(missing_ok=True)
    signal.signal(_GIVE_UP, _end)


def has_served(*, state: Path) -> None:
    """Say that a worker of this server is ready: from now on one that fails to start is tried again."""
    (state / _SERVED).touch()


def give_up(error: Exception, *, state: Path) -> NoReturn:
    """End a worker that can't start, and if none of this server's ever could, the server, with one line.

    BentoML would start it again for ever, while clients hang. Once a worker has served, that is what is wanted: the
    others serve on, and what is wrong may be mended.

    Args:
        error: a `ValueError` or one of ours has words for who started the server; of others the log gets the place.
    """
    if isinstance(error, ValueError) or type(error).__module__.partition(".")[0] in _OURS:
        print(f"evenvoice: {error}", file=sys.stderr, flush=True)
    else:
        logger.error("the worker can't start", exc_info=error)
        print(f"evenvoice: the worker can't start: {type(error).__name__}", file=sys.stderr, flush=True)
    if (state / _SERVED).exists():
        time.sleep(_AGAIN_SECONDS)
    else:
        os.kill(int(os.environ[MASTER]), _GIVE_UP)
    os._exit(1)


def _end(*_: object) -> None:
    atexit._run_exitfuncs()
    os._exit(1)  # the workers end with their master


def bound_messages() -> None:
    """Have uvicorn refuse messages on WebSockets beyond a stream's largest, and take none compressed.

    Its own limit is 16 MiB, and a compressed message is unfolded before anybody looks at it. BentoML has no setting for
    either.
    """
    import uvicorn

    class Bounded(uvicorn.Config):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **{"ws_per_message_deflate": False, "ws_max_size": LARGEST_MESSAGE, **options})

    uvicorn.Config = Bounded  # type: ignore[misc]


def hide_control() -> None:
    """Have this master listen for its orders in a folder of its user's alone; before its workers are started.

    BentoML's supervisor (circus) takes orders without a password, such as to start any program, and binds them to
    ports of the loopback: whoever has an account on the machine could give them. Its public settings have no other
    place for them.
    """
    from bentoml._internal.utils import circus  # in the master only

    folder = Path(tempfile.mkdtemp(prefix="evenvoice-"))  # made 0700; short, since a socket's path has 107 bytes
    atexit.register(shutil.rmtree, folder, ignore_errors=True)

    class Hidden(circus.Arbiter):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            places = {"endpoint": f"ipc://{folder}/orders", "pubsub_endpoint": f"ipc://{folder}/events"}
            super().__init__(*arguments, **{**options, **places})

    circus.Arbiter = Hidden  # type: ignore[misc]


def die_with_parent() -> None:
    """Have the kernel kill this worker when its master ends, however that ends; on Linux only.

    Else a worker outlives a master that was killed: it keeps the state folder locked, and the port. What it was
    deciding is lost with it, which is safe: a decision is answered only once it is stored.
    """
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    master = os.environ.get(MASTER)
    if master is not None and os.getppid() != int(master):  # it ended before the kernel was told
        os.kill(os.getpid(), signal.SIGKILL)


def _root() -> Path:
    """The folder that holds the packages: a folder named `gateway` in the current one is not taken instead."""
    return Path(__file__).parent.parent
