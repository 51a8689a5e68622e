"""Lists in pages by keyset: the cursor is where the page before ended, so rows that come or go shift nothing.

A cursor is opaque to callers: base64 of the JSON of the last row's key. It names no secret and grants nothing.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta
from sqlalchemy import ColumnElement, Connection, Row, Select, literal, tuple_

from pinnace_api.refusals import Invalid

DEFAULT_LIMIT: Final = 100
MAX_LIMIT: Final = 1000

#: Parts of a cursor that every database takes.
Moment = Annotated[datetime, Meta(tz=True)]
Number = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """Which part of a list is asked for: at most `limit` items behind the cursor `after` (None: from the start)."""

    limit: int = DEFAULT_LIMIT
    after: str | None = None

    def position(self, type_: Any) -> tuple[Any, ...] | None:
        """The key in the cursor. Raises Invalid unless it is a `type_`, which is a type of tuples."""
        if self.after is None:
            return None
        try:
            key: tuple[Any, ...] = msgspec.json.decode(urlsafe_b64decode(self.after.encode("ascii")), type=type_)
            for part in key:
                _check(part)
        except (ValueError, OverflowError, RecursionError, msgspec.DecodeError):
            raise Invalid("this is not a cursor of this list", field="after", hint="pass `next` as it came") from None
        return key


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A total order: columns whose values together are unique and never NULL, and their types in a cursor."""

    columns: tuple[ColumnElement[Any], ...]
    key: Any
    descending: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """The rows of a page and the cursor of the next one, None when these were the last."""

    rows: Sequence[Row[Any]]
    next: str | None


def fetch(connection: Connection, statement: Select[Any], order: Order, cut: Cut) -> Slice:
    """One page of `statement` in `order`. One row more than asked for tells whether another page follows."""
    position = cut.position(order.key)
    if position is not None:
        key = tuple_(*order.columns)
        reached = tuple_(*(literal(part, column.type) for part, column in zip(position, order.columns, strict=True)))
        statement = statement.where(key < reached if order.descending else key > reached)
    keys = [column.label(f"key_{index}") for index, column in enumerate(order.columns)]
    ordered = statement.add_columns(*keys).order_by(
        *(column.desc() if order.descending else column.asc() for column in order.columns)
    )
    rows = connection.execute(ordered.limit(cut.limit + 1)).all()
    if len(rows) <= cut.limit:
        return Slice(rows=rows, next=None)
    return Slice(rows=rows[: cut.limit], next=cursor(tuple(rows[cut.limit - 1][-len(keys) :])))


def cursor(key: tuple[Any, ...]) -> str:
    """The cursor that continues behind `key`."""
    return urlsafe_b64encode(msgspec.json.encode(key)).decode()


def _check(part: Any) -> None:
    if isinstance(part, str) and "\0" in part:
        raise ValueError("no text holds NUL")
    if isinstance(part, datetime):
        part.astimezone(UTC)
