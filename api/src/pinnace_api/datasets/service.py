"""What may be done with datasets."""

from collections.abc import Collection
from functools import partial
from typing import TypeVar
from uuid import UUID

import msgspec

from pinnace import ids
from pinnace.records import (
    Dataset,
    DatasetPage,
    DatasetPatch,
    DatasetRole,
    DatasetUse,
    DatasetUsePage,
    DatasetUseWrite,
    DatasetWrite,
    Direction,
    Lineage,
)
from pinnace_api.artifacts import queries as artifacts
from pinnace_api.clock import now
from pinnace_api.database import Connection, Database
from pinnace_api.datasets import lineage_queries, queries
from pinnace_api.datasets.lineage import MAX_STEPS, Questions, follow
from pinnace_api.edits import check_tags, check_writable, edited_tags, edited_text
from pinnace_api.iterations import queries as iterations
from pinnace_api.iterations.standing import Standing
from pinnace_api.paging import Cut
from pinnace_api.projects import queries as projects
from pinnace_api.refusals import Conflict, Invalid, IterationNotFound, NotFound
from pinnace_api.values import canonical, check_json, check_text

_T = TypeVar("_T")

#: What a content can't be without being another content.
_FACTS = ("rows", "columns", "bytes", "features")


def put(database: Database, dataset: UUID, write: DatasetWrite, *, by: str) -> tuple[Dataset, bool]:
    """Create the dataset (and its project). Other facts of the same content are a Conflict. The bool: it is new."""
    if dataset != ids.dataset_id(write.project, write.name, write.digest):
        raise Invalid(
            "this dataset has another id",
            field="digest",
            hint="the id is the UUIDv5 of DIGEST:NAME in the name space of the project's id",
        )
    for field in ("name", "digest", "source", "description"):
        check_text(getattr(write, field), field)
    check_json(write.features, "features")
    check_tags(write.tags)
    return database.write(_put, dataset, write, by)


def patch(database: Database, dataset: UUID, change: DatasetPatch) -> Dataset:
    """Edit it. Raises NotFound, Trashed, Invalid."""
    return database.write(_patch, dataset, change)


def get(database: Database, dataset: UUID) -> Dataset:
    with database.read() as connection:
        return _found(queries.find(connection, dataset), dataset)


def page(
    database: Database, *, project: str | None, name: str | None, visible: Collection[UUID] | None, cut: Cut
) -> DatasetPage:
    """The newest first, of the visible projects; None: of all."""
    for field, text in (("project", project), ("name", name)):
        check_text(text or "", field)
    with database.read() as connection:
        return queries.page(connection, project=project, name=name, visible=visible, cut=cut)


def put_use(
    database: Database, iteration: UUID, dataset: UUID, use: DatasetUseWrite, *, by_part: bool = False
) -> tuple[DatasetUse, bool]:
    """Say that the iteration consumed or produced the dataset, while it is open. The bool: that is new.

    Sent again it changes artifact and context; another role is a Conflict.
    """
    check_text(use.context, "context")
    return database.write(_put_use, iteration, dataset, use, by_part)


def delete_use(database: Database, iteration: UUID, dataset: UUID) -> None:
    """Take that back, while the iteration is open; nothing changes where it was never said."""
    database.write(_delete_use, iteration, dataset)


def uses_of_iteration(database: Database, iteration: UUID, cut: Cut) -> DatasetUsePage:
    with database.read() as connection:
        iterations.check_exists(connection, iteration)
        return queries.uses_of_iteration(connection, iteration, cut)


def uses_of_dataset(database: Database, dataset: UUID, cut: Cut) -> DatasetUsePage:
    with database.read() as connection:
        _found(queries.find(connection, dataset), dataset)
        return queries.uses_of_dataset(connection, dataset, cut)


