"""What may be done with models."""

from collections.abc import Collection
from typing import TypeVar
from uuid import UUID

import msgspec

from pinnace import ids
from pinnace.records import Lifecycle, Model, ModelName, ModelPage, ModelPatch, ModelWrite, Shown
from pinnace_api.clock import now
from pinnace_api.database import Connection, Database
from pinnace_api.edits import check_edit, check_tags, check_writable, edited, edited_tags, edited_text
from pinnace_api.models import queries
from pinnace_api.models.queries import Held
from pinnace_api.paging import Cut
from pinnace_api.projects import queries as projects
from pinnace_api.refusals import NotFound
from pinnace_api.values import check_name, check_text

_T = TypeVar("_T")


def put(database: Database, project: str, name: str, write: ModelWrite, *, by: str) -> tuple[Model, bool]:
    """Create the model; one that is there stays as it is. The bool says whether it is new."""
    check_text(project, "name")
    check_name(name, ModelName, "a model's name", "model", made_of="A-Z a-z 0-9 - . _")
    check_text(write.description, "description")
    check_tags(write.tags)
    return database.write(_put, project, name, write, by)


def patch(database: Database, project: str, name: str, change: ModelPatch) -> Model:
    """Edit it. Raises NotFound, Trashed, Invalid."""
    return database.write(_patch, project, name, change)


def trash(database: Database, project: str, name: str) -> None:
    """Put it into the trash, where it may be already. Raises NotFound."""
    patch(database, project, name, ModelPatch(lifecycle=Lifecycle.TRASHED))


def get(database: Database, project: str, name: str) -> Model:
    with database.read() as connection:
        return found(queries.find(connection, ids.model_id(project, name)), project, name).model


def page(
    database: Database,
    *,
    project: str | None,
    name: str | None,
    shown: Shown,
    visible: Collection[UUID] | None,
    cut: Cut,
) -> ModelPage:
    """By project and name, of the visible projects; None: of all."""
    for field, text in (("project", project), ("name", name)):
        check_text(text or "", field)
    with database.read() as connection:
        return queries.page(connection, project=project, name=name, shown=shown, visible=visible, cut=cut)


def begin(connection: Connection, project: str, name: str, write: ModelWrite, *, by: str) -> tuple[Held, bool]:
    """The model, held; created if it isn't there. Raises NotFound without its project, Trashed for what is closed."""
    if projects.find(connection, project) is None:
        raise NotFound(f"there is no project {project!r}")
    is_new = queries.add(connection, project, name, description=write.description, tags=write.tags, by=by, at=now())
    held = found(queries.hold(connection, ids.model_id(project, name)), project, name)
    check_writable(held.around())
    return held, is_new


def found(value: _T | None, project: str, name: str) -> _T:
    """Raises NotFound for None."""
    if value is None:
        raise NotFound(f"there is no model {name!r} in project {project!r}")
    return value


def _put(connection: Connection, project: str, name: str, write: ModelWrite, by: str) -> tuple[Model, bool]:
    held, is_new = begin(connection, project, name, write, by=by)
    return held.model, is_new


def _patch(connection: Connection, project: str, name: str, change: ModelPatch) -> Model:
    held = found(queries.hold(connection, ids.model_id(project, name)), project, name)
    stored = held.model
    edition = msgspec.structs.replace(
        stored,
        description=edited_text(stored.description, change.description, "description"),
        tags=edited_tags(stored.tags, change.tags),
        lifecycle=edited(stored.lifecycle, change.lifecycle),
    )
    if edition != stored:
        check_edit(stored, edition, held.around)
        queries.edit(connection, edition)
    return edition
