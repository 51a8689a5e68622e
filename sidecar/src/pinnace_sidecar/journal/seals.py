"""A checksum in each row, kept by triggers: SQLite finds torn pages, but not a bit that flipped inside a value.

Every table with a column `seal` has them. The triggers are temporary, made anew by each connection from the columns
that it finds, so a table that gains one needs nothing here. Rows written without them (by hand) count as damaged.

A statement that writes many rows brings their seals along, made by `seal`: then the triggers have nothing to do, and
SQLite need not call Python for each row.
"""

import sqlite3
from zlib import crc32

import msgspec

_encoder = msgspec.msgpack.Encoder()


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
        for occasion, unsealed in (
            ("INSERT", "NEW.seal IS NULL"),
            (f"UPDATE OF {', '.join(columns)}", "NEW.seal IS OLD.seal"),
        ):
            name = f"seal_{table}_{occasion[:6].lower()}"
            connection.execute(
                f"CREATE TEMP TRIGGER {name} AFTER {occasion} ON main.{table} WHEN {unsealed} BEGIN {reseal}; END"
            )


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
    connection.create_function("seal_of", -1, lambda *values: seal(values), deterministic=True)


def seal(values: tuple[object, ...]) -> int:
    """The seal of a row: its values as SQLite has them (no bool), in the table's order."""
    return crc32(_encoder.encode(values))


def _expression(columns: list[str]) -> str:
    return f"seal_of({', '.join(columns)})"


def _names(connection: sqlite3.Connection, table: str) -> list[str]:
    return [name for _, name, *_ in connection.execute(f"PRAGMA main.table_info({table})")]


def _columns(connection: sqlite3.Connection, table: str) -> tuple[list[str], list[str]]:
    """The columns that are sealed, and the primary key."""
    found = connection.execute(f"PRAGMA main.table_info({table})").fetchall()
    return [name for _, name, *_ in found if name != "seal"], [name for _, name, *_, key in found if key]
