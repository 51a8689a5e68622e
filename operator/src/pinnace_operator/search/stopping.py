"""Which running iterations are hopeless: the median rule. Pure.

An iteration is compared at its own last step s: its best value so far with the median of what the others that came to s
had reached there. One that is worse is stopped. `suspects` says from the summaries alone of whom that could be true,
so that curves are asked for only then.
"""

import math
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from pinnace.records import MAX_CURVE_ITERATIONS, Curve, Iteration, IterationState, metric_value_from_wire
from pinnace_operator.experiment_spec import EarlyStopping, Goal, Objective
from pinnace_operator.search.objective import finite_value_of, rising

#: Of each curve, so that one answer stays small. With fewer points than there are, a peak just before the step in
#: question may be missing, which makes the others look worse: nobody is stopped by that.
POINTS: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Peers:
    """What the others had reached at an iteration's step, best so far; one that had no finite value had the worst."""

    step: int
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What was last asked for, and what came of it, by index."""

    asked_at: datetime | None = None
    #: Who was suspected, each at its step.
    suspects: Mapping[int, int] = field(default_factory=dict)
    peers: Mapping[int, Peers] = field(default_factory=dict)


def suspects(rule: EarlyStopping, objective: Objective, rows: Mapping[int, Iteration]) -> dict[int, int]:
    """The running iterations that may be hopeless, with their last step.

    What the others reached in the end is no less than what they had at any step; who keeps up with that is safe.
    """
    measured = _measured(objective, rows)
    found: dict[int, int] = {}
    for index, step in measured.items():
        if rows[index].state is not IterationState.RUNNING or step < rule.warmup_steps:
            continue
        others = [rows[other] for other, reached in measured.items() if other != index and reached >= step]
        values = [_or_worst(finite_value_of(objective, row), objective.goal) for row in others]
        if is_hopeless(rule, objective.goal, finite_value_of(objective, rows[index]), values):
            found[index] = step
    return found


def compared_with(objective: Objective, rows: Mapping[int, Iteration], suspected: Mapping[int, int]) -> list[Iteration]:
    """Whose curves are worth asking for: those that came farthest, as many as one request takes."""
    lowest = min(suspected.values())
    measured = [(step, index) for index, step in _measured(objective, rows).items() if step >= lowest]
    farthest = sorted(measured, key=lambda pair: (-pair[0], pair[1]))
    return [rows[index] for _, index in farthest[:MAX_CURVE_ITERATIONS]]


def peers_of(
    objective: Objective, rows: Mapping[int, Iteration], suspected: Mapping[int, int], curves: Iterable[Curve]
) -> dict[int, Peers]:
    """By suspect, out of the curves of others. One counts at every step up to the last that its summary tells."""
    last_step = _measured(objective, rows)
    by_id = {row.id: index for index, row in rows.items()}
    by_index = {by_id[curve.iteration_id]: curve for curve in curves if curve.iteration_id in by_id}

    def reached(step: int, but: int) -> Iterator[float]:
        for index, curve in by_index.items():
            if index != but and last_step.get(index, step - 1) >= step:
                yield _or_worst(_best_at(curve, objective.goal, step), objective.goal)

    return {index: Peers(step=step, values=tuple(reached(step, index))) for index, step in suspected.items()}


def is_hopeless(rule: EarlyStopping, goal: Goal, own: float | None, others: Sequence[float]) -> bool:
    """Whether `own` (None: nothing but NaN) is worse than the median of `others`, if those are enough."""
    if len(others) < rule.min_iterations:
        return False
    return rising(goal, _or_worst(own, goal)) < statistics.median(rising(goal, other) for other in others)


def verdict(objective: Objective, own: float | None, peers: Peers) -> str:
    """Why a hopeless iteration was stopped, for people."""
    median = statistics.median(peers.values)
    so_far = "has no value" if own is None else f"is {own:.6g} at best"
    return (
        f"spec.earlyStopping: {objective.metric} {so_far} at step {peers.step}, where the median of "
        f"{len(peers.values)} others is {median:.6g}"
    )


def _or_worst(value: float | None, goal: Goal) -> float:
    return rising(goal, -math.inf) if value is None else value


def _measured(objective: Objective, rows: Mapping[int, Iteration]) -> dict[int, int]:
    """The last step of each that has measured the objective's metric."""
    found = {index: row.metrics.get(objective.metric) for index, row in rows.items()}
    return {index: summary.last_step for index, summary in found.items() if summary is not None}


def _best_at(curve: Curve, goal: Goal, step: int) -> float | None:
    values = [
        value
        for at, wire in zip(curve.steps, curve.values, strict=True)
        if at <= step and math.isfinite(value := metric_value_from_wire(wire))
    ]
    return max(values, key=lambda value: rising(goal, value), default=None)
