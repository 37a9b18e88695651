"""What can go wrong with the records, and in which words: never with a password or a row's content."""

from __future__ import annotations

import sqlalchemy as sa


class RecordsError(RuntimeError):
    """The records can't be read or written."""


class NotRecorded(LookupError):
    """No decision has this request id."""


class LabelledBefore(ValueError):
    """The decision has its true command already; the first one stays."""


def cause_of(error: BaseException) -> str:
    """The database's own words, one line."""
    cause = error.orig if isinstance(error, sa.exc.DBAPIError) and error.orig is not None else error
    first = cause.args[0] if cause.args else ""
    words = first.get("M", "") if isinstance(first, dict) else str(cause)  # pg8000 hands over the server's fields
    return words.strip().partition("\n")[0] or type(cause).__name__


def is_of_a_row(error: Exception) -> bool:
    """Whether one row was refused for what it holds; otherwise the database is locked, full or gone."""
    if not isinstance(error, sa.exc.DBAPIError):
        return not isinstance(error, OSError | sa.exc.SQLAlchemyError) or type(error) is sa.exc.StatementError
    fields = error.orig.args[0] if error.orig is not None and error.orig.args else None
    if isinstance(fields, dict):
        return str(fields.get("C", "")).startswith(("22", "23"))  # SQLSTATE: data exception, integrity violation
    return isinstance(error, sa.exc.IntegrityError | sa.exc.DataError)
