"""One PostgreSQL for all contract tests; those of the API run on it and on SQLite, each module with its own server, and
those of the operator on a Kubernetes API server.
"""

from collections.abc import Callable, Iterator

import pytest

from pinnace.client import Client
from support.api_process import ApiProcess, api_processes
from support.api_server import ApiServer, api_server
from support.control_plane import CONTROLLERS, ControlPlane, control_plane
from support.crd import define_kinds
from support.postgres_server import PostgresServer, postgres_server

NewDatabase = Callable[[], str]


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        yield server


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def new_database(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> NewDatabase:
    """Makes an empty database; returns its URL."""
    if request.param == "sqlite":
        return lambda: f"sqlite:///{tmp_path_factory.mktemp('database')}/api.db"
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.create_database


@pytest.fixture(scope="module")
def database_url(new_database: NewDatabase) -> str:
    """A database that the tests of a module share."""
    return new_database()


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory, database_url: str) -> Iterator[ApiServer]:
    with api_server(tmp_path_factory.mktemp("api"), database_url=database_url) as server:
        yield server


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A Kubernetes API server of the module's own, which knows our kinds; kubectl and the operator find it by the
    environment.
    """
    folder = tmp_path_factory.mktemp("plane")
    with control_plane(folder, controllers=CONTROLLERS) as started, pytest.MonkeyPatch.context() as environment:
        environment.setenv("KUBECONFIG", str(started.kubeconfig))
        define_kinds()
        yield started


@pytest.fixture(scope="module")
def api_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiProcess]:
    """The metadata API as a process of its own, as an operator that is one needs it; on SQLite."""
    folder = tmp_path_factory.mktemp("api")
    with api_processes(folder, f"sqlite:///{folder / 'api.db'}", 1) as [process]:
        yield process


@pytest.fixture
def client(api: ApiServer) -> Iterator[Client]:
    with api.admin() as client:
        yield client
