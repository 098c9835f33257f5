"""Alembic's entry: runs the migrations on the connection that `etl.warehouse.database` hands over, in its transaction."""

from alembic import context

from etl.warehouse.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
