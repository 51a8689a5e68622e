"""What all tables have in common: the base class, portable column types, and inserting what isn't there yet.

Row classes live in the `tables` module of their resource; only `queries` modules know them. Statements that every
request needs are built once, as constants with parameters: building one takes five times as long as running it.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any, Final

from sqlalchemy import JSON, BigInteger, Connection, DateTime, Dialect, Integer, MetaData, String, Table, Text, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import registry
from sqlalchemy.types import TypeDecorator
from sqlmodel import SQLModel

#: Constraints need names so that a migration can speak of them on every database.
_NAMES: Final = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}

METADATA: Final = MetaData(naming_convention=_NAMES)


class Row(SQLModel, registry=registry(metadata=METADATA)):
    """Base of every table."""


def table_of(row: type[Row]) -> Table:
    """The table behind a row class, for statements."""
    table = METADATA.tables[str(row.__tablename__)]
    assert isinstance(table, Table)
    return table


class UtcDateTime(TypeDecorator[datetime]):
    """A moment. Aware datetimes in, UTC out, on every database."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a moment without its offset from UTC can't be stored")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def word(length: int) -> String:
    """Text that is compared and sorted byte by byte on every database."""
    return String(length).with_variant(String(length, collation="C"), "postgresql")


def prose() -> Text:
    """Text that is only kept."""
    return Text()


def document() -> JSON:
    """JSON that can be searched."""
    return JSON().with_variant(postgresql.JSONB(), "postgresql")


def with_default(value: str) -> dict[str, Any]:
    """For columns that joined a table which had rows: what those have. `sa_column_kwargs` of a Field."""
    return {"server_default": text(f"'{value}'")}


def counter() -> BigInteger:
    """A 64-bit number that can be a generated key on every database."""
    return BigInteger().with_variant(Integer(), "sqlite")


def insert_missing(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> int:
    """Insert the rows whose key isn't there; returns how many that were. Rows that are there stay as they are."""
    if not rows:
        return 0
    new = connection.execute(_insert_missing(table, connection.dialect.name), [dict(row) for row in rows]).rowcount
    assert new >= 0, "the database driver does not count rows"
    return new


@cache
def _insert_missing(table: Table, dialect: str) -> Any:
    insert: Any = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}[dialect]
    # Without preserve_rowcount, many rows at once count as -1 on PostgreSQL.
    return insert(table).inline().on_conflict_do_nothing().execution_options(preserve_rowcount=True)
