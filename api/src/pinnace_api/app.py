"""The application: settings in, a Litestar out. Nothing is opened before it starts."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from litestar import Litestar, Request, Router
from litestar.concurrency import sync_to_thread
from litestar.config.cors import CORSConfig
from litestar.di import Provide
from litestar.routes import HTTPRoute

from pinnace_api import first_admin, health, migrations, openapi
from pinnace_api.access import Access
from pinnace_api.artifact_sets import routes as artifact_sets
from pinnace_api.artifacts import routes as artifacts
from pinnace_api.audit import routes as audit
from pinnace_api.comparisons import routes as comparisons
from pinnace_api.cookies import Cookies
from pinnace_api.credentials import Passwords
from pinnace_api.curves import routes as curves
from pinnace_api.database import Database
from pinnace_api.datasets import routes as datasets
from pinnace_api.experiments import routes as experiments
from pinnace_api.files import routes as files
from pinnace_api.files.transfers import Transfers
from pinnace_api.guard import Guard, caller_of
from pinnace_api.headers import hardened
from pinnace_api.holds import routes as holds
from pinnace_api.identity import AdminToken, Caller, Identifier, TokenReviewer, Visit
from pinnace_api.iterations import routes as iterations
from pinnace_api.iterations.sweep import sweep_until
from pinnace_api.members import routes as members
from pinnace_api.metrics import routes as metrics
from pinnace_api.model_versions import routes as model_versions
from pinnace_api.models import routes as models
from pinnace_api.observing import Meters, observed
from pinnace_api.oidc import routes as oidc
from pinnace_api.oidc.provider import Provider
from pinnace_api.ownership import StoredOwners
from pinnace_api.pods import routes as pods
from pinnace_api.problems import EXCEPTION_HANDLERS
from pinnace_api.projects import routes as projects
from pinnace_api.readiness import Readiness
from pinnace_api.requests import StrictRequest, provide_cut
from pinnace_api.retention import routes as retention
from pinnace_api.retention.periodic import apply_until
from pinnace_api.sessions import routes as sessions
from pinnace_api.sessions import service as session_service
from pinnace_api.settings import MAX_BODY_BYTES, ApiSettings
from pinnace_api.storage.storage import storage_of
from pinnace_api.store_credentials import routes as store_credentials
from pinnace_api.store_credentials.sts import TokenServices
from pinnace_api.tokens import routes as tokens
from pinnace_api.tokens.service import StoredAccounts
from pinnace_api.uploads import routes as uploads
from pinnace_api.users import routes as users

_RESOURCES: Final = (
    sessions,
    oidc,
    users,
    tokens,
    members,
    audit,
    projects,
    experiments,
    iterations,
    artifacts,
    artifact_sets,
    files,
    uploads,
    metrics,
    curves,
    comparisons,
    datasets,
    models,
    model_versions,
    retention,
    holds,
    pods,
    store_credentials,
)


def database_of(settings: ApiSettings) -> Database:
    """The database that the settings name, not opened yet."""
    return Database(
        settings.database_url,
        connections=settings.database_connections,
        statement_seconds=settings.database_statement_seconds,
    )


def create_app(
    settings: ApiSettings,
    *,
    reviewer: TokenReviewer,
    announce: Callable[[str], object] | None = None,
    database: Database | None = None,
) -> Litestar:
    """`reviewer` vouches for service accounts. `announce` (None: standard error) is told how to make the first admin
    while there is nobody.

    `database` is one that is up to date; without it the settings' own is migrated when the application starts. Closed
    with the application. `app.state.stop` makes uploads under way end, so that they can go on elsewhere.
    """
    is_migrated = database is not None
    database = database or database_of(settings)
    storage = storage_of(settings, database)
    transfers = Transfers(
        database, storage, limit=settings.artifact_limit_bytes, rests_seconds=settings.upload_expiry_seconds
    )
    meters = Meters()
    meters.watch(database)
    readiness = Readiness({"database": database.check, "store": storage.check}, seconds=settings.ready_seconds)
    identifier = Identifier(
        admin=AdminToken(Path(settings.admin_token_file)) if settings.admin_token_file else None,
        operator_subject=settings.operator_subject,
        reviewer=reviewer,
        accounts=StoredAccounts(database),
    )
    access = Access(StoredOwners(database))
    jar = Cookies(secure=not settings.public_url.startswith("http:"))
    origins = (settings.public_url,) if settings.public_url else ()

    @asynccontextmanager
    async def opened(_: Litestar) -> AsyncIterator[None]:
        threads = ThreadPoolExecutor(database.connections, thread_name_prefix="request")
        asyncio.get_running_loop().set_default_executor(threads)
        try:
            if not is_migrated:
                await sync_to_thread(migrations.upgrade, database)
            if not settings.admin_token_file:
                token = await sync_to_thread(session_service.offer_setup, database)
                if invitation := first_admin.invitation(settings, token):
                    (announce or sys.stderr.write)(invitation)
            stopped = asyncio.Event()
            tasks = (
                asyncio.create_task(sweep_until(stopped, database, every=settings.sweep_seconds), name="sweep"),
                asyncio.create_task(
                    apply_until(stopped, database, storage, every=settings.retention_seconds), name="retention"
                ),
            )
            try:
                yield
            finally:
                stopped.set()
                await asyncio.gather(*tasks)
        finally:
            threads.shutdown()
            readiness.close()
            transfers.close()
            storage.close()
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
        cors_config=_cors(settings),
        dependencies={
            "database": _provide(database),
            "transfers": _provide(transfers),
            "reviewer": _provide(reviewer),
            "tokens": _provide(TokenServices(Path(settings.store_keys_dir) if settings.store_keys_dir else None)),
            "meters": _provide(meters),
            "readiness": _provide(readiness),
            "settings": _provide(settings),
            "passwords": _provide(Passwords()),
            "provider": _provide(Provider(settings) if settings.oidc_issuer else None),
            "access": _provide(access),
            "jar": _provide(jar),
            "caller": Provide(_caller, sync_to_thread=False),
            "visit": Provide(_visit, sync_to_thread=False),
            "cut": Provide(provide_cut),
        },
        guards=[Guard(identifier, access, cookie=jar.session, origins=origins).check],
        exception_handlers=dict(EXCEPTION_HANDLERS),
        lifespan=[opened],
        logging_config=None,
        openapi_config=openapi.config(),
        request_class=StrictRequest,
        request_max_body_size=MAX_BODY_BYTES,
    )
    app.state.stop = transfers.stop
    openapi.correct(app)
    _resolve_in_turn(app)
    hard = hardened(app.asgi_handler, tls=settings.public_url.startswith("https:"))
    app.asgi_handler = observed(hard, meters)
    return app


def _cors(settings: ApiSettings) -> CORSConfig | None:
    """Pages of these origins may use the API with a token of their own; no other site's, and none with our cookies."""
    if not settings.cors_origins:
        return None
    return CORSConfig(
        allow_origins=list(settings.cors_origins),
        allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
        allow_headers=["authorization", "content-type"],
        allow_credentials=False,
        max_age=600,
    )


def _resolve_in_turn(app: Litestar) -> None:
    """Have what handlers ask for resolved one after the other: all of it is at hand, and a task for each costs more
    than the whole routing does.
    """
    for route in app.routes:
        if isinstance(route, HTTPRoute):
            for _, model in route.route_handler_map.values():
                model.dependency_batches = [{each} for batch in model.dependency_batches for each in batch]


def _provide(value: object) -> Provide:
    def provided() -> Any:
        return value

    return Provide(provided, sync_to_thread=False)


def _caller(request: Request[Any, Any, Any]) -> Caller:
    caller = caller_of(request)
    assert caller is not None  # the guard left it there
    return caller


def _visit(request: Request[Any, Any, Any]) -> Visit:
    return Visit(caller=caller_of(request), address=request.client.host if request.client else "")
