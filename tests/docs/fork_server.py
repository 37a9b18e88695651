"""`evenvoice` and `python` for many short commands: a process that has imported everything once, and forks for each.

python tests/docs/fork_server.py SOCKET

A client (`forked.py`) sends its arguments, folder and environment with its standard streams, and gets the exit code.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import runpy
import socket
import sys
import traceback
from pathlib import Path

FAULT = 70
"""EX_SOFTWARE of <sysexits.h>."""


def run(program: str, arguments: list[str]) -> int:
    """What the console script, or the interpreter, does with these arguments."""
    try:
        if program == "evenvoice":
            from gateway.cli.main import main

            sys.argv = [program, *arguments]
            main()
        elif arguments[0] == "-m":
            sys.argv = arguments[1:]
            sys.path.insert(0, "")
            runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
        else:
            sys.argv = arguments
            sys.path.insert(0, str(Path(arguments[0]).resolve().parent))
            runpy.run_path(arguments[0], run_name="__main__")
    except SystemExit as stop:
        if isinstance(stop.code, str):
            print(stop.code, file=sys.stderr)
            return 1
        return stop.code or 0
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def serve(path: Path) -> None:
    """Fork for each client until the socket's folder is gone, or this process is ended."""
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(str(path))
        door.listen()
        while True:
            client, _ = door.accept()
            if os.fork() == 0:
                door.close()
                answer(client)
            client.close()
            _reap()


def _reap() -> None:
    """Let ended children go; what they computed then counts as ours."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG) != (0, 0):
            pass


def answer(client: socket.socket) -> None:
    """Be that command; never returns."""
    code = FAULT
    try:
        received, streams, _, _ = socket.recv_fds(client, 1 << 20, 3)
        message = json.loads(received)
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        os.chdir(message["folder"])
        os.environ.clear()
        os.environ.update(message["environment"])
        code = run(message["program"], message["arguments"])
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        client.send(bytes([code & 255]))
        os._exit(0)


def load() -> None:
    """Import what commands import when they are called."""
    import click

    from gateway.cli.main import cli

    def loaded(command: click.Command) -> None:
        if isinstance(command, click.Group):
            context = click.Context(command)
            for name in command.list_commands(context):
                child = command.get_command(context, name)
                assert child is not None
                loaded(child)

    loaded(cli)
    for module in (
        "gateway.records",
        "monitoring.audit.run",
        "monitoring.report",
        "recognizer.bundle",
        "training.build",
    ):
        importlib.import_module(module)


if __name__ == "__main__":
    load()
    serve(Path(sys.argv[1]))
