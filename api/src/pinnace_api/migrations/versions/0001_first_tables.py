"""Projects, experiments, iterations, artifacts, metrics and pods."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "projects",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", _word(100), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_projects"),
        sa.UniqueConstraint("name", name="uq_projects_name"),
    )
    op.create_table(
        "experiments",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("project_id", sa.Uuid(), nullable=False),
        sa.Column("name", _word(253), nullable=False),
        sa.Column("namespace", _word(63), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("tags", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name="fk_experiments_project_id"),
        sa.PrimaryKeyConstraint("id", name="pk_experiments"),
    )
    op.create_index("ix_experiments_created_at_id", "experiments", ["created_at", "id"])
    op.create_index("ix_experiments_namespace_name", "experiments", ["namespace", "name"])
    op.create_index("ix_experiments_project_id", "experiments", ["project_id"])
    op.create_table(
        "iterations",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("experiment_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("parameters", sa.JSON(), nullable=False),
        sa.Column("state", _word(16), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["experiment_id"], ["experiments.id"], name="fk_iterations_experiment_id"),
        sa.PrimaryKeyConstraint("id", name="pk_iterations"),
        sa.UniqueConstraint("experiment_id", "number", name="uq_iterations_experiment_id_number"),
    )
    op.create_table(
        "artifacts",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("iteration_id", sa.Uuid(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("sha256", _word(64), nullable=False),
        sa.Column("crc32c", _word(8), nullable=False),
        sa.Column("endpoint", sa.Text(), nullable=False),
        sa.Column("region", _word(64), nullable=False),
        sa.Column("bucket", _word(63), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("modified_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("suspect", sa.Boolean(), nullable=False),
        sa.Column("pod_uid", _word(64), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["iteration_id"], ["iterations.id"], name="fk_artifacts_iteration_id"),
        sa.PrimaryKeyConstraint("id", name="pk_artifacts"),
    )
    op.create_index("ix_artifacts_iteration_id_recorded_at_id", "artifacts", ["iteration_id", "recorded_at", "id"])
    op.create_table(
        "metric_sources",
        sa.Column("id", _counter(), autoincrement=True, nullable=False),
        sa.Column("iteration_id", sa.Uuid(), nullable=False),
        sa.Column("digest", _word(64), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["iteration_id"], ["iterations.id"], name="fk_metric_sources_iteration_id"),
        sa.PrimaryKeyConstraint("id", name="pk_metric_sources"),
        sa.UniqueConstraint("iteration_id", "digest", name="uq_metric_sources_iteration_id_digest"),
    )
    op.create_table(
        "metrics",
        sa.Column("id", _counter(), autoincrement=True, nullable=False),
        sa.Column("iteration_id", sa.Uuid(), nullable=False),
        sa.Column("key", _word(250), nullable=False),
        sa.Column("points", sa.BigInteger(), nullable=False),
        sa.Column("low", sa.Double(), nullable=True),
        sa.Column("high", sa.Double(), nullable=True),
        sa.Column("last_step", sa.BigInteger(), nullable=False),
        sa.Column("last_time", sa.BigInteger(), nullable=False),
        sa.Column("last_source", sa.BigInteger(), nullable=False),
        sa.Column("last_offset", sa.BigInteger(), nullable=False),
        sa.Column("last_value", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["iteration_id"], ["iterations.id"], name="fk_metrics_iteration_id"),
        sa.PrimaryKeyConstraint("id", name="pk_metrics"),
        sa.UniqueConstraint("iteration_id", "key", name="uq_metrics_iteration_id_key"),
    )
    op.create_table(
        "pods",
        sa.Column("iteration_id", sa.Uuid(), nullable=False),
        sa.Column("pod_uid", _word(64), nullable=False),
        sa.Column("name", _word(253), nullable=False),
        sa.Column("report", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("reported_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("recorded_count", sa.BigInteger(), nullable=True),
        sa.Column("recorded_sha256", _word(64), nullable=True),
        sa.Column("recorded_bytes", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["iteration_id"], ["iterations.id"], name="fk_pods_iteration_id"),
        sa.PrimaryKeyConstraint("iteration_id", "pod_uid", name="pk_pods"),
    )
    op.create_table(
        "metric_points",
        sa.Column("metric_id", _counter(), nullable=False),
        sa.Column("step", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("source_id", _counter(), nullable=False),
        sa.Column("offset", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("time", sa.BigInteger(), nullable=False),
        sa.Column("value", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["metric_id"], ["metrics.id"], name="fk_metric_points_metric_id"),
        sa.ForeignKeyConstraint(["source_id"], ["metric_sources.id"], name="fk_metric_points_source_id"),
        sa.PrimaryKeyConstraint("metric_id", "step", "source_id", "offset", name="pk_metric_points"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "pod_artifacts",
        sa.Column("iteration_id", sa.Uuid(), nullable=False),
        sa.Column("pod_uid", _word(64), nullable=False),
        sa.Column("artifact_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["artifact_id"], ["artifacts.id"], name="fk_pod_artifacts_artifact_id"),
        sa.ForeignKeyConstraint(
            ["iteration_id", "pod_uid"],
            ["pods.iteration_id", "pods.pod_uid"],
            name="fk_pod_artifacts_iteration_id_pod_uid",
        ),
        sa.PrimaryKeyConstraint("iteration_id", "pod_uid", "artifact_id", name="pk_pod_artifacts"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_pod_artifacts_artifact_id", "pod_artifacts", ["artifact_id"])


def downgrade() -> None:
    op.drop_index("ix_pod_artifacts_artifact_id", table_name="pod_artifacts")
    op.drop_table("pod_artifacts")
    op.drop_table("metric_points")
    op.drop_table("pods")
    op.drop_table("metrics")
    op.drop_table("metric_sources")
    op.drop_index("ix_artifacts_iteration_id_recorded_at_id", table_name="artifacts")
    op.drop_table("artifacts")
    op.drop_table("iterations")
    op.drop_index("ix_experiments_project_id", table_name="experiments")
    op.drop_index("ix_experiments_namespace_name", table_name="experiments")
    op.drop_index("ix_experiments_created_at_id", table_name="experiments")
    op.drop_table("experiments")
    op.drop_table("projects")


def _word(length: int) -> Any:
    return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")


def _counter() -> Any:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")
