"""Artifacts' bytes that the API keeps itself: where, described how, deleted when; blocks in the database; uploads."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.add_column("artifacts", sa.Column("backend", _word(16), server_default="s3", nullable=False))
    op.add_column("artifacts", sa.Column("content_type", sa.Text(), server_default="", nullable=False))
    op.add_column("artifacts", sa.Column("created_by", _word(400), server_default="", nullable=False))
    op.add_column("artifacts", sa.Column("sent_again_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("artifacts", sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True))
    op.create_index("ix_artifacts_deleted_at", "artifacts", ["deleted_at"])
    op.create_table(
        "inline_blocks",
        sa.Column("key", _word(64), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.Column("written_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("key", "number", name="pk_inline_blocks"),
    )
    op.create_table(
        "uploads",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("iteration_id", sa.Uuid(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("content_type", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=True),
        sa.Column("sha256", _word(64), nullable=False),
        sa.Column("received", sa.BigInteger(), nullable=False),
        sa.Column("created_by", _word(400), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("artifact_id", sa.Uuid(), nullable=True),
        sa.ForeignKeyConstraint(["iteration_id"], ["iterations.id"], name="fk_uploads_iteration_id"),
        sa.PrimaryKeyConstraint("id", name="pk_uploads"),
    )
    op.create_index("ix_uploads_expires_at", "uploads", ["expires_at"])
    op.create_table(
        "upload_pieces",
        sa.Column("upload_id", sa.Uuid(), nullable=False),
        sa.Column("start", sa.BigInteger(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("backend", _word(16), nullable=False),
        sa.Column("endpoint", sa.Text(), nullable=False),
        sa.Column("region", _word(64), nullable=False),
        sa.Column("bucket", _word(63), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["upload_id"], ["uploads.id"], name="fk_upload_pieces_upload_id"),
        sa.PrimaryKeyConstraint("upload_id", "start", name="pk_upload_pieces"),
    )
    op.create_index("ix_upload_pieces_key", "upload_pieces", ["key"])


def downgrade() -> None:
    op.drop_table("upload_pieces")
    op.drop_table("uploads")
    op.drop_table("inline_blocks")
    op.drop_index("ix_artifacts_deleted_at", table_name="artifacts")
    for name in ("deleted_at", "sent_again_at", "created_by", "content_type", "backend"):
        op.drop_column("artifacts", name)


def _word(length: int) -> Any:
    return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")


def _document() -> Any:
    return sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
