"""Steps for points that came without one: pure.

The next step of a metric is one above its highest. A point that came before, by its source and offset, has the step
that it got then; so a batch whose answer was lost can be sent again.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple


class Unnumbered(NamedTuple):
    """A point as it came: `step` is None where one is to be chosen."""

    metric: int
    source: int
    offset: int
    step: int | None


#: What identifies a point without its step.
Origin = tuple[int, int, int]


def number(
    points: Sequence[Unnumbered], highest: Mapping[int, int], known: Mapping[Origin, int]
) -> tuple[list[int], dict[Origin, int]]:
    """A step for each point in order, and those that were chosen now.

    `highest` has the highest step of each metric that has points, `known` the steps that were chosen before.
    """
    top = dict(highest)
    chosen: dict[Origin, int] = {}
    steps: list[int] = []
    for point in points:
        origin = (point.metric, point.source, point.offset)
        step = point.step
        if step is None:
            step = known.get(origin, chosen.get(origin))
        if step is None:
            step = chosen[origin] = top.get(point.metric, -1) + 1
        top[point.metric] = max(step, top.get(point.metric, step))
        steps.append(step)
    return steps, chosen
