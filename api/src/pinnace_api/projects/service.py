"""What may be done with projects."""

import msgspec

from pinnace.records import Project, ProjectName, ProjectPage, ProjectWrite
from pinnace_api.clock import now
from pinnace_api.database import Connection, Database
from pinnace_api.paging import Cut
from pinnace_api.projects import queries
from pinnace_api.refusals import Invalid, NotFound
from pinnace_api.values import check_text


def put(database: Database, name: str, write: ProjectWrite) -> tuple[Project, bool]:
    """Create the project or give it this description; the bool says whether it is new."""
    try:
        msgspec.convert(name, ProjectName)
    except msgspec.ValidationError:
        raise Invalid(
            "a project's name is made of 1 to 100 of a-z 0-9 - . _ and begins and ends with a letter or a digit",
            field="name",
        ) from None
    check_text(write.description, "description")
    return database.write(_put, name, write)


def get(database: Database, name: str) -> Project:
    check_text(name, "name")
    with database.read() as connection:
        project = queries.find(connection, name)
    if project is None:
        raise NotFound(f"there is no project {name!r}")
    return project


def page(database: Database, cut: Cut) -> ProjectPage:
    with database.read() as connection:
        return queries.page(connection, cut)


def _put(connection: Connection, name: str, write: ProjectWrite) -> tuple[Project, bool]:
    created = queries.add(connection, name, write.description, now())
    if not created:
        queries.describe(connection, name, write.description)
    project = queries.find(connection, name)
    assert project is not None
    return project, created
