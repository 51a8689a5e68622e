"""What may be done with experiments."""

from uuid import UUID

from pinnace.records import Experiment, ExperimentPage, ExperimentWrite
from pinnace_api.clock import now
from pinnace_api.database import Connection, Database
from pinnace_api.experiments import queries
from pinnace_api.paging import Cut
from pinnace_api.projects import queries as projects
from pinnace_api.refusals import Conflict, ExperimentNotFound
from pinnace_api.values import check_text


def put(database: Database, experiment: UUID, write: ExperimentWrite) -> tuple[Experiment, bool]:
    """Create the experiment (and its project), or give it this description and these tags.

    Where it belongs can't change: another project, name or namespace is a Conflict. The bool says whether it is new.
    """
    check_text(write.name, "name")
    check_text(write.namespace, "namespace")
    check_text(write.description, "description")
    for index, tag in enumerate(write.tags):
        check_text(tag, f"tags[{index}]")
    return database.write(_put, experiment, write)


def get(database: Database, experiment: UUID) -> Experiment:
    with database.read() as connection:
        stored = queries.find(connection, experiment)
    if stored is None:
        raise ExperimentNotFound(experiment)
    return stored


def page(
    database: Database, *, project: str | None, namespace: str | None, name: str | None, cut: Cut
) -> ExperimentPage:
    for field, text in (("project", project), ("namespace", namespace), ("name", name)):
        check_text(text or "", field)
    with database.read() as connection:
        return queries.page(connection, project=project, namespace=namespace, name=name, cut=cut)


def _put(connection: Connection, experiment: UUID, write: ExperimentWrite) -> tuple[Experiment, bool]:
    moment = now()
    projects.add(connection, write.project, "", moment)
    is_new = queries.add(connection, experiment, write, moment)
    stored = queries.find(connection, experiment)
    assert stored is not None
    if is_new:
        return stored, True
    for field in ("project", "name", "namespace"):
        if getattr(stored, field) != getattr(write, field):
            raise Conflict(
                f"experiment {experiment} has the {field} {getattr(stored, field)!r}, which can't change",
                field=field,
                hint="another experiment needs another id",
            )
    if (stored.description, stored.tags) != (write.description, write.tags):
        queries.describe(connection, experiment, write)
        stored = queries.find(connection, experiment)
        assert stored is not None
    return stored, False
