"""A real PostgreSQL of its own, started from the system's binaries, for as long as the tests run."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pg8000.native

PASSWORD = "swordfish-4711"
DATABASE = "evenvoice"
_USER = "postgres"


class NoPostgres(RuntimeError):
    """There is nothing to start; the message says what is missing."""


def _programs() -> Path:
    found = shutil.which("initdb")
    folders = [Path(found).parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    if not folders:
        raise NoPostgres("no PostgreSQL here; apt install postgresql")
    return folders[0]


def _owner() -> tuple[int, int]:
    """User and group that the server runs as: PostgreSQL refuses to run as root."""
    if os.getuid() != 0:
        return os.getuid(), os.getgid()
    try:
        user = pwd.getpwnam(_USER)
    except KeyError:
        raise NoPostgres("PostgreSQL does not run as root, and there is no user postgres") from None
    return user.pw_uid, user.pw_gid


@dataclass
class Postgres:
    """One server in a temporary folder, on a port of the loopback."""

    programs: Path
    folder: Path
    port: int

    @classmethod
    def begin(cls) -> Postgres:
        """
        Raises:
            NoPostgres: there are no binaries, or no user that may run them.
        """
        programs = _programs()
        owner = _owner()
        folder = Path(tempfile.mkdtemp(prefix="evenvoice-postgres-"))
        os.chown(folder, *owner)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        server = cls(programs, folder, port)
        try:
            server._fill()
        except BaseException:
            shutil.rmtree(folder)
            raise
        return server

    def _fill(self) -> None:
        password = self.folder / "password"
        password.write_text(PASSWORD)
        password.chmod(0o644)
        access = ("-U", _USER, "--auth=scram-sha-256", f"--pwfile={password}")
        self._run("initdb", "-D", str(self.folder / "data"), *access, "--encoding=UTF8", "--no-locale")
        self.start()
        with self.connect("postgres") as connection:
            connection.run(f"CREATE DATABASE {DATABASE}")

    def start(self) -> None:
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={self.folder}"
        data, log = str(self.folder / "data"), str(self.folder / "log")
        self._run("pg_ctl", "-D", data, "-l", log, "-w", "-o", options, "start")

    def stop(self, mode: str = "fast") -> None:
        """End: `fast` as an administrator would, `immediate` in the middle of whatever is under way."""
        self._run("pg_ctl", "-D", str(self.folder / "data"), "-w", "-m", mode, "stop")

    def remove(self) -> None:
        self.stop("immediate")
        shutil.rmtree(self.folder)

    def new_database(self) -> str:
        """The URL of an empty database; what the last one held is gone."""
        with self.connect(DATABASE) as connection:
            connection.run("SET lock_timeout = 10000")
            connection.run("DROP SCHEMA public CASCADE")
            connection.run("CREATE SCHEMA public")
        return f"postgresql+pg8000://{_USER}:{PASSWORD}@127.0.0.1:{self.port}/{DATABASE}"

    def connect(self, name: str) -> pg8000.native.Connection:
        return pg8000.native.Connection(
            _USER, host="127.0.0.1", port=self.port, database=name, password=PASSWORD, timeout=20
        )

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self.programs / program), *arguments]
        if os.getuid() == 0:
            command = ["runuser", "-u", _USER, "--", *command]
        # to files: the server keeps a pipe open
        with (self.folder.parent / f"{self.folder.name}.out").open("w+") as out:
            done = subprocess.run(command, cwd="/", stdout=out, stderr=out, check=False)
            out.seek(0)
            text = out.read()
        Path(out.name).unlink()
        if done.returncode:
            raise RuntimeError(f"{program} failed: {text}")
