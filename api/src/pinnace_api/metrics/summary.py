"""What a metric's points come to, kept up with each batch: pure.

NaN (None here) counts as a point and never as an extreme.
"""

from collections.abc import Iterable
from typing import NamedTuple


class Point(NamedTuple):
    """One stored point; in this order points compare by their place in the series."""

    step: int
    time: int
    source: int
    offset: int
    value: float | None


class Summary(NamedTuple):
    """The number of points; extremes without NaN; the point that comes last. Empty: 0 points, no last."""

    points: int
    low: float | None
    high: float | None
    last: Point | None


EMPTY = Summary(0, None, None, None)


def summarise(stored: Summary, new: Iterable[Point]) -> Summary:
    """The summary when the points of `new`, none of which is in it yet, have joined."""
    points, low, high, last = stored
    for point in new:
        points += 1
        value = point[4]
        if value is not None:
            low = value if low is None or value < low else low
            high = value if high is None or value > high else high
        if last is None or point[:4] > last[:4]:
            last = point
    return Summary(points, low, high, last)
