"""Experiments in SQL."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import Connection, Row, bindparam, select, update

from pinnace import ids
from pinnace.records import Experiment, ExperimentPage, ExperimentStatus, ExperimentWrite, Lifecycle, Shown
from pinnace_api import paging
from pinnace_api.clock import now
from pinnace_api.experiments.declaration import Declaration
from pinnace_api.experiments.tables import EXPERIMENTS
from pinnace_api.experiments.vocabulary import COLUMNS
from pinnace_api.filters.compiling import Compiler
from pinnace_api.filters.expression import Expression, Family
from pinnace_api.lists import is_shown, trashed_at
from pinnace_api.paging import Cut, Moment, Order
from pinnace_api.projects.tables import PROJECTS
from pinnace_api.tables import insert_missing

_SELECT = select(
    EXPERIMENTS, PROJECTS.c.name.label("project"), PROJECTS.c.lifecycle.label("project_lifecycle")
).join_from(EXPERIMENTS, PROJECTS)
_FIND = _SELECT.where(EXPERIMENTS.c.id == bindparam("id"))
_HOLD = _FIND.with_for_update(key_share=True, of=EXPERIMENTS)
_EXISTS = select(EXPERIMENTS.c.id).where(EXPERIMENTS.c.id == bindparam("id"))
_ORDER = Order(columns=(EXPERIMENTS.c.created_at, EXPERIMENTS.c.id), key=tuple[Moment, UUID], descending=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """An experiment with what the API alone knows of it."""

    experiment: Experiment
    declared: Declaration
    #: Of the project that it lies in.
    project_lifecycle: Lifecycle


def add(connection: Connection, experiment: UUID, write: ExperimentWrite, *, by: str, at: datetime) -> bool:
    """Whether it was new. Its project must exist."""
    row = {
        "id": experiment,
        "project_id": ids.project_id(write.project),
        "name": write.name,
        "namespace": write.namespace,
        "description": write.description,
        "tags": write.tags,
        "created_at": at,
        "created_by": by,
        "declared": msgspec.to_builtins(Declaration(description=write.description, tags=write.tags)),
        "status": ExperimentStatus.OPEN,
        "ended_at": None,
        "lifecycle": Lifecycle.ACTIVE,
    }
    return insert_missing(connection, EXPERIMENTS, [row]) == 1


def edit(connection: Connection, experiment: Experiment, declared: Declaration) -> None:
    """Keep what of it can change."""
    connection.execute(
        update(EXPERIMENTS)
        .where(EXPERIMENTS.c.id == experiment.id)
        .values(
            description=experiment.description,
            tags=experiment.tags,
            declared=msgspec.to_builtins(declared),
            status=experiment.status,
            ended_at=experiment.ended_at,
            lifecycle=experiment.lifecycle,
            trashed_at=trashed_at(EXPERIMENTS.c.trashed_at, experiment.lifecycle, now()),
        )
    )


def exists(connection: Connection, experiment: UUID) -> bool:
    return connection.execute(_EXISTS, {"id": experiment}).first() is not None


def find(connection: Connection, experiment: UUID) -> Held | None:
    return _one(connection, _FIND, experiment)


def hold(connection: Connection, experiment: UUID) -> Held | None:
    """As `find`, and nobody else edits it or numbers its iterations until the transaction ends."""
    return _one(connection, _HOLD, experiment)


def page(
    connection: Connection,
    *,
    project: str | None,
    namespace: str | None,
    name: str | None,
    expression: Expression | None = None,
    shown: Shown,
    visible: Collection[UUID] | None,
    cut: Cut,
) -> ExperimentPage:
    """Of the visible projects; None: of all."""
    statement = _SELECT.where(is_shown(shown, EXPERIMENTS.c.lifecycle, PROJECTS.c.lifecycle))
    if visible is not None:
        statement = statement.where(EXPERIMENTS.c.project_id.in_(visible))
    if project is not None:
        statement = statement.where(EXPERIMENTS.c.project_id == ids.project_id(project))
    if namespace is not None:
        statement = statement.where(EXPERIMENTS.c.namespace == namespace)
    if name is not None:
        statement = statement.where(EXPERIMENTS.c.name == name)
    if expression is not None:
        statement = statement.where(compiler_for(connection).condition(expression))
    part = paging.fetch(connection, statement, _ORDER, cut)
    return ExperimentPage(items=tuple(_record(row) for row in part.rows), next=part.next)


def compiler_for(connection: Connection) -> Compiler:
    """For statements that join experiments and projects."""
    return Compiler(
        sqlite=connection.dialect.name == "sqlite", attributes=COLUMNS, documents={Family.TAG: EXPERIMENTS.c.tags}
    )


def _one(connection: Connection, statement: Any, experiment: UUID) -> Held | None:
    row = connection.execute(statement, {"id": experiment}).one_or_none()
    if row is None:
        return None
    return Held(
        experiment=_record(row),
        declared=msgspec.convert(row.declared, Declaration),
        project_lifecycle=Lifecycle(row.project_lifecycle),
    )


def _record(row: Row[Any]) -> Experiment:
    return Experiment(
        id=row.id,
        project=row.project,
        name=row.name,
        namespace=row.namespace,
        description=row.description,
        tags=row.tags,
        created_at=row.created_at,
        created_by=row.created_by,
        status=ExperimentStatus(row.status),
        ended_at=row.ended_at,
        lifecycle=Lifecycle(row.lifecycle),
    )
