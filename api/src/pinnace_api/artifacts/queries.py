"""Artifacts in SQL."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, Select, bindparam, func, select, update

from pinnace.digests import Encoding
from pinnace.records import Artifact, ArtifactPage, Backend, ContentQuery, Location, Removal, Stored
from pinnace_api import in_lists, paging
from pinnace_api.artifacts.tables import ARTIFACTS
from pinnace_api.iterations.tables import ITERATIONS
from pinnace_api.paging import Cut, Moment, Number, Order
from pinnace_api.pods.tables import POD_ARTIFACTS
from pinnace_api.refusals import Gone
from pinnace_api.tables import insert_missing

_FIND_ALL = select(ARTIFACTS).where(ARTIFACTS.c.id.in_(bindparam("ids", expanding=True)))
#: When a content became that of its path for the last time.
SENT_LAST = func.coalesce(ARTIFACTS.c.sent_again_at, ARTIFACTS.c.recorded_at)
_HOLD = select(ARTIFACTS).where(ARTIFACTS.c.id == bindparam("id")).with_for_update(key_share=True)
_OF_ITERATION = Order(columns=(ARTIFACTS.c.recorded_at, ARTIFACTS.c.id), key=tuple[Moment, UUID])
_OF_EXPERIMENT = Order(
    columns=(ITERATIONS.c.number, ARTIFACTS.c.recorded_at, ARTIFACTS.c.id), key=tuple[Number, Moment, UUID]
)
_CONTENTS = (
    select(ARTIFACTS)
    .join_from(ITERATIONS, ARTIFACTS)
    .where(
        ARTIFACTS.c.sha256.in_(bindparam("digests", expanding=True)),
        ITERATIONS.c.experiment_id == bindparam("experiment"),
        ARTIFACTS.c.endpoint == bindparam("endpoint"),
        ARTIFACTS.c.bucket == bindparam("bucket"),
        ARTIFACTS.c.backend == Backend.S3.value,
        ARTIFACTS.c.deleted_at.is_(None),
    )
    .order_by(ARTIFACTS.c.recorded_at, ARTIFACTS.c.id)
)
_USER = (
    select(ARTIFACTS, ITERATIONS.c.experiment_id)
    .join_from(ARTIFACTS, ITERATIONS)
    .where(
        ARTIFACTS.c.backend == bindparam("backend"),
        ARTIFACTS.c.bucket == bindparam("bucket"),
        ARTIFACTS.c.key == bindparam("key"),
    )
    .order_by(ARTIFACTS.c.id)
    .limit(1)
    .with_for_update(read=True, of=ARTIFACTS)
)
_HOLD = select(ARTIFACTS).where(ARTIFACTS.c.id == bindparam("id")).with_for_update(key_share=True)
_NEWEST = (
    select(ARTIFACTS)
    .where(ARTIFACTS.c.iteration_id == bindparam("iteration"), ARTIFACTS.c.path == bindparam("path"))
    # One that is deleted only where there is no other.
    .order_by(
        ARTIFACTS.c.deleted_at.is_not(None), SENT_LAST.desc(), ARTIFACTS.c.modified_at.desc(), ARTIFACTS.c.id.desc()
    )
    .limit(1)
)


def add(connection: Connection, artifacts: Sequence[Artifact]) -> int:
    """How many were new. In the order of the ids, so that two transactions never wait for each other."""
    rows = [
        {
            "id": artifact.id,
            "iteration_id": artifact.iteration_id,
            "path": artifact.path,
            "size": artifact.size,
            "sha256": artifact.sha256,
            "crc32c": artifact.crc32c,
            **_location_values(artifact.location),
            "modified_at": artifact.modified_at,
            "suspect": artifact.suspect,
            "pod_uid": artifact.pod_uid,
            "recorded_at": artifact.recorded_at,
            "etag": artifact.etag,
            "content_type": artifact.content_type,
            "description": artifact.description,
            "tags": artifact.tags,
            "created_by": artifact.created_by,
            **_stored_values(artifact.stored),
        }
        for artifact in sorted(artifacts, key=lambda artifact: artifact.id)
    ]
    return insert_missing(connection, ARTIFACTS, rows)


def find_all(connection: Connection, artifacts: Collection[UUID]) -> dict[UUID, Artifact]:
    """Those of them that exist, deleted ones too."""
    return {
        row.id: record(row)
        for part in in_lists.parts(sorted(artifacts))
        for row in connection.execute(_FIND_ALL, {"ids": part})
    }


def find_contents(connection: Connection, experiment: UUID, query: ContentQuery) -> dict[str, Artifact]:
    """By SHA-256: the first artifact of the experiment that has this content in that bucket, where there is one."""
    digests = sorted({content.sha256 for content in query.contents})
    where = {"experiment": experiment, "endpoint": query.endpoint, "bucket": query.bucket}
    found: dict[str, Artifact] = {}
    for part in in_lists.parts(digests):
        for row in connection.execute(_CONTENTS, {"digests": part, **where}):
            found.setdefault(row.sha256, record(row))
    return found


def find_user(connection: Connection, location: Location) -> tuple[Artifact, UUID] | None:
    """An artifact whose bytes are the object at `location`, and its experiment; None: nobody needs the object.

    This is the one rule about shared objects: who removes rows may remove an object only after this says None in a
    transaction after theirs, and a row may point at another artifact's object only while this says somebody, in the
    transaction that adds it. That row can't be removed before the transaction (one that writes) ends. All who need an
    object are of one experiment. Endpoints don't count: one store may have several.
    """
    asked = {"backend": location.backend.value, "bucket": location.bucket, "key": location.key}
    row = connection.execute(_USER, asked).first()
    return None if row is None else (record(row), row.experiment_id)


def clear_suspicion(connection: Connection, artifact: UUID) -> None:
    connection.execute(update(ARTIFACTS).where(ARTIFACTS.c.id == artifact).values(suspect=False))


def hold(connection: Connection, artifact: UUID) -> tuple[Artifact, datetime | None] | None:
    """The artifact, held until the transaction ends, and when it was deleted; None: there never was such a one."""
    row = connection.execute(_HOLD, {"id": artifact}).one_or_none()
    return None if row is None else (record(row), row.deleted_at)


def find(connection: Connection, artifact: UUID) -> Artifact | None:
    """None also for a deleted one."""
    row = connection.execute(_FIND_ALL, {"ids": [artifact]}).one_or_none()
    return None if row is None or row.deleted_at is not None else record(row)


def find_to_read(connection: Connection, artifact: UUID) -> Artifact | None:
    """As `find`. Raises Gone for what a retention policy removed."""
    row = connection.execute(_FIND_ALL, {"ids": [artifact]}).one_or_none()
    return None if row is None else _there(row)


def newest(connection: Connection, iteration: UUID, path: str) -> Artifact | None:
    """The last that was sent under the path."""
    row = connection.execute(_NEWEST, {"iteration": iteration, "path": path}).one_or_none()
    return None if row is None or row.deleted_at is not None else record(row)


def newest_to_read(connection: Connection, iteration: UUID, path: str) -> Artifact | None:
    """As `newest`. Raises Gone when retention policies removed all that there was."""
    row = connection.execute(_NEWEST, {"iteration": iteration, "path": path}).one_or_none()
    return None if row is None else _there(row)


def check_kept(artifact: Artifact) -> None:
    """Raise Gone for what a retention policy removed."""
    removed = artifact.removed
    if removed is not None and removed.policy:
        raise Gone(
            f"artifact {artifact.id} was removed on {removed.at:%Y-%m-%d} by the retention policy {removed.policy!r} "
            f"({removed.by})",
            hint="its row stays; the bytes come back when the file is uploaded again",
        )


def _there(row: Row[Any]) -> Artifact | None:
    found = record(row)
    check_kept(found)
    return found if found.removed is None else None


def describe(connection: Connection, artifact: Artifact) -> None:
    """Keep what is said about it."""
    values = {"content_type": artifact.content_type, "description": artifact.description, "tags": artifact.tags}
    connection.execute(update(ARTIFACTS).where(ARTIFACTS.c.id == artifact.id).values(**values))


def record_again(connection: Connection, artifact: UUID, moment: datetime) -> None:
    """It is the newest of its path now, and not deleted; its number among the path's contents stays."""
    values = {"sent_again_at": moment, "deleted_at": None, "deleted_by": "", "deleted_policy": ""}
    connection.execute(update(ARTIFACTS).where(ARTIFACTS.c.id == artifact).values(**values))


