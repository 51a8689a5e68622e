"""The whole system with its metadata in PostgreSQL, as production has it, also while that crashes."""

import secrets
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from sqlalchemy import create_engine, text

from cluster.installation import CHART, SYSTEM_NAMESPACE, install_chart
from cluster.kubectl import apply, items
from support.eventually import eventually
from support.postgres_server import PostgresServer, postgres_server
from support.system import Experiment, System, on_node

SECRET = "postgresql"


@dataclass(frozen=True, slots=True)
class Database:
    server: PostgresServer
    url: str

    def artifacts(self) -> int:
        engine = create_engine(self.url)
        try:
            with engine.connect() as connection:
                return int(connection.execute(text("SELECT count(*) FROM artifacts")).scalar_one())
        finally:
            engine.dispose()


@pytest.fixture
def database(installed: None) -> Iterator[Database]:
    """On this machine; the API has its metadata in there, and later again where it had them before."""
    here = on_node("ip", "-4", "route", "show", "default").split()[2]
    addresses = items("nodes")[0]["status"]["addresses"]
    node = next(address["address"] for address in addresses if address["type"] == "InternalIP")
    password = secrets.token_urlsafe(24)
    with postgres_server(durable=True, listen_addresses=f"127.0.0.1,{here}") as server:
        with (server.folder / "data/pg_hba.conf").open("a") as rules:
            rules.write(f"host all all {node}/32 scram-sha-256\n")
        server.execute(f"ALTER USER pinnace PASSWORD '{password}'")
        server.execute("SELECT pg_reload_conf()")
        url = server.create_database()
        from_pods = {"url": url.replace("pinnace@127.0.0.1", f"pinnace:{password}@{here}")}
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET}, "stringData": from_pods}
        apply(secret, namespace=SYSTEM_NAMESPACE)
        install_chart(CHART, "--set", f"api.database.url.existingSecret={SECRET}")
        try:
            yield Database(server, url)
        finally:
            install_chart()


@pytest.mark.timeout(600)
def test_a_sweep_comes_ashore_on_postgresql_that_crashes_meanwhile(
    database: Database, start: Callable[..., Experiment], system: System
) -> None:
    writes_for_20_s = {"SMALL_FILES": "20", "SECONDS_TO_RUN": "20"}
    experiment = start("on-postgresql", environment=writes_for_20_s, parameters={"grid": {"n": [1, 2]}}, parallelism=2)
    eventually(lambda: len(system.rows(experiment.id)) > 2, timeout=120, interval=0.3, what="the first rows")
    database.server.restart(signal.SIGQUIT)
    experiment.wait_for("ArtifactsSynced", "True")
    assert experiment.differences() == []
    assert database.artifacts() == len(system.rows(experiment.id)) == 2 * (20 + 1)
