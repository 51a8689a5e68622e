"""Rows that are put into a tracking server's database past it: copies of one that the server made itself."""

import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Protocol

import psycopg
from psycopg import sql

_BUSY_S = 60

#: One row by column.
Values = Mapping[str, object]


class Filling(Protocol):
    """A transaction that is committed at the end of its block."""

    def copy(
        self, table: str, model: Mapping[str, str], rows: Iterable[Values], *, without: Collection[str] = ()
    ) -> None:
        """Rows like the one that `model` names, but for what each of `rows` says, and for the columns `without`, which
        the database fills in by itself.
        """

    def execute(self, statement: str, *values: object) -> None:
        """`?` stands for each value."""


@contextmanager
def filling(url: str) -> Iterator[Filling]:
    """`url` is sqlite:///PATH or postgresql://…"""
    if url.startswith("sqlite:"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"), timeout=_BUSY_S)) as database, database:
            yield _SQLite(database)
    else:
        with psycopg.connect(url) as connection:
            yield _PostgreSQL(connection)


class _SQLite:
    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    def copy(
        self, table: str, model: Mapping[str, str], rows: Iterable[Values], *, without: Collection[str] = ()
    ) -> None:
        ((name, value),) = model.items()
        found = self._database.execute(f'SELECT * FROM "{table}" WHERE "{name}" = ?', (value,))
        columns = [column for column, *_ in found.description]
        first = dict(zip(columns, found.fetchone(), strict=True))
        kept = [column for column in columns if column not in without]
        names, places = ", ".join(f'"{column}"' for column in kept), ", ".join("?" for _ in kept)
        values = ([{**first, **row}[column] for column in kept] for row in rows)
        self._database.executemany(f'INSERT INTO "{table}" ({names}) VALUES ({places})', values)

    def execute(self, statement: str, *values: object) -> None:
        self._database.execute(statement, values)


class _PostgreSQL:
    """Values travel as text, which the server reads by each column's type."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection

    def copy(
        self, table: str, model: Mapping[str, str], rows: Iterable[Values], *, without: Collection[str] = ()
    ) -> None:
        ((name, value),) = model.items()
        place = sql.Identifier(table)
        found = self._connection.execute(sql.SQL("SELECT * FROM {} LIMIT 0").format(place))
        kept = [column.name for column in found.description or () if column.name not in without]
        texts = sql.SQL(", ").join(sql.SQL("{}::text").format(sql.Identifier(column)) for column in kept)
        one = sql.SQL("SELECT {} FROM {} WHERE {}::text = %s").format(texts, place, sql.Identifier(name))
        first = dict(zip(kept, self._connection.execute(one, (value,)).fetchone() or (), strict=True))
        names = sql.SQL(", ").join(map(sql.Identifier, kept))
        with self._connection.cursor().copy(sql.SQL("COPY {} ({}) FROM STDIN").format(place, names)) as copy:
            for row in rows:
                copy.write_row([{**first, **row}[column] for column in kept])

    def execute(self, statement: str, *values: object) -> None:
        self._connection.execute(statement.replace("?", "%s").encode(), values)
