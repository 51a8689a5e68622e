"""Projects in SQL."""

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, bindparam, select, update

from pinnace import ids
from pinnace.records import Project, ProjectPage
from pinnace_api import paging
from pinnace_api.paging import Cut, Order
from pinnace_api.projects.tables import PROJECTS
from pinnace_api.tables import insert_missing

_FIND = select(PROJECTS).where(PROJECTS.c.name == bindparam("name"))
_ORDER = Order(columns=(PROJECTS.c.name,), key=tuple[str])


def add(connection: Connection, name: str, description: str, now: datetime) -> bool:
    """Whether it was new."""
    row = {"id": ids.project_id(name), "name": name, "description": description, "created_at": now}
    return insert_missing(connection, PROJECTS, [row]) == 1


def describe(connection: Connection, name: str, description: str) -> None:
    connection.execute(update(PROJECTS).where(PROJECTS.c.name == name).values(description=description))


def find(connection: Connection, name: str) -> Project | None:
    row = connection.execute(_FIND, {"name": name}).one_or_none()
    return None if row is None else _record(row)


def page(connection: Connection, cut: Cut) -> ProjectPage:
    part = paging.fetch(connection, select(PROJECTS), _ORDER, cut)
    return ProjectPage(items=tuple(_record(row) for row in part.rows), next=part.next)


def _record(row: Row[Any]) -> Project:
    return Project(id=row.id, name=row.name, description=row.description, created_at=row.created_at)
