"""Reading `audit.json`."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import ValidationError

from monitoring.audit import AuditReport
from monitoring.audit.result import SCHEMA


class ReportUnreadable(ValueError):
    """A file that is no audit's report, or one of another version; the message says what to do."""


def load_report(path: Path) -> AuditReport:
    """
    Raises:
        ReportUnreadable: there is no such file, it is no report, or one of another schema.
    """
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise ReportUnreadable(f"{path} can't be read: {error.strerror}") from error
    except ValueError as error:
        raise ReportUnreadable(f"{path} is no JSON: {error}; an audit's audit.json is accepted") from error
    schema = content.get("schema") if isinstance(content, dict) else None
    if not isinstance(schema, str) or not schema.startswith("evenvoice.audit/"):
        raise ReportUnreadable(f"{path} is no audit's report: an audit.json of the schema {SCHEMA} is accepted")
    if schema != SCHEMA:
        raise ReportUnreadable(
            f"{path} is of the schema {schema}, and this evenvoice reads {SCHEMA}: run the audit again with it"
        )
    try:
        return AuditReport.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise ReportUnreadable(f"{path} is damaged: {where}: {first['msg']}") from None
