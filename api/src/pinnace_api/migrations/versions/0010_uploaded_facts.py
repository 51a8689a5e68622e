"""What an upload says of its file: when it was modified, and whether it may be incomplete."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.add_column("uploads", sa.Column("modified_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("uploads", sa.Column("suspect", sa.Boolean(), server_default=sa.false(), nullable=False))


def downgrade() -> None:
    for column in ("suspect", "modified_at"):
        op.drop_column("uploads", column)
