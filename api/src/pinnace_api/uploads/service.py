"""What may be done with uploads in several requests.

A piece that has arrived is bytes of its own, and a row that says where; so a piece may come by any replica, and
whatever is killed, what is recorded has arrived. When all has come, the pieces are read one after the other into the
artifact's bytes, compared like any upload, and thrown away.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from pinnace.records import Artifact, Location, Upload, UploadWrite
from pinnace_api.artifacts import service as artifacts
from pinnace_api.clock import now
from pinnace_api.database import Connection, Database
from pinnace_api.files import service as files
from pinnace_api.files.service import Incoming
from pinnace_api.refusals import BytesMissing, Conflict, Invalid, NotFound, OffsetMismatch
from pinnace_api.storage.backend import Written, write
from pinnace_api.storage.storage import Storage
from pinnace_api.uploads import queries


def put(
    database: Database, iteration: UUID, upload: UUID, write: UploadWrite, *, by: str, rests_seconds: int
) -> tuple[Upload, bool]:
    """Begin the upload; the bool says whether it is new. Another file under its id is a Conflict."""
    incoming = Incoming(iteration=iteration, path=write.path, content_type=write.content_type, by=by)
    files.check(database, incoming, _anything)
    until = now() + timedelta(seconds=rests_seconds)
    return database.write(_put, iteration, upload, write, by=by, until=until)


def get(database: Database, iteration: UUID, upload: UUID) -> Upload:
    with database.read() as connection:
        return _found(queries.find(connection, upload), iteration, upload)[0]


def check_offset(upload: Upload, offset: int) -> None:
    """Raise OffsetMismatch unless a piece that begins at `offset` is the next."""
    if upload.artifact_id is None and offset != upload.received:
        raise OffsetMismatch(upload.received)


def add_piece(database: Database, storage: Storage, upload: Upload, written: Written, *, rests_seconds: int) -> Upload:
    """Keep a piece that has arrived. Raises OffsetMismatch when another came in its place."""
    until = now() + timedelta(seconds=rests_seconds)
    try:
        return database.write(_add_piece, upload, written, until)
    except (OffsetMismatch, NotFound):
        files.discard(database, storage, written.location)
        raise


def complete(database: Database, storage: Storage, iteration: UUID, upload: UUID) -> tuple[Artifact, bool]:
    """Make the artifact of what has arrived; the bool says whether it is new. Safe to call twice, also at once."""
    with database.read() as connection:
        found, by = _found(queries.find(connection, upload), iteration, upload)
        pieces = queries.pieces(connection, upload)
    if found.artifact_id is not None:
        return artifacts.get(database, found.artifact_id), False
    if found.size is not None and found.size != found.received:
        raise Invalid(f"{found.received} bytes have arrived, and {found.size} were announced", field="size")
    incoming = Incoming(
        iteration=iteration,
        path=found.path,
        content_type=found.content_type,
        by=by,
        sha256=found.sha256 or "",
        size=found.size,
        modified_at=found.modified_at,
        suspect=found.suspect,
    )
    written = _put_together(storage, pieces, found.received)
    artifact, is_new = files.record(database, storage, incoming, written, _anything)
    database.write(queries.complete, upload, artifact.id)
    for _, location in pieces:
        files.discard(database, storage, location)
    return artifact, is_new


def delete(database: Database, storage: Storage, iteration: UUID, upload: UUID) -> None:
    """Throw away what has arrived. Raises NotFound."""
    with database.read() as connection:
        _found(queries.find(connection, upload), iteration, upload)
        pieces = queries.pieces(connection, upload)
    database.write(queries.remove, upload)
    for _, location in pieces:
        files.discard(database, storage, location)


def _put_together(storage: Storage, pieces: Sequence[tuple[int, Location]], size: int) -> Written:
    return write(storage.new, _blocks(storage, pieces), size)


def _blocks(storage: Storage, pieces: Sequence[tuple[int, Location]]) -> Iterator[bytes]:
    for size, location in pieces:
        store, position = storage.of(location), 0
        while position < size:
            block = store.read(location, position, min(store.block_bytes, size - position))
            if not block:
                raise BytesMissing(location)
            yield block
            position += len(block)


def _put(
    connection: Connection, iteration: UUID, upload: UUID, write: UploadWrite, *, by: str, until: datetime
) -> tuple[Upload, bool]:
    is_new = queries.add(connection, upload, iteration, write, by=by, until=until)
    stored, _ = _found(queries.find(connection, upload), iteration, upload)
    if any(getattr(stored, name) != getattr(write, name) for name in write.__struct_fields__):
        raise Conflict(f"upload {upload} is of another file", hint="take another id")
    return stored, is_new


def _add_piece(connection: Connection, upload: Upload, written: Written, until: datetime) -> Upload:
    held = queries.hold(connection, upload.id)
    if held is None:
        raise NotFound(f"there is no upload {upload.id}")
    if upload.received != held.received or held.artifact_id is not None:
        raise OffsetMismatch(held.received)
    queries.add_piece(connection, held, written.digest.size, written.location, until)
    stored = queries.find(connection, upload.id)
    assert stored is not None
    return stored[0]


def _found(found: tuple[Upload, str] | None, iteration: UUID, upload: UUID) -> tuple[Upload, str]:
    if found is None or found[0].iteration_id != iteration:
        raise NotFound(f"there is no upload {upload}", hint="its time may be over: begin again")
    return found


def _anything(_: str | None) -> None:
    """No condition."""
