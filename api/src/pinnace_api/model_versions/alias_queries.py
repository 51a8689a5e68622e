"""Aliases of versions in SQL. Whoever changes them holds the model's row."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, bindparam, delete, select, update

from pinnace.records import ModelAlias, ModelAliasPage
from pinnace_api import paging
from pinnace_api.model_versions.tables import MODEL_ALIASES, MODEL_VERSIONS
from pinnace_api.paging import Cut, Order
from pinnace_api.tables import insert_missing

_SELECT = select(MODEL_ALIASES, MODEL_VERSIONS.c.number).join_from(MODEL_ALIASES, MODEL_VERSIONS)
_FIND = _SELECT.where(MODEL_ALIASES.c.model_id == bindparam("model"), MODEL_ALIASES.c.alias == bindparam("alias"))
_ORDER = Order(columns=(MODEL_ALIASES.c.alias,), key=tuple[str])


def find(connection: Connection, model: UUID, alias: str) -> ModelAlias | None:
    row = connection.execute(_FIND, {"model": model, "alias": alias}).one_or_none()
    return None if row is None else _record(row)


def set_(connection: Connection, model: UUID, alias: str, version: UUID, *, at: datetime, by: str) -> bool:
    """Whether the alias was new."""
    row = {"model_id": model, "alias": alias, "version_id": version, "moved_at": at, "moved_by": by}
    if insert_missing(connection, MODEL_ALIASES, [row]):
        return True
    connection.execute(
        update(MODEL_ALIASES)
        .where(MODEL_ALIASES.c.model_id == model, MODEL_ALIASES.c.alias == alias)
        .values(version_id=version, moved_at=at, moved_by=by)
    )
    return False


def remove(connection: Connection, model: UUID, alias: str) -> None:
    connection.execute(delete(MODEL_ALIASES).where(MODEL_ALIASES.c.model_id == model, MODEL_ALIASES.c.alias == alias))


def page(connection: Connection, model: UUID, cut: Cut) -> ModelAliasPage:
    """By name."""
    part = paging.fetch(connection, _SELECT.where(MODEL_ALIASES.c.model_id == model), _ORDER, cut)
    return ModelAliasPage(items=tuple(_record(row) for row in part.rows), next=part.next)


def _record(row: Any) -> ModelAlias:
    return ModelAlias(
        alias=row.alias, number=row.number, version_id=row.version_id, moved_at=row.moved_at, moved_by=row.moved_by
    )
