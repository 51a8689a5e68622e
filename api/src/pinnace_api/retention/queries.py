"""Retention policies in SQL."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID, uuid5

import msgspec
from sqlalchemy import Connection, Row, delete, func, select, update

from pinnace.records import RetentionPolicy, RetentionPolicyPage, RetentionPolicyWrite
from pinnace_api import paging
from pinnace_api.paging import Cut, Order
from pinnace_api.projects.tables import PROJECTS
from pinnace_api.retention.tables import RETENTION_POLICIES
from pinnace_api.tables import insert_missing

_ALL: Final = UUID(int=0)
#: Those for all projects come first.
_PROJECT: Final = func.coalesce(PROJECTS.c.name, "")
_ORDER: Final = Order(columns=(_PROJECT, RETENTION_POLICIES.c.name), key=tuple[str, str])
_SELECT: Final = select(RETENTION_POLICIES, PROJECTS.c.name.label("project")).join_from(
    RETENTION_POLICIES, PROJECTS, isouter=True
)


def set_(
    connection: Connection, project: UUID | None, name: str, write: RetentionPolicyWrite, *, by: str, at: datetime
) -> bool:
    """Whether it is new; one that is there becomes what `write` says. Of a project that is held."""
    values = {**msgspec.structs.asdict(write), "stages": list(write.stages), "changed_at": at, "changed_by": by}
    row = {"id": _id(project, name), "project_id": project, "name": name, **values}
    if insert_missing(connection, RETENTION_POLICIES, [row]):
        return True
    statement = update(RETENTION_POLICIES).where(RETENTION_POLICIES.c.id == _id(project, name))
    connection.execute(statement.values(**values))
    return False


def find(connection: Connection, project: UUID | None, name: str) -> RetentionPolicy | None:
    row = connection.execute(_SELECT.where(RETENTION_POLICIES.c.id == _id(project, name))).one_or_none()
    return None if row is None else _record(row)


def remove(connection: Connection, project: UUID | None, name: str) -> bool:
    """Whether there was one."""
    statement = delete(RETENTION_POLICIES).where(RETENTION_POLICIES.c.id == _id(project, name))
    return connection.execute(statement).rowcount == 1


def page(connection: Connection, project: UUID | None, cut: Cut) -> RetentionPolicyPage:
    """Those for all projects, then those of the project itself, each by name."""
    part = paging.fetch(connection, _of(project), _ORDER, cut)
    return RetentionPolicyPage(items=tuple(_record(row) for row in part.rows), next=part.next)


def in_force(connection: Connection, project: UUID) -> Sequence[RetentionPolicy]:
    """Those that hold for the project, by name: its own before those for all projects."""
    found = {row.name: _record(row) for row in connection.execute(_of(project).order_by(_PROJECT))}
    return [found[name] for name in sorted(found) if found[name].enabled]


def projects(connection: Connection) -> Sequence[tuple[UUID, str]]:
    """All of them, by name."""
    found = connection.execute(select(PROJECTS.c.id, PROJECTS.c.name).order_by(PROJECTS.c.name))
    return [(row.id, row.name) for row in found]


def _of(project: UUID | None) -> Any:
    column = RETENTION_POLICIES.c.project_id
    return _SELECT.where(column.is_(None) if project is None else column.is_(None) | (column == project))


def _id(project: UUID | None, name: str) -> UUID:
    return uuid5(project or _ALL, f"retention-policy:{name}")


def _record(row: Row[Any]) -> RetentionPolicy:
    return msgspec.convert(dict(row._mapping), RetentionPolicy)
