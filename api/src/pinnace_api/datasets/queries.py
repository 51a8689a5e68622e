"""Datasets and their uses in SQL."""

from collections.abc import Collection
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, bindparam, delete, select, update

from pinnace import ids
from pinnace.records import (
    Dataset,
    DatasetPage,
    DatasetRole,
    DatasetUse,
    DatasetUsePage,
    DatasetUseWrite,
    DatasetWrite,
)
from pinnace_api import paging
from pinnace_api.artifacts.tables import ARTIFACTS
from pinnace_api.datasets.tables import DATASET_USES, DATASETS
from pinnace_api.experiments.tables import EXPERIMENTS
from pinnace_api.iterations.tables import ITERATIONS
from pinnace_api.paging import Cut, Moment, Order
from pinnace_api.projects.tables import PROJECTS
from pinnace_api.tables import insert_missing

_SELECT = select(DATASETS, PROJECTS.c.name.label("project")).join_from(DATASETS, PROJECTS)
_FIND = _SELECT.where(DATASETS.c.id == bindparam("id"))
_HOLD = _FIND.with_for_update(key_share=True, of=DATASETS)
_USES = (
    select(DATASET_USES, DATASETS, PROJECTS.c.name.label("project")).join_from(DATASET_USES, DATASETS).join(PROJECTS)
)
_MAKER = (
    select(ARTIFACTS.c.iteration_id, PROJECTS.c.name)
    .join_from(ARTIFACTS, ITERATIONS)
    .join(EXPERIMENTS)
    .join(PROJECTS)
    .where(ARTIFACTS.c.id == bindparam("id"))
)
_NEWEST = Order(columns=(DATASETS.c.created_at, DATASETS.c.id), key=tuple[Moment, UUID], descending=True)
_OF_ITERATION = Order(columns=(DATASET_USES.c.used_at, DATASET_USES.c.dataset_id), key=tuple[Moment, UUID])
_OF_DATASET = Order(columns=(DATASET_USES.c.used_at, DATASET_USES.c.iteration_id), key=tuple[Moment, UUID])


def add(connection: Connection, dataset: UUID, write: DatasetWrite, *, by: str, at: datetime) -> bool:
    """Whether it was new. Its project must exist."""
    row = {
        "id": dataset,
        "project_id": ids.project_id(write.project),
        "name": write.name,
        "digest": write.digest,
        "source": write.source,
        "rows": write.rows,
        "columns": write.columns,
        "bytes": write.bytes,
        "features": write.features,
        "description": write.description,
        "tags": write.tags,
        "created_at": at,
        "created_by": by,
    }
    return insert_missing(connection, DATASETS, [row]) == 1


def edit(connection: Connection, dataset: Dataset) -> None:
    """Keep what of it can change."""
    connection.execute(
        update(DATASETS)
        .where(DATASETS.c.id == dataset.id)
        .values(source=dataset.source, description=dataset.description, tags=dataset.tags)
    )


def find(connection: Connection, dataset: UUID) -> Dataset | None:
    return _one(connection, _FIND, dataset)


def hold(connection: Connection, dataset: UUID) -> Dataset | None:
    """As `find`, and nobody else edits it until the transaction ends."""
    return _one(connection, _HOLD, dataset)


def page(
    connection: Connection, *, project: str | None, name: str | None, visible: Collection[UUID] | None, cut: Cut
) -> DatasetPage:
    """Of the visible projects; None: of all."""
    statement = _SELECT
    if visible is not None:
        statement = statement.where(DATASETS.c.project_id.in_(visible))
    if project is not None:
        statement = statement.where(DATASETS.c.project_id == ids.project_id(project))
    if name is not None:
        statement = statement.where(DATASETS.c.name == name)
    part = paging.fetch(connection, statement, _NEWEST, cut)
    return DatasetPage(items=tuple(_record(row) for row in part.rows), next=part.next)


def maker(connection: Connection, artifact: UUID) -> tuple[UUID, str] | None:
    """The iteration that an artifact is of, and its project; None when there is no such artifact."""
    row = connection.execute(_MAKER, {"id": artifact}).one_or_none()
    return None if row is None else (row.iteration_id, row.name)


def add_use(connection: Connection, iteration: UUID, dataset: UUID, use: DatasetUseWrite, at: datetime) -> bool:
    """Whether it was new. Iteration, dataset and artifact must exist."""
    row = {
        "iteration_id": iteration,
        "dataset_id": dataset,
        "role": use.role,
        "artifact_id": use.artifact_id,
        "context": use.context,
        "used_at": at,
    }
    return insert_missing(connection, DATASET_USES, [row]) == 1


def set_use(connection: Connection, iteration: UUID, dataset: UUID, *, artifact: UUID | None, context: str) -> None:
    connection.execute(
        update(DATASET_USES).where(*_pair(iteration, dataset)).values(artifact_id=artifact, context=context)
    )


def find_use(connection: Connection, iteration: UUID, dataset: UUID) -> DatasetUse | None:
    row = connection.execute(_USES.where(*_pair(iteration, dataset))).one_or_none()
    return None if row is None else _use(row)


def delete_use(connection: Connection, iteration: UUID, dataset: UUID) -> None:
    connection.execute(delete(DATASET_USES).where(*_pair(iteration, dataset)))


def uses_of_iteration(connection: Connection, iteration: UUID, cut: Cut) -> DatasetUsePage:
    return _uses(connection, DATASET_USES.c.iteration_id == iteration, _OF_ITERATION, cut)


def uses_of_dataset(connection: Connection, dataset: UUID, cut: Cut) -> DatasetUsePage:
    return _uses(connection, DATASET_USES.c.dataset_id == dataset, _OF_DATASET, cut)


def _uses(connection: Connection, condition: ColumnElement[bool], order: Order, cut: Cut) -> DatasetUsePage:
    part = paging.fetch(connection, _USES.where(condition), order, cut)
    return DatasetUsePage(items=tuple(_use(row) for row in part.rows), next=part.next)


def _pair(iteration: UUID, dataset: UUID) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return DATASET_USES.c.iteration_id == iteration, DATASET_USES.c.dataset_id == dataset


def _use(row: Any) -> DatasetUse:
    return DatasetUse(
        iteration_id=row.iteration_id,
        role=DatasetRole(row.role),
        artifact_id=row.artifact_id,
        context=row.context,
        used_at=row.used_at,
        dataset=_record(row),
    )


def _one(connection: Connection, statement: Any, dataset: UUID) -> Dataset | None:
    row = connection.execute(statement, {"id": dataset}).one_or_none()
    return None if row is None else _record(row)


def _record(row: Any) -> Dataset:
    return Dataset(
        id=row.id,
        project=row.project,
        name=row.name,
        digest=row.digest,
        source=row.source,
        rows=row.rows,
        columns=row.columns,
        bytes=row.bytes,
        features=row.features,
        description=row.description,
        tags=row.tags,
        created_at=row.created_at,
        created_by=row.created_by,
    )
