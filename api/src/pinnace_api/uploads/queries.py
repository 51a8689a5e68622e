"""Uploads in SQL."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, bindparam, delete, insert, select, update

from pinnace.records import Backend, Location, Upload, UploadWrite
from pinnace_api.tables import insert_missing
from pinnace_api.uploads.tables import UPLOAD_PIECES, UPLOADS

_FIND = select(UPLOADS).where(UPLOADS.c.id == bindparam("id"))
_HOLD = _FIND.with_for_update()
_PIECES = select(UPLOAD_PIECES).where(UPLOAD_PIECES.c.upload_id == bindparam("id")).order_by(UPLOAD_PIECES.c.start)
_NEEDS = (
    select(UPLOAD_PIECES.c.upload_id)
    .where(
        UPLOAD_PIECES.c.backend == bindparam("backend"),
        UPLOAD_PIECES.c.bucket == bindparam("bucket"),
        UPLOAD_PIECES.c.key == bindparam("key"),
    )
    .limit(1)
)


def add(connection: Connection, upload: UUID, iteration: UUID, write: UploadWrite, *, by: str, until: datetime) -> bool:
    """Whether it was new. Its iteration must exist."""
    row = {
        "id": upload,
        "iteration_id": iteration,
        "path": write.path,
        "content_type": write.content_type,
        "size": write.size,
        "sha256": write.sha256 or "",
        "received": 0,
        "created_by": by,
        "expires_at": until,
        "artifact_id": None,
        "modified_at": write.modified_at,
        "suspect": write.suspect,
    }
    return insert_missing(connection, UPLOADS, [row]) == 1


def find(connection: Connection, upload: UUID) -> tuple[Upload, str] | None:
    """The upload, and who began it."""
    row = connection.execute(_FIND, {"id": upload}).one_or_none()
    return None if row is None else (_record(row), row.created_by)


def hold(connection: Connection, upload: UUID) -> Upload | None:
    """The same, held until the transaction ends."""
    row = connection.execute(_HOLD, {"id": upload}).one_or_none()
    return None if row is None else _record(row)


def add_piece(connection: Connection, upload: Upload, size: int, location: Location, until: datetime) -> None:
    """What goes on where the upload ended."""
    connection.execute(
        insert(UPLOAD_PIECES).values(
            upload_id=upload.id,
            start=upload.received,
            size=size,
            backend=location.backend.value,
            endpoint=location.endpoint,
            region=location.region,
            bucket=location.bucket,
            key=location.key,
        )
    )
    connection.execute(
        update(UPLOADS).where(UPLOADS.c.id == upload.id).values(received=upload.received + size, expires_at=until)
    )


def pieces(connection: Connection, upload: UUID) -> Sequence[tuple[int, Location]]:
    """The size of each, and where it lies, in order."""
    return [(row.size, _location(row)) for row in connection.execute(_PIECES, {"id": upload})]


def complete(connection: Connection, upload: UUID, artifact: UUID) -> None:
    """It has become the artifact, and its pieces are needed no more."""
    connection.execute(delete(UPLOAD_PIECES).where(UPLOAD_PIECES.c.upload_id == upload))
    connection.execute(update(UPLOADS).where(UPLOADS.c.id == upload).values(artifact_id=artifact))


def remove(connection: Connection, upload: UUID) -> None:
    connection.execute(delete(UPLOAD_PIECES).where(UPLOAD_PIECES.c.upload_id == upload))
    connection.execute(delete(UPLOADS).where(UPLOADS.c.id == upload))


def expired(connection: Connection, moment: datetime) -> list[UUID]:
    """Those whose time was over at `moment`."""
    return list(connection.execute(select(UPLOADS.c.id).where(UPLOADS.c.expires_at <= moment)).scalars())


def needs(connection: Connection, location: Location) -> bool:
    """Whether a piece of an upload lies there."""
    asked = {"backend": location.backend.value, "bucket": location.bucket, "key": location.key}
    return connection.execute(_NEEDS, asked).first() is not None


def _location(row: Row[Any]) -> Location:
    return Location(
        backend=Backend(row.backend), endpoint=row.endpoint, region=row.region, bucket=row.bucket, key=row.key
    )


def _record(row: Row[Any]) -> Upload:
    return Upload(
        id=row.id,
        iteration_id=row.iteration_id,
        path=row.path,
        size=row.size,
        sha256=row.sha256 or None,
        content_type=row.content_type,
        modified_at=row.modified_at,
        suspect=row.suspect,
        received=row.received,
        expires_at=row.expires_at,
        artifact_id=row.artifact_id,
    )
