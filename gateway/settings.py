"""The gateway's configuration, from the environment (`EVENVOICE_...`)."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from recognizer.audio import MAX_BYTES


class Settings(BaseSettings):
    """Each field is the environment variable of its name in capitals, after `EVENVOICE_`."""

    model_config = SettingsConfigDict(env_prefix="EVENVOICE_", frozen=True)

    bundle: Path
    """Folder of the bundle that is served."""
    state: Path
    """Folder of the gateway's own: records, metrics. One gateway a folder."""
    speakers: Path | None = None
    """The register of speakers, CSV: `speaker` and a column an attribute."""
    device: str = "cpu"
    workers: int = Field(default=1, ge=1, le=64)
    valid_for_ms: int = Field(default=1500, ge=1)
    """How long a robot may act on an acceptance, milliseconds."""
    deadline_ms: int = Field(default=2000, ge=1)
    """A decision that took longer is an abstention, milliseconds."""
    max_pending: int = Field(default=32, ge=1)
    """Commands under way at once in one worker; more are refused with 503."""
    max_body_bytes: int = Field(default=MAX_BYTES + (64 << 10), ge=1 << 10)
    """Bytes of a request's body: the largest clip and its multipart frame."""
    release_commands: int = Field(default=10, ge=1)
    """k: a group's series advance only after so many new commands ..."""
    release_speakers: int = Field(default=3, ge=1)
    """m: ... from so many speakers."""
