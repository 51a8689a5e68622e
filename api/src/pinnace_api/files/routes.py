"""/iterations/{id}/files/{path} and /artifacts/{id}/bytes: contents up and down"""

import re
from typing import Annotated, Any, Final
from urllib.parse import unquote_to_bytes
from uuid import UUID

from litestar import Request, Response, get, head, put
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter

from pinnace.records import Artifact
from pinnace_api.artifacts import service as artifacts
from pinnace_api.files import conditions, service
from pinnace_api.files.answers import Download
from pinnace_api.files.presenting import headers_for, type_to_keep
from pinnace_api.files.transfers import Transfers
from pinnace_api.identity import Caller
from pinnace_api.openapi import created, refusals
from pinnace_api.refusals import Invalid
from pinnace_api.storage.reading import Reading

_Request = Request[Any, Any, Any]
_ANSWERS: Final = refusals(401, 403, 404, 409, 410, 416, 422, 500, 503)
_FILE: Final = "/iterations/{iteration_id:uuid}/files/{path:path}"
_BYTES: Final = "/artifacts/{artifact_id:uuid}/bytes"
#: How long an address for everybody works: enough to begin a download, which may then go on.
_PRESIGNED_SECONDS: Final = 300
_IN_PATH: Final = re.compile(rb"/iterations/[^/]+/files/(.*)\Z", re.DOTALL)

Redirect = Annotated[bool, QueryParameter(description="Be sent to the object store where the bytes lie in one")]


@put(
    _FILE,
    operation_id="put_file",
    summary="Upload a file",
    tags=["files"],
    responses=created(Artifact) | refusals(401, 403, 404, 408, 409, 412, 413, 422, 503, 507),
    request_max_body_size=None,
)
async def put_file(
    iteration_id: FromPath[UUID],
    path: FromPath[str],
    request: _Request,
    transfers: NamedDependency[Transfers],
    caller: NamedDependency[Caller],
) -> Response[Artifact]:
    """The body is the file, of any size: `curl -T model.bin URL`. Another content is another version of the path; the
    same content again is the same artifact (200).

    `X-Pinnace-Sha256` (hex) or `Repr-Digest: sha-256=:…:` is compared with what arrives. `If-None-Match: *` refuses a
    path that has a content, `If-Match: "SHA256"` one that has another.
    """
    del path  # the framework's spelling; ours has every byte
    incoming = _incoming(iteration_id, request, caller)
    if_match, if_none_match = _header(request, "if-match"), _header(request, "if-none-match")

    def condition(current: str | None) -> None:
        conditions.check_write(if_match, if_none_match, current)

    await transfers.run(service.check, transfers.database, incoming, condition)
    written = await transfers.receive(request, incoming.size)
    artifact, is_new = await transfers.run(
        service.record, transfers.database, transfers.storage, incoming, written, condition
    )
    headers = {"etag": conditions.etag(artifact.sha256), "location": f"/api/v1/artifacts/{artifact.id}"}
    return Response(artifact, status_code=201 if is_new else 200, headers=headers)


@get(
    _FILE,
    operation_id="get_file",
    summary="Download the newest content of a path",
    tags=["files"],
    responses=_ANSWERS,
    media_type="application/octet-stream",
)
async def get_file(
    iteration_id: FromPath[UUID],
    path: FromPath[str],
    request: _Request,
    transfers: NamedDependency[Transfers],
    redirect: Redirect = False,
) -> Download:
    """As /artifacts/{id}/bytes. Older versions: GET /iterations/{id}/artifacts?path=PATH."""
    del path
    artifact = await transfers.run(service.newest, transfers.database, iteration_id, _path(request))
    return await _answer(request, transfers, artifact, redirect=redirect)


@head(
    _FILE,
    operation_id="head_file",
    summary="What a download would be",
    tags=["files"],
    responses=_ANSWERS,
    media_type="application/octet-stream",
)
async def head_file(
    iteration_id: FromPath[UUID],
    path: FromPath[str],
    request: _Request,
    transfers: NamedDependency[Transfers],
) -> Response[None]:
    del path
    return _described(await transfers.run(service.newest, transfers.database, iteration_id, _path(request)))


@get(
    _BYTES,
    operation_id="get_bytes",
    summary="Download an artifact",
    tags=["files"],
    responses=_ANSWERS,
    media_type="application/octet-stream",
)
async def get_bytes(
    artifact_id: FromPath[UUID],
    request: _Request,
    transfers: NamedDependency[Transfers],
    redirect: Redirect = False,
) -> Download:
    """The ETag is the SHA-256; `Range`, `If-Range` and `If-None-Match` are understood. Everything is compared with the
    recorded digest on its way: bytes that are not those that were recorded end the connection before their end. Of a
    range of a content above 4 MiB nothing can be compared; `Repr-Digest` is what the whole must have.
    """
    artifact = await transfers.run(artifacts.get, transfers.database, artifact_id)
    return await _answer(request, transfers, artifact, redirect=redirect)


@head(
    _BYTES,
    operation_id="head_bytes",
    summary="What a download would be",
    tags=["files"],
    responses=_ANSWERS,
    media_type="application/octet-stream",
)
async def head_bytes(artifact_id: FromPath[UUID], transfers: NamedDependency[Transfers]) -> Response[None]:
    return _described(await transfers.run(artifacts.get, transfers.database, artifact_id))


async def _answer(request: _Request, transfers: Transfers, artifact: Artifact, *, redirect: bool) -> Download:
    headers = _headers(artifact)
    if conditions.is_match(_header(request, "if-none-match"), artifact.sha256):
        return Download(304, headers)
    store = await transfers.run(transfers.storage.of, artifact.location)
    if redirect and artifact.stored is None:  # nobody would unpack what comes from there
        shown = {name: headers[name] for name in ("content-type", "content-disposition")}
        address = await transfers.run(store.presigned, artifact.location, _PRESIGNED_SECONDS, shown)
        if address:
            return Download(307, {"location": address, "cache-control": "no-store", "content-length": "0"})
    span = conditions.span_of(_header(request, "range"), _header(request, "if-range"), artifact.sha256, artifact.size)
    start, stop = span or (0, artifact.size)
    reading = Reading(store, artifact, start, stop)
    first = await transfers.run(reading.next)
    headers["content-length"] = str(stop - start)
    if span:
        headers["content-range"] = f"bytes {start}-{stop - 1}/{artifact.size}"
    return Download(206 if span else 200, headers, transfers.send(reading, first))


def _described(artifact: Artifact) -> Download:
    return Download(200, _headers(artifact) | {"content-length": str(artifact.size)})


def _headers(artifact: Artifact) -> dict[str, str]:
    return {
        **headers_for(artifact.path, artifact.content_type),
        "accept-ranges": "bytes",
        "etag": conditions.etag(artifact.sha256),
        "repr-digest": conditions.digest_field(artifact.sha256),
        "x-pinnace-artifact": str(artifact.id),
    }


def _incoming(iteration: UUID, request: _Request, caller: Caller) -> service.Incoming:
    for name in ("content-encoding", "content-range"):
        if _header(request, name) not in ("", "identity"):
            raise Invalid("the body must be the whole file as it is", field=name)
    path = _path(request)
    length = _header(request, "content-length")
    return service.Incoming(
        iteration=iteration,
        path=path,
        content_type=type_to_keep(_header(request, "content-type"), path),
        by=str(caller),
        sha256=conditions.announced_sha256(
            _header(request, "x-pinnace-sha256"),
            [value for name in ("repr-digest", "content-digest") for value in request.headers.getall(name, [])],
        ),
        size=int(length) if length.isdecimal() else None,
    )


def _path(request: _Request) -> str:
    """The path as it was sent: the framework's has lost double slashes and bytes that are no UTF-8. Raises Invalid."""
    match = _IN_PATH.search(request.scope["raw_path"])
    assert match is not None
    try:
        path = unquote_to_bytes(match[1]).decode()
    except UnicodeDecodeError:
        raise Invalid("the path is not UTF-8", field="path", hint="spell each other byte as %25XX") from None
    if not 1 <= len(path) <= 4096:
        raise Invalid("a path has 1 to 4096 characters", field="path")
    return path


def _header(request: _Request, name: str) -> str:
    return request.headers.get(name, "")


ROUTES = (put_file, get_file, head_file, get_bytes, head_bytes)
