"""/healthz, /readyz and /metrics: for Kubernetes and Prometheus, without a token."""

from litestar import Response, get
from litestar.di import NamedDependency
from litestar.enums import MediaType
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from pinnace_api.database import Database
from pinnace_api.observing import Meters
from pinnace_api.openapi import refusals


@get(
    "/healthz",
    operation_id="health",
    summary="Whether the process answers",
    tags=["health"],
    media_type=MediaType.TEXT,
    sync_to_thread=False,
    security=[{}],
)
def health() -> str:
    return "ok"


@get(
    "/readyz",
    operation_id="ready",
    summary="Whether the database answers too",
    tags=["health"],
    media_type=MediaType.TEXT,
    responses=refusals(503),
    sync_to_thread=True,
    security=[{}],
)
def ready(database: NamedDependency[Database]) -> str:
    database.check()
    return "ok"


@get(
    "/metrics",
    operation_id="prometheus",
    summary="Figures in Prometheus' text form",
    tags=["health"],
    media_type=MediaType.TEXT,
    sync_to_thread=False,
    security=[{}],
)
def prometheus(meters: NamedDependency[Meters]) -> Response[bytes]:
    return Response(generate_latest(meters.registry), headers={"content-type": CONTENT_TYPE_LATEST})


ROUTES = (health, ready, prometheus)
