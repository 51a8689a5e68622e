"""The API's own description: what it is called, how one proves who one is, and which answers a route has."""

from collections.abc import Iterable
from importlib.metadata import version
from typing import Any, Final

import msgspec
from litestar import Litestar, Request, get
from litestar.openapi import OpenAPIConfig
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import Components, SecurityScheme, Tag

from pinnace.records import ProblemDetails
from pinnace_api.problems import MEDIA_TYPE

_MEANINGS: Final = {
    401: "No token, or one that nobody vouches for",
    403: "The token is good, but not for this",
    404: "There is no such thing (yet)",
    408: "The rest of the body did not come in time",
    409: "The id holds other content that may not change, or it has ended or lies in the trash; `code` says which",
    410: "A retention policy removed it; `detail` says when, by which and by whom",
    412: "The path's content is not what If-Match or If-None-Match says",
    413: "The body is too large",
    416: "There are no such bytes",
    422: "The request is wrong; `field` says where",
    429: "Too many wrong attempts; wait as long as Retry-After says",
    500: "The bytes are not those that were recorded",
    507: "There is no room for the bytes",
    503: "The database or Kubernetes can't be reached at the moment; try again",
}


#: What routes say that give contents of a type of their own.
_ANY_BYTES: Final = "application/octet-stream"


def config() -> OpenAPIConfig:
    return OpenAPIConfig(
        title="Pinnace metadata API",
        version=version("pinnace"),
        description=(
            "What was run, with which parameters, what it measured, and where every byte lies. Every write is a PUT "
            "with the caller's id: 201 the first time, 200 when it is there already, 409 when the id holds something "
            "else. Every edit is a PATCH with a JSON merge patch; a DELETE can be sent again. Lists come in pages: "
            "`next` of one page is `after` of the following. Every error is an application/problem+json with a stable "
            "`code`."
        ),
        render_plugins=[JsonRenderPlugin()],  # `describe` serves it; the framework's own routes have no rule
        use_handler_docstrings=True,
        components=Components(
            security_schemes={
                "bearer": SecurityScheme(
                    type="http",
                    scheme="bearer",
                    description=(
                        "A session's token (POST /api/v1/session), a personal token, the admin's token, or a "
                        "service-account token of the audience `pinnace-api`"
                    ),
                )
            }
        ),
        tags=[
            Tag(name="sessions", description="Logging in and out"),
            Tag(name="users"),
            Tag(name="tokens", description="What users give to their programs"),
            Tag(name="members", description="Who is what to a project"),
            Tag(name="audit"),
            Tag(name="projects"),
            Tag(name="experiments"),
            Tag(name="iterations"),
            Tag(name="artifacts"),
            Tag(name="files", description="Artifacts' bytes, up and down"),
            Tag(name="metrics"),
            Tag(name="datasets"),
            Tag(name="models", description="Registered models: versions, stages, aliases"),
            Tag(name="retention", description="What is removed by rule, and what nothing may remove"),
            Tag(name="pods"),
            Tag(name="health", description="For Kubernetes and Prometheus; needs no token"),
        ],
    )


def created(record: Any) -> dict[int, ResponseSpec]:
    """The second answer of a PUT: what was sent was new."""
    return {201: ResponseSpec(record, generate_examples=False, description="Created")}


def without_body(description: str) -> dict[int, ResponseSpec]:
    """A second answer that has nothing to say."""
    return {204: ResponseSpec(None, generate_examples=False, description=description)}


def refusals(*statuses: int) -> dict[int, ResponseSpec]:
    """The error responses of a route."""
    return {
        status: ResponseSpec(
            ProblemDetails,
            generate_examples=False,
            description=_MEANINGS[status],
            media_type=MEDIA_TYPE,
        )
        for status in statuses
    }


def correct(app: Litestar) -> None:
    """Put right in the document what the framework assumes and this API does otherwise: 400 for wrong input, a body
    where it says that none follows, one type for contents of any.
    """
    for path in (app.openapi_schema.paths or {}).values():
        for operation in _operations(path):
            responses = operation.responses or {}
            responses.pop("400", None)
            if "204" in responses:
                responses["204"].content = None
            contents = getattr(responses.get("200"), "content", None) or {}
            if _ANY_BYTES in contents:
                contents["*/*"] = contents.pop(_ANY_BYTES)


@get("/openapi.json", operation_id="openapi", include_in_schema=False, sync_to_thread=False)
def describe(request: Request[Any, Any, Any]) -> dict[str, Any]:
    return request.app.openapi_schema.to_schema()


def document(app: Litestar) -> str:
    """The document as it is committed: JSON with sorted keys, so that a difference shows the change only."""
    text = msgspec.json.encode(app.openapi_schema.to_schema(), order="sorted")
    return msgspec.json.format(text, indent=2).decode() + "\n"


def _operations(path: Any) -> Iterable[Any]:
    return (operation for operation in (path.get, path.head, path.put, path.post, path.patch, path.delete) if operation)
