"""What a filter and an order come to once they are read and checked: values that hold no text left to interpret."""

from collections.abc import Iterator
from datetime import datetime
from enum import StrEnum
from uuid import UUID

import msgspec

#: A literal: what a field is compared with. NaN is a float.
Value = bool | float | str | datetime | UUID


class Family(StrEnum):
    """Where a field is found."""

    ATTRIBUTE = "attribute"
    PARAMETER = "params"
    METRIC = "metrics"
    TAG = "tags"


class Aggregate(StrEnum):
    """Which value of a metric's series is meant."""

    #: The point that comes last, by step.
    LAST = "last"
    #: The extremes, which NaN never is.
    MIN = "min"
    MAX = "max"
    #: The condition holds for at least one of the points.
    ANY = "any"


class Operator(StrEnum):
    """How a field is compared. All of them but IS_NULL are false for what is missing."""

    EQUAL = "="
    #: It is there, and is another value.
    UNEQUAL = "!="
    LESS = "<"
    LESS_EQUAL = "<="
    GREATER = ">"
    GREATER_EQUAL = ">="
    CONTAINS = "~"
    #: It is a text, and does not contain the other one.
    LACKS = "!~"
    IN = "in"
    NOT_IN = "not in"
    IS_NULL = "is null"
    IS_NOT_NULL = "is not null"


class Field(msgspec.Struct, frozen=True):
    """`path` is an attribute's name; a parameter's key and what is inside of it; a metric's key; a tag's key."""

    family: Family
    path: tuple[str, ...]
    aggregate: Aggregate | None = None


class Condition(msgspec.Struct, frozen=True, tag=True):
    field: Field
    operator: Operator
    #: One, several for the two of IN, none for the two of NULL.
    values: tuple[Value, ...] = ()


class And(msgspec.Struct, frozen=True, tag=True):
    parts: tuple["Expression", ...]


class Or(msgspec.Struct, frozen=True, tag=True):
    parts: tuple["Expression", ...]


class Not(msgspec.Struct, frozen=True, tag=True):
    part: "Expression"


Expression = Condition | And | Or | Not


class Term(msgspec.Struct, frozen=True):
    """One of the fields that a list is sorted by. What has no value comes last, whichever the direction."""

    field: Field
    descending: bool = False


def conditions(expression: Expression) -> Iterator[Condition]:
    """All of them, from left to right."""
    match expression:
        case Condition():
            yield expression
        case Not(part):
            yield from conditions(part)
        case And(parts) | Or(parts):
            for part in parts:
                yield from conditions(part)
