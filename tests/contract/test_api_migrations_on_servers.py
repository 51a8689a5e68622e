"""Migrations on both databases: from every revision, through the end of the process, and never backwards."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import MetaData, Table, func, inspect, select, text

from pinnace_api import migrations
from pinnace_api.database import Database
from pinnace_api.migrations import WrongDatabase
from pinnace_api.schema import METADATA
from support.api_process import ApiProcess, api_processes
from support.api_server import api_server
from support.postgres_server import PostgresServer

REVISIONS = migrations.revisions()
MOMENT = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
EXPERIMENT, ITERATION = UUID(int=2), UUID(int=3)

#: A row for each table of the first revision, as that revision had them.
ROWS: dict[str, dict[str, Any]] = {
    "projects": {"id": UUID(int=1), "name": "iris", "description": "é", "created_at": MOMENT},
    "experiments": {
        "id": EXPERIMENT,
        "project_id": UUID(int=1),
        "name": "sweep",
        "namespace": "ml",
        "description": "",
        "tags": ["a"],
        "created_at": MOMENT,
    },
    "iterations": {
        "id": ITERATION,
        "experiment_id": EXPERIMENT,
        "number": 0,
        "parameters": {"lr": 0.1},
        "state": "RUNNING",
        "started_at": MOMENT,
        "ended_at": None,
        "created_at": MOMENT,
    },
    "artifacts": {
        "id": UUID(int=4),
        "iteration_id": ITERATION,
        "path": "model.bin",
        "size": 7,
        "sha256": "0" * 64,
        "crc32c": "AAAAAA==",
        "endpoint": "http://127.0.0.1:9000",
        "region": "us-east-1",
        "bucket": "pinnace",
        "key": "00/4",
        "modified_at": MOMENT,
        "suspect": False,
        "pod_uid": "pod-1",
        "recorded_at": MOMENT,
    },
    "metric_sources": {"id": 1, "iteration_id": ITERATION, "digest": "0" * 64, "source": "s"},
    "metrics": {
        "id": 1,
        "iteration_id": ITERATION,
        "key": "loss",
        "points": 1,
        "low": 0.5,
        "high": 0.5,
        "last_step": 1,
        "last_time": 0,
        "last_source": 1,
        "last_offset": 0,
        "last_value": 0.5,
    },
    "metric_points": {"metric_id": 1, "step": 1, "source_id": 1, "offset": 0, "time": 0, "value": 0.5},
    "pods": {
        "iteration_id": ITERATION,
        "pod_uid": "pod-1",
        "name": "",
        "report": None,
        "sequence": -1,
        "reported_at": None,
        "recorded_count": None,
        "recorded_sha256": None,
        "recorded_bytes": None,
    },
    "pod_artifacts": {"iteration_id": ITERATION, "pod_uid": "pod-1", "artifact_id": UUID(int=4)},
}

#: Ends the process, as a power cut does, right after the first statement that has these words in it.
DIES_AFTER = """
import os, signal, sys
from sqlalchemy import Engine, event
from pinnace_api import migrations
from pinnace_api.database import Database

def die(connection, cursor, statement, *rest):
    if sys.argv[2] in statement:
        os.kill(os.getpid(), signal.SIGKILL)

event.listen(Engine, "after_cursor_execute", die)
migrations.upgrade(Database(sys.argv[1]))
"""


@pytest.fixture
def url(new_database: Callable[[], str]) -> str:
    return new_database()


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    database = Database(url)
    yield database
    database.close()


def names(database: Database) -> set[str]:
    return set(inspect(database.engine).get_table_names())


def check_tables(database: Database) -> None:
    """The tables are those that the code speaks of."""
    with database.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, METADATA) == []
        assert migrations.revision_of(connection) == REVISIONS[-1]


def fill(database: Database) -> None:
    """A row in each table, past everything that knows a later revision."""
    with database.migrating() as connection:
        for name, row in ROWS.items():
            table = Table(name, MetaData(), autoload_with=connection)
            plain = {key: value.hex if isinstance(value, UUID) else value for key, value in row.items()}
            connection.execute(table.insert(), [plain])


@pytest.mark.parametrize("revision", REVISIONS)
def test_failure_25_rows_of_the_first_revision_come_through_each_revision_to_the_newest(
    database: Database, url: str, tmp_path: Path, revision: str
) -> None:
    migrations.upgrade(database, REVISIONS[0])
    fill(database)
    migrations.upgrade(database, revision)
    migrations.upgrade(database)
    check_tables(database)
    with database.read() as connection:
        counts = {
            name: connection.execute(select(func.count()).select_from(METADATA.tables[name])).scalar_one()
            for name in ROWS
        }
    assert counts == dict.fromkeys(ROWS, 1)
    with api_server(tmp_path, database_url=url) as api, api.admin() as client:
        assert client.experiment(EXPERIMENT).tags == {"a": ""}
        assert client.iteration(ITERATION).metrics["loss"].last == 0.5
        assert [each.path for each in client.iteration_artifacts(ITERATION)] == ["model.bin"]


@pytest.mark.parametrize("revision", REVISIONS)
def test_each_revision_can_be_taken_back(database: Database, revision: str) -> None:
    migrations.upgrade(database)
    migrations.downgrade(database, revision)
    migrations.upgrade(database)
    check_tables(database)


@pytest.mark.parametrize("statement", ["CREATE TABLE artifacts", "INSERT INTO alembic_version"])
def test_a_process_that_ends_within_a_migration_leaves_nothing_of_it(
    database: Database, url: str, statement: str
) -> None:
    environment = {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-c", DIES_AFTER, url, statement]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert names(database) == set()
    migrations.upgrade(database)
    check_tables(database)


def test_a_migration_that_would_leave_orphans_leaves_nothing(database: Database) -> None:
    migrations.upgrade(database)
    fill(database)
    with pytest.raises(Exception, match=r"refer to nothing|violates foreign key"), database.migrating() as connection:
        connection.execute(text("DELETE FROM projects"))
    with database.read() as connection:
        assert connection.execute(text("SELECT name FROM projects")).scalar_one() == "iris"


def test_a_database_of_a_newer_version_is_refused_and_left_alone(database: Database, url: str, tmp_path: Path) -> None:
    migrations.upgrade(database)
    with database.migrating() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(WrongDatabase) as caught:
        migrations.upgrade(database)
    assert caught.value.hint == "a newer version was at work on it: run that one, or restore a backup from before it"
    code, log = started(tmp_path, url)
    assert code == 3
    assert f"the database has revision 9999, and this version of the API knows those up to {REVISIONS[-1]}" in log
    assert "Traceback" not in log


def test_several_replicas_may_start_at_the_same_moment(tmp_path: Path, database: Database, url: str) -> None:
    with api_processes(tmp_path, url, 3) as replicas:
        check_tables(database)
        with replicas[0].admin() as one, replicas[2].admin() as other:
            assert one.put_project("iris") == other.project("iris")


def test_a_database_that_can_not_hold_every_character_is_refused(postgres: PostgresServer) -> None:
    url = postgres.create_database(options="ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    database = Database(url)
    try:
        with pytest.raises(WrongDatabase, match="keeps text as LATIN1"):
            migrations.upgrade(database)
        assert names(database) == set()
    finally:
        database.close()


def test_a_server_that_is_not_there_is_one_sentence_without_the_password(tmp_path: Path) -> None:
    code, log = started(tmp_path, f"postgresql://pinnace:the-password-{uuid4().hex}@127.0.0.1:1/pinnace")
    assert code == 3
    *before, sentence = log.splitlines()
    assert sentence.startswith("the database can't be used at the moment (try again")
    assert "connection refused" in before[-1].lower()
    assert "Traceback" not in log
    assert "the-password" not in log


def started(folder: Path, url: str) -> tuple[int, str]:
    """The exit code and the log of a replica that refuses to start."""
    replica = ApiProcess(folder, url)
    replica.start()
    return replica.wait(), replica.log
