"""How a client shows who it is, and whom it trusts."""

from __future__ import annotations

import ssl


def authorization(key: str | None) -> dict[str, str]:
    """The headers that carry an API key; white space around it, as the end of a file's line, is none of it.

    Raises:
        ValueError: a key that no header can carry. Its words are not quoted: they would end in a log.
    """
    if key is None:
        return {}
    key = key.strip()
    if not (key and key.isascii() and key.isprintable() and " " not in key):
        raise ValueError("an API key is one word of printable ASCII; this is none")
    return {"Authorization": f"Bearer {key}"}


def trust(tls: ssl.SSLContext | None) -> ssl.SSLContext:
    """For uploads and streams alike; where nothing is said, what this machine trusts, or SSL_CERT_FILE."""
    return ssl.create_default_context() if tls is None else tls
