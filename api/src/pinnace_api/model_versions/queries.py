"""Versions of models in SQL."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, Select, bindparam, insert, or_, select, update

from pinnace.records import (
    Lifecycle,
    ModelStage,
    ModelTransition,
    ModelTransitionPage,
    ModelVersion,
    ModelVersionPage,
    Shown,
)
from pinnace_api import paging
from pinnace_api.artifact_sets.tables import ARTIFACT_SET_MEMBERS
from pinnace_api.artifacts.tables import ARTIFACTS
from pinnace_api.clock import now
from pinnace_api.lists import is_shown, trashed_at
from pinnace_api.model_versions.tables import MODEL_ALIASES, MODEL_TRANSITIONS, MODEL_VERSIONS
from pinnace_api.models.tables import MODELS
from pinnace_api.paging import Cut, Moment, Number, Order
from pinnace_api.projects.tables import PROJECTS
from pinnace_api.tables import insert_missing

_SELECT = (
    select(MODEL_VERSIONS, MODELS.c.name.label("model"), PROJECTS.c.name.label("project"))
    .join_from(MODEL_VERSIONS, MODELS)
    .join(PROJECTS)
)
_FIND = _SELECT.where(MODEL_VERSIONS.c.id == bindparam("id"))
_NUMBERED = _SELECT.where(
    MODEL_VERSIONS.c.model_id == bindparam("model"), MODEL_VERSIONS.c.number == bindparam("number")
)
_CALLED = _SELECT.join(MODEL_ALIASES, MODEL_ALIASES.c.version_id == MODEL_VERSIONS.c.id).where(
    MODEL_ALIASES.c.model_id == bindparam("model"), MODEL_ALIASES.c.alias == bindparam("alias")
)
_LATEST = (
    _SELECT.where(MODEL_VERSIONS.c.model_id == bindparam("model")).order_by(MODEL_VERSIONS.c.number.desc()).limit(1)
)
_NEWEST = _LATEST.where(MODEL_VERSIONS.c.lifecycle == Lifecycle.ACTIVE)
_IN_STAGE = _LATEST.where(MODEL_VERSIONS.c.stage == bindparam("stage"), MODEL_VERSIONS.c.lifecycle != Lifecycle.TRASHED)
_ALIASES = (
    select(MODEL_ALIASES.c.version_id, MODEL_ALIASES.c.alias)
    .where(MODEL_ALIASES.c.version_id.in_(bindparam("ids", expanding=True)))
    .order_by(MODEL_ALIASES.c.alias)
)
_ITERATION_OF = select(ARTIFACTS.c.iteration_id).where(ARTIFACTS.c.id == bindparam("id"))
_SETS_WITH = select(ARTIFACT_SET_MEMBERS.c.set_id)
_TRANSITIONS = select(MODEL_TRANSITIONS, MODEL_VERSIONS.c.number).join_from(MODEL_TRANSITIONS, MODEL_VERSIONS)
_BY_NUMBER = Order(columns=(MODEL_VERSIONS.c.number,), key=tuple[Number], descending=True)
_BY_TIME = Order(columns=(MODEL_VERSIONS.c.created_at, MODEL_VERSIONS.c.id), key=tuple[Moment, UUID], descending=True)
_LATEST_CHANGE = Order(columns=(MODEL_TRANSITIONS.c.id,), key=tuple[Number], descending=True)


def add(connection: Connection, model: UUID, version: ModelVersion) -> bool:
    """Whether its id was new. Its model must be held; iteration and artifact must exist."""
    row = {
        "id": version.id,
        "model_id": model,
        "number": version.number,
        "iteration_id": version.iteration_id,
        "artifact_id": version.artifact_id,
        "stage": version.stage,
        "description": version.description,
        "tags": version.tags,
        "lifecycle": version.lifecycle,
        "created_at": version.created_at,
        "created_by": version.created_by,
    }
    return insert_missing(connection, MODEL_VERSIONS, [row]) == 1


def edit(connection: Connection, version: ModelVersion) -> None:
    """Keep what of it can change by an edit. Its model must be held."""
    connection.execute(
        update(MODEL_VERSIONS)
        .where(MODEL_VERSIONS.c.id == version.id)
        .values(
            artifact_id=version.artifact_id,
            description=version.description,
            tags=version.tags,
            lifecycle=version.lifecycle,
            trashed_at=trashed_at(MODEL_VERSIONS.c.trashed_at, version.lifecycle, now()),
        )
    )


def set_stage(
    connection: Connection, version: ModelVersion, stage: ModelStage, *, at: datetime, by: str, comment: str
) -> None:
    """Change it and remember that. Its model must be held."""
    connection.execute(update(MODEL_VERSIONS).where(MODEL_VERSIONS.c.id == version.id).values(stage=stage))
    row = {
        "version_id": version.id,
        "before": version.stage,
        "after": stage,
        "at": at,
        "by": by,
        "comment": comment,
    }
    connection.execute(insert(MODEL_TRANSITIONS).inline(), row)


def find(connection: Connection, version: UUID) -> ModelVersion | None:
    return _one(connection, _FIND, id=version)


def numbered(connection: Connection, model: UUID, number: int) -> ModelVersion | None:
    return _one(connection, _NUMBERED, model=model, number=number)


def called(connection: Connection, model: UUID, alias: str) -> ModelVersion | None:
    return _one(connection, _CALLED, model=model, alias=alias)


def newest(connection: Connection, model: UUID) -> ModelVersion | None:
    """The one with the highest number of those that are ACTIVE."""
    return _one(connection, _NEWEST, model=model)


def in_stage(connection: Connection, model: UUID, stage: ModelStage) -> ModelVersion | None:
    """The one with the highest number, of those that are not in the trash."""
    return _one(connection, _IN_STAGE, model=model, stage=stage)


def iteration_of(connection: Connection, artifact: UUID) -> UUID | None:
    """None when there is no such artifact."""
    return connection.execute(_ITERATION_OF, {"id": artifact}).scalar_one_or_none()


def page_of_model(
    connection: Connection, model: UUID, stage: ModelStage | None, shown: Shown, cut: Cut
) -> ModelVersionPage:
    """By number, the highest first. What the model itself lies in doesn't count: it was asked for by name."""
    statement = _SELECT.where(MODEL_VERSIONS.c.model_id == model, is_shown(shown, MODEL_VERSIONS.c.lifecycle))
    if stage is not None:
        statement = statement.where(MODEL_VERSIONS.c.stage == stage)
    return _page(connection, statement, _BY_NUMBER, cut)