def set_deleted(connection: Connection, artifact: UUID, moment: datetime, by: str) -> None:
    values = {"deleted_at": moment, "deleted_by": by}
    connection.execute(update(ARTIFACTS).where(ARTIFACTS.c.id == artifact).values(**values))


def relocate(connection: Connection, before: Location, sha256: str, after: Location, etag: str) -> int:
    """Let all artifacts whose bytes are at `before` say that they are, as they are, at `after`; how many those were."""
    statement = (
        update(ARTIFACTS)
        .where(
            ARTIFACTS.c.backend == before.backend.value,
            ARTIFACTS.c.bucket == before.bucket,
            ARTIFACTS.c.key == before.key,
            ARTIFACTS.c.sha256 == sha256,
        )
        .values(**_location_values(after), **_stored_values(None), etag=etag)
    )
    return connection.execute(statement).rowcount


def relocate_one(connection: Connection, artifact: Artifact) -> None:
    """Keep where its bytes are, and leave others' as they are."""
    where = {**_location_values(artifact.location), **_stored_values(artifact.stored)}
    values = {**where, "etag": artifact.etag, "leaving": None}
    connection.execute(update(ARTIFACTS).where(ARTIFACTS.c.id == artifact.id).values(**values))


def page_of_iteration(connection: Connection, iteration: UUID, cut: Cut) -> ArtifactPage:
    statement = select(ARTIFACTS).where(ARTIFACTS.c.iteration_id == iteration, ARTIFACTS.c.deleted_at.is_(None))
    return _page(connection, statement, _OF_ITERATION, cut)


