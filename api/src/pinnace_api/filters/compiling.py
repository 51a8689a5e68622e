"""Checked expressions to conditions in SQL, and terms to keys that a list can be sorted and continued by.

Every condition is true or false, never NULL: of what is missing, every condition but `is null` is false, and `not`
turns that round. So `not` means the same on every database and to everybody.
"""

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import msgspec
from sqlalchemy import (
    Boolean,
    Column,
    ColumnElement,
    Double,
    Integer,
    Text,
    Uuid,
    and_,
    case,
    exists,
    false,
    func,
    literal,
    not_,
    or_,
    select,
    true,
)

from pinnace_api.filters.documents import Document
from pinnace_api.filters.expression import (
    Aggregate,
    And,
    Condition,
    Expression,
    Family,
    Field,
    Not,
    Operator,
    Or,
    Term,
    Value,
)
from pinnace_api.metrics.tables import METRIC_POINTS, METRICS
from pinnace_api.paging import Moment
from pinnace_api.tables import UtcDateTime

_COMPARE: Final[Mapping[Operator, Callable[[Any, Any], Any]]] = {
    Operator.EQUAL: operator.eq,
    Operator.IN: operator.eq,
    Operator.UNEQUAL: operator.eq,
    Operator.NOT_IN: operator.eq,
    Operator.LESS: operator.lt,
    Operator.LESS_EQUAL: operator.le,
    Operator.GREATER: operator.gt,
    Operator.GREATER_EQUAL: operator.ge,
}
#: Those that hold of what is there and does not match.
_NEGATIVE: Final = frozenset({Operator.UNEQUAL, Operator.NOT_IN})
#: By so many characters texts are sorted: a cursor holds them.
_SORTED_CHARACTERS: Final = 200
_NEVER: Final = datetime(1970, 1, 1, tzinfo=UTC)


#: From a literal to the column that can be compared with it.
_ColumnOf = Callable[[Value], ColumnElement[Any]]


class Key(msgspec.Struct, frozen=True):
    """One column that a list is sorted by, never NULL, and the type of its values in a cursor."""

    column: Any
    type: Any
    descending: bool


class Compiler:
    """For one kind of thing on one kind of database. `metrics_of` is the column that METRICS refers to."""

    def __init__(
        self,
        *,
        sqlite: bool,
        attributes: Mapping[str, Column[Any]],
        documents: Mapping[Family, ColumnElement[Any]],
        metrics_of: ColumnElement[Any] | None = None,
    ) -> None:
        self._sqlite = sqlite
        self._attributes = attributes
        self._documents = {family: Document(column, sqlite=sqlite) for family, column in documents.items()}
        self._metrics_of = metrics_of

    def condition(self, expression: Expression) -> ColumnElement[bool]:
        match expression:
            case And(parts):
                return and_(true(), *map(self.condition, parts))
            case Or(parts):
                return or_(false(), *map(self.condition, parts))
            case Not(part):
                return not_(self.condition(part))
            case Condition(Field(Family.ATTRIBUTE, path), operator_, values):
                column = self._attributes[path[0]]
                return self._holds(operator_, values, lambda _: column, _is_there(column))
            case Condition(Field(Family.METRIC, path, aggregate), operator_, values):
                assert aggregate is not None
                return self._metric(path[0], aggregate, operator_, values)
            case Condition(Field(family, path), operator_, values):
                document = self._documents[family]
                return self._holds(operator_, values, _member_of(document, path), document.is_there(path))

    def keys(self, term: Term) -> tuple[Key, ...]:
        """What has a value comes first, whichever the direction; numbers before texts."""
        match term.field:
            case Field(Family.ATTRIBUTE, path):
                return self._attribute_keys(self._attributes[path[0]], descending=term.descending)
            case Field(Family.METRIC, path, aggregate):
                assert aggregate is not None
                number = self._metric_value(path[0], aggregate)
                return _ranked((number, _number_key), descending=term.descending)
            case Field(family, path):
                document = self._documents[family]
                truth = case((document.truth(path), 1.0), (not_(document.truth(path)), 0.0))
                members = ((document.number(path), _number_key), (document.text(path), _text_key), (truth, _number_key))
                return _ranked(*members, descending=term.descending)

    def _attribute_keys(self, column: Column[Any], *, descending: bool) -> tuple[Key, ...]:
        match column.type:
            case UtcDateTime() if column.nullable:
                return _ranked((column, _time_key), descending=descending)
            case UtcDateTime():
                return (Key(column, Moment, descending),)
            case Integer():
                return (Key(column, int, descending),)
            case Uuid():
                return (Key(column, UUID, descending),)
            case _:
                return (_text_key(column, descending),)

    # --- metrics

    def _metric(
        self, key: str, aggregate: Aggregate, operator_: Operator, values: Sequence[Value]
    ) -> ColumnElement[bool]:
        """The row of a metric says all of it, but for `any` with equality, where the points are looked through."""
        row = and_(METRICS.c.iteration_id == self._metrics_of, METRICS.c.key == key, METRICS.c.points > 0)
        if aggregate is not Aggregate.ANY:
            column = _AGGREGATES[aggregate]
            is_there = true() if aggregate is Aggregate.LAST else column.is_not(None)
            is_missing = operator_ is Operator.IS_NULL
            wanted = Operator.IS_NOT_NULL if is_missing else operator_
            found = _exists(row, self._holds(wanted, values, lambda _: column, is_there))
            return not_(found) if is_missing else found
        match operator_:
            case Operator.IS_NOT_NULL:
                return _exists(row)
            case Operator.IS_NULL:
                return not_(_exists(row))
            case Operator.LESS | Operator.LESS_EQUAL:
                return _exists(row, _compared(operator_, METRICS.c.low, values[0]))
            case Operator.GREATER | Operator.GREATER_EQUAL:
                return _exists(row, _compared(operator_, METRICS.c.high, values[0]))
        point = and_(
            METRIC_POINTS.c.metric_id == METRICS.c.id,
            self._holds(operator_, values, lambda _: METRIC_POINTS.c.value, true()),
        )
        return _exists(row, point)

    def _holds(
        self, operator_: Operator, values: Sequence[Value], column_of: _ColumnOf, is_there: ColumnElement[bool]
    ) -> ColumnElement[bool]:
        match operator_:
            case Operator.IS_NULL:
                return not_(is_there)
            case Operator.IS_NOT_NULL:
                return is_there
            case Operator.CONTAINS | Operator.LACKS:
                column = column_of(values[0])
                place = (func.instr if self._sqlite else func.strpos)(column, literal(values[0], Text))
                # NULL, where there is no text, is neither.
                return func.coalesce(place > 0 if operator_ is Operator.CONTAINS else place == 0, false())
        matches = or_(false(), *(_compared(operator_, column_of(value), value) for value in values))
        return and_(is_there, not_(matches) if operator_ in _NEGATIVE else matches)

    def _metric_value(self, key: str, aggregate: Aggregate) -> ColumnElement[Any]:
        value = select(_AGGREGATES[aggregate])
        row = value.where(METRICS.c.iteration_id == self._metrics_of, METRICS.c.key == key, METRICS.c.points > 0)
        return row.scalar_subquery()


