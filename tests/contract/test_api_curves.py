"""Metrics in so many points: what a long series keeps of itself, through the real client and the real server."""

import math
import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from pinnace.client import Client, Invalid, NotFound
from pinnace.records import Axis, Curve, ExperimentWrite, IterationWrite, MetricWrite, UserWrite
from support.accounts import PASSWORD, Accounts
from support.api_server import ApiServer

START = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.fixture
def iteration(client: Client) -> UUID:
    return new_iteration(client)


def new_iteration(client: Client, project: str = "curves") -> UUID:
    experiment, iteration = uuid4(), uuid4()
    client.put_experiment(experiment, ExperimentWrite(project=project, name="sweep"))
    client.put_iteration(iteration, IterationWrite(experiment_id=experiment))
    return iteration


def put(client: Client, iteration: UUID, values: Sequence[float], *, every: int = 1, timed: bool = False) -> None:
    points = [
        MetricWrite(
            key="loss", step=place * every, value=value, time=START + timedelta(seconds=place) if timed else None
        )
        for place, value in enumerate(values)
    ]
    client.put_metrics(iteration, points)


def curve(client: Client, iteration: UUID, *, points: int = 100, **options: object) -> Curve:
    (found,) = client.curves([iteration], ["loss"], points=points, **options)  # type: ignore[arg-type]
    return found


def test_a_series_that_is_short_enough_comes_whole(client: Client, iteration: UUID) -> None:
    values = [0.1, math.nan, -math.inf, 3.0]
    put(client, iteration, values, every=7)
    found = curve(client, iteration, points=4)
    assert found.steps == (0, 7, 14, 21)
    assert found.values == (0.1, "NaN", "-Infinity", 3.0)
    assert found.count == 4


@pytest.mark.parametrize("every", [1, 3, 10**9])
def test_no_peak_of_a_long_series_is_lost(client: Client, iteration: UUID, every: int) -> None:
    values = [random.Random(every).gauss(0, 1) for _ in range(5000)]
    put(client, iteration, values, every=every)
    found = curve(client, iteration, points=102)
    assert len(found.steps) <= 102
    assert found.count == 5000
    assert found.steps == tuple(sorted(found.steps))
    assert (found.steps[0], found.steps[-1]) == (0, 4999 * every)
    assert [values[step // every] for step in found.steps] == list(found.values)
    assert {min(values), max(values)} <= set(found.values)
    # Buckets lie where 50 equal parts would: in each, nothing exceeds what is kept of it and its neighbours.
    for begin in range(0, 5000, 100):
        near = [step // every for step in found.steps if abs(step // every - begin - 50) <= 155]
        kept = [values[place] for place in near]
        assert max(kept) >= max(values[begin : begin + 100])
        assert min(kept) <= min(values[begin : begin + 100])


def test_values_that_differ_in_their_last_bit_only_are_told_apart(client: Client, iteration: UUID) -> None:
    values = [0.1] * 1000
    values[333] = math.nextafter(0.1, 1.0)
    values[666] = math.nextafter(0.1, 0.0)
    put(client, iteration, values)
    found = curve(client, iteration, points=12)
    assert dict(zip(found.steps, found.values, strict=True)).items() >= {(333, values[333]), (666, values[666])}


def test_what_is_not_finite_stays_visible_and_hides_no_peak(client: Client, iteration: UUID) -> None:
    values = [float(place % 10) for place in range(3000)]
    values[100], values[101], values[1500], values[2900] = 99.0, math.inf, -math.inf, math.nan
    put(client, iteration, values)
    found = curve(client, iteration, points=20)
    kept = dict(zip(found.steps, found.values, strict=True))
    assert kept[100] == 99.0
    assert (kept[101], kept[1500], kept[2900]) == ("Infinity", "-Infinity", "NaN")


def test_a_series_of_nothing_but_nan_shows_them(client: Client, iteration: UUID) -> None:
    put(client, iteration, [math.nan] * 500)
    found = curve(client, iteration, points=10)
    assert set(found.values) == {"NaN"}
    assert (found.steps[0], found.steps[-1], found.count) == (0, 499, 500)


def test_a_range_of_steps_is_seen_closer(client: Client, iteration: UUID) -> None:
    put(client, iteration, [float(place) for place in range(3000)])
    found = curve(client, iteration, points=50, from_step=1000, to_step=1999)
    assert (found.steps[0], found.steps[-1], found.count) == (1000, 1999, 1000)
    exact = curve(client, iteration, points=50, from_step=100, to_step=149)
    assert exact.steps == tuple(range(100, 150))


def test_a_range_of_time_and_both_axes_of_time(client: Client, iteration: UUID) -> None:
    put(client, iteration, [float(place) for place in range(1000)], timed=True)
    client.put_metrics(iteration, [MetricWrite(key="loss", step=500, value=-1e9, source="without a time")])
    since, until = START + timedelta(seconds=100), START + timedelta(seconds=899)
    found = curve(client, iteration, points=20, x=Axis.TIME, since=since, until=until)
    assert (found.times[0], found.times[-1], found.count) == (since, until, 800)
    assert -1e9 not in found.values
    relative = curve(client, iteration, points=20, x=Axis.RELATIVE, since=since)
    assert (relative.seconds[0], relative.seconds[-1]) == (100.0, 999.0)
    assert len(relative.seconds) == len(relative.values)
    by_step = curve(client, iteration, points=20)
    assert -1e9 in by_step.values
    assert by_step.times == by_step.seconds == ()


def test_several_curves_come_in_the_order_asked_for(client: Client, iteration: UUID) -> None:
    other = new_iteration(client)
    client.put_metrics(other, [MetricWrite(key=key, step=0, value=1.0) for key in ("a,b&c", "loss")])
    put(client, iteration, [1.0])
    found = client.curves([other, iteration], ["loss", "a,b&c"])
    assert [(each.iteration_id, each.key, each.count) for each in found] == [
        (other, "loss", 1),
        (other, "a,b&c", 1),
        (iteration, "loss", 1),
        (iteration, "a,b&c", 0),
    ]


def test_too_much_at_a_time_is_refused(client: Client, iteration: UUID) -> None:
    with pytest.raises(Invalid, match="keys"):
        client.curves([iteration], [f"k{each}" for each in range(21)])
    with pytest.raises(Invalid, match="at most 200000 points"):
        client.curves([iteration, new_iteration(client)], [f"k{each}" for each in range(11)], points=10_000)
    with pytest.raises(Invalid, match="100"):
        client.curves([new_iteration(client) for _ in range(6)], [f"k{each}" for each in range(20)], points=10)


def test_curves_of_what_one_may_not_see_are_not_there(client: Client, api: ApiServer, iteration: UUID) -> None:
    put(client, iteration, [1.0])
    name = f"u{uuid4().hex[:8]}"
    client.put_user(name, UserWrite(password=PASSWORD))
    accounts = Accounts(api)
    with accounts.client(name) as stranger:
        with pytest.raises(NotFound) as hidden:
            stranger.curves([iteration], ["loss"])
        with pytest.raises(NotFound) as missing:
            stranger.curves([absent := uuid4()], ["loss"])
    accounts.close()
    assert str(hidden.value).replace(str(iteration), "") == str(missing.value).replace(str(absent), "")
