"""The median rule: who is suspected, with whom it is compared, and when it is stopped."""

import math
import statistics
from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinnace.records import MAX_CURVE_ITERATIONS, Curve, Iteration, IterationState, MetricSummary
from pinnace_operator.experiment_spec import EarlyStopping, Goal, Objective
from pinnace_operator.search.objective import best, finite_value_of, reaching
from pinnace_operator.search.stopping import Peers, compared_with, is_hopeless, peers_of, suspects, verdict

LOSS = Objective(metric="loss", goal=Goal.MINIMIZE)
RULE = EarlyStopping(min_iterations=2)
VALUES = st.floats(min_value=-100, max_value=100)
#: Of one iteration, by step.
SERIES = st.dictionaries(st.integers(0, 20), VALUES, min_size=1, max_size=8)


def row(index: int, points: dict[int, float], state: IterationState = IterationState.RUNNING) -> Iteration:
    clean = [value for value in points.values() if not math.isnan(value)]
    summary = MetricSummary(
        last=0.0,
        last_step=max(points),
        min=min(clean, default=None),
        max=max(clean, default=None),
        count=len(points),
    )
    return Iteration(
        id=UUID(int=index),
        experiment_id=UUID(int=99),
        index=index,
        parameters={},
        state=state,
        started_at=datetime(2026, 1, 1, tzinfo=UTC),
        ended_at=None,
        metrics={"loss": summary},
    )


def curve(index: int, points: dict[int, float]) -> Curve:
    steps = sorted(points)
    return Curve(
        iteration_id=UUID(int=index),
        key="loss",
        count=len(steps),
        steps=tuple(steps),
        values=tuple("NaN" if math.isnan(points[step]) else points[step] for step in steps),
    )


def stopped(rule: EarlyStopping, objective: Objective, series: list[dict[int, float]]) -> set[int]:
    """Who is stopped, by all the steps that the operator takes."""
    rows = {index: row(index, points) for index, points in enumerate(series)}
    found = suspects(rule, objective, rows)
    if not found:
        return set()
    curves = [curve(one.index, series[one.index]) for one in compared_with(objective, rows, found)]
    peers = peers_of(objective, rows, found, curves)
    return {
        index
        for index in found
        if is_hopeless(rule, objective.goal, finite_value_of(objective, rows[index]), peers[index].values)
    }


def expected(rule: EarlyStopping, goal: Goal, series: list[dict[int, float]]) -> set[int]:
    """The rule as its one sentence says it."""
    pick, worst = (max, -math.inf) if goal is Goal.MAXIMIZE else (min, math.inf)
    found = set()
    for index, points in enumerate(series):
        step = max(points)
        others = [
            pick((value for at, value in other.items() if at <= step), default=worst)
            for place, other in enumerate(series)
            if place != index and max(other) >= step
        ]
        if step < rule.warmup_steps or len(others) < rule.min_iterations:
            continue
        median, own = statistics.median(others), pick(points.values())
        if own < median if goal is Goal.MAXIMIZE else own > median:
            found.add(index)
    return found


@given(st.lists(SERIES, min_size=1, max_size=8), st.sampled_from(Goal), st.integers(0, 10), st.integers(1, 4))
def test_exactly_those_worse_than_the_median_at_their_own_step_are_stopped(
    series: list[dict[int, float]], goal: Goal, warmup: int, enough: int
) -> None:
    rule = EarlyStopping(warmup_steps=warmup, min_iterations=enough)
    assert stopped(rule, Objective(metric="loss", goal=goal), series) == expected(rule, goal, series)


@given(st.lists(SERIES, min_size=2, max_size=8), st.sampled_from(Goal))
def test_the_best_of_all_is_never_stopped(series: list[dict[int, float]], goal: Goal) -> None:
    objective = Objective(metric="loss", goal=goal)
    winner = best(objective, [(index, row(index, points)) for index, points in enumerate(series)])
    assert winner is not None
    assert winner.index not in stopped(EarlyStopping(min_iterations=1), objective, series)


