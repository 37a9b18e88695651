"""The gateway's configuration, from the environment (`EVENVOICE_...`)."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from gateway.logs import LogFormat
from recognizer.audio import MAX_BYTES
from recognizer.mode import Mode

AUTO = "auto"


class SettingsError(ValueError):
    """A setting that can't be used; the message names its environment variable."""


class Sync(StrEnum):
    """What a stored decision survives."""

    NORMAL = "normal"
    """A killed process; a power cut may take the last ones."""
    FULL = "full"
    """A power cut, too."""


class Settings(BaseSettings):
    """Each field is the environment variable of its name in capitals, after `EVENVOICE_`; or, where
    `EVENVOICE_SECRETS_DIR` names a folder, the file of that variable's name in lower case there."""

    model_config = SettingsConfigDict(
        env_prefix="EVENVOICE_", frozen=True, secrets_dir=os.environ.get("EVENVOICE_SECRETS_DIR")
    )

    bundle: Path = Path("bundle")
    """Folder of the bundle that is served."""
    state: Path = Path("state")
    """Folder of the gateway's own: records, metrics. One gateway a folder."""
    speakers: Path | None = None
    """The register of speakers, CSV: `speaker` and a column an attribute. Without it the register is a table beside
    the records, which `/v1/speakers` writes."""
    records: SecretStr | None = None
    """SQLAlchemy URL of the records, `postgresql+pg8000://user:password@host/name`; SQLite in the state folder where
    there is none."""
    records_sync: Sync = Sync.NORMAL
    """What a stored decision survives: `normal` a killed process, `full` a power cut too."""
    audio_directory: Path | None = None
    """Where clips are kept as they came; only together with `audio_consent`."""
    audio_consent: bool = False
    """Says that whoever is heard here agreed to that."""
    keys: Path | None = None
    """The file of API keys, see `evenvoice keys`; without it only programs on this machine are served."""
    allow_anonymous: bool = False
    """Without keys, serve other machines too, not only programs on this one."""
    log: LogFormat | None = None
    """`json` or `text`; text where stderr is a terminal, else JSON."""
    rate_per_minute: int = Field(default=600, ge=1)
    """Requests a minute that one API key may make of one worker, where the key does not say otherwise."""
    bundle_poll_seconds: float = Field(default=2.0, gt=0)
    """How often the bundle's folder is looked at for another bundle."""
    streams: int = Field(default=16, ge=0)
    """Audio streams open at once in one worker."""
    stream_idle_seconds: float = Field(default=30.0, gt=0)
    """A stream that sends nothing for so long is closed."""
    stream_seconds: float = Field(default=3600.0, gt=0)
    """Seconds of audio that one stream may carry."""
    device: str = AUTO
    """`auto` (the first GPU, else the CPU), `cpu`, `cuda:N`."""
    mode: Mode = Mode.FAST
    """How randomized smoothing votes: `fast` by noise drawn beforehand or in bfloat16, `exact` as audits do."""
    bank_seconds: int = Field(default=600, ge=1)
    """After so long the noise drawn beforehand is replaced."""
    workers: int = Field(default=1, ge=1, le=64)
    """Processes that decide, each with a recogniser of its own."""
    valid_for_ms: int = Field(default=1500, ge=1)
    """How long a robot may act on an acceptance, milliseconds."""
    deadline_ms: int = Field(default=1000, ge=1)
    """A decision that took longer since its request came is an abstention, milliseconds; below `valid_for_ms`."""
    max_pending: int = Field(default=32, ge=1)
    """Commands under way at once in one worker; more are refused with 503."""
    drain_seconds: float = Field(default=0.0, ge=0, le=3600)
    """For so long after SIGTERM the gateway serves on while `/readyz` says 503, so that a balancer stops sending first;
    0 where there is none."""
    max_body_bytes: int = Field(default=MAX_BYTES + (64 << 10), ge=1 << 10)
    """Bytes of a request's body: the largest clip and its multipart frame."""
    release_commands: int = Field(default=10, ge=1)
    """k: a group's series advance only after so many new commands ..."""
    release_speakers: int = Field(default=3, ge=1)
    """m: ... from so many speakers."""
    ledger_seconds: float = Field(default=1.0, gt=0, le=60)
    """How often stored decisions are looked through for what may be counted by group. An alert fires where that is not
    done for minutes."""
    ledger_grace_seconds: float | None = Field(default=None, ge=0, le=3600)
    """What came less than so many seconds ago is not counted yet: its row may still be corrected. Four deadlines where
    not set."""
    session_seconds: int = Field(default=86_400, ge=1, le=31 * 86_400)
    """A session is what one speaker says within so many seconds, aligned to midnight UTC of 1970."""
    fairness_tolerance: float = Field(default=0.02, ge=0, lt=1)
    """The difference of rejection rates between a group and the rest that is still acceptable."""
    fairness_alpha: float = Field(default=0.05, gt=0, lt=1)
    """The probability of a false alarm that is accepted, over all groups and all time, under each defense."""

    @model_validator(mode="after")
    def _answers_while_valid(self) -> Self:
        if self.deadline_ms >= self.valid_for_ms:
            raise ValueError(f"the deadline, {self.deadline_ms} ms, must be below valid_for_ms, {self.valid_for_ms} ms")
        return self

    @model_validator(mode="after")
    def _keeps_audio_by_consent_only(self) -> Self:
        if (self.audio_directory is not None) != self.audio_consent:
            raise ValueError(
                "audio is kept only where both audio_directory and audio_consent are set; set both, or none"
            )
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
