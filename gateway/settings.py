"""The gateway's configuration, from the environment (`EVENVOICE_...`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

from pydantic import Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from recognizer.audio import MAX_BYTES
from recognizer.mode import Mode


class SettingsError(ValueError):
    """A setting that can't be used; the message names its environment variable."""


class Settings(BaseSettings):
    """Each field is the environment variable of its name in capitals, after `EVENVOICE_`."""

    model_config = SettingsConfigDict(env_prefix="EVENVOICE_", frozen=True)

    bundle: Path = Path("bundle")
    """Folder of the bundle that is served."""
    state: Path = Path("state")
    """Folder of the gateway's own: records, metrics. One gateway a folder."""
    speakers: Path | None = None
    """The register of speakers, CSV: `speaker` and a column an attribute."""
    device: str = "cpu"
    mode: Mode = Mode.FAST
    """How randomized smoothing votes: `fast` by noise drawn beforehand or in bfloat16, `exact` as audits do."""
    bank_seconds: int = Field(default=600, ge=1)
    """After so long the noise drawn beforehand is replaced."""
    workers: int = Field(default=1, ge=1, le=64)
    valid_for_ms: int = Field(default=1500, ge=1)
    """How long a robot may act on an acceptance, milliseconds."""
    deadline_ms: int = Field(default=1000, ge=1)
    """A decision that took longer since its request came is an abstention, milliseconds; below `valid_for_ms`."""
    max_pending: int = Field(default=32, ge=1)
    """Commands under way at once in one worker; more are refused with 503."""
    max_body_bytes: int = Field(default=MAX_BYTES + (64 << 10), ge=1 << 10)
    """Bytes of a request's body: the largest clip and its multipart frame."""
    release_commands: int = Field(default=10, ge=1)
    """k: a group's series advance only after so many new commands ..."""
    release_speakers: int = Field(default=3, ge=1)
    """m: ... from so many speakers."""

    @model_validator(mode="after")
    def _answers_while_valid(self) -> Self:
        if self.deadline_ms >= self.valid_for_ms:
            raise ValueError(f"the deadline, {self.deadline_ms} ms, must be below valid_for_ms, {self.valid_for_ms} ms")
        return self


def check_settings(**options: Any) -> None:
    """Check the environment, and options that go before it, ahead of a server that starts with them.

    Raises:
        SettingsError: one of them means nothing.
    """
    try:
        Settings(**options)
    except ValidationError as error:
        lines = [
            ": ".join([*(f"EVENVOICE_{str(p).upper()}" for p in e["loc"][:1]), e["msg"].removeprefix("Value error, ")])
            for e in error.errors()
        ]
        raise SettingsError("; ".join(lines)) from None
