"""What every request leaves behind: an id, a line in the log, and figures for Prometheus.

It wraps the whole application, so that unknown addresses and refused requests are seen too. No header but the
request id is looked at, and no query or body is written down: tokens never get here.
"""

import logging
import re
import time
from typing import Final
from uuid import uuid4

from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send
from prometheus_client import CollectorRegistry, Counter, Histogram

_log = logging.getLogger(__name__)

_SANE_ID: Final = re.compile(rb"[A-Za-z0-9._-]{1,64}")
#: Asked every few seconds by machines: not worth a line each.
_QUIET: Final = frozenset({"/healthz", "/readyz", "/metrics"})
_SECONDS: Final = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Meters:
    """The API's figures, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "pinnace_api_requests", "Requests answered", ("method", "route", "status"), registry=self.registry
        )
        self.seconds = Histogram(
            "pinnace_api_request_seconds",
            "Time from a request's head to the end of its answer",
            ("method", "route"),
            buckets=_SECONDS,
            registry=self.registry,
        )


def observed(app: ASGIApp, meters: Meters) -> ASGIApp:
    """`app` with each request counted, timed and logged."""

    async def observe(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            await app(scope, receive, send)
            return
        begun = time.perf_counter()
        request_id = _request_id(scope)
        status = 0

        async def send_observed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", request_id)]
            await send(message)

        try:
            await app(scope, receive, send_observed)
        finally:
            _account(scope, meters, status, time.perf_counter() - begun, request_id)

    return observe


def _account(scope: HTTPScope, meters: Meters, status: int, seconds: float, request_id: bytes) -> None:
    method = scope["method"] if scope["method"] in ("GET", "PUT") else "other"
    route = scope.get("path_template") or "unknown"
    meters.requests.labels(method, route, status).inc()
    meters.seconds.labels(method, route).observe(seconds)
    level = logging.DEBUG if route in _QUIET and status == 200 else logging.INFO
    if _log.isEnabledFor(level):
        fields = {
            "method": scope["method"],
            "path": scope["path"],
            "status": status or "aborted",
            "ms": f"{seconds * 1000:.1f}",
            "caller": scope.get("user") or "unknown",
            "id": request_id.decode(),
        }
        _log.log(level, "request.done", extra={"fields": fields})


def _request_id(scope: HTTPScope) -> bytes:
    """The caller's own id when it is a sane one, so that two parts' logs can be read together."""
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _SANE_ID.fullmatch(value):
            return bytes(value)
    return uuid4().hex.encode()