@given(VALUES, st.lists(VALUES, min_size=1, max_size=9), st.sampled_from(Goal))
def test_to_be_worse_is_the_same_in_both_directions(own: float, others: list[float], goal: Goal) -> None:
    other_goal = Goal.MINIMIZE if goal is Goal.MAXIMIZE else Goal.MAXIMIZE
    rule = EarlyStopping(min_iterations=1)
    mirrored = is_hopeless(rule, other_goal, -own, [-other for other in others])
    assert is_hopeless(rule, goal, own, others) == mirrored


@given(VALUES, st.lists(VALUES, max_size=9), st.integers(1, 12))
def test_too_few_others_stop_nobody(own: float, others: list[float], enough: int) -> None:
    if len(others) < enough:
        assert not is_hopeless(EarlyStopping(min_iterations=enough), Goal.MINIMIZE, own, others)


@given(st.lists(VALUES, min_size=1, max_size=9))
def test_who_is_as_good_as_the_median_goes_on(others: list[float]) -> None:
    assert not is_hopeless(EarlyStopping(min_iterations=1), Goal.MAXIMIZE, statistics.median(others), others)


def test_only_those_that_run_are_suspected() -> None:
    rows = {index: row(index, {5: 0.1}) for index in range(3)}
    for state in IterationState:
        rows[3] = row(3, {5: 9.0}, state)
        assert suspects(RULE, LOSS, rows) == ({3: 5} if state is IterationState.RUNNING else {})


def test_one_that_has_measured_nothing_but_nan_is_hopeless() -> None:
    series = [{5: 0.1}, {5: 0.2}, {5: 0.3}, {1: math.nan, 5: math.nan}]
    assert 3 in stopped(RULE, LOSS, series)


def test_an_infinite_value_is_as_bad_as_none() -> None:
    rows = {0: row(0, {5: -math.inf}), 1: row(1, {5: 0.5})}
    peers = peers_of(LOSS, rows, {1: 5}, [curve(0, {5: -math.inf})])
    assert peers[1] == Peers(step=5, values=(math.inf,))


def test_one_request_asks_for_no_more_than_the_api_gives() -> None:
    rows = {index: row(index, {index % 7: float(index)}) for index in range(300)}
    asked = compared_with(LOSS, rows, {1: 3, 2: 5})
    assert len(asked) == MAX_CURVE_ITERATIONS
    assert min(one.metrics["loss"].last_step for one in asked) >= 3


def test_the_verdict_names_metric_step_values_and_how_many() -> None:
    text = verdict(LOSS, 0.9, Peers(step=12, values=(0.1, 0.2, 0.3)))
    assert text == ("spec.earlyStopping: loss is 0.9 at best at step 12, where the median of 3 others is 0.2")
    assert "has no value" in verdict(LOSS, None, Peers(step=12, values=(0.1, 0.2, 0.3)))


@pytest.mark.parametrize(
    ("goal", "target", "values", "index"),
    [
        (Goal.MAXIMIZE, 0.9, [0.5, 0.9, 0.95], 2),
        (Goal.MAXIMIZE, 0.96, [0.5, 0.9, 0.95], None),
        (Goal.MINIMIZE, 0.5, [0.9, 0.5, 0.7], 1),
        (Goal.MINIMIZE, 0.4, [0.9, 0.5, 0.7], None),
        (Goal.MINIMIZE, 0.4, [-math.inf, 0.5, 0.7], None),
        (Goal.MAXIMIZE, 0.4, [math.inf, 0.5, 0.5], 1),
        (Goal.MAXIMIZE, 0.4, [math.nan, 0.3], None),
        (Goal.MAXIMIZE, None, [1.0], None),
    ],
)
def test_the_target_is_reached_by_a_finite_value_that_is_as_good(
    goal: Goal, target: float | None, values: list[float], index: int | None
) -> None:
    rows = {place: row(place, {0: value}) for place, value in enumerate(values)}
    found = reaching(Objective(metric="loss", goal=goal, target=target), rows)
    assert (found.index if found else None) == index
