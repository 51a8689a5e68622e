"""Which points of a long series a curve keeps: pure.

The steps are cut into buckets of equal width, and of each the lowest and the highest point are kept, so that no peak
is lost; beside them the first and the last point of the series, and of each bucket the first NaN, +∞ and -∞.

Extremes are looked for in two rounds. Counting and comparing goes through the whole series once, by pieces that are
smaller than buckets; the points themselves are then looked up, by their value, in those pieces only that hold an
extreme of a bucket.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from pinnace_api.metrics.summary import Point

#: How many pieces a bucket has. More of them cost as much as they spare.
PIECES: Final = 4


class Steps(NamedTuple):
    """The steps from `start` to before `stop`."""

    start: int
    stop: int


class Extreme(NamedTuple):
    """A value, and how the database spells it."""

    value: float
    text: str


class Piece(NamedTuple):
    """What a piece holds; the extremes are of its finite values, None when there are none."""

    steps: Steps
    number: int
    finite: int
    low: Extreme | None
    high: Extreme | None


class Choice(NamedTuple):
    """Where to look up what is kept."""

    extremes: list[tuple[Steps, Extreme]]
    #: Buckets that have values which are not finite.
    odd: list[Steps]


def cut(first: int, last: int, points: int) -> list[Steps]:
    """The pieces of the steps from `first` to `last` for a curve of so many points."""
    return parts(first, last, max(1, (points - 2) // 2) * PIECES)


def parts(first: int, last: int, number: int) -> list[Steps]:
    """The steps from `first` to `last` in at most so many parts, of equal width but for the last."""
    width = -(-(last - first + 1) // number)
    return [Steps(start, min(start + width, last + 1)) for start in range(first, last + 1, width)]


def choose(pieces: Sequence[Piece]) -> Choice:
    """Of `pieces` in order, of each bucket."""
    choice = Choice([], [])
    for bucket in _buckets(pieces):
        lows = [(piece.steps, piece.low) for piece in bucket if piece.low is not None]
        highs = [(piece.steps, piece.high) for piece in bucket if piece.high is not None]
        if lows and highs:
            choice.extremes.extend((min(lows, key=_value), max(highs, key=_value)))
        if any(piece.number > piece.finite for piece in bucket):
            choice.odd.append(Steps(bucket[0].steps.start, bucket[-1].steps.stop))
    return choice


def joined(points: Iterable[Point]) -> list[Point]:
    """Each once, in the order of the series."""
    by_place = {(point.step, point.source, point.offset): point for point in points}
    return sorted(by_place.values(), key=lambda point: point[:4])


def _buckets(pieces: Sequence[Piece]) -> Iterator[Sequence[Piece]]:
    for start in range(0, len(pieces), PIECES):
        yield pieces[start : start + PIECES]


def _value(place: tuple[Steps, Extreme]) -> float:
    return place[1].value
