"""/healthz, /readyz and /metrics: for Kubernetes and Prometheus, without a token."""

from typing import Annotated, Literal

from litestar import Response, get
from litestar.di import NamedDependency
from litestar.enums import MediaType
from litestar.params import QueryParameter
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from pinnace_api.observing import Meters
from pinnace_api.openapi import refusals
from pinnace_api.readiness import Readiness

Only = Annotated[
    Literal["database", "store"] | None,
    QueryParameter(description="Ask only this. Without the database nothing works; without the store, all but bytes"),
]


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
    summary="Whether the database and the store of artifacts answer too",
    tags=["health"],
    media_type=MediaType.TEXT,
    responses=refusals(422, 503),
    security=[{}],
)
async def ready(readiness: NamedDependency[Readiness], only: Only = None) -> str:
    """503 `not-ready` says which does not, and why. Each has PINNACE_API_READY_SECONDS to answer."""
    await readiness.check(readiness.names if only is None else (only,))
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
