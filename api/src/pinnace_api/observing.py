"""What every request leaves behind: an id, a line in the log, and figures for Prometheus.

It wraps the whole application, so that unknown addresses and refused requests are seen too. No header but the
request id is looked at, and no query or body is written down: tokens never get here.
"""

import logging
import re
import time
from dataclasses import dataclass
from typing import Final
from uuid import uuid4

from litestar.enums import ScopeType
from litestar.types import (
    ASGIApp,
    HTTPReceiveMessage,
    HTTPScope,
    Message,
    Receive,
    Scope,
    Send,
    WebSocketReceiveMessage,
)
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from sqlalchemy.pool import QueuePool

from pinnace_api.database import Database
from pinnace_api.logs import REQUEST_ID

_log = logging.getLogger(__name__)

_SANE_ID: Final = re.compile(rb"[A-Za-z0-9._-]{1,64}")
#: Asked every few seconds by machines: not worth a line each.
_QUIET: Final = frozenset({"/healthz", "/readyz", "/metrics"})
_METHODS: Final = frozenset({"GET", "HEAD", "PUT", "POST", "PATCH", "DELETE", "OPTIONS"})
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
        self.received = Counter(
            "pinnace_api_received_bytes", "Bytes of requests' bodies", ("method", "route"), registry=self.registry
        )
        self.sent = Counter(
            "pinnace_api_sent_bytes", "Bytes of answers' bodies", ("method", "route"), registry=self.registry
        )
        self.under_way = Gauge(
            "pinnace_api_requests_under_way", "Requests that have begun and not ended", registry=self.registry
        )

    def watch(self, database: Database) -> None:
        """Tell of the database's connections, too."""
        pool = database.engine.pool
        assert isinstance(pool, QueuePool)
        connections = Gauge(
            "pinnace_api_database_connections",
            "Open connections to the database",
            ("state",),
            registry=self.registry,
        )
        connections.labels("in_use").set_function(pool.checkedout)
        connections.labels("idle").set_function(pool.checkedin)
        most = Gauge("pinnace_api_database_connections_limit", "Connections there may be", registry=self.registry)
        most.set(pool.size())


@dataclass(slots=True)
class _Seen:
    """What is known of a request while it is under way."""

    status: int = 0
    received: int = 0
    sent: int = 0


def observed(app: ASGIApp, meters: Meters) -> ASGIApp:
    """`app` with each request counted, timed and logged."""

    async def observe(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            await app(scope, receive, send)
            return
        begun = time.perf_counter()
        request_id = _request_id(scope)
        seen = _Seen()

        async def receive_observed() -> HTTPReceiveMessage | WebSocketReceiveMessage:
            message = await receive()
            if message["type"] == "http.request":
                seen.received += len(message["body"])
            return message

        async def send_observed(message: Message) -> None:
            if message["type"] == "http.response.start":
                seen.status = message["status"]
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", request_id)]
            elif message["type"] == "http.response.body":
                seen.sent += len(message["body"])
            await send(message)

        token = REQUEST_ID.set(request_id.decode())
        meters.under_way.inc()
        try:
            await app(scope, receive_observed, send_observed)
        finally:
            meters.under_way.dec()
            _account(scope, meters, seen, time.perf_counter() - begun)
            REQUEST_ID.reset(token)

    return observe


def _account(scope: HTTPScope, meters: Meters, seen: _Seen, seconds: float) -> None:
    method = scope["method"] if scope["method"] in _METHODS else "other"
    route = scope.get("path_template") or "unknown"
    status = seen.status
    meters.requests.labels(method, route, status).inc()
    if seen.received:
        meters.received.labels(method, route).inc(seen.received)
    if seen.sent:
        meters.sent.labels(method, route).inc(seen.sent)
    meters.seconds.labels(method, route).observe(seconds)
    level = logging.DEBUG if route in _QUIET and status == 200 else logging.INFO
    if _log.isEnabledFor(level):
        fields = {
            "method": scope["method"],
            "path": scope["path"],
            "status": status or "aborted",
            "ms": f"{seconds * 1000:.1f}",
            "caller": scope.get("user") or "unknown",
        }
        _log.log(level, "request.done", extra={"fields": fields})


def _request_id(scope: HTTPScope) -> bytes:
    """The caller's own id when it is a sane one, so that two parts' logs can be read together."""
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _SANE_ID.fullmatch(value):
            return bytes(value)
    return uuid4().hex.encode()
