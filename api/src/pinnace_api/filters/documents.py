"""What lies in a JSON column, as SQL: the member that a path leads to, by the kind that it has.

Each expression is NULL for what is not there or of another kind. On SQLite a function of ours does it: SQLite's own
reads some decimals as the float beside the one that was meant, and compares keys before it has read their escapes.
"""

import math
from collections.abc import Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import Boolean, ColumnElement, Double, Numeric, Text, case, cast, func, literal
from sqlalchemy.dialects.postgresql import JSONB

_NUMBER: Final = "number"
_TEXT: Final = "string"
_TRUTH: Final = "boolean"
_SOMETHING: Final = "something"
#: The greatest float; PostgreSQL refuses to make one of a greater number.
_GREATEST: Final = int(1.7976931348623157e308)


class Document:
    """A JSON column on one kind of database."""

    def __init__(self, column: ColumnElement[Any], *, sqlite: bool) -> None:
        self._column = column
        self._sqlite = sqlite

    def number(self, path: Sequence[str]) -> ColumnElement[Any]:
        """As a 64-bit float; a whole number that none can hold is infinite."""
        if self._sqlite:
            return self._on_sqlite(path, _NUMBER, Double())
        member = self._member(path)
        exact = cast(member, Numeric)
        return case(
            (func.jsonb_typeof(member) != _NUMBER, None),
            (exact > cast(str(_GREATEST), Numeric), cast(literal(math.inf), Double)),
            (exact < cast(str(-_GREATEST), Numeric), cast(literal(-math.inf), Double)),
            else_=cast(member, Double),
        )

    def text(self, path: Sequence[str]) -> ColumnElement[Any]:
        """Compared by code points."""
        if self._sqlite:
            return self._on_sqlite(path, _TEXT, Text())
        *around, last = path
        plain: ColumnElement[Any] = self._member(around).op("->>", return_type=Text())(literal(last, Text))
        return case((func.jsonb_typeof(self._member(path)) == _TEXT, plain)).collate("C")

    def truth(self, path: Sequence[str]) -> ColumnElement[Any]:
        if self._sqlite:
            return self._on_sqlite(path, _TRUTH, Boolean())
        member = self._member(path)
        return case((func.jsonb_typeof(member) == _TRUTH, cast(member, Boolean)))

    def is_there(self, path: Sequence[str]) -> ColumnElement[bool]:
        """Whether there is anything but null. Never NULL."""
        if self._sqlite:
            return self._on_sqlite(path, _SOMETHING, Boolean()).is_not(None)
        return func.coalesce(func.jsonb_typeof(self._member(path)), "null") != "null"

    def _on_sqlite(self, path: Sequence[str], kind: str, type_: Any) -> ColumnElement[Any]:
        where = literal(msgspec.json.encode(path).decode(), Text)
        return func.pinnace_member(self._column, where, kind, type_=type_)

    def _member(self, path: Sequence[str]) -> ColumnElement[Any]:
        member = self._column
        for key in path:
            member = member.op("->", return_type=JSONB())(literal(key, Text))
        return member


def member(document: str, path: str, kind: str) -> float | str | int | None:
    """What SQLite calls as `pinnace_member`; the path is a JSON array of keys."""
    found = msgspec.json.decode(document)
    for key in msgspec.json.decode(path):
        found = found.get(key) if isinstance(found, dict) else None
    match found:
        case None:
            return None
        case _ if kind == _SOMETHING:
            return 1
        case bool():
            return int(found) if kind == _TRUTH else None
        case int() | float() if kind == _NUMBER:
            return _float(found)
        case str() if kind == _TEXT:
            return found
        case _:
            return None


def _float(number: float) -> float:
    try:
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf
