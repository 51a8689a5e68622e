"""/iterations/{id}/uploads/{id}: a file in several requests, taken up again where it broke off"""

from contextlib import aclosing
from typing import Annotated, Any, Final
from uuid import UUID

import msgspec
from litestar import Request, Response, delete, get, head, patch, put
from litestar.di import NamedDependency
from litestar.exceptions import HTTPException
from litestar.params import FromPath, HeaderParameter, JSONBody

from pinnace.records import Artifact, Upload, UploadWrite
from pinnace_api.database import Database
from pinnace_api.files.presenting import type_to_keep
from pinnace_api.files.transfers import Transfers
from pinnace_api.identity import Caller
from pinnace_api.openapi import created, refusals, without_body
from pinnace_api.refusals import Invalid, Stopping, TimedOut
from pinnace_api.storage.backend import Writer
from pinnace_api.uploads import service
from pinnace_api.values import check_number, utc

_UPLOAD: Final = "/iterations/{iteration_id:uuid}/uploads/{upload_id:uuid}"
#: A piece that arrives is kept after so many bytes, so that a server that dies loses no more of it.
PIECE_BYTES: Final = 64 * 2**20

UploadOffset = Annotated[int, HeaderParameter(name="upload-offset", ge=0, description="Where this piece begins")]
UploadComplete = Annotated[
    str,
    HeaderParameter(name="upload-complete", pattern=r"^\?[01]$", description="`?1`: nothing comes after this piece"),
]


@put(
    _UPLOAD,
    operation_id="put_upload",
    summary="Begin an upload in several requests",
    tags=["files"],
    responses=created(Upload) | refusals(401, 403, 404, 409, 413, 422, 503),
    sync_to_thread=True,
)
def put_upload(
    iteration_id: FromPath[UUID],
    upload_id: FromPath[UUID],
    data: JSONBody[UploadWrite],
    transfers: NamedDependency[Transfers],
    caller: NamedDependency[Caller],
) -> Response[Upload]:
    """Any UUID is the id. With a `size` it is complete when so much has arrived; without one the last piece says so."""
    kept = msgspec.structs.replace(
        data,
        size=None if data.size is None else check_number(data.size, "size"),
        content_type=type_to_keep(data.content_type, data.path),
        modified_at=None if data.modified_at is None else utc(data.modified_at, "modified_at"),
    )
    upload, is_new = service.put(
        transfers.database, iteration_id, upload_id, kept, by=str(caller), rests_seconds=transfers.rests_seconds
    )
    return Response(upload, status_code=201 if is_new else 200, headers=_headers(upload))


@get(
    _UPLOAD,
    operation_id="get_upload",
    summary="What of an upload has arrived",
    tags=["files"],
    responses=refusals(401, 403, 404, 503),
    sync_to_thread=True,
)
def get_upload(
    iteration_id: FromPath[UUID], upload_id: FromPath[UUID], database: NamedDependency[Database]
) -> Response[Upload]:
    upload = service.get(database, iteration_id, upload_id)
    return Response(upload, headers=_headers(upload))


@head(
    _UPLOAD,
    operation_id="head_upload",
    summary="Where an upload goes on",
    tags=["files"],
    responses=refusals(401, 403, 404, 503),
    sync_to_thread=True,
)
def head_upload(
    iteration_id: FromPath[UUID], upload_id: FromPath[UUID], database: NamedDependency[Database]
) -> Response[None]:
    """Upload-Offset is where the next piece begins."""
    return Response(None, headers=_headers(service.get(database, iteration_id, upload_id)))


@patch(
    _UPLOAD,
    operation_id="append_to_upload",
    summary="Send a piece of an upload",
    tags=["files"],
    responses=created(Artifact)
    | without_body("Kept; more is to come")
    | refusals(401, 403, 404, 408, 409, 413, 422, 503, 507),
    request_max_body_size=None,
)
async def append_to_upload(
    iteration_id: FromPath[UUID],
    upload_id: FromPath[UUID],
    request: Request[Any, Any, Any],
    transfers: NamedDependency[Transfers],
    *,
    offset: UploadOffset,
    complete: UploadComplete = "?0",
) -> Response[Any]:
    """The body is bytes from Upload-Offset on. What has arrived stays, even when the connection breaks: HEAD tells how
    much. The last piece makes the artifact and is answered with it; sent again without a body it is answered again.
    """
    upload = await transfers.run(service.get, transfers.database, iteration_id, upload_id)
    service.check_offset(upload, offset)
    if upload.artifact_id is None:
        upload = await _take(request, upload, transfers)
    if upload.artifact_id is None and upload.received != upload.size and complete != "?1":
        return Response(None, status_code=204, headers=_headers(upload))
    artifact, is_new = await transfers.run(
        service.complete, transfers.database, transfers.storage, iteration_id, upload_id
    )
    headers = {"upload-offset": str(artifact.size), "upload-complete": "?1", "etag": f'"{artifact.sha256}"'}
    return Response(artifact, status_code=201 if is_new else 200, headers=headers)


@delete(
    _UPLOAD,
    operation_id="delete_upload",
    summary="Give an upload up",
    tags=["files"],
    responses=refusals(401, 403, 404, 503),
    sync_to_thread=True,
)
def delete_upload(
    iteration_id: FromPath[UUID], upload_id: FromPath[UUID], transfers: NamedDependency[Transfers]
) -> None:
    """What has arrived is thrown away; an artifact that it has become stays."""
    service.delete(transfers.database, transfers.storage, iteration_id, upload_id)


async def _take(request: Request[Any, Any, Any], upload: Upload, transfers: Transfers) -> Upload:
    """Keep what comes, in pieces; when the connection breaks, what has come."""
    arriving = _Arriving(upload, transfers)
    try:
        async with aclosing(transfers.blocks(request)) as blocks:
            async for block in blocks:
                await arriving.add(block)
    except (HTTPException, TimedOut):
        await arriving.keep()  # the connection is at its end, the upload isn't
        raise
    except Stopping:
        await arriving.keep()
        raise Stopping(arriving.upload.received) from None
    else:
        await arriving.keep()
    finally:
        await arriving.give_up()
    return arriving.upload


class _Arriving:
    """The piece that is arriving. `upload` is what has been kept."""

    def __init__(self, upload: Upload, transfers: Transfers) -> None:
        self.upload = upload
        self._transfers = transfers
        self._writer: Writer | None = None
        self._size = 0

    async def add(self, block: bytes) -> None:
        total = self.upload.received + self._size + len(block)
        self._transfers.check_size(total)
        if self.upload.size is not None and total > self.upload.size:
            raise Invalid(f"the file has {self.upload.size} bytes, as was announced", field="size")
        if self._writer is None:
            self._writer = await self._transfers.run(self._transfers.storage.new.writer)
        await self._transfers.run(self._writer.write, block)
        self._size += len(block)
        if self._size >= PIECE_BYTES:
            await self.keep()

    async def keep(self) -> None:
        if self._writer is None:
            return
        run, transfers = self._transfers.run, self._transfers
        written = await run(self._writer.finish)
        self._writer, self._size = None, 0
        self.upload = await run(
            service.add_piece,
            transfers.database,
            transfers.storage,
            self.upload,
            written,
            rests_seconds=transfers.rests_seconds,
        )

    async def give_up(self) -> None:
        if self._writer is not None:
            await self._transfers.give_up(self._writer)


def _headers(upload: Upload) -> dict[str, str]:
    headers = {
        "upload-offset": str(upload.received),
        "upload-complete": "?0" if upload.artifact_id is None else "?1",
        "cache-control": "no-store",
    }
    return headers if upload.size is None else headers | {"upload-length": str(upload.size)}


ROUTES = (put_upload, get_upload, head_upload, append_to_upload, delete_upload)
