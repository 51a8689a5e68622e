"""Projects in SQL."""

from collections.abc import Collection
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, bindparam, select, update

from pinnace import ids
from pinnace.records import Lifecycle, Project, ProjectPage, Shown
from pinnace_api import paging
from pinnace_api.clock import now
from pinnace_api.lists import is_shown, trashed_at
from pinnace_api.paging import Cut, Order
from pinnace_api.projects.tables import PROJECTS
from pinnace_api.tables import insert_missing

_FIND = select(PROJECTS).where(PROJECTS.c.name == bindparam("name"))
_HOLD = _FIND.with_for_update(key_share=True)
_ORDER = Order(columns=(PROJECTS.c.name,), key=tuple[str])


def add(
    connection: Connection,
    name: str,
    *,
    description: str = "",
    tags: dict[str, str] | None = None,
    by: str,
    at: datetime,
) -> bool:
    """Whether it was new."""
    row = {
        "id": ids.project_id(name),
        "name": name,
        "description": description,
        "created_at": at,
        "created_by": by,
        "tags": tags or {},
        "lifecycle": Lifecycle.ACTIVE,
    }
    return insert_missing(connection, PROJECTS, [row]) == 1


def edit(connection: Connection, project: Project) -> None:
    """Keep what of it can change."""
    connection.execute(
        update(PROJECTS)
        .where(PROJECTS.c.id == project.id)
        .values(
            description=project.description,
            tags=project.tags,
            lifecycle=project.lifecycle,
            trashed_at=trashed_at(PROJECTS.c.trashed_at, project.lifecycle, now()),
        )
    )


def find(connection: Connection, name: str) -> Project | None:
    return _one(connection, _FIND, name)


def hold(connection: Connection, name: str) -> Project | None:
    """As `find`, and nobody else edits it until the transaction ends."""
    return _one(connection, _HOLD, name)


def names(connection: Connection, projects: Collection[UUID]) -> dict[UUID, str]:
    """By id, of those that are there."""
    found = connection.execute(select(PROJECTS.c.id, PROJECTS.c.name).where(PROJECTS.c.id.in_(projects)))
    return {row.id: row.name for row in found}


def page(connection: Connection, shown: Shown, visible: Collection[UUID] | None, cut: Cut) -> ProjectPage:
    """Of the visible ones; None: all."""
    statement = select(PROJECTS).where(is_shown(shown, PROJECTS.c.lifecycle))
    if visible is not None:
        statement = statement.where(PROJECTS.c.id.in_(visible))
    part = paging.fetch(connection, statement, _ORDER, cut)
    return ProjectPage(items=tuple(_record(row) for row in part.rows), next=part.next)


def _one(connection: Connection, statement: Any, name: str) -> Project | None:
    row = connection.execute(statement, {"name": name}).one_or_none()
    return None if row is None else _record(row)


def _record(row: Row[Any]) -> Project:
    return Project(
        id=row.id,
        name=row.name,
        description=row.description,
        created_at=row.created_at,
        created_by=row.created_by,
        tags=row.tags,
        lifecycle=Lifecycle(row.lifecycle),
    )
