"""What becomes of requests when the database is in the way of itself, gone, slow or full: a 503, or nothing at all."""

import os
import secrets
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Barrier, Event
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Connection, text

from pinnace import ids
from pinnace.client import Client, Unavailable
from pinnace.records import ExperimentWrite, IterationWrite
from pinnace_api import refusals
from pinnace_api.database import Database
from support.api_server import ADMIN_TOKEN, ApiServer, api_server
from support.eventually import eventually
from support.postgres_server import PostgresServer, postgres_server
from support.samples import artifact
from support.small_disk import small_disk

MIB = 2**20


@pytest.fixture
def database(postgres: PostgresServer) -> Iterator[Database]:
    """One with two counters, `a` and `b`."""
    database = Database(postgres.create_database())
    with database.migrating() as connection:
        connection.execute(text("CREATE TABLE counters (name text PRIMARY KEY, value integer NOT NULL)"))
        connection.execute(text("INSERT INTO counters VALUES ('a', 0), ('b', 0)"))
    yield database
    database.close()


def increase(connection: Connection, name: str) -> None:
    connection.execute(text("UPDATE counters SET value = value + 1 WHERE name = :name"), {"name": name})


def counters(database: Database) -> dict[str, int]:
    with database.read() as connection:
        return {row.name: row.value for row in connection.execute(text("SELECT name, value FROM counters"))}


def test_of_two_that_wait_for_each_other_one_is_tried_again(database: Database) -> None:
    meet = Barrier(2)
    runs: list[str] = []

    def both(connection: Connection, first: str, second: str) -> None:
        runs.append(first)
        increase(connection, first)
        if len(runs) <= 2:
            meet.wait(timeout=20)
        increase(connection, second)

    with ThreadPoolExecutor(2) as threads:
        done = [
            threads.submit(lambda: database.write(both, "a", "b")),
            threads.submit(lambda: database.write(both, "b", "a")),
        ]
        for each in done:
            each.result(timeout=30)
    assert counters(database) == {"a": 2, "b": 2}
    assert len(runs) in (3, 4), "PostgreSQL may find out about both at the same moment"


def test_a_transaction_that_never_gets_through_is_given_up_after_five_times(database: Database) -> None:
    runs: list[int] = []

    def unlucky(connection: Connection) -> None:
        runs.append(1)
        increase(connection, "a")
        connection.execute(text("DO $$ BEGIN RAISE EXCEPTION 'no luck' USING ERRCODE = '40001'; END $$"))

    with pytest.raises(refusals.Unavailable, match="too many writers") as caught:
        database.write(unlucky)
    assert caught.value.hint == "try again"
    assert len(runs) == 5
    assert counters(database) == {"a": 0, "b": 0}


def test_what_fails_for_another_reason_is_not_tried_again(database: Database) -> None:
    runs: list[int] = []

    def broken(connection: Connection) -> None:
        runs.append(1)
        increase(connection, "a")
        connection.execute(text("SELECT nothing FROM nowhere"))

    with pytest.raises(Exception, match="nowhere"):
        database.write(broken)
    assert len(runs) == 1
    assert counters(database) == {"a": 0, "b": 0}


def test_a_reader_sees_one_state_and_writes_nothing(database: Database) -> None:
    with database.read() as connection:
        before = connection.execute(text("SELECT value FROM counters WHERE name = 'a'")).scalar_one()
        database.write(increase, "a")
        assert connection.execute(text("SELECT value FROM counters WHERE name = 'a'")).scalar_one() == before
    with pytest.raises(refusals.Unavailable, match="takes no writes"), database.read() as connection:
        increase(connection, "a")


def test_a_statement_that_takes_too_long_is_ended(postgres: PostgresServer) -> None:
    database = Database(postgres.create_database(), statement_seconds=0.2)
    try:
        with pytest.raises(refusals.Unavailable) as caught, database.read() as connection:
            connection.execute(text("SELECT pg_sleep(30)"))
        assert "PINNACE_API_DATABASE_STATEMENT_SECONDS" in caught.value.hint
        database.check()
    finally:
        database.close()


