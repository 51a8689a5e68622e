"""What a filter and an order mean, in plain Python over values in memory: what the databases are held against."""

import math
import operator
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cmp_to_key
from typing import Any
from uuid import UUID

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
)

_ORDERINGS: dict[Operator, Any] = {
    Operator.LESS: operator.lt,
    Operator.LESS_EQUAL: operator.le,
    Operator.GREATER: operator.gt,
    Operator.GREATER_EQUAL: operator.ge,
}


@dataclass(frozen=True, kw_only=True)
class Thing:
    """An iteration as the model sees it; `metrics` by key, in the order of the steps."""

    id: UUID
    attributes: dict[str, Any]
    params: dict[str, Any] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, list[float]] = field(default_factory=dict)


def holds(expression: Expression, thing: Thing) -> bool:
    match expression:
        case And(parts):
            return all(holds(part, thing) for part in parts)
        case Or(parts):
            return any(holds(part, thing) for part in parts)
        case Not(part):
            return not holds(part, thing)
        case Condition(Field(aggregate=Aggregate.ANY) as which, operator_, values):
            points = thing.metrics.get(which.path[0], [])
            if operator_ is Operator.IS_NULL:
                return not points
            return any(_compare(point, operator_, values) for point in points)
        case Condition(which, operator_, values):
            return _compare(value_of(which, thing), operator_, values)


def value_of(which: Field, thing: Thing) -> Any:
    """None for what is missing."""
    match which.family:
        case Family.ATTRIBUTE:
            return thing.attributes[which.path[0]]
        case Family.TAG:
            return thing.tags.get(which.path[0])
        case Family.PARAMETER:
            found: Any = thing.params
            for key in which.path:
                found = found.get(key) if isinstance(found, dict) else None
            return found
        case Family.METRIC:
            points = thing.metrics.get(which.path[0], [])
            numbers = [point for point in points if not math.isnan(point)]
            if which.aggregate is Aggregate.LAST:
                return points[-1] if points else None
            least = min if which.aggregate is Aggregate.MIN else max
            return least(numbers) if numbers else None


def ordered(things: Iterable[Thing], order: Sequence[Term]) -> list[Thing]:
    """Sorted by the terms, then by id in the direction of the first term."""

    def compare(one: Thing, other: Thing) -> int:
        for term in order:
            ranks = [_rank(value_of(term.field, thing)) for thing in (one, other)]
            if ranks[0][0] != ranks[1][0]:
                return -1 if ranks[0][0] < ranks[1][0] else 1
            if ranks[0][1] != ranks[1][1]:
                return -1 if (ranks[0][1] < ranks[1][1]) != term.descending else 1
        return -1 if (one.id.hex < other.id.hex) != order[0].descending else 1

    return sorted(things, key=cmp_to_key(compare))


def _rank(value: Any) -> tuple[int, Any]:
    """Numbers, texts, truths, what can't be sorted or is missing; and the value within these."""
    match value:
        case bool():
            return 2, value
        case int() | float():
            number = _float(value)
            return (3, 0) if math.isnan(number) else (0, number)
        case str():
            return 1, value[:200]
        case datetime() | UUID():
            return 0, value if isinstance(value, datetime) else value.hex
        case _:
            return 3, 0


def _compare(value: Any, operator_: Operator, values: Sequence[Any]) -> bool:
    if value is None or operator_ in (Operator.IS_NULL, Operator.IS_NOT_NULL):
        return operator_ is (Operator.IS_NULL if value is None else Operator.IS_NOT_NULL)
    match operator_:
        case Operator.EQUAL | Operator.IN:
            return any(_same(value, each) for each in values)
        case Operator.UNEQUAL | Operator.NOT_IN:
            return not any(_same(value, each) for each in values)
        case Operator.CONTAINS | Operator.LACKS:
            return isinstance(value, str) and (values[0] in value) is (operator_ is Operator.CONTAINS)
    return _kind(value) is _kind(values[0]) and bool(_ORDERINGS[operator_](_plain(value), _plain(values[0])))


def _same(value: Any, literal: Any) -> bool:
    if _kind(value) is not _kind(literal):
        return False
    if isinstance(literal, float) and math.isnan(literal):
        return math.isnan(_float(value))
    return bool(_plain(value) == _plain(literal))


def _kind(value: Any) -> type:
    match value:
        case bool():
            return bool
        case int() | float():
            return float
        case str() | datetime() | UUID():
            return type(value)
        case _:
            return object


def _plain(value: Any) -> Any:
    return _float(value) if _kind(value) is float else value


def _float(number: float) -> float:
    try:
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf
