"""`evenvoice serve`."""

from __future__ import annotations

import ipaddress
import os
import ssl
from pathlib import Path

import click

from gateway.access.keys import read_keys
from gateway.cli.options import BUNDLE, FILE, FOLDER, usable_device
from gateway.serving import Tls, exec_server
from gateway.settings import AUTO, check_settings


def _address(_: click.Context, parameter: click.Parameter, value: str) -> str:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        raise click.BadParameter(f"{value!r} is no IP address", param=parameter) from None
    return value


def _device(context: click.Context, parameter: click.Parameter, value: str) -> str:
    return value if value == AUTO else usable_device(context, parameter, value)


@click.command("serve")
@click.option("--bundle", type=BUNDLE, required=True, envvar="EVENVOICE_BUNDLE")
@click.option(
    "--speakers",
    type=FILE,
    envvar="EVENVOICE_SPEAKERS",
    help="Register of speakers, CSV: speaker and a column an attribute.",
)
@click.option("--host", default="127.0.0.1", show_default=True, callback=_address, help="An IP address.")
@click.option("--port", type=click.IntRange(1, 65535), default=3000, show_default=True)
@click.option("--keys", type=FILE, envvar="EVENVOICE_KEYS", help="API keys, see `evenvoice keys`.")
@click.option(
    "--allow-anonymous",
    is_flag=True,
    envvar="EVENVOICE_ALLOW_ANONYMOUS",
    help="Serve other machines without API keys.",
)
@click.option("--tls-cert", type=FILE, help="The server's certificate, PEM; with --tls-key.")
@click.option("--tls-key", type=FILE, help="The certificate's private key, PEM.")
@click.option(
    "--tls-client-ca", type=FILE, help="Refuse clients without a certificate that this authority signed, PEM."
)
@click.option(
    "--state",
    type=FOLDER,
    envvar="EVENVOICE_STATE",
    help="Folder for records and metrics. [default: ~/.local/state/evenvoice/PORT]",
)
@click.option(
    "--workers",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    envvar="EVENVOICE_WORKERS",
    help="Processes.",
)
@click.option(
    "--device",
    default=AUTO,
    show_default=True,
    envvar="EVENVOICE_DEVICE",
    callback=_device,
    help="auto (the first GPU, a worker each; else the CPU), cpu or cuda:N.",
)
def command(
    bundle: Path,
    speakers: Path | None,
    host: str,
    port: int,
    keys: Path | None,
    allow_anonymous: bool,
    tls_cert: Path | None,
    tls_key: Path | None,
    tls_client_ca: Path | None,
    state: Path | None,
    workers: int,
    device: str,
) -> None:
    """Serve a bundle over HTTP until it is stopped. Further settings: environment variables EVENVOICE_..."""
    folder = state or Path.home() / ".local" / "state" / "evenvoice" / str(port)
    _check_access(host, keys, allow_anonymous)
    tls = _tls(tls_cert, tls_key, tls_client_ca)
    options = {
        "bundle": bundle.absolute(),  # not resolved: a link may be pointed at another one
        "state": folder.resolve(),
        "workers": workers,
        "device": device,
        "allow_anonymous": allow_anonymous,
        **({"speakers": speakers.absolute()} if speakers else {}),
        **({"keys": keys.absolute()} if keys else {}),  # a volume of a Secret is links to what changes
    }
    check_settings(**options)
    environment = {f"EVENVOICE_{name.upper()}": str(value) for name, value in options.items()}
    exec_server({**os.environ, **environment}, state=folder, host=host, port=port, tls=tls)


def _check_access(host: str, keys: Path | None, allow_anonymous: bool) -> None:
    """Refuse to serve everybody by mistake.

    Raises:
        KeysError: keys that can't be read.
        click.UsageError: other machines are to be served, and nothing says who.
    """
    if keys is not None:
        read_keys(keys)
    elif not (allow_anonymous or ipaddress.ip_address(host).is_loopback):
        raise click.UsageError(
            f"{host} is reached from other machines: give --keys FILE (`evenvoice keys add` makes it), "
            "or --allow-anonymous where anybody may send commands"
        )


def _tls(certificate: Path | None, key: Path | None, client_authority: Path | None) -> Tls | None:
    """The files, loaded once to see that they fit; else BentoML's workers would fail for ever.

    Raises:
        click.UsageError: one of them is missing, or does not fit.
    """
    if certificate is None or key is None:
        if certificate or key or client_authority:
            raise click.UsageError("TLS needs --tls-cert and --tls-key; --tls-client-ca goes with both")
        return None
    tls = Tls(certificate.absolute(), key.absolute(), client_authority.absolute() if client_authority else None)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(tls.certificate, tls.key)
        if tls.client_authority is not None:
            context.load_verify_locations(tls.client_authority)
    except OSError as error:  # ssl.SSLError is one
        raise click.UsageError(f"the TLS files can't be used: {error.strerror or error}") from None
    return tls
