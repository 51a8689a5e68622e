"""Models in SQL."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, bindparam, select, update

from pinnace import ids
from pinnace.records import Lifecycle, Model, ModelPage, ModelStage, Shown
from pinnace_api import paging
from pinnace_api.clock import now
from pinnace_api.lists import is_shown, trashed_at
from pinnace_api.model_versions.tables import MODEL_ALIASES, MODEL_VERSIONS
from pinnace_api.models.tables import MODELS
from pinnace_api.paging import Cut, Order
from pinnace_api.projects.tables import PROJECTS
from pinnace_api.tables import insert_missing

_SELECT = select(MODELS, PROJECTS.c.name.label("project"), PROJECTS.c.lifecycle.label("project_lifecycle")).join_from(
    MODELS, PROJECTS
)
_FIND = _SELECT.where(MODELS.c.id == bindparam("id"))
_HOLD = _FIND.with_for_update(key_share=True, of=MODELS)
_IN_PRODUCTION = select(MODEL_VERSIONS.c.model_id, MODEL_VERSIONS.c.number).where(
    MODEL_VERSIONS.c.model_id.in_(bindparam("ids", expanding=True)), MODEL_VERSIONS.c.stage == ModelStage.PRODUCTION
)
_ALIASES = (
    select(MODEL_ALIASES.c.model_id, MODEL_ALIASES.c.alias, MODEL_VERSIONS.c.number)
    .join_from(MODEL_ALIASES, MODEL_VERSIONS)
    .where(MODEL_ALIASES.c.model_id.in_(bindparam("ids", expanding=True)))
    .order_by(MODEL_ALIASES.c.alias)
)
_ORDER = Order(columns=(PROJECTS.c.name, MODELS.c.name), key=tuple[str, str])


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A model with what its project says."""

    model: Model
    project_lifecycle: Lifecycle

    def around(self, own: Lifecycle | None = None) -> dict[str, Lifecycle]:
        """What decides whether it may be written to; `own` in place of its lifecycle."""
        return {
            f"model {self.model.name!r}": own or self.model.lifecycle,
            f"project {self.model.project!r}": self.project_lifecycle,
        }


def add(
    connection: Connection,
    project: str,
    name: str,
    *,
    description: str = "",
    tags: dict[str, str] | None = None,
    by: str,
    at: datetime,
) -> bool:
    """Whether it was new. Its project must exist."""
    row = {
        "id": ids.model_id(project, name),
        "project_id": ids.project_id(project),
        "name": name,
        "description": description,
        "tags": tags or {},
        "lifecycle": Lifecycle.ACTIVE,
        "created_at": at,
        "created_by": by,
        "last_number": 0,
    }
    return insert_missing(connection, MODELS, [row]) == 1


def edit(connection: Connection, model: Model) -> None:
    """Keep what of it can change by an edit."""
    connection.execute(
        update(MODELS)
        .where(MODELS.c.id == model.id)
        .values(
            description=model.description,
            tags=model.tags,
            lifecycle=model.lifecycle,
            trashed_at=trashed_at(MODELS.c.trashed_at, model.lifecycle, now()),
        )
    )


def count(connection: Connection, model: UUID, number: int) -> None:
    """Remember the number given last. The model must be held."""
    connection.execute(update(MODELS).where(MODELS.c.id == model).values(last_number=number))


def find(connection: Connection, model: UUID) -> Held | None:
    return _one(connection, _FIND, model)


def hold(connection: Connection, model: UUID) -> Held | None:
    """As `find`, and nobody else writes to it, its versions or its aliases until the transaction ends."""
    return _one(connection, _HOLD, model)


def page(
    connection: Connection,
    *,
    project: str | None,
    name: str | None,
    shown: Shown,
    visible: Collection[UUID] | None,
    cut: Cut,
) -> ModelPage:
    """By project and name, of the visible projects; None: of all."""
    statement = _SELECT.where(is_shown(shown, MODELS.c.lifecycle, PROJECTS.c.lifecycle))
    if visible is not None:
        statement = statement.where(MODELS.c.project_id.in_(visible))
    if project is not None:
        statement = statement.where(MODELS.c.project_id == ids.project_id(project))
    if name is not None:
        statement = statement.where(MODELS.c.name == name)
    part = paging.fetch(connection, statement, _ORDER, cut)
    return ModelPage(items=_records(connection, part.rows), next=part.next)


def _one(connection: Connection, statement: Any, model: UUID) -> Held | None:
    row = connection.execute(statement, {"id": model}).one_or_none()
    if row is None:
        return None
    (record,) = _records(connection, [row])
    return Held(model=record, project_lifecycle=Lifecycle(row.project_lifecycle))


def _records(connection: Connection, rows: Sequence[Any]) -> tuple[Model, ...]:
    found = {"ids": [row.id for row in rows]}
    in_production = {row.model_id: row.number for row in connection.execute(_IN_PRODUCTION, found)}
    aliases: dict[UUID, dict[str, int]] = {}
    for row in connection.execute(_ALIASES, found):
        aliases.setdefault(row.model_id, {})[row.alias] = row.number
    return tuple(
        Model(
            id=row.id,
            project=row.project,
            name=row.name,
            description=row.description,
            tags=row.tags,
            lifecycle=Lifecycle(row.lifecycle),
            created_at=row.created_at,
            created_by=row.created_by,
            last_number=row.last_number,
            production=in_production.get(row.id),
            aliases=aliases.get(row.id, {}),
        )
        for row in rows
    )
