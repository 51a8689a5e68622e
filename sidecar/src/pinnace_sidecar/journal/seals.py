"""A checksum in each row, kept by triggers: SQLite finds torn pages, but not a bit that flipped inside a value.

Every table with a column `seal` has them. The triggers are temporary, made anew by each connection from the columns
that it finds, so a table that gains one needs nothing here. Rows written without them (by hand) count as damaged.
"""

import sqlite3
from zlib import crc32

import msgspec


def tables(connection: sqlite3.Connection) -> list[str]:
    """The tables whose rows are sealed."""
    names = [name for (name,) in connection.execute("SELECT name FROM main.sqlite_master WHERE type = 'table'")]
    return [name for name in sorted(names) if "seal" in _names(connection, name)]


def keep(connection: sqlite3.Connection) -> None:
    """Let every row written by this connection get its seal."""
    _teach(connection)
    for table in tables(connection):
        columns, key = _columns(connection, table)
        this = " AND ".join(f"{column} = NEW.{column}" for column in key)
        reseal = f"UPDATE {table} SET seal = {_expression(columns)} WHERE {this}"  # noqa: S608
        for occasion in ("INSERT", f"UPDATE OF {', '.join(columns)}"):
            name = f"seal_{table}_{occasion[:6].lower()}"
            connection.execute(f"CREATE TEMP TRIGGER {name} AFTER {occasion} ON main.{table} BEGIN {reseal}; END")


def broken(connection: sqlite3.Connection) -> str:
    """The first table with a row that is not what was written, and how many of them; empty when there is none."""
    _teach(connection)
    for table in tables(connection):
        columns, _ = _columns(connection, table)
        count = f"SELECT count(*) FROM {table} WHERE seal IS NOT {_expression(columns)}"  # noqa: S608
        ((rows,),) = connection.execute(count).fetchall()
        if rows:
            return f"{rows} rows of {table} are not what was written"
    return ""


def renew(connection: sqlite3.Connection) -> None:
    """Seal all rows as they are now: after a change of the schema."""
    _teach(connection)
    for table in tables(connection):
        columns, _ = _columns(connection, table)
        connection.execute(f"UPDATE {table} SET seal = {_expression(columns)}")  # noqa: S608


def _teach(connection: sqlite3.Connection) -> None:
    connection.create_function("seal_of", -1, _seal, deterministic=True)


def _seal(*values: object) -> int:
    return crc32(msgspec.msgpack.encode(values))


def _expression(columns: list[str]) -> str:
    return f"seal_of({', '.join(columns)})"


def _names(connection: sqlite3.Connection, table: str) -> list[str]:
    return [name for _, name, *_ in connection.execute(f"PRAGMA main.table_info({table})")]


def _columns(connection: sqlite3.Connection, table: str) -> tuple[list[str], list[str]]:
    """The columns that are sealed, and the primary key."""
    found = connection.execute(f"PRAGMA main.table_info({table})").fetchall()
    return [name for _, name, *_ in found if name != "seal"], [name for _, name, *_, key in found if key]
