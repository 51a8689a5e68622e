"""Short work of the database on the event loop: only where nobody waits for it."""

import asyncio
import sqlite3
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from pinnace_api import migrations
from pinnace_api.at_once import Hand, Pace
from pinnace_api.database import Busy, Connection, Database
from pinnace_api.projects.tables import PROJECTS


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database(f"sqlite:///{tmp_path / 'a.db'}")
    migrations.upgrade(opened)
    yield opened
    opened.close()


def thread_of_a_write(database: Database) -> int:
    def transaction(connection: Connection) -> int:
        connection.exec_driver_sql("UPDATE projects SET name = name")
        return threading.get_ident()

    return database.write(transaction)


def thread_of_a_read(database: Database) -> int:
    with database.read() as connection:
        connection.exec_driver_sql("SELECT count(*) FROM projects")
        return threading.get_ident()


def test_what_is_brief_is_done_where_it_was_asked_for(database: Database) -> None:
    hand = Hand(database, Pace(Clock()))
    for work in (thread_of_a_write, thread_of_a_read):
        assert asyncio.run(hand.do(partial(work, database))) == threading.get_ident()


def test_what_is_not_brief_is_handed_over(database: Database) -> None:
    hand = Hand(database, Pace(Clock()))
    assert asyncio.run(hand.do(lambda: thread_of_a_write(database), brief=False)) != threading.get_ident()


def test_what_would_wait_for_another_process_is_handed_over_and_written_after_it(database: Database) -> None:
    hand = Hand(database, Pace(Clock()))
    other = sqlite3.connect(str(database.engine.url.database), isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")

    async def both() -> int:
        asyncio.get_running_loop().call_soon(other.execute, "COMMIT")  # comes to it only if the loop is not held up
        return await hand.do(lambda: thread_of_a_write(database))

    assert asyncio.run(both()) != threading.get_ident()
    other.close()


def test_what_would_wait_for_another_writer_is_refused_at_once(database: Database) -> None:
    writing, ended = threading.Event(), threading.Event()

    def long(connection: Connection) -> None:
        connection.exec_driver_sql("UPDATE projects SET name = name")
        writing.set()
        assert ended.wait(10)

    writer = threading.Thread(target=database.write, args=(long,))
    writer.start()
    assert writing.wait(10)
    try:
        with pytest.raises(Busy), database.at_once():
            thread_of_a_write(database)
        with database.at_once():
            thread_of_a_read(database)  # which no writer holds up
    finally:
        ended.set()
        writer.join()
    with database.at_once():
        thread_of_a_write(database)


def test_others_that_queue_up_behind_are_written(database: Database) -> None:
    behind: list[threading.Thread] = []

    def first(connection: Connection) -> None:
        connection.exec_driver_sql("UPDATE projects SET name = name")
        behind.append(threading.Thread(target=thread_of_a_write, args=(database,)))
        behind[0].start()

    with database.at_once():
        database.write(first)
    behind[0].join(10)
    assert not behind[0].is_alive()


def test_what_a_write_changes_is_told_of_whoever_writes_it(database: Database) -> None:
    told: list[bool] = []
    database.watch([PROJECTS], lambda: told.append(True))
    with database.at_once():
        database.write(lambda connection: connection.execute(PROJECTS.delete()))
    assert told == [True]


def test_an_error_of_the_work_is_raised_and_is_no_reason_to_begin_again(database: Database) -> None:
    hand, begun = Hand(database, Pace(Clock())), []

    def fail() -> None:
        begun.append(True)
        raise LookupError

    with pytest.raises(LookupError):
        asyncio.run(hand.do(fail))
    assert len(begun) == 1


def test_after_two_long_ones_in_a_row_everything_is_handed_over_for_a_while() -> None:
    clock = Clock()
    pace = Pace(clock)
    for seconds in (0.1, 0.001, 0.1):
        pace.took(seconds)
        assert pace.is_brisk
    pace.took(0.1)
    assert not pace.is_brisk
    clock.now += 1.0
    assert pace.is_brisk
