"""What may be done with projects."""

from collections.abc import Collection
from uuid import UUID

import msgspec

from pinnace.records import Lifecycle, Project, ProjectName, ProjectPage, ProjectPatch, ProjectRole, ProjectWrite, Shown
from pinnace_api.access import check_project
from pinnace_api.clock import now
from pinnace_api.database import Connection, Database
from pinnace_api.edits import check_edit, check_tags, edited, edited_tags, edited_text
from pinnace_api.identity import Visit
from pinnace_api.members import service as members
from pinnace_api.paging import Cut
from pinnace_api.projects import queries
from pinnace_api.refusals import NotFound
from pinnace_api.values import check_name, check_text


def put(database: Database, visit: Visit, name: str, write: ProjectWrite) -> tuple[Project, bool]:
    """Create the project or give it this description; the bool says whether it is new.

    A user who creates a project becomes its admin. Raises NotFound for one that is there and not for this user.
    """
    check_name(name, ProjectName, "a project's name", "name")
    check_text(write.description, "description")
    check_tags(write.tags)
    return database.write(_put, visit, name, write)


def patch(database: Database, name: str, change: ProjectPatch) -> Project:
    """Edit it. Raises NotFound, Trashed, Invalid."""
    check_text(name, "name")
    return database.write(_patch, name, change)


def trash(database: Database, name: str) -> None:
    """Put it into the trash, where it may be already. Raises NotFound."""
    patch(database, name, ProjectPatch(lifecycle=Lifecycle.TRASHED))


def get(database: Database, name: str) -> Project:
    check_text(name, "name")
    with database.read() as connection:
        return _found(queries.find(connection, name), name)


def page(database: Database, shown: Shown, visible: Collection[UUID] | None, cut: Cut) -> ProjectPage:
    """Of the visible ones; None: all."""
    with database.read() as connection:
        return queries.page(connection, shown, visible, cut)


def _put(connection: Connection, visit: Visit, name: str, write: ProjectWrite) -> tuple[Project, bool]:
    by = str(visit)
    created = queries.add(connection, name, description=write.description, tags=write.tags, by=by, at=now())
    stored = _found(queries.hold(connection, name), name)
    if created:
        members.begin(connection, visit, name, stored.id)
    elif visit.caller is not None:
        check_project(visit.caller, stored.id, ProjectRole.EDITOR)
    if created or stored.description == write.description:
        return stored, created
    return _edited(connection, stored, ProjectPatch(description=write.description)), False


def _patch(connection: Connection, name: str, change: ProjectPatch) -> Project:
    return _edited(connection, _found(queries.hold(connection, name), name), change)


def _edited(connection: Connection, stored: Project, change: ProjectPatch) -> Project:
    project = msgspec.structs.replace(
        stored,
        description=edited_text(stored.description, change.description, "description"),
        tags=edited_tags(stored.tags, change.tags),
        lifecycle=edited(stored.lifecycle, change.lifecycle),
    )
    if project != stored:
        check_edit(stored, project, lambda own: {f"project {stored.name!r}": own})
        queries.edit(connection, project)
    return project


def _found(project: Project | None, name: str) -> Project:
    if project is None:
        raise NotFound(f"there is no project {name!r}")
    return project
