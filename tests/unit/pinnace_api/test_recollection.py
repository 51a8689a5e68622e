"""What is remembered counts for a second, and not at all once it has changed."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Column, Connection, Delete, Integer, MetaData, Table, delete, insert, select, update

from pinnace_api.database import Database
from pinnace_api.recollection import SECONDS, Recollection
from pinnace_api.refusals import Conflict

METADATA = MetaData()
WATCHED = Table("watched", METADATA, Column("id", Integer, primary_key=True))
OTHER = Table("other", METADATA, Column("id", Integer, primary_key=True))


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def recollection(clock: Clock) -> Recollection[str, int]:
    return Recollection(clock=clock)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path / 'x.db'}")
    with database.migrating() as connection:
        METADATA.create_all(connection)
    yield database
    database.close()


def test_an_answer_counts_for_a_second_from_before_it_was_asked_for(
    recollection: Recollection[str, int], clock: Clock
) -> None:
    def slowly() -> int:
        clock.now += SECONDS / 2
        return 7

    assert recollection.recall("a") is None
    assert recollection.ask("a", slowly) == 7
    assert recollection.recall("a") == 7
    clock.now += SECONDS / 2
    assert recollection.recall("a") is None


def test_what_is_not_there_is_asked_for_again(recollection: Recollection[str, int]) -> None:
    assert recollection.ask("a", lambda: None) is None
    assert recollection.ask("a", lambda: 7) == 7


def test_an_answer_that_was_under_way_while_it_changed_is_not_remembered(recollection: Recollection[str, int]) -> None:
    def overtaken() -> int:
        recollection.forget()
        return 7

    assert recollection.ask("a", overtaken) == 7
    assert recollection.recall("a") is None


def test_there_is_an_end_to_how_much_is_remembered(recollection: Recollection[str, int]) -> None:
    for number in range(10_001):
        recollection.ask(str(number), lambda: 7)
    assert recollection.recall("0") is None
    assert recollection.recall("10000") == 7


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        (insert(WATCHED).values(id=2), 1),
        (update(WATCHED).values(id=3), 1),
        (delete(WATCHED), 1),
        (select(WATCHED), 0),
        (insert(OTHER).values(id=1), 0),
    ],
)
def test_whoever_writes_into_a_watched_table_is_told_of(database: Database, statement: object, told: int) -> None:
    calls: list[str] = []
    database.write(lambda connection: connection.execute(insert(WATCHED).values(id=1)))
    database.watch((WATCHED,), lambda: calls.append("changed"))

    def transaction(connection: Connection) -> None:
        connection.execute(statement)  # type: ignore[call-overload]
        assert not calls, "nobody is told before it is committed"

    database.write(transaction)
    assert len(calls) == told


def test_deletions_alone_can_be_watched(database: Database) -> None:
    calls: list[str] = []
    database.watch((WATCHED,), lambda: calls.append("deleted"), statements=(Delete,))
    database.write(lambda connection: connection.execute(insert(WATCHED).values(id=1)))
    assert calls == []
    database.write(lambda connection: connection.execute(delete(WATCHED)))
    assert calls == ["deleted"]


def test_one_that_is_taken_back_is_told_of_too_and_only_once(database: Database) -> None:
    calls: list[str] = []
    database.watch((WATCHED,), lambda: calls.append("perhaps"))

    def refused(connection: Connection) -> None:
        connection.execute(insert(WATCHED).values(id=1))
        raise Conflict("no")

    with pytest.raises(Conflict):
        database.write(refused)
    database.write(lambda connection: connection.execute(insert(OTHER).values(id=1)))
    assert calls == ["perhaps"]
