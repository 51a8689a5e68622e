"""Moving everything from one database to another, ids and all, in any direction between SQLite and PostgreSQL.

The source is read in one transaction, so what arrives is one state of it. Each batch is committed, and a row that is
there already is passed over: a copy that broke off is begun again and goes on. Nothing is written to a target that
holds rows which the source has not, or has with other values. At the end the rows of both are compared by number and
digest.

Invariant: rows of both sides come in the order of their primary keys, which is the same on every database and in
Python: words are sorted by their bytes, UUIDs by value.
"""

import hashlib
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from typing import Any, Final

import msgspec
from sqlalchemy import JSON, Connection, LargeBinary, Row, Table, and_, bindparam, func, literal, select, update
from sqlalchemy.types import TypeEngine

from pinnace.errors import PinnaceError
from pinnace_api import migrations
from pinnace_api.database import Database
from pinnace_api.migrations import WrongDatabase
from pinnace_api.schema import METADATA
from pinnace_api.tables import insert_missing
from pinnace_api.values import canonical

#: How many rows go at a time; fewer of those that hold bytes.
_BATCH: Final = 1000
_BATCH_OF_BYTES: Final = 16

#: Told the table, how many of its rows are done, and how many there are.
Progress = Callable[[str, int, int], None]


class OtherRows(PinnaceError):
    """The target holds rows that the source doesn't have; nothing was copied, or not all of it is the same."""


class TableCopied(msgspec.Struct, frozen=True, kw_only=True):
    """One table: its rows in the source, how many of them were not in the target yet, and the digest of all."""

    table: str
    rows: int
    copied: int
    sha256: str


def copy(source: Database, target: Database, progress: Progress) -> tuple[TableCopied, ...]:
    """Copy every row; the same call again copies what is missing. The target's tables are brought up to date first.

    Raises WrongDatabase, OtherRows and Unavailable.
    """
    with source.read() as reading:
        _check_source(reading)
        migrations.upgrade(target)
        with target.read() as present:
            for table in METADATA.sorted_tables:
                _missing(table, reading, present)
        copied = tuple(_copy_table(table, reading, target, progress) for table in METADATA.sorted_tables)
    with target.read() as arrived:
        found = {table.name: _digest(table, arrived) for table in METADATA.sorted_tables}
    if different := [each.table for each in copied if found[each.table] != (each.rows, each.sha256)]:
        raise OtherRows(
            f"after the copy the rows of {', '.join(different)} differ",
            hint="somebody else wrote to the target meanwhile: stop that, empty the target and copy again",
        )
    return copied


def compare(source: Database, target: Database) -> tuple[TableCopied, ...]:
    """What `copy` would do; changes nothing. Raises as `copy` does."""
    with source.read() as reading, target.read() as present:
        _check_source(reading)
        revision = migrations.revision_of(present)
        if revision not in ("", migrations.revisions()[-1]):
            raise WrongDatabase(
                f"the target has revision {revision}, so its rows can't be compared as it is",
                hint="copying would bring it up to date first",
            )
        return tuple(_compared(table, reading, present if revision else None) for table in METADATA.sorted_tables)


def _check_source(reading: Connection) -> None:
    revision, newest = migrations.revision_of(reading), migrations.revisions()[-1]
    if revision != newest:
        raise WrongDatabase(
            f"the source has revision {revision or 'none'}, and this version copies from {newest}",
            hint="start the API of this version on it once, which brings it up to date",
        )


def _compared(table: Table, reading: Connection, present: Connection | None) -> TableCopied:
    rows, sha256 = _digest(table, reading)
    missing = rows if present is None else _missing(table, reading, present)
    return TableCopied(table=str(table.name), rows=rows, copied=missing, sha256=sha256)


def _copy_table(table: Table, reading: Connection, target: Database, progress: Progress) -> TableCopied:
    """Rows come by key, so a child may come before its parent: it is told which that is when all of them are there."""
    links = _links(table)
    total = reading.execute(select(func.count()).select_from(table)).scalar_one()
    digest, done, copied = hashlib.sha256(), 0, 0
    progress(table.name, done, total)
    with closing(_batches(table, reading)) as batches:
        for batch in batches:
            rows = [dict(row._mapping) for row in batch]
            copied += target.write(insert_missing, table, [{**row, **dict.fromkeys(links)} for row in rows])
            for row in batch:
                digest.update(_spelt(table, row))
            done += len(batch)
            progress(table.name, done, total)
    if links:
        with closing(_batches(table, reading)) as batches:
            for batch in batches:
                target.write(_link, table, links, [dict(row._mapping) for row in batch])
    if done and not target.is_sqlite:
        target.write(_go_on_behind, table)
    return TableCopied(table=str(table.name), rows=done, copied=copied, sha256=digest.hexdigest())


