"""The application: settings in, a Litestar out. Nothing is opened before it starts."""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from litestar import Litestar, Request, Router
from litestar.concurrency import sync_to_thread
from litestar.di import Provide

from pinnace_api import health, migrations, openapi
from pinnace_api.access import Access
from pinnace_api.artifacts import routes as artifacts
from pinnace_api.database import Database
from pinnace_api.datasets import routes as datasets
from pinnace_api.experiments import routes as experiments
from pinnace_api.identity import AdminToken, Caller, Identifier, TokenReviewer
from pinnace_api.iterations import routes as iterations
from pinnace_api.iterations import service as iteration_service
from pinnace_api.iterations.sweep import sweep_until
from pinnace_api.metrics import routes as metrics
from pinnace_api.observing import Meters, observed
from pinnace_api.pods import routes as pods
from pinnace_api.problems import EXCEPTION_HANDLERS
from pinnace_api.projects import routes as projects
from pinnace_api.requests import StrictRequest, provide_cut
from pinnace_api.settings import MAX_BODY_BYTES, ApiSettings

_RESOURCES: Final = (projects, experiments, iterations, artifacts, metrics, datasets, pods)


def database_of(settings: ApiSettings) -> Database:
    """The database that the settings name, not opened yet. Raises SettingsError."""
    return Database(
        settings.effective_database_url(),
        connections=settings.database_connections,
        statement_seconds=settings.database_statement_seconds,
    )


def create_app(settings: ApiSettings, *, reviewer: TokenReviewer) -> Litestar:
    """`reviewer` vouches for service accounts. The database is opened and migrated when the application starts."""
    database = database_of(settings)
    meters = Meters()
    identifier = Identifier(
        admin=AdminToken(Path(settings.admin_token_file)) if settings.admin_token_file else None,
        operator_subject=settings.operator_subject,
        reviewer=reviewer,
    )

    def namespace_of(iteration: UUID) -> str | None:
        return iteration_service.namespace(database, iteration)

    @asynccontextmanager
    async def opened(_: Litestar) -> AsyncIterator[None]:
        threads = ThreadPoolExecutor(database.connections, thread_name_prefix="request")
        asyncio.get_running_loop().set_default_executor(threads)
        try:
            await sync_to_thread(migrations.upgrade, database)
            stopped = asyncio.Event()
            sweep = asyncio.create_task(sweep_until(stopped, database, every=settings.sweep_seconds), name="sweep")
            try:
                yield
            finally:
                stopped.set()
                await sweep
        finally:
            threads.shutdown()
            database.close()

    app = Litestar(
        route_handlers=[
            *health.ROUTES,
            openapi.describe,
            Router(
                "/api/v1",
                route_handlers=[route for resource in _RESOURCES for route in resource.ROUTES],
                security=[{"bearer": []}],
            ),
        ],
        dependencies={
            "database": _provide(database),
            "reviewer": _provide(reviewer),
            "meters": _provide(meters),
            "caller": Provide(_caller, sync_to_thread=False),
            "cut": Provide(provide_cut),
        },
        guards=[Access(identifier, namespace_of).guard],
        exception_handlers=dict(EXCEPTION_HANDLERS),
        lifespan=[opened],
        logging_config=None,
        openapi_config=openapi.config(),
        request_class=StrictRequest,
        request_max_body_size=MAX_BODY_BYTES,
    )
    openapi.correct(app)
    app.asgi_handler = observed(app.asgi_handler, meters)
    return app


def _provide(value: object) -> Provide:
    def provided() -> Any:
        return value

    return Provide(provided, sync_to_thread=False)


def _caller(request: Request[Any, Any, Any]) -> Caller:
    caller = request.user
    assert isinstance(caller, Caller)  # the guard left it there
    return caller
