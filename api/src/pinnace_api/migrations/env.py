"""What Alembic runs: migrations on the connection that `upgrade` holds."""

from alembic import context

from pinnace_api.schema import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
