"""Keys and certificates that a command can't use are told in one line, with the file's name and without its content."""

from __future__ import annotations

import ssl
from pathlib import Path

import click
import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from gateway.cli.credentials import credentials

URL = "https://gateway:3000"
NONE = {"key_file": None, "ca_file": None, "client_cert": None, "client_key": None}


@pytest.fixture
def papers(tmp_path: Path) -> Path:
    authority = trustme.CA()
    ours, other = (authority.issue_cert(f"{name}@evenvoice.example") for name in ("ours", "other"))
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    ours.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    ours.private_key_pem.write_to_path(tmp_path / "key.pem")
    other.private_key_pem.write_to_path(tmp_path / "other.pem")
    private = load_pem_private_key(ours.private_key_pem.bytes(), None)
    locked = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"word"))
    (tmp_path / "locked.pem").write_bytes(locked)
    (tmp_path / "empty.key").write_text(" \n")
    (tmp_path / "robot.key").write_text("k-1\n")
    return tmp_path


def given(folder: Path, **files: str) -> dict[str, Path | None]:
    return {**NONE, **{name: folder / file for name, file in files.items()}}


def test_without_any_the_environment_has_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVENVOICE_KEY", "k-2")
    assert credentials(URL, **NONE) == {"key": "k-2", "tls": None}
    monkeypatch.delenv("EVENVOICE_KEY")
    assert credentials(URL, **NONE) == {"key": None, "tls": None}


@pytest.mark.parametrize("key", ["two words", "schlüssel", " "])
def test_a_key_of_the_environment_that_no_header_can_carry(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVENVOICE_KEY", key)
    with pytest.raises(
        click.ClickException, match=r"^EVENVOICE_KEY: an API key is one word of printable ASCII; this is none$"
    ):
        credentials(URL, **NONE)


def test_files_that_are_well(papers: Path) -> None:
    files = {"key_file": "robot.key", "ca_file": "ca.pem", "client_cert": "cert.pem", "client_key": "key.pem"}
    found = credentials(URL, **given(papers, **files))
    assert found["key"] is not None
    assert found["key"].strip() == "k-1"
    assert found["tls"] is not None
    assert found["tls"].verify_mode is ssl.CERT_REQUIRED
    assert found["tls"].check_hostname
    assert len(found["tls"].get_ca_certs()) == 1  # that one, and not the system's beside it


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"ca_file": "no.pem"}, r"--ca-file \S+/no.pem can't be read: No such file or directory"),
        ({"ca_file": "key.pem"}, r"--ca-file \S+/key.pem can't be read: it holds no certificate"),
        ({"client_key": "key.pem"}, "--client-key goes with --client-cert"),
        ({"client_cert": "no.pem"}, r"--client-cert \S+/no.pem can't be read: No such file or directory"),
        ({"client_cert": "cert.pem"}, "a certificate and the private key that belongs to it are accepted"),
        ({"client_cert": "cert.pem", "client_key": "other.pem"}, "the private key that belongs to it"),
        ({"client_cert": "cert.pem", "client_key": "locked.pem"}, r"the key in \S+/locked.pem has a password"),
        ({"key_file": "no.key"}, "the key file .* can't be read"),
        ({"key_file": "empty.key"}, r"the key file \S+/empty.key: an API key is one word of printable ASCII"),
        ({"key_file": "ca.pem"}, r"the key file \S+/ca.pem: an API key is one word"),
    ],
)
def test_files_that_are_not(papers: Path, files: dict[str, str], said: str) -> None:
    with pytest.raises(click.ClickException, match=said):
        credentials(URL, **given(papers, **files))


@pytest.mark.parametrize("files", [{"ca_file": "ca.pem"}, {"client_cert": "cert.pem", "client_key": "key.pem"}])
def test_certificates_are_not_passed_over_where_nothing_is_encrypted(papers: Path, files: dict[str, str]) -> None:
    with pytest.raises(click.UsageError, match="are for https; --url is http://gateway:3000"):
        credentials("http://gateway:3000", **given(papers, **files))