def lineage(database: Database, artifact: UUID, direction: Direction, depth: int) -> Lineage:
    """The uses of datasets that led to the artifact, or that it led to. Raises NotFound."""
    with database.read() as connection:
        maker = queries.maker(connection, artifact)
        if maker is None:
            raise NotFound(f"there is no artifact {artifact}")
        most = MAX_STEPS + 1
        ask = Questions(
            by_iterations=partial(lineage_queries.by_iterations, connection, most=most),
            by_datasets=partial(lineage_queries.by_datasets, connection, most=most),
            makers=partial(lineage_queries.makers, connection),
        )
        if direction is Direction.UPSTREAM:
            begin = ask.by_iterations({maker[0]}, DatasetRole.CONSUMED)
        else:
            begin = lineage_queries.by_artifact(connection, artifact, most=most)
        return follow(direction, begin, ask, depth=depth)


def _put(connection: Connection, dataset: UUID, write: DatasetWrite, by: str) -> tuple[Dataset, bool]:
    moment = now()
    projects.add(connection, write.project, by=by, at=moment)
    is_new = queries.add(connection, dataset, write, by=by, at=moment)
    stored = _found(queries.find(connection, dataset), dataset)
    _check_project(connection, write.project)
    for field in _FACTS:
        if canonical(getattr(stored, field)) != canonical(getattr(write, field)):
            raise Conflict(
                f"the {field} of dataset {stored.name!r} with the digest {stored.digest!r} are others",
                field=field,
                hint="another content has another digest",
            )
    return stored, is_new


def _patch(connection: Connection, dataset: UUID, change: DatasetPatch) -> Dataset:
    stored = _found(queries.hold(connection, dataset), dataset)
    _check_project(connection, stored.project)
    edition = msgspec.structs.replace(
        stored,
        source=edited_text(stored.source, change.source, "source"),
        description=edited_text(stored.description, change.description, "description"),
        tags=edited_tags(stored.tags, change.tags),
    )
    if edition != stored:
        queries.edit(connection, edition)
    return edition


def _put_use(
    connection: Connection, iteration: UUID, dataset: UUID, use: DatasetUseWrite, by_part: bool
) -> tuple[DatasetUse, bool]:
    standing = _standing(connection, iteration)
    if not by_part:
        standing.check_open()
    if _found(queries.find(connection, dataset), dataset).project != standing.project:
        raise Invalid(
            f"dataset {dataset} belongs to another project", field="dataset_id", hint="put it into this project too"
        )
    if use.artifact_id is not None:
        _check_artifact(connection, standing, use.role, use.artifact_id)
    is_new = queries.add_use(connection, iteration, dataset, use, now())
    stored = _found(queries.find_use(connection, iteration, dataset), dataset)
    if stored.role is not use.role:
        raise Conflict(
            f"iteration {iteration} has {stored.role} this dataset", field="role", hint="delete that use first"
        )
    if (stored.artifact_id, stored.context) != (use.artifact_id, use.context):
        queries.set_use(connection, iteration, dataset, artifact=use.artifact_id, context=use.context)
        stored = msgspec.structs.replace(stored, artifact_id=use.artifact_id, context=use.context)
    return stored, is_new


def _delete_use(connection: Connection, iteration: UUID, dataset: UUID) -> None:
    _standing(connection, iteration).check_open()
    queries.delete_use(connection, iteration, dataset)


def _check_artifact(connection: Connection, standing: Standing, role: DatasetRole, artifact: UUID) -> None:
    iteration, project = queries.maker(connection, artifact) or (None, "")
    # Held, so that nobody removes it meanwhile.
    there = artifacts.hold(connection, artifact)
    if project != standing.project or there is None or there[1] is not None:
        raise Invalid(
            f"there is no artifact {artifact} in this project", field="artifact_id", hint="record the artifact first"
        )
    if role is DatasetRole.PRODUCED and iteration != standing.iteration:
        raise Invalid("another iteration produced this artifact", field="artifact_id")


def _check_project(connection: Connection, name: str) -> None:
    project = projects.find(connection, name)
    if project is not None:
        check_writable({f"project {name!r}": project.lifecycle})


def _standing(connection: Connection, iteration: UUID) -> Standing:
    standing = iterations.standing(connection, iteration)
    if standing is None:
        raise IterationNotFound(iteration)
    return standing


def _found(value: _T | None, dataset: UUID) -> _T:
    if value is None:
        raise NotFound(f"there is no dataset {dataset}")
    return value
