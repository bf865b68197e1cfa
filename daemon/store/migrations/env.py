"""Alembic's entry: runs the revisions on the ledger that `__main__` opened."""

from alembic import context

from daemon.store.schema import metadata

with context.config.attributes["engine"].begin() as connection:
    context.configure(connection=connection, target_metadata=metadata, render_as_batch=True)
    with context.begin_transaction():
        context.run_migrations()
