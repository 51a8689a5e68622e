"""Lifecycles, tags as mappings, owners; trees and leases of iterations; steps that the API chooses; datasets."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    for table in ("projects", "experiments", "iterations"):
        op.add_column(table, sa.Column("created_by", _word(400), server_default="", nullable=False))
        op.add_column(table, sa.Column("lifecycle", _word(16), server_default="ACTIVE", nullable=False))
    for table in ("projects", "iterations"):
        op.add_column(table, sa.Column("tags", _document(), server_default="{}", nullable=False))
    op.add_column("experiments", sa.Column("declared", _document(), server_default="{}", nullable=False))
    op.add_column("experiments", sa.Column("status", _word(16), server_default="OPEN", nullable=False))
    op.add_column("experiments", sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True))
    for text in ("name", "notes", "error"):
        op.add_column("iterations", sa.Column(text, sa.Text(), server_default="", nullable=False))
    op.add_column("iterations", sa.Column("environment", _document(), server_default="{}", nullable=False))
    op.add_column("iterations", sa.Column("heartbeat_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("iterations", sa.Column("lease_seconds", sa.Integer(), nullable=True))
    op.add_column("iterations", sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True))
    if _is_sqlite():
        # A reference can join a table here as part of its column only.
        op.execute(
            "ALTER TABLE iterations ADD COLUMN parent_id CHAR(32)"
            " CONSTRAINT fk_iterations_parent_id REFERENCES iterations (id)"
        )
    else:
        op.add_column("iterations", sa.Column("parent_id", sa.Uuid(), nullable=True))
        op.create_foreign_key("fk_iterations_parent_id", "iterations", "iterations", ["parent_id"], ["id"])
        _retype("experiments", "tags", "JSONB")
        _retype("iterations", "parameters", "JSONB")
    op.create_index("ix_iterations_parent_id_number", "iterations", ["parent_id", "number"])
    op.create_index("ix_iterations_lease_until", "iterations", ["lease_until"])
    _tags_to_mappings()
    op.create_table(
        "metric_auto_steps",
        sa.Column("metric_id", _counter(), nullable=False),
        sa.Column("source_id", _counter(), nullable=False),
        sa.Column("offset", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("step", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["metric_id"], ["metrics.id"], name="fk_metric_auto_steps_metric_id"),
        sa.ForeignKeyConstraint(["source_id"], ["metric_sources.id"], name="fk_metric_auto_steps_source_id"),
        sa.PrimaryKeyConstraint("metric_id", "source_id", "offset", name="pk_metric_auto_steps"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "datasets",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("project_id", sa.Uuid(), nullable=False),
        sa.Column("name", _word(250), nullable=False),
        sa.Column("digest", _word(200), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=True),
        sa.Column("columns", sa.BigInteger(), nullable=True),
        sa.Column("bytes", sa.BigInteger(), nullable=True),
        sa.Column("features", _document(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("tags", _document(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_by", _word(400), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name="fk_datasets_project_id"),
        sa.PrimaryKeyConstraint("id", name="pk_datasets"),
    )
    op.create_index("ix_datasets_created_at_id", "datasets", ["created_at", "id"])
    op.create_index("ix_datasets_project_id_name", "datasets", ["project_id", "name"])
    op.create_table(
        "dataset_uses",
        sa.Column("iteration_id", sa.Uuid(), nullable=False),
        sa.Column("dataset_id", sa.Uuid(), nullable=False),
        sa.Column("role", _word(16), nullable=False),
        sa.Column("artifact_id", sa.Uuid(), nullable=True),
        sa.Column("context", sa.Text(), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["artifact_id"], ["artifacts.id"], name="fk_dataset_uses_artifact_id"),
        sa.ForeignKeyConstraint(["dataset_id"], ["datasets.id"], name="fk_dataset_uses_dataset_id"),
        sa.ForeignKeyConstraint(["iteration_id"], ["iterations.id"], name="fk_dataset_uses_iteration_id"),
        sa.PrimaryKeyConstraint("iteration_id", "dataset_id", name="pk_dataset_uses"),
    )
    op.create_index("ix_dataset_uses_artifact_id", "dataset_uses", ["artifact_id"])
    op.create_index("ix_dataset_uses_dataset_id_iteration_id", "dataset_uses", ["dataset_id", "iteration_id"])


def downgrade() -> None:
    op.drop_index("ix_dataset_uses_dataset_id_iteration_id", table_name="dataset_uses")
    op.drop_index("ix_dataset_uses_artifact_id", table_name="dataset_uses")
    op.drop_table("dataset_uses")
    op.drop_index("ix_datasets_project_id_name", table_name="datasets")
    op.drop_index("ix_datasets_created_at_id", table_name="datasets")
    op.drop_table("datasets")
    op.drop_table("metric_auto_steps")
    _tags_to_lists()
    op.drop_index("ix_iterations_lease_until", table_name="iterations")
    op.drop_index("ix_iterations_parent_id_number", table_name="iterations")
    if not _is_sqlite():
        _retype("iterations", "parameters", "JSON")
        _retype("experiments", "tags", "JSON")
        op.drop_constraint("fk_iterations_parent_id", "iterations")
    for column in (
        "parent_id",
        "lease_until",
        "lease_seconds",
        "heartbeat_at",
        "environment",
        "error",
        "notes",
        "name",
    ):
        op.drop_column("iterations", column)
    for column in ("ended_at", "status", "declared"):
        op.drop_column("experiments", column)
    for table in ("projects", "iterations"):
        op.drop_column(table, "tags")
    for table in ("projects", "experiments", "iterations"):
        op.drop_column(table, "lifecycle")
        op.drop_column(table, "created_by")


_EXPERIMENTS = sa.table(
    "experiments",
    sa.column("id", sa.Uuid()),
    sa.column("description", sa.Text()),
    sa.column("tags", sa.JSON().with_variant(postgresql.JSONB(), "postgresql")),
    sa.column("declared", sa.JSON().with_variant(postgresql.JSONB(), "postgresql")),
)


def _tags_to_mappings() -> None:
    """`["baseline", "team=vision"]` becomes `{"baseline": "", "team": "vision"}`."""
    connection = op.get_bind()
    for row in connection.execute(sa.select(_EXPERIMENTS.c.id, _EXPERIMENTS.c.description, _EXPERIMENTS.c.tags)).all():
        parts = [(tag, *tag.partition("=")) for tag in row.tags]
        tags = {key or tag: value if key else "" for tag, key, _, value in parts}
        connection.execute(
            sa.update(_EXPERIMENTS)
            .where(_EXPERIMENTS.c.id == row.id)
            .values(tags=tags, declared={"description": row.description, "tags": tags})
        )


def _tags_to_lists() -> None:
    connection = op.get_bind()
    for row in connection.execute(sa.select(_EXPERIMENTS.c.id, _EXPERIMENTS.c.tags)).all():
        tags = [f"{key}={value}" if value else key for key, value in row.tags.items()]
        connection.execute(sa.update(_EXPERIMENTS).where(_EXPERIMENTS.c.id == row.id).values(tags=tags))


def _retype(table: str, column: str, type_: str) -> None:
    op.execute(f"ALTER TABLE {table} ALTER COLUMN {column} TYPE {type_} USING {column}::{type_}")


def _is_sqlite() -> bool:
    return op.get_bind().dialect.name == "sqlite"


def _document() -> Any:
    return sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def _word(length: int) -> Any:
    return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")


def _counter() -> Any:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")
