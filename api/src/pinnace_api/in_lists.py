"""IN lists of any number of values, some at a time: a statement may not have too many parameters."""

from collections.abc import Collection, Iterator, Sequence
from typing import Final, TypeVar
from uuid import UUID

from sqlalchemy import Connection, Executable

_T = TypeVar("_T")

#: How many values one IN list takes at a time.
MOST: Final = 500


def parts(values: Sequence[_T], most: int = MOST) -> Iterator[Sequence[_T]]:
    """The values in their order, at most so many at a time."""
    return (values[start : start + most] for start in range(0, len(values), most))


def found(connection: Connection, statement: Executable, ids: Collection[UUID]) -> frozenset[UUID]:
    """What a statement of one column finds for all values of its list parameter `ids`."""
    return frozenset(
        each for part in parts(sorted(ids)) for each in connection.execute(statement, {"ids": part}).scalars()
    )
