"""How several sides compare, name by name: pure."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from pinnace.records import Compared, ComparedMetric, Likeness, MetricSummary, metric_value_from_wire
from pinnace_api.values import canonical


def compared(sides: Mapping[UUID, Mapping[str, Any]]) -> tuple[Compared, ...]:
    """By name. 1 and 1.0 differ, and so do null and nothing."""
    return tuple(
        Compared(name=name, likeness=_likeness(values, len(sides)), values=values)
        for name, values in _by_name(sides).items()
    )


def compared_metrics(sides: Mapping[UUID, Mapping[str, MetricSummary]]) -> tuple[ComparedMetric, ...]:
    """By name."""
    return tuple(
        ComparedMetric(
            name=name,
            likeness=_likeness({each: summary.last for each, summary in summaries.items()}, len(sides)),
            values=summaries,
            lowest=min(lows, key=lows.__getitem__, default=None),
            highest=max(highs, key=highs.__getitem__, default=None),
        )
        for name, summaries in _by_name(sides).items()
        for lows in [{each: metric_value_from_wire(one.min) for each, one in summaries.items() if one.min is not None}]
        for highs in [{each: metric_value_from_wire(one.max) for each, one in summaries.items() if one.max is not None}]
    )


def _by_name(sides: Mapping[UUID, Mapping[str, Any]]) -> dict[str, dict[UUID, Any]]:
    names = sorted({name for side in sides.values() for name in side})
    return {name: {each: side[name] for each, side in sides.items() if name in side} for name in names}


def _likeness(values: Mapping[UUID, Any], sides: int) -> Likeness:
    if len(values) < sides:
        return Likeness.MISSING
    return Likeness.SAME if len({canonical(value) for value in values.values()}) == 1 else Likeness.DIFFER
