"""Runs inside `gateway.records.migration.migrate`, on the connection that it hands over."""

from __future__ import annotations

from alembic import context

from gateway.records.tables import METADATA

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=METADATA, transactional_ddl=True)
context.run_migrations()
