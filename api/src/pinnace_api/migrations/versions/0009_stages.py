"""Retention of versions of models: the stages that a policy takes them from."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    document = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
    op.add_column("retention_policies", sa.Column("stages", document, server_default="[]", nullable=False))


def downgrade() -> None:
    op.drop_column("retention_policies", "stages")
