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
from sqlalchemy import ColumnElement, Connection, Row, Select, and_, false, literal, or_, tuple_

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
    #: Of all columns, or of each.
    descending: bool | tuple[bool, ...] = False

    @property
    def directions(self) -> tuple[bool, ...]:
        """Of each column, whether it descends."""
        return (self.descending,) * len(self.columns) if isinstance(self.descending, bool) else self.descending

    def behind(self, position: Sequence[Any]) -> ColumnElement[bool]:
        """The condition that a row comes after the one at `position`."""
        parts = [literal(part, column.type) for part, column in zip(position, self.columns, strict=True)]
        if len(set(self.directions)) == 1:
            key, reached = tuple_(*self.columns), tuple_(*parts)
            return key < reached if self.directions[0] else key > reached
        condition: ColumnElement[bool] = false()
        for column, part, descends in reversed(list(zip(self.columns, parts, self.directions, strict=True))):
            condition = or_(column < part if descends else column > part, and_(column == part, condition))
        return condition


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """The rows of a page and the cursor of the next one, None when these were the last."""

    rows: Sequence[Row[Any]]
    next: str | None


def fetch(connection: Connection, statement: Select[Any], order: Order, cut: Cut) -> Slice:
    """One page of `statement` in `order`. One row more than asked for tells whether another page follows."""
    position = cut.position(order.key)
    if position is not None:
        statement = statement.where(order.behind(position))
    keys = [column.label(f"key_{index}") for index, column in enumerate(order.columns)]
    ordered = statement.add_columns(*keys).order_by(
        *(column.desc() if down else column.asc() for column, down in zip(order.columns, order.directions, strict=True))
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