def page_of_iteration(connection: Connection, iteration: UUID, cut: Cut) -> ModelVersionPage:
    """The newest first, whatever their lifecycle."""
    return _page(connection, _SELECT.where(MODEL_VERSIONS.c.iteration_id == iteration), _BY_TIME, cut)


def page_of_artifact(connection: Connection, artifact: UUID, cut: Cut) -> ModelVersionPage:
    """Also of sets that it belongs to; the newest first, whatever their lifecycle."""
    sets = _SETS_WITH.where(ARTIFACT_SET_MEMBERS.c.artifact_id == artifact)
    points_at: ColumnElement[bool] = or_(
        MODEL_VERSIONS.c.artifact_id == artifact, MODEL_VERSIONS.c.artifact_id.in_(sets)
    )
    return _page(connection, _SELECT.where(points_at), _BY_TIME, cut)


def transitions(connection: Connection, model: UUID, cut: Cut) -> ModelTransitionPage:
    """Of all versions of a model, the latest first."""
    statement = _TRANSITIONS.where(MODEL_VERSIONS.c.model_id == model)
    part = paging.fetch(connection, statement, _LATEST_CHANGE, cut)
    return ModelTransitionPage(items=tuple(_transition(row) for row in part.rows), next=part.next)


def _one(connection: Connection, statement: Any, **values: Any) -> ModelVersion | None:
    row = connection.execute(statement, values).one_or_none()
    return None if row is None else _records(connection, [row])[0]


def _page(connection: Connection, statement: Select[Any], order: Order, cut: Cut) -> ModelVersionPage:
    part = paging.fetch(connection, statement, order, cut)
    return ModelVersionPage(items=_records(connection, part.rows), next=part.next)


def _transition(row: Any) -> ModelTransition:
    return ModelTransition(
        number=row.number,
        version_id=row.version_id,
        before=ModelStage(row.before),
        after=ModelStage(row.after),
        at=row.at,
        by=row.by,
        comment=row.comment,
    )


def _records(connection: Connection, rows: Sequence[Any]) -> tuple[ModelVersion, ...]:
    aliases: dict[UUID, tuple[str, ...]] = {}
    for row in connection.execute(_ALIASES, {"ids": [row.id for row in rows]}):
        aliases[row.version_id] = (*aliases.get(row.version_id, ()), row.alias)
    return tuple(
        ModelVersion(
            id=row.id,
            project=row.project,
            model=row.model,
            number=row.number,
            iteration_id=row.iteration_id,
            artifact_id=row.artifact_id,
            stage=ModelStage(row.stage),
            description=row.description,
            tags=row.tags,
            lifecycle=Lifecycle(row.lifecycle),
            created_at=row.created_at,
            created_by=row.created_by,
            aliases=aliases.get(row.id, ()),
        )
        for row in rows
    )
