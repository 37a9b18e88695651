"""Options of the commands that ask a gateway: the key, and over TLS whom to trust and which certificate to show."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypedDict, TypeVar
from urllib.parse import urlsplit

import click

from gateway.cli.options import FILE

_F = TypeVar("_F", bound=Callable[..., Any])


class Credentials(TypedDict):
    """What `gateway.client.Client` is given."""

    key: str | None
    tls: ssl.SSLContext | None


def credential_options(command: _F) -> _F:
    """What `credentials` reads. A secret never comes by the command line, which others may see."""
    for option in (
        click.option("--client-key", type=FILE, help="The private key of --client-cert, PEM, where it holds none."),
        click.option("--client-cert", type=FILE, help="Shown to a gateway that asks who is there, PEM."),
        click.option("--ca-file", type=FILE, help="Who signed the gateway's certificate, PEM. [default: the system's]"),
        click.option("--key-file", type=FILE, help="Holds the API key; else EVENVOICE_KEY may."),
    ):
        command = option(command)
    return command


def credentials(
    url: str, *, key_file: Path | None, ca_file: Path | None, client_cert: Path | None, client_key: Path | None
) -> Credentials:
    """
    Args:
        url: the gateway's.

    Raises:
        click.UsageError: a key without its certificate, or either where nothing is encrypted.
        click.ClickException: a file that can't be read, or does not hold what it should.
    """
    if client_key is not None and client_cert is None:
        raise click.UsageError("--client-key goes with --client-cert")
    tls = None
    if ca_file is not None or client_cert is not None:
        if urlsplit(url).scheme != "https":
            raise click.UsageError(f"--ca-file and --client-cert are for https; --url is {url}")
        tls = _trusting(ca_file)
        if client_cert is not None:
            _show(tls, client_cert, client_key)
    return Credentials(key=_key(key_file), tls=tls)


def _trusting(authority: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=authority)
    except OSError as error:
        reason = "it holds no certificate" if isinstance(error, ssl.SSLError) else error.strerror
        raise click.ClickException(f"--ca-file {authority} can't be read: {reason}") from error


def _show(tls: ssl.SSLContext, certificate: Path, key: Path | None) -> None:
    def password() -> str:
        raise click.ClickException(f"the key in {key or certificate} has a password; one without is accepted")

    try:
        tls.load_cert_chain(certificate, key, password)
    except OSError as error:
        is_ssl = isinstance(error, ssl.SSLError)
        reason = "a certificate and the private key that belongs to it are accepted" if is_ssl else error.strerror
        both = certificate if key is None else f"{certificate} and --client-key {key}"
        raise click.ClickException(f"--client-cert {both} can't be read: {reason}") from error


def _key(file: Path | None) -> str | None:
    from gateway.client.credentials import authorization

    place = "EVENVOICE_KEY" if file is None else f"the key file {file}"
    try:
        key = os.environ.get("EVENVOICE_KEY") or None if file is None else file.read_text(encoding="ascii")
        authorization(key)
    except (OSError, UnicodeDecodeError) as error:
        raise click.ClickException(f"{place} can't be read: {error}") from error
    except ValueError as error:
        raise click.ClickException(f"{place}: {error}") from None
    return key
