"""Writes that wait share a commit, and nothing else: not a failure, and not an answer."""

import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from sqlalchemy import Connection, event, text

from pinnace_api.database import Database
from pinnace_api.refusals import Conflict, Unavailable
from pinnace_api.write_queue import WriteQueue
from support.eventually import eventually

WRITERS = 24


class World:
    """A database with one table of words; `commits` says when each was."""

    def __init__(self, path: Path) -> None:
        self.database = Database(f"sqlite:///{path}")
        self.commits: list[list[str]] = []
        with self.database.migrating() as connection:
            connection.execute(text("CREATE TABLE words (word text PRIMARY KEY)"))
        event.listen(self.database.engine, "commit", lambda connection: self.commits.append(words(connection)))

    def stored(self) -> list[str]:
        with self.database.read() as connection:
            return words(connection)

    @contextmanager
    def held_up(self) -> Iterator[Callable[..., Future[Any]]]:
        """Somebody writes until the block ends; what is handed in meanwhile queues in that order."""
        begun, ended = Event(), Event()

        def hold(connection: Connection) -> None:
            add(connection, "holder")
            begun.set()
            assert ended.wait(20)

        queue = self.database._queue
        assert queue is not None
        with ThreadPoolExecutor(WRITERS + 1) as threads:
            holder = threads.submit(self.database.write, hold)
            assert begun.wait(20)

            def hand_in(transaction: Callable[..., Any], *args: Any) -> Future[Any]:
                before = len(queue._waiting)
                future = threads.submit(self.database.write, transaction, *args)
                eventually(lambda: len(queue._waiting) > before, timeout=20)
                return future

            try:
                yield hand_in
            finally:
                ended.set()
            holder.result(20)


def words(connection: Connection) -> list[str]:
    return list(connection.execute(text("SELECT word FROM words ORDER BY rowid")).scalars())


def add(connection: Connection, word: str) -> str:
    connection.execute(text("INSERT INTO words VALUES (:word)"), {"word": word})
    return f"{word} is in"


def add_and_refuse(connection: Connection, word: str) -> None:
    add(connection, word)
    raise Conflict(f"{word} is refused")


def add_and_lose_all(connection: Connection, word: str) -> None:
    """As a full disk does: SQLite takes back the whole transaction by itself."""
    add(connection, word)
    driver: Any = connection.connection.driver_connection
    driver.execute("ROLLBACK")
    raise sqlite3.OperationalError("disk I/O error")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path / "words.db")
    yield world
    world.database.close()


def test_those_that_wait_are_written_in_their_order_by_few_commits(world: World) -> None:
    with world.held_up() as hand_in:
        answers = [hand_in(add, f"word {number}") for number in range(WRITERS)]
    expected = [f"word {number}" for number in range(WRITERS)]
    assert [each.result(20) for each in answers] == [f"{word} is in" for word in expected]
    assert world.stored() == ["holder", *expected]
    assert 1 < len(world.commits) < WRITERS


def test_one_that_fails_takes_no_other_along(world: World) -> None:
    with world.held_up() as hand_in:
        first, refused, taken, last = (
            hand_in(add, "first"),
            hand_in(add_and_refuse, "refused"),
            hand_in(add, "first"),
            hand_in(add, "last"),
        )
    assert (first.result(20), last.result(20)) == ("first is in", "last is in")
    with pytest.raises(Conflict, match="refused is refused"):
        refused.result(20)
    assert taken.exception(20) is not None
    assert world.stored() == ["holder", "first", "last"]


def test_one_that_ends_the_whole_transaction_takes_no_other_along_either(world: World) -> None:
    with world.held_up() as hand_in:
        first, refused, lost, last = (
            hand_in(add, "first"),
            hand_in(add_and_refuse, "refused"),
            hand_in(add_and_lose_all, "lost"),
            hand_in(add, "last"),
        )
    assert (first.result(20), last.result(20)) == ("first is in", "last is in")
    assert isinstance(refused.exception(20), Conflict)
    assert isinstance(lost.exception(20), sqlite3.OperationalError)
    assert sorted(world.stored()) == ["first", "holder", "last"]


def test_writers_from_everywhere_lose_nothing(world: World) -> None:
    def write(number: int) -> list[str]:
        return [world.database.write(add, f"{number}.{turn}") for turn in range(20)]

    with ThreadPoolExecutor(WRITERS) as threads:
        answers = [answer for each in threads.map(write, range(WRITERS)) for answer in each]
    assert len(set(answers)) == len(world.stored()) == WRITERS * 20


def test_what_the_commit_refuses_is_refused_to_all_it_was_for() -> None:
    entered, go = Event(), Event()
    done: list[str] = []

    @contextmanager
    def full() -> Iterator[Any]:
        yield object()
        raise OSError("no space left")

    def hold(_: Connection) -> None:
        entered.set()
        assert go.wait(20)

    queue = WriteQueue(full, lambda *_: None, lambda _: True)
    with ThreadPoolExecutor(4) as threads:
        futures = [threads.submit(queue.write, hold)]
        assert entered.wait(20)
        futures += [threads.submit(queue.write, lambda _: done.append("ran")) for _ in range(3)]
        eventually(lambda: len(queue._waiting) == 3, timeout=20)
        go.set()
        assert [type(each.exception(20)) for each in futures] == [OSError] * 4
    assert len(done) == 3


def test_who_waits_too_long_is_told_and_never_written(world: World) -> None:
    entered, go = Event(), Event()
    written: list[str] = []

    @contextmanager
    def begin() -> Iterator[Any]:
        yield object()

    def hold(_: Connection) -> None:
        entered.set()
        assert go.wait(20)

    queue = WriteQueue(begin, lambda *_: None, lambda _: True, turn_seconds=0.05)
    with ThreadPoolExecutor(1) as threads:
        holder = threads.submit(queue.write, hold)
        assert entered.wait(20)
        with pytest.raises(Unavailable, match="more to write"):
            queue.write(lambda _: written.append("late"))
        go.set()
        holder.result(20)
    queue.write(lambda _: written.append("next"))
    assert written == ["next"]
