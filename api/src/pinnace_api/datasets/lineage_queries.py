"""Lineage in SQL: uses of datasets, level by level."""

from collections.abc import Collection
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, select

from pinnace.records import DatasetRole
from pinnace_api import in_lists
from pinnace_api.artifacts.tables import ARTIFACTS
from pinnace_api.datasets.tables import DATASET_USES, DATASETS


@dataclass(frozen=True, slots=True)
class Use:
    """A row of uses, as far as lineage needs it."""

    iteration: UUID
    dataset: UUID
    name: str
    role: DatasetRole
    artifact: UUID | None


def by_iterations(connection: Connection, iterations: Collection[UUID], role: DatasetRole, *, most: int) -> list[Use]:
    return _uses(connection, DATASET_USES.c.iteration_id, iterations, most, DATASET_USES.c.role == role)


def by_datasets(connection: Connection, datasets: Collection[UUID], role: DatasetRole, *, most: int) -> list[Use]:
    return _uses(connection, DATASET_USES.c.dataset_id, datasets, most, DATASET_USES.c.role == role)


def by_artifact(connection: Connection, artifact: UUID, *, most: int) -> list[Use]:
    return _uses(connection, DATASET_USES.c.artifact_id, [artifact], most)


def makers(connection: Connection, artifacts: Collection[UUID]) -> set[UUID]:
    """The iterations that they are of."""
    found: set[UUID] = set()
    for part in in_lists.parts(sorted(artifacts)):
        found.update(connection.execute(select(ARTIFACTS.c.iteration_id).where(ARTIFACTS.c.id.in_(part))).scalars())
    return found


def _uses(
    connection: Connection,
    column: ColumnElement[UUID],
    values: Collection[UUID],
    most: int,
    *conditions: ColumnElement[bool],
) -> list[Use]:
    """At most `most` of them, in a stable order."""
    found: list[Use] = []
    for part in in_lists.parts(sorted(values)):
        statement = (
            select(DATASET_USES, DATASETS.c.name)
            .join_from(DATASET_USES, DATASETS)
            .where(column.in_(part), *conditions)
            .order_by(DATASET_USES.c.used_at, DATASET_USES.c.iteration_id, DATASET_USES.c.dataset_id)
            .limit(most - len(found))
        )
        found += (
            Use(row.iteration_id, row.dataset_id, row.name, DatasetRole(row.role), row.artifact_id)
            for row in connection.execute(statement)
        )
        if len(found) >= most:
            break
    return found
