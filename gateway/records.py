"""Every decision, stored before it is answered: no record, no acceptance.

SQLite in WAL mode: a committed decision survives a killed process; a power cut may take the last ones. No audio is
stored.
"""

from __future__ import annotations

import fcntl
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from gateway.speakers import Groups
from recognizer.decision import Decision, Outcome

_METADATA = sa.MetaData()

DECISIONS = sa.Table(
    "decisions",
    _METADATA,
    sa.Column("request_id", sa.String(36), primary_key=True),
    sa.Column("received_at", sa.DateTime(timezone=True), nullable=False, index=True),
    sa.Column("outcome", sa.String(16), nullable=False),
    sa.Column("reason", sa.String(24), nullable=False),
    sa.Column("command", sa.String(64)),
    sa.Column("defense", sa.String(128), nullable=False),
    sa.Column("confidence", sa.Float),
    sa.Column("p_value", sa.Float),
    sa.Column("draws", sa.Integer),
    sa.Column("seed", sa.BigInteger, nullable=False),
    sa.Column("replay", sa.JSON(none_as_null=True)),
    sa.Column("speaker", sa.String(64), index=True),
    sa.Column("groups", sa.JSON, nullable=False),
    sa.Column("model", sa.String(80), nullable=False),
    sa.Column("true_command", sa.String(64)),
    sa.Column("labelled_at", sa.DateTime(timezone=True)),
)


class RecordsError(RuntimeError):
    """The records can't be read or written."""


class NotRecorded(LookupError):
    """No decision has this request id."""


class LabelledBefore(ValueError):
    """The decision has its true command already; the first one stays."""


@dataclass(frozen=True)
class Recorded:
    """What a label needs to know of the decision it belongs to."""

    outcome: Outcome
    command: str | None
    defense: str
    speaker: str | None
    groups: Groups
    model: str


class Records:
    """The table of decisions; usable from several threads and processes."""

    def __init__(self, path: Path) -> None:
        """
        Raises:
            RecordsError: the database can't be opened or made, or another evenvoice made it, with other columns.
        """
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._engine = sa.create_engine(f"sqlite:///{path}", connect_args={"timeout": 2.0})
            sa.event.listen(self._engine, "connect", _sync_normally)
            with path.with_suffix(".lock").open("w") as lock:  # several workers may start at once
                fcntl.flock(lock, fcntl.LOCK_EX)
                with self._engine.connect() as connection:
                    connection.exec_driver_sql("PRAGMA journal_mode=WAL")
                _METADATA.create_all(self._engine)
                there = {column["name"] for column in sa.inspect(self._engine).get_columns(DECISIONS.name)}
        except (sa.exc.SQLAlchemyError, OSError) as error:
            raise RecordsError(f"the records {path} can't be opened: {error}") from error
        if missing := [column.name for column in DECISIONS.columns if column.name not in there]:
            self.close()
            raise RecordsError(
                f"the records {path} are of an older evenvoice: they have no {', '.join(missing)}; put the file aside, "
                "and a new one is begun"
            )

    def add(
        self,
        decision: Decision,
        *,
        request_id: str,
        received_at: datetime,
        defense: str,
        seed: int,
        speaker: str | None,
        groups: Groups,
        model: str,
    ) -> None:
        """Store one decision; when this returns, it survives a killed process.

        Raises:
            RecordsError: it could not be stored.
        """
        certificate = decision.certificate
        row: dict[str, Any] = {
            "request_id": request_id,
            "received_at": received_at,
            "outcome": decision.outcome,
            "reason": decision.reason,
            "command": decision.command,
            "defense": defense,
            "confidence": decision.confidence,
            "p_value": certificate.p_value if certificate else None,
            "draws": certificate.draws if certificate else None,
            "seed": seed,
            "replay": asdict(certificate.replay) if certificate and certificate.replay else None,
            "speaker": speaker,
            "groups": dict(groups),
            "model": model,
        }
        try:
            with self._engine.begin() as connection:
                connection.execute(DECISIONS.insert().values(row))
        except sa.exc.SQLAlchemyError as error:
            raise RecordsError(f"the decision can't be stored: {error}") from error

    def hold(self, decision: Decision, *, request_id: str) -> None:
        """Turn a stored acceptance into the abstention that is answered in its place.

        Raises:
            RecordsError: it could not be stored.
        """
        try:
            with self._engine.begin() as connection:
                connection.execute(
                    DECISIONS.update()
                    .where(DECISIONS.c.request_id == request_id)
                    .values(outcome=decision.outcome, reason=decision.reason, command=None)
                )
        except sa.exc.SQLAlchemyError as error:
            raise RecordsError(f"the abstention can't be stored: {error}") from error

    def label(self, request_id: str, true_command: str) -> Recorded:
        """Store the true command of a decision, once ever, whichever process is asked first.

        Raises:
            NotRecorded: no such decision.
            LabelledBefore: it has a label.
            RecordsError: it could not be stored.
        """
        wanted = DECISIONS.c.request_id == request_id
        try:
            with self._engine.begin() as connection:
                changed = connection.execute(
                    DECISIONS.update()
                    .where(wanted, DECISIONS.c.true_command.is_(None))
                    .values(true_command=true_command, labelled_at=datetime.now(UTC))
                ).rowcount
                row = connection.execute(sa.select(DECISIONS).where(wanted)).one_or_none()
        except sa.exc.SQLAlchemyError as error:
            raise RecordsError(f"the label can't be stored: {error}") from error
        if row is None:
            raise NotRecorded(f"no decision has the request id {request_id}")
        if not changed:
            raise LabelledBefore("the decision has its true command already; it is counted once")
        return Recorded(Outcome(row.outcome), row.command, row.defense, row.speaker, row.groups, row.model)

    def close(self) -> None:
        self._engine.dispose()


def _sync_normally(connection: Any, _: Any) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.close()
