"""Legal holds in SQL."""

from collections.abc import Collection
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BindParameter, Connection, Row, bindparam, or_, select, update

from pinnace.records import Hold, HoldKind, HoldPage, HoldWrite
from pinnace_api import in_lists, paging
from pinnace_api.artifacts.tables import ARTIFACTS
from pinnace_api.experiments.tables import EXPERIMENTS
from pinnace_api.holds.tables import HOLDS
from pinnace_api.iterations.tables import ITERATIONS
from pinnace_api.paging import Cut, Moment, Order
from pinnace_api.projects.tables import PROJECTS
from pinnace_api.tables import insert_missing

_IDS: BindParameter[Any] = bindparam("ids", expanding=True)
_SELECT = select(HOLDS, PROJECTS.c.name.label("project")).join_from(HOLDS, PROJECTS)
_FIND = _SELECT.where(HOLDS.c.id == bindparam("id"))
_ORDER = Order(columns=(HOLDS.c.created_at, HOLDS.c.id), key=tuple[Moment, UUID], descending=True)
_SUBJECTS = {
    HoldKind.EXPERIMENT: select(EXPERIMENTS.c.project_id).where(EXPERIMENTS.c.id == bindparam("id")),
    HoldKind.ITERATION: select(EXPERIMENTS.c.project_id)
    .join_from(ITERATIONS, EXPERIMENTS)
    .where(ITERATIONS.c.id == bindparam("id")),
    HoldKind.ARTIFACT: select(EXPERIMENTS.c.project_id)
    .join_from(ARTIFACTS, ITERATIONS)
    .join(EXPERIMENTS)
    .where(ARTIFACTS.c.id == bindparam("id"), ARTIFACTS.c.deleted_at.is_(None)),
}
_AROUND = or_(HOLDS.c.kind == HoldKind.PROJECT.value, HOLDS.c.experiment_id == EXPERIMENTS.c.id)
_ITERATIONS = (
    select(ITERATIONS.c.id)
    .join_from(ITERATIONS, EXPERIMENTS)
    .join(HOLDS, HOLDS.c.project_id == EXPERIMENTS.c.project_id)
    .where(HOLDS.c.lifted_at.is_(None), ITERATIONS.c.id.in_(_IDS))
    .where(or_(_AROUND, HOLDS.c.iteration_id == ITERATIONS.c.id))
)
_ARTIFACTS = (
    select(ARTIFACTS.c.id)
    .join_from(ARTIFACTS, ITERATIONS)
    .join(EXPERIMENTS)
    .join(HOLDS, HOLDS.c.project_id == EXPERIMENTS.c.project_id)
    .where(HOLDS.c.lifted_at.is_(None), ARTIFACTS.c.id.in_(_IDS))
    .where(or_(_AROUND, HOLDS.c.iteration_id == ITERATIONS.c.id, HOLDS.c.artifact_id == ARTIFACTS.c.id))
)


def add(connection: Connection, hold: UUID, project: UUID, write: HoldWrite, *, by: str, at: datetime) -> bool:
    """Whether it was new."""
    row = {
        "id": hold,
        "project_id": project,
        "kind": write.kind,
        **{f"{kind}_id": write.subject_id if write.kind is kind else None for kind in _SUBJECTS},
        "reason": write.reason,
        "created_at": at,
        "created_by": by,
        "lifted_at": None,
        "lifted_by": "",
        "lifted_reason": "",
    }
    return insert_missing(connection, HOLDS, [row]) == 1


def find(connection: Connection, hold: UUID) -> Hold | None:
    row = connection.execute(_FIND, {"id": hold}).one_or_none()
    return None if row is None else _record(row)


def project_of(connection: Connection, kind: HoldKind, subject: UUID) -> UUID | None:
    """The project that what is to be held lies in; None: there is no such thing."""
    return connection.execute(_SUBJECTS[kind], {"id": subject}).scalar_one_or_none()


def lift(connection: Connection, hold: UUID, reason: str, *, by: str, at: datetime) -> None:
    values = {"lifted_at": at, "lifted_by": by, "lifted_reason": reason}
    connection.execute(update(HOLDS).where(HOLDS.c.id == hold).values(**values))


def page(connection: Connection, project: UUID, *, lifted: bool, cut: Cut) -> HoldPage:
    """The latest first; `lifted` ones too."""
    statement = _SELECT.where(HOLDS.c.project_id == project)
    if not lifted:
        statement = statement.where(HOLDS.c.lifted_at.is_(None))
    part = paging.fetch(connection, statement, _ORDER, cut)
    return HoldPage(items=tuple(_record(row) for row in part.rows), next=part.next)


def held_artifacts(connection: Connection, artifacts: Collection[UUID]) -> frozenset[UUID]:
    """Those of them that are held, by themselves or by what they lie in."""
    return in_lists.found(connection, _ARTIFACTS, artifacts)


def held_iterations(connection: Connection, iterations: Collection[UUID]) -> frozenset[UUID]:
    """Those of them that are held, by themselves or by what they lie in."""
    return in_lists.found(connection, _ITERATIONS, iterations)


def _record(row: Row[Any]) -> Hold:
    return Hold(
        id=row.id,
        project=row.project,
        kind=HoldKind(row.kind),
        subject_id=row.experiment_id or row.iteration_id or row.artifact_id,
        reason=row.reason,
        created_at=row.created_at,
        created_by=row.created_by,
        lifted_at=row.lifted_at,
        lifted_by=row.lifted_by,
        lifted_reason=row.lifted_reason,
    )
