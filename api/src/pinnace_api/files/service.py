"""What becomes of bytes that have arrived, and which bytes are asked for."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import msgspec

from pinnace import ids
from pinnace.records import Artifact, Location
from pinnace_api.artifacts import queries
from pinnace_api.artifacts.service import check_path
from pinnace_api.clock import now
from pinnace_api.database import Connection, Database
from pinnace_api.iterations import queries as iterations
from pinnace_api.iterations.standing import Standing
from pinnace_api.refusals import Invalid, IterationNotFound, NotFound, Refused, StorageUnknown, Unavailable
from pinnace_api.storage.backend import Written
from pinnace_api.storage.storage import Storage
from pinnace_api.uploads import queries as uploads

_log = logging.getLogger(__name__)

#: Raises PreconditionFailed for the SHA-256 of the path's current content, None when it has none.
Condition = Callable[[str | None], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming:
    """A file that somebody uploads. `sha256` and `size` are what was announced: empty and None where nothing was."""

    iteration: UUID
    path: str
    content_type: str
    by: str
    sha256: str = ""
    size: int | None = None
    #: What the artifact says of itself; None: now.
    modified_at: datetime | None = None
    suspect: bool = False


def check(database: Database, incoming: Incoming, condition: Condition) -> None:
    """Raise what would refuse the file, before its bytes are taken: IterationNotFound, Trashed, Invalid, …"""
    check_path(incoming.path, "path")
    with database.read() as connection:
        _check(connection, incoming, condition, iterations.standing_now(connection, incoming.iteration))


def record(
    database: Database, storage: Storage, incoming: Incoming, written: Written, condition: Condition
) -> tuple[Artifact, bool]:
    """Let the artifact name the bytes that are there; the bool says whether it is new.

    The same content of the same path is the same artifact: then it keeps the bytes that it has, unless they are gone.
    Bytes that nothing names in the end are removed. Raises Invalid for another content than was announced, and what
    `check` raises.
    """
    digest = written.digest
    artifact = Artifact(
        id=ids.artifact_id(incoming.iteration, incoming.path, digest.sha256),
        iteration_id=incoming.iteration,
        path=incoming.path,
        size=digest.size,
        sha256=digest.sha256,
        crc32c=digest.crc32c,
        location=written.location,
        modified_at=incoming.modified_at or now(),
        suspect=incoming.suspect,
        etag=written.etag,
        content_type=incoming.content_type,
        created_by=incoming.by,
    )
    try:
        _compare(incoming, written)
        replaced = _lost(database, storage, artifact)
        stored, is_new, left = database.write(_record, incoming, artifact, replaced, condition)
    except Unavailable:
        # The row may be there all the same: then the bytes are needed. Otherwise the garbage collector finds them.
        raise
    except Refused:
        discard(database, storage, written.location)
        raise
    if left is not None:
        discard(database, storage, left)
    return stored, is_new


def discard(database: Database, storage: Storage, location: Location) -> None:
    """Remove bytes unless somebody needs them. Never raises: what stays is found by the garbage collector."""
    try:
        if database.write(needs, location):
            return
        storage.of(location).delete(location)
    except Refused as refused:
        _log.warning("bytes.left", extra={"fields": {"key": location.key, "cause": refused.detail}})


def needs(connection: Connection, location: Location) -> bool:
    """Whether anybody needs the bytes at `location`."""
    return queries.find_user(connection, location) is not None or uploads.needs(connection, location)


def newest(database: Database, iteration: UUID, path: str) -> Artifact:
    """The last content of the path. Raises NotFound, Gone."""
    with database.read() as connection:
        found = queries.newest_to_read(connection, iteration, path) if "\0" not in path else None
        if found is None and not iterations.exists(connection, iteration):
            raise IterationNotFound(iteration)
    if found is None:
        raise NotFound("the iteration has no such file", field="path")
    return found


def _check(connection: Connection, incoming: Incoming, condition: Condition, standing: Standing | None) -> None:
    if standing is None:
        raise IterationNotFound(incoming.iteration)
    standing.check_writable()
    current = queries.newest(connection, incoming.iteration, incoming.path)
    condition(None if current is None else current.sha256)


def _compare(incoming: Incoming, written: Written) -> None:
    digest = written.digest
    if incoming.size is not None and incoming.size != digest.size:
        raise Invalid(f"{digest.size} bytes arrived, and {incoming.size} were announced", field="size")
    if incoming.sha256 and incoming.sha256 != digest.sha256:
        raise Invalid(
            f"what arrived has the SHA-256 {digest.sha256}, and {incoming.sha256} was announced",
            field="sha256",
            hint="nothing was recorded; send it again",
        )


def _lost(database: Database, storage: Storage, artifact: Artifact) -> Location | None:
    """Where the artifact's bytes should be and are not; None: they are there, or there is no such artifact."""
    with database.read() as connection:
        there = queries.find(connection, artifact.id)
    if there is None:
        return None
    try:
        held = storage.of(there.location).size(there.location)
    except StorageUnknown:
        return None
    return None if held == there.object_size else there.location


def _record(
    connection: Connection, incoming: Incoming, artifact: Artifact, lost: Location | None, condition: Condition
) -> tuple[Artifact, bool, Location | None]:
    """The artifact as stored, whether it is new, and bytes that it doesn't need (any more)."""
    _check(connection, incoming, condition, iterations.standing(connection, incoming.iteration))
    artifact = msgspec.structs.replace(artifact, recorded_at=now())
    if queries.add(connection, [artifact]):
        return artifact, True, None
    held = queries.hold(connection, artifact.id)
    assert held is not None
    stored, deleted_at = held
    left: Location = artifact.location
    if deleted_at is not None or stored.location == lost:
        left = stored.location
        queries.relocate_one(connection, artifact)
        stored = msgspec.structs.replace(stored, location=artifact.location, etag=artifact.etag, stored=None)
    if stored.suspect and not artifact.suspect:
        queries.clear_suspicion(connection, artifact.id)
        stored = msgspec.structs.replace(stored, suspect=False)
    current = queries.newest(connection, incoming.iteration, incoming.path)
    if current is None or current.id != artifact.id:
        queries.record_again(connection, artifact.id, artifact.recorded_at or now())
    return stored, deleted_at is not None, left
