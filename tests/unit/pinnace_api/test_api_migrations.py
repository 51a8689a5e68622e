"""Migrations and tables say the same, forwards and back."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect

from pinnace_api import migrations
from pinnace_api.artifacts import queries
from pinnace_api.database import Database
from pinnace_api.schema import METADATA, TABLES


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path}/api.db")
    yield database
    database.close()


def names(database: Database) -> set[str]:
    return set(inspect(database.engine).get_table_names())


def test_from_nothing_to_the_newest_is_what_the_tables_say(database: Database) -> None:
    migrations.upgrade(database)
    with database.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, METADATA) == []
    assert names(database) == {table.name for table in TABLES} | {"alembic_version"}
    assert set(METADATA.tables) == {table.name for table in TABLES}


def test_a_database_of_the_first_version_is_opened_with_what_it_holds(database: Database) -> None:
    migrations.upgrade(database, "0001")
    iteration, row = _fill_first_version(database)
    migrations.upgrade(database)
    with database.read() as connection:
        found = queries.find_all(connection, [row])[row]
        assert queries.find_user(connection, found.location) == (found, UUID(int=2))
    assert (found.iteration_id, found.path, found.etag) == (iteration, "model.bin", "")


def _fill_first_version(database: Database) -> tuple[UUID, UUID]:
    """One artifact, in statements that know nothing of later columns."""
    project, experiment, iteration, row = (UUID(int=number) for number in (1, 2, 3, 4))
    moment = "2026-01-31 12:00:00.000000"
    location = ("http://store", "us-east-1", "bucket", "aa/key")
    with database.migrating() as connection:
        for table, values in (
            ("projects", (project.hex, "p", "", moment)),
            ("experiments", (experiment.hex, project.hex, "n", "ml", "", "[]", moment)),
            ("iterations", (iteration.hex, experiment.hex, 0, "{}", "RUNNING", None, None, moment)),
            (
                "artifacts",
                (
                    row.hex,
                    iteration.hex,
                    "model.bin",
                    7,
                    "0" * 64,
                    "AAAAAA==",
                    *location,
                    moment,
                    False,
                    "pod-1",
                    moment,
                ),
            ),
        ):
            marks = ", ".join("?" * len(values))
            connection.exec_driver_sql(f"INSERT INTO {table} VALUES ({marks})", values)
    return iteration, row


def test_back_to_nothing_leaves_nothing(database: Database) -> None:
    migrations.upgrade(database)
    migrations.downgrade(database, "base")
    assert names(database) == {"alembic_version"}


def test_several_processes_may_begin_at_once(tmp_path: Path) -> None:
    def start(_: int) -> set[str]:
        database = Database(f"sqlite:///{tmp_path}/api.db")
        try:
            migrations.upgrade(database)
            return names(database)
        finally:
            database.close()

    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(start, range(4)))
    assert all("artifacts" in each for each in found)


def test_a_failing_step_leaves_the_database_as_it_was(database: Database) -> None:
    with pytest.raises(Exception, match="no-such-revision"):
        migrations.upgrade(database, "no-such-revision")
    assert names(database) == set()


def test_tags_as_lists_become_mappings_and_back(database: Database) -> None:
    migrations.upgrade(database, "0001")
    project, experiment = uuid4().hex, uuid4().hex
    with database.migrating() as connection:
        connection.exec_driver_sql("INSERT INTO projects VALUES (?, 'p', '', '2026-01-01 00:00:00')", (project,))
        connection.exec_driver_sql(
            "INSERT INTO experiments VALUES (?, ?, 'e', '', 'd', ?, '2026-01-01 00:00:00')",
            (experiment, project, '["baseline", "team=vision", "=odd"]'),
        )
        connection.exec_driver_sql(
            "INSERT INTO iterations VALUES (?, ?, 0, '{}', 'RUNNING', NULL, NULL, '2026-01-01 00:00:00')",
            (uuid4().hex, experiment),
        )

    def tags() -> Any:
        with database.read() as connection:
            return json.loads(connection.exec_driver_sql("SELECT tags FROM experiments").scalar_one())

    migrations.upgrade(database)
    assert tags() == {"baseline": "", "team": "vision", "=odd": ""}
    with database.read() as connection:
        row = connection.exec_driver_sql("SELECT status, lifecycle, declared FROM experiments").one()
        assert tuple(row)[:2] == ("OPEN", "ACTIVE")
        assert json.loads(row.declared) == {"description": "d", "tags": tags()}
        assert connection.exec_driver_sql("SELECT lifecycle, tags FROM iterations").one() == ("ACTIVE", "{}")
    migrations.downgrade(database, "0001")
    assert sorted(tags()) == ["=odd", "baseline", "team=vision"]


def test_points_lie_in_the_order_of_reading(database: Database) -> None:
    migrations.upgrade(database)
    with database.read() as connection:
        sql = connection.exec_driver_sql("SELECT sql FROM sqlite_master WHERE name = 'metric_points'").scalar_one()
    assert sql.rstrip().endswith("WITHOUT ROWID")
