"""Values as every database can keep them."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import msgspec

from pinnace_api.refusals import Invalid

#: Deeper parameters would be a document, not a parameter; and reading them back must not exhaust the stack.
MAX_DEPTH: Final = 16
#: The largest number of a 64-bit column.
MAX_NUMBER: Final = 2**63 - 1

#: From here on a float is spelled with an exponent.
_NEEDS_EXPONENT: Final = 1e16

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def check_text(text: str, field: str) -> str:
    """Raises Invalid for NUL, which PostgreSQL can't hold."""
    if "\0" in text:
        raise Invalid("text can't hold the character NUL", field=field)
    return text


def check_name(name: str, kind: Any, what: str, field: str, *, made_of: str = "a-z 0-9 - . _") -> str:
    """Raises Invalid for what is no `kind`, an annotated str of `made_of`; `what`: "a project's name"."""
    try:
        msgspec.convert(name, kind)
    except msgspec.ValidationError:
        raise Invalid(
            f"{what} is made of 1 to 100 of {made_of} and begins and ends with a letter or a digit", field=field
        ) from None
    return name


def check_number(number: int, field: str) -> int:
    """Raises Invalid for what 64 bits can't hold."""
    if not -MAX_NUMBER <= number <= MAX_NUMBER:
        raise Invalid(f"the number must lie between -{MAX_NUMBER} and {MAX_NUMBER}", field=field)
    return number


def check_json(value: Any, field: str, depth: int = 0) -> None:
    """Raises Invalid for JSON that is too deep, or holds NUL."""
    if depth > MAX_DEPTH:
        raise Invalid(f"the value is nested more than {MAX_DEPTH} deep", field=field)
    match value:
        case str():
            check_text(value, field)
        case dict():
            for name, part in value.items():
                check_text(name, field)
                check_json(part, f"{field}.{name}", depth + 1)
        case list():
            for part in value:
                check_json(part, field, depth + 1)


def utc(moment: datetime, field: str) -> datetime:
    """`moment` in UTC; one without an offset is taken for UTC. Raises Invalid at the ends of the calendar."""
    try:
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError:
        raise Invalid("the time lies outside of the calendar in UTC", field=field) from None


def microseconds(moment: datetime, field: str) -> int:
    """Microseconds from 1970 to `moment`."""
    return (utc(moment, field) - EPOCH) // _MICROSECOND


def moment_of(microseconds: int) -> datetime:
    """The inverse of `microseconds`."""
    return EPOCH + timedelta(microseconds=microseconds)


def canonical(value: Any) -> bytes:
    """JSON in one spelling, so that equal bytes mean equal values; 1 and 1.0 differ."""
    return msgspec.json.encode(_without_exponent(value), order="sorted")


def _without_exponent(value: Any) -> Any:
    """As PostgreSQL gives numbers back: those that need an exponent come without one, as whole numbers."""
    match value:
        case float() if abs(value) >= _NEEDS_EXPONENT:
            return int(Decimal(repr(value)))
        case float():
            return value + 0.0  # it knows no -0.0
        case dict():
            return {name: _without_exponent(part) for name, part in value.items()}
        case list():
            return [_without_exponent(part) for part in value]
        case _:
            return value