def page_of_path(connection: Connection, iteration: UUID, path: str, *, newest: bool, cut: Cut) -> ArtifactPage:
    """The contents of one path with their numbers."""
    # Of those that came in one request, which are of one moment, the file's own time tells.
    counted = func.row_number().over(order_by=(ARTIFACTS.c.recorded_at, ARTIFACTS.c.modified_at, ARTIFACTS.c.id))
    contents = (
        select(ARTIFACTS, counted.label("version"))
        .where(ARTIFACTS.c.iteration_id == iteration, ARTIFACTS.c.path == path)
        .subquery()
    )
    order = Order(columns=(contents.c.version,), key=tuple[Number], descending=newest)
    # What is deleted keeps its number, so that others keep theirs.
    return _page(connection, select(contents).where(contents.c.deleted_at.is_(None)), order, cut)


def page_of_pod(connection: Connection, iteration: UUID, pod_uid: str, cut: Cut) -> ArtifactPage:
    statement = (
        select(ARTIFACTS)
        .join_from(POD_ARTIFACTS, ARTIFACTS, POD_ARTIFACTS.c.artifact_id == ARTIFACTS.c.id)
        .where(POD_ARTIFACTS.c.iteration_id == iteration, POD_ARTIFACTS.c.pod_uid == pod_uid)
    )
    return _page(connection, statement, _OF_ITERATION, cut)


def page_of_experiment(connection: Connection, experiment: UUID, cut: Cut) -> ArtifactPage:
    statement = (
        select(ARTIFACTS)
        .join_from(ITERATIONS, ARTIFACTS)
        .where(ITERATIONS.c.experiment_id == experiment, ARTIFACTS.c.deleted_at.is_(None))
    )
    return _page(connection, statement, _OF_EXPERIMENT, cut)


def _page(connection: Connection, statement: Select[Any], order: Order, cut: Cut) -> ArtifactPage:
    part = paging.fetch(connection, statement, order, cut)
    return ArtifactPage(items=tuple(record(row) for row in part.rows), next=part.next)


def record(row: Row[Any]) -> Artifact:
    """An artifact of a row with its columns, and `version` where that was asked for."""
    return Artifact(
        id=row.id,
        iteration_id=row.iteration_id,
        path=row.path,
        size=row.size,
        sha256=row.sha256,
        crc32c=row.crc32c,
        location=location_of(row),
        modified_at=row.modified_at,
        suspect=row.suspect,
        pod_uid=row.pod_uid,
        recorded_at=row.recorded_at,
        etag=row.etag,
        content_type=row.content_type,
        description=row.description,
        tags=row.tags,
        created_by=row.created_by,
        version=getattr(row, "version", None),
        stored=_stored(row),
        removed=_removal(row),
    )


def _removal(row: Row[Any]) -> Removal | None:
    if row.deleted_at is None:
        return None
    return Removal(at=row.deleted_at, by=row.deleted_by, policy=row.deleted_policy)


def _stored(row: Row[Any]) -> Stored | None:
    if row.stored_encoding is None:
        return None
    return Stored(
        encoding=Encoding(row.stored_encoding),
        size=row.stored_size,
        sha256=row.stored_sha256,
        crc32c=row.stored_crc32c,
    )


def _stored_values(stored: Stored | None) -> dict[str, Any]:
    return {
        "stored_encoding": stored and stored.encoding,
        "stored_size": stored and stored.size,
        "stored_sha256": stored and stored.sha256,
        "stored_crc32c": stored and stored.crc32c,
    }


def location_of(row: Row[Any]) -> Location:
    """Of any row that has the columns of one."""
    return Location(
        backend=Backend(row.backend), endpoint=row.endpoint, region=row.region, bucket=row.bucket, key=row.key
    )


def _location_values(location: Location) -> dict[str, str]:
    return {
        "backend": location.backend.value,
        "endpoint": location.endpoint,
        "region": location.region,
        "bucket": location.bucket,
        "key": location.key,
    }
