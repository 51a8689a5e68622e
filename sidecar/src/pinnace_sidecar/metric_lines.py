"""One line of a metrics file → the points in it. Pure.

A line is one JSON object. Each key with a number is a metric, except `step` (a whole number; without it the line's own
number, counted from 0) and `time` or `timestamp` (seconds since the epoch, or RFC 3339). NaN and the infinities are
values like any other, written bare as Python does or as the strings "NaN", "Infinity", "-Infinity". Other strings,
booleans, null and nested values are not metrics and are passed over. A line is good as a whole or bad as a whole.
"""

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from pinnace.errors import PinnaceError
from pinnace.records import MetricPoint, metric_value_from_wire, metric_value_to_wire

_MAX_STEP: Final = 2**53
_MAX_KEY_CHARACTERS: Final = 250
_NOT_METRICS: Final = frozenset({"step", "time", "timestamp"})
_NAMED_VALUES: Final = frozenset({"NaN", "Infinity", "-Infinity"})


class BadLine(PinnaceError):
    """This line is no metric line. It stays bad, however often it is read."""


def parse(line: bytes, *, index: int, source: str, offset: int) -> tuple[MetricPoint, ...]:
    """The points of a line, in its own order; none for a blank line. `index` counts the file's lines from 0.

    `source` and `offset` (of the line's first byte) go into each point. Raises BadLine.
    """
    if not line.strip():
        return ()
    fields = _object(line)
    step = _step(fields.get("step", index))
    time = _time(fields.get("time", fields.get("timestamp")))
    return tuple(
        MetricPoint(
            key=_key(key), step=step, value=metric_value_to_wire(number), time=time, source=source, offset=offset
        )
        for key, value in fields.items()
        if key not in _NOT_METRICS and (number := _number(key, value)) is not None
    )


def _object(line: bytes) -> Mapping[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise BadLine(f"not JSON: {error}") from error
    if not isinstance(value, dict):
        raise BadLine("not a JSON object")
    return value


def _step(value: object) -> int:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) > _MAX_STEP:
        raise BadLine("step is not a whole number between -2^53 and 2^53")
    return value


def _time(value: object) -> datetime | None:
    try:
        match value:
            case None:
                return None
            case bool():
                raise BadLine("time is neither seconds since the epoch nor RFC 3339")
            case int() | float():
                return datetime.fromtimestamp(value, UTC)
            case str():
                time = datetime.fromisoformat(value)
                return time if time.tzinfo else time.replace(tzinfo=UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise BadLine(f"time is neither seconds since the epoch nor RFC 3339: {error}") from error
    raise BadLine("time is neither seconds since the epoch nor RFC 3339")


def _number(key: str, value: object) -> float | None:
    if isinstance(value, str) and value in _NAMED_VALUES:
        return metric_value_from_wire(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError as error:
        raise BadLine(f"the value of {key[:50]!r} is too large") from error
    return math.nan if math.isnan(number) else number


def _key(key: str) -> str:
    if not 1 <= len(key) <= _MAX_KEY_CHARACTERS:
        raise BadLine(f"a key has 1 to {_MAX_KEY_CHARACTERS} characters, not {len(key)}")
    if not key.isprintable():
        raise BadLine(f"key {key[:50]!r} has characters that can't be printed")
    return key
