"""Objects that several artifacts share: found by content and by key, recognised by their ETag."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    etag = sa.String(256).with_variant(sa.String(256, collation="C"), "postgresql")
    op.add_column("artifacts", sa.Column("etag", etag, nullable=False, server_default=sa.text("''")))
    op.create_index("ix_artifacts_sha256_iteration_id", "artifacts", ["sha256", "iteration_id"])
    op.create_index("ix_artifacts_key", "artifacts", ["key"])


def downgrade() -> None:
    op.drop_index("ix_artifacts_key", table_name="artifacts")
    op.drop_index("ix_artifacts_sha256_iteration_id", table_name="artifacts")
    op.drop_column("artifacts", "etag")
