"""What an object holds in place of an artifact's content."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.add_column("artifacts", sa.Column("stored_encoding", _word(16), nullable=True))
    op.add_column("artifacts", sa.Column("stored_size", sa.BigInteger(), nullable=True))
    op.add_column("artifacts", sa.Column("stored_sha256", _word(64), nullable=True))
    op.add_column("artifacts", sa.Column("stored_crc32c", _word(8), nullable=True))


def downgrade() -> None:
    for column in ("stored_crc32c", "stored_sha256", "stored_size", "stored_encoding"):
        op.drop_column("artifacts", column)


def _word(length: int) -> sa.types.TypeEngine[str]:
    return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")
