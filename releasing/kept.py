"""The files of a release that later ones are tested against, `tests/compatibility/VERSION/`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

KEPT = Path(__file__).parent.parent / "tests" / "compatibility"

API = "openapi.json"
"""The OpenAPI document."""
STREAM = "stream.json"
"""JSON Schema of what `/v1/stream` says."""
INTERFACE = "interface.json"
"""Names that other programs use: settings, commands with their options, metrics with their labels."""
BUNDLE = "bundle"
DECISIONS = "decisions.json"
"""What the bundle decided in exact mode: defense -> a decision a clip of `tones.clips()`."""
RECORDS = "records.sql"
"""A SQLite database that a gateway wrote, as a dump."""
POLICY = "policy.toml"
AUDIT = "audit.json"


def releases() -> list[Path]:
    """The folder of each release that files are kept of, oldest first."""
    found = [path for path in KEPT.iterdir() if (path / API).is_file()]
    return sorted(found, key=lambda path: [int(part) for part in path.name.split(".")])


def decided(decision: Any) -> dict[str, Any]:
    """What is kept of a `recognizer.decision.Decision`."""
    certificate = decision.certificate
    return {
        "command": decision.command,
        "reason": decision.reason.value,
        "confidence": decision.confidence,
        "p_value": certificate.p_value if certificate else None,
        "draws": certificate.draws if certificate else None,
    }
