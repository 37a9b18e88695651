"""The log: one line an event on stderr, as JSON for machines or as text for a terminal.

No line holds audio, a name, a speaker, a query or a key. The words of an exception are left out, since they may quote
what a client sent; its type and where it was raised are there.
"""

from __future__ import annotations

import json
import logging
import sys
import traceback
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

FIELDS = "evenvoice_fields"
"""The record's attribute that holds an event's own fields, a dict: `logger.info("", extra={FIELDS: {...}})`."""

_QUIET = {
    "python_multipart": logging.ERROR,  # else a line a malformed form
    "uvicorn.access": logging.CRITICAL,
    "uvicorn.error": logging.WARNING,
    "circus": logging.WARNING,
}
_OURS = ("gateway", "monitoring", "recognizer", "bentoml")
_FRAMES = 5


class LogFormat(StrEnum):
    """How a line of the log is written."""

    JSON = "json"
    TEXT = "text"


def configure(kind: LogFormat | None = None) -> None:
    """Send every logger of this process to stderr; text where that is a terminal, else JSON, unless `kind` says."""
    if kind is None:
        kind = LogFormat.TEXT if sys.stderr.isatty() else LogFormat.JSON
    handler = logging.StreamHandler()
    handler.setFormatter(_Json() if kind is LogFormat.JSON else _Text())
    for logger in [logging.getLogger(name) for name in list(logging.root.manager.loggerDict)]:
        logger.handlers.clear()  # BentoML's own, which write elsewhere in another form
        logger.propagate = True
    logging.root.handlers[:] = [handler]
    logging.root.setLevel(logging.WARNING)
    for name in _OURS:
        logging.getLogger(name).setLevel(logging.INFO)
    for name, level in _QUIET.items():
        logging.getLogger(name).setLevel(level)


def event_of(record: logging.LogRecord) -> dict[str, Any]:
    """A record's line as a dict: `time`, `level`, `event`, and what belongs to the event."""
    fields = getattr(record, FIELDS, None)
    if fields is None:
        fields = {"event": "message", "logger": record.name, "message": record.getMessage()}
    error = record.exc_info[1] if record.exc_info else None
    return {
        "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
        "level": record.levelname.lower(),
        **fields,
        **({} if error is None else {"error": _kind_of(error), "at": _frames_of(error)}),
    }


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return json.dumps(event_of(record), default=str)


class _Text(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        event = event_of(record)
        shown = [event.pop("time"), event.pop("level").upper()]
        if event["event"] == "message":
            shown += [event.pop("logger"), event.pop("message")]
            del event["event"]
        words = [*shown, *(f"{name}={value}" for name, value in event.items())]
        return " ".join(words).replace("\r", "\\r").replace("\n", "\\n")  # one event is one line


def _kind_of(error: BaseException) -> str:
    """Its type; what the operating system says to it holds no client's words and is what an operator needs."""
    name = type(error).__qualname__
    return f"{name}: {error.strerror}" if isinstance(error, OSError) and error.strerror else name


def _frames_of(error: BaseException) -> list[str]:
    frames = traceback.extract_tb(error.__traceback__)[-_FRAMES:]
    return [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames]
