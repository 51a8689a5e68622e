"""What an iteration is worth by spec.objective, and which is the best. Pure."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pinnace.records import Iteration, metric_value_from_wire
from pinnace_operator.experiment_spec import Goal, Objective


@dataclass(frozen=True, slots=True, kw_only=True)
class Valued:
    index: int
    value: float

    def __str__(self) -> str:
        return f"{self.value:.10g}"


def value_of(objective: Objective, row: Iteration | None) -> float | None:
    """The best that `row` measured so far; None while there is nothing but NaN."""
    summary = None if row is None else row.metrics.get(objective.metric)
    if summary is None:
        return None
    wire = summary.max if objective.goal is Goal.MAXIMIZE else summary.min
    if wire is None:
        return None
    value = metric_value_from_wire(wire)
    return None if math.isnan(value) else value


def finite_value_of(objective: Objective, row: Iteration | None) -> float | None:
    """As value_of; an infinite one, which tells of a training that went astray, is none."""
    value = value_of(objective, row)
    return value if value is not None and math.isfinite(value) else None


def rising(goal: Goal, value: float) -> float:
    """`value` so that more is better."""
    return value if goal is Goal.MAXIMIZE else -value


def best(objective: Objective | None, rows: Iterable[tuple[int, Iteration | None]]) -> Valued | None:
    """The lower index of two equals; None while there is no value."""
    if objective is None:
        return None
    values = [
        Valued(index=index, value=value) for index, row in rows if (value := value_of(objective, row)) is not None
    ]
    return max(values, key=lambda one: (rising(objective.goal, one.value), -one.index), default=None)


def reaching(objective: Objective | None, rows: Mapping[int, Iteration]) -> Valued | None:
    """The best of those that reach the target."""
    if objective is None or objective.target is None:
        return None
    finite = [(index, row) for index, row in rows.items() if finite_value_of(objective, row) is not None]
    found = best(objective, finite)
    if found is None or rising(objective.goal, found.value) < rising(objective.goal, objective.target):
        return None
    return found