def _links(table: Table) -> tuple[str, ...]:
    """The columns by which rows of a table refer to others of it."""
    return tuple(column.name for column in table.columns if any(key.references(table) for key in column.foreign_keys))


def _link(connection: Connection, table: Table, links: Sequence[str], rows: Sequence[dict[str, Any]]) -> None:
    keys = list(table.primary_key.columns)
    found = [row for row in rows if any(row[link] is not None for link in links)]
    if found:
        connection.execute(
            update(table)
            .where(and_(*(column == bindparam(f"key_{column.name}") for column in keys)))
            .values({link: bindparam(f"new_{link}") for link in links}),
            [
                {f"key_{key.name}": row[key.name] for key in keys} | {f"new_{link}": row[link] for link in links}
                for row in found
            ],
        )


def _go_on_behind(connection: Connection, table: Table) -> None:
    """Let PostgreSQL generate numbers behind those that were copied; SQLite does so by itself."""
    column = table.autoincrement_column
    if column is not None:
        sequence = func.pg_get_serial_sequence(literal(table.name), literal(column.name))
        connection.execute(select(func.setval(sequence, select(func.max(column)).scalar_subquery())))


def _missing(table: Table, reading: Connection, present: Connection) -> int:
    """How many rows the second lacks. Raises OtherRows when it holds any that the first has not just so."""
    missing = 0
    with closing(_rows(table, reading)) as ours, closing(_rows(table, present)) as theirs:
        their = next(theirs, None)
        for row in ours:
            if their is None or _key(table, row) < _key(table, their):
                missing += 1
            elif _agree(table, row, their):
                their = next(theirs, None)
            else:
                break
    if their is not None:
        raise OtherRows(
            f"the target holds the row {_named(table, their)}, which the source doesn't have, or not so",
            hint="copy into an empty database, or into one that a copy of this source was begun into",
        )
    return missing


def _digest(table: Table, connection: Connection) -> tuple[int, str]:
    """The number of rows, and one SHA-256 of all of them."""
    digest, count = hashlib.sha256(), 0
    with closing(_rows(table, connection)) as rows:
        for row in rows:
            digest.update(_spelt(table, row))
            count += 1
    return count, digest.hexdigest()


def _rows(table: Table, connection: Connection) -> Generator[Row[Any], None, None]:
    with closing(_batches(table, connection)) as batches:
        for batch in batches:
            yield from batch


def _batches(table: Table, connection: Connection) -> Generator[list[Row[Any]], None, None]:
    """All rows by key, a few of them in memory at a time."""
    holds_bytes = any(isinstance(column.type, LargeBinary) for column in table.columns)
    size = _BATCH_OF_BYTES if holds_bytes else _BATCH
    statement = select(table).order_by(*table.primary_key.columns)
    with connection.execute(statement, execution_options={"yield_per": size}) as result:
        for batch in result.partitions(size):
            yield list(batch)


def _agree(table: Table, row: Row[Any], their: Row[Any]) -> bool:
    """Whether they are the same, but for references within the table that a copy that broke off had no time for."""
    links = _links(table)
    values = [
        None if column.name in links and known is None else value
        for column, value, known in zip(table.columns, row, their, strict=True)
    ]
    return _spelt(table, values) == _spelt(table, their)


def _spelt(table: Table, row: Iterable[Any]) -> bytes:
    """The row in bytes that are equal for equal rows, wherever they come from."""
    return msgspec.msgpack.encode(
        [_spelt_value(column.type, value) for column, value in zip(table.columns, row, strict=True)]
    )


def _spelt_value(type_: TypeEngine[Any], value: Any) -> Any:
    if isinstance(type_, JSON) and value is not None:
        return canonical(value)
    # SQLite keeps -0.0 as 0.0.
    return value + 0.0 if isinstance(value, float) else value


def _key(table: Table, row: Row[Any]) -> tuple[Any, ...]:
    return tuple(row._mapping[column] for column in table.primary_key.columns)


def _named(table: Table, row: Row[Any]) -> str:
    """`table(key, …)`"""
    return f"{table.name}({', '.join(map(str, _key(table, row)))})"