_AGGREGATES: Final = {
    Aggregate.LAST: METRICS.c.last_value,
    Aggregate.MIN: METRICS.c.low,
    Aggregate.MAX: METRICS.c.high,
}


def _is_there(column: Column[Any]) -> ColumnElement[bool]:
    return column.is_not(None) if column.nullable else true()


def _compared(operator_: Operator, column: ColumnElement[Any], value: Value) -> ColumnElement[bool]:
    """Never NULL. A number that is NaN is stored as NULL."""
    if isinstance(value, float) and math.isnan(value):
        return column.is_(None)
    comparison: ColumnElement[bool] = _COMPARE[operator_](column, literal(value, _type_of(value)))
    if isinstance(column, Column) and not column.nullable:
        return comparison  # bare, so that an index may serve it
    return func.coalesce(comparison, false())


def _member_of(document: Document, path: Sequence[str]) -> _ColumnOf:
    def column(value: Value) -> ColumnElement[Any]:
        match value:
            case bool():
                return document.truth(path)
            case str():
                return document.text(path)
            case _:
                return document.number(path)

    return column


def _type_of(value: Value) -> Any:
    match value:
        case bool():
            return Boolean()
        case float():
            return Double()
        case str():
            return Text()
        case UUID():
            return Uuid()
        case datetime():
            return UtcDateTime()


def _exists(*criteria: ColumnElement[bool]) -> ColumnElement[bool]:
    return exists().where(*criteria)


def _ranked(*members: tuple[ColumnElement[Any], Callable[..., Key]], descending: bool) -> tuple[Key, ...]:
    """What has the first member, by it; then what has the second one; then what has none."""
    rank = case(*((column.is_not(None), place) for place, (column, _) in enumerate(members)), else_=len(members))
    return (Key(rank, int, False), *(key(column, descending) for column, key in members))


def _number_key(column: ColumnElement[Any], descending: bool) -> Key:
    return Key(func.coalesce(column, literal(0.0, Double), type_=Double()), float | str, descending)


def _text_key(column: ColumnElement[Any], descending: bool) -> Key:
    begin = func.substr(func.coalesce(column, ""), 1, _SORTED_CHARACTERS, type_=Text())
    return Key(begin, str, descending)


def _time_key(column: ColumnElement[Any], descending: bool) -> Key:
    return Key(func.coalesce(column, literal(_NEVER, UtcDateTime), type_=UtcDateTime()), Moment, descending)