def test_when_the_server_has_no_connection_left_the_log_says_so_until_there_is_one(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with postgres_server(max_connections="5", superuser_reserved_connections="0") as server:
        url = server.create_database()
        others = Database(url)
        database = Database(url)
        try:
            with connections(others, 5), pytest.raises(refusals.Unavailable) as caught:
                database.check()
            assert caught.value.hint
            assert "too many clients" in vars(caplog.records[-1])["fields"]["cause"]
            others.close()
            eventually(lambda: works(database.check), what="a connection that was given back")
        finally:
            others.close()
            database.close()


@contextmanager
def connections(database: Database, number: int) -> Iterator[None]:
    held = [database.engine.connect() for _ in range(number)]
    try:
        yield
    finally:
        for connection in held:
            connection.close()


def works(call: Callable[[], object]) -> bool:
    try:
        call()
    except refusals.Unavailable:
        return False
    return True


def test_a_request_that_finds_every_connection_in_use_waits_for_one(postgres: PostgresServer) -> None:
    database = Database(postgres.create_database(), connections=2)
    try:
        with ThreadPoolExecutor(8) as threads:
            assert list(threads.map(lambda _: works(database.check), range(40))) == [True] * 40
        assert database.engine.pool.checkedin() == 2  # type: ignore[attr-defined]
    finally:
        database.close()


class Writers:
    """Threads that register projects over and over, as the only ones, and remember what they were told."""

    def __init__(self, api: ApiServer) -> None:
        self.told: list[str] = []
        self.refused: list[Unavailable] = []
        self._api = api
        self._end = Event()

    def work(self) -> None:
        with self._api.client(ADMIN_TOKEN, timeout=30) as client:
            while not self._end.is_set():
                name = f"p{uuid4().hex}"
                try:
                    client.put_project(name)
                    self.told.append(name)
                except Unavailable as error:
                    self.refused.append(error)

    @contextmanager
    def at_work(self, number: int) -> Iterator[None]:
        with ThreadPoolExecutor(number) as threads:
            done: list[Future[None]] = [threads.submit(self.work) for _ in range(number)]
            try:
                yield
            finally:
                self._end.set()
            for each in done:
                each.result()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT], ids=["in order", "crash"])
def test_a_server_that_is_restarted_costs_refusals_and_no_row_that_was_told(
    how: signal.Signals, tmp_path: Path
) -> None:
    with postgres_server(durable=True) as server, api_server(tmp_path, database_url=server.create_database()) as api:
        writers = Writers(api)
        with writers.at_work(4):
            eventually(lambda: len(writers.told) > 20, what="work before the restart")
            server.stop(how)
            eventually(lambda: bool(writers.refused), what="a refusal")
            server.start()
            before = len(writers.told)
            eventually(lambda: len(writers.told) > before + 20, timeout=30, what="work after the restart")
        assert all(error.status == 503 and error.code == "unavailable" and error.hint for error in writers.refused)
        with api.admin() as client:
            assert {project.name for project in client.projects()} >= set(writers.told)


def test_a_connection_that_is_cut_within_a_transaction_leaves_nothing(
    database: Database, postgres: PostgresServer
) -> None:
    def cut(connection: Connection) -> None:
        increase(connection, "a")
        process = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
        postgres.execute(f"SELECT pg_terminate_backend({process})")
        increase(connection, "b")

    with pytest.raises(refusals.Unavailable):
        database.write(cut)
    assert counters(database) == {"a": 0, "b": 0}


def fill(client: Client, iteration: UUID) -> tuple[int, Unavailable]:
    """Register artifacts with long paths until the disk is full; how many there are, and the refusal."""
    for count in range(100):
        batch = [artifact(iteration, f"{secrets.token_urlsafe(1400)}/{number}") for number in range(100)]
        try:
            client.put_artifacts(iteration, batch)
        except Unavailable as error:
            return count * 100, error
    raise AssertionError("the disk did not get full")


def check_full_disk(api: ApiServer, room: Path) -> None:
    """Once `room`, a file, makes way, everything goes on."""
    with api.client(ADMIN_TOKEN, timeout=30) as client:
        experiment = uuid4()
        iteration = ids.iteration_id(experiment, 0)
        client.put_experiment(experiment, ExperimentWrite(project="iris", name="sweep"))
        client.put_iteration(iteration, IterationWrite(experiment_id=experiment, index=0))
        stored, error = fill(client, iteration)
        assert (error.status, error.code) == (503, "unavailable")
        assert "free space on the database's disk" in error.hint
        assert len(list(client.iteration_artifacts(iteration))) == stored
        room.unlink()
        client.put_artifacts(iteration, [artifact(iteration, f"after/{number}") for number in range(100)])
        assert len(list(client.iteration_artifacts(iteration))) == stored + 100


def test_a_full_disk_below_sqlite_is_a_refusal_until_there_is_room(tmp_path: Path) -> None:
    folder = tmp_path / "disk"
    folder.mkdir()
    with small_disk(folder, "size=6m"):
        room = folder / "room"
        room.write_bytes(bytes(2 * MIB))
        with api_server(tmp_path, database_url=f"sqlite:///{folder}/api.db") as api:
            check_full_disk(api, room)


def test_a_full_disk_below_postgresql_is_a_refusal_until_there_is_room(tmp_path: Path) -> None:
    with postgres_server() as server:
        folder = server.folder / "disk"
        folder.mkdir()
        owner = (server.folder / "data").stat()
        with small_disk(folder, f"size=20m,mode=700,uid={owner.st_uid},gid={owner.st_gid}"):
            space = folder / "space"
            space.mkdir(mode=0o700)
            os.chown(space, owner.st_uid, owner.st_gid)
            room = folder / "room"
            room.write_bytes(bytes(4 * MIB))
            server.execute(f"CREATE TABLESPACE small LOCATION '{space}'")
            url = server.create_database(options="TABLESPACE small")
            with api_server(tmp_path, database_url=url) as api:
                check_full_disk(api, room)
            server.stop()
