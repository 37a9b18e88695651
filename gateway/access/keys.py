"""API keys: a file of their hashes, and who holds the key that a request shows.

A key is `ev_<id>_<secret>`. The secret is 32 random bytes, so the file holds its plain SHA-256: a slow hash makes it
expensive to guess a person's password, but 256 random bits can't be guessed at any speed; here it would only give an
attacker a way to keep the gateway busy.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import logging
import os
import re
import secrets
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from gateway.access.routes import Role

logger = logging.getLogger(__name__)

_FORM = re.compile(r"ev_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")
_ID_BYTES, _SECRET_BYTES = 6, 32
_NOBODY = "0" * 64
"""In place of the hash of a key that does not exist, so that both are compared alike."""
_WRITABLE_BY_OTHERS = 0o022


class KeysError(ValueError):
    """A file of keys that can't be used; the message says why."""


class NoSuchKey(ValueError):
    """There is no key of this id."""


class Key(BaseModel):
    """What is known of one key; never its secret."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(pattern=r"^[0-9a-f]{12}$")
    """Public: it names the key in logs."""
    role: Role
    name: str = Field(max_length=100)
    """The operator's note; stays in the file."""
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    created: datetime
    per_minute: int | None = Field(default=None, ge=1)
    """Requests a minute of one worker; the gateway's setting where None."""


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    keys: tuple[Key, ...] = ()

    @model_validator(mode="after")
    def _ids_are_unique(self) -> _File:
        if len({key.id for key in self.keys}) != len(self.keys):
            raise ValueError("two keys have one id")
        return self


def read_keys(path: Path) -> tuple[Key, ...]:
    """The keys of a file.

    Raises:
        KeysError: no file, one that others may write to, or one that holds something else.
    """
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_mode & _WRITABLE_BY_OTHERS:
                raise KeysError(f"others may write to the keys {path}; make it yours alone: chmod 600 {path}")
            return _File.model_validate_json(file.read()).keys
    except OSError as error:
        raise KeysError(f"the keys {path} can't be read: {error.strerror}; `evenvoice keys add` makes them") from None
    except ValidationError as error:
        first = error.errors(include_input=False)[0]  # what stands there instead may be a secret
        where = ".".join(map(str, first["loc"]))
        raise KeysError(": ".join([f"{path} is no file of keys", *filter(None, [where]), first["msg"]])) from None


def add_key(path: Path, *, role: Role, name: str, per_minute: int | None = None) -> str:
    """Make a key; the file is made where there is none.

    Returns:
        The key itself, which is kept nowhere.

    Raises:
        KeysError: see `read_keys`.
    """
    secret = secrets.token_urlsafe(_SECRET_BYTES)
    with _only_one_writer(path):
        keys = read_keys(path) if path.exists() else ()
        taken = {key.id for key in keys}
        key_id = next(i for i in iter(lambda: secrets.token_hex(_ID_BYTES), None) if i not in taken)
        key = Key(
            id=key_id,
            role=role,
            name=name,
            sha256=_sha256(secret),
            created=datetime.now(UTC).replace(microsecond=0),
            per_minute=per_minute,
        )
        _replace(path, (*keys, key))
    return f"ev_{key_id}_{secret}"


def revoke_key(path: Path, key_id: str) -> Key:
    """Take a key out of the file; a running gateway refuses it within a second.

    Raises:
        KeysError: see `read_keys`.
        NoSuchKey: the file has no such id.
    """
    with _only_one_writer(path):
        keys = read_keys(path)
        gone = [key for key in keys if key.id == key_id]
        if not gone:
            raise NoSuchKey(f"{path} has no key {key_id!r}; `evenvoice keys list` shows their ids")
        _replace(path, tuple(key for key in keys if key.id != key_id))
    return gone[0]


@dataclass
class Keyring:
    """The keys of a file as they are now: it is looked at once a second, and read again when it changed.

    A file that can't be read lets nobody in.
    """

    path: Path
    clock: Callable[[], float] = time.monotonic
    _keys: dict[str, Key] = field(default_factory=dict)
    _seen: tuple[int, ...] | None = None
    _next_look: float = float("-inf")

    def find(self, shown: str) -> Key | None:
        """The key that a client shows; None where it is none of ours, in the same time whether its id is or not."""
        self._look()
        form = _FORM.fullmatch(shown)
        if form is None:
            return None
        key = self._keys.get(form[1])
        is_right = hmac.compare_digest(key.sha256 if key else _NOBODY, _sha256(form[2]))
        return key if is_right else None

    def _look(self) -> None:
        now = self.clock()
        if now < self._next_look:
            return
        self._next_look = now + 1.0
        seen = self._stamp()
        if seen == self._seen:
            return
        self._seen = seen
        try:
            self._keys = {key.id: key for key in read_keys(self.path)}
        except KeysError as error:
            self._keys = {}
            logger.error("nobody gets in: %s", error)

    def _stamp(self) -> tuple[int, ...]:
        """What changes with the file; its owner's bits are a part, and nothing where it can't be looked at."""
        try:
            found = self.path.stat()
        except OSError:
            return ()
        return found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_mode


def _sha256(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


@contextmanager
def _only_one_writer(path: Path) -> Iterator[None]:
    """Keep other writers of this folder out; a lock on the folder leaves no file behind."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder = os.open(path.parent, os.O_RDONLY)
    except OSError as error:
        raise KeysError(f"the folder {path.parent} can't be used: {error.strerror}") from None
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _replace(path: Path, keys: tuple[Key, ...]) -> None:
    """Replace the file at once: a reader, or a power cut, finds the old keys or the new ones."""
    try:
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # made 0600
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(_File(keys=keys).model_dump_json(indent=2) + "\n")
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise KeysError(f"the keys {path} can't be written: {error.strerror}") from None
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
