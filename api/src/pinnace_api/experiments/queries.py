"""Experiments in SQL."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, bindparam, select, update

from pinnace import ids
from pinnace.records import Experiment, ExperimentPage, ExperimentWrite
from pinnace_api import paging
from pinnace_api.experiments.tables import EXPERIMENTS
from pinnace_api.paging import Cut, Moment, Order
from pinnace_api.projects.tables import PROJECTS
from pinnace_api.tables import insert_missing

_SELECT = select(EXPERIMENTS, PROJECTS.c.name.label("project")).join_from(EXPERIMENTS, PROJECTS)
_FIND = _SELECT.where(EXPERIMENTS.c.id == bindparam("id"))
_EXISTS = select(EXPERIMENTS.c.id).where(EXPERIMENTS.c.id == bindparam("id"))
_ORDER = Order(columns=(EXPERIMENTS.c.created_at, EXPERIMENTS.c.id), key=tuple[Moment, UUID], descending=True)


def add(connection: Connection, experiment: UUID, write: ExperimentWrite, now: datetime) -> bool:
    """Whether it was new. Its project must exist."""
    row = {
        "id": experiment,
        "project_id": ids.project_id(write.project),
        "name": write.name,
        "namespace": write.namespace,
        "description": write.description,
        "tags": list(write.tags),
        "created_at": now,
    }
    return insert_missing(connection, EXPERIMENTS, [row]) == 1


def describe(connection: Connection, experiment: UUID, write: ExperimentWrite) -> None:
    connection.execute(
        update(EXPERIMENTS)
        .where(EXPERIMENTS.c.id == experiment)
        .values(description=write.description, tags=list(write.tags))
    )


def exists(connection: Connection, experiment: UUID) -> bool:
    return connection.execute(_EXISTS, {"id": experiment}).first() is not None


def find(connection: Connection, experiment: UUID) -> Experiment | None:
    row = connection.execute(_FIND, {"id": experiment}).one_or_none()
    return None if row is None else _record(row)


def page(
    connection: Connection, *, project: str | None, namespace: str | None, name: str | None, cut: Cut
) -> ExperimentPage:
    statement = _SELECT
    if project is not None:
        statement = statement.where(EXPERIMENTS.c.project_id == ids.project_id(project))
    if namespace is not None:
        statement = statement.where(EXPERIMENTS.c.namespace == namespace)
    if name is not None:
        statement = statement.where(EXPERIMENTS.c.name == name)
    part = paging.fetch(connection, statement, _ORDER, cut)
    return ExperimentPage(items=tuple(_record(row) for row in part.rows), next=part.next)


def _record(row: Row[Any]) -> Experiment:
    return Experiment(
        id=row.id,
        project=row.project,
        name=row.name,
        namespace=row.namespace,
        description=row.description,
        tags=tuple(row.tags),
        created_at=row.created_at,
    )
