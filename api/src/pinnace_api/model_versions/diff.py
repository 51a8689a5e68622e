"""How two sides compare, point by point: pure."""

from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import UNSET

from pinnace.records import Difference, Likeness
from pinnace_api.values import canonical


def differences(left: Mapping[str, Any], right: Mapping[str, Any]) -> tuple[Difference, ...]:
    """By name. 1 and 1.0 differ, and so do null and nothing."""
    return tuple(_difference(left, right, name) for name in sorted({*left, *right}))


def flat(document: Mapping[str, Any]) -> dict[str, Any]:
    """Its values by dotted names: `{"a": {"b": 1}}` is `{"a.b": 1}`. An empty object is a value."""
    return dict(_flat(document, ""))


def _flat(document: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, value in document.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _difference(left: Mapping[str, Any], right: Mapping[str, Any], name: str) -> Difference:
    if name not in left or name not in right:
        likeness = Likeness.MISSING
    else:
        likeness = Likeness.SAME if canonical(left[name]) == canonical(right[name]) else Likeness.DIFFER
    return Difference(name=name, likeness=likeness, left=left.get(name, UNSET), right=right.get(name, UNSET))
