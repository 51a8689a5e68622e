"""Registered models with versions, aliases and transitions; members of sets; words about artifacts."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"

_IN_PRODUCTION = sa.text("stage = 'PRODUCTION'")


def upgrade() -> None:
    op.add_column("artifacts", sa.Column("description", sa.Text(), server_default="", nullable=False))
    op.add_column("artifacts", sa.Column("tags", _document(), server_default="{}", nullable=False))
    op.create_table(
        "artifact_set_members",
        sa.Column("set_id", sa.Uuid(), nullable=False),
        sa.Column("artifact_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["artifact_id"], ["artifacts.id"], name="fk_artifact_set_members_artifact_id"),
        sa.ForeignKeyConstraint(["set_id"], ["artifacts.id"], name="fk_artifact_set_members_set_id"),
        sa.PrimaryKeyConstraint("set_id", "artifact_id", name="pk_artifact_set_members"),
    )
    op.create_index("ix_artifact_set_members_artifact_id", "artifact_set_members", ["artifact_id"])
    op.create_table(
        "models",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("project_id", sa.Uuid(), nullable=False),
        sa.Column("name", _word(100), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("tags", _document(), nullable=False),
        sa.Column("lifecycle", _word(16), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_by", _word(400), nullable=False),
        sa.Column("last_number", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name="fk_models_project_id"),
        sa.PrimaryKeyConstraint("id", name="pk_models"),
        sa.UniqueConstraint("project_id", "name", name="uq_models_project_id_name"),
    )
    op.create_table(
        "model_versions",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("model_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("iteration_id", sa.Uuid(), nullable=False),
        sa.Column("artifact_id", sa.Uuid(), nullable=True),
        sa.Column("stage", _word(16), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("tags", _document(), nullable=False),
        sa.Column("lifecycle", _word(16), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_by", _word(400), nullable=False),
        sa.ForeignKeyConstraint(["artifact_id"], ["artifacts.id"], name="fk_model_versions_artifact_id"),
        sa.ForeignKeyConstraint(["iteration_id"], ["iterations.id"], name="fk_model_versions_iteration_id"),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name="fk_model_versions_model_id"),
        sa.PrimaryKeyConstraint("id", name="pk_model_versions"),
        sa.UniqueConstraint("model_id", "number", name="uq_model_versions_model_id_number"),
    )
    op.create_index(
        "ix_model_versions_in_production",
        "model_versions",
        ["model_id"],
        unique=True,
        sqlite_where=_IN_PRODUCTION,
        postgresql_where=_IN_PRODUCTION,
    )
    for column in ("iteration_id", "artifact_id"):
        name = f"ix_model_versions_{column}_created_at_id"
        op.create_index(name, "model_versions", [column, "created_at", "id"])
    op.create_table(
        "model_aliases",
        sa.Column("model_id", sa.Uuid(), nullable=False),
        sa.Column("alias", _word(100), nullable=False),
        sa.Column("version_id", sa.Uuid(), nullable=False),
        sa.Column("moved_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("moved_by", _word(400), nullable=False),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name="fk_model_aliases_model_id"),
        sa.ForeignKeyConstraint(["version_id"], ["model_versions.id"], name="fk_model_aliases_version_id"),
        sa.PrimaryKeyConstraint("model_id", "alias", name="pk_model_aliases"),
    )
    op.create_index("ix_model_aliases_version_id", "model_aliases", ["version_id"])
    op.create_table(
        "model_transitions",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("version_id", sa.Uuid(), nullable=False),
        sa.Column("before", _word(16), nullable=False),
        sa.Column("after", _word(16), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("by", _word(400), nullable=False),
        sa.Column("comment", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["version_id"], ["model_versions.id"], name="fk_model_transitions_version_id"),
        sa.PrimaryKeyConstraint("id", name="pk_model_transitions"),
    )
    op.create_index("ix_model_transitions_version_id_id", "model_transitions", ["version_id", "id"])


def downgrade() -> None:
    for table in ("model_transitions", "model_aliases", "model_versions", "models", "artifact_set_members"):
        op.drop_table(table)
    op.drop_column("artifacts", "tags")
    op.drop_column("artifacts", "description")


def _document() -> Any:
    return sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def _word(length: int) -> Any:
    return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")
