"""The services of a compose file as processes of this machine, where there is no container engine.

Each gets what the file says of it: its command, environment, user, mounts and capabilities, on a read-only root file
system of its own, which is this machine's under an overlay that is thrown away. They share one network of their own, in
which every service's name is 127.0.0.1. What an image holds is left out: the programs are this machine's.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from compose_file import FOLDER, Json, mounts

_NEEDED = ("unshare", "nsenter", "setpriv", "chroot", "ip", "curl")


def _is_allowed() -> bool:
    """Whether this machine lets us have an overlay in a namespace of our own."""
    if os.geteuid() != 0 or not all(shutil.which(program) for program in _NEEDED):
        return False
    script = (
        "mount -t tmpfs t /mnt && mkdir /mnt/u /mnt/w /mnt/r && "
        "mount -t overlay o -o lowerdir=/,upperdir=/mnt/u,workdir=/mnt/w /mnt/r"
    )
    done = subprocess.run(["unshare", "--mount", "--net", "sh", "-c", script], capture_output=True)
    return done.returncode == 0


needs_namespaces = pytest.mark.skipif(not _is_allowed(), reason="no namespaces or overlays of one's own here")


@dataclass
class Stack:
    """Services at work; ended with `stop`."""

    services: Json
    folder: Path
    """Gets a folder for each named volume, and a log for each service."""
    bundle: Path
    hosts: Sequence[str]
    _network: subprocess.Popen[bytes] = field(init=False)
    _running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._network = subprocess.Popen(
            ["unshare", "--net", "sh", "-c", "ip link set lo up && echo up && exec sleep 600"], stdout=subprocess.PIPE
        )
        assert self._network.stdout is not None
        assert self._network.stdout.readline() == b"up\n"
        (self.folder / "hosts").write_text(f"127.0.0.1 localhost {' '.join(self.hosts)}\n")

    def volume(self, name: str) -> Path:
        return self.folder / "volumes" / name

    def within(self, *command: str | Path) -> list[str]:
        """The command in the network of the stack."""
        return ["nsenter", f"--net=/proc/{self._network.pid}/ns/net", *map(str, command)]

    def succeeds(self, *command: str | Path) -> bool:
        """Whether a command of this machine, in the stack's network and with its hosts, ends with 0."""
        bound = 'mount --bind "$0" /etc/hosts && exec "$@"'
        script = ("unshare", "--mount", "sh", "-c", bound, self.folder / "hosts")
        return subprocess.run(self.within(*script, *command), capture_output=True).returncode == 0

    def start(self, name: str, command: Sequence[str], *, uid: int, also: Mapping[str, str] | None = None) -> None:
        """Start a service with its image's user and command, and what of its environment the image has."""
        with (self.folder / f"{name}.log").open("wb") as log:
            self._running[name] = subprocess.Popen(
                self._command(name, command, uid, also), stdout=log, stderr=subprocess.STDOUT
            )

    def run(self, name: str, command: Sequence[str], *, uid: int, also: Mapping[str, str] | None = None) -> str:
        """What a service prints that ends by itself."""
        done = subprocess.run(self._command(name, command, uid, also), capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()

    def end(self, name: str) -> int:
        """The exit code of a service after SIGTERM."""
        process = self._running.pop(name)
        process.terminate()
        return process.wait(timeout=45)

    def stop(self) -> None:
        for process in [*self._running.values(), self._network]:
            process.kill()
            process.wait()

    def _command(self, name: str, command: Sequence[str], uid: int, also: Mapping[str, str] | None) -> list[str]:
        service = self.services[name]
        user = 0 if service.get("user") == "0:0" else uid
        kept = "".join(f",+{capability.lower()}" for capability in service.get("cap_add", ()))
        environment = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": "/tmp",
            "LC_ALL": "C.UTF-8",
        }
        environment |= {
            "PYTHONDONTWRITEBYTECODE": "1",
            **(also or {}),
            **service.get("environment", {}),
            "OMP_NUM_THREADS": "1",
        }
        words = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "--no-new-privs"]
        words += [f"--bounding-set=-all{kept}", f"--inh-caps=-all{kept}"]
        words += ["env", "-i", *(f"{key}={value}" for key, value in environment.items()), *command]
        script = "\n".join(["set -e", *self._file_system(service, user), f"exec chroot /mnt/root {shlex.join(words)}"])
        return self.within("unshare", "--mount", "--propagation=private", "sh", "-c", script)

    def _file_system(self, service: Json, user: int) -> list[str]:
        """The shell's lines that make a service's file system at /mnt/root."""
        root = "/mnt/root"
        lines = [
            "mount -t tmpfs -o mode=755 stack /mnt",
            "mkdir /mnt/upper /mnt/work /mnt/root",
            "mount -t overlay stack -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work /mnt/root",
            f"mount --rbind /proc {root}/proc && mount --rbind /dev {root}/dev",
            f"cat {shlex.quote(str(self.folder / 'hosts'))} > {root}/etc/hosts",
            f"echo image:x:{user}:{user}::/tmp:/bin/sh >> {root}/etc/passwd",
            *(f"chmod o+x {root}{parent}" for parent in _closed_parents()),
        ]
        bundle = {"type": "bind", "source": str(self.bundle), "target": "/bundle", "read_only": True}
        for mount in [bundle, *mounts(service)]:
            source, target = Path(mount["source"]), f"{root}{Path(mount['target']).resolve()}"
            if mount["type"] == "volume":
                source = self.volume(mount["source"])
                source.mkdir(parents=True, exist_ok=True)
            elif not source.is_absolute():
                source = (FOLDER / source).resolve()
            make = f"mkdir -p {target}" if source.is_dir() else f"mkdir -p $(dirname {target}) && touch {target}"
            lines += [make, f"mount --bind {shlex.quote(str(source))} {target}"]
            if mount.get("read_only"):
                lines.append(f"mount -o remount,bind,ro {target}")
        for mount in service.get("tmpfs", ()):
            path, _, options = mount.partition(":")
            target = f"{root}{Path(path).resolve()}"  # /var/run is a link out of our root
            options = f"noexec,nosuid,nodev,{options or 'mode=1777'}"  # what Docker says of every tmpfs
            lines += [f"mkdir -p {target}", f"mount -t tmpfs -o {options} stack {target}"]
        for place in sorted({sys.prefix, sys.base_prefix, str(FOLDER.parents[1])}, key=len):  # what holds another first
            ours, theirs = shlex.quote(place), shlex.quote(root + place)
            bound = f"mkdir -p {theirs} && mount --bind {ours} {theirs} && mount -o remount,bind,ro {theirs}"
            lines.append(f"test -e {theirs} || {{ {bound}; }}")  # a tmpfs lies over it where this project is in /tmp
        return [*lines, f"mount -o remount,ro {root}"]


def _closed_parents() -> list[Path]:
    """Folders on the way to the interpreter and to this project that only their owner may enter, as /root is."""
    ways = [Path(sys.executable), Path(sys.executable).resolve(), FOLDER]
    found = {parent for way in ways for parent in way.parents if not parent.stat().st_mode & 0o001}
    return sorted(found)


def asked(stack: Stack, url: str, *options: str) -> tuple[int, str]:
    """Status and body of what curl gets in the stack's network; status 0 where there is no connection."""
    names = [word for host in stack.hosts for word in ("--connect-to", f"{host}::127.0.0.1:")]
    command = stack.within(
        "curl", "--silent", "--max-time", "10", "--write-out", "\n%{http_code}", *names, *options, url
    )
    body, _, status = subprocess.run(command, capture_output=True, text=True).stdout.rpartition("\n")
    return int(status), body
