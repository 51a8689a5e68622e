"""Any filter and any order give the same answer as the model in memory, on both databases."""

import math
import random
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pinnace.records import (
    ExperimentWrite,
    IterationState,
    IterationWrite,
    MetricBatch,
    MetricWrite,
    metric_value_to_wire,
)
from pinnace_api import migrations
from pinnace_api.database import Database
from pinnace_api.experiments import service as experiments
from pinnace_api.filters.parser import parse_filter, parse_order
from pinnace_api.identity import Caller, Role
from pinnace_api.iterations import search
from pinnace_api.iterations import service as iterations
from pinnace_api.iterations.vocabulary import VOCABULARY
from pinnace_api.metrics import service as metrics
from pinnace_api.paging import Cut
from support.filter_model import Thing, holds, ordered

ADMIN = Caller(role=Role.ADMIN)
KEYS = ("lr", "a b", 'quote"d', "back\\slash", "new\nline", "ключ", "a.b", "0", "nested", "' OR 1=1 --", "%", "$")
NUMBERS = (0, 1, -1, 0.1, 0.1 + 2**-55, 0.30000000000000004, 1.5, 2**53, 2**53 + 1, 1e300, 5e-324, 10**30, 10**400)
FLOATS = (*map(float, NUMBERS[:-1]), 1.0000000000000002, 8.5390625e-05, 0.00031622776601683794)
TEXTS = (
    "",
    "a",
    "A",
    "vision",
    "visio",
    "0.1",
    "true",
    "ä",
    "\U0001f600",
    "\uffff",
    "x' OR '1'='1",
    "%",
    "_",
    'a"b\\c\nd',
)
METRICS = ("accuracy", "val/loss", "odd \"key'", "a.b")
POINTS = (*FLOATS, math.nan, math.inf, -math.inf)
MOMENT = datetime(2026, 5, 17, 9, 30, tzinfo=UTC)


def nasty(dice: random.Random, depth: int = 0) -> Any:
    kinds: list[Callable[[], Any]] = [
        lambda: dice.choice(NUMBERS),
        lambda: dice.choice(FLOATS),
        lambda: dice.choice(TEXTS),
        lambda: dice.random() < 0.5,
        lambda: None,
        lambda: [1, "a"],
    ]
    if depth < 2:
        kinds.append(lambda: {key: nasty(dice, depth + 1) for key in dice.sample(KEYS, 3)})
    return dice.choice(kinds)()


class World:
    """The same iterations in a database and in memory."""

    def __init__(self, database: Database, things: tuple[Thing, ...]) -> None:
        self.database = database
        self.things = things


@pytest.fixture(scope="module")
def world(database_url: str) -> Iterator[World]:
    database = Database(database_url)
    migrations.upgrade(database)
    dice = random.Random(7)
    names = {}
    for number in range(3):
        experiment = UUID(int=dice.getrandbits(128), version=4)
        names[experiment] = (f"experiment {number}", f"p{number % 2}")
        experiments.put(
            database, experiment, ExperimentWrite(project=f"p{number % 2}", name=f"experiment {number}"), by="admin"
        )
    things = tuple(add(database, dice, experiment, names[experiment]) for experiment in names for _ in range(30))
    yield World(database, things)
    database.close()


def add(database: Database, dice: random.Random, experiment: UUID, names: tuple[str, str]) -> Thing:
    write = IterationWrite(
        experiment_id=experiment,
        parameters={key: nasty(dice) for key in dice.sample(KEYS, 6)},
        name=dice.choice(TEXTS),
        notes=dice.choice(TEXTS),
        started_at=dice.choice([None, MOMENT + timedelta(microseconds=dice.randrange(5))]),
        tags={key: dice.choice(TEXTS) for key in dice.sample(KEYS, 3)},
    )
    by = dice.choice(["admin", "user:ann"])
    stored, _ = iterations.put(database, UUID(int=dice.getrandbits(128), version=4), write, by=by)
    series = {key: [dice.choice(POINTS) for _ in range(dice.randrange(4))] for key in dice.sample(METRICS, 3)}
    points = [
        MetricWrite(key=key, value=metric_value_to_wire(value), step=step)
        for key, values in series.items()
        for step, value in enumerate(values)
    ]
    metrics.put(database, stored.id, MetricBatch(points=tuple(points)))
    if dice.random() < 0.5:
        state = dice.choice([IterationState.RUNNING, IterationState.FAILED])
        stored, _ = iterations.put(database, stored.id, IterationWrite(experiment_id=experiment, state=state), by=by)
    attributes = {name: getattr(stored, name, None) for name in VOCABULARY.attributes}
    attributes |= {"state": stored.state.value, "experiment": names[0], "project": names[1], "namespace": ""}
    tidy = {key: [value + 0.0 for value in values] for key, values in series.items()}
    return Thing(id=stored.id, attributes=attributes, params=write.parameters, tags=write.tags, metrics=tidy)


def quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def spelled(number: float) -> str:
    return "NaN" if math.isnan(number) else repr(number).replace("inf", "Infinity")


def one_of(draw: Any, texts: Iterable[str]) -> str:
    return str(draw(st.sampled_from(list(texts))))


@st.composite
def condition(draw: Any) -> str:
    negated = "not " if draw(st.booleans()) else ""
    family = one_of(draw, ["param", "param", "metric", "tag", "attribute", "null"])
    numbers = st.sampled_from(FLOATS).map(spelled)
    comparison = one_of(draw, ["=", "!=", "<", "<=", ">", ">="])
    same = one_of(draw, ["in", "not in"])
    key = f"params.{quoted(one_of(draw, KEYS))}"
    if draw(st.booleans()) and family == "param":
        key += f".{quoted(one_of(draw, KEYS))}"
    metric = f"metrics.{quoted(one_of(draw, METRICS))}.{one_of(draw, ['last', 'min', 'max', 'any'])}"
    text = quoted(one_of(draw, TEXTS))
    match family:
        case "param":
            value = draw(st.one_of(numbers, st.just(text)))
            plain = one_of(draw, ["true", "false"])
            search = one_of(draw, ["~", "!~"])
            tails = [f"{comparison} {value}", f"{same} ({value}, {plain}, {text})", f"!= {plain}", f"{search} {text}"]
            return f"{negated}{key} {one_of(draw, tails)}"
        case "metric":
            value = draw(numbers)
            tails = [f"{comparison} {value}", f"{same} ({value}, NaN)", "= NaN", "!= NaN", "> -Infinity", "< Infinity"]
            return f"{negated}{metric} {one_of(draw, tails)}"
        case "tag":
            comparison = one_of(draw, ["=", "!=", "<", ">=", "~", "!~"])
            return f"{negated}tags.{quoted(one_of(draw, KEYS))} {comparison} {text}"
        case "attribute":
            tails = [
                f"name {comparison} {text}",
                f"notes ~ {text}",
                f"index {comparison} {draw(st.integers(0, 30))}",
                f"state {same} (FAILED, pending)",
                f'started_at {comparison} "2026-05-17T11:30:00.000002+02:00"',
                "created_by = me",
                'experiment != "experiment 1"',
                'parent_id != "11111111-1111-4111-8111-111111111111"',
                f"project ~ {quoted('1')}",
            ]
            return negated + one_of(draw, tails)
        case _:
            what = one_of(draw, [key, metric, "started_at", "parent_id", "name", "tags.lr"])
            return f"{negated}{what} is {one_of(draw, ['null', 'not null'])}"


FILTERS = st.recursive(
    condition(),
    lambda inner: st.builds(
        lambda parts, word, negated: ("not " if negated else "") + "(" + f" {word} ".join(parts) + ")",
        st.lists(inner, min_size=1, max_size=3),
        st.sampled_from(["and", "or"]),
        st.booleans(),
    ),
    max_leaves=6,
)
FIELDS = st.one_of(
    st.sampled_from(["id", "index", "name", "state", "created_at", "started_at", "experiment", "created_by"]),
    st.sampled_from(KEYS).map(lambda key: f"params.{quoted(key)}"),
    st.sampled_from(KEYS).map(lambda key: f"tags.{quoted(key)}"),
    st.builds(
        lambda key, of: f"metrics.{quoted(key)}.{of}", st.sampled_from(METRICS), st.sampled_from(["last", "min", "max"])
    ),
)
ORDERS = st.lists(st.builds("{} {}".format, FIELDS, st.sampled_from(["asc", "desc"])), min_size=1, max_size=3).map(
    ", ".join
)


@settings(max_examples=100)
@given(text=FILTERS)
def test_a_filter_finds_what_the_model_finds(world: World, text: str) -> None:
    expression = parse_filter(text, VOCABULARY, me="admin")
    expected = {thing.id for thing in world.things if holds(expression, thing)}
    page = search.page(world.database, search.Wanted(filter=text), ADMIN, Cut(limit=1000), total=True)
    assert {iteration.id for iteration in page.items} == expected
    assert page.total == len(expected)


@settings(max_examples=40)
@given(order=ORDERS, limit=st.integers(9, 60))
def test_pages_in_any_order_are_the_model_s_list_cut_up(world: World, order: str, limit: int) -> None:
    expected = [thing.id for thing in ordered(world.things, parse_order(order, VOCABULARY))]
    found: list[UUID] = []
    after = None
    while True:
        page = search.page(world.database, search.Wanted(order_by=order), ADMIN, Cut(limit=limit, after=after))
        found += [iteration.id for iteration in page.items]
        after = page.next
        if after is None:
            break
    assert found == expected
