"""Ports of this machine's loopback."""

from __future__ import annotations

import os
import socket

LOOPBACK = "127.0.0.1"


class PortTaken(OSError):
    """Another program has the port."""


def check_port(host: str, port: int) -> None:
    """
    Raises:
        PortTaken: nothing can be served there.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise PortTaken(f"{host}:{port} can't be served on: {error.strerror}; give another --port") from None


def port_near(usual: int) -> int:
    """The usual port of a program, or a free one where another program has it."""
    try:
        check_port(LOOPBACK, usual)
    except PortTaken:
        with socket.socket() as probe:
            probe.bind((LOOPBACK, 0))
            return int(probe.getsockname()[1])
    return usual


def reach_loopback() -> None:
    """Have this process, and those that it starts, ask no proxy for what is on this machine."""
    excepted = os.environ.get("no_proxy") or os.environ.get("NO_PROXY")
    os.environ["no_proxy"] = f"{excepted},{LOOPBACK}" if excepted else LOOPBACK
