"""What may be done with experiments."""

from collections.abc import Collection
from datetime import datetime
from functools import partial
from uuid import UUID

import msgspec

from pinnace.records import (
    Experiment,
    ExperimentPage,
    ExperimentPatch,
    ExperimentStatus,
    ExperimentWrite,
    Lifecycle,
    Shown,
)
from pinnace_api.clock import now
from pinnace_api.database import Connection, Database
from pinnace_api.edits import check_edit, check_tags, check_writable, edited, edited_tags, edited_text
from pinnace_api.experiments import queries
from pinnace_api.experiments.declaration import Declaration, declare
from pinnace_api.experiments.queries import Held
from pinnace_api.experiments.vocabulary import VOCABULARY
from pinnace_api.filters.parser import parse_filter
from pinnace_api.paging import Cut
from pinnace_api.projects import queries as projects
from pinnace_api.refusals import Conflict, ExperimentNotFound
from pinnace_api.values import check_text


def put(
    database: Database, experiment: UUID, write: ExperimentWrite, *, by: str, by_part: bool = False
) -> tuple[Experiment, bool]:
    """Create the experiment (and its project), or give it what of description and tags is new since the PUT before.

    Where it belongs can't change: another project, name or namespace is a Conflict. `by_part`: one of the system's own
    parts reports what is, so the trash doesn't refuse it. The bool says whether it is new.
    """
    check_text(write.name, "name")
    check_text(write.namespace, "namespace")
    check_text(write.description, "description")
    check_tags(write.tags)
    return database.write(_put, experiment, write, by, by_part)


def patch(database: Database, experiment: UUID, change: ExperimentPatch) -> Experiment:
    """Edit it. Raises ExperimentNotFound, Trashed, Invalid."""
    return database.write(_patch, experiment, change)


def trash(database: Database, experiment: UUID) -> None:
    """Put it into the trash, where it may be already. Raises ExperimentNotFound."""
    patch(database, experiment, ExperimentPatch(lifecycle=Lifecycle.TRASHED))


def get(database: Database, experiment: UUID) -> Experiment:
    with database.read() as connection:
        return _found(queries.find(connection, experiment), experiment).experiment


def page(
    database: Database,
    *,
    project: str | None,
    namespace: str | None,
    name: str | None,
    filter_: str = "",
    me: str = "",
    shown: Shown,
    visible: Collection[UUID] | None,
    cut: Cut,
) -> ExperimentPage:
    """Of the visible projects; None: of all. `me` is who asks. Raises Invalid at the place in the filter."""
    expression = parse_filter(filter_, VOCABULARY, me=me) if filter_.strip() else None
    for field, text in (("project", project), ("namespace", namespace), ("name", name)):
        check_text(text or "", field)
    with database.read() as connection:
        return queries.page(
            connection,
            project=project,
            namespace=namespace,
            name=name,
            expression=expression,
            shown=shown,
            visible=visible,
            cut=cut,
        )


def _put(
    connection: Connection, experiment: UUID, write: ExperimentWrite, by: str, by_part: bool
) -> tuple[Experiment, bool]:
    moment = now()
    projects.add(connection, write.project, by=by, at=moment)
    is_new = queries.add(connection, experiment, write, by=by, at=moment)
    held = _found(queries.hold(connection, experiment), experiment)
    stored = held.experiment
    if not by_part:
        check_writable(_around(held, stored.lifecycle))
    if is_new:
        return stored, True
    for field in ("project", "name", "namespace"):
        if getattr(stored, field) != getattr(write, field):
            raise Conflict(
                f"experiment {experiment} has the {field} {getattr(stored, field)!r}, which can't change",
                field=field,
                hint="another experiment needs another id",
            )
    said = Declaration(description=write.description, tags=write.tags)
    if said == held.declared:
        return stored, False
    declared = declare(stored, held.declared, said)
    queries.edit(connection, declared, said)
    return declared, False


def _patch(connection: Connection, experiment: UUID, change: ExperimentPatch) -> Experiment:
    held = _found(queries.hold(connection, experiment), experiment)
    stored = held.experiment
    status = edited(stored.status, change.status)
    edit = msgspec.structs.replace(
        stored,
        description=edited_text(stored.description, change.description, "description"),
        tags=edited_tags(stored.tags, change.tags),
        status=status,
        ended_at=stored.ended_at if status is stored.status else _end(status),
        lifecycle=edited(stored.lifecycle, change.lifecycle),
    )
    if edit != stored:
        check_edit(stored, edit, partial(_around, held))
        queries.edit(connection, edit, held.declared)
    return edit


def _end(status: ExperimentStatus) -> datetime | None:
    return None if status is ExperimentStatus.OPEN else now()


def _around(held: Held, own: Lifecycle) -> dict[str, Lifecycle]:
    """What decides whether it may be written to."""
    return {f"experiment {held.experiment.id}": own, f"project {held.experiment.project!r}": held.project_lifecycle}


def _found(held: Held | None, experiment: UUID) -> Held:
    if held is None:
        raise ExperimentNotFound(experiment)
    return held
