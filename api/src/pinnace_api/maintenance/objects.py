"""Bytes and the rows that name them, in SQL."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec
from sqlalchemy import Connection, Row, Select, and_, bindparam, select, update

from pinnace.records import Artifact, Backend, Location
from pinnace_api.artifacts import queries
from pinnace_api.artifacts.tables import ARTIFACTS
from pinnace_api.database import Database
from pinnace_api.experiments.tables import EXPERIMENTS
from pinnace_api.holds import queries as holds
from pinnace_api.iterations.tables import ITERATIONS
from pinnace_api.model_versions import protection
from pinnace_api.projects.tables import PROJECTS
from pinnace_api.storage.storage import Storage
from pinnace_api.uploads import queries as uploads

_BATCH: Final = 500
#: What a row that needs its bytes no more says: whoever removes the object says so by `let_go`.
LETTING_GO: Final = {"leaving": ARTIFACTS.c.backend, "backend": Backend.NONE.value}
_SHARE_PROJECT: Final = (
    select(PROJECTS.c.id)
    .join_from(ARTIFACTS, ITERATIONS)
    .join(EXPERIMENTS)
    .join(PROJECTS)
    .where(ARTIFACTS.c.id == bindparam("id"))
    .with_for_update(read=True, of=PROJECTS)
)


class Placed(msgspec.Struct, frozen=True, kw_only=True):
    """An artifact, and where people look for it."""

    artifact: Artifact
    experiment: str
    experiment_id: UUID
    number: int
    #: When it became the content of its path for the last time.
    since: datetime


def in_other_places(database: Database, backend: Backend) -> Iterator[Artifact]:
    """Artifacts whose bytes are not in `backend`, by id; deleted ones too, as long as they have bytes."""
    statement = select(ARTIFACTS).where(ARTIFACTS.c.backend.not_in((backend.value, Backend.NONE.value)))
    for row in _rows(database, statement):
        yield queries.record(row)


def all_kept(database: Database) -> Iterator[Artifact]:
    """Artifacts that are not deleted, by id."""
    for row in _rows(database, select(ARTIFACTS).where(ARTIFACTS.c.deleted_at.is_(None))):
        yield queries.record(row)


def all_placed(database: Database, experiment: UUID | None, iteration: UUID | None) -> Iterator[Placed]:
    """Artifacts that are not deleted, with the experiment's name and the iteration's number."""
    statement = (
        select(
            ARTIFACTS,
            EXPERIMENTS.c.name.label("experiment"),
            ITERATIONS.c.experiment_id,
            ITERATIONS.c.number,
            queries.SENT_LAST.label("since"),
        )
        .join_from(ARTIFACTS, ITERATIONS, ARTIFACTS.c.iteration_id == ITERATIONS.c.id)
        .join(EXPERIMENTS, ITERATIONS.c.experiment_id == EXPERIMENTS.c.id)
        .where(ARTIFACTS.c.deleted_at.is_(None))
    )
    if experiment is not None:
        statement = statement.where(ITERATIONS.c.experiment_id == experiment)
    if iteration is not None:
        statement = statement.where(ITERATIONS.c.id == iteration)
    for row in _rows(database, statement):
        yield Placed(
            artifact=queries.record(row),
            experiment=row.experiment,
            experiment_id=row.experiment_id,
            number=row.number,
            since=row.since,
        )


def deleted_before(database: Database, moment: datetime) -> Iterator[Artifact]:
    """Artifacts that were deleted before `moment` and still have bytes."""
    statement = select(ARTIFACTS).where(
        and_(ARTIFACTS.c.deleted_at < moment, ARTIFACTS.c.backend != Backend.NONE.value)
    )
    for row in _rows(database, statement):
        yield queries.record(row)


def purge(connection: Connection, artifact: Artifact, moment: datetime) -> bool:
    """Let a deleted artifact name no bytes any more.

    False when it has come back, or its bytes have moved, or a version of a model or a legal hold needs it.
    """
    at = artifact.location
    # Who sets a hold has the project to himself.
    connection.execute(_SHARE_PROJECT, {"id": artifact.id})
    if protection.kept_artifacts(connection, [artifact.id]) or holds.held_artifacts(connection, [artifact.id]):
        return False
    statement = (
        update(ARTIFACTS)
        .where(
            ARTIFACTS.c.id == artifact.id,
            ARTIFACTS.c.deleted_at < moment,
            ARTIFACTS.c.backend == at.backend.value,
            ARTIFACTS.c.bucket == at.bucket,
            ARTIFACTS.c.key == at.key,
        )
        .values(**LETTING_GO)
    )
    return connection.execute(statement).rowcount == 1


def needs(connection: Connection, location: Location) -> bool:
    """Whether an artifact or an upload needs the bytes at `location`."""
    return queries.find_user(connection, location) is not None or uploads.needs(connection, location)


def leaving(database: Database) -> Iterator[Location]:
    """Objects that rows let go of, and nobody said yet that they are removed."""
    for row in _rows(database, select(ARTIFACTS).where(ARTIFACTS.c.leaving.is_not(None))):
        yield msgspec.structs.replace(queries.location_of(row), backend=Backend(row.leaving))


def release(database: Database, storage: Storage, location: Location) -> bool:
    """Remove an object that rows let go of, unless others need it; whether it was removed. Raises Refused: then
    `leaving` goes on to tell of it.
    """
    is_free = not database.write(needs, location)
    if is_free:
        storage.of(location).delete(location)
    database.write(_let_go, location)
    return is_free


def _let_go(connection: Connection, location: Location) -> None:
    connection.execute(
        update(ARTIFACTS)
        .where(
            ARTIFACTS.c.leaving == location.backend.value,
            ARTIFACTS.c.bucket == location.bucket,
            ARTIFACTS.c.key == location.key,
        )
        .values(leaving=None)
    )


def _rows(database: Database, statement: Select[Any]) -> Iterator[Row[Any]]:
    """By id, a batch at a time: no transaction stays open while bytes are moved."""
    ordered = statement.order_by(ARTIFACTS.c.id).limit(_BATCH)
    rows: list[Row[Any]] = []
    while True:
        following = ordered.where(ARTIFACTS.c.id > rows[-1].id) if rows else ordered
        with database.read() as connection:
            rows = list(connection.execute(following))
        yield from rows
        if len(rows) < _BATCH:
            return
