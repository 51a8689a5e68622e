"""Retention policies and legal holds; since when things lie in the trash; who removed artifacts, by which policy."""

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

_IN_TRASH = ("projects", "experiments", "iterations", "models", "model_versions")
_LEAVING = sa.text("leaving IS NOT NULL")


def upgrade() -> None:
    op.add_column("artifacts", sa.Column("deleted_by", _word(400), server_default="", nullable=False))
    op.add_column("artifacts", sa.Column("deleted_policy", _word(100), server_default="", nullable=False))
    op.add_column("artifacts", sa.Column("leaving", _word(16), nullable=True))
    op.create_index("ix_artifacts_leaving", "artifacts", ["id"], sqlite_where=_LEAVING, postgresql_where=_LEAVING)
    op.add_column("iterations", sa.Column("purged_at", sa.DateTime(timezone=True), nullable=True))
    for name in _IN_TRASH:
        op.add_column(name, sa.Column("trashed_at", sa.DateTime(timezone=True), nullable=True))
        table = sa.table(name, sa.column("lifecycle", sa.String), sa.column("trashed_at", sa.DateTime(timezone=True)))
        # Nobody knows since when: their time begins now.
        op.execute(table.update().where(table.c.lifecycle == "TRASHED").values(trashed_at=datetime.now(UTC)))
    op.create_table(
        "retention_policies",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("project_id", sa.Uuid(), nullable=True),
        sa.Column("name", _word(100), nullable=False),
        sa.Column("target", _word(16), nullable=False),
        sa.Column("older_than_days", sa.Double(), nullable=True),
        sa.Column("keep", sa.Integer(), nullable=True),
        sa.Column("keep_by", sa.Text(), nullable=False),
        sa.Column("filter", sa.Text(), nullable=False),
        sa.Column("experiments", sa.Text(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("changed_by", _word(400), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name="fk_retention_policies_project_id"),
        sa.PrimaryKeyConstraint("id", name="pk_retention_policies"),
    )
    op.create_index("ix_retention_policies_project_id_name", "retention_policies", ["project_id", "name"])
    op.create_table(
        "holds",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("project_id", sa.Uuid(), nullable=False),
        sa.Column("kind", _word(16), nullable=False),
        sa.Column("experiment_id", sa.Uuid(), nullable=True),
        sa.Column("iteration_id", sa.Uuid(), nullable=True),
        sa.Column("artifact_id", sa.Uuid(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_by", _word(400), nullable=False),
        sa.Column("lifted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("lifted_by", _word(400), nullable=False),
        sa.Column("lifted_reason", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name="fk_holds_project_id"),
        sa.ForeignKeyConstraint(["experiment_id"], ["experiments.id"], name="fk_holds_experiment_id"),
        sa.ForeignKeyConstraint(["iteration_id"], ["iterations.id"], name="fk_holds_iteration_id"),
        sa.ForeignKeyConstraint(["artifact_id"], ["artifacts.id"], name="fk_holds_artifact_id"),
        sa.PrimaryKeyConstraint("id", name="pk_holds"),
    )
    op.create_index("ix_holds_project_id_created_at_id", "holds", ["project_id", "created_at", "id"])


def downgrade() -> None:
    op.drop_table("holds")
    op.drop_table("retention_policies")
    for name in _IN_TRASH:
        op.drop_column(name, "trashed_at")
    op.drop_column("iterations", "purged_at")
    op.drop_index("ix_artifacts_leaving", table_name="artifacts")
    for column in ("leaving", "deleted_policy", "deleted_by"):
        op.drop_column("artifacts", column)


def _word(length: int) -> Any:
    return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")
