"""Alembic's entry: runs the migrations in the transaction that `etl.warehouse.database` hands over."""

from alembic import context

from etl.warehouse.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
