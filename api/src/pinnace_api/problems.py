"""Refusals as problem documents (RFC 9457): the one place that writes an error response."""

import logging
import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException

from pinnace.records import ProblemDetails
from pinnace_api.logs import REQUEST_ID
from pinnace_api.refusals import Broken, Invalid, MethodNotAllowed, NotFound, Refused, TooLarge

MEDIA_TYPE: Final = "application/problem+json"

_log = logging.getLogger(__name__)


def answer_refusal(_: Request[Any, Any, Any], refused: Refused) -> Response[ProblemDetails]:
    problem = msgspec.structs.replace(refused.to_problem(), request_id=REQUEST_ID.get())
    return Response(problem, status_code=refused.status, media_type=MEDIA_TYPE, headers=dict(refused.headers))


def answer_framework(request: Request[Any, Any, Any], error: HTTPException) -> Response[ProblemDetails]:
    """What the framework itself refuses: unknown routes, wrong methods, wrong query fields, long bodies."""
    response = answer_refusal(request, _from_framework(error))
    response.headers.update(error.headers or {})
    return response


def answer_defect(request: Request[Any, Any, Any], error: Exception) -> Response[ProblemDetails]:
    _log.error("request.broken", exc_info=error, extra={"fields": {"path": request.scope["path"]}})
    return answer_refusal(
        request, Broken("the API failed at this; its log says why", hint="look for the answer's x-request-id there")
    )


EXCEPTION_HANDLERS: Final[Mapping[int | type[Exception], Any]] = {
    Refused: answer_refusal,
    HTTPException: answer_framework,
    Exception: answer_defect,
}


_KEY = re.compile(r"[^\w.\[\]]")
_MISSING = re.compile(r"Missing required query parameter '(\w+)'")


def _from_framework(error: HTTPException) -> Refused:
    match error.status_code:
        case 404:
            return NotFound("there is nothing at this address", hint="/openapi.json lists every route")
        case 405:
            return MethodNotAllowed("this address does not take this method", hint="/openapi.json lists every route")
        case 413:
            return TooLarge("the body is too large", hint="send it in smaller batches")
        case status if 400 <= status < 500:
            return _invalid(error)
        case _:
            return Broken("the API failed at this; its log says why")


def _invalid(error: HTTPException) -> Invalid:
    first = error.extra[0] if isinstance(error.extra, list) and error.extra else {}
    key = _KEY.sub("", str(first.get("key", ""))) if isinstance(first, dict) else ""
    if key == "data":
        return Invalid("the request needs a body: a JSON object", hint="/openapi.json describes it")
    if missing := _MISSING.match(error.detail):
        return Invalid("the query needs this field", field=missing[1], hint="/openapi.json describes it")
    message = str(first.get("message", "")) if isinstance(first, dict) else ""
    return Invalid(message or error.detail, field=key)
